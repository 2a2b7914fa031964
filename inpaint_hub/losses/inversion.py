"""pSp's own objective (Richardson et al., CVPR 2021; SPEC D): L2, LPIPS, identity and w-norm on the
whole picture, known part and hole alike.

Differs from the paper where it stands on networks that cannot be bundled: LPIPS has its form, unit
length by pixel, but no learned weights of the channels; identity is the cosine of pooled deep
features of the perceptual network, not of a face recognizer's.
"""

import torch.nn.functional as F
from torch import Tensor


def unit_feature_loss(maps: list[Tensor], target_maps: list[Tensor]) -> Tensor:
    """LPIPS without its learned weights (Zhang et al., CVPR 2018, Eq. (1) with w = 1): sum over the
    maps [N,C,H,W] of the mean over N H W of |a / |a| - b / |b||^2, lengths over the channels."""
    unit = [(F.normalize(a, dim=1), F.normalize(b, dim=1)) for a, b in zip(maps, target_maps)]
    return sum((a - b).square().sum(dim=1).mean() for a, b in unit)


def identity_loss(maps: list[Tensor], target_maps: list[Tensor]) -> Tensor:
    """1 - cosine of the last maps' means over H and W, mean over the pictures, in [0,2]."""
    a, b = (m[-1].mean(dim=(2, 3)) for m in (maps, target_maps))
    return (1 - F.cosine_similarity(a, b, dim=1)).mean()


def w_norm_loss(ws: Tensor, w_avg: Tensor) -> Tensor:
    """Mean over the pictures of |w - w_avg|, the length over all L * w_dim entries: ws [N,L,w_dim],
    w_avg [w_dim]."""
    return (ws - w_avg).flatten(1).norm(dim=1).mean()
