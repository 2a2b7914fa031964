"""Free-form holes: broken lines drawn with a round brush (SPEC A11.1, after the samplers it
cites)."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

REFERENCE_PX = 256  # brush and step sizes below are for this side and scale with the mask
NUM_VERTICES, STEP_PX, BRUSH_PX = (4, 25), 100, (10, 24)
MAX_SHARERS = 4  # strokes among which a coverage is shared out at least
MAX_SHAPES = 500  # after which what is missing stays known
CUTS = 7  # halvings of the last segment: to a hundredth of its length
Size = int | Sequence[int]  # side, or (width, height), in px


def width_height(size: Size) -> tuple[int, int]:
    """Side or (width, height) -> (width, height).

    Raises: ValueError for sides below 1 px.
    """
    width, height = (size, size) if np.isscalar(size) else size
    if width < 1 or height < 1:
        raise ValueError(
            f"mask size is {size}, expected a side or (width, height) of at least 1 px"
        )
    return int(width), int(height)


def strokes(
    size: Size,
    rng: np.random.Generator,
    num_strokes: tuple[int, int] = (3, 15),
    num_vertices: tuple[int, int] = NUM_VERTICES,
    step_px: float = STEP_PX,
    brush_px: tuple[float, float] = BRUSH_PX,
) -> np.ndarray:
    """`num_strokes` random broken lines; ranges are inclusive, lengths in px of a 256 px mask.

    A line zigzags about its own random direction, by about 2 pi / 5 to alternating sides; a vertex
    is at most step_px from the one before.
    """
    width, height = width_height(size)
    canvas = Image.new("1", (width, height))
    draw = ImageDraw.Draw(canvas)
    for _ in range(rng.integers(*num_strokes, endpoint=True)):
        draw_stroke(draw, *random_stroke(width, height, rng, num_vertices, step_px, brush_px))
    return np.array(canvas)


def random_stroke(
    width: int,
    height: int,
    rng: np.random.Generator,
    num_vertices: tuple[int, int],
    step_px: float,
    brush_px: tuple[float, float],
) -> tuple[list[np.ndarray], int]:
    """(points, brush in px) of one broken line."""
    scale = min(width, height) / REFERENCE_PX
    points = [np.array([rng.uniform(0, width), rng.uniform(0, height)])]
    direction = rng.uniform(0, 2 * math.pi)
    brush = max(1, round(rng.uniform(*brush_px) * scale))
    for turn in range(rng.integers(*num_vertices, endpoint=True)):
        angle = rng.uniform(2 * math.pi / 5 - 0.4, 2 * math.pi / 5 + 0.4)
        angle = direction + (angle if turn % 2 else -angle)
        reach = rng.uniform(0, step_px) * scale
        step = reach * np.array([math.sin(angle), math.cos(angle)])
        points.append(np.clip(points[-1] + step, 0, (width - 1, height - 1)))
    return points, brush


def draw_stroke(draw: ImageDraw.ImageDraw, points: list[np.ndarray], brush: int) -> None:
    """One broken line of `brush` px with round joints and ends."""
    draw.line([tuple(p) for p in points], fill=1, width=brush)
    radius = brush / 2
    for x, y in points:
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1)


def strokes_to_coverage(
    size: Size,
    target: float,
    rng: np.random.Generator,
    brush_px: tuple[float, float] = BRUSH_PX,
    box_share: float = 0.0,
) -> np.ndarray:
    """Strokes as those of `strokes`, one after the other until about `target` of the mask, in
    [0,1], is covered.

    The coverage is shared out among at least one to four strokes; the one that fills its share ends
    there. A small target may be missed by a brush's dot. With box_share, that share of what follows
    the first stroke are rectangles instead.
    """
    width, height = width_height(size)
    goal = max(1, round(target * width * height))
    share = math.ceil(goal / rng.integers(1, MAX_SHARERS, endpoint=True))
    canvas, covered = Image.new("L", (width, height)), 0
    for number in range(MAX_SHAPES):
        limit = min(goal, covered + share)
        if number and rng.random() < box_share:
            canvas = _with_box(canvas, rng, limit)
        else:
            stroke = random_stroke(width, height, rng, NUM_VERTICES, STEP_PX, brush_px)
            canvas = _with_stroke(canvas, *stroke, limit)
        covered = _count(canvas)
        if covered >= goal:
            break
    return np.array(canvas) > 0


def _count(canvas: Image.Image) -> int:
    return int(np.count_nonzero(np.asarray(canvas)))


def _with_stroke(
    canvas: Image.Image, points: list[np.ndarray], brush: int, limit: int
) -> Image.Image:
    """A copy with the stroke, as much of it as covers `limit` px of the canvas in all."""
    whole = canvas.copy()
    draw_stroke(ImageDraw.Draw(whole), points, brush)
    if _count(whole) <= limit:
        return whole
    for start, end in zip(points, points[1:]):
        longer = canvas.copy()
        draw_stroke(ImageDraw.Draw(longer), [start, end], brush)
        if _count(longer) > limit:
            return _cut(canvas, start, end, brush, limit)
        canvas = longer
    return canvas


def _cut(
    canvas: Image.Image, start: np.ndarray, end: np.ndarray, brush: int, limit: int
) -> Image.Image:
    """A copy with the longest part of a segment that stays within `limit`; at least its first dot,
    since a stroke has one."""
    shortest, longest = 0.0, 1.0
    for _ in range(CUTS):
        middle = (shortest + longest) / 2
        trial = canvas.copy()
        draw_stroke(ImageDraw.Draw(trial), [start, start + middle * (end - start)], brush)
        shortest, longest = (middle, longest) if _count(trial) <= limit else (shortest, middle)
    draw_stroke(ImageDraw.Draw(canvas), [start, start + shortest * (end - start)], brush)
    return canvas


def _with_box(canvas: Image.Image, rng: np.random.Generator, limit: int) -> Image.Image:
    """A copy with a rectangle of at most the px missing to `limit` and its sides 15 to 60 % of the
    mask's, else smaller."""
    width, height = canvas.size
    across, down = (max(1, round(side * rng.uniform(0.15, 0.6))) for side in (width, height))
    room = max(1, limit - _count(canvas))
    shrink = min(1.0, math.sqrt(room / (across * down)))
    across, down = max(1, int(across * shrink)), max(1, int(down * shrink))
    left = int(rng.integers(0, width - across, endpoint=True))
    top = int(rng.integers(0, height - down, endpoint=True))
    grown = canvas.copy()
    box = (left, top, left + across - 1, top + down - 1)
    ImageDraw.Draw(grown).rectangle(box, fill=1)
    return grown
