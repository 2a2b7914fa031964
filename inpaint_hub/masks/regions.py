"""Rectangular holes: boxes and the borders to be outpainted (SPEC A11)."""

import numpy as np

from inpaint_hub.masks.strokes import Size, width_height

SIDES = ("left", "right", "top", "bottom", "both", "all")


def box(size: Size, left: int, top: int, width: int, height: int) -> np.ndarray:
    """One rectangle; what lies outside the mask is cut off."""
    full_width, full_height = width_height(size)
    mask = np.zeros((full_height, full_width), bool)
    mask[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)] = True
    return mask


def random_box(
    size: Size, rng: np.random.Generator, min_fraction: float = 0.2, max_fraction: float = 0.6
) -> np.ndarray:
    """A rectangle anywhere inside, its sides between these fractions of the mask's."""
    full_width, full_height = width_height(size)
    width = max(1, round(full_width * rng.uniform(min_fraction, max_fraction)))
    height = max(1, round(full_height * rng.uniform(min_fraction, max_fraction)))
    left = int(rng.integers(0, full_width - width, endpoint=True))
    top = int(rng.integers(0, full_height - height, endpoint=True))
    return box(size, left, top, width, height)


def outpainting(size: Size, side: str, ratio: float) -> np.ndarray:
    """Border to be outpainted: `ratio` of the width (left, right, both = half on each) or height
    (top, bottom); `all`: a frame that leaves a center of (1 - ratio) of both.

    Raises: ValueError for another side or a ratio outside (0, 1).
    """
    if side not in SIDES or not 0 < ratio < 1:
        raise ValueError(
            f"outpainting got side={side!r}, ratio={ratio}; expected one of {SIDES} and a ratio in "
            f"(0, 1)"
        )
    width, height = width_height(size)
    mask = np.zeros((height, width), bool)
    across, down = round(width * ratio), round(height * ratio)
    if side == "left":
        mask[:, :across] = True
    elif side == "right":
        mask[:, width - across :] = True
    elif side == "top":
        mask[:down] = True
    elif side == "bottom":
        mask[height - down :] = True
    else:
        mask[:, : across // 2] = True
        mask[:, width - (across - across // 2) :] = True
        if side == "all":
            mask[: down // 2] = True
            mask[height - (down - down // 2) :] = True
    return mask
