"""StyleGAN2's synthesis network: ws [N,L,w_dim] -> picture, with feature maps in and out (SPEC C1,
C5, A6, A7).
"""

import math

import torch
from torch import Tensor, nn

from inpaint_hub.stylegan2.layers import StyledConv, ToRGB
from inpaint_hub.stylegan2.resample import upsample

NOISE_MODES = ("const", "random", "none")


def num_ws(resolution: int) -> int:
    """L = 2 log2(s) - 2 style vectors (InvertFill section 3.1): 10 at 64 px, 14 at 256 px."""
    log2 = int(math.log2(resolution)) if resolution > 0 else 0
    if resolution < 8 or 2**log2 != resolution:
        raise ValueError(
            f"resolution is {resolution}, expected a power of two of at least 8 for StyleGAN2; "
            "choose 32, 64, 128, 256, 512 or 1024"
        )
    return 2 * log2 - 2


def channels_at(resolution: int, channel_base: int, channel_max: int) -> int:
    """Feature channels c(r) = min(channel_base / r, channel_max) (SPEC C1)."""
    return min(channel_base // resolution, channel_max)


def rows_of(resolution: int) -> slice:
    """The rows of ws that the block of this resolution reads, a slice (SPEC A6).

    The 4 px block reads 0 (convolution) and 1 (to RGB); block 2^j reads 2j-5 (up-convolution), 2j-4
    (convolution) and 2j-3 (to RGB, shared with the next block's up-convolution).
    """
    last = 2 * (resolution.bit_length() - 1) - 3
    return slice(last - 1 if resolution == 4 else last - 2, last + 1)


class SynthesisBlock(nn.Module):
    """Doubles the resolution (the first block instead starts from the learned 4 px constant)."""

    def __init__(
        self, in_channels: int | None, out_channels: int, w_dim: int, resolution: int
    ) -> None:
        super().__init__()
        self.first = in_channels is None
        if self.first:
            self.const = nn.Parameter(torch.randn(out_channels, resolution, resolution))
        else:
            self.up_conv = StyledConv(in_channels, out_channels, w_dim, resolution, up=True)
        self.conv = StyledConv(out_channels, out_channels, w_dim, resolution)
        self.to_rgb = ToRGB(out_channels, w_dim)

    def forward(
        self,
        x: Tensor | None,
        rgb: Tensor | None,
        ws: Tensor,
        feature: Tensor | None,
        rgb_feature: Tensor | None,
        noise_mode: str,
        generator: torch.Generator | list[torch.Generator] | None,
    ) -> tuple[Tensor, Tensor]:
        """x [N,I,r/2,r/2], rgb [N,3,r/2,r/2], ws [N,2 or 3,w_dim] -> x [N,O,r,r], rgb [N,3,r,r]."""
        if self.first:
            x = self.const.expand(ws.shape[0], *self.const.shape).to(ws.dtype)
        else:
            x = self.up_conv(x, ws[:, 0], noise_mode, generator)
            ws = ws[:, 1:]
        if feature is not None:  # InvertFill Eq. (3): F enters by element-wise addition
            x = x + feature.to(x.dtype)
        x = self.conv(x, ws[:, 0], noise_mode, generator)
        skip = self.to_rgb(x, ws[:, 1])
        rgb = skip if rgb is None else upsample(rgb) + skip
        if rgb_feature is not None:
            rgb = rgb + rgb_feature.to(rgb.dtype)
        return x, rgb


class SynthesisNetwork(nn.Module):
    """ws [N,L,w_dim] -> picture [N,3,s,s], unbounded around [-1,1]."""

    def __init__(self, resolution: int, w_dim: int, channel_base: int, channel_max: int) -> None:
        super().__init__()
        self.num_ws = num_ws(resolution)
        self.resolutions = [2**k for k in range(2, int(math.log2(resolution)) + 1)]
        widths = [channels_at(r, channel_base, channel_max) for r in self.resolutions]
        self.blocks = nn.ModuleDict(
            {
                str(r): SynthesisBlock(before, width, w_dim, r)
                for r, before, width in zip(self.resolutions, [None, *widths], widths)
            }
        )

    def check_inputs(self, ws: Tensor, noise_mode: str) -> None:
        """Raises: ValueError for an unknown noise_mode or a wrong number of style vectors."""
        if noise_mode not in NOISE_MODES:
            raise ValueError(f"noise_mode is {noise_mode!r}, expected one of {NOISE_MODES}")
        if ws.ndim != 3 or ws.shape[1] != self.num_ws:
            raise ValueError(
                f"ws has shape {tuple(ws.shape)}, expected [N,{self.num_ws},w_dim] for "
                f"{self.resolutions[-1]} px; repeat a single w with gan.map(z) or w[:, None].expand"
            )

    def forward(
        self,
        ws: Tensor,
        features: dict[int, Tensor] | None = None,
        rgb_features: dict[int, Tensor] | None = None,
        noise_mode: str = "const",
        generator: torch.Generator | list[torch.Generator] | None = None,
        return_features: bool = False,
    ) -> Tensor | tuple[Tensor, dict[int, Tensor]]:
        """Args: ws [N,L,w_dim]; features {r: [N,C_r,r,r]} added before the second convolution of
        block r (at 4 px: to the constant); rgb_features {r: [N,3,r,r]} added to the RGB skip;
        noise_mode const | random | none; generator one torch.Generator, or a list of N, for random
        noise. Returns the picture, or with return_features (picture, {r: activation read by block
        r's to-RGB}).

        Raises: ValueError for an unknown noise_mode or a wrong number of style vectors.
        """
        self.check_inputs(ws, noise_mode)
        features, rgb_features = features or {}, rgb_features or {}
        x = rgb = None
        activations = {}
        for r in self.resolutions:
            x, rgb = self.blocks[str(r)](
                x,
                rgb,
                ws[:, rows_of(r)],
                features.get(r),
                rgb_features.get(r),
                noise_mode,
                generator,
            )
            activations[r] = x
        return (rgb, activations) if return_features else rgb
