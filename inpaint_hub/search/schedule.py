"""From coarse to fine and from several starts: one descent after the other, each from what the last
one found. Ours beside the papers, for generators of 256 px and more."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from inpaint_hub.search.descent import Limits, descend

COARSEST_PX = 16
COARSE_SHARES = {4: 0.5, 2: 0.25}  # of the steps, at a quarter and at half of the resolution
STARTS_SHARE = 0.2  # of the steps, after which one start is chosen


class Schedule(NamedTuple):
    """coarse_to_fine: half of the steps on the picture at a quarter of its resolution, a quarter on
    half of it; the blocks above do not run there. num_starts: so many starts for each picture are
    searched in one batch for the first stage (20 % of the steps without coarse_to_fine), then the
    best goes on."""

    coarse_to_fine: bool = False
    num_starts: int = 1


def stages_of(
    resolution: int, num_steps: int, schedule: Schedule, coarsest: int = COARSEST_PX
) -> list[tuple[int, int]]:
    """[(resolution, steps)] of a search, at least one step each; the last at full resolution.

    coarsest: no stage is below.
    """
    shares = [(resolution, STARTS_SHARE)] if schedule.num_starts > 1 else []
    if schedule.coarse_to_fine:
        coarse = [(resolution // f, share) for f, share in COARSE_SHARES.items()]
        shares = [(r, share) for r, share in coarse if r >= coarsest] or shares
    stages = [(r, max(1, round(share * num_steps))) for r, share in shares]
    return [*stages, (resolution, max(1, num_steps - sum(steps for _, steps in stages)))]


def descend_in_stages(
    codes: list[Tensor],
    losses_at: Callable,
    stages: list[tuple[int, int]],
    learning_rate: float,
    limits: Limits,
    num_starts: int = 1,
) -> list[Tensor]:
    """The codes, [K,...] each, of the lowest loss after the last of `stages` (stages_of).

    codes: [K * num_starts,...], a picture's starts in a row, of which the first stage chooses.
    losses_at: (resolution, copies) -> what descend is to have: losses of the pictures at that
    resolution, each of them `copies` times in a row. limits: of all the stages together.
    """
    began, stopped, done = time.monotonic(), False, 0

    def on_step(step: int, now: list[Tensor], losses: Tensor) -> bool:
        nonlocal stopped
        stopped = bool(limits.on_step and limits.on_step(done + step, now, losses))
        return stopped

    for index, (resolution, steps) in enumerate(stages):
        copies = num_starts if index == 0 else 1
        seconds = limits.max_seconds
        if seconds is not None:
            left = max(seconds - (time.monotonic() - began), 0)
            seconds = left * steps / sum(s for _, s in stages[index:])
        codes, losses = descend(
            codes,
            losses_at(resolution, copies),
            learning_rate,
            replace(limits, num_steps=steps, max_seconds=seconds, on_step=on_step),
        )
        if copies > 1:
            best = losses.unflatten(0, (-1, copies)).argmin(dim=1)
            rows = torch.arange(len(best))
            codes = [code.unflatten(0, (-1, copies))[rows, best] for code in codes]
        done += steps
        if stopped:
            break
    return codes
