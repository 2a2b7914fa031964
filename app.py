"""The demo: paint over a part of a photo, get it filled. Runs on 127.0.0.1, on the bundled weights.

    python app.py [--model FOLDER_OR_HUB_ID] [--port 7860]

Named endpoints: /inpaint (editor value), /inpaint_image_and_mask (two pictures).
"""

import argparse
from pathlib import Path

import gradio as gr
import numpy as np
import torch
from PIL import Image, ImageOps

from inpaint_hub import load_pipeline
from inpaint_hub.images import read_images, read_masks
from inpaint_hub.masks import from_editor, mask_in_band

ROOT = Path(__file__).parent
DEFAULT_MODEL = ROOT / "weights" / "dualpath-faces-128"
EXAMPLES = [ROOT / "examples" / name for name in ("face.png", "astronaut.png", "chelsea.png")]
MAX_SIDE_PX = 4096
CROP_PADDING_PX = 32
SEAMS = [  # what is shown, the pipelines' `blend`
    ("Match colours (Gaussian-Poisson)", "gp"),
    ("Continue gradients (Poisson)", "poisson"),
    ("Band by band (Laplacian pyramid)", "laplacian"),
    ("Leave as it is", "none"),
]
# Gradio stretches a single result over the whole gallery.
CSS = "#results .grid-container { grid-template-columns: repeat(4, minmax(0, 1fr)) !important; }"
INTRO = """# Paint it away
Draw over what should go, press **Fill**. Everything you do not paint comes back bit for bit.
The bundled model knows frontal **faces, cropped closely**; crop your photo to the face first."""


def checked(photo, mask):
    """(RGB(A) photo, mask) ready to fill; raises gr.Error with what to do otherwise."""
    if photo is None:
        raise gr.Error("There is no picture yet: upload a photo first.", print_exception=False)
    if mask is None:
        raise gr.Error(
            "There is no mask yet: upload one, white where to fill.", print_exception=False
        )
    photo = ImageOps.exif_transpose(photo)
    if max(photo.size) > MAX_SIDE_PX:
        raise gr.Error(
            f"The photo is {photo.width} x {photo.height} px; this page takes up to {MAX_SIDE_PX} "
            "px a side. Use python -m inpaint_hub for larger ones.",
            print_exception=False,
        )
    try:
        white = read_masks(mask, read_images(photo))[0]
    except (TypeError, ValueError) as error:
        raise gr.Error(str(error), print_exception=False) from error
    if white.all():
        gr.Warning("Everything is masked: what comes out is invented from nothing.")
    if not white.any():
        raise gr.Error("The mask has no white: paint over what should go.", print_exception=False)
    return photo, mask


def build_demo(pipe):
    """The page around a loaded pipeline."""

    def inpaint_image_and_mask(
        photo,
        mask,
        seed=0,
        num_results=1,
        variation=0.0,
        around_holes=False,
        soft_seam=0,
        seam="gp",
    ):
        """Photo and mask (white = fill) -> (before, after), all results."""
        photo, mask = checked(photo, mask)
        generators = [torch.Generator().manual_seed(int(seed) + i) for i in range(int(num_results))]
        try:
            results = pipe(
                photo,
                mask,
                num_images_per_prompt=int(num_results),
                generator=generators,
                variation=float(variation),
                padding_mask_crop=CROP_PADDING_PX if around_holes else None,
                mask_blur=int(soft_seam),
                blend=seam,
            ).images
        except (TypeError, ValueError) as error:
            raise gr.Error(str(error), print_exception=False) from error
        return (photo.convert("RGB"), results[0].convert("RGB")), results

    def inpaint(
        editor,
        seed=0,
        num_results=1,
        variation=0.0,
        around_holes=False,
        soft_seam=0,
        seam="gp",
    ):
        """Editor value -> (before, after), all results."""
        try:
            photo, mask = from_editor(editor)
        except ValueError as error:
            raise gr.Error(str(error), print_exception=False) from error
        return inpaint_image_and_mask(
            photo, mask, seed, num_results, variation, around_holes, soft_seam, seam
        )

    def paint_random(editor):
        """A random hole on the photo, for those who cannot draw."""
        background = (editor or {}).get("background")
        if background is None:
            raise gr.Error("There is no picture yet: upload a photo first.", print_exception=False)
        size = ImageOps.exif_transpose(background).size
        hole = mask_in_band(size, 0.1, 0.3, np.random.default_rng())
        layer = np.zeros((*hole.shape, 4), np.uint8)
        layer[hole] = (255, 255, 255, 255)
        layer = Image.fromarray(layer)
        background = ImageOps.exif_transpose(background).convert("RGBA")
        return {
            "background": background,
            "layers": [layer],
            "composite": Image.alpha_composite(background, layer),
        }

    with gr.Blocks(title="inpaint_hub", delete_cache=(3600, 3600)) as demo:
        gr.Markdown(INTRO)
        with gr.Row(equal_height=False):
            with gr.Column():
                with gr.Tabs():
                    with gr.Tab("Draw"):
                        editor = gr.ImageEditor(
                            value=str(EXAMPLES[0]),
                            type="pil",
                            image_mode="RGBA",
                            format="png",
                            label="Photo",
                            sources=["upload", "clipboard"],
                            transforms=("crop",),
                            brush=gr.Brush(default_size=24, colors=["#ffffff"], color_mode="fixed"),
                            layers=False,
                            height=460,
                            elem_id="editor",
                        )
                        with gr.Row():
                            random_hole = gr.Button("Random hole")
                            draw_fill = gr.Button("Fill", variant="primary", elem_id="fill")
                        gr.Examples(
                            [[str(path)] for path in EXAMPLES], inputs=[editor], label="Examples"
                        )
                    with gr.Tab("Upload a mask"):
                        photo = gr.Image(type="pil", image_mode=None, format="png", label="Photo")
                        mask = gr.Image(
                            type="pil", image_mode=None, format="png", label="Mask: white is filled"
                        )
                        mask_fill = gr.Button("Fill", variant="primary")
                        gr.Examples(
                            [[str(EXAMPLES[0]), str(ROOT / "examples" / "face_mask.png")]],
                            inputs=[photo, mask],
                        )
                with gr.Accordion("Options", open=False):
                    seed = gr.Number(0, label="Seed", precision=0, minimum=0)
                    num_results = gr.Slider(1, 8, 1, step=1, label="Number of results")
                    variation = gr.Slider(
                        0, 1, 0, step=0.1, label="Variation", info="How much several results differ"
                    )
                    around_holes = gr.Checkbox(
                        False,
                        label=f"Cut only {CROP_PADDING_PX} px around each hole (for large photos)",
                    )
                    seam = gr.Dropdown(
                        SEAMS, value="gp", label="Seam", info="How the fill meets the photo"
                    )
                    soft_seam = gr.Slider(
                        0, 32, 0, step=1, label="Soft seam, px", info="Inside the hole only"
                    )
            with gr.Column():
                slider = gr.ImageSlider(
                    label="Before and after", format="png", type="pil", height=460, elem_id="slider"
                )
                gallery = gr.Gallery(
                    label="Results (PNG)",
                    format="png",
                    type="pil",
                    columns=4,
                    height=260,
                    object_fit="contain",
                    buttons=["download", "fullscreen"],
                    elem_id="results",
                )
        settings = [seed, num_results, variation, around_holes, soft_seam, seam]
        one_at_a_time = {"concurrency_limit": 1, "concurrency_id": "model"}
        draw_fill.click(
            inpaint, [editor, *settings], [slider, gallery], api_name="inpaint", **one_at_a_time
        )
        mask_fill.click(
            inpaint_image_and_mask,
            [photo, mask, *settings],
            [slider, gallery],
            api_name="inpaint_image_and_mask",
            **one_at_a_time,
        )
        random_hole.click(paint_random, editor, editor, api_visibility="private")
    return demo.queue(max_size=16)


def main():
    parser = argparse.ArgumentParser(description="The inpainting demo, in the browser.")
    parser.add_argument(
        "--model", default=str(DEFAULT_MODEL), help="folder or Hub id of a pipeline"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--port", type=int, help="default: the first free one from 7860 on")
    arguments = parser.parse_args()
    demo = build_demo(load_pipeline(arguments.model).to(arguments.device).optimize())
    demo.launch(
        server_name="127.0.0.1",
        server_port=arguments.port,
        theme=gr.themes.Soft(),
        css=CSS,
        max_file_size="20mb",
        show_error=True,
    )


if __name__ == "__main__":
    main()
