"""Losses of the GAN game (SPEC C6): non-saturating logistic loss and R1. Scores are [N,1]
logits."""

import torch
import torch.nn.functional as F


def generator_loss(fake_scores):
    """Mean of softplus(-D(G(z))): the non-saturating logistic loss (Goodfellow et al., 2014)."""
    return F.softplus(-fake_scores).mean()


def discriminator_loss(real_scores, fake_scores):
    """Mean of softplus(-D(x)) plus mean of softplus(D(G(z)))."""
    return F.softplus(-real_scores).mean() + F.softplus(fake_scores).mean()


def r1_penalty(real_scores, images):
    """Mean over images [N,3,H,W] (which require grad) of the squared norm of dD/dx (Mescheder et
    al., 2018).

    The sum of scores is differentiated: scores of other images of the batch contribute only through
    the mini-batch standard deviation.
    """
    (gradient,) = torch.autograd.grad(real_scores.sum(), images, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean()
