"""Search in W+: one style vector per layer, from the mean latent (Abdal et al., 2019; SPEC D)."""

from collections.abc import Callable

from torch import Tensor

from inpaint_hub.search.descent import Limits, descend
from inpaint_hub.search.objective import reconstruction
from inpaint_hub.stylegan2 import StyleGAN2Generator


def w_plus_search(
    gan: StyleGAN2Generator,
    masked_image: Tensor,
    mask: Tensor,
    limits: Limits,
    learning_rate: float = 0.05,
    network: Callable | None = None,
    network_weight: float = 0.0,
) -> Tensor:
    """ws [K,L,w_dim] whose pictures agree best with the known pixels; network and its weight: see
    objective.reconstruction."""
    objective = reconstruction(masked_image, mask, network, network_weight)

    def losses_of(ws: Tensor) -> Tensor:
        return objective(gan.synthesis(ws.to(gan.dtype)))

    start = gan.w_avg.expand(len(masked_image), gan.num_ws, -1)
    (ws,), _ = descend([start], losses_of, learning_rate, limits)
    return ws.to(gan.dtype)
