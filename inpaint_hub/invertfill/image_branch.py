"""The branch through which I_m enters the generator: the F of F&W+ (InvertFill Eq. (3); SPEC
A7)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inpaint_hub.stylegan2.growth import begin_as
from inpaint_hub.stylegan2.layers import EqualConv2d
from inpaint_hub.stylegan2.synthesis import channels_at


def zero_conv(in_channels: int, out_channels: int) -> nn.Conv2d:
    """1x1 convolution that starts as zero: an untrained branch leaves the generator as it is."""
    conv = nn.Conv2d(in_channels, out_channels, 1)
    nn.init.zeros_(conv.weight)
    nn.init.zeros_(conv.bias)
    return conv


class FeatureBranch(nn.Module):
    """Reading `feature`: masked picture and mask -> {r: F_r [N,C_r,r,r]} for the generator's
    feature maps."""

    def __init__(
        self,
        resolution: int,
        channel_base: int,
        channel_max: int,
        fw_resolutions: list[int],
        branch_channel_max: int,
    ) -> None:
        super().__init__()
        self.resolutions = [2**k for k in range(int(math.log2(resolution)), 1, -1)]
        width = {
            r: min(channels_at(r, channel_base, channel_max), branch_channel_max)
            for r in self.resolutions
        }
        self.from_rgb = EqualConv2d(4, width[resolution], 1, activation="lrelu")
        self.convs, self.downs, self.to_features = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        for r in self.resolutions:
            self.convs[str(r)] = EqualConv2d(width[r], width[r], 3, activation="lrelu")
            if r in fw_resolutions:
                channels = channels_at(r, channel_base, channel_max)
                self.to_features[str(r)] = zero_conv(width[r], channels)
            if r == min(fw_resolutions):
                self.resolutions = self.resolutions[: self.resolutions.index(r) + 1]
                break
            self.downs[str(r)] = EqualConv2d(
                width[r], width[r // 2], 3, down=True, activation="lrelu"
            )

    def grow_from(self, smaller: nn.Module) -> None:
        """Begin with the features that a branch for half the resolution finds in the halved
        picture (SPEC G7)."""
        size = str(self.resolutions[0])
        for name in ("convs", "downs", "to_features"):
            for r, part in getattr(smaller, name).items():
                getattr(self, name)[r].load_state_dict(part.state_dict())
        begin_as(smaller.from_rgb, self.from_rgb, self.convs[size], self.downs[size])

    def forward(self, masked_image: Tensor, mask: Tensor) -> dict[int, Tensor]:
        x = self.from_rgb(torch.cat([masked_image, mask], dim=1))
        features = {}
        for r in map(str, self.resolutions):
            h = self.convs[r](x)
            if r in self.to_features:
                features[int(r)] = self.to_features[r](h)
            if r in self.downs:
                x = self.downs[r](h)
        return features


class RGBBranch(nn.Module):
    """Reading `rgb`: averaged-down masked pictures -> {r: [N,3,r,r]} for the generator's RGB
    skip."""

    def __init__(self, fw_resolutions: list[int]) -> None:
        super().__init__()
        self.to_rgb = nn.ModuleDict({str(r): zero_conv(4, 3) for r in fw_resolutions})

    def grow_from(self, smaller: nn.Module) -> None:
        for r, part in smaller.to_rgb.items():
            self.to_rgb[r].load_state_dict(part.state_dict())

    def forward(self, masked_image: Tensor, mask: Tensor) -> dict[int, Tensor]:
        x = torch.cat([masked_image, mask], dim=1)
        return {int(r): conv(F.adaptive_avg_pool2d(x, int(r))) for r, conv in self.to_rgb.items()}
