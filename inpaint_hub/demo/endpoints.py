"""The page as an API: named endpoints for programs, and tools for MCP clients.

Their components are on no screen; they only say what goes in and comes out. What a program sends is
a file, which is read here as everywhere, and not before by gradio.
"""

import inspect
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import gradio as gr
import numpy as np
from PIL import Image

from inpaint_hub.demo import filling, outside
from inpaint_hub.demo.filling import MAX_RESULTS, MAX_SEED, Settings
from inpaint_hub.demo.models import Models
from inpaint_hub.demo.photos import (
    MAX_PIXELS,
    PNG_LEVEL,
    Refusal,
    Visit,
    for_browser,
    mask_from_file,
    opened,
    write_result,
)
from inpaint_hub.masks import from_editor

PICTURE = {"type": "filepath", "format": "png"}
NEEDED = inspect.Parameter.empty


class Given(NamedTuple):
    """A parameter: kind of its component, default, and what it is."""

    kind: type
    default: object
    text: str


PARAMETERS = {
    "photo": Given(
        gr.Image,
        NEEDED,
        f"the picture file, of any size up to {MAX_PIXELS / 1e6:.0f} megapixels and any common "
        "format",
    ),
    "mask": Given(
        gr.Image, NEEDED, "a picture file of the same shape, white where the photo is to be filled"
    ),
    "editor": Given(
        gr.ImageEditor,
        NEEDED,
        "background (the photo's file), layers (files, opaque where to fill), composite",
    ),
    "left": Given(gr.Number, 0, "percent of the width to add on the left, 0 to 100"),
    "top": Given(gr.Number, 0, "percent of the height to add above, 0 to 100"),
    "right": Given(gr.Number, 0, "percent of the width to add on the right, 0 to 100"),
    "bottom": Given(gr.Number, 0, "percent of the height to add below, 0 to 100"),
    "seed": Given(
        gr.Number, 0, f"whole number from 0 to {MAX_SEED}; the same one gives the same result"
    ),
    "num_results": Given(gr.Number, 1, f"how many different results to make, 1 to {MAX_RESULTS}"),
    "variation": Given(gr.Number, 0.0, "how much several results differ, from 0 (hardly) to 1"),
    "around_holes": Given(
        gr.Checkbox,
        False,
        f"cut each hole out with only {filling.CROP_PADDING_PX} px around it",
    ),
    "soft_seam": Given(
        gr.Number, 0, "px over which the fill fades into the photo, inside the hole"
    ),
    "seam": Given(gr.Textbox, "gp", "how the fill meets the photo: gp, poisson, laplacian or none"),
    "texture": Given(
        gr.Textbox, "auto", "where fine detail comes from: auto, patches, detail or none"
    ),
    "model": Given(
        gr.Textbox, None, "name of one of the page's models, or a Hub repository, owner/name"
    ),
}
LAST = ("seam", "texture", "model")
SETTINGS = ("seed", "num_results", "variation", "around_holes", "soft_seam", *LAST)
TAKES = {  # endpoint: its parameters, in order
    "inpaint_image_and_mask": ("photo", "mask", *SETTINGS),
    "inpaint": ("editor", *SETTINGS),
    "outpaint": ("photo", "left", "top", "right", "bottom", *LAST),
}
NO_PHOTO = "There is no picture yet: upload a photo first."


class Endpoints:
    """What is done. Args: models: Models to fill with; kept: a file's path to the path that is
    answered, in gradio's cache, from which it goes in minutes."""

    def __init__(self, models: Models, kept: Callable[[Path], str]):
        self.models, self.kept = models, kept

    def inpaint_image_and_mask(self, photo: str | None, mask: str | None, **given: object) -> tuple:
        """Fill the white part of a mask in a photo. Everything outside it comes back bit for bit,
        at the photo's own size.

        Returns:
            The photo before and after, as two picture files.
            All results, as PNG files with captions that name their seeds.
        """
        if not photo:
            raise Refusal(NO_PHOTO)
        if not mask:
            raise Refusal("There is no mask yet: upload one, white where to fill.")
        image = opened(photo, "the photo")
        return self.filled(image, mask_from_file(mask, image), stem_of(photo), **given)

    def inpaint(self, editor: dict | None, **given: object) -> tuple:
        """Fill what is painted on the layers of a gradio ImageEditor's value.

        Returns:
            The photo before and after, as two picture files.
            All results, as PNG files with captions that name their seeds.
        """
        if not editor or not editor["background"]:
            raise Refusal(NO_PHOTO)
        value = {
            "background": opened(editor["background"], "the photo"),
            "layers": [opened(path, "a layer") for path in editor["layers"] if path],
        }
        try:
            image, mask = from_editor(value)
        except ValueError as error:
            raise Refusal(str(error)) from error
        return self.filled(image, np.asarray(mask) > 0, stem_of(editor["background"]), **given)

    def outpaint(
        self,
        photo: str | None,
        left: float,
        top: float,
        right: float,
        bottom: float,
        seam: str,
        texture: str,
        model: str | None,
    ) -> str:
        """Make a photo larger by borders that are filled from it outward; the photo itself comes
        back bit for bit.

        Returns:
            The extended photo, as a PNG file.
        """
        if not photo:
            raise Refusal(NO_PHOTO)
        image = opened(photo, "the photo")
        settings = Settings(seam=seam, texture=texture).checked()
        picture, notes = outside.extended(
            self.models.outpainting(model),
            image,
            (left, top, right, bottom),
            settings,
            lambda *at: None,
        )
        with tempfile.TemporaryDirectory() as folder:
            name = f"{stem_of(photo)}_extended"
            file, look = write_result(picture, Visit(folder), name, notes)
            return self.kept(file if file.suffix == ".png" else look)

    def filled(
        self,
        image: Image.Image,
        hole: np.ndarray,
        stem: str,
        seed: object,
        num_results: object,
        variation: object,
        around_holes: object,
        soft_seam: object,
        seam: str,
        texture: str,
        model: str | None,
    ) -> tuple:
        """((before, after), [(result, caption)]), files in gradio's cache."""
        settings = Settings(
            seed, num_results, variation, bool(around_holes), soft_seam, seam, texture
        ).checked()
        pipe, revision = self.models.get(model), self.models.revision(model)
        shown = []
        with tempfile.TemporaryDirectory() as folder:
            visit = Visit(folder)
            for result in filling.fill(pipe, image, hole, settings, revision):
                number = f"_{len(shown) + 1}" if settings.results > 1 else ""
                name = f"{stem}_filled{number}"
                file, look = write_result(result.image, visit, name, result.notes)
                file = file if file.suffix == ".png" else look
                shown.append((self.kept(file), f"seed {result.seed}"))
            before = visit.new_file("before.png")
            for_browser(image).save(before, compress_level=PNG_LEVEL)
            return (self.kept(before), shown[0][0]), shown


def stem_of(path: str) -> str:
    """The uploaded file's name without its ending."""
    return Path(path).stem[:80] or "photo"


# --- what gradio sees -----------------------------------------------------------------------------


def add(models: Models, queue: dict) -> None:
    """The endpoints, inside the page's gr.Blocks. queue: how their events are queued."""
    inputs = {name: component(name, given) for name, given in PARAMETERS.items()}
    inputs["model"].value = models.default
    slider = gr.ImageSlider(label="Before and after", visible=False, **PICTURE)
    gallery = gr.Gallery(label="Results", visible=False, **PICTURE)
    larger = gr.Image(label="The extended photo", visible=False, **PICTURE)
    todo = Endpoints(models, lambda path: gallery.move_resource_to_block_cache(str(path)))
    trigger = gr.Button(visible=False)
    for name, takes in TAKES.items():
        trigger.click(
            described(getattr(todo, name), takes),
            [inputs[one] for one in takes],
            larger if name == "outpaint" else [slider, gallery],
            api_name=name,
            **queue,
        )


def component(name: str, given: Given) -> gr.components.Component:
    """The component of a parameter: on no screen; the API's page shows its label."""
    options = {}
    if given.kind is gr.Image:
        options = {"image_mode": None, **PICTURE}
    elif given.kind is gr.ImageEditor:
        options = {"format": "png"}
    value = None if given.default is NEEDED else given.default
    label = given.text[0].upper() + given.text[1:]
    made = given.kind(value, label=label, visible=False, **options)
    if given.kind in (gr.Image, gr.ImageEditor):
        # What was uploaded, not what gradio would decode from it.
        read = path_of if given.kind is gr.Image else paths_in_editor
        made.preprocess = lambda payload: None if payload is None else read(payload)
    return made


def path_of(payload: object) -> str | None:
    return None if payload is None else payload.path


def paths_in_editor(payload: object) -> dict:
    return {
        "background": path_of(payload.background),
        "layers": [path_of(layer) for layer in payload.layers or []],
    }


def described(function: Callable, takes: tuple) -> Callable:
    """The function with the parameters' names, defaults and descriptions, as gradio and MCP read
    them; its errors are gradio's, without a traceback."""

    def run(*arguments: object) -> object:
        try:
            return function(**dict(zip(takes, arguments)))
        except Refusal as refusal:
            raise gr.Error(str(refusal), print_exception=False) from refusal

    first, returns = inspect.getdoc(function).split("\n\nReturns:")
    rows = [f"    {name}: {PARAMETERS[name].text}" for name in takes]
    run.__doc__ = "\n".join([first, "", "Args:", *rows, "Returns:" + returns])
    run.__name__ = function.__name__
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    run.__signature__ = inspect.Signature(
        [inspect.Parameter(name, kind, default=PARAMETERS[name].default) for name in takes]
    )
    return run
