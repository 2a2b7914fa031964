"""Soft-update mean latent w-bar (InvertFill section 3.2; SPEC A8).

w_bar_online <- tau * w_bar_target + (1 - tau) * w_bar_online at every iteration; the target stands
still until it is reached and is then sampled anew.
Differs from the paper's print: its update line writes to the target and drops an operand; this is
the only assignment that agrees with its text.
"""

import torch
from torch import Tensor, nn

MODES = ("soft", "static")


class SoftMeanLatent:
    """The mean latents the fidelity loss pulls toward: `w_bar_online`, `w_bar_target`, each
    [w_dim].

    Args:
        mapping: z [N,z_dim] -> w [N,w_dim], frozen.
        mode: "soft", or "static": w_bar_online stays w_avg (pSp's mean latent).
        tau: share of the way to the target taken per step, in [0,1].
        num_mean_samples: K, latents averaged into one target; small K lets it wander by sigma_w /
        sqrt(K).
        arrival_tolerance: the target is reached when the gap has shrunk to this share of its first
        size.
        w_avg: [w_dim], the generator's mean latent.
        generator: torch.Generator that draws the latents.

    Raises: ValueError for a mode, tau, number of samples or tolerance outside its range.
    """

    def __init__(
        self,
        mapping: nn.Module,
        *,
        mode: str = "soft",
        tau: float = 1e-3,
        num_mean_samples: int = 16,
        arrival_tolerance: float = 0.05,
        w_avg: Tensor,
        generator: torch.Generator,
    ) -> None:
        if mode not in MODES:
            raise ValueError(f"mode is {mode!r}, expected one of {MODES}")
        if not 0 <= tau <= 1:
            raise ValueError(
                f"tau is {tau}, expected a number in [0,1]; the paper's idea is about 0.001"
            )
        if num_mean_samples < 1:
            raise ValueError(
                f"num_mean_samples is {num_mean_samples}, expected at least 1 latent to average; "
                "16 lets the mean wander by a quarter of sigma_w"
            )
        if not 0 < arrival_tolerance < 1:
            raise ValueError(
                f"arrival_tolerance is {arrival_tolerance}, expected one in (0,1), as 0.05"
            )
        self.mapping, self.generator = mapping, generator
        self.mode, self.tau = mode, tau
        self.num_mean_samples, self.arrival_tolerance = num_mean_samples, arrival_tolerance
        self.w_bar_online = w_avg.clone() if mode == "static" else self.sample(w_avg)
        self.w_bar_target = self.w_bar_online.clone() if mode == "static" else self.sample(w_avg)
        self.first_gap = self.gap()
        self.num_resamplings = 0  # targets that were reached so far

    @torch.no_grad()
    def sample(self, like: Tensor) -> Tensor:
        """Mean of num_mean_samples new mapped latents, [w_dim]."""
        z = torch.randn(self.num_mean_samples, self.mapping.z_dim, generator=self.generator)
        return self.mapping(z.to(like)).mean(dim=0)

    def gap(self) -> Tensor:
        return (self.w_bar_online - self.w_bar_target).norm()

    @torch.no_grad()
    def step(self) -> None:
        """One update; call once per training iteration."""
        if self.mode == "static":
            return
        self.w_bar_online = self.w_bar_online.lerp(self.w_bar_target, self.tau)
        if self.gap() <= self.arrival_tolerance * self.first_gap:
            self.w_bar_target = self.sample(self.w_bar_target)
            self.first_gap = self.gap()
            self.num_resamplings += 1

    def state_dict(self) -> dict[str, Tensor | int]:
        return {
            "w_bar_online": self.w_bar_online,
            "w_bar_target": self.w_bar_target,
            "first_gap": self.first_gap,
            "generator": self.generator.get_state(),
            "num_resamplings": self.num_resamplings,
        }

    def load_state_dict(self, state: dict[str, Tensor | int]) -> None:
        self.w_bar_online = state["w_bar_online"].to(self.w_bar_online)
        self.w_bar_target = state["w_bar_target"].to(self.w_bar_target)
        self.first_gap = state["first_gap"].to(self.first_gap)
        self.generator.set_state(state["generator"].cpu())
        self.num_resamplings = state.get("num_resamplings", 0)  # older checkpoints did not count
