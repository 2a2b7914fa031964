"""What a picture's file says beside its pixels: depth, orientation, EXIF, XMP, color profile."""

import re

from PIL import ExifTags, Image

ORIENTATION = ExifTags.Base.Orientation
TURNS = {  # EXIF orientation -> what makes the stored raster upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)  # orientations that swap width and height
METADATA = ("icc_profile", "dpi", "gamma", "chromaticity", "srgb")  # kept as Pillow notes them
# Tags of a TIFF's first directory that say how it is stored, not what it shows: not EXIF.
STRUCTURE_TAGS = (
    *(254, 255, 256, 257, 258, 259, 262, 263, 266, 273, 277, 278, 279, 280, 281, 282, 283, 284),
    *(290, 291, 292, 293, 296, 297, 301, 317, 318, 319, 320, 322, 323, 324, 325, 330, 332, 338),
    *(339, 340, 341, 347, 512, 513, 514, 529, 530, 531, 532, 700, 33723, 34377, 34675, 37724),
)
PROFILE_MODES = {  # color space of an ICC profile -> modes it may be attached to
    b"GRAY": ("1", "L", "LA", "I", "I;16", "F"),
    b"RGB ": ("P", "RGB", "RGBA"),
    b"CMYK": ("CMYK",),
    b"Lab ": ("LAB",),
}
HEADER_BYTES = 1 << 16  # in which AVIF and JPEG 2000 tell their depth


def stored_bits(image: Image.Image) -> int:
    """Bits a channel of a just opened file, as far as its header tells: 8 where Pillow's mode holds
    them all."""
    if image.mode not in ("L", "RGB", "RGBA", "RGBX", "CMYK") or not getattr(image, "tile", None):
        return 8
    codec, _, _, arguments = image.tile[0]
    arguments = arguments if isinstance(arguments, tuple) else (arguments,)
    if any(isinstance(a, str) and ";16" in a for a in arguments) or codec == "SGI16":
        return 16
    if codec == "bcn" and arguments[0] == 6:  # half floats of a DDS
        return 16
    if codec.startswith("ppm") and isinstance(arguments[-1], int):
        return max(8, arguments[-1].bit_length())
    if image.format in ("AVIF", "JPEG2000"):
        return _bits_in_header(image)
    return 8


def _bits_in_header(image: Image.Image) -> int:
    place = image.fp.tell()
    image.fp.seek(0)
    header = image.fp.read(HEADER_BYTES)
    image.fp.seek(place)
    if image.format == "AVIF":
        found = re.search(rb"av1C..(.)", header, re.DOTALL)
        flags = found.group(1)[0] if found else 0
        return 8 if not flags & 0x40 else 12 if flags & 0x20 else 10
    found = re.search(rb"\xff\x4f\xff\x51.{36}(..)(.+)", header, re.DOTALL)  # ISO 15444-1, A.5.1
    if not found:
        return 8
    count = int.from_bytes(found.group(1), "big")
    return max((depth & 0x7F) + 1 for depth in found.group(2)[: 3 * count : 3])


def orientation_of(image: Image.Image) -> int | None:
    """EXIF's orientation, 1 to 8; None where the EXIF cannot be read."""
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except Exception:  # as broken as it may be, it is not the picture
        return None
    return value if value in TURNS else 1


def upright(image: Image.Image, orientation: int | None) -> Image.Image:
    """The stored raster as it is to be seen."""
    return image.transpose(TURNS[orientation]) if orientation in TURNS else image


def metadata_of(image: Image.Image, orientation: int | None) -> tuple[dict, bool]:
    """(what describes the picture and stays true when it is upright, whether its EXIF could be
    read). EXIF's thumbnail is left out: it shows what was there before."""
    found = {key: image.info[key] for key in METADATA if key in image.info}
    readable = True
    if "exif" in image.info or "Raw profile type exif" in image.info or hasattr(image, "tag_v2"):
        try:
            exif = Image.Exif()
            exif.load(image.getexif().tobytes())
            for tag in STRUCTURE_TAGS:
                exif.pop(tag, None)
            if ORIENTATION in exif or orientation in TURNS:
                exif[ORIENTATION] = 1
            if len(exif):
                found["exif"] = exif.tobytes()
        except Exception:  # as in orientation_of
            readable = False
    xmp = image.info.get("xmp", image.info.get("XML:com.adobe.xmp"))
    if xmp:
        xmp = xmp.encode() if isinstance(xmp, str) else bytes(xmp)
        found["xmp"] = re.sub(rb'(tiff:Orientation(?:="|>))\d', rb"\g<1>1", xmp)
    text = {
        key: value
        for key, value in (getattr(image, "text", None) or {}).items()
        if not key.startswith(("Raw profile type", "XML:com.adobe.xmp"))
    }
    if isinstance(comment := image.info.get("comment"), bytes):
        text["Comment"] = comment.decode("utf-8", "replace").rstrip("\0")
    return found | ({"text": text} if text else {}), readable


def fitting(metadata: dict, mode: str) -> dict:
    """The metadata without a color profile of another space than the mode's."""
    profile = metadata.get("icc_profile")
    space = bytes(profile[16:20]) if profile else b""
    if mode in PROFILE_MODES.get(space, (mode,)):
        return metadata
    return {key: value for key, value in metadata.items() if key != "icc_profile"}


def pil_info(metadata: dict, mode: str) -> dict:
    """The metadata as Pillow notes it on its images."""
    info = dict(fitting(metadata, mode))
    return info.pop("text", {}) | info
