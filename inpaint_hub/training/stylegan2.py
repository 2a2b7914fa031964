"""Training phases of the StyleGAN2 generator and discriminator (SPEC C6)."""

from contextlib import contextmanager
from pathlib import Path

import torch

from inpaint_hub.losses.adversarial import path_length_penalty, path_lengths
from inpaint_hub.pipelines.stylegan2 import StyleGAN2Pipeline
from inpaint_hub.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator
from inpaint_hub.training.adversary import Adversaries, Adversary
from inpaint_hub.training.augment import draw
from inpaint_hub.training.given import hub_options
from inpaint_hub.training.method import TrainingMethod
from inpaint_hub.training.projected import ProjectedAdversary


class MeanPathLength:
    """Running mean of the path lengths; `value` is a scalar tensor."""

    def __init__(self, decay, device):
        self.decay, self.value = decay, torch.zeros([], device=device)

    def update(self, mean_length):
        self.value = self.value.lerp(mean_length, self.decay)
        return self.value

    def state_dict(self):
        return {"value": self.value}

    def load_state_dict(self, state):
        self.value = state["value"].to(self.value)


class StyleGAN2Training(TrainingMethod):
    """Non-saturating logistic loss, lazy R1, path length, style mixing, ADA (SPEC C6)."""

    needs_masks = False

    def __init__(self, config, accelerator):
        super().__init__(config, accelerator)
        gan, discriminator = self.new_networks()
        # Lazy regularization: one more gradient step per path_length_interval steps.
        lazy = 1.0
        if config.path_length_weight:
            lazy = config.path_length_interval / (config.path_length_interval + 1)
        self.gan, self.optimizer = self.prepare(
            gan, config.learning_rate * lazy, config.adam_beta1**lazy, config.adam_beta2**lazy
        )
        self.adversaries = Adversaries(self)
        if config.discriminator != "none":
            self.adversaries.add(1.0, Adversary(self, discriminator))
        if config.projected_weight:
            heads = ProjectedAdversary(self, gan.resolution, with_mask=False)
            self.adversaries.add(config.projected_weight, heads)
        self.mean_length = MeanPathLength(config.path_length_decay, self.device)
        self.states["mean_length"] = self.mean_length
        self.track_average(self.gan)
        self.sample_z = torch.randn(
            4 * config.num_validation_images,
            gan.z_dim,
            generator=torch.Generator().manual_seed(config.seed),
        )

    def new_networks(self):
        """Generator and discriminator: new, trained further, or grown from half the resolution."""
        c = self.config
        widths = {"channel_base": c.channel_base, "channel_max": c.channel_max}
        judge = {"resolution": c.resolution, "mbstd_group_size": c.mbstd_group_size, **widths}
        if c.pretrained_model_name_or_path:
            gan = self.load_pretrained(StyleGAN2Generator, "gan")
            judge |= {name: gan.config[name] for name in ("resolution", *widths)}
            if gan.resolution != c.resolution:
                raise ValueError(
                    f"--resolution is {c.resolution} but the generator in "
                    f"{c.pretrained_model_name_or_path!r} makes {gan.resolution} px pictures; use "
                    "that, or --grow_from to double it"
                )
            return gan, self.discriminator_of(c.pretrained_model_name_or_path, judge)
        gan = StyleGAN2Generator(
            resolution=c.resolution,
            z_dim=c.z_dim,
            w_dim=c.w_dim,
            num_mapping_layers=c.num_mapping_layers,
            **widths,
        )
        discriminator = StyleGAN2Discriminator(**judge)
        if c.grow_from:
            options = hub_options(c)
            gan.grow_from(
                StyleGAN2Generator.from_pretrained(c.grow_from, subfolder="gan", **options)
            )
            smaller = self.discriminator_of(c.grow_from, judge | {"resolution": c.resolution // 2})
            discriminator.grow_from(smaller)
        return gan.train(), discriminator

    def discriminator_of(self, pipeline, config):
        """The discriminator saved beside a generator; a new one, with a word, where there is
        none."""
        found = self.discriminator_beside(pipeline)
        if found is None:
            self.accelerator.print(f"{pipeline} holds no discriminator: starting with a new one.")
            return StyleGAN2Discriminator(**config)
        return found

    def fake(self, rng, return_ws=False):
        """Pictures [N,3,s,s] from new latents, a share of them from two (style mixing)."""
        gan = self.unwrapped(self.gan)
        z, mixing_z = self.normal(rng, 2 * gan.z_dim).chunk(2, dim=1)
        place, chance = draw(torch.rand, rng, 2).unbind(dim=1)
        crossover = 1 + (place * (gan.num_ws - 1)).long()
        crossover[chance >= self.config.style_mixing_probability] = gan.num_ws
        return self.gan(
            z,
            noise_mode="random",
            generator=rng,
            mixing_z=mixing_z,
            crossover=crossover,
            return_ws=return_ws,
        )

    def phases(self, step):
        c = self.config
        penalized = self.adversaries.is_penalized(step)
        if c.shared_fakes:
            chosen = [self.penalize_discriminator] * penalized + [self.train_both]
        else:
            chosen = [self.train_discriminator]
            chosen += [self.penalize_discriminator] * penalized + [self.train_generator]
        if c.path_length_weight and step % c.path_length_interval == 0:
            chosen.append(self.regularize_paths)
        return chosen

    def train_discriminator(self, batch, rng):
        with torch.no_grad():
            fake = self.fake(rng)
        return self.adversaries.judge(batch["image"], fake, None, rng)

    def penalize_discriminator(self, batch, rng):
        return self.adversaries.penalize(batch["image"], None, rng)

    def train_generator(self, batch, rng):
        return self.fool(self.fake(rng), rng)

    def train_both(self, batch, rng):
        """The discriminators' step and the generator's on the same pictures."""
        fake = self.fake(rng)
        return self.adversaries.judge(batch["image"], fake, None, rng) | self.fool(fake, rng)

    def fool(self, fake, rng):
        loss, logs = self.adversaries.fooled(fake, None, rng)
        self.minimize(loss, self.gan, self.optimizer)
        return logs | {"generator_loss": loss}

    def after_step(self, step):
        super().after_step(step)
        self.adversaries.after_step()

    def regularize_paths(self, batch, rng):
        """On every second picture: the graph of second derivatives is large."""
        c, rng = self.config, rng[::2]
        pictures, ws = self.fake(rng, return_ws=True)
        noise = self.normal(rng, pictures[0].numel()).view_as(pictures)
        lengths = path_lengths(pictures, ws, noise)
        mean = self.mean_length.update(self.mean_over_processes(lengths.mean()))
        penalty = path_length_penalty(lengths, mean)
        # Parameters that do not enter the penalty (the last bias) still need a gradient, of zero,
        # where several processes wait for it.
        loss = c.path_length_weight * c.path_length_interval * penalty + 0 * pictures.sum()
        self.minimize(loss, self.gan, self.optimizer)
        return {"path_length": lengths.mean(), "path_length_penalty": penalty}

    @torch.no_grad()
    def samples(self, start, stop):
        """Pictures [N,3,s,s] of the averaged weights, of latents number start to stop of a fixed
        list."""
        rng = [torch.Generator().manual_seed(i) for i in range(start, stop)]
        with self.average_weights() as gan:
            return gan(draw(torch.randn, rng, gan.z_dim).to(self.device))

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

    def save_beside(self, output_dir):
        self.adversaries.save(Path(output_dir))
