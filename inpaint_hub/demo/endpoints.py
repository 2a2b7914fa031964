"""The page as an API: named endpoints for programs, and tools for MCP clients.

Their components are on no screen; they only say what goes in and comes out. What a program sends is
a file, which is read here as everywhere, and not before by gradio.
"""

import inspect
import tempfile
from pathlib import Path

import gradio as gr
import numpy as np
from gradio.utils import get_function_description

from inpaint_hub.demo import filling, outside
from inpaint_hub.demo.filling import Settings
from inpaint_hub.demo.photos import (
    PNG_LEVEL,
    Refusal,
    Visit,
    for_browser,
    mask_from_file,
    opened,
    write_result,
)
from inpaint_hub.masks import from_editor


def as_sent(component, paths):
    """The component, with what was uploaded as its value, not what gradio would decode from it."""
    component.preprocess = lambda payload: None if payload is None else paths(payload)
    return component


def path_of(payload):
    return None if payload is None else payload.path


def paths_in_editor(payload):
    return {
        "background": path_of(payload.background),
        "layers": [path_of(layer) for layer in payload.layers or []],
    }


def _answered(function):
    """Errors as gradio's, without a traceback."""

    def run(*arguments):
        try:
            return function(*arguments)
        except Refusal as refusal:
            raise gr.Error(str(refusal), print_exception=False) from refusal

    run.__doc__, run.__name__ = function.__doc__, function.__name__
    run.__signature__ = inspect.signature(function)
    return run


def add(models, queue):
    """The endpoints, inside the page's gr.Blocks. queue: how their events are queued."""

    def filled(image, hole, stem, settings, model):
        settings = settings.checked()
        pipe = models.get(model)
        # gradio copies what it answers with into its own cache, from which it goes in minutes.
        with tempfile.TemporaryDirectory() as folder:
            visit = Visit(folder)
            shown = []
            for result in filling.fill(pipe, image, hole, settings, models.revision(model)):
                number = f"_{len(shown) + 1}" if settings.results > 1 else ""
                file, look = write_result(
                    result.image, visit, f"{stem}_filled{number}", result.notes
                )
                file = file if file.suffix == ".png" else look
                shown.append((kept(file), f"seed {result.seed}"))
            before = visit.new_file("before.png")
            for_browser(image).save(before, compress_level=PNG_LEVEL)
            return (kept(before), shown[0][0]), shown

    def kept(path):
        """The file in gradio's cache."""
        return gallery.move_resource_to_block_cache(str(path))

    def inpaint_image_and_mask(
        photo,
        mask,
        seed=0,
        num_results=1,
        variation=0.0,
        around_holes=False,
        soft_seam=0,
        seam="gp",
        texture="auto",
        model=None,
    ):
        """Fill the white part of a mask in a photo. Everything outside it comes back bit for bit,
        at the photo's own size.

        Args:
            photo: the picture file to fill, of any size up to 50 megapixels and any common format
            mask: a picture file of the same shape, white where the photo is to be filled
            seed: whole number from 0 to 4294967295; the same one gives the same result
            num_results: how many different results to make, 1 to 8
            variation: how much several results differ, from 0 (hardly) to 1
            around_holes: cut each hole out with only 32 px around it
            soft_seam: px over which the fill fades into the photo, inside the hole
            seam: how the fill meets the photo: gp, poisson, laplacian or none
            texture: where fine detail comes from: auto, patches, detail or none
            model: name of one of the page's models, or a Hub repository, owner/name
        Returns:
            The photo before and after, as two picture files.
            All results, as PNG files with captions that name their seeds.
        """
        image, hole = photo_and_mask(photo, mask)
        settings = Settings(
            seed, num_results, variation, bool(around_holes), soft_seam, seam, texture
        )
        return filled(image, hole, stem_of(photo), settings, model)

    def inpaint(
        editor,
        seed=0,
        num_results=1,
        variation=0.0,
        around_holes=False,
        soft_seam=0,
        seam="gp",
        texture="auto",
        model=None,
    ):
        """Fill what is painted on the layers of a gradio ImageEditor's value.

        Args:
            editor: background (the photo's file), layers (files, opaque where to fill), composite
            seed: whole number from 0 to 4294967295; the same one gives the same result
            num_results: how many different results to make, 1 to 8
            variation: how much several results differ, from 0 (hardly) to 1
            around_holes: cut each hole out with only 32 px around it
            soft_seam: px over which the fill fades into the photo, inside the hole
            seam: how the fill meets the photo: gp, poisson, laplacian or none
            texture: where fine detail comes from: auto, patches, detail or none
            model: name of one of the page's models, or a Hub repository, owner/name
        Returns:
            The photo before and after, as two picture files.
            All results, as PNG files with captions that name their seeds.
        """
        if not editor or not editor["background"]:
            raise Refusal("There is no picture yet: upload a photo first.")
        value = {
            "background": opened(editor["background"], "the photo"),
            "layers": [opened(path, "a layer") for path in editor["layers"] if path],
        }
        try:
            image, mask = from_editor(value)
        except ValueError as error:
            raise Refusal(str(error)) from error
        settings = Settings(
            seed, num_results, variation, bool(around_holes), soft_seam, seam, texture
        )
        hole = np.asarray(mask) > 0
        return filled(image, hole, stem_of(editor["background"]), settings, model)

    def outpaint(photo, left=0, top=0, right=0, bottom=0, seam="gp", texture="auto", model=None):
        """Make a photo larger by borders that are filled from it outward; the photo itself comes
        back bit for bit.

        Args:
            photo: the picture file to extend
            left: percent of the width to add on the left, 0 to 100
            top: percent of the height to add above, 0 to 100
            right: percent of the width to add on the right, 0 to 100
            bottom: percent of the height to add below, 0 to 100
            seam: how the fill meets the photo: gp, poisson, laplacian or none
            texture: where fine detail comes from: auto, patches, detail or none
            model: name of one of the page's models, or a Hub repository, owner/name
        Returns:
            The extended photo, as a PNG file.
        """
        if not photo:
            raise Refusal("There is no picture yet: upload a photo first.")
        image = opened(photo, "the photo")
        settings = Settings(seam=seam, texture=texture).checked()
        picture, notes = outside.extended(
            models.get(model), image, (left, top, right, bottom), settings, lambda *at: None
        )
        with tempfile.TemporaryDirectory() as folder:
            name = f"{stem_of(photo)}_extended"
            file, look = write_result(picture, Visit(folder), name, notes)
            return kept(file if file.suffix == ".png" else look)

    def photo_and_mask(photo, mask):
        if not photo:
            raise Refusal("There is no picture yet: upload a photo first.")
        if not mask:
            raise Refusal("There is no mask yet: upload one, white where to fill.")
        image = opened(photo, "the photo")
        return image, mask_from_file(mask, image)

    described = get_function_description(inpaint_image_and_mask)[1]
    described |= get_function_description(outpaint)[1] | get_function_description(inpaint)[1]

    def unseen(kind, name, value=None, **options):
        """A component for a parameter: the page's API docs show its label."""
        label = described.get(name, name)
        return kind(value, label=label[0].upper() + label[1:], visible=False, **options)

    picture = {"type": "filepath", "format": "png"}
    photo = as_sent(unseen(gr.Image, "photo", image_mode=None, **picture), path_of)
    mask = as_sent(unseen(gr.Image, "mask", image_mode=None, **picture), path_of)
    editor = as_sent(unseen(gr.ImageEditor, "editor", format="png"), paths_in_editor)
    slider = unseen(gr.ImageSlider, "before and after", **picture)
    gallery = unseen(gr.Gallery, "results", **picture)
    larger = unseen(gr.Image, "the extended photo", **picture)
    last = [
        unseen(gr.Textbox, "seam", "gp"),
        unseen(gr.Textbox, "texture", "auto"),
        unseen(gr.Textbox, "model", models.default),
    ]
    settings = [
        unseen(gr.Number, "seed", 0),
        unseen(gr.Number, "num_results", 1),
        unseen(gr.Number, "variation", 0),
        unseen(gr.Checkbox, "around_holes", False),
        unseen(gr.Number, "soft_seam", 0),
        *last,
    ]
    percents = [unseen(gr.Number, side, 0) for side in ("left", "top", "right", "bottom")]
    trigger = gr.Button(visible=False)
    for function, inputs, outputs in (
        (inpaint_image_and_mask, [photo, mask, *settings], [slider, gallery]),
        (inpaint, [editor, *settings], [slider, gallery]),
        (outpaint, [photo, *percents, *last], larger),
    ):
        trigger.click(_answered(function), inputs, outputs, api_name=function.__name__, **queue)


def stem_of(path):
    """The uploaded file's name without its ending."""
    return Path(path).stem[:80] or "photo"
