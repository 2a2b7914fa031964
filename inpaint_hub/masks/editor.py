"""Mask from what a drawing widget returns."""

import numpy as np
from PIL import Image, ImageOps

from inpaint_hub.masks.strokes import width_height

GRAY_TOLERANCE = 32  # between the channels of a gray picture that was stored as a color JPEG


def painted(layer: Image.Image) -> np.ndarray:
    """bool [H,W]: not fully transparent. A gray layer without transparency is a black and white
    mask; one in color was painted all over."""
    pixels = np.asarray(layer.convert("RGBA"))
    color, alpha = pixels[..., :3], pixels[..., 3]
    if alpha.min() < 255 or np.ptp(color, axis=2).max() > GRAY_TOLERANCE:
        return alpha > 0
    return np.asarray(layer.convert("L")) >= 128


def from_editor(value: dict | None) -> tuple[Image.Image, Image.Image]:
    """Gradio ImageEditor's {"background", "layers", "composite"} -> (picture, mask), both PIL, same
    size.

    A pixel is a hole where any layer is at all opaque; mask: mode L, 255 = hole. EXIF rotation is
    applied.

    Raises: ValueError without a picture, without a stroke, or with a picture that cannot be
    decoded.
    """
    background = value.get("background") if isinstance(value, dict) else None
    if not isinstance(background, Image.Image):
        raise ValueError("There is no picture yet: upload a photo, then paint over what should go.")
    try:  # the widget shows it upright and sends it as it was
        background = ImageOps.exif_transpose(background)
    except OSError as error:
        raise ValueError(
            f"The picture cannot be read ({error}): save it again with another program, then "
            "upload it."
        ) from error
    width, height = width_height(background.size)
    hole = np.zeros((height, width), bool)
    for layer in value.get("layers") or []:
        if layer is None:
            continue
        if layer.size != (width, height):
            layer = layer.resize((width, height), Image.Resampling.NEAREST)
        hole |= painted(layer)
    if not hole.any():
        raise ValueError("Nothing is painted yet: draw over the part that should be filled.")
    return background, Image.fromarray(hole.astype(np.uint8) * 255)
