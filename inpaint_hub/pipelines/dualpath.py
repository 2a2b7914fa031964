"""Dual-path inpainting as a pipeline: inversion feeds an auto-encoder (Dual-path Fig. 2; SPEC
B6)."""

from dataclasses import dataclass

import torch
from PIL import Image

from inpaint_hub.compositing import reduced
from inpaint_hub.dualpath import DualPathInpainter
from inpaint_hub.dualpath.offset_field import draw_arrows, mean_offset
from inpaint_hub.images import to_pixels
from inpaint_hub.inversion import PSPEncoder
from inpaint_hub.invertfill import InvertFillEncoder
from inpaint_hub.pipelines.base import InpaintOutput, InpaintPipeline
from inpaint_hub.pipelines.windows import Generators
from inpaint_hub.stylegan2 import FWLatent, StyleGAN2Generator


@dataclass
class DualPathOutput(InpaintOutput):
    """As InpaintOutput, and for the same windows:

    generated: the inpainter's pictures [K * S,3,s,s] in [-1,1].
    inverted: those of the inversion path, G(w+), [K * S,3,r,r], unbounded around [-1,1], r being
        the generator's resolution, which is s but for inpainters with outer scales.
    offsets: {r: (dy, dx) [K * S,2,r,r] in px of r}, how far from each place the fusion reads the
        generator's features, on average; {} where nothing is aligned.

    Both are None where no network ran.
    """

    inverted: torch.Tensor | None = None
    offsets: dict | None = None

    def offset_pictures(
        self, resolution: int | None = None, side_px: int = 512, stretch: float = 1.0
    ) -> list[Image.Image]:
        """Offsets as arrows over `generated`: one PIL picture of side_px for each.

        Args:
            resolution: of the fused features; the finest where not given.
            stretch: arrows are so many times longer than what they show.

        Raises: ValueError when there are no such offsets.
        """
        known = sorted(self.offsets or {})
        resolution = known[-1] if resolution is None and known else resolution
        if resolution not in known:
            raise ValueError(
                f"resolution is {resolution}, expected one of {known}, where features were "
                "aligned; fill a hole with a deformable fusion first"
            )
        fields = self.offsets[resolution].cpu().numpy()
        pictures = zip(to_pixels(self.generated), fields)
        return [draw_arrows(pixels, field, side_px, stretch) for pixels, field in pictures]


class DualPathPipeline(InpaintPipeline):
    """Fills holes by an auto-encoder that a frozen StyleGAN2 advises: features of the generator's
    inversion are aligned with and fused into its decoder (Dual-path, CVPR 2022).

    The inversion is pSp's, or InvertFill's, whose F&W+ features then enter the generator too.
    """

    model_cpu_offload_seq = "encoder->gan->inpainter"
    output_class = DualPathOutput
    shared_settings = {"inpainter": ("channel_base", "channel_max")}

    papers = ("Dual-path", "pSp", "StyleGAN2")

    def __init__(
        self,
        encoder: PSPEncoder | InvertFillEncoder,
        gan: StyleGAN2Generator,
        inpainter: DualPathInpainter,
    ) -> None:
        super().__init__()
        self.register_networks(encoder=encoder, gan=gan, inpainter=inpainter)
        if isinstance(encoder, InvertFillEncoder):
            self.papers = ("Dual-path", "InvertFill", "StyleGAN2")

    @property
    def resolution(self) -> int:
        return self.inpainter.resolution

    def encode(self, masked_image: torch.Tensor, mask: torch.Tensor) -> FWLatent:
        return super().encode(*reduced(masked_image, mask, self.gan.resolution))

    def render(
        self,
        latent: FWLatent,
        masked_image: torch.Tensor,
        mask: torch.Tensor,
        noise_mode: str = "const",
        generator: Generators = None,
        truncation_psi: float = 1.0,
    ) -> dict:
        """As the base's; `inverted` and `offsets` as DualPathOutput's."""
        inverted, semantic_features = self.generate(
            latent, noise_mode, generator, truncation_psi, return_features=True
        )
        dtype = self.inpainter.dtype
        generated, offsets = self.inpainter(
            masked_image.to(dtype),
            mask.to(dtype),
            {r: feature.to(dtype) for r, feature in semantic_features.items()},
            return_offsets=True,
        )
        return {
            "generated": generated,
            "inverted": inverted,
            "offsets": {r: mean_offset(offset) for r, offset in offsets.items()},
        }
