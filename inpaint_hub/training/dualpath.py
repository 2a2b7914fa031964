"""Training phases of the Dual-path inpainter on a trained inversion (SPEC B5, SPEC B6)."""

from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import nn

from inpaint_hub.compositing import composite, mask_out, reduced
from inpaint_hub.dualpath import DualPathInpainter
from inpaint_hub.dualpath.widening import WIDENING_NOISE, widen
from inpaint_hub.inversion import PSPEncoder
from inpaint_hub.inversion.encoder import InversionEncoder
from inpaint_hub.invertfill import InvertFillEncoder
from inpaint_hub.losses.objective import InpaintingObjective
from inpaint_hub.pipelines.dualpath import DualPathPipeline
from inpaint_hub.pipelines.invertfill import InvertFillPipeline
from inpaint_hub.pipelines.psp import PSPPipeline
from inpaint_hub.stylegan2 import StyleGAN2Generator
from inpaint_hub.training.given import pipeline_index
from inpaint_hub.training.inpainting import InpaintingTraining
from inpaint_hub.training.rules import numbers_of

LARGE_OFFSET_PX = 50


class DualPath(nn.Module):
    """Both paths as one module: distributed training needs one forward pass."""

    def __init__(
        self,
        encoder: InversionEncoder,
        gan: StyleGAN2Generator,
        inpainter: DualPathInpainter,
        train_inversion: bool,
    ):
        super().__init__()
        self.encoder, self.gan, self.inpainter = encoder, gan, inpainter
        self.train_inversion = train_inversion

    def forward(
        self,
        masked_image: torch.Tensor,
        mask: torch.Tensor,
        noise_mode: str = "const",
        generator: torch.Generator | None = None,
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, dict[int, torch.Tensor]]]:
        """masked_image [N,3,s,s], mask [N,1,s,s] -> (picture [N,3,s,s], (G(w+) [N,3,r,r], {r:
        offsets})), r being the generator's resolution."""
        with torch.set_grad_enabled(self.train_inversion and torch.is_grad_enabled()):
            small = reduced(masked_image, mask, self.gan.resolution)
            latent = self.encoder.invert(*small, self.gan)
            inverted, semantic_features = self.gan.synthesis(
                *latent, noise_mode=noise_mode, generator=generator, return_features=True
            )
        generated, offsets = self.inpainter(
            masked_image, mask, semantic_features, return_offsets=True
        )
        return generated, (inverted, offsets)


class DualPathTraining(InpaintingTraining):
    """L_ipt and a discriminator on composites; inversion frozen unless trained jointly.

    The given pipeline is the inversion (pSp or InvertFill), or a DualPathPipeline to train further,
    with `widen` as one of more channels, or with grow_from the inversion of one.
    """

    def __init__(self, config, accelerator):
        super().__init__(config, accelerator)
        c = config
        kind = self.pipeline_of(
            (PSPPipeline, InvertFillPipeline, DualPathPipeline),
            "with the inversion; train one first with --method psp",
        )
        if c.widen > 1 and kind is not DualPathPipeline:
            raise ValueError(
                f"--widen is {c.widen} but {c.pretrained_model_name_or_path!r} is a "
                f"{kind.__name__}, which has no inpainter to widen; give a DualPathPipeline"
            )
        encoder = self.load_pretrained(self.encoder_class(), "encoder")
        if kind is DualPathPipeline and not c.grow_from:
            inpainter = self.load_pretrained(DualPathInpainter, "inpainter")
            if c.widen > 1:
                inpainter = self.widened(inpainter)
            inpainter.train()
            gan = self.load_generator(inpainter.outer_scales)
        else:
            gan = self.load_generator(c.outer_scales)
            inpainter = DualPathInpainter(
                resolution=c.resolution,
                channels=c.inpainter_channels,
                channel_base=gan.channel_base,
                channel_max=gan.channel_max,
                fusion=c.fusion,
                fusion_resolutions=numbers_of(c.fusion_resolutions),
                deform=c.deform,
                dilations=numbers_of(c.dilations),
                groups=c.groups or None,
                outer_scales=c.outer_scales,
            )
            if c.grow_from:
                inpainter.grow_from(
                    self.load_pretrained(DualPathInpainter, "inpainter", c.grow_from)
                )
        encoder.eval().requires_grad_(c.train_inversion)
        if isinstance(encoder, InvertFillEncoder):  # what no picture here depends on
            if encoder.pre_modulation is None:
                encoder.rgb_heads.requires_grad_(False)
            if encoder.noise_levels != "none":
                encoder.noise_gate.requires_grad_(False)
        groups = [{"params": list(inpainter.parameters())}]
        if c.train_inversion:
            slower = self.scaled(c.learning_rate) * c.inversion_lr_scale
            trained = [p for p in encoder.parameters() if p.requires_grad]
            groups.append({"params": trained, "lr": slower})
        self.model, self.optimizer = self.prepare(
            DualPath(encoder, gan, inpainter, c.train_inversion), c.learning_rate, groups=groups
        )
        self.track_average(self.model)
        self.objective = InpaintingObjective(self.features, self.loss_weights())
        self.start_adversaries(c.resolution, gan.channel_base, gan.channel_max)

    def widened(self, narrow):
        """An inpainter of `widen` times the channels that begins as the given one's function."""
        fields = {**narrow.config, "channels": narrow.config["channels"] * self.config.widen}
        wide = DualPathInpainter(**fields)
        widen(wide, narrow, WIDENING_NOISE, self.config.seed)
        return wide

    def encoder_class(self):
        """The class of the given pipeline's encoder, as its index names it."""
        named = pipeline_index(self.config)["encoder"][1]
        return InvertFillEncoder if named == InvertFillEncoder.__name__ else PSPEncoder

    def loss(self, image, mask, generated, code):
        inverted, offsets = code
        loss, logs = self.objective(image, mask, generated)
        if self.config.train_inversion:
            # The last rows of ws enter no fused feature; distributed training waits for all.
            loss = loss + 0 * inverted.sum()
        if offsets:
            logs["mean_offset_px"] = sum(o.abs().mean() for o in offsets.values()) / len(offsets)
        return loss, logs

    def warnings(self, values):
        """EDVR's sign of deformable convolutions that came apart."""
        offset = values.get("mean_offset_px", 0.0)
        if offset > LARGE_OFFSET_PX:
            yield (
                f"The mean offset of the deformable fusion is {offset:.0f} px, above "
                f"{LARGE_OFFSET_PX}: it has come apart; go on from an earlier checkpoint with a "
                "lower --learning_rate, or use --fusion concat"
            )

    @torch.no_grad()
    def sample_rows(self, images, masks):
        masked = mask_out(images, masks)
        with self.average_weights() as networks:
            generated, (inverted, _) = networks(masked, masks)
        inverted = F.interpolate(inverted, generated.shape[-2:], mode="nearest")
        return [masked, inverted, generated, composite(images, generated, masks), images]

    @contextmanager
    def released(self):
        with self.average_weights() as networks:
            yield DualPathPipeline(
                encoder=networks.encoder, gan=networks.gan, inpainter=networks.inpainter
            )
