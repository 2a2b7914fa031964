"""What stands where: the components of the three tabs, by name."""

import html
from pathlib import Path
from types import SimpleNamespace

import gradio as gr

from inpaint_hub.demo import outside
from inpaint_hub.demo.editor import editor_html
from inpaint_hub.demo.examples import thumbnails
from inpaint_hub.demo.filling import MAX_RESULTS, SEAMS, TEXTURE_NAMES
from inpaint_hub.demo.models import Models
from inpaint_hub.demo.sentences import NO_DRAFT, status

HERE = Path(__file__).parent
OPTIONS = ("seed", "new_seed", "results", "variation", "texture", "seam", "soft_seam")
PICKED = """element.addEventListener('click', (event) => {
  const one = event.target.closest('button[data-index]');
  const index = one && Number(one.dataset.index);
  if (one) trigger('select', {index, value: null}); });"""


def fill_tab(parts: SimpleNamespace, models: Models) -> None:
    with gr.Tab("Fill"), gr.Row(equal_height=False):
        with gr.Column(scale=6, min_width=320, elem_id="left-side"):
            draw_here(parts)
            with gr.Row(elem_id="chosen-model"):
                parts.model = gr.Dropdown(
                    models.names,
                    value=models.default,
                    label="Model",
                    info="or any Hub id, as owner/name" if models.from_hub else None,
                    allow_custom_value=models.from_hub,
                    elem_id="model",
                )
            mask_tools(parts)
            options(parts)
        with gr.Column(scale=6, min_width=320, elem_id="right-side"):
            results_here(parts)
            comparing_here(parts)
            gr.Markdown("## Steps so far: click one to go back", elem_classes="ih-heads")
            parts.history = gallery(
                "Steps so far", "history", columns=6, height=130, object_fit="cover"
            )


def draw_here(parts: SimpleNamespace) -> None:
    """The editor, the buttons under it, and the examples."""
    parts.editor = gr.HTML(
        html_template=editor_html(),
        js_on_load=(HERE / "editor.js").read_text(encoding="utf-8"),
        apply_default_css=False,
        elem_id="editor",
    )
    with gr.Row(elem_id="fill-row"):
        parts.fill_button = gr.Button("Fill", variant="primary", elem_id="fill", scale=3)
        parts.cancel = gr.Button("Cancel", interactive=False, elem_id="cancel", scale=1)
    parts.examples = gr.HTML(
        html_template=examples_html(),
        js_on_load=PICKED,
        apply_default_css=False,
        elem_id="examples",
    )


def examples_html() -> str:
    """Three buttons with a picture each."""
    buttons = "".join(
        f'<button type="button" class="ih-example" data-index="{index}">'
        f'<img alt="" src="{url}"><span>{html.escape(title)}</span></button>'
        for index, (title, url) in enumerate(thumbnails())
    )
    return f'<h2>Try one</h2><div class="ih-examples">{buttons}</div>'


def mask_tools(parts: SimpleNamespace) -> None:
    title = "Mask: random, from a file, download"
    with gr.Accordion(title, open=False, elem_id="mask-tools"), gr.Row():
        parts.random_button = gr.Button("Random hole", min_width=140, elem_id="random-hole")
        parts.mask_file = gr.UploadButton(
            "Mask from a file", file_types=["image"], min_width=140, elem_id="mask-file"
        )
        parts.make_mask = gr.Button("Make mask file", min_width=140, elem_id="make-mask")
        parts.mask_out = gr.DownloadButton(
            "Download mask", interactive=False, min_width=140, elem_id="mask-download"
        )


def options(parts: SimpleNamespace) -> None:
    """The parts named in OPTIONS."""
    with gr.Accordion("Options", open=False, elem_id="options"):
        with gr.Row():
            parts.seed = gr.Number(0, label="Seed", precision=None, elem_id="seed")
            parts.new_seed = gr.Checkbox(
                False, label="New seed each time", info="it is written back here"
            )
        parts.results = gr.Slider(1, MAX_RESULTS, 1, step=1, label="Number of results")
        parts.variation = gr.Slider(
            0, 1, 0.3, step=0.1, label="Variation", info="How much several results differ"
        )
        parts.texture = gr.Dropdown(
            TEXTURE_NAMES, value="auto", label="Texture", info="Where fine detail comes from"
        )
        parts.seam = gr.Dropdown(
            SEAMS, value="gp", label="Seam", info="How the fill meets the photo"
        )
        parts.soft_seam = gr.Slider(
            0, 32, 0, step=1, label="Soft seam, px", info="Inside the hole only"
        )


def results_here(parts: SimpleNamespace) -> None:
    """What the page says, the slider, the results, and what can be done with them."""
    parts.told = gr.HTML(status("Loading …"), elem_id="status")
    parts.slider = slider("slider")
    parts.drafted = gr.HTML(NO_DRAFT, elem_id="draft")
    gr.Markdown("## Results", elem_classes="ih-heads")
    parts.gallery = gallery("Results", "results", columns=4, height=180)
    with gr.Row(elem_id="take-it"):
        parts.onward = gr.Button("Go on from this result", scale=3, elem_id="go-on")
        parts.file_format = gr.Dropdown(
            ["PNG", "JPEG", "WEBP"],
            value="PNG",
            show_label=False,
            label="File format",
            container=False,
            scale=1,
            min_width=100,
            elem_id="file-format",
        )
        parts.download = gr.DownloadButton(
            "Download", variant="primary", scale=2, elem_id="download"
        )


def comparing_here(parts: SimpleNamespace) -> None:
    with gr.Accordion("Compare methods on this hole", open=False, elem_id="compare-them"):
        parts.compare_button = gr.Button("Compare", elem_id="compare")
        parts.methods_gallery = gallery("Methods", "methods", columns=4, height=360)
    with gr.Accordion("Where is it guessing?", open=False, elem_id="guessing"):
        parts.guess_button = gr.Button("Show where results differ", elem_id="guess")
        parts.heat = gr.Image(
            label="Spread between results",
            show_label=False,
            type="filepath",
            format="png",
            height=320,
            elem_id="heat",
            buttons=["download", "fullscreen"],
            interactive=False,
        )


def extend_tab(parts: SimpleNamespace) -> None:
    with gr.Tab("Extend"), gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=300):
            gr.Markdown(
                "Adds a border to the photo of the first tab, in percent of its width and "
                "height, from the photo outward, a strip at a time."
            )
            parts.amounts = [
                gr.Slider(0, 100, value, step=5, label=f"{name}, %", elem_id=f"add-{name.lower()}")
                for name, value in (("Left", 25), ("Top", 0), ("Right", 25), ("Bottom", 0))
            ]
            parts.extend_button = gr.Button("Extend", variant="primary", elem_id="extend")
            gr.Markdown(outside.STATEMENT)
        with gr.Column(scale=7, min_width=320):
            parts.extend_told = gr.HTML(status("Nothing extended yet."), elem_id="extend-status")
            parts.extended = slider("extend-slider")
            parts.extend_file = gr.DownloadButton(
                "Download", interactive=True, elem_id="extend-download"
            )


def many_tab(parts: SimpleNamespace) -> None:
    with gr.Tab("Many photos"):
        gr.Markdown(
            "Photos, or zips of photos, and one mask for all of them, or a mask for each, "
            "of its name (white is filled). Model and options are those of the first tab."
        )
        with gr.Row():
            parts.many_photos = pictures_or_zips("Photos", "many-photos")
            parts.many_masks = pictures_or_zips("Masks", "many-masks")
        parts.invert = gr.Checkbox(False, label="Black is filled, not white")
        with gr.Row():
            parts.many_button = gr.Button(
                "Fill all", variant="primary", scale=3, elem_id="fill-many"
            )
            parts.many_cancel = gr.Button("Cancel", min_width=100, elem_id="cancel-many")
        parts.many_told = gr.HTML(status("Nothing filled yet."), elem_id="many-status")
        parts.many_file = gr.File(label="Filled (zip)", elem_id="many-result", interactive=False)


# --- kinds of components --------------------------------------------------------------------------


def slider(name: str) -> gr.ImageSlider:
    return gr.ImageSlider(
        label="Before and after",
        show_label=False,
        type="filepath",
        format="png",
        height=440,
        elem_id=name,
        buttons=["fullscreen"],
    )


def gallery(label: str, name: str, object_fit: str = "contain", **sizes: int) -> gr.Gallery:
    return gr.Gallery(
        label=label,
        show_label=False,
        type="filepath",
        format="png",
        object_fit=object_fit,
        allow_preview=False,
        elem_id=name,
        buttons=[],
        **sizes,
    )


def pictures_or_zips(label: str, name: str) -> gr.File:
    return gr.File(label=label, file_count="multiple", file_types=["image", ".zip"], elem_id=name)
