"""Holes of a given difficulty: the training mixture, and coverage bands in which every kind of hole
is drawn until it covers what it should (SPEC A11)."""

import numpy as np

from inpaint_hub.masks.regions import SIDES, outpainting, random_box
from inpaint_hub.masks.strokes import Size, strokes, strokes_to_coverage, width_height

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
MAX_TRIES_OF_KIND = 100  # each is drawn to a coverage inside the band
LARGE_BRUSH_PX = (16, 56)  # of a 256 px mask
LARGE_BOX_SHARE = 0.25  # of the shapes of a large hole: two boxes to six strokes
BOX_ASPECTS = (0.5, 2.0)


def coverage(mask: np.ndarray) -> float:
    """Share of the mask that is hole, in [0,1]."""
    return float(np.mean(mask))


def center_square(size: Size, rng: np.random.Generator) -> np.ndarray:
    """A square of a half to a third of the side, placed around the middle half."""
    width, height = width_height(size)
    side = max(1, round(min(width, height) * rng.uniform(1 / 3, 1 / 2)))
    mask = np.zeros((height, width), bool)
    top = int(rng.integers(height // 4, max(height // 4 + 1, 3 * height // 4 - side // 2)))
    left = int(rng.integers(width // 4, max(width // 4 + 1, 3 * width // 4 - side // 2)))
    mask[top : top + side, left : left + side] = True
    return mask


def comodgan_style(size: Size, rng: np.random.Generator) -> np.ndarray:
    """Strokes with heavy brushes joined with boxes, as CoModGAN samples large holes."""
    mask = strokes(size, rng, num_strokes=(2, 10), brush_px=LARGE_BRUSH_PX)
    for _ in range(rng.integers(0, 5)):
        mask |= random_box(size, rng, 0.15, 0.6)
    return mask


def border(size: Size, rng: np.random.Generator) -> np.ndarray:
    """A box or an outpainting border."""
    if rng.random() < 0.5:
        return random_box(size, rng)
    return outpainting(size, SIDES[rng.integers(6)], rng.uniform(0.2, 0.6))


def draw_mixture(size: Size, rng: np.random.Generator) -> np.ndarray:
    """50 % strokes or squares, 40 % CoModGAN-style, 10 % boxes and borders."""
    kind = rng.random()
    if kind < 0.5:
        return strokes(size, rng) if rng.random() < 0.5 else center_square(size, rng)
    return comodgan_style(size, rng) if kind < 0.9 else border(size, rng)


def _boxed(
    size: Size, target: float, rng: np.random.Generator, aspects: tuple[float, float]
) -> tuple[int, int, int, int]:
    """A rectangle of `target` coverage, width to height as drawn from `aspects`, and the room
    around it: (mask, spare height, spare width)."""
    width, height = width_height(size)
    area = target * width * height
    across = np.sqrt(area * np.exp(rng.uniform(*np.log(aspects))))
    across = int(np.clip(round(across), 1, width))
    down = int(np.clip(round(area / across), 1, height))
    across = int(np.clip(round(area / down), 1, width))  # where the height was cut off
    return across, down, width - across, height - down


def _placed(size: Size, across: int, down: int, left: int, top: int) -> np.ndarray:
    width, height = width_height(size)
    mask = np.zeros((height, width), bool)
    mask[top : top + down, left : left + across] = True
    return mask


def square_to_coverage(size: Size, target: float, rng: np.random.Generator) -> np.ndarray:
    """A square of that coverage, its place drawn from the middle half of where it fits."""
    across, down, spare_x, spare_y = _boxed(size, target, rng, (1, 1))
    left, top = (round(spare * rng.uniform(0.25, 0.75)) for spare in (spare_x, spare_y))
    return _placed(size, across, down, left, top)


def box_to_coverage(size: Size, target: float, rng: np.random.Generator) -> np.ndarray:
    """A rectangle of that coverage anywhere, one side at most twice the other where it fits."""
    across, down, spare_x, spare_y = _boxed(size, target, rng, BOX_ASPECTS)
    left, top = (int(rng.integers(spare, endpoint=True)) for spare in (spare_x, spare_y))
    return _placed(size, across, down, left, top)


def border_to_coverage(size: Size, target: float, rng: np.random.Generator) -> np.ndarray:
    """The border to be outpainted on a side, on two or all around, of that coverage."""
    side = SIDES[rng.integers(len(SIDES))]
    share = 1 - np.sqrt(1 - target) if side == "all" else target
    return outpainting(size, side, float(np.clip(share, 1e-6, 1 - 1e-6)))


def large_to_coverage(size: Size, target: float, rng: np.random.Generator) -> np.ndarray:
    """Strokes with heavy brushes and, after the first, boxes between them: CoModGAN's large holes
    cut down to that coverage."""
    return strokes_to_coverage(
        size, target, rng, brush_px=LARGE_BRUSH_PX, box_share=LARGE_BOX_SHARE
    )


# Kind of hole: function of (size, coverage, rng) -> mask of about that coverage.
KINDS = {
    "strokes": strokes_to_coverage,
    "squares": square_to_coverage,
    "large": large_to_coverage,
    "boxes": box_to_coverage,
    "borders": border_to_coverage,
}
# What a band can be asked for: shares of the kinds. The mixture's are those of the training masks.
MIXTURES = {
    "mixture": {"strokes": 0.25, "squares": 0.25, "large": 0.4, "boxes": 0.05, "borders": 0.05},
    "strokes": {"strokes": 1.0},
    "large": {"large": 1.0},
    "boxes": {"squares": 0.5, "boxes": 0.5},
}


def check_band(low: float, high: float, rng: np.random.Generator) -> None:
    """Raises: TypeError for a seed in place of a numpy Generator; ValueError for no band."""
    if not isinstance(rng, np.random.Generator):
        raise TypeError(
            f"rng is {rng!r}, expected a numpy Generator; pass numpy.random.default_rng(seed)"
        )
    if not 0 <= low < high <= 1:
        raise ValueError(f"band is {low}-{high}, expected 0 <= low < high <= 1, as 0.5 and 0.6")


def mask_in_band(
    size: Size, low: float, high: float, rng: np.random.Generator, kind: str = "mixture"
) -> np.ndarray:
    """A mask whose true coverage lies in [low, high]; see drawn_in_band."""
    return drawn_in_band(size, low, high, rng, kind)[0]


def drawn_in_band(
    size: Size, low: float, high: float, rng: np.random.Generator, kind: str = "mixture"
) -> tuple[np.ndarray, str]:
    """(mask, name of its kind), of true coverage in [low, high].

    First the kind of hole is drawn, by the shares of MIXTURES[kind], then the coverage, evenly
    within the band, then a hole of that kind until it covers so much. So the band does not choose
    the kind, as drawing whole masks and rejecting those outside would (of masks of 10-20 % it keeps
    single squares only). A kind that has no mask of that size in the band is drawn anew.

    Raises: ValueError for an impossible band or kind, or where no hole falls into the band;
    TypeError for a seed in place of a numpy Generator.
    """
    check_band(low, high, rng)
    if kind not in MIXTURES:
        raise ValueError(f"kind of hole is {kind!r}, expected one of {', '.join(MIXTURES)}")
    shares = dict(MIXTURES[kind])
    nearest = np.inf
    while shares:
        weights = np.array(list(shares.values()))
        name = list(shares)[rng.choice(len(shares), p=weights / weights.sum())]
        for _ in range(MAX_TRIES_OF_KIND):
            mask = KINDS[name](size, rng.uniform(low, high), rng)
            covered = coverage(mask)
            if low <= covered <= high and mask.any():
                return mask, name
            nearest = min(nearest, covered, key=lambda c: abs(c - (low + high) / 2))
        del shares[name]
    raise ValueError(
        f"no hole ({kind}) of size {size} covers between {low:.1%} and {high:.1%}; the nearest "
        f"covers {nearest:.1%}; widen the band or use a larger size"
    )


def nominal_mask(size: Size, low: float, high: float, rng: np.random.Generator) -> np.ndarray:
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


def training_mask(
    size: Size, rng: np.random.Generator, min_coverage: float = 0.05, max_coverage: float = 0.95
) -> np.ndarray:
    """One mask of the training mixture, drawn anew while its coverage lies outside the limits.

    The limits are meant to be wide: narrow ones keep some kinds of hole and not others; for those
    there is mask_in_band.

    Raises: ValueError for an impossible band, or when none of 2000 draws falls into it.
    """
    check_band(min_coverage, max_coverage, rng)
    for _ in range(MAX_TRIES):
        mask = draw_mixture(size, rng)
        if min_coverage <= coverage(mask) <= max_coverage:
            return mask
    raise ValueError(
        f"none of {MAX_TRIES} masks of size {size} covers between {min_coverage:.1%} and "
        f"{max_coverage:.1%}; widen the limits or use mask_in_band"
    )


def outpainting_mask(size: Size, rng: np.random.Generator) -> np.ndarray:
    """A border on a random side (left, right, top, bottom) of a quarter to three quarters of the
    picture (SPEC A11.3)."""
    return outpainting(size, SIDES[rng.integers(4)], rng.uniform(0.25, 0.75))
