"""THE contract: pictures and masks, from what users have to what networks read, and back.

Inside the package a picture is a tensor [N,3,H,W] in [-1,1], RGB, and a mask [N,1,H,W] in {0,1}, 1
= hole. Users give PIL images, numpy arrays [H,W], [H,W,C] or [N,H,W,C] (uint8, uint16, bool, or
float in [0,1]), torch tensors [H,W], [C,H,W] or [N,C,H,W] (uint8, or float in [0,1]), or lists of
these; a white mask pixel is repainted. Every value outside the mask comes back as it came.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageOps

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as Pillow converts RGB to L
CONVERTED_MODES = ("CMYK", "YCbCr", "HSV")  # kept in their own colour space, filled through Pillow
EXPECTED = (
    "expected a PIL image, a numpy array [H,W], [H,W,C] or [N,H,W,C], a torch tensor [H,W], "
    "[C,H,W] or "
    "[N,C,H,W], or a list of these"
)


@dataclass(frozen=True)
class Picture:
    """One upright picture.

    pixels: uint8 [H,W,3], RGB over white where it was transparent: what the networks see.
    native: the picture's own values [H,W,C]; restore: makes the user's kind of object from such
    values.
    """

    pixels: np.ndarray
    native: np.ndarray
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
        if mask.any():
            colours = np.clip(rgb[mask], 0, 1)
            if self.converted_mode:
                strip = Image.fromarray(_quantise(colours, np.dtype(np.uint8))[None])
                values[mask] = np.asarray(strip.convert(self.converted_mode))[0]
            elif values.shape[2] <= 2:
                values[mask, 0] = _quantise(colours @ LUMA, values.dtype)
            else:
                values[mask, :3] = _quantise(colours, values.dtype)
        return self.restore(values)


def _quantise(x, dtype):
    """Float in [0,1] -> dtype's own range, rounded."""
    if dtype.kind == "b":
        return x >= 0.5
    if dtype.kind == "f":
        return x.astype(dtype)
    top = 255 if dtype == np.uint8 else 65535
    return np.clip(np.rint(x * top), 0, top).astype(dtype)


def _to_bytes(values):
    """Native values -> uint8 of the same shape, rounded."""
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind == "b":
        return values.astype(np.uint8) * 255
    if values.dtype.kind == "f":
        return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return np.rint(np.clip(values, 0, 65535) / 257).astype(np.uint8)


def _over_white(values):
    """Native values [H,W,1..4] -> uint8 RGB [H,W,3]."""
    data = _to_bytes(values)
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
            f"image has size {image.size}, expected at least 1x1 px; is the file empty?"
        )
    try:
        image = ImageOps.exif_transpose(image)
    except OSError as error:
        raise ValueError(
            f"the picture cannot be decoded ({error}); expected a complete image file; "
            "save it again with another program"
        ) from error
    info = {k: v for k, v in image.info.items() if k in ("icc_profile", "dpi")}
    if "transparency" in image.info:
        image = image.convert("LA" if image.mode == "L" else "RGBA")
    if image.mode in CONVERTED_MODES:
        pixels, native, converted = np.array(image.convert("RGB")), np.array(image), image.mode
        return Picture(pixels, native, _pil_maker(image.mode, info), converted)
    if image.mode.startswith("I;16"):  # whatever its byte order
        image = Image.fromarray(np.array(image).astype(np.uint16))
    kept = ("L", "LA", "RGB", "RGBA", "I", "F", "I;16")
    if image.mode not in kept:
        plain = {"1": "L", "PA": "RGBA", "La": "LA", "RGBa": "RGBA"}
        image = image.convert(plain.get(image.mode, "RGB"))
    native = np.array(image)
    native = native[..., None] if native.ndim == 2 else native
    _check_values(native, f"image of mode {image.mode}")
    return Picture(_over_white(native), native, _pil_maker(image.mode, info))


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
    """[H,W], [H,W,C] or [N,H,W,C] -> list of [H,W,C], each with a maker that drops an added
    axis."""
    if array.ndim == 2:
        return [array]
    if array.ndim == 3:
        return [array]
    if array.ndim == 4 and len(array):
        return list(array)
    raise ValueError(f"image is an array of shape {array.shape}; {EXPECTED}")


def _from_array(array):
    native = array[..., None] if array.ndim == 2 else array
    _check_array(native, array.shape, "channels last, [H,W,C]", native.shape[2])

    def restore(values):
        return values[..., 0] if array.ndim == 2 else values

    return Picture(_over_white(native), native, restore)


def _split_tensor(tensor):
    if tensor.ndim in (2, 3):
        return [tensor]
    if tensor.ndim == 4 and len(tensor):
        return list(tensor)
    raise ValueError(f"image is a tensor of shape {tuple(tensor.shape)}; {EXPECTED}")


def _from_tensor(tensor):
    channels_first = tensor[None] if tensor.ndim == 2 else tensor
    half = tensor.dtype in (torch.bfloat16, torch.float16)
    native = channels_first.detach().cpu()
    native = (native.float() if half else native).permute(1, 2, 0).numpy()
    shape = tuple(tensor.shape)
    _check_array(native, shape, "channels first, [C,H,W]", native.shape[2])

    def restore(values):
        back = torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))
        back = back.to(device=tensor.device, dtype=tensor.dtype)
        return back[0] if tensor.ndim == 2 else back

    return Picture(_over_white(native), native, restore)


def _check_array(native, shape, order, channels):
    if 0 in native.shape:
        raise ValueError(f"image has shape {shape}, expected at least 1x1 px; {EXPECTED}")
    if channels not in (1, 2, 3, 4):
        raise ValueError(
            f"image has shape {shape}, which reads as {channels} channels; expected 1 to 4, "
            f"{order}; "
            "move the channel axis"
        )
    _check_values(native, f"image of shape {shape}")


def _check_values(native, what):
    if native.dtype.kind == "f":
        low, high = float(native.min()), float(native.max())
        if not (low >= 0 and high <= 1):  # also catches NaN
            raise ValueError(
                f"{what} holds floats from {low:g} to {high:g}; expected [0,1] and no NaN; "
                "divide by 255, or map [-1,1] by (x + 1) / 2"
            )
    elif native.dtype not in (np.uint8, np.uint16, np.int32, bool):
        raise ValueError(
            f"{what} has dtype {native.dtype}; expected uint8, uint16, bool or float in [0,1]; "
            "convert it first"
        )


def read_masks(mask_image, pictures, invert=False):
    """One bool [H,W] (True = hole) for each of `pictures`, at its size.

    White repaints (`invert`: black does). One mask serves all pictures. Grey is cut at one half
    after a mask of another size has been resized. Transparent masks whose colours are all the same
    are read from their alpha. Integer arrays of 0 and 1 count as booleans.

    Raises: TypeError, ValueError for what is no mask, or for a wrong number of masks.
    """
    masks = list(_mask_values(mask_image))
    if len(masks) == 1:
        masks *= len(pictures)
    if len(masks) != len(pictures):
        raise ValueError(
            f"mask_image holds {len(masks)} masks for {len(pictures)} pictures; expected one for "
            f"all or "
            "one for each; check the two lists"
        )
    holes = []
    for values, picture in zip(masks, pictures):
        if values.shape[::-1] != picture.size:
            resized = Image.fromarray(values).resize(picture.size, Image.Resampling.BILINEAR)
            values = np.asarray(resized)
        hole = values >= 0.5
        holes.append(~hole if invert else hole)
    return holes


def _mask_values(mask):
    """Float32 [H,W] in [0,1] for every mask given."""
    if isinstance(mask, (list, tuple)):
        if not mask:
            raise ValueError("mask_image is an empty list; expected at least one mask")
        for item in mask:
            yield from _mask_values(item)
    elif isinstance(mask, Image.Image):
        picture = _from_pil(mask)
        yield _single_channel(picture.native if not picture.converted_mode else picture.pixels)
    elif isinstance(mask, np.ndarray):
        stacked = mask.ndim == 4 or (mask.ndim == 3 and mask.shape[2] > 4)
        for item in mask if stacked else [mask]:
            yield _single_channel(item[..., None] if item.ndim == 2 else item)
    elif isinstance(mask, torch.Tensor):
        mask = mask.detach().cpu()
        mask = mask.float() if mask.is_floating_point() else mask
        stacked = mask.ndim == 4 or (mask.ndim == 3 and mask.shape[0] > 4)
        for item in mask if stacked else [mask]:
            item = item[None] if item.ndim == 2 else item
            yield _single_channel(item.permute(1, 2, 0).numpy())
    else:
        raise TypeError(
            f"mask_image is a {type(mask).__name__}; {EXPECTED}, white (or 1, or True) where the "
            "picture is to be repainted"
        )


def _single_channel(values):
    if values.ndim != 3 or 0 in values.shape or values.shape[2] > 4:
        raise ValueError(
            f"mask_image has shape {values.shape}, expected [H,W] or [H,W,C] of at least 1x1 px "
            f"and at "
            "most 4 channels; pass one mask per picture"
        )
    if values.dtype.kind in "iu" and values.max() <= 1:
        values = values.astype(bool)
    elif values.dtype.kind == "i":
        values = values.astype(np.uint8 if values.max() <= 255 else np.uint16)
    _check_values(values, "mask_image")
    unit = _to_bytes(values).astype(np.float32) / 255
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
    """Values [H,W,C] of what Picture.fill returned."""
    if isinstance(filled, Image.Image):
        if filled.mode in CONVERTED_MODES:
            filled = filled.convert("RGB")
        filled = np.array(filled)
    elif isinstance(filled, torch.Tensor):
        filled = filled if filled.ndim == 3 else filled[None]
        filled = filled.float() if filled.is_floating_point() else filled
        filled = filled.cpu().permute(1, 2, 0).numpy()
    return filled[..., None] if filled.ndim == 2 else filled


def _as_colour(values):
    """Grey [H,W,1 or 2] -> the same as RGB(A); others as they are."""
    if values.shape[2] >= 3:
        return values
    return np.concatenate([np.repeat(values[..., :1], 3, axis=2), values[..., 1:]], axis=2)


def _rgb(filled):
    return np.ascontiguousarray(_to_bytes(_as_colour(_native_of(filled))))


def _unit_rgb(filled):
    values = _as_colour(_native_of(filled))
    if values.dtype.kind == "f":
        return values.astype(np.float32)
    if values.dtype.kind == "b":
        return values.astype(np.float32)
    return values.astype(np.float32) / (255 if values.dtype == np.uint8 else 65535)
