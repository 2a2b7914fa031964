"""A window's pixels as a network reads them, and a network's picture as the window's pixels."""

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from inpaint_hub.crops.windows import AnyWindow, TurnedWindow, Window


def _reflected(start: int, side: int, length: int) -> np.ndarray:
    """Indices start .. start + side - 1, reflected at the borders of [0, length)."""
    index = np.arange(start, start + side)
    if length == 1:
        return np.zeros_like(index)
    index = np.abs(index) % (2 * length - 2)
    return np.where(index >= length, 2 * length - 2 - index, index)


def _region(array: np.ndarray, window: Window) -> np.ndarray:
    height, width = array.shape[:2]
    if window.left >= 0 and window.top >= 0:
        if window.left + window.side <= width and window.top + window.side <= height:
            return array[
                window.top : window.top + window.side, window.left : window.left + window.side
            ]
    rows = _reflected(window.top, window.side, height)
    columns = _reflected(window.left, window.side, width)
    return array.take(rows, axis=0).take(columns, axis=1)


def _filter(window: Window, size: int) -> Image.Resampling:
    """Area average when shrinking, bilinear when enlarging: both have the small supports cut_mask
    needs."""
    return Image.Resampling.BOX if window.side >= size else Image.Resampling.BILINEAR


def cut(
    pixels: np.ndarray, window: AnyWindow, size: int, hole: np.ndarray | None = None
) -> np.ndarray:
    """uint8 [H,W,3] -> the window as uint8 [size,size,3], mid-gray inside `hole` (bool [H,W])."""
    if isinstance(window, TurnedWindow):
        return np.rint(_cut_turned(pixels, window, size, hole)).astype(np.uint8)
    region = np.array(_region(pixels, window))
    if hole is not None:
        region[_region(hole, window)] = 127
    return np.asarray(Image.fromarray(region).resize((size, size), _filter(window, size)))


def cut_mask(mask: np.ndarray, window: AnyWindow, size: int) -> np.ndarray:
    """bool [H,W] -> bool [size,size]: hole wherever a hole pixel has a share in what `cut`
    shows."""
    if isinstance(window, TurnedWindow):
        return _cut_turned(mask[..., None], window, size)[..., 0] > 0
    region = np.ascontiguousarray(_region(mask, window)).astype(np.float32)
    return np.asarray(Image.fromarray(region).resize((size, size), _filter(window, size))) > 0


def _cut_turned(
    array: np.ndarray, window: TurnedWindow, size: int, hole: np.ndarray | None = None
) -> np.ndarray:
    """[H,W,C] -> float32 [size,size,C] of a turned window, averaged over what each pixel covers.

    The picture is first reduced by a whole number, then read bilinearly at four places a pixel: all
    weights are positive, so that cut_mask can tell which pixels had a share.
    """
    reduced = max(1, int(window.side // (2 * size)))
    bounds = window.bounds
    side = -(-(bounds.side + 2 * reduced) // reduced) * reduced
    around = Window(bounds.left - reduced, bounds.top - reduced, side)
    region = np.array(_region(array, around))
    if hole is not None:
        region[_region(hole, around)] = 127
    region = torch.from_numpy(_reduced(region, reduced))
    steps = (np.arange(2 * size) + 0.5) / (2 * size)
    places = window.to_picture(np.stack(np.meshgrid(steps, steps), axis=-1))
    read = _read(region, (places - (around.left, around.top)) / side, "bilinear")
    return F.avg_pool2d(read, 2)[0].permute(1, 2, 0).numpy()


def _reduced(array: np.ndarray, factor: int) -> np.ndarray:
    """uint8 or bool [H,W,C] -> float32 [H/factor,W/factor,C], the means of squares of pixels."""
    height, width, channels = array.shape
    rows = array.reshape(height // factor, factor, width * channels).sum(axis=1, dtype=np.uint32)
    cells = rows.reshape(height // factor, width // factor, factor, channels)
    return (cells.sum(axis=2, dtype=np.uint32) / factor**2).astype(np.float32)


def _read(array: torch.Tensor, places: np.ndarray, mode: str) -> torch.Tensor:
    """Tensor [h,w,C] at `places` [H,W,2], (x, y) in shares of its sides -> [1,C,H,W]."""
    grid = torch.from_numpy((2 * places - 1).astype(np.float32))[None]
    return F.grid_sample(
        array.permute(2, 0, 1)[None], grid, mode, padding_mode="border", align_corners=False
    )


def _enlarged_turned(
    patch: np.ndarray, window: TurnedWindow, part: tuple[slice, slice]
) -> np.ndarray:
    """As `enlarge`, for a turned window; past its border the patch's own border goes on."""
    size = round(window.side)
    if size < len(patch):
        channels = [Image.fromarray(np.ascontiguousarray(c)) for c in np.moveaxis(patch, 2, 0)]
        small = [
            np.asarray(c.resize((max(size, 1),) * 2, Image.Resampling.BICUBIC)) for c in channels
        ]
        patch = np.stack(small, axis=-1)
    rows, columns = part
    x, y = np.meshgrid(
        np.arange(columns.start, columns.stop) + 0.5, np.arange(rows.start, rows.stop) + 0.5
    )
    places = window.from_picture(np.stack([x, y], axis=-1))
    read = _read(torch.from_numpy(np.ascontiguousarray(patch)), places, "bicubic")
    return read[0].permute(1, 2, 0).contiguous().numpy()


def _cubic(start: int, stop: int, side: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Which of a patch's `size` rows make the rows start .. stop - 1 of a window of `side` rows,
    and by how much: indices and weights, both [stop - start, taps].

    Cubic convolution (Keys, 1981; a = -1/2), its support widened when shrinking: Pillow's BICUBIC.
    """
    scale = size / side
    width = max(scale, 1.0)
    center = (np.arange(start, stop) + 0.5)[:, None] * scale
    first = np.maximum(np.floor(center - 2 * width + 0.5), 0).astype(int)
    last = np.minimum(np.floor(center + 2 * width + 0.5), size).astype(int)
    index = first + np.arange((last - first).max())
    t = np.abs((index + 0.5 - center) / width)
    near, far = (1.5 * t - 2.5) * t * t + 1, ((-0.5 * t + 2.5) * t - 4) * t + 2
    weight = np.where(t < 1, near, np.where(t < 2, far, 0)) * (index < last)
    weight /= weight.sum(axis=1, keepdims=True)
    return np.minimum(index, size - 1), weight.astype(np.float32)


def _gathered(rows: np.ndarray, index: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted sums of rows [size,...] -> [n,...], in one order whatever else is computed."""
    shape = (-1,) + (1,) * (rows.ndim - 1)
    total = rows[index[:, 0]] * weight[:, 0].reshape(shape)
    for tap in range(1, index.shape[1]):
        total += rows[index[:, tap]] * weight[:, tap].reshape(shape)
    return total


def enlarge(patch: np.ndarray, window: AnyWindow, part: tuple[slice, slice]) -> np.ndarray:
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
