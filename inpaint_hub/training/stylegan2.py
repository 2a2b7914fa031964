"""Training step of the StyleGAN2 generator and discriminator (SPEC C6)."""

from contextlib import contextmanager

import torch

from inpaint_hub.losses.adversarial import discriminator_loss, generator_loss, r1_penalty
from inpaint_hub.pipelines.stylegan2 import StyleGAN2Pipeline
from inpaint_hub.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator
from inpaint_hub.training.step import TrainingMethod


class StyleGAN2Training(TrainingMethod):
    """Non-saturating logistic loss, lazy R1, style mixing (SPEC C6)."""

    needs_masks = False

    def __init__(self, config, accelerator):
        super().__init__(config, accelerator)
        c = config
        channels = {"channel_base": c.channel_base, "channel_max": c.channel_max}
        if c.pretrained_model_name_or_path:
            gan = self.load_pretrained(StyleGAN2Generator, "gan")
        else:
            gan = StyleGAN2Generator(
                resolution=c.resolution,
                z_dim=c.z_dim,
                w_dim=c.w_dim,
                num_mapping_layers=c.num_mapping_layers,
                **channels,
            )
        # Lazy regularisation: the discriminator takes interval + 1 gradient steps per interval
        # steps.
        lazy = c.r1_interval / (c.r1_interval + 1)
        self.gan = self.prepare(gan, c.learning_rate)
        self.discriminator = self.prepare(
            StyleGAN2Discriminator(resolution=c.resolution, **channels),
            c.discr_learning_rate * lazy,
            c.adam_beta1**lazy,
            c.adam_beta2**lazy,
            schedule=c.discr_lr_scheduler,
        )
        self.track_average(self.gan, c.ema_decay)
        self.sample_z = torch.randn(64, gan.z_dim, generator=torch.Generator().manual_seed(c.seed))

    def fake(self, num_images, rng):
        """Pictures [N,3,s,s] from new latents, a share of them from two (style mixing)."""
        gan = self.accelerator.unwrap_model(self.gan)
        z, mixing_z = torch.randn(2, num_images, gan.z_dim, generator=rng).to(self.device)
        crossover = torch.randint(1, gan.num_ws, [num_images], generator=rng)
        unmixed = torch.rand(num_images, generator=rng) >= self.config.style_mixing_probability
        crossover[unmixed] = gan.num_ws
        return self.gan(
            z, noise_mode="random", generator=rng, mixing_z=mixing_z, crossover=crossover
        )

    def step(self, batch, number, rng):
        real = batch["image"]
        with torch.no_grad():
            fake = self.fake(len(real), rng)
        real_scores, fake_scores = self.discriminator(real), self.discriminator(fake)
        d_loss = discriminator_loss(real_scores, fake_scores)
        logs = {
            "discriminator_loss": d_loss.detach(),
            "real_score": real_scores.detach().mean(),
            "fake_score": fake_scores.detach().mean(),
        }
        if number % self.config.r1_interval == 0:
            # fp32: the penalty is a squared gradient, which bf16 rounds by a percent and fp16
            # overflows.
            with torch.autocast(self.device.type, enabled=False):
                images = real.detach().float().requires_grad_()
                r1 = r1_penalty(self.discriminator(images), images)
            d_loss = d_loss + self.config.r1_gamma / 2 * self.config.r1_interval * r1
            logs["r1_penalty"] = r1.detach()
        self.minimise(d_loss, self.discriminator, self.optimizers[1])

        self.discriminator.requires_grad_(False)
        g_loss = generator_loss(self.discriminator(self.fake(len(real), rng)))
        self.minimise(g_loss, self.gan, self.optimizers[0])
        self.discriminator.requires_grad_(True)
        return logs | {"generator_loss": g_loss.detach()}

    @torch.no_grad()
    def sample_rows(self, images, masks):
        with self.average_weights() as gan:
            pictures = gan(self.sample_z[: 4 * len(images)].to(self.device))
        return list(pictures.clamp(-1, 1).split(len(images)))

    @contextmanager
    def released(self):
        """The averaged generator as a pipeline of its own."""
        with self.average_weights() as gan:
            gan.update_w_avg(generator=torch.Generator().manual_seed(self.config.seed))
            yield StyleGAN2Pipeline(gan=gan)
