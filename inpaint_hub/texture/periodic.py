"""Textures that repeat themselves exactly, as tiles, weaves and patterns do: what lies one period
further is what belongs into the hole."""

from typing import NamedTuple

import numpy as np
from scipy import fft

from inpaint_hub.images import LUMA

MAX_ERROR = 4.0  # root mean square over the known pixels, of 255: JPEG's, not another pattern's
MAX_SHARE = 0.02  # of the largest error among shorter shifts: a gradient repeats nothing
EXACT = 0.5  # such an error nobody sees: what stays the same all along a line repeats itself there
MIN_PERIOD_PX = 2
SEARCH_PX = 640  # side of what is searched of a larger picture: all of it repeats itself, or none
ON_THE_WAY = 8  # parts of the way to a shift, at whose ends it is compared with shorter ones
STEPS = 3  # periods at once, at most
MIN_OVERLAP = 0.25  # of the known pixels meet known ones one period further


class Period(NamedTuple):
    """Rows and columns, in px, after which a picture repeats itself."""

    dy: int
    dx: int

    @property
    def length(self) -> float:
        """In px."""
        return float(np.hypot(self.dy, self.dx))


def shift_errors(picture: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(float32 [2H-1,2W-1] mean squared difference between a picture and itself shifted, share of
    the known pixels it is the mean of); zero shift in the middle.

    picture: float [H,W]; known: bool [H,W].
    """
    height, width = picture.shape
    size = fft.next_fast_len(2 * height - 1, real=True), fft.next_fast_len(2 * width - 1, real=True)
    weight = known.astype(np.float32)
    values = np.where(known, picture - picture[known].mean(), 0).astype(np.float32)

    def correlated(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return fft.irfft2(a.conj() * b, size)

    w, v, v2 = (fft.rfft2(x, size) for x in (weight, values, values**2))
    count = np.rint(correlated(w, w))
    error = correlated(v2, w) + correlated(w, v2) - 2 * correlated(v, v)
    shifts = np.ix_(np.arange(1 - height, height), np.arange(1 - width, width))  # negative: the end
    mean = np.maximum(error[shifts], 0) / np.maximum(count[shifts], 1)
    return mean, count[shifts] / max(weight.sum(), 1)


def periods_of(pixels: np.ndarray, hole: np.ndarray) -> list[Period]:
    """The shortest one or two Periods of the known pixels, in different directions; [] where
    nothing repeats.

    pixels: uint8 [H,W,3], the hole's of which are not read; hole: bool [H,W].
    """
    part = _most_known(hole)
    absent = hole[part]
    if (~absent).sum() < 64:
        return []
    error, share = shift_errors(np.where(absent[..., None], 0, pixels[part]) @ LUMA, ~absent)
    height, width = absent.shape
    dy, dx = np.mgrid[1 - height : height, 1 - width : width]
    length = np.hypot(dy, dx)
    enough = share >= MIN_OVERLAP
    upper = (dy > 0) | ((dy == 0) & (dx > 0))  # the other half is the same
    repeats = enough & upper & (length >= MIN_PERIOD_PX) & (error <= MAX_ERROR**2)
    candidates = np.flatnonzero(repeats)
    if not candidates.size:
        return []
    lengths, worst = _worst_so_far(length[enough], error[enough])
    shorter = np.searchsorted(lengths, length.flat[candidates])  # at least one: no shift at all
    candidates = candidates[error.flat[candidates] <= MAX_SHARE * worst[shorter - 1]]
    most = np.maximum(MAX_SHARE * _worst_on_the_way(error, candidates), EXACT**2)
    candidates = candidates[error.flat[candidates] <= most]
    found: list[Period] = []
    for k in candidates[np.argsort(length.flat[candidates], kind="stable")]:
        period = Period(int(dy.flat[k]), int(dx.flat[k]))
        if found and not _across(found[0], period):
            continue
        if _repeats(pixels, hole, period):
            found.append(period)
            if len(found) == 2:
                break
    return found


def _most_known(hole: np.ndarray) -> tuple[slice, slice]:
    """(rows, columns) slices of at most SEARCH_PX a side, on a lattice of halves of that: where
    least of the hole, bool [H,W], lies."""
    sides = [min(length, SEARCH_PX) for length in hole.shape]
    starts = [
        [*range(0, length - side, SEARCH_PX // 2), length - side]
        for length, side in zip(hole.shape, sides)
    ]
    parts = [np.s_[y : y + sides[0], x : x + sides[1]] for y in starts[0] for x in starts[1]]
    return min(parts, key=lambda part: np.count_nonzero(hole[part]))


def _worst_so_far(length: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(lengths [N] in ascending order, the largest error up to each); both float [N]."""
    order = np.argsort(length)
    return length[order], np.maximum.accumulate(error[order])


def _worst_on_the_way(error: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """float [N]: the largest of `shift_errors`' errors on the straight way to each shift, which is
    no period where that is as small as its own, as along the bands of a sunset.

    shifts: int [N], flat indices into `error`.
    """
    middle = np.array(error.shape)[:, None] // 2
    whole = np.stack(np.unravel_index(shifts, error.shape)) - middle
    way = [np.rint(whole * k / ON_THE_WAY).astype(int) + middle for k in range(1, ON_THE_WAY)]
    return np.max([error[y, x] for y, x in way], axis=0)


def _across(first: Period, second: Period) -> bool:
    """Whether two periods are at least 30 degrees apart."""
    area = abs(first.dy * second.dx - first.dx * second.dy)
    return area >= 0.5 * first.length * second.length


def _repeats(pixels: np.ndarray, hole: np.ndarray, period: Period) -> bool:
    """Whether all three channels do, where both pixels are known."""
    there, inside = _shifted(pixels, period)
    absent, _ = _shifted(hole, period)
    both = inside & ~hole & ~absent
    difference = there[both].astype(np.float64) - pixels[both]
    return bool((difference**2).mean() <= MAX_ERROR**2)


def _shifted(values: np.ndarray, shift: Period) -> tuple[np.ndarray, np.ndarray]:
    """(values at each place plus the shift, bool [H,W] where that is inside)."""
    height, width = values.shape[:2]
    y, x = np.arange(height) + shift.dy, np.arange(width) + shift.dx
    inside = ((y >= 0) & (y < height))[:, None] & ((x >= 0) & (x < width))[None]
    return values[y.clip(0, height - 1)[:, None], x.clip(0, width - 1)[None]], inside


def repeated(
    pixels: np.ndarray, hole: np.ndarray, own: np.ndarray, periods: list[Period]
) -> np.ndarray | None:
    """uint8 [H,W,3]: the picture with `own` copied from one period away, or up to STEPS across
    other holes, again and again, from the hole's rim inward; None where that does not reach all of
    it.

    pixels: uint8 [H,W,3]; hole, own: bool [H,W]; periods: one or two.
    """
    filled, missing, left = pixels.copy(), hole.copy(), own.copy()
    steps = [sign * k for k in range(1, STEPS + 1) for sign in (1, -1)]
    shifts = [Period(k * dy, k * dx) for k in steps for dy, dx in periods]
    while left.any():
        before = left.sum()
        for shift in shifts:
            there, inside = _shifted(filled, shift)
            absent, _ = _shifted(missing, shift)
            now = left & inside & ~absent
            filled[now] = there[now]
            missing &= ~now
            left &= ~now
        if left.sum() == before:
            return None
    return filled
