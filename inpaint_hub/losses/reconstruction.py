"""Pixel losses of InvertFill Eq. (4), as RFR defines them (SPEC A9.1).

Pictures [N,3,H,W] in [0,1], masks [N,1,H,W] with 1 = hole. Every mean is over all N 3 H W elements,
not over the masked ones: small holes weigh little.
"""

from torch import Tensor


def valid_loss(generated: Tensor, image: Tensor, mask: Tensor) -> Tensor:
    """L_valid: mean of |O - I| (1 - M)."""
    return ((generated - image).abs() * (1 - mask)).mean()


def hole_loss(generated: Tensor, image: Tensor, mask: Tensor) -> Tensor:
    """L_hole: mean of |O - I| M."""
    return ((generated - image).abs() * mask).mean()


def tv_loss(composited: Tensor, mask: Tensor) -> Tensor:
    """L_tv: mean absolute difference of neighbors of O_comp M, vertical plus horizontal.

    The multiplication keeps the hole's border as an edge, as in RFR.
    """
    x = composited * mask
    vertical = (x[..., 1:, :] - x[..., :-1, :]).abs().mean()
    horizontal = (x[..., :, 1:] - x[..., :, :-1]).abs().mean()
    return vertical + horizontal
