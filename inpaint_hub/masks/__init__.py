"""Hole masks: bool [H,W], True = hole. Sizes are a side in px or (width, height)."""

from inpaint_hub.masks.difficulty import (
    BANDS,
    KINDS,
    MIXTURES,
    coverage,
    drawn_in_band,
    mask_in_band,
    nominal_mask,
    training_mask,
)
from inpaint_hub.masks.editor import from_editor
from inpaint_hub.masks.files import MaskFiles
from inpaint_hub.masks.regions import box, outpainting, random_box
from inpaint_hub.masks.strokes import strokes

__all__ = [
    "BANDS",
    "KINDS",
    "MIXTURES",
    "MaskFiles",
    "box",
    "coverage",
    "drawn_in_band",
    "from_editor",
    "mask_in_band",
    "nominal_mask",
    "outpainting",
    "random_box",
    "strokes",
    "training_mask",
]
