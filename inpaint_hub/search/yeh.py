"""Semantic inpainting of Yeh et al. (CVPR 2017; SPEC D), a baseline of the Dual-path poster: search
z for context and realism."""

import torch
from torch import Tensor

from inpaint_hub.search.descent import Limits, descend
from inpaint_hub.search.objective import context_weights, realism, weighted_context
from inpaint_hub.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator


def yeh_search(
    gan: StyleGAN2Generator,
    discriminator: StyleGAN2Discriminator,
    masked_image: Tensor,
    mask: Tensor,
    limits: Limits,
    learning_rate: float = 0.1,
    prior_weight: float = 0.02,
    seed: int = 0,
) -> Tensor:
    """ws [K,L,w_dim] of the z whose pictures agree with the hole's neighbourhood and look real.

    seed: draws the start, the same for every picture. Differs from the paper: z passes StyleGAN2's
    mapping, which normalises it, so it needs no clipping; Adam instead of momentum; the context is
    a weighted mean instead of a sum, and prior_weight belongs to that.
    """
    weights = context_weights(mask)

    def losses_of(z: Tensor) -> Tensor:
        generated = gan.synthesis(gan.map(z.to(gan.dtype)))
        prior = realism(discriminator, generated, mask)
        return weighted_context(generated, masked_image, weights) + prior_weight * prior

    z = torch.randn(1, gan.z_dim, generator=torch.Generator().manual_seed(seed))
    start = z.to(masked_image.device).expand(len(masked_image), -1)
    (z,), _ = descend([start], losses_of, learning_rate, limits)
    return gan.map(z.to(gan.dtype))
