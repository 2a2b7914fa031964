"""Mask from what a drawing widget returns."""

import numpy as np
from PIL import Image, ImageOps

from inpaint_hub.masks.strokes import width_height


def painted(layer):
    """bool [H,W]: not fully transparent; a layer without transparency is read as black and
    white."""
    alpha = np.asarray(layer.convert("RGBA"))[..., 3]
    return np.asarray(layer.convert("L")) >= 128 if alpha.min() == 255 else alpha > 0


def from_editor(value):
    """Gradio ImageEditor's {"background", "layers", "composite"} -> (picture, mask), both PIL, same
    size.

    A pixel is a hole where any layer is at all opaque; mask: mode L, 255 = hole. EXIF rotation is
    applied.

    Raises: ValueError without a picture or without a stroke.
    """
    background = (value or {}).get("background")
    if background is None:
        raise ValueError("There is no picture yet: upload a photo, then paint over what should go.")
    background = ImageOps.exif_transpose(
        background
    )  # the widget shows it upright and sends it as it was
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
