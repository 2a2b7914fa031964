"""Pre-modulation: structure codes modulate normalized level codes (InvertFill Eq. (1); SPEC A5)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inpaint_hub.inversion.style_heads import level_of


def instance_norm(codes: Tensor, eps: float = 1e-5) -> Tensor:
    """codes [N,3,w_dim] -> the same, each row with mean 0 and standard deviation 1 over its w_dim
    entries.

    IN over the spatial extent of a code, which is 1, would return zeros; the entries of one level's
    code are the only axis over which its statistics exist.

    Raises: ValueError when a row has a single entry.
    """
    if codes.shape[-1] < 2:
        raise ValueError(
            f"codes have shape {tuple(codes.shape)}; expected at least 2 entries per code to "
            f"normalize "
            "over; pass [N,levels,w_dim]"
        )
    return F.layer_norm(codes, codes.shape[-1:], eps=eps)


class PreModulation(nn.Module):
    """w*_l = gamma_l(S_r) * IN(w'_r) + beta_l(S_r) with r = level_of(l), for one generator layer l.

    Args:
        beta_sees_w: beta_l also reads w'_r (the adaptive normalization of the same authors' MMT).
        shared_fc: one leaky-ReLU layer in front of both.
    """

    def __init__(
        self, w_dim: int, level: int, beta_sees_w: bool = False, shared_fc: bool = False
    ) -> None:
        super().__init__()
        self.level, self.beta_sees_w = level, beta_sees_w
        self.shared = nn.Linear(w_dim, w_dim) if shared_fc else None
        self.gamma = nn.Linear(w_dim, w_dim)
        self.beta = nn.Linear(2 * w_dim if beta_sees_w else w_dim, w_dim)
        for linear in (self.gamma, self.beta):
            nn.init.normal_(linear.weight, std=0.01)

    def initialize(self, w_mean: Tensor, w_std: Tensor) -> None:
        """Start inside the generator's domain: w* is then about w_mean + w_std * N(0, 1) (SPEC
        A5)."""
        with torch.no_grad():
            self.gamma.bias.copy_(w_std)
            self.beta.bias.copy_(w_mean)

    def forward(self, level_codes: Tensor, normalized: Tensor, structure: Tensor) -> Tensor:
        """Each [N,3,w_dim] -> w*_l [N,w_dim]."""
        S = structure[:, self.level]
        if self.shared is not None:
            S = F.leaky_relu(self.shared(S), 0.2)
        seen = torch.cat([S, level_codes[:, self.level]], dim=1) if self.beta_sees_w else S
        return self.gamma(S) * normalized[:, self.level] + self.beta(seen)


def build_pre_modulation(
    num_ws: int, w_dim: int, beta_sees_w: bool, shared_fc: bool
) -> nn.ModuleList:
    """One PreModulation for every row of ws."""
    return nn.ModuleList(
        PreModulation(w_dim, level_of(row), beta_sees_w, shared_fc) for row in range(num_ws)
    )
