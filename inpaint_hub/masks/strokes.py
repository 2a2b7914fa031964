"""Free-form holes: broken lines drawn with a round brush (SPEC A11.1, after the samplers it
cites)."""

import math

import numpy as np
from PIL import Image, ImageDraw

REFERENCE_PX = 256  # brush and step sizes below are for this side and scale with the mask


def width_height(size):
    """Side or (width, height) -> (width, height).

    Raises: ValueError for sides below 1 px.
    """
    width, height = (size, size) if np.isscalar(size) else size
    if width < 1 or height < 1:
        raise ValueError(
            f"mask size is {size}, expected a side or (width, height) of at least 1 px"
        )
    return int(width), int(height)


def strokes(size, rng, num_strokes=(3, 15), num_vertices=(4, 25), step_px=100, brush_px=(10, 24)):
    """`num_strokes` random broken lines; ranges are inclusive, lengths in px of a 256 px mask.

    A line zigzags about its own random direction, by about 2 pi / 5 to alternating sides; a vertex
    is at most step_px from the one before.
    """
    width, height = width_height(size)
    scale = min(width, height) / REFERENCE_PX
    canvas = Image.new("1", (width, height))
    draw = ImageDraw.Draw(canvas)
    for _ in range(rng.integers(*num_strokes, endpoint=True)):
        points = [np.array([rng.uniform(0, width), rng.uniform(0, height)])]
        direction = rng.uniform(0, 2 * math.pi)
        brush = max(1, round(rng.uniform(*brush_px) * scale))
        for turn in range(rng.integers(*num_vertices, endpoint=True)):
            angle = rng.uniform(2 * math.pi / 5 - 0.4, 2 * math.pi / 5 + 0.4)
            angle = direction + (angle if turn % 2 else -angle)
            reach = rng.uniform(0, step_px) * scale
            step = reach * np.array([math.sin(angle), math.cos(angle)])
            points.append(np.clip(points[-1] + step, 0, (width - 1, height - 1)))
        draw_stroke(draw, points, brush)
    return np.array(canvas)


def draw_stroke(draw, points, brush):
    """One broken line of `brush` px with round joints and ends."""
    draw.line([tuple(p) for p in points], fill=1, width=brush)
    radius = brush / 2
    for x, y in points:
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1)
