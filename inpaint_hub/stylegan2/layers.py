"""Equalized-learning-rate layers and the modulated convolution of StyleGAN2 (SPEC C2-C4)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inpaint_hub.stylegan2.resample import blur

LRELU_SLOPE = 0.2
LRELU_GAIN = math.sqrt(2)


def scaled_lrelu(x: Tensor) -> Tensor:
    """Leaky ReLU of slope 0.2 times sqrt(2), which keeps unit variance; any shape."""
    return F.leaky_relu(x, LRELU_SLOPE) * LRELU_GAIN


class EqualLinear(nn.Module):
    """[..., in_features] -> [..., out_features], weights scaled at run time (equalized learning
    rate).

    activation: None or "lrelu" (slope 0.2, gain sqrt(2)). lr_multiplier scales weight and bias
    alike.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias_init: float = 0.0,
        lr_multiplier: float = 1.0,
        activation: str | None = None,
    ) -> None:
        super().__init__()
        assert activation in (None, "lrelu"), activation
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full([out_features], bias_init / lr_multiplier))
        self.weight_gain = lr_multiplier / math.sqrt(in_features)
        self.bias_gain = lr_multiplier
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        y = F.linear(x, self.weight * self.weight_gain, self.bias * self.bias_gain)
        return scaled_lrelu(y) if self.activation == "lrelu" else y


class EqualConv2d(nn.Module):
    """[N,I,H,W] -> [N,O,H',W'], equalized learning rate; `down` blurs and strides by two.

    The blur before a strided convolution pads so that the result is exactly half the input's size.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        down: bool = False,
        bias: bool = True,
        activation: str | None = None,
    ) -> None:
        super().__init__()
        assert activation in (None, "lrelu"), activation
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.weight_gain = 1 / math.sqrt(in_channels * kernel_size**2)
        self.kernel_size = kernel_size
        self.down = down
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * self.weight_gain
        if self.down and self.kernel_size == 1:
            y = F.conv2d(blur(x, padding=1, stride=2), weight, self.bias)
        elif self.down:
            y = F.conv2d(blur(x, padding=2), weight, self.bias, stride=2)
        else:
            y = F.conv2d(x, weight, self.bias, padding=self.kernel_size // 2)
        return scaled_lrelu(y) if self.activation == "lrelu" else y


class ModulatedConv2d(nn.Module):
    """StyleGAN2's modulated, demodulated convolution: x [N,I,r,r], w [N,w_dim] -> [N,O,r,r] (or 2r
    with `up`).

    The style scales the activations instead of the weights, and the demodulation scales the result:
    the same linear map as a weight per sample (SPEC C3), with one dense kernel for the whole batch.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        w_dim: int,
        up: bool = False,
        demodulate: bool = True,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        self.affine = EqualLinear(w_dim, in_channels, bias_init=1.0)
        self.weight_gain = 1 / math.sqrt(in_channels * kernel_size**2)
        self.padding = kernel_size // 2
        self.up = up
        self.demodulate = demodulate

    def demodulation(self, style: Tensor) -> Tensor:
        """style [N,I] -> [N,O]: 1 / norm of each output channel's modulated weight (Karras et al.,
        CVPR 2020, Eq. (3)).

        In fp32: a sum over thousands of squares would overflow or lose its small terms in half
        precision.
        """
        with torch.autocast(style.device.type, enabled=False):
            energy = (self.weight.float() * self.weight_gain).square().sum(dim=(2, 3))
            return (style.float().square() @ energy.t() + 1e-8).rsqrt()

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        style = self.affine(w)
        x = x * style.to(x.dtype)[:, :, None, None]
        weight = self.weight * self.weight_gain
        if self.up:
            y = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
            y = blur(y, padding=1, gain=4.0)
        else:
            y = F.conv2d(x, weight, padding=self.padding)
        if self.demodulate:
            y = y * self.demodulation(style).to(y.dtype)[:, :, None, None]
        return y


class StyledConv(nn.Module):
    """Modulated convolution, noise, bias, leaky ReLU: x [N,I,r,r] -> [N,O,R,R] (SPEC C4)."""

    def __init__(
        self, in_channels: int, out_channels: int, w_dim: int, resolution: int, up: bool = False
    ) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(in_channels, out_channels, 3, w_dim, up=up)
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))

    def noise(
        self, x: Tensor, mode: str, generator: torch.Generator | list[torch.Generator] | None
    ) -> Tensor | None:
        if mode == "none":
            return None
        if mode == "const":
            return self.noise_const.to(x.dtype)
        shape = (1, *x.shape[2:])
        if isinstance(generator, (list, tuple)):
            drawn = [
                torch.randn(shape, generator=g, device=g.device).to(x.device) for g in generator
            ]
            return torch.stack(drawn).to(x.dtype)
        device = x.device if generator is None else generator.device
        return torch.randn(len(x), *shape, generator=generator, device=device).to(x)

    def forward(
        self,
        x: Tensor,
        w: Tensor,
        noise_mode: str = "const",
        generator: torch.Generator | list[torch.Generator] | None = None,
    ) -> Tensor:
        x = self.conv(x, w)
        noise = self.noise(x, noise_mode, generator)
        if noise is not None:
            x = x + noise * self.noise_strength.to(x.dtype)
        return scaled_lrelu(x + self.bias.to(x.dtype)[None, :, None, None])


class ToRGB(nn.Module):
    """Features [N,C,r,r] -> picture [N,3,r,r] by a modulated 1x1 convolution without
    demodulation."""

    def __init__(self, in_channels: int, w_dim: int) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(in_channels, 3, 1, w_dim, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        return self.conv(x, w) + self.bias.to(x.dtype)[None, :, None, None]
