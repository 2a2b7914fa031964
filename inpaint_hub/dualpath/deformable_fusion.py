"""Deformable feature fusion: the generator's features are aligned with the decoder's, then added
through a gate (Dual-path Fig. 3; SPEC B4)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.2
KERNEL = 3
NUM_TAPS = KERNEL**2
DEFORM_VERSIONS = ("v1", "v2")


def deform_conv2d(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    modulation: Tensor | None = None,
) -> Tensor:
    """Deformable convolution of stride 1 that keeps the size (Dai et al., 2017; with modulation
    DCNv2, Zhu et al., 2019).

        y(p) = bias + sum over taps k of W_k modulation_k(p) x(p + p_k + offset_k(p))

    with p_k the K taps of an ordinary kernel, row by row, and x read bilinearly, zero beyond its
    border. Plain PyTorch: one grid_sample and one matrix product.

    Args:
        x: [N,C,H,W].
        offset: [N,2Kg,H,W] in px, for each of g groups of channels and each tap (dy, dx).
        weight: [O,C,k,k], k odd; K = k * k. bias: [O].
        modulation: [N,Kg,H,W], for each group and tap; 1 where not given (version 1).

    Raises: ValueError for shapes that do not fit each other.
    """
    n, channels, height, width = x.shape
    out_channels, weight_channels, size, _ = weight.shape
    taps = size**2
    groups = offset.shape[1] // (2 * taps)
    expected = (n, 2 * taps * groups, height, width)
    if not groups or channels % groups or weight_channels != channels or offset.shape != expected:
        raise ValueError(
            f"x has shape {tuple(x.shape)}, offset {tuple(offset.shape)}, weight "
            f"{tuple(weight.shape)}; expected weight [O,{channels},k,k] and offset "
            f"[{n},2*k*k*groups,{height},{width}] with groups that divide {channels}"
        )
    if modulation is not None and modulation.shape != (n, taps * groups, height, width):
        raise ValueError(
            f"modulation has shape {tuple(modulation.shape)}, expected "
            f"{(n, taps * groups, height, width)}: one for each pair of offsets"
        )
    # Half precision cannot tell neighboring pixels apart beyond the first few hundred.
    exact = torch.promote_types(x.dtype, torch.float32)
    offset = offset.to(exact).reshape(n * groups, taps, 2, height, width)
    place = {"dtype": exact, "device": x.device}
    tap = torch.arange(size, **place) - size // 2
    rows = torch.arange(height, **place)[:, None] + tap.repeat_interleave(size)[:, None, None]
    columns = torch.arange(width, **place) + tap.repeat(size)[:, None, None]
    rows, columns = rows + offset[:, :, 0], columns + offset[:, :, 1]
    # Pixel centers at (2i + 1) / size - 1: for sizes that are powers of two without rounding.
    grid = torch.stack([(2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1], dim=-1)
    read = F.grid_sample(
        x.to(exact).reshape(n * groups, channels // groups, height, width),
        grid.reshape(n * groups, taps * height, width, 2),
        mode="bilinear",
        padding_mode="zeros",
        align_corners=False,
    ).to(x.dtype)
    read = read.reshape(n, groups, channels // groups, taps, height * width)
    if modulation is not None:
        # In the layout of what is read: two layouts in one product cost as much as the reading.
        modulation = modulation.to(x.dtype).contiguous()
        read = read * modulation.reshape(n, groups, 1, taps, height * width)
    read = read.reshape(n, channels * taps, height, width)
    return F.conv2d(read, weight.flatten(1)[:, :, None, None], bias)


def conv3x3(in_channels: int, out_channels: int, zero: bool = False) -> nn.Conv2d:
    """3x3 convolution that keeps the size; `zero`: it starts as zero."""
    conv = nn.Conv2d(in_channels, out_channels, KERNEL, padding=KERNEL // 2)
    if zero:
        nn.init.zeros_(conv.weight)
        nn.init.zeros_(conv.bias)
    return conv


class DeformableAlignment(nn.Module):
    """Moves f to where x has the same content; at first an ordinary convolution (SPEC B4, 2-4).

    version: "v2" weighs every tap by a predicted modulation in [0,2], "v1" does not.
    """

    def __init__(self, channels: int, groups: int, version: str) -> None:
        super().__init__()
        self.num_offsets = 2 * NUM_TAPS * groups
        self.compare = nn.Sequential(
            conv3x3(2 * channels + 1, channels),
            nn.LeakyReLU(SLOPE),
            conv3x3(channels, channels),
            nn.LeakyReLU(SLOPE),
        )
        num_modulations = NUM_TAPS * groups if version == "v2" else 0
        self.to_offset = conv3x3(channels, self.num_offsets + num_modulations, zero=True)
        self.conv = conv3x3(channels, channels)

    def forward(self, x: Tensor, f: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """x, f [N,C,r,r], mask [N,1,r,r] -> aligned f [N,C,r,r], offset [N,2Kg,r,r] in px."""
        predicted = self.to_offset(self.compare(torch.cat([x, f, mask], dim=1)))
        offset, logits = predicted.tensor_split([self.num_offsets], dim=1)
        # sigmoid(0) is a half: twice that leaves the first convolution as it is.
        modulation = 2 * logits.sigmoid() if logits.shape[1] else None
        return deform_conv2d(f, offset, self.conv.weight, self.conv.bias, modulation), offset


class FeatureFusion(nn.Module):
    """The decoder's features, with the generator's added: at first nothing is (SPEC B4).

    Args:
        channels: C of the decoder's features. semantic_channels: C_r of the generator's.
        alignment: DeformableAlignment; None merely concatenates (Dual-path Fig. 3(a)).
    """

    def __init__(
        self, channels: int, semantic_channels: int, alignment: DeformableAlignment | None = None
    ) -> None:
        super().__init__()
        self.from_semantic = nn.Conv2d(semantic_channels, channels, 1)
        self.alignment = alignment
        self.gate = conv3x3(2 * channels + 1, channels)
        self.update = conv3x3(2 * channels, channels, zero=True)

    def forward(self, x: Tensor, semantic: Tensor, mask: Tensor) -> tuple[Tensor, Tensor | None]:
        """x [N,C,r,r], semantic [N,C_r,r,r], mask [N,1,R,R] -> fused [N,C,r,r] and the offset
        [N,2Kg,r,r] in px, None without alignment.

        The mask is averaged down to r: each value is the share of hole.
        """
        mask = F.adaptive_avg_pool2d(mask, x.shape[-2:])
        f, offset = self.from_semantic(semantic), None
        if self.alignment is not None:
            f, offset = self.alignment(x, f, mask)
        gate = self.gate(torch.cat([x, f, mask], dim=1)).sigmoid()
        return x + gate * self.update(torch.cat([x, f], dim=1)), offset
