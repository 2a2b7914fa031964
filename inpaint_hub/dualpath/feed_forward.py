"""The feed-forward path: an auto-encoder of gated convolutions, with a slot at each of its
decoder's scales where features may be fused (SPEC B3)."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inpaint_hub.compositing import reduced
from inpaint_hub.dualpath.instance_norm import InstanceNorm2d

SLOPE = 0.2
NUM_HALVINGS = 3
DILATIONS = (1, 2, 4, 8, 1, 2, 4, 8)
Fuse = Callable[[Tensor], Tensor]


def unfused(x: Tensor) -> Tensor:
    return x


def decoder_widths(resolution: int, channels: int) -> dict[int, int]:
    """{r: channels of the decoder's features at r px}, coarse to fine: s/8, s/4, s/2, s."""
    multiples = (4, 4, 2, 1)
    return {
        resolution >> (NUM_HALVINGS - i): channels * multiple
        for i, multiple in enumerate(multiples)
    }


class GatedConv2d(nn.Module):
    """lrelu(norm(conv(x))) * sigmoid(conv(x)): a convolution that learns where its input can be
    trusted (Yu et al., "Free-Form Image Inpainting with Gated Convolution", 2019)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        norm: bool = True,
    ) -> None:
        super().__init__()
        options = {"stride": stride, "padding": (kernel_size - 1) // 2}
        # A bias would be taken out again by the norm.
        self.feature = nn.Conv2d(in_channels, out_channels, kernel_size, bias=not norm, **options)
        self.gate = nn.Conv2d(in_channels, out_channels, kernel_size, **options)
        self.norm = InstanceNorm2d(out_channels) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        feature = F.leaky_relu(self.norm(self.feature(x)), SLOPE)
        return feature * self.gate(x).sigmoid()


class DilatedBlock(nn.Module):
    """[N,C,r,r] -> the same: two 3x3 convolutions, the first with holes, added to their input."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, bias=False),
            InstanceNorm2d(channels),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            InstanceNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.residual(x)


class DecoderStage(nn.Module):
    """x [N,I,r,r] and skip [N,S,2r,2r] -> [N,O,2r,2r]."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int, norm: bool) -> None:
        super().__init__()
        self.up = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.join = nn.Conv2d(
            out_channels + skip_channels, out_channels, 3, padding=1, bias=not norm
        )
        self.norm = InstanceNorm2d(out_channels) if norm else nn.Identity()

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = F.interpolate(x, scale_factor=2, mode="nearest")
        x = F.leaky_relu(self.up(x), SLOPE)
        return F.leaky_relu(self.norm(self.join(torch.cat([x, skip], dim=1))), SLOPE)


class FeedForward(nn.Module):
    """Masked picture [N,3,s,s] in [-1,1], hole 0, and mask [N,1,s,s], 1 = hole -> picture [N,3,s,s]
    in [-1,1].

    Args:
        resolution: s in px.
        channels: of the features at s px; four times as many at s/8.
        dilations: of the blocks in the middle, one each.
        in_channels: of masked_image and mask together.
        out_channels: of what is returned.

    Differs from SPEC B3: the first convolution is not normalized, as the last are not. There it
    would take out the picture's mean color before anything has seen it.
    """

    def __init__(
        self,
        resolution: int,
        channels: int,
        dilations: Sequence[int] = DILATIONS,
        in_channels: int = 4,
        out_channels: int = 3,
    ) -> None:
        super().__init__()
        widths = list(decoder_widths(resolution, channels).values())  # s/8 .. s
        self.encoder = nn.ModuleList([GatedConv2d(in_channels, channels, 7, norm=False)])
        encoded = [channels, 2 * channels, 4 * channels, widths[0]]  # s .. s/8
        for before, after in zip(encoded, encoded[1:]):
            self.encoder.append(GatedConv2d(before, after, 4, stride=2))
        self.middle = nn.Sequential(*(DilatedBlock(widths[0], d) for d in dilations))
        skips = reversed(encoded[:-1])
        self.decoder = nn.ModuleList(
            DecoderStage(before, skip, after, norm=after != channels)
            for before, skip, after in zip(widths, skips, widths[1:])
        )
        self.to_rgb = nn.Conv2d(channels, out_channels, 3, padding=1)

    def forward(self, masked_image: Tensor, mask: Tensor, fuse: Fuse = unfused) -> Tensor:
        """fuse: the slot, features [N,C,r,r] -> the same, called at s/8, s/4, s/2 and s."""
        return torch.tanh(self.decode(masked_image, mask, fuse)[1])

    def decode(
        self, masked_image: Tensor, mask: Tensor, fuse: Fuse = unfused, finer: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The last features [N,C,s,s] and the picture before its tanh; finer [N,C,s,s]: what a
        scale outside this path adds to its first features."""
        first, *others = self.encoder
        x = first(torch.cat([masked_image, mask], dim=1))
        skips = [x if finer is None else x + finer]
        for conv in others:
            skips.append(conv(skips[-1]))
        x = fuse(self.middle(skips.pop()))
        for stage in self.decoder:
            x = fuse(stage(x, skips.pop()))
        return x, self.to_rgb(x)


class OuterScale(nn.Module):
    """A path of twice the resolution around one that it begins as: that path sees the picture
    reduced, and its picture, enlarged, is what this one adds to (ours, SPEC G9).

    Args:
        inner: FeedForward or OuterScale for s/2 px, of the same channels.
        channels: of the features at s px.
    """

    def __init__(self, inner: nn.Module, channels: int) -> None:
        super().__init__()
        self.inner = inner
        self.encoder = GatedConv2d(4, channels, 7, norm=False)
        self.down = GatedConv2d(channels, channels, 4, stride=2)
        self.decoder = DecoderStage(channels, channels, channels, norm=False)
        self.to_rgb = nn.Conv2d(channels, 3, 3, padding=1)
        for module in (self.down.norm, self.to_rgb):  # they add nothing at first
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)

    def forward(self, masked_image: Tensor, mask: Tensor, fuse: Fuse = unfused) -> Tensor:
        """As FeedForward's; fuse is called where the innermost path does."""
        return torch.tanh(self.decode(masked_image, mask, fuse)[1])

    def decode(
        self, masked_image: Tensor, mask: Tensor, fuse: Fuse = unfused, finer: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        own = self.encoder(torch.cat([masked_image, mask], dim=1))
        own = own if finer is None else own + finer
        small = reduced(masked_image, mask, masked_image.shape[-1] // 2)
        x, rgb = self.inner.decode(*small, fuse, self.down(own))
        x = self.decoder(x, own)
        rgb = F.interpolate(rgb, scale_factor=2, mode="bilinear", align_corners=False)
        return x, rgb + self.to_rgb(x)
