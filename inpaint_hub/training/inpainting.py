"""What every method that fills holes shares in training: losses on pictures, and discriminators on
composites."""

from dataclasses import replace

import torch

from inpaint_hub.compositing import composite, mask_out
from inpaint_hub.dualpath import PatchDiscriminator
from inpaint_hub.losses.objective import LossWeights
from inpaint_hub.losses.perceptual import NoFeatures, load_perceptual_network
from inpaint_hub.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator
from inpaint_hub.training.adversary import Adversaries, Adversary
from inpaint_hub.training.given import pipeline_index
from inpaint_hub.training.method import TrainingMethod
from inpaint_hub.training.projected import ProjectedAdversary


class InpaintingTraining(TrainingMethod):
    """Subclasses prepare `model` and its `optimizer`, and have loss(image, mask, generated, code)
    -> (scalar, logs)."""

    def __init__(self, config, accelerator):
        super().__init__(config, accelerator)
        seen = config.perceptual_weight or config.style_weight or config.psp_objective == "psp"
        network = load_perceptual_network(config.perceptual_network) if seen else NoFeatures()
        self.network = network.to(self.device, memory_format=torch.channels_last)

    def load_generator(self, outer_scales=0):
        """The given pipeline's generator, frozen.

        Raises: ValueError where its pictures, doubled outer_scales times, are not of the run's
            resolution.
        """
        c = self.config
        gan = self.load_pretrained(StyleGAN2Generator, "gan")
        expected = gan.resolution << outer_scales
        if expected != c.resolution:
            doubled = f", doubled {outer_scales} times" if outer_scales else ""
            raise ValueError(
                f"--resolution is {c.resolution} but the generator in "
                f"{c.pretrained_model_name_or_path!r} makes {gan.resolution} px pictures{doubled}; "
                f"use {expected}, or in Dual-path other --outer_scales"
            )
        return gan.eval().requires_grad_(False)

    def pipeline_of(self, kinds, purpose):
        """Class of the given pipeline, one of `kinds`.

        Raises: ValueError for another.
        """
        found = pipeline_index(self.config)["_class_name"]
        for kind in kinds:
            if found == kind.__name__:
                return kind
        raise ValueError(
            f"{self.config.pretrained_model_name_or_path!r} holds a {found}, expected a "
            f"{' or '.join(kind.__name__ for kind in kinds)} {purpose}"
        )

    def start_adversaries(self, resolution, channel_base, channel_max):
        """The discriminators of composites, where the config gives them a weight: StyleGAN2's
        starts from the one that the generator was trained with, if that lies beside it; others go
        on from an earlier run's of the same shape."""
        c = self.config
        self.adversaries = Adversaries(self)
        if c.adversarial_weight:
            patch = c.discriminator == "patch"
            discriminator = (
                self.patch_discriminator()
                if patch
                else self.composite_judge(resolution, channel_base, channel_max)
            )
            self.adversaries.add(c.adversarial_weight, Adversary(self, discriminator))
        if c.projected_weight:
            heads = ProjectedAdversary(self, resolution, with_mask=True)
            self.adversaries.add(c.projected_weight, heads)

    def patch_discriminator(self):
        new = PatchDiscriminator(channels=self.config.patch_channels)
        return self.beside(PatchDiscriminator, Adversary.subfolder, new.config) or new

    def composite_judge(self, resolution, channel_base, channel_max):
        """StyleGAN2's discriminator with a mask channel."""
        c = self.config
        discriminator = StyleGAN2Discriminator(
            resolution=resolution,
            channel_base=channel_base,
            channel_max=channel_max,
            mask_channel=True,
            mbstd_group_size=c.mbstd_group_size,
        )
        judge = None
        if c.pretrained_model_name_or_path:
            judge = self.discriminator_beside(c.pretrained_model_name_or_path)
        if judge is not None and discriminator.start_from(judge):
            self.accelerator.print("The discriminator starts from the one beside the pipeline.")
        return discriminator

    def loss_weights(self, fidelity=0.0):
        c = self.config
        return LossWeights(
            valid=c.valid_weight,
            hole=c.hole_weight,
            perceptual=c.perceptual_weight,
            style=c.style_weight,
            tv=c.tv_weight,
            multi_scale=c.lambda_msr,
            fidelity=fidelity,
        )

    @property
    def networks(self):
        """The trained module inside the wrappers."""
        return self.unwrapped(self.model)

    def features(self, pictures01):
        """Maps of the perceptual network, in the run's precision."""
        with self.accelerator.autocast():
            return self.network(pictures01)

    def options(self, rng):
        """Further arguments of the model's forward."""
        return {}

    def paint(self, image, mask, rng):
        """Generated pictures [N,3,s,s] and what else the model returns, as in training."""
        return self.model(
            mask_out(image, mask), mask, noise_mode="random", generator=rng, **self.options(rng)
        )

    def hole_weight(self, step):
        """Of the loss on the hole, in optimizer step `step`."""
        c = self.config
        half = c.max_train_steps / 2
        done = min(max((step - half) / max(c.max_train_steps - 1 - half, 1), 0.0), 1.0)
        return c.hole_weight + (c.hole_weight_end - c.hole_weight) * done

    def phases(self, step):
        c = self.config
        if c.hole_weight_end >= 0:
            self.objective.weights = replace(self.objective.weights, hole=self.hole_weight(step))
        if step >= c.tail_start:  # RFR's fine-tuning (SPEC A10)
            for module in self.networks.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.eval()
        if not self.adversaries.is_penalized(step):
            return [self.train_networks]
        return [self.penalize_discriminator, self.train_networks]

    def penalize_discriminator(self, batch, rng):
        return self.adversaries.penalize(batch["image"], batch["mask"], rng)

    def train_networks(self, batch, rng):
        """One step, and before it the discriminators' on the same composites (SPEC G2)."""
        image, mask = batch["image"], batch["mask"]
        generated, code = self.paint(image, mask, rng)
        loss, logs = self.loss(image, mask, generated, code)
        if self.adversaries:
            composited = composite(image, generated, mask)
            logs |= self.adversaries.judge(image, composited, mask, rng)
            fooled, terms = self.adversaries.fooled(composited, mask, rng)
            loss, logs = loss + fooled, logs | terms
        self.minimize(loss, self.model, self.optimizer)
        return logs | {"loss": loss}

    def fill(self, images, masks):
        """Composites [N,3,s,s] of the averaged weights: the last row but one of the samples."""
        return self.sample_rows(images, masks)[-2]

    def after_step(self, step):
        super().after_step(step)
        self.adversaries.after_step()

    def save_beside(self, output_dir):
        self.adversaries.save(output_dir)
