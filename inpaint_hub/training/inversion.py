"""Training steps of the inversion encoders on a frozen generator: InvertFill (Eq. 7) and pSp."""

from contextlib import contextmanager

import torch

from inpaint_hub.compositing import composite, mask_out
from inpaint_hub.inversion.psp import PSPEncoder
from inpaint_hub.invertfill.encoder import InvertFillEncoder
from inpaint_hub.invertfill.latents import FWLatent
from inpaint_hub.invertfill.mean_latent import SoftMeanLatent
from inpaint_hub.losses.objective import InvertFillObjective, LossWeights
from inpaint_hub.losses.perceptual import load_perceptual_network, perceptual_loss
from inpaint_hub.pipelines.invertfill import InvertFillPipeline
from inpaint_hub.pipelines.psp import PSPPipeline
from inpaint_hub.stylegan2 import StyleGAN2Generator
from inpaint_hub.training.step import TrainingMethod


class EncoderTraining(TrainingMethod):
    """What InvertFill and pSp share: a frozen generator and a trained encoder."""

    needs_masks = True

    def __init__(self, config, accelerator):
        super().__init__(config, accelerator)
        gan = self.load_pretrained(StyleGAN2Generator, "gan")
        if gan.resolution != config.resolution:
            raise ValueError(
                f"--resolution is {config.resolution} but the generator in "
                f"{config.pretrained_model_name_or_path!r} makes {gan.resolution} px pictures; use "
                f"that"
            )
        self.gan = (
            gan.eval().requires_grad_(False).to(self.device, memory_format=torch.channels_last)
        )
        w_rng = torch.Generator().manual_seed(config.seed)
        self.w_mean, self.w_std = (w.to(self.device) for w in gan.w_statistics(generator=w_rng))
        network = load_perceptual_network(config.perceptual_network)
        self.network = network.to(self.device, memory_format=torch.channels_last)
        self.encoder = self.prepare(self.new_encoder(), config.learning_rate)
        self.track_average(self.encoder, config.ema_decay)

    def step(self, batch, number, rng):
        image, mask = batch["image"], batch["mask"]
        loss, logs = self.loss(image, mask, rng)
        self.minimise(loss, self.encoder, self.optimizers[0])
        return {name: value.detach() for name, value in logs.items()} | {"loss": loss.detach()}

    def render(self, latent, **noise):
        return self.gan.synthesis(latent.ws, latent.features, latent.rgb_features, **noise)


class InvertFillTraining(EncoderTraining):
    """InvertFill: the objective of Eq. (7), the soft-update mean latent, a frozen generator."""

    def new_encoder(self):
        c, gan = self.config, self.gan
        encoder = InvertFillEncoder(
            resolution=gan.resolution,
            w_dim=gan.w_dim,
            channel_base=gan.channel_base,
            channel_max=gan.channel_max,
            backbone=c.backbone,
            backbone_width=c.backbone_width,
            mask_channel=c.mask_channel,
            style_channels=c.style_channels,
            structure_channels=c.structure_channels,
            premodulation=c.premodulation,
            fw_mode=c.fw_mode,
        )
        encoder.initialise_latents(self.w_mean.cpu(), self.w_std.cpu())
        return encoder

    def __init__(self, config, accelerator):
        super().__init__(config, accelerator)
        c = config
        self.mean_latent = SoftMeanLatent(
            self.gan.mapping,
            mode=c.sml_mode,
            tau=c.sml_tau,
            num_mean_samples=c.sml_num_mean_samples,
            arrival_tolerance=c.sml_arrival_tolerance,
            w_avg=self.w_mean,
            generator=torch.Generator().manual_seed(c.seed),
        )
        accelerator.register_for_checkpointing(self.mean_latent)
        self.objective = InvertFillObjective(
            self.network,
            LossWeights(
                valid=c.valid_weight,
                hole=c.hole_weight,
                perceptual=c.perceptual_weight,
                style=c.style_weight,
                tv=c.tv_weight,
                multi_scale=c.lambda_msr,
                fidelity=c.lambda_fid,
            ),
            msr_min_size=c.msr_min_size,
        )

    def loss(self, image, mask, rng):
        code = self.encoder(mask_out(image, mask), mask)
        generated = self.render(code.latent, noise_mode="random", generator=rng)
        w_bar = self.mean_latent.w_bar_online.to(self.device)
        return self.objective(
            image, mask, generated, code.coarse, code.latent.ws, w_bar, self.w_std
        )

    def after_step(self):
        super().after_step()
        self.mean_latent.step()

    @torch.no_grad()
    def sample_rows(self, images, masks):
        masked = mask_out(images, masks)
        with self.average_weights() as encoder:
            code = encoder(masked, masks)
        generated = self.render(code.latent)
        size = images.shape[-2:]
        coarse = [torch.nn.functional.interpolate(o, size, mode="nearest") for o in code.coarse]
        return [masked, *coarse, generated, composite(images, generated, masks), images]

    @contextmanager
    def released(self):
        with self.average_weights() as encoder:
            yield InvertFillPipeline(encoder=encoder, gan=self.gan)


class PSPTraining(EncoderTraining):
    """pSp on masked pictures: mean squared error and perceptual loss on the whole picture (SPEC
    D)."""

    def new_encoder(self):
        c, gan = self.config, self.gan
        encoder = PSPEncoder(
            resolution=gan.resolution,
            w_dim=gan.w_dim,
            backbone=c.backbone,
            backbone_width=c.backbone_width,
            mask_channel=c.mask_channel,
            style_channels=c.style_channels,
        )
        encoder.set_w_avg(self.w_mean.cpu())
        return encoder

    def loss(self, image, mask, rng):
        ws = self.encoder(mask_out(image, mask), mask)
        generated = self.render(FWLatent(ws), noise_mode="random", generator=rng)
        real01, fake01 = (image + 1) / 2, (generated + 1) / 2
        logs = {
            "reconstruction_loss": (fake01 - real01).square().mean(),
            "perceptual_loss": perceptual_loss(self.network(fake01), self.network(real01)),
        }
        c = self.config
        total = (
            c.hole_weight * logs["reconstruction_loss"]
            + c.perceptual_weight * logs["perceptual_loss"]
        )
        return total, logs

    @torch.no_grad()
    def sample_rows(self, images, masks):
        masked = mask_out(images, masks)
        with self.average_weights() as encoder:
            generated = self.render(FWLatent(encoder(masked, masks)))
        return [masked, generated, composite(images, generated, masks), images]

    @contextmanager
    def released(self):
        with self.average_weights() as encoder:
            yield PSPPipeline(encoder=encoder, gan=self.gan)
