"""Semantic inpainting of Yeh et al. (CVPR 2017; SPEC D), a baseline of the Dual-path poster: search
z for context and realism."""

from collections.abc import Callable

import torch
from torch import Tensor

from inpaint_hub.search.descent import Limits
from inpaint_hub.search.mganprior import through
from inpaint_hub.search.objective import (
    coarse_context,
    context_weights,
    realism,
    weighted_context,
)
from inpaint_hub.search.schedule import Schedule, descend_in_stages, stages_of
from inpaint_hub.stylegan2 import FWLatent, StyleGAN2Discriminator, StyleGAN2Generator


def yeh_search(
    gan: StyleGAN2Generator,
    discriminator: StyleGAN2Discriminator,
    masked_image: Tensor,
    mask: Tensor,
    limits: Limits,
    learning_rate: float = 0.1,
    prior_weight: float = 0.02,
    seed: int = 0,
    coarse_to_fine: bool = False,
    num_starts: int = 1,
) -> FWLatent:
    """The FWLatent, ws [K,L,w_dim] alone, of the z whose pictures agree with the hole's
    neighborhood and look real.

    seed: draws the starts, the same for every picture. coarse_to_fine, num_starts: those of
    Schedule; the discriminator judges whole pictures alone, so in coarse stages only the context
    counts. Differs from the paper: z passes StyleGAN2's mapping, which normalizes it, so it needs
    no clipping; Adam instead of momentum; the context is a weighted mean instead of a sum, and
    prior_weight belongs to that.
    """
    weights = context_weights(mask)

    def losses_at(resolution: int, copies: int) -> Callable:
        image, holes, near = (
            x.repeat_interleave(copies, dim=0) for x in (masked_image, mask, weights)
        )
        if resolution < gan.resolution:
            below = [r for r in gan.resolutions if r <= resolution]
            context = coarse_context(image, near, resolution)
            return lambda z: context(
                through(gan.synthesis, gan.map(z.to(gan.dtype)), None, None, below)[1]
            )

        def losses_of(z: Tensor) -> Tensor:
            generated = gan.synthesis(gan.map(z.to(gan.dtype)))
            prior = realism(discriminator, generated, holes)
            return weighted_context(generated, image, near) + prior_weight * prior

        return losses_of

    random = torch.Generator().manual_seed(seed)
    z = torch.cat([torch.randn(1, gan.z_dim, generator=random) for _ in range(num_starts)])
    start = z.to(masked_image.device).repeat(len(masked_image), 1)
    stages = stages_of(gan.resolution, limits.num_steps, Schedule(coarse_to_fine, num_starts))
    (z,) = descend_in_stages([start], losses_at, stages, learning_rate, limits, num_starts)
    return FWLatent(gan.map(z.to(gan.dtype)))
