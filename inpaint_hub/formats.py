"""Picture files: what can be read from them, and which of them hold a picture to the bit.

Reading goes through inpaint_hub.images; Pillow's own modes have no 16-bit color, so that PNG and
TIFF files with it are decoded in two passes, and such results are written as PNG by us.
"""

import io
import struct
import sys
import zlib
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image, PngImagePlugin

from inpaint_hub.images import (
    Picture,
    UnreadableImageError,
    from_pil,
    orientation_of,
    over_white,
    stored_bits,
    unreadable,
    upright,
)

Source = str | Path | bytes | bytearray | IO[bytes]  # an image file
# Modes that come back from a file of this ending with the same values.
HOLDS = {
    ".png": ("1", "L", "LA", "RGB", "RGBA", "I;16"),
    ".tif": ("1", "L", "LA", "RGB", "RGBA", "CMYK", "LAB", "I;16", "I", "F"),
    ".bmp": ("1", "L", "RGB"),
}
HOLDS[".tiff"] = HOLDS[".tif"]
LOSSLESS = tuple(sorted(HOLDS))
# Raw modes of 16 bits a channel, of which Pillow keeps the first byte -> the one that keeps the
# other.
SECOND_BYTE = {
    f"{mode};16{order}": f"{mode};16{other}"
    for mode in ("RGB", "RGBA")
    for order, other in ("BL", "LB", "NB" if sys.byteorder == "little" else "NL")
}
XMP_TAG, DESCRIPTION_TAG = 700, 270  # of TIFF
PNG_COLOR_TYPES = {2: 4, 3: 2, 4: 6}  # number of channels -> IHDR's color type
FILTER_UP = 2
TIFF_METADATA = {"dpi", "icc_profile", "exif", "xmp", "text"}


def openable_endings() -> set[str]:
    """Endings of the files that Pillow reads by itself, as ".png"."""
    Image.init()
    outside = ("PDF", "EPS", "WMF", "GRIB", "BUFR", "HDF5", "MPEG")  # written only, or by helpers
    return {
        ending
        for ending, name in Image.registered_extensions().items()
        if name in Image.OPEN and name not in outside
    }


def open_picture(source: Source) -> Picture:
    """The upright Picture of an image file's first frame, decoded.

    source: path, encoded bytes, or open binary file. RGB, RGBA and LA of 16 bits a channel are read
    from PNG and TIFF as they are; filled, they are uint16 arrays.

    Raises: UnreadableImageError for whatever no picture can be had from.
    """
    if isinstance(source, (bytes, bytearray)):
        source = io.BytesIO(source)
    try:
        with Image.open(source) as image:
            frames, depth, other = _frames(image), stored_bits(image), _second_pass(image)
            keyed = image.info.pop("transparency", None) if other else None
            picture = from_pil(image, told=True)
        if other:
            picture, depth = _deepened(picture, _decoded(source, *other), keyed), 8
    except Image.DecompressionBombError as error:
        raise UnreadableImageError(
            f"the picture has more than {2 * Image.MAX_IMAGE_PIXELS:,} pixels, expected fewer; cut "
            "it, or raise PIL.Image.MAX_IMAGE_PIXELS"
        ) from error
    except UnreadableImageError:
        raise
    except Exception as error:  # Pillow's plugins raise a dozen classes for what they cannot read
        raise unreadable(error) from error
    notes = []
    if frames > 1:
        notes.append(f"only the first of its {frames} frames or pages is read")
    if depth > 8:
        notes.append(f"{depth} bits a channel are stored, of which 8 are read")
    return replace(picture, notes=(*notes, *picture.notes))


def pixels_in(source: Source) -> int:
    """Number of pixels by the file's header; 0 for what cannot be read."""
    try:
        with Image.open(source) as image:
            return image.width * image.height
    except Exception:  # as in open_picture
        return 0


def _frames(image: Image.Image) -> int:
    """Number of frames or pages; a Photoshop file's layers are none, it shows them together."""
    try:
        return 1 if image.format == "PSD" else getattr(image, "n_frames", 1)
    except Exception:  # a file that is damaged behind its first frame is still a picture
        image.seek(0)
        return 1


def _second_pass(image: Image.Image) -> tuple[str, str] | None:
    """(mode, raw mode) in which the second bytes of 16-bit channels are read; None for what Pillow
    reads whole at once."""
    if image.format not in ("PNG", "TIFF") or not image.tile:
        return None
    arguments = image.tile[0].args
    raw = arguments[0] if isinstance(arguments, tuple) else arguments
    if raw == "LA;16B":
        return "LA", "RGBA"  # all four bytes of a pixel
    return (image.mode, SECOND_BYTE[raw]) if raw in SECOND_BYTE else None


def _decoded(source: Source, mode: str, raw: str) -> tuple[str, np.ndarray]:
    """(mode, what the decoder finds when it reads the file's pixels in that raw mode, upright)."""
    if hasattr(source, "seek"):
        source.seek(0)
    with Image.open(source) as image:
        image.tile = [
            tile._replace(args=(raw, *tile.args[1:]) if isinstance(tile.args, tuple) else raw)
            for tile in image.tile
        ]
        image.load()
        if image.format != "TIFF":  # Pillow has turned that
            image = upright(image, orientation_of(image))
        return mode, np.array(image)


def _deepened(
    picture: Picture, second: tuple[str, np.ndarray], keyed: tuple[int, ...] | None
) -> Picture:
    """The picture with uint16 values. second: as _decoded's; keyed: the color that is transparent,
    which stays a note, as in the file."""
    mode, other = second
    if mode == "LA":
        native = other[..., ::2].astype(np.uint16) * 256 + other[..., 1::2]
    else:
        native = picture.native.astype(np.uint16) * 256 + other
    seen, metadata = native, picture.metadata
    if keyed is not None:
        clear = (native == np.array(keyed, np.uint16)).all(axis=2, keepdims=True)
        seen = np.where(clear, np.uint16(65535), native)
        metadata = metadata | {"transparency": keyed}
    return replace(
        picture,
        pixels=over_white(seen, 65535),
        native=native,
        white=65535,
        restore=lambda values: values,
        metadata=metadata,
    )


def target_for(path: Path, result: Image.Image | np.ndarray) -> Path:
    """`path`, with another ending where its own does not hold the result to the bit."""
    if isinstance(result, np.ndarray):
        fitting = [".png"]
    else:
        mode = result.mode
        if mode == "I" and 255 < np.max(result) <= 65535 and np.min(result) >= 0:
            mode = "I;16"  # what white means stays the same
        fitting = [ending for ending, modes in HOLDS.items() if mode in modes]
    return path if path.suffix.lower() in fitting else path.with_suffix(fitting[0])


def not_held(path: str | Path, metadata: dict[str, Any]) -> list[str]:
    """Names of the metadata that save_picture leaves out for want of a place in the format."""
    ending = Path(path).suffix.lower()
    held = {".bmp": {"dpi"}, ".png": set(metadata)}.get(ending, TIFF_METADATA)
    return sorted(set(metadata) - held - {"transparency"})


def save_picture(
    result: Image.Image | np.ndarray, path: str | Path, metadata: dict[str, Any]
) -> None:
    """Write what Picture.fill returned for an opened file (PIL image, or uint16 [H,W,C]) to a path
    whose ending holds it, with that Picture's metadata as far as the format has a place for it.

    Raises: OSError where it cannot be written.
    """
    ending = Path(path).suffix.lower()
    options = {key: metadata[key] for key in ("dpi", "icc_profile", "exif") if key in metadata}
    if ending == ".png":
        options["pnginfo"] = _png_chunks(metadata)
    elif ending in (".tif", ".tiff"):
        options["exif"] = _tiff_tags(metadata)
    if isinstance(result, np.ndarray):
        Path(path).write_bytes(_deep_png(result, options, metadata.get("transparency")))
        return
    if ending == ".png" and result.mode == "I":
        result = Image.fromarray(np.asarray(result).astype(np.uint16))
    if "icc_profile" not in result.info:  # it belonged to another color space
        options.pop("icc_profile", None)
    result.save(path, **options)


def _png_chunks(metadata: dict[str, Any]) -> PngImagePlugin.PngInfo:
    chunks = PngImagePlugin.PngInfo()
    if "gamma" in metadata:
        chunks.add(b"gAMA", struct.pack(">I", round(metadata["gamma"] * 100000)))
    if "chromaticity" in metadata:
        numbers = [round(value * 100000) for value in metadata["chromaticity"]]
        chunks.add(b"cHRM", struct.pack(f">{len(numbers)}I", *numbers))
    if "srgb" in metadata:
        chunks.add(b"sRGB", bytes([metadata["srgb"]]))
    if "xmp" in metadata:
        chunks.add_itxt("XML:com.adobe.xmp", metadata["xmp"].decode("utf-8", "replace"))
    for key, value in metadata.get("text", {}).items():
        chunks.add_text(key, value)
    return chunks


def _tiff_tags(metadata: dict[str, Any]) -> Image.Exif:
    tags = Image.Exif()
    if "exif" in metadata:
        tags.load(metadata["exif"])
    if "xmp" in metadata:
        tags[XMP_TAG] = metadata["xmp"]
    if (text := metadata.get("text")) and DESCRIPTION_TAG not in tags:
        tags[DESCRIPTION_TAG] = "; ".join(f"{key}: {value}" for key, value in text.items())
    return tags


def _deep_png(
    values: np.ndarray, options: dict[str, Any], transparency: tuple[int, ...] | None
) -> bytes:
    """uint16 [H,W,2..4] -> an encoded PNG of 16 bits a channel, which Pillow does not write: its
    file of one pixel with the same notes, our header and pixels in it."""
    height, width, channels = values.shape
    template = io.BytesIO()
    pixel = Image.fromarray(np.zeros((1, 1, channels), np.uint8))
    pixel.save(template, "PNG", transparency=transparency, **options)
    rows = np.ascontiguousarray(values.astype(">u2")).view(np.uint8).reshape(height, -1)
    above = np.zeros_like(rows)
    above[1:] = rows[:-1]
    filtered = np.full((height, rows.shape[1] + 1), FILTER_UP, np.uint8)
    filtered[:, 1:] = rows - above
    ours = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 16, PNG_COLOR_TYPES[channels], 0, 0, 0),
        b"IDAT": zlib.compress(filtered.tobytes()),
    }
    data, place = template.getvalue(), 8
    written = [data[:place]]
    while place < len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        name = data[place + 4 : place + 8]
        content = ours.get(name, data[place + 8 : place + 8 + length])
        check = struct.pack(">I", zlib.crc32(name + content))
        written.append(struct.pack(">I", len(content)) + name + content + check)
        place += 12 + length
    return b"".join(written)
