"""mGANprior (Gu et al., CVPR 2020; SPEC D), the baseline of InvertFill Table 2 and Fig. 4: N codes
whose features are mixed inside the generator.

    w_1 ... w_N --blocks up to r--> x_1 ... x_N --sum of alpha_n * x_n--> blocks above r --> picture

Differs from the paper, which inverts PGGAN: the codes are style vectors; what StyleGAN2 has beside
the features, the picture so far and the style vectors above r, is mixed by each code's mean
importance; Adam instead of SGD.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from inpaint_hub.search.descent import Limits
from inpaint_hub.search.objective import reconstruction_at
from inpaint_hub.search.schedule import (
    COARSEST_PX,
    Schedule,
    descend_in_stages,
    stages_of,
)
from inpaint_hub.stylegan2 import FWLatent, StyleGAN2Generator
from inpaint_hub.stylegan2.synthesis import SynthesisNetwork, rows_of


def through(
    synthesis: SynthesisNetwork,
    ws: Tensor,
    x: Tensor | None,
    rgb: Tensor | None,
    resolutions: list[int],
) -> tuple[Tensor, Tensor]:
    """(x, rgb) after the blocks of `resolutions`, with constant noise."""
    for r in resolutions:
        x, rgb = synthesis.blocks[str(r)](x, rgb, ws[:, rows_of(r)], None, None, "const", None)
    return x, rgb


def mixed(
    gan: StyleGAN2Generator, w: Tensor, importance: Tensor, mixing_resolution: int
) -> tuple[Tensor, Tensor, Tensor]:
    """(x [K,C,r,r], rgb [K,3,r,r], ws [K,L,w_dim]) of K pictures at r = mixing_resolution.

    w [K,N,w_dim]; importance alpha [K,N,C], paper Eq. (2).
    """
    pictures, num_codes, _ = w.shape
    ws = w.flatten(0, 1)[:, None].expand(-1, gan.num_ws, -1)
    below = [r for r in gan.resolutions if r <= mixing_resolution]
    x, rgb = through(gan.synthesis, ws, None, None, below)
    x, rgb = (t.unflatten(0, (pictures, num_codes)) for t in (x, rgb))
    share = importance.mean(dim=2)
    x = (importance[..., None, None] * x).sum(dim=1)
    rgb = (share[..., None, None, None] * rgb).sum(dim=1)
    ws = (share[..., None] * w).sum(dim=1)[:, None].expand(-1, gan.num_ws, -1)
    return x, rgb, ws


def as_features(
    gan: StyleGAN2Generator, x: Tensor, rgb: Tensor, ws: Tensor, mixing_resolution: int
) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """(features, rgb_features): what the synthesis of ws needs added to go on from x and rgb."""
    r, above = mixing_resolution, 2 * mixing_resolution
    below = [q for q in gan.resolutions if q <= r]
    own_x, own_rgb = through(gan.synthesis, ws, None, None, below)
    enlarge, row = gan.synthesis.blocks[str(above)].up_conv, ws[:, rows_of(above)][:, 0]
    return {above: enlarge(x, row) - enlarge(own_x, row)}, {r: rgb - own_rgb}


def multi_code_search(
    gan: StyleGAN2Generator,
    masked_image: Tensor,
    mask: Tensor,
    limits: Limits,
    learning_rate: float = 0.05,
    num_codes: int = 10,
    mixing_resolution: int = 8,
    perceptual_network: Callable | None = None,
    perceptual_weight: float = 0.0,
    seed: int = 0,
    coarse_to_fine: bool = False,
    num_starts: int = 1,
) -> FWLatent:
    """The FWLatent, ws [K,L,w_dim], of the mix that agrees best with the known pixels.

    mixing_resolution: r, below the generator's. seed: draws the codes to start from, the same for
    every picture; importances start at 1/N. coarse_to_fine, num_starts: those of Schedule, for
    stages above r; every start has codes of its own.
    """

    def losses_at(resolution: int, copies: int) -> Callable:
        seen = [x.repeat_interleave(copies, dim=0) for x in (masked_image, mask)]
        objective = reconstruction_at(resolution, *seen, perceptual_network, perceptual_weight)
        above = [r for r in gan.resolutions if mixing_resolution < r <= resolution]

        def losses_of(w: Tensor, importance: Tensor) -> Tensor:
            w, importance = w.to(gan.dtype), importance.to(gan.dtype)
            x, rgb, ws = mixed(gan, w, importance / num_codes, mixing_resolution)
            _, generated = through(gan.synthesis, ws, x, rgb, above)
            return objective(generated)

        return losses_of

    random, pictures = torch.Generator().manual_seed(seed), len(masked_image)
    drawn = [torch.randn(num_codes, gan.z_dim, generator=random) for _ in range(num_starts)]
    w = gan.mapping(torch.cat(drawn).to(gan.device, gan.dtype)).unflatten(0, (num_starts, -1))
    importance = w.new_ones(pictures * num_starts, num_codes, gan.channels_at(mixing_resolution))
    # One rate serves both: the importances are held as multiples of 1/N, of the codes' own size.
    start = [w.repeat(pictures, 1, 1), importance]
    schedule = Schedule(coarse_to_fine, num_starts)
    coarsest = max(COARSEST_PX, 2 * mixing_resolution)
    stages = stages_of(gan.resolution, limits.num_steps, schedule, coarsest)
    found = descend_in_stages(start, losses_at, stages, learning_rate, limits, num_starts)
    w, importance = (code.to(gan.dtype) for code in found)
    x, rgb, ws = mixed(gan, w, importance / num_codes, mixing_resolution)
    return FWLatent(ws, *as_features(gan, x, rgb, ws, mixing_resolution))
