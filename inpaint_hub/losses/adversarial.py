"""Losses of the GAN game (SPEC C6): non-saturating logistic loss, R1, path length. Scores are
[N,1] logits."""

import math

import torch
import torch.nn.functional as F


def generator_loss(fake_scores):
    """Mean of softplus(-D(G(z))): the non-saturating logistic loss (Goodfellow et al., 2014)."""
    return F.softplus(-fake_scores).mean()


def discriminator_loss(real_scores, fake_scores):
    """Mean of softplus(-D(x)) plus mean of softplus(D(G(z)))."""
    return F.softplus(-real_scores).mean() + F.softplus(fake_scores).mean()


def at_least_fp32(x):
    """bf16 would round a sum of squares by a percent, fp16 overflow."""
    return x.float() if x.element_size() == 2 else x


def r1_penalty(real_scores, images):
    """Mean over images [N,3,H,W] (which require grad) of the squared norm of dD/dx (Mescheder et
    al., 2018).

    The sum of scores is differentiated: scores of other images of the batch contribute only through
    the mini-batch standard deviation.
    """
    (gradient,) = torch.autograd.grad(real_scores.sum(), images, create_graph=True)
    return at_least_fp32(gradient).square().sum(dim=(1, 2, 3)).mean()


def path_lengths(images, ws, noise):
    """[N]: how far images [N,3,H,W] move per unit of ws [N,L,w_dim] (Karras et al., CVPR 2020).

    noise: like images, N(0, 1); the random direction in which the pictures are differentiated.
    """
    direction = noise / math.sqrt(images.shape[2] * images.shape[3])
    (gradient,) = torch.autograd.grad((images * direction).sum(), ws, create_graph=True)
    return at_least_fp32(gradient).square().sum(dim=2).mean(dim=1).sqrt()


def path_length_penalty(lengths, mean_length):
    """Mean over [N] lengths of the squared distance from their running mean."""
    return (lengths - mean_length).square().mean()
