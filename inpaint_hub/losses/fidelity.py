"""L_fid: keeps the style vectors near the mean latent (InvertFill Eq. (6); SPEC A9.3)."""

from torch import Tensor


def fidelity_loss(ws: Tensor, w_bar: Tensor, w_std: Tensor | None = None) -> Tensor:
    """Mean over N * L * w_dim of (w* - w_bar)^2: ws [N,L,w_dim], w_bar [w_dim].

    w_std [w_dim]: measure in standard deviations of w, so that one weight suits any generator.
    """
    difference = ws - w_bar
    if w_std is not None:
        difference = difference / w_std.clamp(min=1e-4)
    return difference.square().mean()
