"""Instance norm whose gradient stays in the channels-last layout."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

SMALL_PX = 1024  # below which torch's group norm has another kernel for channels-last maps


class InstanceNorm2d(nn.GroupNorm):
    """[N,C,H,W] -> the same, each channel of each picture with mean 0 and variance 1, then times
    weight and plus bias: a group norm of one channel a group, with its state dict.

    torch's own instance norm copies channels-last maps to another layout and back; its group norm
    reads them as they are, but goes back through them pixel by pixel: on one core with AMX 276 ms
    for bf16 [8,32,128,128], where the closed form here takes 17 (fp32: 52 and 14). Forward it is
    as slow where maps are small: 7 ms for bf16 [8,64,16,16], with copies 0.5.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels)

    def forward(self, input: Tensor) -> Tensor:
        channels_last = input.is_contiguous(memory_format=torch.channels_last)
        if not channels_last or input.device.type != "cpu":
            return super().forward(input)
        if input.shape[2] * input.shape[3] < SMALL_PX:
            y = super().forward(input.contiguous())
            return y.contiguous(memory_format=torch.channels_last)
        if torch.is_grad_enabled():
            return _InstanceNorm.apply(input, self.weight, self.bias, self.eps)
        return super().forward(input)


class _InstanceNorm(torch.autograd.Function):
    """y = s (x - m) / d + b, with m the mean and d the standard deviation of a channel. So

    dx = s / d (dy - mean(dy) - (x - m) / d mean(dy (x - m) / d)), here as slope dy + bend x + shift
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        n, channels, height, width = x.shape
        y, mean, inverse_std = torch.native_group_norm(
            x, weight, bias, n, channels, height * width, channels, eps
        )
        ctx.save_for_backward(x, weight, mean, inverse_std)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse_std = ctx.saved_tensors
        exact = torch.promote_types(x.dtype, torch.float32)
        mean, inverse_std = mean.to(exact), inverse_std.to(exact)
        size = x.shape[2] * x.shape[3]
        sum_dy = dy.sum((2, 3), dtype=exact)
        sum_dy_normalized = ((dy * x).sum((2, 3), dtype=exact) - mean * sum_dy) * inverse_std
        slope = weight * inverse_std
        bend = -slope * inverse_std * sum_dy_normalized / size
        shift = -slope * sum_dy / size - bend * mean
        slope, bend, shift = (v.to(x.dtype)[:, :, None, None] for v in (slope, bend, shift))
        dx = torch.addcmul(torch.addcmul(shift, x, bend), dy, slope)
        return dx, sum_dy_normalized.sum(0).to(weight.dtype), sum_dy.sum(0).to(weight.dtype), None
