"""What leads the engine's search, and what the network's fill is worth as a part of it."""

import numpy as np
from scipy import ndimage

from inpaint_hub.blending import blend_fill
from inpaint_hub.images import LUMA

RIM_SIGMA = 1 / 80  # known colors are softened so much before they are carried into the hole
RING_CELLS = 6  # width of the ring in which the network is compared with what is known
HALF = 0.5  # the engine takes coordinates on a circle of length 1: distances are linear to a half


def height_features(shape: tuple[int, int]) -> np.ndarray:
    """float32 [H,W,2] in [0,0.5] of places alone: photos are layered, sky over trees over ground,
    and water does not belong into clouds.

    shape: (H, W).
    """
    rows = np.arange(shape[0], dtype=np.float32)[:, None] / max(shape)
    return np.stack([np.broadcast_to(rows, shape), np.zeros(shape, np.float32)], axis=2) * HALF


def carried_colors(photo: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """float32 [H,W,3]: the softened known colors, carried smoothly into the hole."""
    sigma = max(RIM_SIGMA * max(hole.shape), 0.5)
    share = (~hole).astype(np.float32)
    weight = np.maximum(ndimage.gaussian_filter(share, sigma), 1e-3)
    soft = ndimage.gaussian_filter(photo * share[..., None], (sigma, sigma, 0)) / weight[..., None]
    flat = np.full_like(photo, 0.5)
    return np.clip(blend_fill(flat, soft.astype(np.float32), hole, "poisson"), 0, 1)


def unexplained(
    fill: np.ndarray, known: np.ndarray, hole: np.ndarray, covered: np.ndarray, cell_px: float
) -> float:
    """What the network gets wrong just around the hole, where it can be checked: its squared error
    there over the variance of the known colors, at its own resolution. 0: it shows what is there;
    1: a single color would do as well. NaN where nothing can be compared.

    covered: where the network showed something, bool [H,W].
    """
    reach = max(int(round(RING_CELLS * cell_px)), 2)
    near = ndimage.maximum_filter(hole, size=2 * reach + 1)
    ring = near & ~hole & covered
    if ring.sum() < 16:
        return float("nan")
    share = (~hole).astype(np.float32)
    sigma = max(cell_px / 2, 0.5)
    weight = np.maximum(ndimage.gaussian_filter(share, sigma), 1e-3)[..., None]
    blur = (sigma, sigma, 0)
    seen = ndimage.gaussian_filter(known / np.float32(255) * share[..., None], blur) / weight
    shown = ndimage.gaussian_filter(fill * share[..., None], blur) / weight
    error = ((seen - shown)[ring] ** 2).mean()
    return float(error / (seen[ring].var(axis=0).mean() + 1e-4))


def richness(picture: np.ndarray, hole: np.ndarray, cell_px: float) -> float:
    """Energy of the picture's finest octaves at the network's resolution inside the hole, over the
    same in the ring around it. 1: the fill is as rich as its surroundings; 0: a blur. NaN where
    there is no ring.

    picture: float32 [H,W,3] in [0,1], known pixels and the network's fill.
    """
    reach = max(int(round(RING_CELLS * cell_px)), 2)
    ring = ndimage.maximum_filter(hole, size=2 * reach + 1) & ~hole
    if not hole.any() or not ring.any():
        return float("nan")
    luma = picture @ LUMA
    fine = ndimage.gaussian_filter(luma, max(cell_px / 2, 0.5))
    band = fine - ndimage.gaussian_filter(luma, 4 * max(cell_px / 2, 0.5))
    inner = hole & ~ndimage.maximum_filter(~hole, size=max(int(cell_px), 1) * 2 + 1)
    inner = inner if inner.any() else hole
    quiet = (0.5 / 255) ** 2  # so that flat places do not divide by nothing
    return float(((band[inner] ** 2).mean() + quiet) / ((band[ring] ** 2).mean() + quiet))
