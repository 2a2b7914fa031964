"""FIR resampling by two with StyleGAN2's [1, 3, 3, 1] kernel (SPEC C3).

The kernel is rebuilt at every call from four numbers: it is no parameter, so autograd never
computes its (slow, depthwise) weight gradient, and it appears in no state dict.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

TAPS = (1.0, 3.0, 3.0, 1.0)


def fir_kernel(like: Tensor, gain: float = 1.0) -> Tensor:
    """Depthwise kernel [C,1,4,4] that sums to `gain`, with the dtype, device and channels of `like`
    [N,C,H,W]."""
    # TAPS, made where they are used: to copy them to a GPU would wait for all its work.
    place = torch.arange(4, dtype=like.dtype, device=like.device)
    taps = 1 + place * (3 - place)
    kernel = torch.outer(taps, taps)
    kernel = kernel * (gain / kernel.sum())
    return kernel.expand(like.shape[1], 1, 4, 4).contiguous()


def blur(x: Tensor, padding: int, gain: float = 1.0, stride: int = 1) -> Tensor:
    """Low-pass x [N,C,H,W] -> [N,C,(H+2p-3)/stride,...]; symmetric zero padding of `padding` px."""
    return F.conv2d(x, fir_kernel(x, gain), padding=padding, stride=stride, groups=x.shape[1])


def downsample(x: Tensor) -> Tensor:
    """[N,C,H,W] -> [N,C,H/2,W/2], low-passed."""
    return blur(x, padding=1, stride=2)


def upsample(x: Tensor) -> Tensor:
    """[N,C,H,W] -> [N,C,2H,2W]: zero insertion and low-pass with gain 4, as one transposed
    convolution."""
    return F.conv_transpose2d(x, fir_kernel(x, gain=4.0), stride=2, padding=1, groups=x.shape[1])
