"""Photos made larger: borders filled from the photo outward, a strip at a time."""

from collections.abc import Callable
from numbers import Integral
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from inpaint_hub.images import PictureLike, read_images

STRIP_FRACTION = 0.25  # of the known part's shorter side: what one pass adds to a side at most


def strips(
    size: tuple[int, int],
    left: int,
    top: int,
    right: int,
    bottom: int,
    fraction: float = STRIP_FRACTION,
) -> list[tuple[int, int, int, int]]:
    """[(left, top, right, bottom)] in px that one pass after the other adds to a picture of `size`
    (width, height), until all is added."""
    width, height = size
    wanted = np.array([left, top, right, bottom])
    passes = []
    while wanted.any():
        most = max(1, round(fraction * min(width, height)))
        now = np.minimum(wanted, most)
        passes.append(tuple(now.tolist()))
        wanted = wanted - now
        width, height = width + int(now[0] + now[2]), height + int(now[1] + now[3])
    return passes


def outpaint(
    pipe: Callable[..., Any],
    image: PictureLike,
    left: int = 0,
    top: int = 0,
    right: int = 0,
    bottom: int = 0,
    *,
    on_strip: Callable[[int, int], None] | None = None,
    **options: Any,
) -> Image.Image:
    """The picture with so many px more on each side, made up by the pipeline; what was there comes
    back bit for bit.

    A side grows by at most a quarter of the shorter side in one pass: what a pass adds is known to
    the next.

    Args:
        image: PIL picture; palettes and bitmaps become what inpaint_hub.images makes of them.
        on_strip: called with (passes done, passes in all) after each.
        options: of the pipeline's call.

    Returns: PIL picture of size (width + left + right, height + top + bottom).

    Raises: ValueError for amounts that are no whole numbers of at least 0, or all 0.
    """
    amounts = {"left": left, "top": top, "right": right, "bottom": bottom}
    for name, value in amounts.items():
        if not isinstance(value, Integral) or value < 0:
            raise ValueError(f"{name} is {value!r}, expected a whole number of px of at least 0")
    if not any(amounts.values()):
        raise ValueError("left, top, right and bottom are all 0; give one of them some px")
    picture = _plain(image)
    passes = strips(picture.size, left, top, right, bottom)
    for done, border in enumerate(passes, start=1):
        width, height = picture.size
        hole = np.ones((height + border[1] + border[3], width + border[0] + border[2]), bool)
        hole[border[1] : border[1] + height, border[0] : border[0] + width] = False
        mask = Image.fromarray(hole.astype(np.uint8) * 255)
        picture = pipe(ImageOps.expand(picture, border), mask, **options).images[0]
        if on_strip:
            on_strip(done, len(passes))
    return picture


def _plain(image: PictureLike) -> Image.Image:
    """The picture in a mode whose values are colors, upright."""
    picture = read_images(image)[0]
    shape = picture.pixels.shape
    return picture.fill(np.zeros(shape, np.float32), np.zeros(shape[:2], bool))
