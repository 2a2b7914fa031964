"""StyleGAN2's residual discriminator D (SPEC C7), with the hole mask as an optional fourth
channel."""

import math

import torch
from torch import Tensor, nn

from inpaint_hub.hub import HubModel
from inpaint_hub.stylegan2.growth import begin_as, check_growth
from inpaint_hub.stylegan2.layers import EqualConv2d, EqualLinear
from inpaint_hub.stylegan2.synthesis import channels_at


class ResidualBlock(nn.Module):
    """[N,I,r,r] -> [N,O,r/2,r/2]: two convolutions beside a 1x1 skip, their sum over sqrt(2)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = EqualConv2d(in_channels, in_channels, 3, activation="lrelu")
        self.down_conv = EqualConv2d(in_channels, out_channels, 3, down=True, activation="lrelu")
        self.skip = EqualConv2d(in_channels, out_channels, 1, down=True, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return (self.down_conv(self.conv(x)) + self.skip(x)) * math.sqrt(0.5)


def minibatch_stddev(x: Tensor, group_size: int = 4) -> Tensor:
    """x [N,C,H,W] -> [N,C+1,H,W]: a constant channel with the mean standard deviation inside each
    group.

    The group is the largest divisor of N up to group_size; sample n belongs to group n mod
    (N/group).
    """
    n, c, h, w = x.shape
    group = next(g for g in range(min(group_size, n), 0, -1) if n % g == 0)
    grouped = x.reshape(group, n // group, c, h, w)
    grouped = grouped.float() if x.element_size() == 2 else grouped  # half squares underflow
    std = (grouped.var(dim=0, unbiased=False) + 1e-8).sqrt().mean(dim=(1, 2, 3))
    channel = std.to(x.dtype).repeat(group)[:, None, None, None].expand(n, 1, h, w)
    return torch.cat([x, channel], dim=1)


class StyleGAN2Discriminator(HubModel):
    """Picture [N,3,s,s] in [-1,1] (and mask [N,1,s,s], 1 = hole, with mask_channel) -> realness
    logit [N,1]."""

    def __init__(
        self,
        *,
        resolution: int = 256,
        channel_base: int = 32768,
        channel_max: int = 512,
        mask_channel: bool = False,
        mbstd_group_size: int = 4,
    ) -> None:
        super().__init__()
        self.resolution = resolution
        self.mask_channel, self.mbstd_group_size = mask_channel, mbstd_group_size
        resolutions = [2**k for k in range(int(math.log2(resolution)), 1, -1)]
        widths = [channels_at(r, channel_base, channel_max) for r in resolutions]
        self.from_rgb = EqualConv2d(4 if mask_channel else 3, widths[0], 1, activation="lrelu")
        self.blocks = nn.ModuleList(ResidualBlock(a, b) for a, b in zip(widths, widths[1:]))
        self.conv = EqualConv2d(widths[-1] + 1, widths[-1], 3, activation="lrelu")
        self.fc = EqualLinear(widths[-1] * 16, widths[-1], activation="lrelu")
        self.out = EqualLinear(widths[-1], 1)

    def forward(self, image: Tensor, mask: Tensor | None = None) -> Tensor:
        if self.mask_channel != (mask is not None):
            raise ValueError(
                f"mask is {'given' if mask is not None else 'missing'} but mask_channel="
                f"{self.mask_channel}; pass the mask exactly when the discriminator was built for "
                f"it"
            )
        x = self.from_rgb(image if mask is None else torch.cat([image, mask], dim=1))
        for block in self.blocks:
            x = block(x)
        x = self.conv(minibatch_stddev(x, self.mbstd_group_size))
        return self.out(self.fc(x.flatten(1)))

    @torch.no_grad()
    def start_from(self, judge: nn.Module) -> bool:
        """Copy a discriminator of the same size; where only this one is shown the mask, the mask
        changes nothing at first. Returns whether their layers fit."""
        sizes = ("resolution", "channel_base", "channel_max")
        if any(judge.config[name] != self.config[name] for name in sizes):
            return False
        state = judge.state_dict()
        seen = torch.zeros_like(self.from_rgb.weight)
        channels = min(seen.shape[1], judge.from_rgb.weight.shape[1])
        gain = judge.from_rgb.weight_gain / self.from_rgb.weight_gain
        seen[:, :channels] = gain * judge.from_rgb.weight[:, :channels]
        self.load_state_dict(state | {"from_rgb.weight": seen})
        return True

    @torch.no_grad()
    def grow_from(self, smaller: nn.Module) -> None:
        """Copy a discriminator of half the resolution; the judgment is then its own of the
        down-sampled picture, until the new block learns to add to it (SPEC G7).

        That takes two channels for each of the picture's; from_rgb and the new block of a narrower
        discriminator begin at random.

        Raises: ValueError where resolution or layers do not fit.
        """
        check_growth(self, smaller)
        for name, part in smaller.named_children():
            if name == "blocks":
                for own, copied in zip(self.blocks[1:], part, strict=True):
                    own.load_state_dict(copied.state_dict())
            elif name != "from_rgb":
                getattr(self, name).load_state_dict(part.state_dict())
        first = self.blocks[0]
        of_sum = math.sqrt(2)  # the block divides by it
        if begin_as(smaller.from_rgb, self.from_rgb, first.conv, first.down_conv, of_sum):
            first.skip.weight.zero_()
