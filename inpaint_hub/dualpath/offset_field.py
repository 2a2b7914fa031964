"""What the fusion's offsets look like: one arrow for each place, drawn over a picture."""

import colorsys
import math

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

NUM_ARROWS = 16  # along a side, at most
HEAD = 0.35  # of an arrow's length
MIN_SHAFT_PX = 1.0


def mean_offset(offset: Tensor) -> Tensor:
    """Offset [N,2Kg,r,r] in px -> (dy, dx) [N,2,r,r] in px, the mean over taps and groups: from
    each place to where the fusion reads the generator's features instead."""
    n, _, height, width = offset.shape
    return offset.reshape(n, -1, 2, height, width).mean(dim=1)


def draw_arrows(
    pixels: np.ndarray, field: np.ndarray, side_px: int = 512, stretch: float = 1.0
) -> Image.Image:
    """PIL picture of side_px with the field's arrows, colored by their direction.

    Args:
        pixels: uint8 [s,s,3].
        field: array [2,r,r], (dy, dx) in px of r.
        stretch: arrows are so many times longer than what they show.

    Each arrow starts at a place and ends where that place's features are read; it stands for the
    mean over the square around its start.
    """
    field = np.asarray(field, dtype=np.float64)
    step = max(1, math.ceil(field.shape[-1] / NUM_ARROWS))
    unit = side_px / field.shape[-1]
    picture = Image.fromarray(pixels).resize((side_px, side_px), Image.Resampling.BICUBIC)
    canvas = ImageDraw.Draw(picture)
    for top in range(0, field.shape[1], step):
        for left in range(0, field.shape[2], step):
            square = field[:, top : top + step, left : left + step]
            dy, dx = square.mean(axis=(1, 2)) * unit * stretch
            y, x = (top + square.shape[1] / 2) * unit, (left + square.shape[2] / 2) * unit
            _arrow(canvas, (x, y), (x + dx, y + dy), max(2, side_px // 256))
    return picture


def _arrow(
    canvas: ImageDraw.ImageDraw,
    start: tuple[float, float],
    end: tuple[float, float],
    width: int,
) -> None:
    dx, dy = end[0] - start[0], end[1] - start[1]
    length, angle = math.hypot(dx, dy), math.atan2(dy, dx)
    hue = angle / (2 * math.pi) % 1
    color = tuple(round(255 * c) for c in colorsys.hsv_to_rgb(hue, 1, 1))
    if length < MIN_SHAFT_PX:
        canvas.circle(start, width / 2, fill=color)
        return
    canvas.line([start, end], fill=color, width=width)
    for turn in (2.6, -2.6):
        side = (
            end[0] + HEAD * length * math.cos(angle + turn),
            end[1] + HEAD * length * math.sin(angle + turn),
        )
        canvas.line([end, side], fill=color, width=width)
