"""Where to cut a picture around its holes, and how the fill goes back (SPEC G: crop around the
hole).

Networks see squares of their own resolution. A window is a square of the picture, which may reach
past the border; there the picture is reflected.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torch.nn import functional as F

COARSE_PX = 256  # holes are grouped on a grid of about this many cells
CONTEXT = 1.0  # one hole's size on each of its sides: what the demo and the command line show
MIN_KNOWN = 0.5  # a window of which less is known is widened: networks fill nothing blindly
WIDER = 1.25  # in steps of this factor
GROWTH = 1.5  # holes are seen together if that makes their window no larger than by this factor


class Window(NamedTuple):
    """Square [top : top + side, left : left + side] of a picture, in px; may reach past its
    border."""

    left: int
    top: int
    side: int


class TurnedWindow(NamedTuple):
    """Square of `side` px about (center_x, center_y), turned by `angle` in radians, clockwise as
    seen; may reach past the picture's border. Pixel i of the picture covers [i, i + 1)."""

    center_x: float
    center_y: float
    side: float
    angle: float = 0.0

    def to_picture(self, points):
        """Points [...,2], (x, y) in shares of the side from the square's corner -> px."""
        cos, sin = math.cos(self.angle) * self.side, math.sin(self.angle) * self.side
        x, y = np.moveaxis(np.asarray(points, float) - 0.5, -1, 0)
        return np.stack(
            [self.center_x + cos * x - sin * y, self.center_y + sin * x + cos * y], axis=-1
        )

    def from_picture(self, points):
        """The inverse of to_picture."""
        cos, sin = math.cos(self.angle) / self.side, math.sin(self.angle) / self.side
        x, y = np.moveaxis(np.asarray(points, float), -1, 0)
        x, y = x - self.center_x, y - self.center_y
        return np.stack([0.5 + cos * x + sin * y, 0.5 - sin * x + cos * y], axis=-1)

    @property
    def bounds(self):
        """The smallest upright Window that holds the square."""
        corners = self.to_picture([(0, 0), (1, 0), (0, 1), (1, 1)])
        left, top = np.floor(corners.min(axis=0)).astype(int).tolist()
        right, bottom = np.ceil(corners.max(axis=0)).astype(int).tolist()
        return Window(left, top, max(right - left, bottom - top, 1))


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


class Hole(NamedTuple):
    """box: (left, top, right, bottom) in px. own: bool of the box's shape, its pixels."""

    box: tuple
    own: np.ndarray

    @property
    def part(self):
        """(rows, columns) slices of the box."""
        left, top, right, bottom = self.box
        return slice(top, bottom), slice(left, right)


def separate_holes(mask):
    """[Hole] of the mask; holes that meet on a grid of about COARSE_PX cells count as one."""
    if not mask.any():
        return []
    labels, cell = _coarse_labels(mask)
    holes = []
    for label, box in enumerate(_label_boxes(mask, labels, cell), start=1):
        part = Hole(box, None).part
        holes.append(Hole(box, mask[part] & _near(labels == label, cell, part)))
    return holes


def _near(cells, cell, part):
    """Which pixels of the (rows, columns) slices lie in True `cells` of `cell` px: bool [h,w]."""
    rows, columns = (np.arange(s.start, s.stop) // cell for s in part)
    return cells[rows[:, None], columns]


class OwnWindow(NamedTuple):
    """A window and which pixels it is to fill: `own`, bool of the shape of its part of the picture
    (window_slices)."""

    window: Window
    own: np.ndarray


def context_windows(mask, context, min_side):
    """One OwnWindow for each group of holes; [] without a hole.

    Around its holes' bounding box a window shows `context` times the size of the largest of them,
    is at least min_side wide, and is widened while less than MIN_KNOWN of it is known and the
    picture goes on. Holes whose windows touch are seen together unless their window would grow by
    more than GROWTH for it. Windows may overlap: each fills its own holes, and sees those of others
    as holes.
    """
    if not mask.any():
        return []
    height, width = mask.shape
    short, long = min(width, height), max(width, height)
    labels, cell = _coarse_labels(mask)
    boxes = np.array(_label_boxes(mask, labels, cell))
    sizes = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)

    def window_of(box, largest):
        size = max(box[2] - box[0], box[3] - box[1])
        side = max(round(size + 2 * context * largest), min(min_side, short))
        if side > short:  # beyond is but reflection, which a hole of most of the picture needs
            side = min(side, max(short, round(GROWTH * size)), max(long, size))
        return Window(*window_around(*box, side, (width, height)))

    def known_share(window):
        return 1 - mask[window_slices(window, mask.shape)].mean()

    pending = [(boxes[k], sizes[k], [k + 1]) for k in range(len(boxes))]
    groups, windows = [], np.empty((0, 3), int)
    while pending:
        box, largest, members = pending.pop()
        window = window_of(box, largest)
        partner, least = None, None
        for other in np.flatnonzero(_overlap(windows, window)):
            joined = _joined(box, groups[other][0])
            most = max(largest, groups[other][1])
            side = window_of(joined, most).side
            limit = max(min_side, GROWTH * (1 + 2 * context) * most)
            if side <= limit and (least is None or side < least):
                partner, least = int(other), side
        if partner is None:
            groups.append((box, largest, members))
            windows = np.vstack([windows, window])
        else:
            other_box, other_largest, others = groups.pop(partner)
            windows = np.delete(windows, partner, axis=0)
            both = _joined(box, other_box), max(largest, other_largest), members + others
            pending.append(both)
    found = []
    order = np.lexsort((windows[:, 0], windows[:, 1]))
    for k in order:
        box, window = groups[k][0], Window(*windows[k].tolist())
        while known_share(window) < MIN_KNOWN and window.side < long:
            side = min(math.ceil(window.side * WIDER), long)
            window = window_around(*box, side, (width, height))
        part = window_slices(window, mask.shape)
        own = mask[part] & _near(np.isin(labels, groups[k][2]), cell, part)
        found.append(OwnWindow(window, own))
    return found


def _joined(a, b):
    """Bounding box of two, each (left, top, right, bottom)."""
    return np.concatenate([np.minimum(a[:2], b[:2]), np.maximum(a[2:], b[2:])])


def _hole_boxes(mask):
    """Bounding boxes of the holes; holes that meet on a coarse grid count as one."""
    return _label_boxes(mask, *_coarse_labels(mask))


def _coarse_labels(mask):
    """(int [rows,columns], cell): the number of the hole, from 1, in each cell of `cell` px; 0
    where there is none. Holes that meet on this grid count as one."""
    height, width = mask.shape
    cell = max(1, max(width, height) // COARSE_PX)
    rows, columns = -(-height // cell), -(-width // cell)
    padded = np.pad(mask, ((0, rows * cell - height), (0, columns * cell - width)))
    coarse = padded.reshape(rows, cell, columns, cell).any(axis=(1, 3))
    return ndimage.label(coarse, structure=np.ones((3, 3)))[0], cell


def _label_boxes(mask, labels, cell):
    """Bounding boxes of the holes with the labels 1, 2, ..."""
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
    if isinstance(window, TurnedWindow):
        return np.rint(_cut_turned(pixels, window, size, hole)).astype(np.uint8)
    region = np.array(_region(pixels, window))
    if hole is not None:
        region[_region(hole, window)] = 127
    return np.asarray(Image.fromarray(region).resize((size, size), _filter(window, size)))


def cut_mask(mask, window, size):
    """bool [H,W] -> bool [size,size]: hole wherever a hole pixel has a share in what `cut`
    shows."""
    if isinstance(window, TurnedWindow):
        return _cut_turned(mask[..., None], window, size)[..., 0] > 0
    region = np.ascontiguousarray(_region(mask, window)).astype(np.float32)
    return np.asarray(Image.fromarray(region).resize((size, size), _filter(window, size))) > 0


def _cut_turned(array, window, size, hole=None):
    """[H,W,C] -> float32 [size,size,C] of a turned window, averaged over what each pixel covers.

    The picture is first reduced by a whole number, then read bilinearly at four places a pixel: all
    weights are positive, so that cut_mask can tell which pixels had a share.
    """
    reduced = max(1, int(window.side // (2 * size)))
    bounds = window.bounds
    side = -(-(bounds.side + 2 * reduced) // reduced) * reduced
    around = Window(bounds.left - reduced, bounds.top - reduced, side)
    region = _region(array, around).astype(np.float32)
    if hole is not None:
        region[_region(hole, around)] = 127
    cells = (side // reduced, reduced, side // reduced, reduced, -1)
    region = torch.from_numpy(region.reshape(cells).mean(axis=(1, 3)))
    steps = (np.arange(2 * size) + 0.5) / (2 * size)
    places = window.to_picture(np.stack(np.meshgrid(steps, steps), axis=-1))
    read = _read(region, (places - (around.left, around.top)) / side, "bilinear")
    return F.avg_pool2d(read, 2)[0].permute(1, 2, 0).numpy()


def _read(array, places, mode):
    """Tensor [h,w,C] at `places` [H,W,2], (x, y) in shares of its sides -> [1,C,H,W]."""
    grid = torch.from_numpy((2 * places - 1).astype(np.float32))[None]
    return F.grid_sample(
        array.permute(2, 0, 1)[None], grid, mode, padding_mode="border", align_corners=False
    )


def _enlarged_turned(patch, window, part):
    """As `enlarge`, for a turned window; past its border the patch's own border goes on."""
    size = round(window.side)
    if size < len(patch):
        channels = [Image.fromarray(np.ascontiguousarray(c)) for c in np.moveaxis(patch, 2, 0)]
        small = [np.asarray(c.resize((max(size, 1),) * 2, Image.BICUBIC)) for c in channels]
        patch = np.stack(small, axis=-1)
    rows, columns = part
    x, y = np.meshgrid(
        np.arange(columns.start, columns.stop) + 0.5, np.arange(rows.start, rows.stop) + 0.5
    )
    places = window.from_picture(np.stack([x, y], axis=-1))
    read = _read(torch.from_numpy(np.ascontiguousarray(patch)), places, "bicubic")
    return read[0].permute(1, 2, 0).contiguous().numpy()


def inside(window, part):
    """Which pixels of (rows, columns) slices of the picture have their middle in the window:
    bool [h,w]."""
    rows, columns = part
    x, y = np.arange(columns.start, columns.stop), np.arange(rows.start, rows.stop)[:, None]
    if isinstance(window, TurnedWindow):
        middles = np.stack(np.broadcast_arrays(x + 0.5, y + 0.5), axis=-1)
        places = window.from_picture(middles)
        return ((places >= 0) & (places < 1)).all(axis=-1)
    across = (x >= window.left) & (x < window.left + window.side)
    return across & (y >= window.top) & (y < window.top + window.side)


def window_slices(window, shape):
    """The part of the picture that the window covers: (rows, columns) slices; of a turned window,
    what an upright one around it covers."""
    if isinstance(window, TurnedWindow):
        window = window.bounds
    height, width = shape[:2]
    return (
        slice(max(window.top, 0), min(window.top + window.side, height)),
        slice(max(window.left, 0), min(window.left + window.side, width)),
    )


def shared_slices(part, other):
    """Of two (rows, columns) slices of a picture, what lies in both; empty ones where nothing
    does."""
    pairs = [(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(part, other)]
    return tuple(slice(start, max(start, stop)) for start, stop in pairs)


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
    if isinstance(window, TurnedWindow):
        return _enlarged_turned(patch, window, part)
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
