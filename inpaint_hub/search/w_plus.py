"""Search in W+: one style vector per layer, from the mean latent (Abdal et al., 2019; SPEC D).

Ours beside the paper: from coarse to fine, for large generators, and several starts in one batch.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from inpaint_hub.search.descent import Limits, descend
from inpaint_hub.search.mganprior import through
from inpaint_hub.search.objective import reconstruction
from inpaint_hub.stylegan2 import StyleGAN2Generator

COARSEST_PX = 16
COARSE_SHARES = {4: 0.5, 2: 0.25}  # of the steps, at a quarter and at half of the resolution
STARTS_SHARE = 0.2  # of the steps, after which one start is chosen
SPREAD = 0.5  # how far the other starts lie from the mean latent, as a share of a random latent


def coarse_reconstruction(masked_image: Tensor, mask: Tensor, resolution: int) -> Callable:
    """Function of pictures [K,3,r,r] that gives the mean squared difference to the known pixels'
    averages at r px, each weighted by its share of known pixels, [K]."""
    factor = mask.shape[-1] // resolution
    known = (mask < 0.5).float()
    share = F.avg_pool2d(known, factor)
    target = F.avg_pool2d(masked_image.float() * known, factor) / share.clamp(min=1e-6)
    total = 3 * share.sum(dim=(1, 2, 3)).clamp(min=1e-6)

    def losses_of(generated: Tensor) -> Tensor:
        return (share * (generated.float() - target).square()).sum(dim=(1, 2, 3)) / total

    return losses_of


def stages_of(resolution: int, num_steps: int, coarse_to_fine: bool, num_starts: int) -> list:
    """[(resolution, steps)] of a search, at least one step each; the last at full resolution."""
    shares = [(resolution, STARTS_SHARE)] if num_starts > 1 else []
    if coarse_to_fine:
        coarse = [(resolution // f, share) for f, share in COARSE_SHARES.items()]
        shares = [(r, share) for r, share in coarse if r >= COARSEST_PX] or shares
    stages = [(r, max(1, round(share * num_steps))) for r, share in shares]
    return [*stages, (resolution, max(1, num_steps - sum(steps for _, steps in stages)))]


def starts_of(gan: StyleGAN2Generator, first: Tensor, num_starts: int, seed: int) -> Tensor:
    """[K * num_starts,L,w_dim]: for each picture `first` [K,L,w_dim] and latents around the mean,
    the same for every picture."""
    random = torch.Generator().manual_seed(seed)
    z = torch.randn(num_starts - 1, gan.z_dim, generator=random).to(gan.device, gan.dtype)
    others = gan.w_avg + SPREAD * (gan.mapping(z) - gan.w_avg)
    others = others[:, None].expand(-1, gan.num_ws, -1)
    return torch.cat([torch.cat([own[None], others.to(own)]) for own in first])


def losses_at(gan: StyleGAN2Generator, objective: Callable, resolution: int, ws: Tensor) -> Tensor:
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
    network: Callable | None = None,
    network_weight: float = 0.0,
    coarse_to_fine: bool = False,
    num_starts: int = 1,
    start: Tensor | None = None,
    seed: int = 0,
) -> Tensor:
    """ws [K,L,w_dim] whose pictures agree best with the known pixels; network and its weight: see
    objective.reconstruction.

    coarse_to_fine: half of the steps on the picture at a quarter of its resolution, a quarter on
    half of it; the blocks above do not run there. num_starts: so many starts for each picture are
    searched in one batch for the first stage (20 % of the steps without coarse_to_fine), then the
    best goes on. start: [K,L,w_dim] in place of the mean latent, as an encoder's. seed: draws the
    other starts.
    """
    resolution = gan.resolution
    codes = gan.w_avg.expand(len(masked_image), gan.num_ws, -1) if start is None else start
    began, stopped, done = time.monotonic(), False, 0

    def on_step(step: int, now: list, losses: Tensor) -> bool:
        nonlocal stopped
        stopped = bool(limits.on_step and limits.on_step(done + step, now, losses))
        return stopped

    stages = stages_of(resolution, limits.num_steps, coarse_to_fine, num_starts)
    for index, (r, steps) in enumerate(stages):
        copies = num_starts if index == 0 else 1
        pictures = [x.repeat_interleave(copies, dim=0) for x in (masked_image, mask)]
        if copies > 1:
            codes = starts_of(gan, codes, copies, seed)
        if r == resolution:
            objective = reconstruction(*pictures, network, network_weight)
        else:
            objective = coarse_reconstruction(*pictures, r)
        losses_of = partial(losses_at, gan, objective, r)
        seconds = limits.max_seconds
        if seconds is not None:
            left = max(seconds - (time.monotonic() - began), 0)
            seconds = left * steps / sum(s for _, s in stages[index:])
        (codes,), losses = descend(
            [codes],
            losses_of,
            learning_rate,
            replace(limits, num_steps=steps, max_seconds=seconds, on_step=on_step),
        )
        if copies > 1:
            best = losses.unflatten(0, (-1, copies)).argmin(dim=1)
            codes = codes.unflatten(0, (-1, copies))[torch.arange(len(best)), best]
        done += steps
        if stopped:
            break
    return codes.to(gan.dtype)
