"""MTCNN's three networks: from crude and quick to careful (Zhang et al., 2016, Fig. 2).

All read pictures [N,3,h,w], RGB, in [-1,1), of any (P-net), 24 px (R-net) or 48 px (O-net) a side.
"""

from collections.abc import Callable

import torch
from torch import nn


class Head(nn.Module):
    """Features -> (probability of a face [N,...], box offsets [N,4,...]) and perhaps more."""

    def __init__(
        self, make: Callable[[int, int], nn.Module], channels: int, num_points: int = 0
    ) -> None:
        super().__init__()
        self.face, self.box = make(channels, 2), make(channels, 4)
        self.points = make(channels, 2 * num_points) if num_points else None

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, ...]:
        scores = self.face(features).softmax(dim=1)[:, 1], self.box(features)
        return scores if self.points is None else (*scores, self.points(features))


def pool(side: int) -> nn.MaxPool2d:
    return nn.MaxPool2d(side, 2, ceil_mode=True)


def conv(inputs: int, outputs: int, side: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, side), nn.PReLU(outputs)]


class ProposalNet(nn.Sequential):
    """P-net: for every place, 2 px apart, whether its 12 px square holds a face."""

    def __init__(self) -> None:
        super().__init__(
            *conv(3, 10, 3),
            pool(2),
            *conv(10, 16, 3),
            *conv(16, 32, 3),
            Head(lambda inputs, outputs: nn.Conv2d(inputs, outputs, 1), 32),
        )


class RefinementNet(nn.Sequential):
    """R-net: whether a square of 24 px holds a face, and where in it."""

    def __init__(self) -> None:
        super().__init__(
            *conv(3, 28, 3),
            pool(3),
            *conv(28, 48, 3),
            pool(3),
            *conv(48, 64, 2),
            nn.Flatten(),
            nn.Linear(576, 128),
            nn.PReLU(128),
            Head(nn.Linear, 128),
        )


class OutputNet(nn.Sequential):
    """O-net: the same of 48 px, and where its five points lie (all x, then all y)."""

    def __init__(self) -> None:
        super().__init__(
            *conv(3, 32, 3),
            pool(3),
            *conv(32, 64, 3),
            pool(3),
            *conv(64, 64, 3),
            pool(2),
            *conv(64, 128, 2),
            nn.Flatten(),
            nn.Linear(1152, 256),
            nn.PReLU(256),
            Head(nn.Linear, 256, num_points=5),
        )
