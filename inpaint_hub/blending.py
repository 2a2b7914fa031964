"""Seams: how a fill meets the known pixels, which stay as they are. Masks: bool [H,W], True =
hole."""

import numpy as np
from scipy import ndimage


def dilate(mask, radius_px):
    """The hole grown by a square of radius_px in all directions; what it gains is repainted too."""
    if radius_px == 0:
        return mask
    return ndimage.maximum_filter(mask, size=2 * radius_px + 1)


def feather(mask, radius_px):
    """Weights of the fill, float32 [H,W]: rising inside the hole from its border to 1 at radius_px,
    0 outside."""
    weight = mask.astype(np.float32)
    if radius_px == 0 or mask.all() or not mask.any():
        return weight
    part = _hole_and_rim(mask)
    distance = ndimage.distance_transform_edt(mask[part])
    weight[part] = np.minimum(distance / (radius_px + 1), 1)
    return weight


def _hole_and_rim(mask):
    """Slices of the hole's bounding box with one pixel around it, which holds the nearest known
    pixel of every hole pixel."""
    (hole,) = ndimage.find_objects(mask.astype(np.uint8))
    return tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in hole)


def feathered(rgb, known, mask, radius_px):
    """`rgb` with a soft rim: inside the hole near its border it fades into the nearest known
    colour.

    rgb, known: float32 [H,W,3]; outside the mask the result means nothing, it is never used there.
    """
    if radius_px == 0 or mask.all() or not mask.any():
        return rgb
    part = _hole_and_rim(mask)
    distance, nearest = ndimage.distance_transform_edt(mask[part], return_indices=True)
    weight = np.minimum(distance / (radius_px + 1), 1).astype(np.float32)[..., None]
    soft = rgb.copy()
    soft[part] = weight * rgb[part] + (1 - weight) * known[part][tuple(nearest)]
    return soft
