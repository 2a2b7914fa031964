"""THE contract: pictures and masks, from what users have to what networks read, and back.

Inside the package a picture is a tensor [N,3,H,W] in [-1,1], RGB, and a mask [N,1,H,W] in {0,1}, 1
= hole. Users give PIL images, numpy arrays [H,W], [H,W,C] or [N,H,W,C] (uint8, uint16, bool, or
float in [0,1]), torch tensors [H,W], [C,H,W] or [N,C,H,W] (uint8, or float in [0,1]), or lists of
these; a white mask pixel is repainted. Every value outside the mask comes back as it came. Files
are read by formats.open_picture, which keeps 16 bits a channel where Pillow's modes hold 8.

Pillow's modes I and F have no fixed range. White is 255 in an I picture whose values all lie below
256, else 65535; it is 1 in an F picture whose values all lie in [0,1], else 255 (as convert("F")
makes them).
"""

from inpaint_hub.images.masks import read_masks, same_aspect
from inpaint_hub.images.metadata import orientation_of, stored_bits, upright
from inpaint_hub.images.pictures import (
    LUMA,
    Picture,
    PictureLike,
    UnreadableImageError,
    from_pil,
    over_white,
    read_images,
    to_pixels,
    to_tensor,
    to_unit,
    unreadable,
    write_pictures,
)

__all__ = [
    "LUMA",
    "Picture",
    "PictureLike",
    "UnreadableImageError",
    "from_pil",
    "orientation_of",
    "over_white",
    "read_images",
    "read_masks",
    "same_aspect",
    "stored_bits",
    "to_pixels",
    "to_tensor",
    "to_unit",
    "unreadable",
    "upright",
    "write_pictures",
]
