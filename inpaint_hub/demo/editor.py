"""What the editor (editor.html, editor.js) is told, and what it sends."""

import uuid
from pathlib import Path

import numpy as np
from PIL import Image

from inpaint_hub.demo.photos import (
    Photo,
    Refusal,
    Visit,
    data_url,
    mask_from_url,
    mask_picture,
    opened,
    preview_url,
)

HERE = Path(__file__).parent
LIVE_PIXELS = 1_100_000  # photos up to this size are filled after each stroke unless switched off


def editor_html() -> str:
    text = (HERE / "editor.html").read_text(encoding="utf-8")
    return text.replace("{live_megapixels}", f"{LIVE_PIXELS / 1e6:.0f}")


def message(visit: Visit, kind: str, **more: object) -> dict:
    """What the editor is told; it acts on each serial once."""
    visit.serial += 1
    return {"kind": kind, "serial": f"{visit.folder.name}-{visit.serial}", **more}


def photo_message(
    visit: Visit, photo: Photo, image: Image.Image, hole: np.ndarray | None = None
) -> dict:
    """The message for a new photo, which becomes the visit's; hole: bool [H,W] to begin with."""
    visit.photo, visit.photo_id = photo, uuid.uuid4().hex
    return message(
        visit,
        "photo",
        url=preview_url(image),
        mask=None if hole is None else hole_url(hole),
        width=image.width,
        height=image.height,
        name=photo.name,
        note=photo.note,
        live=image.width * image.height <= LIVE_PIXELS,
        id=visit.photo_id,
    )


def hole_url(hole: np.ndarray) -> str:
    """bool [H,W] as a picture inside a URL."""
    return data_url(mask_picture(hole), "PNG", compress_level=1)


def photo_of(visit: Visit | None) -> Photo:
    """The visit's photo.

    Raises: Refusal without one.
    """
    if visit is None or visit.photo is None:
        raise Refusal("There is no photo yet: upload one first.")
    if not visit.photo.path.is_file():
        raise Refusal(
            "The photo is no longer here (nothing happened for an hour): upload it again."
        )
    return visit.photo


def photo_and_hole(
    visit: Visit | None, value: dict | None
) -> tuple[Photo, Image.Image, np.ndarray]:
    """(Photo, decoded picture, hole, bool [H,W]) from what the editor sent.

    Raises: Refusal without photo or hole.
    """
    photo, value = photo_of(visit), value or {}
    if value.get("id") not in (None, visit.photo_id):  # the mask is another photo's
        raise Refusal("The photo changed just now: look at it, then press again.")
    hole = mask_from_url(value.get("mask"), photo.size)
    return photo, opened(photo.path, photo.name), hole
