"""Search in W+: one style vector per layer, from the mean latent (Abdal et al., 2019; SPEC D)."""

from inpaint_hub.search.descent import descend
from inpaint_hub.search.objective import reconstruction


def w_plus_search(
    gan, masked_image, mask, limits, learning_rate=0.05, network=None, network_weight=0.0
):
    """ws [K,L,w_dim] whose pictures agree best with the known pixels; network and its weight: see
    objective.reconstruction."""
    objective = reconstruction(masked_image, mask, network, network_weight)

    def losses_of(ws):
        return objective(gan.synthesis(ws.to(gan.dtype)))

    start = gan.w_avg.expand(len(masked_image), gan.num_ws, -1)
    (ws,), _ = descend([start], losses_of, learning_rate, limits)
    return ws.to(gan.dtype)
