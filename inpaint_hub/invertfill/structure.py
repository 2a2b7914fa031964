"""RGB heads and map2structure: what the encoder can already draw, as structure codes (SPEC A3,
A4)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inpaint_hub.inversion.style_heads import MapToStyle


class RGBHead(nn.Module):
    """Feature level [N,I,r,r] -> small picture O_E^r [N,3,r,r] in [-1,1]."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 64, 3, padding=1)
        self.to_rgb = nn.Conv2d(64, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.to_rgb(F.leaky_relu(self.conv(x), 0.2)))


class MapToStructure(MapToStyle):
    """map2style's layers on O_E^r [N,3,r,r] -> S_r [N,w_dim] (InvertFill section 3.1)."""

    def __init__(self, spatial: int, channels: int, w_dim: int) -> None:
        super().__init__(spatial, 3, channels, w_dim)
