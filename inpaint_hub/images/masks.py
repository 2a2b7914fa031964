"""Masks: whatever users paint, at the picture's size, True = hole."""

from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image

from inpaint_hub.images.metadata import SIDEWAYS, upright
from inpaint_hub.images.pictures import (
    EXPECTED,
    LUMA,
    Picture,
    PictureLike,
    check_values,
    from_pil,
    unit_values,
    white_of,
)


def read_masks(
    mask_image: PictureLike | Picture,
    pictures: list[Picture],
    invert: bool = False,
    before: list[Picture] | None = None,
) -> list[np.ndarray]:
    """One bool [H,W] (True = hole) for each of `pictures`, at its size.

    White repaints (`invert`: black does). One mask serves all pictures. Of two values the brighter
    is white, whatever they are; more are cut at one half. Transparent masks whose colors are all
    the same are read from their alpha. Integers that are all 0 or 1 count as booleans. An array
    [N,H,W] is one mask for each of N pictures; where [N,H,W] could also be channels, the pictures
    decide. A mask of another size is resized so that nothing painted is lost; one of the shape that
    a photo had before its EXIF orientation turned it is turned along. before: the pictures as they
    were until they were resized; a mask may be made for those.

    Raises: TypeError, ValueError for what is no mask, for a wrong number of masks, or for one of
        another aspect ratio than its picture.
    """
    masks = list(_holes(mask_image, pictures))
    if len(masks) == 1:
        masks *= len(pictures)
    if len(masks) != len(pictures):
        raise ValueError(
            f"mask_image holds {len(masks)} masks for {len(pictures)} pictures; expected one for "
            "all or one for each; check the two lists"
        )
    holes = [
        _sized(hole, picture, original)
        for hole, picture, original in zip(masks, pictures, before or pictures)
    ]
    return [~hole for hole in holes] if invert else holes


def _cut(values: np.ndarray, half: float = 0.5) -> np.ndarray:
    """[H,W] -> bool, True = white."""
    low, high = values.min(), values.max()
    if low < high and ((values == low) | (values == high)).all():
        return values == high
    return values >= half


def _sized(hole: np.ndarray, picture: Picture, original: Picture) -> np.ndarray:
    """The hole, bool [h,w], at the picture's size; drawn on it, or on what it was before."""
    if hole.shape[::-1] == picture.size:
        return hole
    shapes = (original.size, picture.size)
    if not any(same_aspect(hole.shape[::-1], shape) for shape in shapes):
        turned = original.orientation in SIDEWAYS
        if not turned or not any(same_aspect(hole.shape, shape) for shape in shapes):
            (width, height), (own_width, own_height) = hole.shape[::-1], original.size
            raise ValueError(
                f"mask_image is {width}x{height} px for a picture of {own_width}x{own_height} px; "
                "expected the picture's size, or its shape in another size; make the mask from "
                "this picture, uncropped"
            )
        hole = np.asarray(upright(Image.fromarray(hole), original.orientation))
    if hole.shape[::-1] == picture.size:
        return hole
    shown = Image.fromarray(hole.astype(np.float32))
    if hole.size > picture.size[0] * picture.size[1]:  # hole wherever any of it falls into a pixel
        shrunk = np.asarray(shown.resize(picture.size, Image.Resampling.BOX)) > 0
        # Where a pixel's center falls onto a border of two, the filter may count it in neither.
        (rows, columns), (width, height) = np.nonzero(hole), picture.size
        rows = (2 * rows + 1) * height // (2 * hole.shape[0])
        shrunk[rows, (2 * columns + 1) * width // (2 * hole.shape[1])] = True
        return shrunk
    smooth = np.asarray(shown.resize(picture.size, Image.Resampling.BILINEAR)) >= 0.5
    return smooth | (np.asarray(shown.resize(picture.size, Image.Resampling.NEAREST)) > 0)


def same_aspect(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether one (width, height) is the other in another size, but for a pixel of rounding."""
    (width, height), (other_width, other_height) = size, other
    return abs(width * other_height - height * other_width) <= max(*size, *other)


def _holes(mask: PictureLike | Picture, pictures: list[Picture]) -> Iterator[np.ndarray]:
    """Bool [H,W], True = white, for every mask given."""
    if isinstance(mask, Image.Image):
        mask = from_pil(mask)
    if isinstance(mask, (list, tuple)):
        if not mask:
            raise ValueError(
                "mask_image is an empty list; expected one mask for all pictures or one for each; "
                "pass at least one"
            )
        for item in mask:
            yield from _holes(item, pictures)
    elif isinstance(mask, Picture):
        yield _hole_of(mask.pixels if mask.converted_mode else mask.native, mask.white)
    elif isinstance(mask, np.ndarray):
        size = pictures[0].size[::-1]
        stacked = mask.ndim == 3 and (
            mask.shape[2] > 4 or (mask.shape[1:] == size and mask.shape[:2] != size)
        )
        for item in mask if stacked or mask.ndim == 4 else [mask]:
            yield _hole_of(item[..., None] if item.ndim == 2 else item)
    elif isinstance(mask, torch.Tensor):
        mask = mask.detach().cpu()
        mask = mask.float() if mask.is_floating_point() else mask
        stacked = mask.ndim == 3 and (len(mask) > 4 or len(mask) == len(pictures))
        for item in mask if stacked or mask.ndim == 4 else [mask]:
            item = item.numpy()
            yield _hole_of(item[..., None] if item.ndim == 2 else np.moveaxis(item, 0, -1))
    else:
        raise TypeError(
            f"mask_image is a {type(mask).__name__} ({str(mask)[:60]!r}); {EXPECTED}, white (or 1, "
            "or True) where the picture is to be repainted; open files with PIL.Image.open"
        )


def _hole_of(values: np.ndarray, white: float | None = None) -> np.ndarray:
    """[H,W,1..4] -> bool [H,W], True = white; `white` is given for what was checked already."""
    if values.ndim != 3 or 0 in values.shape or values.shape[2] > 4:
        raise ValueError(
            f"mask_image has shape {values.shape}, expected [H,W] or [H,W,C] of at least 1x1 px "
            "and at most 4 channels; pass one mask per picture"
        )
    if values.dtype.kind in "iu":
        low, high = int(values.min()), int(values.max())
        if white is None and (low < 0 or high > 65535):
            raise ValueError(
                f"mask_image holds whole numbers from {low} to {high}; expected 0 and 1, 0 to 255, "
                "or 0 to 65535; pass (mask != 0) if all others mean the hole"
            )
        if high <= 1:
            values, white = values > 0, 1
        elif white is None and values.dtype not in (np.uint8, np.uint16):
            values = values.astype(np.uint8 if high <= 255 else np.uint16)
    if white is None:
        check_values(values, "mask_image")
        white = white_of(values)
    if values.shape[2] == 1 and values.dtype in (np.uint8, bool):
        return _cut(values[..., 0], white / 2)
    unit = unit_values(values, white)
    if values.shape[2] in (2, 4):
        color, alpha = unit[..., :-1], unit[..., -1]
        if np.ptp(color.reshape(-1, color.shape[2]), axis=0).max() == 0 and np.ptp(alpha) > 0:
            return _cut(alpha)
        unit = color * alpha[..., None]
    return _cut(unit @ LUMA if unit.shape[2] == 3 else unit[..., 0])
