"""StyleGAN2 in its plain form: the baseline that speeds are compared with, and an oracle.

One convolution per sample with its own modulated weight (as groups), zero insertion and a dense FIR
filter for resampling, NCHW, no fusion: what the definition says, step by step (SPEC C). Keys and
shapes of the state dicts are those of inpaint_hub.stylegan2, which it does not import:

    reference = ReferenceGenerator(**gan.config)
    reference.load_state_dict(gan.state_dict())
"""

import math

import torch
import torch.nn.functional as F
from torch import nn


def lrelu(x):
    return F.leaky_relu(x, 0.2) * math.sqrt(2)


def fir(x, padding, gain=1.0):
    """Low-pass [1, 3, 3, 1] on x [N,C,H,W]; padding (before, after) on both axes."""
    before, after = padding
    n, c, h, w = x.shape
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=x.dtype, device=x.device)
    kernel = torch.outer(taps, taps) * (gain / 64)
    x = F.pad(x, (before, after, before, after))
    x = x.reshape(n * c, 1, h + before + after, w + before + after)
    y = F.conv2d(x, kernel[None, None])
    return y.reshape(n, c, *y.shape[2:])


def zero_insert(x):
    """[N,C,H,W] -> [N,C,2H,2W] with zeros at odd rows and columns."""
    n, c, h, w = x.shape
    return F.pad(x[:, :, :, None, :, None], (0, 1, 0, 0, 0, 1)).reshape(n, c, 2 * h, 2 * w)


def upsample(x):
    return fir(zero_insert(x), (2, 1), gain=4.0)


class Linear(nn.Module):
    """Equalized linear layer."""

    def __init__(self, in_features, out_features, bias_init=0.0, lr_multiplier=1.0, act=False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full([out_features], bias_init / lr_multiplier))
        self.gain, self.lr_multiplier = lr_multiplier / math.sqrt(in_features), lr_multiplier
        self.act = act

    def forward(self, x):
        y = F.linear(x, self.weight * self.gain, self.bias * self.lr_multiplier)
        return lrelu(y) if self.act else y


class Mapping(nn.Module):
    def __init__(self, z_dim, w_dim, num_layers, lr_multiplier):
        super().__init__()
        widths = [z_dim] + [w_dim] * num_layers
        self.layers = nn.ModuleList(
            Linear(a, b, lr_multiplier=lr_multiplier, act=True) for a, b in zip(widths, widths[1:])
        )

    def forward(self, z):
        x = z * (z.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()
        for layer in self.layers:
            x = layer(x)
        return x


class ModulatedConv(nn.Module):
    """x [N,I,r,r], w [N,w_dim] -> [N,O,r,r] (2r with `up`), one weight per sample."""

    def __init__(self, in_channels, out_channels, kernel_size, w_dim, up=False, demodulate=True):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        self.affine = Linear(w_dim, in_channels, bias_init=1.0)
        self.gain = 1 / math.sqrt(in_channels * kernel_size**2)
        self.up, self.demodulate = up, demodulate

    def forward(self, x, w):
        n, channels, height, width = x.shape
        weight = self.weight * self.gain * self.affine(w)[:, None, :, None, None]
        if self.demodulate:
            weight = weight * (weight.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).rsqrt()
        out_channels, kernel_size = weight.shape[1], weight.shape[3]
        if self.up:
            # A transposed convolution by two: zeros between the pixels, then the flipped kernel.
            x = zero_insert(x)[:, :, :-1, :-1]
            weight, padding = weight.flip(3, 4), kernel_size - 1
        else:
            padding = kernel_size // 2
        x = x.reshape(1, n * channels, *x.shape[2:])
        weight = weight.reshape(n * out_channels, channels, kernel_size, kernel_size)
        y = F.conv2d(x, weight, padding=padding, groups=n)
        y = y.reshape(n, out_channels, *y.shape[2:])
        return fir(y, (1, 1), gain=4.0) if self.up else y


class StyledConv(nn.Module):
    def __init__(self, in_channels, out_channels, w_dim, resolution, up=False):
        super().__init__()
        self.conv = ModulatedConv(in_channels, out_channels, 3, w_dim, up=up)
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))

    def forward(self, x, w, noise_mode, generator):
        x = self.conv(x, w)
        if noise_mode == "random":
            shape = (len(x), 1, *x.shape[2:])
            x = x + torch.randn(shape, generator=generator).to(x) * self.noise_strength
        elif noise_mode == "const":
            x = x + self.noise_const * self.noise_strength
        return lrelu(x + self.bias[None, :, None, None])


class ToRGB(nn.Module):
    def __init__(self, in_channels, w_dim):
        super().__init__()
        self.conv = ModulatedConv(in_channels, 3, 1, w_dim, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, x, w):
        return self.conv(x, w) + self.bias[None, :, None, None]


class SynthesisBlock(nn.Module):
    def __init__(self, in_channels, out_channels, w_dim, resolution):
        super().__init__()
        if in_channels is None:
            self.const = nn.Parameter(torch.randn(out_channels, resolution, resolution))
        else:
            self.up_conv = StyledConv(in_channels, out_channels, w_dim, resolution, up=True)
        self.conv = StyledConv(out_channels, out_channels, w_dim, resolution)
        self.to_rgb = ToRGB(out_channels, w_dim)


class Synthesis(nn.Module):
    """ws [N,L,w_dim] (and InvertFill's features, rgb_features) -> picture [N,3,s,s]."""

    def __init__(self, resolution, w_dim, channel_base, channel_max):
        super().__init__()
        self.resolutions = [2**k for k in range(2, int(math.log2(resolution)) + 1)]
        widths = [min(channel_base // r, channel_max) for r in self.resolutions]
        self.blocks = nn.ModuleDict(
            {
                str(r): SynthesisBlock(before, width, w_dim, r)
                for r, before, width in zip(self.resolutions, [None, *widths], widths)
            }
        )

    def forward(self, ws, features=None, rgb_features=None, noise_mode="const", generator=None):
        features, rgb_features = features or {}, rgb_features or {}
        rgb, row = None, 0
        for r in self.resolutions:
            block = self.blocks[str(r)]
            if r == 4:
                x = block.const[None].repeat(len(ws), 1, 1, 1)
            else:
                x = block.up_conv(x, ws[:, row], noise_mode, generator)
                row += 1
            if r in features:
                x = x + features[r]
            x = block.conv(x, ws[:, row], noise_mode, generator)
            row += 1
            skip = block.to_rgb(x, ws[:, row])
            rgb = skip if rgb is None else upsample(rgb) + skip
            if r in rgb_features:
                rgb = rgb + rgb_features[r]
        return rgb


class ReferenceGenerator(nn.Module):
    """z [N,z_dim] -> picture [N,3,s,s]; arguments as StyleGAN2Generator's."""

    def __init__(
        self,
        *,
        resolution=256,
        z_dim=512,
        w_dim=512,
        num_mapping_layers=8,
        channel_base=32768,
        channel_max=512,
        mapping_lr_multiplier=0.01,
    ):
        super().__init__()
        self.resolution, self.z_dim, self.num_ws = (
            resolution,
            z_dim,
            2 * int(math.log2(resolution)) - 2,
        )
        self.mapping = Mapping(z_dim, w_dim, num_mapping_layers, mapping_lr_multiplier)
        self.synthesis = Synthesis(resolution, w_dim, channel_base, channel_max)
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(self, z, noise_mode="const", generator=None, mixing_z=None, crossover=None):
        """mixing_z [N,z_dim] takes over from style row crossover [N] on (style mixing)."""
        ws = self.mapping(z)[:, None].repeat(1, self.num_ws, 1)
        if mixing_z is not None:
            row = torch.arange(self.num_ws, device=z.device)
            first = (row[None] < crossover.to(z.device)[:, None])[:, :, None]
            ws = torch.where(first, ws, self.mapping(mixing_z)[:, None])
        return self.synthesis(ws, noise_mode=noise_mode, generator=generator)


class Conv(nn.Module):
    """Equalized convolution; `down` filters, then strides by two."""

    def __init__(self, in_channels, out_channels, kernel_size, down=False, bias=True, act=False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.gain = 1 / math.sqrt(in_channels * kernel_size**2)
        self.down, self.act = down, act

    def forward(self, x):
        weight = self.weight * self.gain
        kernel_size = weight.shape[-1]
        if self.down:
            pad = (1, 1) if kernel_size == 1 else (2, 2)
            y = F.conv2d(fir(x, pad), weight, self.bias, stride=2)
        else:
            y = F.conv2d(x, weight, self.bias, padding=kernel_size // 2)
        return lrelu(y) if self.act else y


class ResidualBlock(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.conv = Conv(in_channels, in_channels, 3, act=True)
        self.down_conv = Conv(in_channels, out_channels, 3, down=True, act=True)
        self.skip = Conv(in_channels, out_channels, 1, down=True, bias=False)

    def forward(self, x):
        return (self.down_conv(self.conv(x)) + self.skip(x)) / math.sqrt(2)


class ReferenceDiscriminator(nn.Module):
    """Picture [N,3,s,s] (and mask [N,1,s,s]) -> logit [N,1]; arguments as
    StyleGAN2Discriminator's."""

    def __init__(
        self,
        *,
        resolution=256,
        channel_base=32768,
        channel_max=512,
        mask_channel=False,
        mbstd_group_size=4,
    ):
        super().__init__()
        self.group_size = mbstd_group_size
        resolutions = [2**k for k in range(int(math.log2(resolution)), 1, -1)]
        widths = [min(channel_base // r, channel_max) for r in resolutions]
        self.from_rgb = Conv(4 if mask_channel else 3, widths[0], 1, act=True)
        self.blocks = nn.ModuleList(ResidualBlock(a, b) for a, b in zip(widths, widths[1:]))
        self.conv = Conv(widths[-1] + 1, widths[-1], 3, act=True)
        self.fc = Linear(widths[-1] * 16, widths[-1], act=True)
        self.out = Linear(widths[-1], 1)

    def forward(self, image, mask=None):
        x = self.from_rgb(image if mask is None else torch.cat([image, mask], dim=1))
        for block in self.blocks:
            x = block(x)
        n = len(x)
        group = max(g for g in range(1, min(self.group_size, n) + 1) if n % g == 0)
        parts = x.reshape(group, -1, *x.shape[1:])
        centered = parts - parts.mean(dim=0)
        std = (centered.square().mean(dim=0) + 1e-8).sqrt().mean(dim=(1, 2, 3), keepdim=True)
        x = torch.cat([x, std.repeat(group, 1, *x.shape[2:])], dim=1)
        return self.out(self.fc(self.conv(x).flatten(1)))
