"""Search in W+: one style vector per layer, from the mean latent (Abdal et al., 2019; SPEC D)."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from inpaint_hub.search.descent import Limits
from inpaint_hub.search.mganprior import through
from inpaint_hub.search.objective import reconstruction_at
from inpaint_hub.search.schedule import Schedule, descend_in_stages, stages_of
from inpaint_hub.stylegan2 import FWLatent, StyleGAN2Generator

SPREAD = 0.5  # how far the other starts lie from the mean latent, as a share of a random latent


def starts_of(gan: StyleGAN2Generator, first: Tensor, num_starts: int, seed: int) -> Tensor:
    """[K * num_starts,L,w_dim]: for each picture `first` [K,L,w_dim] and latents around the mean,
    the same for every picture."""
    random = torch.Generator().manual_seed(seed)
    z = torch.randn(num_starts - 1, gan.z_dim, generator=random).to(gan.device, gan.dtype)
    others = gan.w_avg + SPREAD * (gan.mapping(z) - gan.w_avg)
    others = others[:, None].expand(-1, gan.num_ws, -1)
    return torch.cat([torch.cat([own[None], others.to(own)]) for own in first])


def _losses(gan: StyleGAN2Generator, objective: Callable, resolution: int, ws: Tensor) -> Tensor:
    """What `objective` says of the pictures of ws, as they are after the block of `resolution`."""
    ws = ws.to(gan.dtype)
    if resolution == gan.resolution:
        return objective(gan.synthesis(ws))
    below = [r for r in gan.resolutions if r <= resolution]
    return objective(through(gan.synthesis, ws, None, None, below)[1])


def w_plus_search(
    gan: StyleGAN2Generator,
    masked_image: Tensor,
    mask: Tensor,
    limits: Limits,
    learning_rate: float = 0.05,
    perceptual_network: Callable | None = None,
    perceptual_weight: float = 0.0,
    coarse_to_fine: bool = False,
    num_starts: int = 1,
    start: Tensor | None = None,
    seed: int = 0,
) -> FWLatent:
    """The FWLatent, ws [K,L,w_dim] alone, whose pictures agree best with the known pixels.
    perceptual_network, perceptual_weight: see objective.reconstruction.

    coarse_to_fine, num_starts: those of Schedule. start: [K,L,w_dim] in place of the mean latent,
    as an encoder's. seed: draws the other starts.
    """
    codes = gan.w_avg.expand(len(masked_image), gan.num_ws, -1) if start is None else start
    if num_starts > 1:
        codes = starts_of(gan, codes, num_starts, seed)

    def losses_at(resolution: int, copies: int) -> Callable:
        pictures = [x.repeat_interleave(copies, dim=0) for x in (masked_image, mask)]
        objective = reconstruction_at(resolution, *pictures, perceptual_network, perceptual_weight)
        return partial(_losses, gan, objective, resolution)

    stages = stages_of(gan.resolution, limits.num_steps, Schedule(coarse_to_fine, num_starts))
    (codes,) = descend_in_stages([codes], losses_at, stages, learning_rate, limits, num_starts)
    return FWLatent(codes.to(gan.dtype))
