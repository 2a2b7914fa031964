"""Losses of the GAN game (SPEC C6): non-saturating logistic loss, hinge loss, R1, path length.
Scores are [N,1] logits, or [N,1,h,w] of patches."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def share(values: Tensor, hole: Tensor | None = None) -> Tensor:
    """Mean of `values` [N,1,h,w] over the places of hole [N,1,h,w] (1 = hole); over all without."""
    if hole is None:
        return values.mean()
    return (values * hole).sum() / hole.sum().clamp(min=1)


def generator_loss(fake_scores: Tensor, hole: Tensor | None = None) -> Tensor:
    """Mean of softplus(-D(G(z))): the non-saturating logistic loss (Goodfellow et al., 2014).

    hole [N,1,h,w], here and below: which logits are of a hole; only those are counted.
    """
    return share(F.softplus(-fake_scores), hole)


def discriminator_loss(
    real_scores: Tensor, fake_scores: Tensor, hole: Tensor | None = None
) -> Tensor:
    """Mean of softplus(-D(x)) plus mean of softplus(D(G(z))).

    hole [N,1,h,w], here and below: known places of a composite count as real (LaMa; Suvorov et
    al., WACV 2022).
    """
    fake = F.softplus(fake_scores)
    if hole is not None:
        fake = torch.where(hole > 0, fake, F.softplus(-fake_scores))
    return F.softplus(-real_scores).mean() + fake.mean()


def hinge_generator_loss(fake_scores: Tensor, hole: Tensor | None = None) -> Tensor:
    """Mean of -D(G(z)) (Lim and Ye, "Geometric GAN", 2017)."""
    return share(-fake_scores, hole)


def hinge_discriminator_loss(
    real_scores: Tensor, fake_scores: Tensor, hole: Tensor | None = None
) -> Tensor:
    """Mean of max(0, 1 - D(x)) plus mean of max(0, 1 + D(G(z)))."""
    fake = F.relu(1 + fake_scores)
    if hole is not None:
        fake = torch.where(hole > 0, fake, F.relu(1 - fake_scores))
    return F.relu(1 - real_scores).mean() + fake.mean()


def at_least_fp32(x: Tensor) -> Tensor:
    """bf16 would round a sum of squares by a percent, fp16 overflow."""
    return x.float() if x.element_size() == 2 else x


def r1_penalty(real_scores: Tensor, images: Tensor) -> Tensor:
    """Mean over images [N,3,H,W] (which require grad) of the squared norm of dD/dx (Mescheder et
    al., 2018).

    The sum of scores is differentiated: scores of other images of the batch contribute only through
    the mini-batch standard deviation.
    """
    (gradient,) = torch.autograd.grad(real_scores.sum(), images, create_graph=True)
    return at_least_fp32(gradient).square().sum(dim=(1, 2, 3)).mean()


def path_lengths(images: Tensor, ws: Tensor, noise: Tensor) -> Tensor:
    """[N]: how far images [N,3,H,W] move per unit of ws [N,L,w_dim] (Karras et al., CVPR 2020).

    noise: like images, N(0, 1); the random direction in which the pictures are differentiated.
    """
    direction = noise / math.sqrt(images.shape[2] * images.shape[3])
    (gradient,) = torch.autograd.grad((images * direction).sum(), ws, create_graph=True)
    return at_least_fp32(gradient).square().sum(dim=2).mean(dim=1).sqrt()


def path_length_penalty(lengths: Tensor, mean_length: Tensor) -> Tensor:
    """Mean over [N] lengths of the squared distance from their running mean."""
    return (lengths - mean_length).square().mean()
