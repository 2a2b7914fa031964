"""The hard constraint, I (1 - M) = O (1 - M): what is known stays (InvertFill section 3.1).

mask: [N,1,H,W] in {0,1}, 1 = hole.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def mask_out(image: Tensor, mask: Tensor) -> Tensor:
    """I_m: image [N,3,H,W] with 0 (mid-gray in [-1,1]) in the hole, whatever was there, NaN
    included."""
    return torch.where(mask > 0.5, torch.zeros_like(image), image)


def composite(image: Tensor, generated: Tensor, mask: Tensor) -> Tensor:
    """`generated` inside the hole, `image` outside, selected and never blended: both [N,3,H,W]."""
    return torch.where(mask > 0.5, generated.to(image.dtype), image)


def reduced(masked_image: Tensor, mask: Tensor, resolution: int) -> tuple[Tensor, Tensor]:
    """(I_m, M) at `resolution` px, a whole share of s: what is known in part is hole."""
    factor = masked_image.shape[-1] // resolution
    if factor == 1:
        return masked_image, mask
    mask = F.max_pool2d(mask, factor)
    return mask_out(F.avg_pool2d(masked_image, factor), mask), mask
