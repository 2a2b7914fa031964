"""Seams: how a fill meets the known pixels, which stay as they are. Masks: bool [H,W], True =
hole."""

import numpy as np
from scipy import ndimage

MANY_HOLES = 1000  # more than these are softened in one piece


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
    for part, hole in _holes_with_rims(mask):
        distance = ndimage.distance_transform_edt(mask[part])
        weight[part][hole] = np.minimum(distance[hole] / (radius_px + 1), 1)
    return weight


def _holes_with_rims(mask):
    """(slices, bool array of their shape, True = this hole) for each hole.

    The slices are its bounding box with one pixel around it: the nearest known pixel of every one
    of its pixels lies there, since what lies nearer than that pixel is all hole and connected.
    """
    labels, count = ndimage.label(mask)
    if count > MANY_HOLES:
        labels = mask.astype(np.int32)
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        part = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in box)
        yield part, labels[part] == label


def feathered(rgb, known, mask, radius_px):
    """`rgb` with a soft rim: inside the hole near its border it fades into the nearest known
    colour.

    rgb, known: float32 [H,W,3]; outside the mask the result means nothing, it is never used there.
    """
    if radius_px == 0 or mask.all() or not mask.any():
        return rgb
    soft = rgb.copy()
    for part, hole in _holes_with_rims(mask):
        distance, nearest = ndimage.distance_transform_edt(mask[part], return_indices=True)
        weight = np.minimum(distance[hole] / (radius_px + 1), 1).astype(np.float32)[:, None]
        rim = known[part][tuple(nearest[:, hole])]
        soft[part][hole] = weight * rgb[part][hole] + (1 - weight) * rim
    return soft
