"""Where to cut a picture around its holes, and how the fill goes back (SPEC G: crop around the
hole).

Networks see squares of their own resolution. A window is a square of the picture, which may reach
past the border; there the picture is reflected.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage

COARSE_PX = 256  # holes are grouped on a grid of about this many cells


class Window(NamedTuple):
    """Square [top : top + side, left : left + side] of a picture, in px; may reach past its
    border."""

    left: int
    top: int
    side: int


def bounding_box(mask):
    """(left, top, right, bottom) of the hole, the last two exclusive."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def place(low, high, side, length):
    """Start of a run of `side` centred on [low, high), moved inside [0, length) when it fits
    there."""
    start = (low + high - side) // 2
    return min(max(start, 0), length - side) if side <= length else (length - side) // 2


def window_around(left, top, right, bottom, side, size):
    width, height = size
    return Window(place(left, right, side, width), place(top, bottom, side, height), side)


def whole_window(mask):
    """One window with as much of the picture as a square holds and the whole hole; [] without a
    hole.

    The side is the picture's short side when the hole fits into that, else its long side.
    """
    if not mask.any():
        return []
    height, width = mask.shape
    left, top, right, bottom = bounding_box(mask)
    short = min(width, height)
    side = short if max(right - left, bottom - top) <= short else max(width, height)
    return [window_around(left, top, right, bottom, side, (width, height))]


def hole_windows(mask, padding_px, min_side):
    """One window for each group of holes whose windows would touch; [] without a hole.

    A window holds its holes with padding_px around them and is at least min_side wide; windows
    share no hole, and every hole lies in one.
    """
    if not mask.any():
        return []
    boxes = _hole_boxes(mask)

    def window_of(box):
        left, top, right, bottom = box
        side = max(max(right - left, bottom - top) + 2 * padding_px, min_side)
        return window_around(*box, side, mask.shape[::-1])

    groups, windows = np.empty((0, 4), int), np.empty((0, 3), int)
    while boxes:
        box = boxes.pop()
        touching = _overlap(windows, window_of(box))
        if touching.any():
            joined = np.vstack([box, groups[touching]])
            boxes.append((*joined[:, :2].min(axis=0).tolist(), *joined[:, 2:].max(axis=0).tolist()))
            groups, windows = groups[~touching], windows[~touching]
        else:
            groups, windows = np.vstack([groups, box]), np.vstack([windows, window_of(box)])
    order = np.lexsort((groups[:, 0], groups[:, 1]))
    return [Window(*w) for w in windows[order].tolist()]


def _hole_boxes(mask):
    """Bounding boxes of the holes; holes that meet on a coarse grid count as one."""
    height, width = mask.shape
    cell = max(1, max(width, height) // COARSE_PX)
    rows, columns = -(-height // cell), -(-width // cell)
    padded = np.pad(mask, ((0, rows * cell - height), (0, columns * cell - width)))
    coarse = padded.reshape(rows, cell, columns, cell).any(axis=(1, 3))
    labels, _ = ndimage.label(coarse, structure=np.ones((3, 3)))
    boxes = []
    for down, across in ndimage.find_objects(labels):
        y, x = down.start * cell, across.start * cell
        part = mask[y : down.stop * cell, x : across.stop * cell]
        left, top, right, bottom = bounding_box(part)
        boxes.append((left + x, top + y, right + x, bottom + y))
    return boxes


def _overlap(windows, window):
    """Which of `windows` (int [n,3]: left, top, side) share a pixel with `window`."""
    left, top, side = windows.T
    across = (left < window.left + window.side) & (window.left < left + side)
    return across & (top < window.top + window.side) & (window.top < top + side)


def _reflected(start, side, length):
    """Indices start .. start + side - 1, reflected at the borders of [0, length)."""
    index = np.arange(start, start + side)
    if length == 1:
        return np.zeros_like(index)
    index = np.abs(index) % (2 * length - 2)
    return np.where(index >= length, 2 * length - 2 - index, index)


def _region(array, window):
    height, width = array.shape[:2]
    if window.left >= 0 and window.top >= 0:
        if window.left + window.side <= width and window.top + window.side <= height:
            return array[
                window.top : window.top + window.side, window.left : window.left + window.side
            ]
    rows = _reflected(window.top, window.side, height)
    columns = _reflected(window.left, window.side, width)
    return array[rows[:, None], columns]


def _filter(window, size):
    """Area average when shrinking, bilinear when enlarging: both have the small supports cut_mask
    needs."""
    return Image.Resampling.BOX if window.side >= size else Image.Resampling.BILINEAR


def cut(pixels, window, size, hole=None):
    """uint8 [H,W,3] -> the window as uint8 [size,size,3], mid-grey inside `hole` (bool [H,W])."""
    region = np.array(_region(pixels, window))
    if hole is not None:
        region[_region(hole, window)] = 127
    return np.asarray(Image.fromarray(region).resize((size, size), _filter(window, size)))


def cut_mask(mask, window, size):
    """bool [H,W] -> bool [size,size]: hole wherever a hole pixel has a share in what `cut`
    shows."""
    region = np.ascontiguousarray(_region(mask, window)).astype(np.float32)
    return np.asarray(Image.fromarray(region).resize((size, size), _filter(window, size))) > 0


def window_slices(window, shape):
    """The part of the picture that the window covers: (rows, columns) slices."""
    height, width = shape[:2]
    return (
        slice(max(window.top, 0), min(window.top + window.side, height)),
        slice(max(window.left, 0), min(window.left + window.side, width)),
    )


def _cubic(start, stop, side, size):
    """Which of a patch's `size` rows make the rows start .. stop - 1 of a window of `side` rows,
    and by how much: indices and weights, both [stop - start, taps].

    Cubic convolution (Keys, 1981; a = -1/2), its support widened when shrinking: Pillow's BICUBIC.
    """
    scale = size / side
    width = max(scale, 1.0)
    centre = (np.arange(start, stop) + 0.5)[:, None] * scale
    first = np.maximum(np.floor(centre - 2 * width + 0.5), 0).astype(int)
    last = np.minimum(np.floor(centre + 2 * width + 0.5), size).astype(int)
    index = first + np.arange((last - first).max())
    t = np.abs((index + 0.5 - centre) / width)
    near, far = (1.5 * t - 2.5) * t * t + 1, ((-0.5 * t + 2.5) * t - 4) * t + 2
    weight = np.where(t < 1, near, np.where(t < 2, far, 0)) * (index < last)
    weight /= weight.sum(axis=1, keepdims=True)
    return np.minimum(index, size - 1), weight.astype(np.float32)


def _gathered(rows, index, weight):
    """Weighted sums of rows [size,...] -> [n,...], in one order whatever else is computed."""
    shape = (-1,) + (1,) * (rows.ndim - 1)
    total = rows[index[:, 0]] * weight[:, 0].reshape(shape)
    for tap in range(1, index.shape[1]):
        total += rows[index[:, tap]] * weight[:, tap].reshape(shape)
    return total


def enlarge(patch, window, part):
    """Patch float32 [size,size,3] -> the `part`, (rows, columns) slices of the picture inside the
    window, float32 [h,w,3]. A pixel's value does not depend on the rest of the part."""
    rows, columns = part
    size = len(patch)
    across = _cubic(columns.start - window.left, columns.stop - window.left, window.side, size)
    down = _cubic(rows.start - window.top, rows.stop - window.top, window.side, size)
    wide = _gathered(np.ascontiguousarray(patch.transpose(1, 0, 2)), *across)
    return _gathered(np.ascontiguousarray(wide.transpose(1, 0, 2)), *down)


def hole_slices(mask, part):
    """The part of `part` that the hole's bounding box covers, one pixel around it included; None
    without a hole."""
    if not mask[part].any():
        return None
    left, top, right, bottom = bounding_box(mask[part])
    rows, columns = part
    return (
        slice(rows.start + max(top - 1, 0), min(rows.start + bottom + 1, rows.stop)),
        slice(columns.start + max(left - 1, 0), min(columns.start + right + 1, columns.stop)),
    )
