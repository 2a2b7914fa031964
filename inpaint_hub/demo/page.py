"""The page: which component's event calls which handler. Components are made in layout; what a
handler does is in opening, rounds and beyond."""

from pathlib import Path
from types import SimpleNamespace

import gradio as gr

from inpaint_hub import default_pipeline
from inpaint_hub.demo import comparison, endpoints, layout
from inpaint_hub.demo.beyond import Batches, Comparing, Extending
from inpaint_hub.demo.examples import Shelf
from inpaint_hub.demo.models import Models
from inpaint_hub.demo.opening import Opening
from inpaint_hub.demo.photos import visits_folder
from inpaint_hub.demo.rounds import Rounds
from inpaint_hub.demo.sentences import status
from inpaint_hub.demo.tidying import CACHE, VISIT_SECONDS

HERE = Path(__file__).parent
CSS = (HERE / "page.css").read_text(encoding="utf-8")
QUEUE = 64
MODEL = {"concurrency_limit": 1, "concurrency_id": "model"}  # one fill at a time; others wait
PRIVATE = {"api_visibility": "private"}
HIDDEN = {"show_progress": "hidden", **PRIVATE}
INTRO = """# Paint it away
Draw over what should go and press **Fill** (Ctrl+Enter). What you do not paint comes back bit for \
bit, at the photo's own size.

{routing} What is filled in is made up."""
ROUTING = {
    True: "A hole in a face is filled by the model that knows faces, turned to how it learned "
    "them; every other hole by the model for photos, with the photo's own texture.",
    False: "Every hole is filled by the model that is chosen below.",
}
# In the browser, before an event goes out: the editor's value in place of the component's.
READ = "async (value, ...rest) => [window.inpaintEditor.value(), ...rest]"
UPLOADED = "async (value, ...rest) => [window.inpaintEditor.uploaded(), ...rest]"
TO_RESULT = """() => { if (window.innerWidth < 900) {
  const to = document.querySelector("#status");
  if (to) to.scrollIntoView({behavior: "smooth", block: "start"}); } }"""
# Names for what gradio leaves without one; its slider's handle is no control of ours to move.
NAMES = (HERE / "names.js").read_text(encoding="utf-8")


def build_demo(models: Models) -> gr.Blocks:
    """The page around Models, or around one pipeline."""
    if not isinstance(models, Models):
        models = Models({"This model": models}, from_hub=False)
    root = visits_folder()
    gr.set_static_paths([root])  # a visit's files are served from their own, unguessable folders
    shelf = Shelf(models, root)
    methods = Models(comparison.method_sources(models), models.device, models.engine, False)
    routed = models.sources[models.default] is default_pipeline
    parts = SimpleNamespace()
    with gr.Blocks(title="inpaint_hub", delete_cache=CACHE, analytics_enabled=False) as demo:
        parts.visit = gr.State(
            None, time_to_live=VISIT_SECONDS, delete_callback=lambda v: v.close() if v else None
        )
        gr.Markdown(INTRO.format(routing=ROUTING[routed]), elem_id="intro")
        with gr.Tabs():
            layout.fill_tab(parts, models)
            layout.extend_tab(parts)
            layout.many_tab(parts)
        opening = Opening(parts, shelf, root)
        parts.asked = [parts.editor, parts.visit, parts.model]
        parts.asked += [getattr(parts, name) for name in layout.OPTIONS]
        wire_opening(demo, parts, opening)
        wire_rounds(parts, Rounds(parts, models))
        wire_comparing(parts, Comparing(parts, models, methods))
        wire_extending(parts, Extending(parts, models))
        wire_batches(parts, Batches(parts, models, opening.visit_for))
        endpoints.add(models, MODEL)
    demo.queue(max_size=QUEUE)
    demo.shelf, demo.visits = shelf, root
    return demo


def wire_opening(demo: gr.Blocks, parts: SimpleNamespace, opening: Opening) -> None:
    told, visit, editor = parts.told, parts.visit, parts.editor
    opened = [told, visit, editor, parts.drafted]
    opened += [parts.slider, parts.gallery, parts.download, parts.history]
    side = {"concurrency_limit": 4, **HIDDEN}  # visitors at once
    demo.load(opening.first_visit, visit, opened, **side)
    demo.load(None, js=NAMES, **PRIVATE)
    parts.examples.select(opening.pick_example, visit, opened, **side)
    editor.upload(opening.open_upload, [editor, visit], [told, visit, editor], js=UPLOADED, **side)
    parts.random_button.click(opening.random_hole, visit, [told, editor], **HIDDEN)
    parts.mask_file.upload(opening.mask_upload, [parts.mask_file, visit], [told, editor], **HIDDEN)
    parts.make_mask.click(
        opening.mask_download, [editor, visit], [told, parts.mask_out], js=READ, **HIDDEN
    )


def wire_rounds(parts: SimpleNamespace, rounds: Rounds) -> None:
    told, visit, editor, file_format = parts.told, parts.visit, parts.editor, parts.file_format
    shown = [parts.drafted, parts.slider, parts.gallery, parts.download]
    buttons = [parts.fill_button, parts.cancel]
    filled = parts.fill_button.click(
        rounds.fill_it,
        parts.asked,
        [told, visit, *shown, parts.history, parts.seed, *buttons],
        js=READ,
        **MODEL,
        **HIDDEN,
    )
    filled.then(None, js=TO_RESULT, **PRIVATE)
    parts.cancel.click(
        rounds.canceled, None, [told, *buttons], cancels=[filled], queue=False, **HIDDEN
    )
    editor.input(
        rounds.fill_live,
        parts.asked,
        shown,
        js=READ,
        trigger_mode="always_last",
        **MODEL,
        **HIDDEN,
    )
    parts.gallery.select(
        rounds.choose,
        [visit, file_format],
        [told, parts.slider, parts.download, parts.history],
        **HIDDEN,
    )
    file_format.input(rounds.change_format, [visit, file_format], [told, parts.download], **HIDDEN)
    parts.onward.click(rounds.go_on, visit, [told, editor], **HIDDEN)
    parts.history.select(
        rounds.go_back, [visit, file_format], [told, visit, editor, *shown], **HIDDEN
    )


def wire_comparing(parts: SimpleNamespace, comparing: Comparing) -> None:
    ask = {"js": READ, **MODEL, **HIDDEN}
    outputs = [parts.told, parts.methods_gallery, parts.visit]
    parts.compare_button.click(comparing.compare_all, parts.asked, outputs, **ask)
    parts.methods_gallery.select(
        comparing.choose_method, parts.visit, [parts.slider, parts.drafted], **HIDDEN
    )
    parts.guess_button.click(comparing.where_guessed, parts.asked, [parts.told, parts.heat], **ask)


def wire_extending(parts: SimpleNamespace, extending: Extending) -> None:
    parts.extend_button.click(
        extending.extend,
        [parts.visit, parts.model, *parts.amounts, parts.seam, parts.texture],
        [parts.extend_told, parts.extended, parts.extend_file],
        show_progress_on=parts.extend_told,
        **MODEL,
        **PRIVATE,
    )


def wire_batches(parts: SimpleNamespace, batches: Batches) -> None:
    many = parts.many_button.click(
        batches.fill_many,
        [parts.many_photos, parts.many_masks, parts.invert, *parts.asked[1:]],
        [parts.many_told, parts.many_file, parts.visit],
        show_progress_on=parts.many_told,
        **MODEL,
        **PRIVATE,
    )
    parts.many_cancel.click(
        lambda: status("Canceled."),
        None,
        parts.many_told,
        cancels=[many],
        queue=False,
        **HIDDEN,
    )
