"""Pictures: PIL, numpy and torch -> Picture -> what was given, with a fill; and tensors."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import torch
from PIL import Image

from inpaint_hub.images.metadata import (
    fitting,
    metadata_of,
    orientation_of,
    pil_info,
    stored_bits,
    upright,
)

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as Pillow converts RGB to L
CONVERTED_MODES = (
    "CMYK",
    "YCbCr",
    "HSV",
    "LAB",
)  # kept in their own color space, filled through Pillow
NATIVE_MODES = ("L", "LA", "RGB", "RGBA", "I", "F", "I;16")  # filled as they are
KEYED_MODES = {"1": "LA", "L": "LA", "P": "RGBA", "RGB": "RGBA"}  # one value may be transparent
PLAIN_MODES = {"1": "L", "PA": "RGBA", "La": "LA", "RGBa": "RGBA"}  # all others become RGB
SHOWN_COLORS = 4  # a message lists no more
EXPECTED = (
    "expected a PIL image, a numpy array [H,W], [H,W,C] or [N,H,W,C], a torch tensor [H,W], "
    "[C,H,W] or [N,C,H,W], or a list of these"
)
Values = TypeVar("Values", np.ndarray, torch.Tensor)
PictureLike = Image.Image | np.ndarray | torch.Tensor | list  # what users give and get


class UnreadableImageError(ValueError):
    """A picture that cannot be decoded; what Pillow raised, of whatever class, is its cause."""


@dataclass(frozen=True)
class Picture:
    """One upright picture.

    pixels: uint8 [H,W,3], RGB over white where it was transparent: what the networks see.
    native: the picture's own values [H,W,C]; white: the value among them that means white;
    restore: makes the user's kind of object from such values; converted_mode: the Pillow mode of a
    color space that fills are converted to. orientation: EXIF's, of the raster as it was stored.
    metadata: what describes the picture (METADATA, and "exif", "xmp", "text"); notes: one sentence
    about each thing in the file that is not kept.
    """

    pixels: np.ndarray
    native: np.ndarray
    white: int
    restore: Callable
    converted_mode: str | None = None
    orientation: int = 1
    metadata: dict = field(default_factory=dict)
    notes: tuple = ()

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in px."""
        return self.pixels.shape[1], self.pixels.shape[0]

    @property
    def alpha(self) -> np.ndarray | None:
        """The picture's opacity [H,W], from 0 to `white`; None where it has none."""
        has_alpha = self.native.shape[2] in (2, 4) and not self.converted_mode
        return self.native[..., -1] if has_alpha else None

    def hidden_share(self, hole: np.ndarray) -> float:
        """Share of the hole, bool [H,W], where the picture is fully transparent: what is filled in
        there is not to be seen."""
        if self.alpha is None or not hole.any():
            return 0.0
        return float(np.mean(self.alpha[hole] == 0))

    def resized(self, size: tuple[int, int]) -> "Picture":
        """The picture as RGB of another size, (width, height) in px, with its metadata."""
        made = Image.fromarray(self.pixels).resize(size, Image.Resampling.LANCZOS)
        made.info.update(pil_info(self.metadata, "RGB"))
        return replace(from_pil(made), metadata=self.metadata, notes=self.notes)

    def described(self) -> str:
        """Size and values in words, for messages about what a file holds."""
        width, height = self.size
        values = self.native.reshape(-1, self.native.shape[2])
        if values.dtype == np.uint8 and values.shape[1] > 1:  # one number each: quicker to sort
            codes = values.astype(np.uint32) @ (256 ** np.arange(values.shape[1], dtype=np.uint32))
            first = np.unique(codes, return_index=True)[1]
        else:
            first = np.unique(values, axis=0, return_index=True)[1]
        colors = sorted(tuple(color.tolist()) for color in values[first[: SHOWN_COLORS + 1]])
        if len(first) <= SHOWN_COLORS:
            what = "the values " if len(colors[0]) == 1 else "the colors "
            what += ", ".join(f"{c[0]:g}" if len(c) == 1 else str(c) for c in colors)
        else:
            channels = zip(values.min(axis=0).tolist(), values.max(axis=0).tolist())
            what = "values from " + ", ".join(f"{low:g} to {high:g}" for low, high in channels)
            what += " by channel" if values.shape[1] > 1 else ""
        return f"{width}x{height} px with {what}"

    def fill(self, rgb: np.ndarray | None, mask: np.ndarray) -> PictureLike:
        """The picture in its own kind and mode with `rgb` (float32 [H,W,3] in [0,1]) inside `mask`
        (bool [H,W]).

        Values outside the mask, and alpha everywhere, are the picture's own, bit for bit.
        """
        values = self.native.copy()
        rows = np.flatnonzero(mask.any(axis=1))
        if len(rows):
            part = slice(rows[0], rows[-1] + 1)
            hole, inside = mask[part], values[part]
            colors = np.clip(rgb[part][hole], 0, 1)
            if self.converted_mode:
                strip = Image.fromarray(_quantize(colors, np.dtype(np.uint8), 255)[None])
                inside[hole] = np.asarray(strip.convert(self.converted_mode))[0]
            elif values.shape[2] <= 2:
                luma = np.clip(colors @ LUMA, 0, 1)
                inside[hole, 0] = _quantize(luma, values.dtype, self.white)
            else:
                inside[hole, :3] = _quantize(colors, values.dtype, self.white)
        return self.restore(values)


def white_of(values: np.ndarray, ranged: bool = False) -> int:
    """The value that means white; `ranged`: the values are those of a Pillow picture, whose modes I
    and F have no fixed range."""
    if values.dtype.kind == "f":
        return 255 if ranged and values.max() > 1 else 1
    if values.dtype == np.int32:
        return 255 if values.max() <= 255 else 65535
    return {"b": 1, "u": 2 ** (8 * values.dtype.itemsize) - 1}[values.dtype.kind]


def _quantize(x: np.ndarray, dtype: np.dtype, white: float) -> np.ndarray:
    """Float in [0,1] -> [0,white] in dtype, rounded where it holds whole numbers."""
    scaled = x * white
    return (scaled if dtype.kind == "f" else np.rint(scaled)).astype(dtype)


def unit_values(values: np.ndarray, white: float) -> np.ndarray:
    """Native values -> float32 in [0,1]."""
    return np.clip(values.astype(np.float32) / white, 0, 1)


def _to_bytes(values: np.ndarray, white: float) -> np.ndarray:
    """Native values -> uint8 of the same shape, rounded."""
    if values.dtype == np.uint8:
        return values
    return np.rint(unit_values(values, white) * 255).astype(np.uint8)


def over_white(values: np.ndarray, white: float) -> np.ndarray:
    """Native values [H,W,1..4] -> uint8 RGB [H,W,3]."""
    data = _to_bytes(values, white)
    color = data[..., :3] if data.shape[2] >= 3 else np.repeat(data[..., :1], 3, axis=2)
    if data.shape[2] in (2, 4):
        alpha = data[..., -1:].astype(np.uint16)
        color = (color * alpha + 255 * (255 - alpha) + 127) // 255
    return np.ascontiguousarray(color, np.uint8)


def read_images(image: PictureLike | Picture) -> list[Picture]:
    """Pictures of whatever the user gave, in order; a Picture is taken as it is.

    Raises: TypeError for other types; ValueError for shapes, dtypes or ranges outside the contract,
        UnreadableImageError (one of these) for what cannot be decoded.
    """
    if isinstance(image, Picture):
        return [image]
    if isinstance(image, (list, tuple)):
        if not image:
            raise ValueError(f"image is an empty list; {EXPECTED}; pass at least one picture")
        return [picture for item in image for picture in read_images(item)]
    if isinstance(image, Image.Image):
        return [from_pil(image)]
    if isinstance(image, np.ndarray):
        return [_from_array(a) for a in _split(image)]
    if isinstance(image, torch.Tensor):
        return [_from_tensor(t) for t in _split(image)]
    raise TypeError(
        f"image is a {type(image).__name__} ({str(image)[:60]!r}); {EXPECTED}; open files with "
        "PIL.Image.open"
    )


def unreadable(error: Exception) -> UnreadableImageError:
    """The error to raise for a picture that Pillow failed to decode with `error`."""
    return UnreadableImageError(
        f"the picture cannot be decoded ({error or type(error).__name__}); expected a complete "
        "image file; save it again with another program"
    )


def from_pil(image: Image.Image, told: bool = False) -> Picture:
    """The Picture of a Pillow image. told: whoever opened the file says what Pillow does not read.

    Raises: UnreadableImageError, ValueError.
    """
    if 0 in image.size:
        raise ValueError(
            f"image has size {image.size}, expected at least 1x1 px; check how it was made"
        )
    if not told and (depth := stored_bits(image)) > 8:
        warnings.warn(
            f"the picture has {depth} bits a channel, of which Pillow reads 8; to keep them, give "
            "inpaint_hub.formats.open_picture(path) instead of PIL.Image.open(path)",
            stacklevel=2,
        )
    turns_itself = image.format == "TIFF"  # when it is loaded; its orientation is then forgotten
    orientation = orientation_of(image) if turns_itself else None
    try:
        image.load()
        orientation = orientation if turns_itself else orientation_of(image)
        metadata, readable = metadata_of(image, orientation)
    except Exception as error:  # Pillow's plugins raise a dozen classes for what they cannot read
        raise unreadable(error) from error
    notes = () if orientation and readable else ("its EXIF cannot be read and is left out",)
    if not turns_itself:
        image = upright(image, orientation)
    if image.mode.startswith("I;16"):  # whatever its byte order
        picture = _from_keyed_16_bit(image, metadata)
    else:
        picture = _from_any_mode(image, metadata)
    return replace(picture, orientation=orientation or 1, notes=notes)


def _from_any_mode(image: Image.Image, metadata: dict) -> Picture:
    if image.mode in KEYED_MODES and image.has_transparency_data:
        image = image.convert(KEYED_MODES[image.mode])
    if image.mode in CONVERTED_MODES:
        pixels, native = np.array(image.convert("RGB")), np.array(image)
        metadata = fitting(metadata, image.mode)
        make = _pil_maker(image.mode, metadata)
        return Picture(pixels, native, 255, make, image.mode, metadata=metadata)
    if image.mode not in NATIVE_MODES:
        image = image.convert(PLAIN_MODES.get(image.mode, "RGB"))
    metadata = fitting(metadata, image.mode)
    native = np.array(image)
    native = native[..., None] if native.ndim == 2 else native
    white = white_of(native, ranged=True)
    if native.dtype != np.int32:  # of an I picture, what exceeds 16 bits is kept and seen as white
        check_values(native, f"image of mode {image.mode}", white)
    make = _pil_maker(image.mode, metadata)
    return Picture(over_white(native, white), native, white, make, metadata=metadata)


def _from_keyed_16_bit(image: Image.Image, metadata: dict) -> Picture:
    """No Pillow mode has 16-bit gray and alpha, so a transparent value stays a note in info."""
    native = np.array(image).astype(np.uint16)[..., None]
    metadata, seen = fitting(metadata, "I;16"), native
    if "transparency" in image.info:
        metadata = metadata | {"transparency": image.info["transparency"]}
        seen = np.where(native == metadata["transparency"], np.uint16(65535), native)
    make = _pil_maker("I;16", metadata)
    return Picture(over_white(seen, 65535), native, 65535, make, metadata=metadata)


def _pil_maker(mode: str, metadata: dict) -> Callable:
    def make(values: np.ndarray) -> Image.Image:
        values = values[..., 0] if values.shape[2] == 1 else values
        if mode in CONVERTED_MODES:
            height, width = values.shape[:2]
            made = Image.frombytes(mode, (width, height), np.ascontiguousarray(values).tobytes())
        else:
            made = Image.fromarray(values)
        made.info.update(pil_info(metadata, mode))
        return made

    return make


def _split(values: Values) -> list[Values]:
    """A batch of pictures, of four dimensions, one by one; one picture as it is."""
    if values.ndim in (2, 3):
        return [values]
    if values.ndim == 4 and len(values):
        return list(values)
    kind = "an array" if isinstance(values, np.ndarray) else "a tensor"
    raise ValueError(f"image is {kind} of shape {tuple(values.shape)}; {EXPECTED}; reshape it")


def _from_array(array: np.ndarray) -> Picture:
    native = array[..., None] if array.ndim == 2 else array
    _check_array(native, array.shape, "channels last, [H,W,C]")

    def restore(values: np.ndarray) -> np.ndarray | torch.Tensor:
        return values[..., 0] if array.ndim == 2 else values

    white = white_of(native)
    return Picture(over_white(native, white), native, white, restore)


def _from_tensor(tensor: torch.Tensor) -> Picture:
    channels_first = tensor[None] if tensor.ndim == 2 else tensor
    half = tensor.dtype in (torch.bfloat16, torch.float16)
    native = channels_first.detach().cpu()
    native = (native.float() if half else native).permute(1, 2, 0).numpy()
    _check_array(native, tuple(tensor.shape), "channels first, [C,H,W]")

    def restore(values: np.ndarray) -> np.ndarray | torch.Tensor:
        back = torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))
        back = back.to(device=tensor.device, dtype=tensor.dtype)
        return back[0] if tensor.ndim == 2 else back

    white = white_of(native)
    return Picture(over_white(native, white), native, white, restore)


def _check_array(native: np.ndarray, shape: tuple, order: str) -> None:
    if 0 in native.shape:
        raise ValueError(
            f"image has shape {shape}, expected at least 1x1 px; {EXPECTED}; check how it was cut"
        )
    if native.shape[2] > 4:
        raise ValueError(
            f"image has shape {shape}, which reads as {native.shape[2]} channels; expected 1 to 4, "
            f"{order}; move the channel axis"
        )
    check_values(native, f"image of shape {shape}")


def check_values(native: np.ndarray, what: str, white: float = 1) -> None:
    if native.dtype.kind == "f":
        low, high = float(native.min()), float(native.max())
        if not (low >= 0 and high <= white):  # also catches NaN
            raise ValueError(
                f"{what} holds floats from {low:g} to {high:g}; expected [0,1] and no NaN; "
                "divide by 255, or map [-1,1] by (x + 1) / 2"
            )
    elif native.dtype not in (np.uint8, np.uint16, bool):
        raise ValueError(
            f"{what} has dtype {native.dtype}; expected uint8, uint16, bool or float in [0,1]; "
            "convert it first, as by astype(np.uint8) if it holds 0 to 255"
        )


def to_tensor(pixels: Sequence[np.ndarray]) -> torch.Tensor:
    """uint8 [N,s,s,3] (or a list of [s,s,3]) -> float [N,3,s,s] in [-1,1]."""
    stacked = torch.from_numpy(np.stack([np.ascontiguousarray(p) for p in pixels]))
    return stacked.permute(0, 3, 1, 2).float() / 127.5 - 1


def to_unit(images: torch.Tensor) -> np.ndarray:
    """Tensor [N,3,H,W] in [-1,1] -> float32 array [N,H,W,3], clipped to [0,1]."""
    unit = (images.detach().float() + 1) / 2
    return unit.clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()


def to_pixels(images: torch.Tensor) -> np.ndarray:
    """Tensor [N,3,H,W] in [-1,1] -> uint8 array [N,H,W,3], rounded."""
    return np.rint(to_unit(images) * 255).astype(np.uint8)


def write_pictures(
    filled: list, output_type: str, pictures: list[Picture]
) -> list | np.ndarray | torch.Tensor:
    """What Picture.fill returned, as users ask for it: output_type pil | np | pt | native.

    pictures: the Picture of each, which knows what value means white.

    "native": a list of what it is already, each of the kind that was given. "pil": PIL images.
    "np": float32 [N,H,W,C] in [0,1]; "pt": float32 [N,C,H,W] in [0,1]; C is 3, or 4 with alpha.
    Pictures of different shapes come as a list instead of a stack.

    Raises: ValueError for another output_type.
    """
    if output_type == "native":
        return list(filled)
    if output_type == "pil":
        return [
            f if isinstance(f, Image.Image) else Image.fromarray(_rgb(f, picture.white))
            for f, picture in zip(filled, pictures, strict=True)
        ]
    if output_type not in ("np", "pt"):
        raise ValueError(
            f"output_type is {output_type!r}, expected 'pil', 'np', 'pt', 'native' or 'latent'"
        )
    arrays = [_unit_rgb(f, p.white) for f, p in zip(filled, pictures, strict=True)]
    if output_type == "pt":
        arrays = [torch.from_numpy(np.ascontiguousarray(a.transpose(2, 0, 1))) for a in arrays]
    if len({a.shape for a in arrays}) > 1:
        return arrays
    return torch.stack(arrays) if output_type == "pt" else np.stack(arrays)


def _native_of(filled: PictureLike) -> np.ndarray:
    """The values [H,W,C] of what Picture.fill returned."""
    if isinstance(filled, Image.Image):
        color = filled.convert("RGB") if filled.mode in CONVERTED_MODES else filled
        values = np.array(color)
    elif isinstance(filled, torch.Tensor):
        filled = filled.float() if filled.dtype in (torch.bfloat16, torch.float16) else filled
        values = filled.cpu().numpy()
        values = np.moveaxis(values, 0, -1) if values.ndim == 3 else values
    else:
        values = filled
    return values[..., None] if values.ndim == 2 else values


def _as_color(values: np.ndarray) -> np.ndarray:
    """Gray [H,W,1 or 2] -> the same as RGB(A); others as they are."""
    if values.shape[2] >= 3:
        return values
    return np.concatenate([np.repeat(values[..., :1], 3, axis=2), values[..., 1:]], axis=2)


def _rgb(filled: PictureLike, white: float) -> np.ndarray:
    return np.ascontiguousarray(_to_bytes(_as_color(_native_of(filled)), white))


def _unit_rgb(filled: PictureLike, white: float) -> np.ndarray:
    return unit_values(_as_color(_native_of(filled)), white)
