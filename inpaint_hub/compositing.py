"""The hard constraint, I (1 - M) = O (1 - M): what is known stays (InvertFill section 3.1).

mask: [N,1,H,W] in {0,1}, 1 = hole.
"""

import torch
from torch import Tensor


def mask_out(image: Tensor, mask: Tensor) -> Tensor:
    """I_m: image [N,3,H,W] with 0 (mid-gray in [-1,1]) in the hole, whatever was there, NaN
    included."""
    return torch.where(mask > 0.5, torch.zeros_like(image), image)


def composite(image: Tensor, generated: Tensor, mask: Tensor) -> Tensor:
    """`generated` inside the hole, `image` outside, selected and never blended: both [N,3,H,W]."""
    return torch.where(mask > 0.5, generated.to(image.dtype), image)
