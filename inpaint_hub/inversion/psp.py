"""pSp's encoder, shown masked pictures: one style head per generator layer (SPEC D)."""

import torch
from torch import Tensor, nn

from inpaint_hub.inversion.backbone import build_backbone, encoder_input
from inpaint_hub.inversion.encoder import InversionEncoder
from inpaint_hub.inversion.style_heads import MapToStyle, check_input_size, level_of
from inpaint_hub.stylegan2.growth import check_growth, with_more_rows
from inpaint_hub.stylegan2.latents import FWLatent
from inpaint_hub.stylegan2.synthesis import num_ws


class PSPEncoder(InversionEncoder):
    """Masked picture [N,3,H,H] in [-1,1], hole 0, and mask [N,1,H,H], 1 = hole -> ws [N,L,w_dim].

    Args:
        resolution: side s of the generator's pictures in px.
        w_dim: size of w.
        input_size: side e the picture is resized to; min(s, 256) where not given, as in pSp.
        backbone: irse50 | resnet34 | small; backbone_width: channels of its first stage.
        mask_channel: show the mask as fourth channel (without it a gray pixel looks like a hole).
        style_channels: width of the style heads (512 in pSp).
        delta_rows: the rows of ws after the first are offsets from it, as in e4e (Tov et al.,
            "Designing an Encoder for StyleGAN Image Manipulation", SIGGRAPH 2021).
    """

    def __init__(
        self,
        *,
        resolution: int = 256,
        w_dim: int = 512,
        input_size: int | None = None,
        backbone: str = "irse50",
        backbone_width: int = 64,
        mask_channel: bool = True,
        style_channels: int = 512,
        delta_rows: bool = False,
    ) -> None:
        super().__init__()
        self.resolution, self.mask_channel = resolution, mask_channel
        self.delta_rows = delta_rows
        self.input_size = input_size or min(resolution, 256)
        check_input_size(self.input_size)
        self.backbone = build_backbone(backbone, 4 if mask_channel else 3, backbone_width)
        spatial = [self.input_size // 16, self.input_size // 8, self.input_size // 4]
        self.map_to_style = nn.ModuleList(
            MapToStyle(spatial[level_of(i)], self.backbone.out_channels, style_channels, w_dim)
            for i in range(num_ws(resolution))
        )
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def set_w_avg(self, w_avg: Tensor) -> None:
        """Codes are offsets from this mean latent [w_dim] (pSp's start_from_latent_avg)."""
        self.w_avg.copy_(w_avg)

    def grow_from(self, smaller: nn.Module) -> None:
        """Copy an encoder for half the resolution, of the same input_size; the new rows of ws begin
        as its last (SPEC G7).

        Raises: ValueError where resolution or layers do not fit.
        """
        check_growth(self, smaller, free=["input_size"])
        self.load_state_dict(
            with_more_rows(smaller.state_dict(), "map_to_style", num_ws(self.resolution))
        )

    def latent_of(self, code: Tensor, gan: nn.Module | None = None) -> FWLatent:
        """W+ alone: the generator sees nothing but the codes (InvertFill Eq. (2))."""
        return FWLatent(code)

    def forward(self, masked_image: Tensor, mask: Tensor) -> Tensor:
        levels = self.backbone(
            encoder_input(masked_image, mask, self.input_size, self.mask_channel)
        )
        offsets = [head(levels[level_of(i)]) for i, head in enumerate(self.map_to_style)]
        if self.delta_rows:
            offsets = [offsets[0], *(offsets[0] + delta for delta in offsets[1:])]
        return self.w_avg + torch.stack(offsets, dim=1).to(self.w_avg.dtype)
