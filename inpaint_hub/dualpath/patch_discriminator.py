"""SN-PatchGAN: a discriminator that judges patches, its layers normalized by their largest singular
value (SPEC B5).

Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017; Miyato
et al., "Spectral Normalization for Generative Adversarial Networks", ICLR 2018.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inpaint_hub.hub import HubModel

SLOPE = 0.2
FIRST_ITERATIONS = 15


class SpectralConv2d(nn.Conv2d):
    """4x4 convolution whose weight, as a matrix [O,16 I], has largest singular value 1.

    Differs from torch's spectral_norm: forward only reads the estimate, `power_iteration` improves
    it, so that what a network answers does not depend on how often it was asked.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__(in_channels, out_channels, 4, stride, padding=1)
        self.register_buffer("left", F.normalize(torch.randn(out_channels), dim=0))
        self.register_buffer("right", torch.zeros(in_channels * 16))
        self.power_iteration(FIRST_ITERATIONS)

    @torch.no_grad()
    def power_iteration(self, steps: int = 1) -> None:
        """Bring the singular vectors closer to the weight's, each step by one multiplication."""
        matrix = self.weight.flatten(1)
        for _ in range(steps):
            self.right = F.normalize(matrix.t() @ self.left, dim=0)
            self.left = F.normalize(matrix @ self.right, dim=0)

    def normalized_weight(self) -> Tensor:
        # Multiplied out: a matrix product would run in half precision under autocast.
        outer = self.left[:, None] * self.right
        return self.weight / (outer * self.weight.flatten(1)).sum()

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.normalized_weight(), self.bias)


class PatchDiscriminator(HubModel):
    """Picture [N,3,s,s] in [-1,1] and mask [N,1,s,s], 1 = hole -> realness logits [N,1,h,w], each
    of a patch of 70 px; h = w = s/8 - 2.

    Call power_iteration once in every training step, before its first forward pass.

    Args:
        channels: of the first convolution (64 in the paper); the others have 2, 4 and 8 times as
            many.
    """

    def __init__(self, *, channels: int = 64) -> None:
        super().__init__()
        widths = [4, channels, 2 * channels, 4 * channels, 8 * channels, 1]
        self.convs = nn.ModuleList(
            SpectralConv2d(before, after, stride)
            for before, after, stride in zip(widths, widths[1:], (2, 2, 2, 1, 1))
        )

    def power_iteration(self) -> None:
        """One step for every layer's largest singular value; the weights stay as they are."""
        for conv in self.convs:
            conv.power_iteration()

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        x = torch.cat([image, mask], dim=1)
        for conv in self.convs[:-1]:
            x = F.leaky_relu(conv(x), SLOPE)
        return self.convs[-1](x)
