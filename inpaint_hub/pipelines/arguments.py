"""What a pipeline may be called with."""

import warnings
from numbers import Integral, Real

import numpy as np
import torch

from inpaint_hub.blending import BLENDS
from inpaint_hub.images import Picture, PictureLike
from inpaint_hub.texture import TEXTURES

MOST_CONTEXT = 100  # times a hole's size: beyond lies the whole picture
OUTPUT_TYPES = ("pil", "np", "pt", "native", "latent")
NOISE_MODES = (None, "const", "random", "none")
CHOICES = {
    "output_type": OUTPUT_TYPES,
    "noise_mode": NOISE_MODES,
    "blend": (None, *BLENDS),
    "texture": TEXTURES,
}
LOWEST = {
    "height": 1,
    "width": 1,
    "padding_mask_crop": 0,
    "num_images_per_prompt": 1,
    "mask_dilate": 0,
    "mask_blur": 0,
}


def check_arguments(arguments: dict) -> None:
    """Raises: ValueError, TypeError that name the argument of __call__ and what it was."""
    if (arguments["height"] is None) != (arguments["width"] is None):
        raise ValueError(
            f"height={arguments['height']}, width={arguments['width']}: give both or neither"
        )
    for name, least in LOWEST.items():
        value = arguments[name]
        if value is None and name in ("height", "width", "padding_mask_crop"):
            continue
        if not isinstance(value, Integral) or value < least:
            raise ValueError(f"{name} is {value!r}, expected a whole number of at least {least}")
    context = arguments["context"]
    if context is not None:
        if not isinstance(context, Real) or not 0 <= context <= MOST_CONTEXT:
            raise ValueError(
                f"context is {context!r}, expected a number from 0 to {MOST_CONTEXT}: how many "
                "times a hole's own size to show on each of its sides"
            )
        if arguments["padding_mask_crop"] is not None:
            raise ValueError(
                f"padding_mask_crop={arguments['padding_mask_crop']} and context={context} "
                "both say how much to cut out around a hole; give one of them"
            )
    for name in ("variation", "truncation_psi"):
        share = arguments.get(name, 1.0)
        if not isinstance(share, Real) or not 0 <= share <= 1:
            raise ValueError(f"{name} is {share!r}, expected a number from 0 to 1")
    for name, choices in CHOICES.items():
        if arguments[name] not in choices:
            raise ValueError(f"{name} is {arguments[name]!r}, expected one of {choices}")
    generator = arguments["generator"]
    for one in generator if isinstance(generator, (list, tuple)) else [generator]:
        if not isinstance(one, torch.Generator) and generator is not None:
            raise TypeError(
                f"generator is {generator!r}, expected a torch.Generator or a list of them; "
                "make one with torch.Generator().manual_seed(0)"
            )
    latents = arguments["latents"]
    if latents is not None and not hasattr(latents, "ws"):
        raise TypeError(
            f"latents is a {type(latents).__name__}, expected an FWLatent; "
            "get one with output_type='latent'"
        )


def chosen_noise(
    noise_mode: str | None, samples: int, generator: torch.Generator | list | None
) -> str:
    """The noise mode of a call: where none is given, random when several results or a generator are
    asked for, else const."""
    if noise_mode is not None:
        return noise_mode
    return "random" if samples > 1 or generator is not None else "const"


def warn_of_hidden(given: PictureLike, pictures: list[Picture], holes: list[np.ndarray]) -> None:
    """Warn where a fill will not be seen; who opened a file (as a Picture) says it there."""
    if isinstance(given[0] if isinstance(given, list) and given else given, Picture):
        return
    for index, pair in enumerate(zip(pictures, holes)):
        if hidden := Picture.hidden_share(*pair):
            warnings.warn(
                f"{hidden:.0%} of the hole in picture {index} is fully transparent: the fill is "
                'there, but not to be seen; give image.convert("RGB") to see it',
                stacklevel=4,
            )
