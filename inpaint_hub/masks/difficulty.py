"""Holes of a given difficulty: the training mixture, and coverage bands by rejection (SPEC A11)."""

import numpy as np

from inpaint_hub.masks.regions import SIDES, outpainting, random_box
from inpaint_hub.masks.strokes import strokes, width_height

# Named bands of true coverage (hole share of the picture): InvertFill's, and the Dual-path poster's
# six.
BANDS = {
    "easy": (0.10, 0.20),
    "hard": (0.50, 0.60),
    "extreme": (0.70, 0.90),
    "all": (0.10, 0.90),
    **{f"{low}-{low + 10}": (low / 100, low / 100 + 0.1) for low in range(0, 60, 10)},
}
MAX_TRIES = 2000


def coverage(mask):
    """Share of the mask that is hole, in [0,1]."""
    return float(np.mean(mask))


def centre_square(size, rng):
    """A square of a half to a third of the side, placed around the middle half."""
    width, height = width_height(size)
    side = max(1, round(min(width, height) * rng.uniform(1 / 3, 1 / 2)))
    mask = np.zeros((height, width), bool)
    top = int(rng.integers(height // 4, max(height // 4 + 1, 3 * height // 4 - side // 2)))
    left = int(rng.integers(width // 4, max(width // 4 + 1, 3 * width // 4 - side // 2)))
    mask[top : top + side, left : left + side] = True
    return mask


def comodgan_style(size, rng):
    """Strokes with heavy brushes joined with boxes, as CoModGAN samples large holes."""
    mask = strokes(size, rng, num_strokes=(2, 10), brush_px=(16, 56))
    for _ in range(rng.integers(0, 5)):
        mask |= random_box(size, rng, 0.15, 0.6)
    return mask


def border(size, rng):
    """A box or an outpainting border."""
    if rng.random() < 0.5:
        return random_box(size, rng)
    side = ("left", "right", "top", "bottom", "both", "all")[rng.integers(6)]
    return outpainting(size, side, rng.uniform(0.2, 0.6))


def draw_mixture(size, rng):
    """50 % strokes or squares, 40 % CoModGAN-style, 10 % boxes and borders."""
    kind = rng.random()
    if kind < 0.5:
        return strokes(size, rng) if rng.random() < 0.5 else centre_square(size, rng)
    return comodgan_style(size, rng) if kind < 0.9 else border(size, rng)


def mask_in_band(size, low, high, rng, draw=draw_mixture):
    """A mask whose true coverage lies in [low, high], by rejection from `draw(size, rng)`.

    Raises: ValueError for an impossible band, or when none of 2000 draws falls into it; TypeError
    for a seed in place of a numpy Generator.
    """
    if not isinstance(rng, np.random.Generator):
        raise TypeError(
            f"rng is {rng!r}, expected a numpy Generator; pass numpy.random.default_rng(seed)"
        )
    if not 0 <= low < high <= 1:
        raise ValueError(f"band is {low}-{high}, expected 0 <= low < high <= 1, as 0.5 and 0.6")
    nearest = np.inf
    for _ in range(MAX_TRIES):
        mask = draw(size, rng)
        covered = coverage(mask)
        if low <= covered <= high:
            return mask
        nearest = min(nearest, covered, key=lambda c: abs(c - (low + high) / 2))
    raise ValueError(
        f"none of {MAX_TRIES} masks of size {size} covers between {low:.1%} and {high:.1%}; the "
        f"nearest covers {nearest:.1%}; widen the band or use a larger size"
    )


def nominal_mask(size, low, high, rng):
    """Strokes joined until the sum of their areas lies in [low, high] (SPEC A11.2, mmt_nominal).

    Overlaps count twice in the sum, so that the true coverage is smaller; a sum beyond `high`
    starts anew.

    Raises: ValueError when none of 2000 starts ends inside the band.
    """
    for _ in range(MAX_TRIES):
        mask, total = np.zeros(width_height(size)[::-1], bool), 0.0
        while total < low:
            stroke = strokes(size, rng, num_strokes=(1, 1))
            mask |= stroke
            total += coverage(stroke)
        if 0 < total <= high:
            return mask
    raise ValueError(
        f"none of {MAX_TRIES} masks of size {size} has a summed coverage between {low:.1%} and "
        f"{high:.1%}; widen the band"
    )


def training_mask(size, rng, min_coverage=0.05, max_coverage=0.95):
    """One mask of the training mixture with coverage inside the limits."""
    return mask_in_band(size, min_coverage, max_coverage, rng)


def outpainting_mask(size, rng):
    """A border on a random side (left, right, top, bottom) of a quarter to three quarters of the
    picture (SPEC A11.3)."""
    return outpainting(size, SIDES[rng.integers(4)], rng.uniform(0.25, 0.75))
