"""What one half of a face says of the other: an eye is best copied from its neighbor.

Bilateral symmetry as a prior of face completion: Li, Hu, Li, Zuo, "Learning Symmetry Consistent
Deep CNNs for Face Completion", TIP 2020. Here nothing is learned: the frame says where the other
half lies, and what is known around a hole says how much alike the two are.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from inpaint_hub.crops import TurnedWindow, bounding_box
from inpaint_hub.faces.alignment import TEMPLATE

AXIS = float(TEMPLATE[:2, 0].mean())  # between the eyes, in shares of the frame's side
RING = 0.09  # of the frame's side around a hole, where the halves are compared
# Asymmetry up to which the other half is the better fill (docs/ANY_PHOTO.md): of any hole, of holes
# that are little more than an eye, and of an eye alone that is put into what a model has filled.
ALIKE, ALIKE_EYE, ALIKE_PATCH = 0.3, 3.0, 2.0
EYE_SHARE = 0.5  # of a hole is an eye with its lids: then it is little more
EYE_SIZE = 0.12, 0.075  # semi-axes of an eye with its lids, in shares of the frame's side


class OtherHalf(NamedTuple):
    """part: (rows, columns) slices of the hole with a ring around it; rgb: what the face's other
    half shows there, float32 [h,w,3] in [0,1]; asymmetry: how far the halves differ in the ring
    beside shifts of color, as a share of the variance there, 0: mirrored exactly; eye: the share of
    the hole that is an eye whose middle it holds."""

    part: tuple[slice, slice]
    rgb: np.ndarray
    asymmetry: float
    eye: float

    @property
    def alike(self) -> bool:
        """Whether the halves are alike enough for it to be the better fill."""
        return self.asymmetry < (ALIKE_EYE if self.eye >= EYE_SHARE else ALIKE)


def eyes_in(own: np.ndarray, frame: TurnedWindow) -> list[np.ndarray]:
    """[bool [H,W]] of each eye of the face whose middle lies in `own`, bool [H,W]: what of it, with
    its lids, lies there. frame: of the face (frame_of)."""
    height, width = own.shape
    found = []
    for eye in TEMPLATE[:2]:
        x, y = np.floor(frame.to_picture(eye)).astype(int)
        if 0 <= y < height and 0 <= x < width and own[y, x]:
            reach = int(np.ceil(max(EYE_SIZE) * frame.side)) + 1
            rows = slice(max(y - reach, 0), y + reach)
            columns = slice(max(x - reach, 0), x + reach)
            y, x = np.mgrid[rows, columns][:, : height - rows.start, : width - columns.start] + 0.5
            off = (frame.from_picture(np.stack([x, y], axis=-1)) - eye) / EYE_SIZE
            region = np.zeros_like(own)
            part = region[rows, columns]
            part[...] = own[rows, columns] & ((off**2).sum(axis=-1) <= 1)
            found.append(region)
    return found


def other_half(
    pixels: np.ndarray,
    hole: np.ndarray,
    own: np.ndarray,
    frame: TurnedWindow,
    filled: np.ndarray | None = None,
) -> OtherHalf | None:
    """OtherHalf for `own`, one hole of a face; None where the other half is not known or there is
    nothing around to compare by.

    pixels: uint8 [H,W,3], the hole's of which are not read; hole, own: bool [H,W]; frame: of the
    face (frame_of). filled: bool [H,W], what of the hole holds a fill by now: it is compared with,
    and not copied.
    """
    reach = max(round(RING * frame.side), 2)
    left, top, right, bottom = bounding_box(own)
    height, width = own.shape
    rows = slice(max(top - reach, 0), min(bottom + reach, height))
    columns = slice(max(left - reach, 0), min(right + reach, width))
    x, y = np.meshgrid(np.arange(columns.start, columns.stop), np.arange(rows.start, rows.stop))
    places = frame.from_picture(np.stack([x, y], axis=-1) + 0.5)
    places[..., 0] = 2 * AXIS - places[..., 0]
    x, y = np.moveaxis(frame.to_picture(places) - 0.5, -1, 0)
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    if not inside.any():
        return None
    # Only the part that is read is filtered: photos may be large.
    low = max(int(y[inside].min()) - 2, 0), max(int(x[inside].min()) - 2, 0)
    there = np.s_[low[0] : int(y[inside].max()) + 4, low[1] : int(x[inside].max()) + 4]
    at = np.stack([y - low[0], x - low[1]])
    absent = ndimage.map_coordinates(
        hole[there].astype(np.float32), at, order=1, mode="constant", cval=1.0
    )
    known = inside & (absent < 1e-3)
    here = np.s_[rows, columns]
    if not known[own[here]].all():
        return None
    source = np.where(hole[there][..., None], 0, pixels[there]).astype(np.float32) / 255
    rgb = np.stack(
        [ndimage.map_coordinates(source[..., c], at, order=1, mode="nearest") for c in range(3)],
        axis=-1,
    )
    photo = pixels[here].astype(np.float32) / 255
    shown = ~hole if filled is None else ~hole | filled
    near = ndimage.distance_transform_edt(~own[here]) <= reach
    ring = near & shown[here] & ~own[here] & known
    if ring.sum() < 16:
        return None
    error = rgb[ring] - photo[ring]
    asymmetry = (error - error.mean(axis=0)).var() / (photo[ring].var(axis=0).mean() + 1e-4)
    rgb = np.where(known[..., None], np.clip(rgb, 0, 1), photo)
    eye = sum(region.sum() for region in eyes_in(own, frame)) / own.sum()
    return OtherHalf(here, rgb, float(asymmetry), float(eye))
