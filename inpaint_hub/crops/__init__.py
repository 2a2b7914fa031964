"""Where to cut a picture around its holes, and how the fill goes back (SPEC G: crop around the
hole).

Networks see squares of their own resolution. A window is a square of the picture, which may reach
past the border; there the picture is reflected.
"""

from inpaint_hub.crops.resampling import cut, cut_mask, enlarge
from inpaint_hub.crops.windows import (
    CONTEXT,
    MIN_KNOWN,
    AnyWindow,
    Box,
    Hole,
    OwnWindow,
    TurnedWindow,
    Window,
    bounding_box,
    context_windows,
    hole_slices,
    hole_windows,
    inside,
    place,
    separate_holes,
    shared_slices,
    whole_window,
    window_around,
    window_slices,
)

__all__ = [
    "AnyWindow",
    "Box",
    "CONTEXT",
    "Hole",
    "MIN_KNOWN",
    "OwnWindow",
    "TurnedWindow",
    "Window",
    "bounding_box",
    "context_windows",
    "cut",
    "cut_mask",
    "enlarge",
    "hole_slices",
    "hole_windows",
    "inside",
    "place",
    "separate_holes",
    "shared_slices",
    "whole_window",
    "window_around",
    "window_slices",
]
