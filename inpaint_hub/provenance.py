"""Where a filled picture came from, written into the file: by which pipeline, how, and how much of
it is made up.

PNG files carry it as a text chunk, JPEG and WebP as EXIF's user comment, TIFF as the image
description; always one line of JSON.
"""

import json
from typing import Any

from PIL import ExifTags, Image, PngImagePlugin

KEY = "inpaint_hub"
ASCII = b"ASCII\x00\x00\x00"  # EXIF's note that the comment is plain ASCII
DESCRIBED = ("TIFF",)  # formats whose image description holds it


def describe(
    pipe: object,
    *,
    revision: str | None = None,
    seed: int | None = None,
    coverage: float | None = None,
    routes: list[str] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """What is to be remembered of a fill, as a dict that JSON can hold.

    revision: commit of the model's repository; coverage: share of the picture that was filled, in
    [0,1]; routes: where each hole was sent; more: settings, of networks and functions the class.
    What is None is left out.
    """
    from inpaint_hub import __version__

    notes = {
        "program": f"inpaint_hub {__version__}",
        "pipeline": pipe.__class__.__name__,
        "model": source_of(pipe),
        "revision": revision,
        "seed": seed,
        "coverage": None if coverage is None else round(float(coverage), 6),
        "routes": routes,
        **{name: type(x).__name__ if callable(x) else x for name, x in more.items()},
    }
    return {key: value for key, value in notes.items() if value is not None}


def source_of(pipe: object) -> str | None:
    """Hub id, or the last part of the folder, that the pipeline was loaded from; None if it was
    not. Folders of this machine are nobody's business."""
    name = str(getattr(pipe, "name_or_path", "") or "")
    if not name:
        return None
    parts = name.replace("\\", "/").rstrip("/").split("/")
    is_hub_id = len(parts) == 2 and all(parts) and not name.startswith((".", "/"))
    return name if is_hub_id and parts[0] != "weights" else parts[-1]


def among_texts(notes: dict[str, Any], texts: dict[str, str]) -> dict[str, str]:
    """The texts of a picture's metadata, {name: text}, with the notes among them."""
    return {**texts, KEY: json.dumps(notes, ensure_ascii=True)}


def _first_json(text: str) -> str | None:
    """The JSON that the text begins with, or None."""
    try:
        return text[: json.JSONDecoder().raw_decode(text)[1]]
    except ValueError:
        return None


def save_options(
    notes: dict[str, Any], file_format: str, exif: Image.Exif | None = None
) -> dict[str, Any]:
    """Keyword arguments of PIL.Image.save that write the notes into such a file.

    file_format: "PNG", "JPEG", "WEBP" or "TIFF". exif: PIL.Image.Exif to add to.

    Raises: ValueError for formats that hold no notes.
    """
    text = json.dumps(notes, ensure_ascii=True)
    if file_format == "PNG":
        chunks = PngImagePlugin.PngInfo()
        chunks.add_itxt(KEY, text)
        return {"pnginfo": chunks} | ({"exif": exif} if exif else {})
    exif = exif or Image.Exif()
    if file_format in ("JPEG", "WEBP"):
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = ASCII + text.encode("ascii")
        return {"exif": exif}
    if file_format in DESCRIBED:
        return {"description": text}
    raise ValueError(
        f"file_format is {file_format!r}, expected PNG, JPEG, WEBP or TIFF; others hold no notes"
    )


def read(image: Image.Image) -> dict[str, Any] | None:
    """The notes of an opened picture (PIL.Image), or None where it has none of ours."""
    text = image.info.get(KEY)
    if text is None and image.format in DESCRIBED:
        text = image.tag_v2.get(ExifTags.Base.ImageDescription)
        if isinstance(text, str) and f"{KEY}: " in text:  # among other texts, "name: text; ..."
            text = _first_json(text.partition(f"{KEY}: ")[2])
    if text is None:
        comment = image.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment, b"")
        if isinstance(comment, bytes) and comment.startswith(ASCII):
            text = comment[len(ASCII) :].decode("ascii", "replace")
    try:
        notes = json.loads(text) if text else None
    except ValueError:
        return None
    ours = isinstance(notes, dict) and str(notes.get("program", "")).startswith("inpaint_hub")
    return notes if ours else None
