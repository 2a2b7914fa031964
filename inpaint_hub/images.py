"""THE contract: pictures and masks, from what users have to what networks read, and back.

Inside the package a picture is a tensor [N,3,H,W] in [-1,1], RGB, and a mask [N,1,H,W] in {0,1}, 1
= hole. Users give PIL images, numpy arrays [H,W], [H,W,C] or [N,H,W,C] (uint8, uint16, bool, or
float in [0,1]), torch tensors [H,W], [C,H,W] or [N,C,H,W] (uint8, or float in [0,1]), or lists of
these; a white mask pixel is repainted. Every value outside the mask comes back as it came.

Pillow's modes I and F have no fixed range. White is 255 in an I picture whose values all lie below
256, else 65535; it is 1 in an F picture whose values all lie in [0,1], else 255 (as convert("F")
makes them).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageOps

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as Pillow converts RGB to L
CONVERTED_MODES = (
    "CMYK",
    "YCbCr",
    "HSV",
    "LAB",
)  # kept in their own colour space, filled through Pillow
NATIVE_MODES = ("L", "LA", "RGB", "RGBA", "I", "F", "I;16")  # filled as they are
KEYED_MODES = {"1": "LA", "L": "LA", "P": "RGBA", "RGB": "RGBA"}  # one value may be transparent
PLAIN_MODES = {"1": "L", "PA": "RGBA", "La": "LA", "RGBa": "RGBA"}  # all others become RGB
EXPECTED = (
    "expected a PIL image, a numpy array [H,W], [H,W,C] or [N,H,W,C], a torch tensor [H,W], "
    "[C,H,W] or [N,C,H,W], or a list of these"
)


@dataclass(frozen=True)
class Picture:
    """One upright picture.

    pixels: uint8 [H,W,3], RGB over white where it was transparent: what the networks see.
    native: the picture's own values [H,W,C]; white: the value among them that means white;
    restore: makes the user's kind of object from such values; converted_mode: the Pillow mode of a
    colour space that fills are converted to.
    """

    pixels: np.ndarray
    native: np.ndarray
    white: int
    restore: Callable
    converted_mode: str | None = None

    @property
    def size(self):
        """(width, height) in px."""
        return self.pixels.shape[1], self.pixels.shape[0]

    def fill(self, rgb, mask):
        """The picture in its own kind and mode with `rgb` (float32 [H,W,3] in [0,1]) inside `mask`
        (bool [H,W]).

        Values outside the mask, and alpha everywhere, are the picture's own, bit for bit.
        """
        values = self.native.copy()
        rows = np.flatnonzero(mask.any(axis=1))
        if len(rows):
            part = slice(rows[0], rows[-1] + 1)
            hole, inside = mask[part], values[part]
            colours = np.clip(rgb[part][hole], 0, 1)
            if self.converted_mode:
                strip = Image.fromarray(_quantise(colours, np.dtype(np.uint8), 255)[None])
                inside[hole] = np.asarray(strip.convert(self.converted_mode))[0]
            elif values.shape[2] <= 2:
                luma = np.clip(colours @ LUMA, 0, 1)
                inside[hole, 0] = _quantise(luma, values.dtype, self.white)
            else:
                inside[hole, :3] = _quantise(colours, values.dtype, self.white)
        return self.restore(values)


def _white_of(values, ranged=False):
    """The value that means white; `ranged`: the values are those of a Pillow picture, whose modes I
    and F have no fixed range."""
    if values.dtype.kind == "f":
        return 255 if ranged and values.max() > 1 else 1
    if values.dtype == np.int32:
        return 255 if values.max() <= 255 else 65535
    return {"b": 1, "u": 2 ** (8 * values.dtype.itemsize) - 1}[values.dtype.kind]


def _quantise(x, dtype, white):
    """Float in [0,1] -> [0,white] in dtype, rounded where it holds whole numbers."""
    scaled = x * white
    return (scaled if dtype.kind == "f" else np.rint(scaled)).astype(dtype)


def _to_unit(values, white):
    """Native values -> float32 in [0,1]."""
    return np.clip(values.astype(np.float32) / white, 0, 1)


def _to_bytes(values, white):
    """Native values -> uint8 of the same shape, rounded."""
    if values.dtype == np.uint8:
        return values
    return np.rint(_to_unit(values, white) * 255).astype(np.uint8)


def _over_white(values, white):
    """Native values [H,W,1..4] -> uint8 RGB [H,W,3]."""
    data = _to_bytes(values, white)
    colour = data[..., :3] if data.shape[2] >= 3 else np.repeat(data[..., :1], 3, axis=2)
    if data.shape[2] in (2, 4):
        alpha = data[..., -1:].astype(np.uint16)
        colour = (colour * alpha + 255 * (255 - alpha) + 127) // 255
    return np.ascontiguousarray(colour, np.uint8)


def read_images(image):
    """Pictures of whatever the user gave, in order.

    Raises: TypeError for other types; ValueError for shapes, dtypes or ranges outside the contract.
    """
    if isinstance(image, (list, tuple)):
        if not image:
            raise ValueError(f"image is an empty list; {EXPECTED}; pass at least one picture")
        return [picture for item in image for picture in read_images(item)]
    if isinstance(image, Image.Image):
        return [_from_pil(image)]
    if isinstance(image, np.ndarray):
        return [_from_array(a) for a in _split_array(image)]
    if isinstance(image, torch.Tensor):
        return [_from_tensor(t) for t in _split_tensor(image)]
    raise TypeError(
        f"image is a {type(image).__name__} ({str(image)[:60]!r}); {EXPECTED}; open files with "
        "PIL.Image.open"
    )


def _from_pil(image):
    if 0 in image.size:
        raise ValueError(
            f"image has size {image.size}, expected at least 1x1 px; check how it was made"
        )
    try:
        image = ImageOps.exif_transpose(image)
    except OSError as error:
        raise ValueError(
            f"the picture cannot be decoded ({error}); expected a complete image file; "
            "save it again with another program"
        ) from error
    info = {k: v for k, v in image.info.items() if k in ("icc_profile", "dpi")}
    if image.mode.startswith("I;16"):  # whatever its byte order
        return _from_keyed_16_bit(image, info)
    if image.mode in KEYED_MODES and image.has_transparency_data:
        image = image.convert(KEYED_MODES[image.mode])
    if image.mode in CONVERTED_MODES:
        pixels, native = np.array(image.convert("RGB")), np.array(image)
        return Picture(pixels, native, 255, _pil_maker(image.mode, info), image.mode)
    if image.mode not in NATIVE_MODES:
        image = image.convert(PLAIN_MODES.get(image.mode, "RGB"))
    native = np.array(image)
    native = native[..., None] if native.ndim == 2 else native
    white = _white_of(native, ranged=True)
    if native.dtype != np.int32:  # of an I picture, what exceeds 16 bits is kept and seen as white
        _check_values(native, f"image of mode {image.mode}", white)
    return Picture(_over_white(native, white), native, white, _pil_maker(image.mode, info))


def _from_keyed_16_bit(image, info):
    """No Pillow mode has 16-bit grey and alpha, so a transparent value stays a note in info."""
    native = np.array(image).astype(np.uint16)[..., None]
    seen = native
    if "transparency" in image.info:
        info["transparency"] = image.info["transparency"]
        seen = np.where(native == info["transparency"], np.uint16(65535), native)
    return Picture(_over_white(seen, 65535), native, 65535, _pil_maker("I;16", info))


def _pil_maker(mode, info):
    def make(values):
        values = values[..., 0] if values.shape[2] == 1 else values
        if mode in CONVERTED_MODES:
            height, width = values.shape[:2]
            made = Image.frombytes(mode, (width, height), np.ascontiguousarray(values).tobytes())
        else:
            made = Image.fromarray(values)
        made.info.update(info)
        return made

    return make


def _split_array(array):
    """[H,W], [H,W,C] or [N,H,W,C] -> list of [H,W] or [H,W,C]."""
    if array.ndim in (2, 3):
        return [array]
    if array.ndim == 4 and len(array):
        return list(array)
    raise ValueError(f"image is an array of shape {array.shape}; {EXPECTED}; reshape it")


def _from_array(array):
    native = array[..., None] if array.ndim == 2 else array
    _check_array(native, array.shape, "channels last, [H,W,C]")

    def restore(values):
        return values[..., 0] if array.ndim == 2 else values

    white = _white_of(native)
    return Picture(_over_white(native, white), native, white, restore)


def _split_tensor(tensor):
    if tensor.ndim in (2, 3):
        return [tensor]
    if tensor.ndim == 4 and len(tensor):
        return list(tensor)
    raise ValueError(f"image is a tensor of shape {tuple(tensor.shape)}; {EXPECTED}; reshape it")


def _from_tensor(tensor):
    channels_first = tensor[None] if tensor.ndim == 2 else tensor
    half = tensor.dtype in (torch.bfloat16, torch.float16)
    native = channels_first.detach().cpu()
    native = (native.float() if half else native).permute(1, 2, 0).numpy()
    _check_array(native, tuple(tensor.shape), "channels first, [C,H,W]")

    def restore(values):
        back = torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))
        back = back.to(device=tensor.device, dtype=tensor.dtype)
        return back[0] if tensor.ndim == 2 else back

    white = _white_of(native)
    return Picture(_over_white(native, white), native, white, restore)


def _check_array(native, shape, order):
    if 0 in native.shape:
        raise ValueError(
            f"image has shape {shape}, expected at least 1x1 px; {EXPECTED}; check how it was cut"
        )
    if native.shape[2] > 4:
        raise ValueError(
            f"image has shape {shape}, which reads as {native.shape[2]} channels; expected 1 to 4, "
            f"{order}; move the channel axis"
        )
    _check_values(native, f"image of shape {shape}")


def _check_values(native, what, white=1):
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


def read_masks(mask_image, pictures, invert=False):
    """One bool [H,W] (True = hole) for each of `pictures`, at its size.

    White repaints (`invert`: black does). One mask serves all pictures. Grey is cut at one half
    after a mask of another size has been resized. Transparent masks whose colours are all the same
    are read from their alpha. Integers that are all 0 or 1 count as booleans. An array [N,H,W] is
    one mask for each of N pictures; where [N,H,W] could also be channels, the pictures decide.

    Raises: TypeError, ValueError for what is no mask, or for a wrong number of masks.
    """
    masks = list(_mask_values(mask_image, pictures))
    if len(masks) == 1:
        masks *= len(pictures)
    if len(masks) != len(pictures):
        raise ValueError(
            f"mask_image holds {len(masks)} masks for {len(pictures)} pictures; expected one for "
            "all or one for each; check the two lists"
        )
    holes = []
    for values, picture in zip(masks, pictures):
        if values.shape[::-1] != picture.size:
            resized = Image.fromarray(values).resize(picture.size, Image.Resampling.BILINEAR)
            values = np.asarray(resized)
        hole = values >= 0.5
        holes.append(~hole if invert else hole)
    return holes


def _mask_values(mask, pictures):
    """Float32 [H,W] in [0,1] for every mask given."""
    if isinstance(mask, (list, tuple)):
        if not mask:
            raise ValueError(
                "mask_image is an empty list; expected one mask for all pictures or one for each; "
                "pass at least one"
            )
        for item in mask:
            yield from _mask_values(item, pictures)
    elif isinstance(mask, Image.Image):
        picture = _from_pil(mask)
        yield _single_channel(
            picture.pixels if picture.converted_mode else picture.native, picture.white
        )
    elif isinstance(mask, np.ndarray):
        size = pictures[0].size[::-1]
        stacked = mask.ndim == 3 and (
            mask.shape[2] > 4 or (mask.shape[1:] == size and mask.shape[:2] != size)
        )
        for item in mask if stacked or mask.ndim == 4 else [mask]:
            yield _single_channel(item[..., None] if item.ndim == 2 else item)
    elif isinstance(mask, torch.Tensor):
        mask = mask.detach().cpu()
        mask = mask.float() if mask.is_floating_point() else mask
        stacked = mask.ndim == 3 and (len(mask) > 4 or len(mask) == len(pictures))
        for item in mask if stacked or mask.ndim == 4 else [mask]:
            item = item.numpy()
            yield _single_channel(item[..., None] if item.ndim == 2 else np.moveaxis(item, 0, -1))
    else:
        raise TypeError(
            f"mask_image is a {type(mask).__name__} ({str(mask)[:60]!r}); {EXPECTED}, white (or 1, "
            "or True) where the picture is to be repainted; open files with PIL.Image.open"
        )


def _single_channel(values, white=None):
    """[H,W,1..4] -> float32 [H,W] in [0,1]; `white` is given for what has been checked already."""
    if values.ndim != 3 or 0 in values.shape or values.shape[2] > 4:
        raise ValueError(
            f"mask_image has shape {values.shape}, expected [H,W] or [H,W,C] of at least 1x1 px "
            "and at most 4 channels; pass one mask per picture"
        )
    if values.dtype.kind in "iu":
        low, high = int(values.min()), int(values.max())
        if white is None and (low < 0 or high > 65535):
            raise ValueError(
                f"mask_image holds whole numbers from {low} to {high}; expected 0 and 1, 0 to 255, "
                "or 0 to 65535; pass (mask != 0) if all others mean the hole"
            )
        if high <= 1:
            values, white = values > 0, 1
        elif white is None and values.dtype not in (np.uint8, np.uint16):
            values = values.astype(np.uint8 if high <= 255 else np.uint16)
    if white is None:
        _check_values(values, "mask_image")
        white = _white_of(values)
    unit = _to_unit(values, white)
    if values.shape[2] in (2, 4):
        colour, alpha = unit[..., :-1], unit[..., -1]
        if np.ptp(colour.reshape(-1, colour.shape[2]), axis=0).max() == 0 and np.ptp(alpha) > 0:
            return alpha
        unit = colour * alpha[..., None]
    return unit @ LUMA if unit.shape[2] == 3 else unit[..., 0]


def to_tensor(pixels):
    """uint8 [N,s,s,3] (or a list of [s,s,3]) -> float [N,3,s,s] in [-1,1]."""
    stacked = torch.from_numpy(np.stack([np.ascontiguousarray(p) for p in pixels]))
    return stacked.permute(0, 3, 1, 2).float() / 127.5 - 1


def to_unit(images):
    """Tensor [N,3,H,W] in [-1,1] -> float32 array [N,H,W,3], clipped to [0,1]."""
    unit = (images.detach().float() + 1) / 2
    return unit.clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()


def to_pixels(images):
    """Tensor [N,3,H,W] in [-1,1] -> uint8 array [N,H,W,3], rounded."""
    return np.rint(to_unit(images) * 255).astype(np.uint8)


def write_pictures(filled, output_type):
    """What Picture.fill returned, as users ask for it: output_type pil | np | pt.

    "pil": PIL images. "np": float32 [N,H,W,C] in [0,1]; "pt": float32 [N,C,H,W] in [0,1]; C is 3,
    or 4 with alpha. Pictures of different shapes come as a list instead of a stack.

    Raises: ValueError for another output_type.
    """
    if output_type == "pil":
        return [f if isinstance(f, Image.Image) else Image.fromarray(_rgb(f)) for f in filled]
    if output_type not in ("np", "pt"):
        raise ValueError(f"output_type is {output_type!r}, expected 'pil', 'np', 'pt' or 'latent'")
    arrays = [_unit_rgb(f) for f in filled]
    if output_type == "pt":
        arrays = [torch.from_numpy(np.ascontiguousarray(a.transpose(2, 0, 1))) for a in arrays]
    if len({a.shape for a in arrays}) > 1:
        return arrays
    return torch.stack(arrays) if output_type == "pt" else np.stack(arrays)


def _native_of(filled):
    """(values [H,W,C], the value that means white) of what Picture.fill returned."""
    if isinstance(filled, Image.Image):
        ranged = filled.mode in ("I", "F")
        colour = filled.convert("RGB") if filled.mode in CONVERTED_MODES else filled
        values = np.array(colour)
    elif isinstance(filled, torch.Tensor):
        ranged = False
        filled = filled.float() if filled.dtype in (torch.bfloat16, torch.float16) else filled
        values = filled.cpu().numpy()
        values = np.moveaxis(values, 0, -1) if values.ndim == 3 else values
    else:
        values, ranged = filled, False
    return values[..., None] if values.ndim == 2 else values, _white_of(values, ranged)


def _as_colour(values):
    """Grey [H,W,1 or 2] -> the same as RGB(A); others as they are."""
    if values.shape[2] >= 3:
        return values
    return np.concatenate([np.repeat(values[..., :1], 3, axis=2), values[..., 1:]], axis=2)


def _rgb(filled):
    values, white = _native_of(filled)
    return np.ascontiguousarray(_to_bytes(_as_colour(values), white))


def _unit_rgb(filled):
    values, white = _native_of(filled)
    return _to_unit(_as_colour(values), white)
