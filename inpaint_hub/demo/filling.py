"""One request: checked settings, the pipeline's call, and what can be said of it."""

import time
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from inpaint_hub import provenance
from inpaint_hub.blending import BLENDS
from inpaint_hub.crops import bounding_box
from inpaint_hub.demo import zero_gpu
from inpaint_hub.demo.photos import Refusal, check_budget
from inpaint_hub.images import read_images
from inpaint_hub.texture import TEXTURES

MAX_RESULTS = 8
MAX_SEED = 2**32 - 1
CROP_PADDING_PX = 32
WHOLE_PIXELS = 12_500_000  # larger photos go through the pipeline as the part around their holes
SURROUNDINGS = 1.5  # of that part on each side of the holes, in hole sides
LEAST_SURROUNDINGS_PX = 768
SEAMS = [  # what is shown, the pipelines' `blend`
    ("Match colors (Gaussian-Poisson)", "gp"),
    ("Continue gradients (Poisson)", "poisson"),
    ("Band by band (Laplacian pyramid)", "laplacian"),
    ("Leave as it is", "none"),
]
TEXTURE_NAMES = [  # what is shown, the pipelines' `texture`
    ("Choose the best (slower)", "auto"),
    ("The photo's own patches", "patches"),
    ("The network's fill, with the photo's detail", "detail"),
    ("The network's fill alone", "none"),
]


@dataclass(frozen=True)
class Settings:
    """What a visitor can set, as they gave it; `checked` says whether it can be done."""

    seed: int = 0
    results: int = 1
    variation: float = 0.0
    around_holes: bool = False
    soft_seam: int = 0
    seam: str = "gp"
    texture: str = "auto"

    def checked(self):
        """The settings as whole numbers and floats in their ranges.

        Raises: Refusal that says what to type instead.
        """
        seed = whole("seed", self.seed, 0, MAX_SEED)
        results = whole("number of results", self.results, 1, MAX_RESULTS)
        soft_seam = whole("soft seam", self.soft_seam, 0, 256)
        try:
            variation = float(self.variation)
        except (TypeError, ValueError):
            variation = -1.0
        if not 0 <= variation <= 1:
            raise Refusal(f"The variation is {self.variation!r}: give a number from 0 to 1.")
        if self.seam not in BLENDS:
            raise Refusal(f"The seam is {self.seam!r}: choose one of {', '.join(BLENDS)}.")
        if self.texture not in TEXTURES:
            raise Refusal(f"The texture is {self.texture!r}: choose one of {', '.join(TEXTURES)}.")
        return replace(self, seed=seed, results=results, variation=variation, soft_seam=soft_seam)


def whole(what, value, low, high):
    """The value as a whole number in [low, high]; Raises: Refusal otherwise."""
    try:
        number = int(value)
        if number != float(value):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        number = None
    if number is None or not low <= number <= high:
        given = "empty" if value is None or value == "" else f"{value}"[:40]
        raise Refusal(f"The {what} is {given}: give a whole number from {low} to {high}.")
    return number


class Result(NamedTuple):
    """image: PIL, the photo's own mode and size; seed: that makes it again; seconds it took;
    routes: sentences, where each hole was sent; textures: what was chosen for its crops; notes: see
    inpaint_hub.provenance."""

    image: Image.Image
    seed: int
    seconds: float
    routes: list
    textures: list
    notes: dict


def options_for(settings):
    """Arguments of the pipelines' call but the pictures and the generator."""
    options = {
        "variation": settings.variation,
        "mask_blur": settings.soft_seam,
        "blend": settings.seam,
        "texture": settings.texture,
    }
    if settings.around_holes:
        options["padding_mask_crop"] = CROP_PADDING_PX
    return options


def fill(pipe, image, hole, settings, revision=None, only_part=True):
    """Yields a Result for each of settings.results; a result does not depend on the others.

    image: PIL of any mode; hole: bool [H,W]. Large photos are cut to the part around the holes
    first (`only_part`), and that is put back: what is filled has the photo's own resolution.

    Raises: Refusal.
    """
    check_budget(image.size, settings.results)
    box = None
    if only_part and hole.size > WHOLE_PIXELS and hole.any():
        box = part_around(hole)
    part, part_hole = image, hole
    if box is not None:
        left, top, right, bottom = box
        part, part_hole = image.crop(box), hole[top:bottom, left:right]
    mask = Image.fromarray(part_hole.astype(np.uint8) * 255)
    options = options_for(settings)
    for index in range(settings.results):
        start = time.perf_counter()
        seed = (settings.seed + index) % (MAX_SEED + 1)
        try:
            images, told, chosen = zero_gpu.call(pipe, part, mask, seed, **options)
        except (TypeError, ValueError) as error:
            raise Refusal(str(error)) from error
        except (MemoryError, torch.OutOfMemoryError) as error:
            raise Refusal(
                "There is not enough memory for a photo of this size here: reduce it, or ask for "
                "fewer results."
            ) from error
        filled = images[0]
        if box is not None:
            filled = put_back(image, filled, box)
        routes = route_sentences(told)
        textures = sorted({choice for choice, _ in (chosen or [[]])[0]})
        notes = provenance.describe(
            pipe,
            revision=revision,
            seed=seed,
            coverage=hole.mean(),
            routes=routes or None,
            textures=textures or None,
            **options,
        )
        yield Result(filled, seed, time.perf_counter() - start, routes, textures, notes)


def part_around(hole):
    """(left, top, right, bottom) of the holes with enough around them, inside the picture."""
    height, width = hole.shape
    left, top, right, bottom = bounding_box(hole)
    around = max(SURROUNDINGS * max(right - left, bottom - top), LEAST_SURROUNDINGS_PX)
    around = int(around)
    return (
        max(left - around, 0),
        max(top - around, 0),
        min(right + around, width),
        min(bottom + around, height),
    )


def put_back(image, part, box):
    """The picture with the filled part in its place; both are kept bit for bit."""
    if part.mode != image.mode:  # as inpaint_hub.images reads palettes and bitmaps
        picture = read_images(image)[0]
        nothing = np.zeros(picture.pixels.shape[:2], bool)
        image = picture.fill(np.zeros(picture.pixels.shape, np.float32), nothing)
    whole_picture = image.copy()
    whole_picture.paste(part, box[:2])
    return whole_picture


BY = {
    "faces": "by the model of faces",
    "photos": "by the model of photos",
    "texture": "from the photo's own texture",
}


def route_sentences(routes):
    """A router's routes as sentences; [] for pipelines that have one way only (None)."""
    routes, sentences = routes or [], []
    for number, route in enumerate(routes, start=1):
        hole = "The hole" if len(routes) == 1 else f"Hole {number}"
        sentences.append(f"{hole} was filled {BY[route.route]}: {route.reason}.")
    return sentences


def seconds_said(seconds):
    return f"{seconds:.1f} s" if seconds < 20 else f"{seconds:.0f} s"
