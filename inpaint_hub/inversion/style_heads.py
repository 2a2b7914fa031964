"""map2style: a feature map becomes one style code (SPEC A4), and which level feeds which layer
(SPEC A6)."""

import math

import torch.nn.functional as F
from torch import Tensor, nn

from inpaint_hub.stylegan2.layers import EqualLinear

FIRST_MIDDLE, FIRST_FINE = 3, 7


def level_of(ws_index: int) -> int:
    """Level that feeds a row of ws: 0 coarse (rows 0-2), 1 middle (3-6), 2 fine (7 and up), at
    every size."""
    return (ws_index >= FIRST_MIDDLE) + (ws_index >= FIRST_FINE)


def check_input_size(input_size: int) -> None:
    """Raises: ValueError unless the pyramid's coarsest map, input_size / 16, is at least 2 px."""
    if input_size < 32 or input_size & (input_size - 1):
        raise ValueError(
            f"input_size is {input_size}, expected a power of two of at least 32: the encoder's "
            "coarsest map has a sixteenth of it; choose 64, 128 or 256"
        )


class MapToStyle(nn.Module):
    """[N,in_channels,spatial,spatial] -> [N,w_dim]: strided convolutions down to 1x1, then a linear
    layer."""

    def __init__(self, spatial: int, in_channels: int, channels: int, w_dim: int) -> None:
        super().__init__()
        widths = [in_channels] + [channels] * int(math.log2(spatial))
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in zip(widths, widths[1:])
        )
        self.linear = EqualLinear(channels, w_dim)

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.convs:
            x = F.leaky_relu(conv(x), 0.01)
        return self.linear(x.flatten(1))
