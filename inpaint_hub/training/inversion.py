"""Training phases of the inversion encoders: InvertFill (Eq. 7), pSp and Lahiri et al."""

from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from inpaint_hub.compositing import composite, mask_out
from inpaint_hub.inversion import EncoderTrunk, LahiriEncoder, PSPEncoder
from inpaint_hub.inversion.backbone import start_trunk
from inpaint_hub.inversion.encoder import InversionEncoder
from inpaint_hub.invertfill.encoder import InvertFillEncoder
from inpaint_hub.invertfill.mean_latent import SoftMeanLatent
from inpaint_hub.losses.inversion import identity_loss, unit_feature_loss, w_norm_loss
from inpaint_hub.losses.objective import InvertFillObjective
from inpaint_hub.losses.perceptual import perceptual_loss
from inpaint_hub.pipelines.invertfill import InvertFillPipeline
from inpaint_hub.pipelines.lahiri import LahiriPipeline
from inpaint_hub.pipelines.psp import PSPPipeline
from inpaint_hub.stylegan2 import StyleGAN2Generator
from inpaint_hub.training.inpainting import InpaintingTraining
from inpaint_hub.training.rules import numbers_of


def trunk_in(folder):
    """The trunk of a converted ArcFace (folder/trunk) or pSp and e4e (folder/encoder)."""
    if (Path(folder) / "trunk" / "config.json").is_file():
        return EncoderTrunk.from_pretrained(folder, subfolder="trunk").trunk
    return PSPEncoder.from_pretrained(folder, subfolder="encoder").backbone.trunk


class Inversion(nn.Module):
    """Encoder and generator as one module: distributed training needs one forward pass."""

    def __init__(self, encoder: InversionEncoder, gan: StyleGAN2Generator):
        super().__init__()
        self.encoder, self.gan = encoder, gan

    def forward(
        self,
        masked_image: torch.Tensor,
        mask: torch.Tensor,
        z: torch.Tensor | None = None,
        noise_mode: str = "const",
        generator: torch.Generator | None = None,
        **options: Any,
    ) -> tuple[torch.Tensor, Any]:
        """masked_image [N,3,s,s], mask [N,1,s,s] -> (picture [N,3,s,s], what the encoder returned,
        with the style vectors that were rendered).

        z [N,z_dim]: for co-modulation.
        """
        code = self.encoder(masked_image, mask, **options)
        latent = self.encoder.latent_of(code, self.gan)
        if z is not None:
            offset = self.gan.mapping(z) - self.gan.w_avg
            latent = latent._replace(ws=self.encoder.co_modulate(latent.ws, offset))
        generated = self.gan.synthesis(*latent, noise_mode=noise_mode, generator=generator)
        return generated, code


class EncoderTraining(InpaintingTraining):
    """What InvertFill and pSp share: a generator, frozen unless asked otherwise, and a trained
    encoder."""

    encoder_class = pipeline = None

    def __init__(self, config, accelerator):
        super().__init__(config, accelerator)
        c, gan = config, self.load_generator()
        self.w_mean, self.w_std = gan.w_statistics(generator=torch.Generator().manual_seed(c.seed))
        if c.pretrained_encoder:
            purpose = (
                f"whose encoder --method {c.method} trains further; choose the method it was "
                "trained with, or --no-pretrained_encoder for a new encoder"
            )
            self.pipeline_of([self.pipeline], purpose)
            encoder = self.load_pretrained(self.encoder_class, "encoder").train()
        else:
            encoder = self.grown_encoder(gan) if c.grow_from else self.new_encoder(gan)
        if c.pretrained_backbone:
            start_trunk(encoder.backbone, trunk_in(c.pretrained_backbone))
        groups = [{"params": list(encoder.parameters())}]
        if c.train_generator != "none":
            blocks = gan.synthesis.blocks
            trained = blocks if c.train_generator == "all" else blocks[str(gan.resolution)]
            trained.requires_grad_(True)
            slower = self.scaled(c.learning_rate) * c.generator_lr_scale
            groups.append({"params": list(trained.parameters()), "lr": slower})
        self.model, self.optimizer = self.prepare(
            Inversion(encoder, gan), c.learning_rate, groups=groups
        )
        self.track_average(self.model)
        self.w_mean, self.w_std = self.w_mean.to(self.device), self.w_std.to(self.device)
        self.start_adversaries(gan.resolution, gan.channel_base, gan.channel_max)

    def settings_for(self, gan: StyleGAN2Generator) -> dict[str, Any]:
        """Those that every encoder for this generator has."""
        c = self.config
        return {
            "resolution": gan.resolution,
            "backbone": c.backbone,
            "backbone_width": c.backbone_width,
            "mask_channel": c.mask_channel,
            "style_channels": c.style_channels,
            "input_size": c.input_size or None,
        }

    def grown_encoder(self, gan):
        """An encoder for this generator that starts from one for half its resolution."""
        smaller = self.load_pretrained(self.encoder_class, "encoder", self.config.grow_from)
        fields = {**smaller.config, "input_size": smaller.input_size}
        if "noise_levels" in fields:
            fields["noise_levels"] = self.config.noise_levels
        fields |= {name: gan.config[name] for name in fields if name in gan.config}
        encoder = self.encoder_class(**fields)
        encoder.grow_from(smaller)
        return encoder

    @contextmanager
    def released(self):
        with self.average_weights() as networks:
            yield self.pipeline(encoder=networks.encoder, gan=networks.gan)


class InvertFillTraining(EncoderTraining):
    """InvertFill: the objective of Eq. (7) and the soft-update mean latent."""

    encoder_class, pipeline = InvertFillEncoder, InvertFillPipeline

    def new_encoder(self, gan):
        c = self.config
        encoder = InvertFillEncoder(
            **self.settings_for(gan),
            w_dim=gan.w_dim,
            channel_base=gan.channel_base,
            channel_max=gan.channel_max,
            structure_channels=c.structure_channels,
            premodulation=c.premodulation,
            beta_sees_w=c.beta_sees_w,
            shared_fc=c.shared_fc,
            fw_mode=c.fw_mode,
            fw_resolutions=numbers_of(c.fw_resolutions),
            branch_channel_max=c.branch_channel_max,
            mean_offset=c.sml_mode == "offset",
            noise_levels=c.noise_levels,
        )
        encoder.initialize_latents(self.w_mean, self.w_std)
        return encoder

    def __init__(self, config, accelerator):
        super().__init__(config, accelerator)
        c = config
        self.mean_latent = None
        if c.sml_mode == "offset" and not self.networks.encoder.mean_offset:
            raise ValueError(
                "--sml_mode offset: the given encoder was trained without it; use loss, static or "
                "off, or --no-pretrained_encoder"
            )
        if c.sml_mode != "off":
            self.mean_latent = SoftMeanLatent(
                self.networks.gan.mapping,
                mode="static" if c.sml_mode == "static" else "soft",
                tau=c.sml_tau,
                num_mean_samples=c.sml_num_mean_samples,
                arrival_tolerance=c.sml_arrival_tolerance,
                w_avg=self.w_mean,
                generator=torch.Generator().manual_seed(c.seed),
            )
            self.states["mean_latent"] = self.mean_latent
        fidelity = c.lambda_fid if c.sml_mode in ("loss", "static") else 0.0
        self.objective = InvertFillObjective(
            self.features, self.loss_weights(fidelity), msr_min_size=c.msr_min_size
        )

    def options(self, rng):
        options = {}
        if self.config.sml_mode == "offset":
            options["mean_latent"] = self.mean_latent.w_bar_online.to(self.device)
        if self.networks.encoder.noise_levels != "none":
            options["z"] = self.normal(rng, self.networks.gan.z_dim)
        return options

    def loss(self, image, mask, generated, code):
        w_bar = self.w_mean
        if self.mean_latent is not None:
            w_bar = self.mean_latent.w_bar_online.to(self.device)
        total, logs = self.objective(
            image,
            mask,
            generated,
            code.coarse,
            code.latent.ws,
            w_bar,
            self.w_std if self.config.fid_normalise else None,
        )
        if self.mean_latent is not None:
            logs["sml_resamplings"] = torch.tensor(float(self.mean_latent.num_resamplings))
        return total, logs

    def after_step(self, step):
        super().after_step(step)
        if self.mean_latent is not None:
            self.mean_latent.step()

    @torch.no_grad()
    def sample_rows(self, images, masks):
        masked = mask_out(images, masks)
        with self.average_weights() as networks:
            generated, code = networks(masked, masks)
        size = images.shape[-2:]
        coarse = [F.interpolate(o, size, mode="nearest") for o in code.coarse]
        return [masked, *coarse, generated, composite(images, generated, masks), images]


class PSPTraining(EncoderTraining):
    """pSp on masked pictures, on the whole picture (SPEC D): by the masked variant's mean squared
    error and perceptual loss, or by its own objective."""

    encoder_class, pipeline = PSPEncoder, PSPPipeline

    def new_encoder(self, gan):
        encoder = PSPEncoder(**self.settings_for(gan), w_dim=gan.w_dim)
        encoder.set_w_avg(self.w_mean)
        return encoder

    def loss(self, image, mask, generated, code):
        real01, fake01 = (image + 1) / 2, (generated + 1) / 2
        if self.config.psp_objective == "psp":
            return self.own_loss(image, generated, code, real01, fake01)
        logs = {
            "reconstruction_loss": (fake01 - real01).square().mean(),
            "perceptual_loss": perceptual_loss(self.features(fake01), self.features(real01)),
        }
        c = self.config
        total = (
            c.hole_weight * logs["reconstruction_loss"]
            + c.perceptual_weight * logs["perceptual_loss"]
        )
        return total, logs

    def own_loss(self, image, generated, code, real01, fake01):
        """pSp's objective as published, whose L2 loss takes pictures in [-1,1]."""
        c = self.config
        maps, target_maps = self.features(fake01), self.features(real01)
        ws = self.networks.encoder.latent_of(code, self.networks.gan).ws
        logs = {
            "reconstruction_loss": (generated - image).square().mean(),
            "perceptual_loss": unit_feature_loss(maps, target_maps),
            "identity_loss": identity_loss(maps, target_maps),
            "w_norm_loss": w_norm_loss(ws, self.w_mean),
        }
        weights = c.pixel_weight, c.lpips_weight, c.identity_weight, c.w_norm_weight
        return sum(w * term for w, term in zip(weights, logs.values())), logs

    @torch.no_grad()
    def sample_rows(self, images, masks):
        masked = mask_out(images, masks)
        with self.average_weights() as networks:
            generated, _ = networks(masked, masks)
        return [masked, generated, composite(images, generated, masks), images]


class LahiriTraining(PSPTraining):
    """Lahiri et al.: pSp's losses on the picture of the predicted z (SPEC D); the settings of their
    paper could not be obtained."""

    encoder_class, pipeline = LahiriEncoder, LahiriPipeline

    def new_encoder(self, gan):
        return LahiriEncoder(**self.settings_for(gan), z_dim=gan.z_dim)
