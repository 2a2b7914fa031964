"""Gradient descent on the codes of several pictures at once, none of which disturbs another."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

PATIENCE_STEPS = 25  # progress is judged over so many steps


@dataclass
class Limits:
    """When a search ends.

    num_steps: updates of the codes at most. tolerance: a picture is done when its lowest loss fell
    by less than this share in PATIENCE_STEPS steps; None never. max_seconds: None is any time; one
    update is always made. on_step: called after every update as on_step(step, codes, losses), with
    what losses_of was given and returned; True ends the search.
    """

    num_steps: int
    tolerance: float | None = None
    max_seconds: float | None = None
    on_step: Callable | None = None


def ramped(learning_rate: float, progress: float) -> float:
    """Rises over the first 5 % of the steps, falls to 0 along a cosine over the last 25 %, as in
    StyleGAN2's projector (SPEC D w_opt); progress in [0,1]."""
    down = min(1.0, (1 - progress) / 0.25)
    return learning_rate * min(1.0, progress / 0.05) * (0.5 - 0.5 * math.cos(math.pi * down))


def descend(
    codes: list[Tensor], losses_of: Callable, learning_rate: float, limits: Limits
) -> tuple[list[Tensor], Tensor]:
    """(codes, losses [K]): for each of K pictures those of its lowest loss, by Adam.

    codes: list of tensors [K,...], where to start; they stay as they are. losses_of: takes such a
    list's entries, gives losses [K], of which the k-th depends on the k-th codes alone.
    learning_rate: of the middle of the search (see ramped).

    Gradients are taken of the codes alone, and also where the caller switched them off.
    """
    with torch.enable_grad():
        codes = [code.detach().clone().float().requires_grad_() for code in codes]
        optimizer = torch.optim.Adam(codes, lr=learning_rate)
        losses = losses_of(*codes)
        best, lowest = [code.detach().clone() for code in codes], losses.detach().clone()
        searching = torch.ones_like(lowest, dtype=torch.bool)
        reference = lowest.clone()
        start = time.monotonic()
        for step in range(limits.num_steps):
            for group in optimizer.param_groups:
                group["lr"] = ramped(learning_rate, (step + 1) / (limits.num_steps + 1))
            for code, gradient in zip(codes, torch.autograd.grad(losses.sum(), codes)):
                code.grad = gradient
            optimizer.step()
            losses = losses_of(*codes)
            better = searching & (losses.detach() < lowest)
            lowest = torch.where(better, losses.detach(), lowest)
            for kept, code in zip(best, codes):
                kept[better] = code.detach()[better]
            if limits.tolerance is not None and (step + 1) % PATIENCE_STEPS == 0:
                searching &= lowest < reference * (1 - limits.tolerance)
                reference = lowest.clone()
            told = limits.on_step and limits.on_step(
                step, [code.detach() for code in codes], losses.detach()
            )
            late = limits.max_seconds is not None and time.monotonic() - start >= limits.max_seconds
            if told or late or not searching.any():
                break
    return best, lowest
