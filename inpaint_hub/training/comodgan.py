"""Training phases of CoModGAN: generator and discriminator from scratch (SPEC D)."""

from contextlib import contextmanager

import torch

from inpaint_hub.comodgan import CoModGANGenerator
from inpaint_hub.compositing import mask_out
from inpaint_hub.pipelines.comodgan import CoModGANPipeline
from inpaint_hub.stylegan2 import StyleGAN2Discriminator
from inpaint_hub.training.adversary import Adversaries, Adversary
from inpaint_hub.training.method import TrainingMethod
from inpaint_hub.training.projected import ProjectedAdversary


class CoModGANTraining(TrainingMethod):
    """Non-saturating logistic loss and lazy R1 on composites and their masks."""

    def __init__(self, config, accelerator):
        super().__init__(config, accelerator)
        c = config
        widths = {"channel_base": c.channel_base, "channel_max": c.channel_max}
        if c.pretrained_model_name_or_path:
            gan = self.load_pretrained(CoModGANGenerator, "gan").train()
        else:
            gan = CoModGANGenerator(
                resolution=c.resolution,
                z_dim=c.z_dim,
                w_dim=c.w_dim,
                global_dim=c.global_dim,
                num_mapping_layers=c.num_mapping_layers,
                **widths,
            )
        self.gan, self.optimizer = self.prepare(gan, c.learning_rate)
        self.track_average(self.gan)
        discriminator = StyleGAN2Discriminator(
            resolution=gan.resolution,
            mask_channel=True,
            mbstd_group_size=c.mbstd_group_size,
            **widths,
        )
        self.adversaries = Adversaries(self)
        if c.discriminator != "none":
            self.adversaries.add(1.0, Adversary(self, discriminator))
        if c.projected_weight:
            heads = ProjectedAdversary(self, gan.resolution, with_mask=True)
            self.adversaries.add(c.projected_weight, heads)

    def composited(self, batch, rng):
        z = self.normal(rng, self.unwrapped(self.gan).z_dim)
        masked = mask_out(batch["image"], batch["mask"])
        return self.gan(masked, batch["mask"], z, noise_mode="random", generator=rng)

    def phases(self, step):
        chosen = [self.train_discriminator]
        if self.adversaries.is_penalized(step):
            chosen.append(self.penalize_discriminator)
        return [*chosen, self.train_generator]

    def train_discriminator(self, batch, rng):
        with torch.no_grad():
            fake = self.composited(batch, rng)
        return self.adversaries.judge(batch["image"], fake, batch["mask"], rng)

    def penalize_discriminator(self, batch, rng):
        return self.adversaries.penalize(batch["image"], batch["mask"], rng)

    def train_generator(self, batch, rng):
        loss, logs = self.adversaries.fooled(self.composited(batch, rng), batch["mask"], rng)
        self.minimize(loss, self.gan, self.optimizer)
        return logs | {"generator_loss": loss}

    def after_step(self, step):
        super().after_step(step)
        self.adversaries.after_step()

    @torch.no_grad()
    def fill(self, images, masks):
        """Composites [N,3,s,s] of the averaged weights, each picture with a z of its own."""
        rng = torch.Generator().manual_seed(self.config.seed)
        with self.average_weights() as gan:
            z = torch.randn(len(images), gan.z_dim, generator=rng).to(self.device)
            return gan(mask_out(images, masks), masks, z)

    @torch.no_grad()
    def sample_rows(self, images, masks):
        """The masked pictures, and three fills that differ by z."""
        rng = torch.Generator().manual_seed(self.config.seed)
        masked = mask_out(images, masks)
        with self.average_weights() as gan:
            z = torch.randn(3, len(images), gan.z_dim, generator=rng).to(self.device)
            fills = [gan(masked, masks, one) for one in z]
        return [masked, *fills, images]

    @contextmanager
    def released(self):
        with self.average_weights() as gan:
            gan.update_w_avg(generator=torch.Generator().manual_seed(self.config.seed))
            yield CoModGANPipeline(gan=gan)

    def save_beside(self, output_dir):
        self.adversaries.save(output_dir)
