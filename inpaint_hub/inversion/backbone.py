"""Feature pyramids: picture [N,I,e,e] -> [coarse e/16, middle e/8, fine e/4] (SPEC A2).

A trunk gives three maps at e/4, e/8 and e/16; the pyramid carries the coarse ones up to the fine
ones.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inpaint_hub.hub import HubModel


class SqueezeExcitation(nn.Module):
    """Scales each channel by a gate computed from the means of all channels (Hu et al., 2018)."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.down = nn.Conv2d(channels, channels // reduction, 1, bias=False)
        self.up = nn.Conv2d(channels // reduction, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.up(F.relu(self.down(x.mean(dim=(2, 3), keepdim=True))))
        return x * gate.sigmoid()


class IRSEUnit(nn.Module):
    """Improved residual unit with squeeze-and-excitation, as in ArcFace's trunk (Deng et al.,
    2019)."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        if in_channels == channels:
            self.shortcut = nn.MaxPool2d(1, stride)
        else:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )
        self.residual = nn.Sequential(
            nn.BatchNorm2d(in_channels),
            nn.Conv2d(in_channels, channels, 3, 1, 1, bias=False),
            nn.PReLU(channels),
            nn.Conv2d(channels, channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels),
            SqueezeExcitation(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.residual(x)


class BasicBlock(nn.Module):
    """ResNet's two-convolution block (He et al., 2016)."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.shortcut = nn.Identity()
        if stride != 1 or in_channels != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.shortcut(x) + self.residual(x))


class SmallBlock(nn.Module):
    """Strided convolution and a residual pair, group-normalized: works at any batch size."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(in_channels, channels, 3, stride, 1)
        self.residual = nn.Sequential(
            nn.GroupNorm(8, channels),
            nn.LeakyReLU(0.2),
            nn.Conv2d(channels, channels, 3, 1, 1),
            nn.GroupNorm(8, channels),
            nn.LeakyReLU(0.2),
            nn.Conv2d(channels, channels, 3, 1, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.down(x)
        return x + self.residual(x)


class Trunk(nn.Module):
    """Stem and four stages; the last three stages' outputs are the taps e/4, e/8, e/16."""

    def __init__(
        self,
        stem: nn.Module,
        block: Callable,
        in_channels: int,
        widths: list[int],
        depths: list[int],
        strides: list[int],
    ) -> None:
        super().__init__()
        self.stem = stem
        self.stages = nn.ModuleList()
        for width, depth, stride in zip(widths, depths, strides):
            first = block(in_channels, width, stride)
            rest = (block(width, width, 1) for _ in range(depth - 1))
            self.stages.append(nn.Sequential(first, *rest))
            in_channels = width
        self.channels = widths[1:]

    def forward(self, x: Tensor) -> list[Tensor]:
        taps = []
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
            taps.append(x)
        return taps[1:]


def irse50(in_channels: int, width: int) -> nn.Module:
    """pSp's trunk; `width` (64 there) is the first stage's channels, the others grow from it."""
    stem = nn.Sequential(
        nn.Conv2d(in_channels, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.PReLU(width)
    )
    widths = [width, 2 * width, 4 * width, 8 * width]
    return Trunk(stem, IRSEUnit, width, widths, [3, 4, 14, 3], [2, 2, 2, 2])


def resnet34(in_channels: int, width: int) -> nn.Module:
    """ResNet-34 without its max-pool, as ReStyle uses it outside the face domain."""
    stem = nn.Sequential(
        nn.Conv2d(in_channels, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.PReLU(width)
    )
    widths = [width, 2 * width, 4 * width, 8 * width]
    return Trunk(stem, BasicBlock, width, widths, [3, 4, 6, 3], [1, 2, 2, 2])


def small(in_channels: int, width: int) -> nn.Module:
    """One block a stage: for CPUs and tests."""
    widths = [width, 2 * width, 4 * width, 8 * width]
    return Trunk(nn.Identity(), SmallBlock, in_channels, widths, [1, 1, 1, 1], [2, 2, 2, 2])


BACKBONES = {"irse50": irse50, "resnet34": resnet34, "small": small}
WIDTH_STEPS = {"irse50": 16, "resnet34": 1, "small": 8}  # SE reduction; GroupNorm's groups


class FeaturePyramid(nn.Module):
    """[N,I,e,e] -> [coarse, middle, fine], each [N,out_channels,...]: top-down sums with 1x1
    laterals."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk
        fine, middle, self.out_channels = trunk.channels
        self.lateral_middle = nn.Conv2d(middle, self.out_channels, 1)
        self.lateral_fine = nn.Conv2d(fine, self.out_channels, 1)

    def forward(self, x: Tensor) -> list[Tensor]:
        fine, middle, coarse = self.trunk(x)
        middle = upsampled_to(coarse, middle) + self.lateral_middle(middle)
        fine = upsampled_to(middle, fine) + self.lateral_fine(fine)
        return [coarse, middle, fine]


def upsampled_to(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=True)


def encoder_input(masked_image: Tensor, mask: Tensor, size: int, mask_channel: bool) -> Tensor:
    """[N,3,H,W] and [N,1,H,W] -> [N,4 or 3,size,size]; larger pictures are averaged down."""
    x = torch.cat([masked_image, mask], dim=1) if mask_channel else masked_image
    if x.shape[-1] == size and x.shape[-2] == size:
        return x
    return F.interpolate(x, (size, size), mode="area")


def build_backbone(name: str, in_channels: int, width: int) -> nn.Module:
    """FeaturePyramid over the trunk `name`: irse50 | resnet34 | small.

    Raises: ValueError for another name, or a width its gates or groups do not divide.
    """
    if name not in BACKBONES:
        raise ValueError(f"backbone is {name!r}, expected one of {sorted(BACKBONES)}")
    step = WIDTH_STEPS[name]
    if width < step or width % step:
        raise ValueError(
            f"backbone_width is {width}, expected a multiple of {step} for the backbone {name!r}; "
            f"choose {max(step, round(width / step) * step)}"
        )
    return FeaturePyramid(BACKBONES[name](in_channels, width))


class EncoderTrunk(HubModel):
    """An IR-SE-50 trunk by itself, as face recognition trains it (ArcFace): what an encoder's
    backbone may begin as.

    Picture [N,in_channels,e,e] -> its maps at e/4, e/8 and e/16.
    """

    def __init__(self, *, in_channels: int = 3, width: int = 64) -> None:
        super().__init__()
        self.in_channels, self.width = in_channels, width
        self.trunk = irse50(in_channels, width)

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.trunk(x)


@torch.no_grad()
def start_trunk(pyramid: nn.Module, trunk: nn.Module) -> None:
    """Copy a trunk's weights into a FeaturePyramid's. Where the pyramid alone is shown the mask,
    the mask changes nothing at first (SPEC A2).

    Raises: ValueError where their layers differ.
    """
    own, given = pyramid.trunk.state_dict(), dict(trunk.state_dict())
    first = next((name for name in given if given[name].ndim == 4), None)
    if first in own and own[first].shape[1] == given[first].shape[1] + 1:
        blank = torch.zeros_like(given[first][:, :1])
        given[first] = torch.cat([given[first], blank], dim=1)
    shapes = {name: tuple(t.shape) for name, t in own.items()}
    different = [
        f"{name} {tuple(given[name].shape) if name in given else 'missing'}, expected {shape}"
        for name, shape in shapes.items()
        if name not in given or tuple(given[name].shape) != shape
    ] + [f"{name} too many" for name in given if name not in shapes]
    if different:
        raise ValueError(
            f"the trunk does not fit this backbone: {'; '.join(different[:3])}"
            f"{f'; and {len(different) - 3} more' if len(different) > 3 else ''}; give "
            "--backbone irse50 and the trunk's --backbone_width"
        )
    pyramid.trunk.load_state_dict(given)
