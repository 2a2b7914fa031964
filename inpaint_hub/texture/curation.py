"""Which of several candidates is shown, and by what score."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from math import ceil
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage

from inpaint_hub import crops
from inpaint_hub.blending import blend_fill
from inpaint_hub.texture.detail import BOX, reduced_mask, resized, with_detail
from inpaint_hub.texture.guide import (
    carried_colors,
    height_features,
    richness,
    unexplained,
)
from inpaint_hub.texture.mixing import FillMixer, kept_between, mixed
from inpaint_hub.texture.patches import PATCH_RADIUS_PX, copied, copied_by_each, engine_problem
from inpaint_hub.texture.periodic import periods_of, repeated
from inpaint_hub.texture.shiftmap import shifted

BICUBIC = Image.Resampling.BICUBIC
TEXTURES = ("none", "detail", "patches", "auto")
MAX_HOLE_PX = 60_000  # larger holes are filled at less resolution
MAX_CROP_PX = 500_000
MAX_UNLED_PX = 20_000  # unled copies, which are mixed with the others, are smaller where holes are
MAX_SEEN_PX = 400_000  # of a larger crop, colors and the network are looked at smaller
TRUSTED = 0.05  # of the variance around the hole unexplained: the network knows this kind of photo
RICH = 0.25  # share of its surroundings' detail, at its resolution: below, the fill is a blur
LEADING = 0.02  # from here down its colors count fully; from TRUSTED up not at all
NETWORK_SHARE = 0.6  # of trusted colors beside those carried into the hole from its rim
DRAFT_FACTOR = 2  # drafts are copied at so much less resolution, at least: they see more at once
MAX_DRAFT_PX, MAX_DRAFT_CROP_PX = 4_500, 37_500  # the engine's time goes with the hole
DRAFT_WEIGHT = 0.02  # of the height's distance beside that of patches, in drafts it leads
COLOR_SHARE = 0.5  # of the low frequencies of those colors that copies take over
COLOR_SIGMA = 1 / 40  # of the crop's longer side
RING_PX = 16  # around a hole, where what is fine is measured
FINE_SIGMA_PX = 1.0  # what is finer is a little weaker in copies: smooth places cost less
MIXED_SIGMA_PX = 1.3  # and in a mean of several
MOST_GAIN = 2.0  # by which it is raised to what the hole's surroundings have
MIXED_CELL_PX = 3.0  # a mixer knows cells of 2.5 px; of larger holes it makes grain
MAX_MIXED_PX = 31_000  # of a hole: above, which it has not seen, it shows copies through each other


class Textured(NamedTuple):
    """rgb: float32 [H,W,3] in [0,1], of which only `own` counts; choice: the candidate's name;
    scores: {name: number}, what the choice was made by."""

    rgb: np.ndarray
    choice: str
    scores: dict


def textured(
    fill: np.ndarray,
    known: np.ndarray,
    hole: np.ndarray,
    own: np.ndarray,
    covered: np.ndarray,
    texture: str,
    cell_px: float,
    blend: str = "gp",
    seed: int = 0,
    unwanted: np.ndarray | None = None,
    mixer: FillMixer | None = None,
) -> Textured:
    """Textured: the fill of `own` at the photo's own sharpness.

    fill: float32 [H,W,3], read where `covered`; known: uint8 [H,W,3]; hole, own, covered: bool
    [H,W]; texture: one of TEXTURES; cell_px: see the package. blend: how the fill is first made to
    meet the known colors. seed: a whole number. unwanted: bool [H,W], what is known and not to be
    copied, as faces are. mixer: of led copies, unled ones and the fill, where cells and
    hole are as small as it knows them.
    """
    assert texture in TEXTURES, texture
    if cell_px > MIXED_CELL_PX or own.sum() > MAX_MIXED_PX:
        mixer = None
    known = np.where(hole[..., None], _mean_color(known, hole), known)
    fill = np.where(covered[..., None], fill, known / np.float32(255))
    whole = _Seen(fill, known, hole, covered, cell_px)
    blend = "gp" if blend == "none" else blend
    problem = _too_little(hole, own)
    if texture == "none" or problem:
        if problem and texture != "none":
            warnings.warn(f"texture={texture!r} was left out: {problem}", stacklevel=2)
        return Textured(_met(whole, blend), "none", {})
    if texture in ("patches", "auto") and (periods := periods_of(known, hole)):
        copies = repeated(known, hole, own, periods)
        if copies is not None:
            return Textured(copies / np.float32(255), "periodic", {"period_px": periods[0].length})
    seen = _seen_smaller(whole)
    base = _met(seen, blend)
    scores = {"unexplained": unexplained(*seen)}
    scores["richness"] = richness(base, seen.hole, seen.cell_px)
    meant = scores["unexplained"] < TRUSTED and scores["richness"] > RICH
    missing = engine_problem() if texture in ("patches", "auto") else None
    if missing:
        warnings.warn(f"texture={texture!r} became 'detail': {missing}", stacklevel=2)
    if texture == "detail" or missing or (texture == "auto" and meant):
        base = base if seen is whole else _met(whole, blend)
        return Textured(with_detail(base, hole, own, cell_px), "detail", scores)
    trust = np.clip((TRUSTED - scores["unexplained"]) / (TRUSTED - LEADING), 0, 1)
    colors = _leading_colors(seen, base, 0.0 if np.isnan(trust) else float(trust))
    given = [colors] if mixer is None else [colors, base]
    if seen is not whole:
        given = [np.clip(resized(x, hole.shape[::-1], BICUBIC), 0, 1) for x in given]
    given = [np.where(hole[..., None], x, known / np.float32(255)) for x in given]
    barred = _barred(hole, own, unwanted)
    copies = _patches(given, known, hole, own, barred, seed, mixer)
    sigma_px = FINE_SIGMA_PX if mixer is None else MIXED_SIGMA_PX
    return Textured(as_fine_as_around(copies, hole, own, sigma_px), "patches", scores)


class _Seen(NamedTuple):
    """What `unexplained` compares: fill float32 [H,W,3], the network's where it is `covered`, else
    what is known; known [H,W,3] of 0 to 255; hole, covered: bool [H,W]; cell_px."""

    fill: np.ndarray
    known: np.ndarray
    hole: np.ndarray
    covered: np.ndarray
    cell_px: float


def _seen_smaller(whole: _Seen) -> _Seen:
    """The same at a resolution of at most MAX_SEEN_PX: it shows all that these colors hold."""
    height, width = whole.hole.shape
    factor = np.sqrt(whole.hole.size / MAX_SEEN_PX)
    if factor <= 1:
        return whole
    size = max(round(width / factor), 1), max(round(height / factor), 1)
    return _Seen(
        resized(whole.fill, size, BOX),
        resized(whole.known.astype(np.float32), size, BOX),
        reduced_mask(whole.hole, size),
        ~reduced_mask(~whole.covered, size),
        whole.cell_px / factor,
    )


def _met(seen: _Seen, blend: str) -> np.ndarray:
    """float32 [H,W,3] in [0,1]: what is known, and in the hole the fill, made to meet it."""
    photo = seen.known.astype(np.float32) / 255
    fill = seen.fill
    if not seen.hole.all():
        fill = np.clip(blend_fill(fill, photo, seen.hole, blend), 0, 1)
    return np.where(seen.hole[..., None], fill, photo).astype(np.float32)


def _leading_colors(seen: _Seen, base: np.ndarray, trust: float) -> np.ndarray:
    """float32 [H,W,3]: in the hole the known colors carried into it and, as far as the network is
    trusted, its own."""
    share = NETWORK_SHARE * trust
    carried = carried_colors(seen.known.astype(np.float32) / 255, seen.hole)
    return (carried * (1 - share) + base * share).astype(np.float32)


def _mean_color(known: np.ndarray, hole: np.ndarray) -> np.ndarray | np.uint8:
    """uint8 [3], what stands for holes that nobody fills here: their content must not be read."""
    return np.uint8(127) if hole.all() else np.rint(known[~hole].mean(axis=0)).astype(np.uint8)


def _too_little(hole: np.ndarray, own: np.ndarray) -> str | None:
    """Why nothing can be copied here, or None."""
    if not own.any():
        return "there is no hole"
    side = 2 * PATCH_RADIUS_PX + 1
    if min(own.shape) < side or not _whole_patches(hole, side):
        return f"no {side}x{side} px of the picture are known, expected at least one such patch"
    return None


def _whole_patches(hole: np.ndarray, side: int) -> bool:
    reach = side // 2
    grown = ndimage.maximum_filter(hole, size=side)
    return not grown[reach : hole.shape[0] - reach, reach : hole.shape[1] - reach].all()


def _barred(hole: np.ndarray, own: np.ndarray, unwanted: np.ndarray | None) -> np.ndarray:
    """bool [H,W], what is not copied from: holes and what is unwanted; the hole alone where that
    leaves too little."""
    barred = hole if unwanted is None else hole | unwanted
    return hole if _too_little(barred, own) else barred


def _patches(
    given: list[np.ndarray],
    known: np.ndarray,
    hole: np.ndarray,
    own: np.ndarray,
    barred: np.ndarray,
    seed: int,
    mixer: FillMixer | None,
) -> np.ndarray:
    """Copies in the given colors; holes above MAX_HOLE_PX are filled at a lower resolution, and
    the detail of that is the photo's.

    given: float32 [H,W,3], what is known, and in the hole what the low frequencies of copies are to
    be; with a mixer a second one, the fill that is mixed with them. barred: no copies are of that.
    """
    colors = given[0]
    height, width = own.shape
    factor = max(np.sqrt(own.sum() / MAX_HOLE_PX), np.sqrt(own.size / MAX_CROP_PX), 1.0)
    if factor < 1.2:
        return _led_copies(known, given, hole, barred, own, seed, mixer)
    pixels, small_barred, small_own, small = _reduced(colors, barred, own, factor)
    if _too_little(small_barred, small_own):
        return colors
    small_hole = reduced_mask(hole, small_own.shape[::-1])
    given = [small, *(resized(fill, small_own.shape[::-1], BOX) for fill in given[1:])]
    filled = _led_copies(pixels, given, small_hole, small_barred, small_own, seed, mixer)
    large = resized(filled, (width, height), BICUBIC)
    photo = known.astype(np.float32) / 255
    large = np.where(own[..., None], np.clip(large, 0, 1), np.where(hole[..., None], colors, photo))
    return with_detail(large.astype(np.float32), barred, own, factor)


def _led_copies(
    pixels: np.ndarray,
    given: list[np.ndarray],
    hole: np.ndarray,
    barred: np.ndarray,
    own: np.ndarray,
    seed: int,
    mixer: FillMixer | None,
) -> np.ndarray:
    """float32 [H,W,3]: copies in `own`, led by a coarser draft; with a mixer by what two have in
    common, and mixed with copies that nothing led and the fill that was given."""
    with ThreadPoolExecutor(1) as thread:
        unled = mixer and thread.submit(_unled_copies, pixels, barred, own, seed)
        draft = _drafted(given[0], barred, own, seed, 1 if mixer is None else 2)
        copies = shifted(draft, hole, barred, own, seed)
    if copies is None:  # no whole patch at half the resolution
        copies = copied(pixels, barred, own, seed).astype(np.float32) / 255
    copies = _recolored(copies, given[0], own)
    if mixer is None:
        return copies
    copies = [as_fine_as_around(copies, hole, own), unled.result()]
    return mixed(mixer, [*copies, kept_between(given[1], copies)], own)


def _unled_copies(pixels: np.ndarray, barred: np.ndarray, own: np.ndarray, seed: int) -> np.ndarray:
    """float32 [H,W,3]: the engine's own copies in `own`, of at most MAX_UNLED_PX."""
    photo = pixels.astype(np.float32) / 255
    factor = np.sqrt(own.sum() / MAX_UNLED_PX)
    if factor > 1:
        smaller = _reduced(photo, barred, own, factor)[:3]
        if _too_little(*smaller[1:]):
            return photo
        filled = copied(*smaller, seed).astype(np.float32) / 255
        filled = np.clip(resized(filled, own.shape[::-1], BICUBIC), 0, 1)
    else:
        filled = copied(pixels, barred, own, seed).astype(np.float32) / 255
    return np.where(own[..., None], filled, photo)


def _drafted(
    colors: np.ndarray, barred: np.ndarray, own: np.ndarray, seed: int, count: int
) -> np.ndarray:
    """float32 [H,W,3]: in `own` a draft led by height, or the mean of that and an unled one: nearer
    to the truth, and a blur where they disagree. The colors where too little is known at their
    resolution."""
    least = np.sqrt(max(own.sum() / MAX_DRAFT_PX, own.size / MAX_DRAFT_CROP_PX))
    factor = max(float(least), DRAFT_FACTOR)
    pixels, small_barred, small_own, _ = _reduced(colors, barred, own, factor)
    if _too_little(small_barred, small_own):
        return colors
    guides = (height_features(small_own.shape), None)[:count]
    drafts = copied_by_each(guides, pixels, small_barred, small_own, seed, DRAFT_WEIGHT)
    mean = np.mean(drafts, axis=0, dtype=np.float32) / 255
    mean = np.clip(resized(mean, own.shape[::-1], BICUBIC), 0, 1)
    return np.where(own[..., None], mean, colors).astype(np.float32)


def as_fine_as_around(
    picture: np.ndarray, hole: np.ndarray, own: np.ndarray, sigma_px: float = FINE_SIGMA_PX
) -> np.ndarray:
    """float32 [H,W,3]: the picture, known pixels and a fill, in which what is finer than sigma_px
    has in `own` the energy of the known pixels around it, as far as MOST_GAIN goes; never less than
    it had."""
    left, top, right, bottom = crops.bounding_box(own)
    reach = RING_PX + ceil(4 * sigma_px)
    part = np.s_[max(top - reach, 0) : bottom + reach, max(left - reach, 0) : right + reach]
    near, own = picture[part], own[part]
    fine = near - ndimage.gaussian_filter(near, (sigma_px, sigma_px, 0))
    ring = ndimage.maximum_filter(own, size=2 * RING_PX + 1) & ~hole[part]
    inner = own & ~ndimage.maximum_filter(~own, size=5)  # its rim is as fine as what it meets
    if not ring.any() or not inner.any():
        return picture
    quiet = (0.5 / 255) ** 2
    ratio = ((fine[ring] ** 2).mean() + quiet) / ((fine[inner] ** 2).mean() + quiet)
    gain = np.float32(np.clip(np.sqrt(ratio), 1, MOST_GAIN))
    result = picture.copy()
    np.copyto(result[part], np.clip(near + (gain - 1) * fine, 0, 1), where=own[..., None])
    return result


def _reduced(
    picture: np.ndarray, hole: np.ndarray, own: np.ndarray, factor: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The picture as uint8, hole and own, and the picture as float32, all smaller by `factor`."""
    height, width = own.shape
    size = max(round(width / factor), 1), max(round(height / factor), 1)
    small = resized(picture, size, BOX)
    pixels = np.rint(np.clip(small, 0, 1) * 255).astype(np.uint8)
    return pixels, *(reduced_mask(mask, size) for mask in (hole, own)), small


def _recolored(copies: np.ndarray, colors: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Copies with a part of their low frequencies replaced by those of the colors."""
    difference = np.where(own[..., None], colors - copies, 0).astype(np.float32)
    sigma = COLOR_SIGMA * max(own.shape)
    low = ndimage.gaussian_filter(difference, (sigma, sigma, 0))
    return np.where(own[..., None], np.clip(copies + COLOR_SHARE * low, 0, 1), copies)
