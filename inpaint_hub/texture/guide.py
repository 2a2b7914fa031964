"""The network's fill as the two features that lead the engine's search, and what it is worth."""

import numpy as np
from scipy import ndimage

RING_CELLS = 6  # width of the ring in which the network is compared with what is known
HALF = 0.5  # the engine takes coordinates on a circle of length 1: distances are linear to a half


def guide_features(picture, sigma_px):
    """float32 [H,W,2] in [0,0.5]: blurred lightness and sum of opponent colors of a picture,
    float32 [H,W,3] in [0,1]."""
    soft = ndimage.gaussian_filter(picture, (sigma_px, sigma_px, 0))
    red, green, blue = np.moveaxis(soft, 2, 0)
    lightness = 0.299 * red + 0.587 * green + 0.114 * blue
    opponent = ((red - green) + (blue - green)) / 4 + 0.5
    return np.clip(np.stack([lightness, opponent], axis=2) * HALF, 0, HALF).astype(np.float32)


def unexplained(fill, known, hole, covered, cell_px):
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
