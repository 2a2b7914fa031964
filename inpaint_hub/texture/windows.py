"""Which crops of a photo a texture is made in."""

import numpy as np
from scipy import ndimage

from inpaint_hub import crops

CONTEXT = 1.0  # a hole's size on each of its sides is shown to the engine
MIN_SIDE_PX = 320  # time goes with the hole, not with what may be copied from
THIN_PX = 64  # wires, scratches and letters, in which no such square fits, are filled in pieces:
PIECE_PX = 128  # what lies far away along them says nothing
LARGE_PX = 220_000  # in a crop above drafts are coarse, which those of pieces need not be


def textured_windows(
    hole: np.ndarray, own_part: np.ndarray, part: tuple[slice, slice], in_pieces: bool = True
) -> list[list[crops.OwnWindow]]:
    """[[crops.OwnWindow]] of each texture crop for the pixels `own_part` (bool) of the `part`
    (slices) of a picture whose holes are `hole`, bool [H,W]. Those of one list are one hole's, to
    be filled in turn, each seeing what was filled before.

    in_pieces: whether long, thin holes may be filled so.
    """
    own, found = np.zeros_like(hole), []
    own[part] = own_part
    for one in crops.separate_holes(own) if in_pieces else ():
        wanted = (1 + 2 * CONTEXT) * max(one.own.shape)
        if np.prod(np.minimum(hole.shape, wanted)) > LARGE_PX and _is_thin(one.own):
            found.append(_pieces(one, hole.shape))
            own[one.part] &= ~one.own
    return [[window] for window in crops.context_windows(own, CONTEXT, MIN_SIDE_PX)] + found


def _is_thin(own: np.ndarray) -> bool:
    """Whether no square of THIN_PX fits into own, bool [H,W]."""
    return not ndimage.minimum_filter(own, size=THIN_PX, mode="constant", cval=0).any()


def _pieces(hole: crops.Hole, shape: tuple[int, int]) -> list[crops.OwnWindow]:
    """The OwnWindow of each piece of a hole in a picture of this shape, in squares of PIECE_PX, row
    by row."""
    found, (height, width), own = [], shape, hole.own
    for y in range(0, own.shape[0], PIECE_PX):
        for x in range(0, own.shape[1], PIECE_PX):
            square = own[y : y + PIECE_PX, x : x + PIECE_PX]
            if not square.any():
                continue
            left, top, right, bottom = crops.bounding_box(square)
            piece = square[top:bottom, left:right]
            top, left = top + y + hole.box[1], left + x + hole.box[0]
            bottom, right = top + piece.shape[0], left + piece.shape[1]
            side = max(round(max(piece.shape) * (1 + 2 * CONTEXT)), MIN_SIDE_PX)
            side = min(side, height, width)
            window = crops.window_around(left, top, right, bottom, side, (width, height))
            rows, columns = crops.window_slices(window, shape)
            filled = np.zeros((rows.stop - rows.start, columns.stop - columns.start), bool)
            filled[
                top - rows.start : bottom - rows.start, left - columns.start : right - columns.start
            ] = piece
            found.append(crops.OwnWindow(window, filled))
    return found
