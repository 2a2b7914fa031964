"""Which squares of a picture to show a network: around its holes, with enough that is known."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage

COARSE_PX = 256  # holes are grouped on a grid of about this many cells
CONTEXT = 1.0  # one hole's size on each of its sides: what the demo and the command line show
MIN_KNOWN = 0.5  # a window of which less is known is widened: networks fill nothing blindly
WIDER = 1.25  # in steps of this factor
GROWTH = 1.5  # holes are seen together if that makes their window no larger than by this factor
Box = tuple[int, int, int, int]  # (left, top, right, bottom) in px, the last two exclusive


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

    def to_picture(self, points: ArrayLike) -> np.ndarray:
        """Points [...,2], (x, y) in shares of the side from the square's corner -> px."""
        cos, sin = math.cos(self.angle) * self.side, math.sin(self.angle) * self.side
        x, y = np.moveaxis(np.asarray(points, float) - 0.5, -1, 0)
        return np.stack(
            [self.center_x + cos * x - sin * y, self.center_y + sin * x + cos * y], axis=-1
        )

    def from_picture(self, points: ArrayLike) -> np.ndarray:
        """The inverse of to_picture."""
        cos, sin = math.cos(self.angle) / self.side, math.sin(self.angle) / self.side
        x, y = np.moveaxis(np.asarray(points, float), -1, 0)
        x, y = x - self.center_x, y - self.center_y
        return np.stack([0.5 + cos * x + sin * y, 0.5 - sin * x + cos * y], axis=-1)

    @property
    def bounds(self) -> Window:
        """The smallest upright Window that holds the square."""
        corners = self.to_picture([(0, 0), (1, 0), (0, 1), (1, 1)])
        left, top = np.floor(corners.min(axis=0)).astype(int).tolist()
        right, bottom = np.ceil(corners.max(axis=0)).astype(int).tolist()
        return Window(left, top, max(right - left, bottom - top, 1))


AnyWindow = Window | TurnedWindow


def bounding_box(mask: np.ndarray) -> Box:
    """(left, top, right, bottom) of the hole, the last two exclusive."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def place(low: int, high: int, side: int, length: int) -> int:
    """Start of a run of `side` centered on [low, high), moved inside [0, length) when it fits
    there."""
    start = (low + high - side) // 2
    return min(max(start, 0), length - side) if side <= length else (length - side) // 2


def window_around(
    left: int, top: int, right: int, bottom: int, side: int, size: tuple[int, int]
) -> Window:
    width, height = size
    return Window(place(left, right, side, width), place(top, bottom, side, height), side)


def whole_window(mask: np.ndarray) -> list[Window]:
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


def hole_windows(mask: np.ndarray, padding_px: int, min_side: int) -> list[Window]:
    """One window for each group of holes whose windows would touch; [] without a hole.

    A window holds its holes with padding_px around them and is at least min_side wide; windows
    share no hole, and every hole lies in one.
    """
    if not mask.any():
        return []
    boxes = _hole_boxes(mask)

    def window_of(box: Box) -> Window:
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

    box: Box
    own: np.ndarray

    @property
    def part(self) -> tuple[slice, slice]:
        """(rows, columns) slices of the box."""
        return _slices_of(self.box)


def _slices_of(box: Box) -> tuple[slice, slice]:
    left, top, right, bottom = box
    return slice(top, bottom), slice(left, right)


def separate_holes(mask: np.ndarray) -> list[Hole]:
    """[Hole] of the mask; holes that meet on a grid of about COARSE_PX cells count as one."""
    if not mask.any():
        return []
    labels, cell = _coarse_labels(mask)
    holes = []
    for label, box in enumerate(_label_boxes(mask, labels, cell), start=1):
        part = _slices_of(box)
        holes.append(Hole(box, mask[part] & _near(labels == label, cell, part)))
    return holes


def _near(cells: np.ndarray, cell: int, part: tuple[slice, slice]) -> np.ndarray:
    """Which pixels of the (rows, columns) slices lie in True `cells` of `cell` px: bool [h,w]."""
    rows, columns = (np.arange(s.start, s.stop) // cell for s in part)
    return cells[rows[:, None], columns]


class OwnWindow(NamedTuple):
    """A window and which pixels it is to fill: `own`, bool of the shape of its part of the picture
    (window_slices)."""

    window: Window
    own: np.ndarray


def context_windows(mask: np.ndarray, context: float, min_side: int) -> list[OwnWindow]:
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

    def window_of(box: np.ndarray, largest: int) -> Window:
        size = max(box[2] - box[0], box[3] - box[1])
        side = max(round(size + 2 * context * largest), min(min_side, short))
        if side > short:  # beyond is but reflection, which a hole of most of the picture needs
            side = min(side, max(short, round(GROWTH * size)), max(long, size))
        return Window(*window_around(*box, side, (width, height)))

    def known_share(window: Window) -> float:
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


def _joined(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Bounding box of two, each (left, top, right, bottom)."""
    return np.concatenate([np.minimum(a[:2], b[:2]), np.maximum(a[2:], b[2:])])


def _hole_boxes(mask: np.ndarray) -> list[Box]:
    """Bounding boxes of the holes; holes that meet on a coarse grid count as one."""
    return _label_boxes(mask, *_coarse_labels(mask))


def _coarse_labels(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """(int [rows,columns], cell): the number of the hole, from 1, in each cell of `cell` px; 0
    where there is none. Holes that meet on this grid count as one."""
    height, width = mask.shape
    cell = max(1, max(width, height) // COARSE_PX)
    rows, columns = -(-height // cell), -(-width // cell)
    coarse = np.zeros((rows, columns), bool)
    used = np.flatnonzero(mask.any(axis=1)) // cell
    if len(used):  # most of a large photo has no hole
        band = mask[used[0] * cell : (used[-1] + 1) * cell]
        missing = (used[-1] + 1 - used[0]) * cell - len(band), columns * cell - width
        padded = np.pad(band, [(0, count) for count in missing])
        cells = padded.reshape(-1, cell, columns, cell)
        coarse[used[0] : used[-1] + 1] = cells.any(axis=(1, 3))
    return ndimage.label(coarse, structure=np.ones((3, 3)))[0], cell


def _label_boxes(mask: np.ndarray, labels: np.ndarray, cell: int) -> list[Box]:
    """Bounding boxes of the holes with the labels 1, 2, ..."""
    boxes = []
    for down, across in ndimage.find_objects(labels):
        y, x = down.start * cell, across.start * cell
        part = mask[y : down.stop * cell, x : across.stop * cell]
        left, top, right, bottom = bounding_box(part)
        boxes.append((left + x, top + y, right + x, bottom + y))
    return boxes


def _overlap(windows: np.ndarray, window: Window) -> np.ndarray:
    """Which of `windows` (int [n,3]: left, top, side) share a pixel with `window`."""
    left, top, side = windows.T
    across = (left < window.left + window.side) & (window.left < left + side)
    return across & (top < window.top + window.side) & (window.top < top + side)


def inside(window: AnyWindow, part: tuple[slice, slice]) -> np.ndarray:
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


def window_slices(window: AnyWindow, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """The part of the picture that the window covers: (rows, columns) slices; of a turned window,
    what an upright one around it covers."""
    if isinstance(window, TurnedWindow):
        window = window.bounds
    height, width = shape[:2]
    return (
        slice(max(window.top, 0), min(window.top + window.side, height)),
        slice(max(window.left, 0), min(window.left + window.side, width)),
    )


def shared_slices(part: tuple[slice, slice], other: tuple[slice, slice]) -> tuple[slice, slice]:
    """Of two (rows, columns) slices of a picture, what lies in both; empty ones where nothing
    does."""
    pairs = [(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(part, other)]
    rows, columns = (slice(start, max(start, stop)) for start, stop in pairs)
    return rows, columns


def hole_slices(mask: np.ndarray, part: tuple[slice, slice]) -> tuple[slice, slice] | None:
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
