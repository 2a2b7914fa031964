"""The page: components, and what happens when one is used. Everything it does is done elsewhere in
this room; here it is asked for, shown, and said."""

import html
import random
import shutil
import sys
import time
import traceback
import uuid
from functools import wraps
from pathlib import Path

import gradio as gr
import numpy as np

from inpaint_hub import default_pipeline
from inpaint_hub.demo import batch, comparison, endpoints, filling, outside
from inpaint_hub.demo.examples import Shelf, thumbnails
from inpaint_hub.demo.filling import MAX_SEED, SEAMS, TEXTURE_NAMES, Settings, seconds_said
from inpaint_hub.demo.models import Models
from inpaint_hub.demo.photos import (
    Photo,
    Refusal,
    Step,
    Visit,
    accept,
    converted,
    data_url,
    forget_old,
    from_result,
    mask_from_file,
    mask_from_url,
    mask_picture,
    opened,
    preview_url,
    visits_folder,
    write_result,
)
from inpaint_hub.masks import mask_in_band

HERE = Path(__file__).parent
CSS = (HERE / "page.css").read_text(encoding="utf-8")
LIVE_PIXELS = 1_100_000  # photos up to this size are filled after each stroke unless switched off
VISIT_SECONDS = 3600  # without a sign of life, then a visit's files go
QUEUE = 64
PROGRESS = gr.Progress()
MODEL = {"concurrency_limit": 1, "concurrency_id": "model"}  # one fill at a time; others wait
PRIVATE = {"api_visibility": "private"}
INTRO = """# Paint it away
Draw over what should go and press **Fill** (Ctrl+Enter). What you do not paint comes back bit for \
bit, at the photo's own size.

{routing} What is filled in is made up."""
ROUTING = {
    True: "A hole in a face is filled by the model that knows faces, turned to how it learned "
    "them; every other hole by the model for photos, with the photo's own texture.",
    False: "Every hole is filled by the model that is chosen below.",
}
READ = "async (value, ...rest) => [window.inpaintEditor.value(), ...rest]"
UPLOADED = "async (value, ...rest) => [window.inpaintEditor.uploaded(), ...rest]"
TO_RESULT = """() => { if (window.innerWidth < 900) {
  const to = document.querySelector("#status");
  if (to) to.scrollIntoView({behavior: "smooth", block: "start"}); } }"""
# Names for what gradio leaves without one; its slider's handle is no control of ours to move.
NAMES = (HERE / "names.js").read_text(encoding="utf-8")


def status(text, kind=""):
    """What the page says now; kind: "", "run" or "error"."""
    role = "alert" if kind == "error" else "status"
    text = html.escape(str(text)).replace("\n", "<br>")
    return f'<p class="ih-status ih-{kind or "plain"}" role="{role}">{text}</p>'


def draft_sentence(text):
    """What the page says of the draft on show; the line keeps its place without one."""
    return f'<p role="status">{html.escape(text)}</p>'


NO_DRAFT = draft_sentence("")


def said(error):
    """An error as a sentence; what nobody foresaw is logged, too."""
    if isinstance(error, Refusal):
        return str(error)
    traceback.print_exception(error, file=sys.stderr)
    text = str(error).splitlines()[0][:200] if str(error) else ""
    return (
        f"That did not work ({type(error).__name__}: {text}). Your photo and mask are still here."
    )


def telling(outputs, where=0):
    """A handler whose errors become the page's sentence and leave all other outputs as they are."""

    def decorate(function):
        @wraps(function)
        def run(*arguments):
            try:
                return function(*arguments)
            except Exception as error:
                answer = [gr.skip()] * outputs
                answer[where] = status(said(error), "error")
                return tuple(answer) if outputs > 1 else answer[0]

        return run

    return decorate


def editor_message(visit, kind, **more):
    """What the editor is told; it acts on each serial once."""
    visit.serial += 1
    return {"kind": kind, "serial": f"{visit.folder.name}-{visit.serial}", **more}


def show_photo(visit, photo, image, hole=None):
    """The editor's message for a new photo, which becomes the visit's."""
    visit.photo, visit.photo_id = photo, uuid.uuid4().hex
    mask = None if hole is None else data_url(mask_picture(hole), "PNG", compress_level=1)
    return editor_message(
        visit,
        "photo",
        url=preview_url(image),
        mask=mask,
        width=image.width,
        height=image.height,
        name=photo.name,
        note=photo.note,
        live=image.width * image.height <= LIVE_PIXELS,
        id=visit.photo_id,
    )


def photo_of(visit):
    if visit is None or visit.photo is None:
        raise Refusal("There is no photo yet: upload one first.")
    if not visit.photo.path.is_file():
        raise Refusal(
            "The photo is no longer here (nothing happened for an hour): upload it again."
        )
    return visit.photo


def photo_and_hole(visit, value):
    """(Photo, decoded picture, hole) from what the editor sent."""
    photo = photo_of(visit)
    value = value or {}
    if value.get("id") not in (None, visit.photo_id):  # the mask is another photo's
        raise Refusal("The photo changed just now: look at it, then press again.")
    hole = mask_from_url(value.get("mask"), photo.size)
    return photo, opened(photo.path, photo.name), hole


def pairs(step, files=None):
    """The gallery's value of a step."""
    return list(zip(map(str, files or step.shown), step.captions))


def before_after(step):
    return str(step.photo.shown), str(step.shown[step.chosen])


def history_of(visit):
    return [(str(s.shown[s.chosen]), f"Step {i}") for i, s in enumerate(visit.steps, start=1)]


def build_demo(models, warm_up=False):
    """The page around Models, or around one pipeline."""
    if not isinstance(models, Models):
        models = Models({"This model": models}, from_hub=False)
    root = visits_folder()
    gr.set_static_paths([root])  # a visit's files are served from their own, unguessable folders
    shelf = Shelf(models, root)
    methods = Models(comparison.method_sources(models), models.device, models.engine, False)

    def visit_for(visit):
        if visit is None or not visit.folder.is_dir():
            forget_old(root, VISIT_SECONDS)
            return Visit(root)
        return visit

    # --- photos ----------------------------------------------------------------------------------

    def first_visit(visit):
        return open_example(0, visit)

    @telling(8)
    def open_example(index, visit):
        visit = visit_for(visit)
        photo, image, hole, (file, shown), result = shelf.open(visit, int(index))
        mask = visit.new_file(f"{photo.stem}_mask.png")
        mask_picture(hole).save(mask)
        step = Step(photo, mask, [file], [shown], [caption(result)], "")
        step.summary = summary(step, hole, [result])
        message = show_photo(visit, photo, image, hole)
        visit.add(step)
        return (
            status(step.summary),
            visit,
            message,
            NO_DRAFT,
            before_after(step),
            gr.Gallery(pairs(step), selected_index=0),
            str(file),
            history_of(visit),
        )

    @telling(3)
    def open_upload(value, visit):
        visit = visit_for(visit)
        sent = (value or {}).get("upload") or {}
        if not sent.get("path"):
            raise Refusal("The upload did not arrive: try again.")
        try:
            photo, image = accept(visit, sent["path"], Path(sent.get("orig_name") or "photo").name)
        except Refusal as refusal:
            return (
                status(refusal, "error"),
                visit,
                editor_message(visit, "error", text=str(refusal)),
            )
        message = show_photo(visit, photo, image)
        text = f"{photo.name} is here. Paint over what should go."
        return status(text), visit, message

    # --- the mask --------------------------------------------------------------------------------

    @telling(2)
    def random_hole(visit):
        photo = photo_of(visit)
        scale = min(1, 1024 / max(photo.size))
        size = [max(1, round(side * scale)) for side in photo.size]
        hole = mask_in_band(size, 0.1, 0.3, np.random.default_rng())
        url = data_url(mask_picture(hole), "PNG")
        return status("A random hole; Undo takes it back."), editor_message(visit, "mask", url=url)

    @telling(2)
    def mask_upload(path, visit):
        photo = photo_of(visit)
        hole = mask_from_file(path, opened(photo.path, photo.name))
        url = data_url(mask_picture(hole), "PNG", compress_level=1)
        text = f"The mask covers {hole.mean():.1%} of the photo; Undo takes it back."
        return status(text), editor_message(visit, "mask", url=url)

    @telling(2)
    def mask_download(value, visit):
        photo, _, hole = photo_and_hole(visit, value)
        path = visit.new_file(f"{photo.stem}_mask.png")
        mask_picture(hole).save(path)
        text = f"The mask is ready: {path.name}, white where the photo is to be filled."
        return status(text), gr.DownloadButton(value=str(path), interactive=True)

    # --- filling ---------------------------------------------------------------------------------

    def caption(result):
        return f"seed {result.seed} · {seconds_said(result.seconds)}"

    def summary(step, hole, results):
        seconds = sum(result.seconds for result in results)
        text = f"Filled {hole.mean():.1%} of {step.photo.name} in {seconds_said(seconds)}"
        text += f" ({len(results)} results)." if len(results) > 1 else "."
        return "\n".join([text, *results[0].routes[:6]])

    def settings_of(seed, new_seed, results, variation, texture, seam, soft_seam):
        if new_seed:
            seed = random.randrange(MAX_SEED + 1)
        return Settings(
            seed, results, variation, soft_seam=soft_seam, seam=seam, texture=texture
        ).checked()

    def fill_it(value, visit, model, *given):
        """Status, visit, slider, results, download, history, seed, fill button, cancel button,
        draft's sentence."""
        keep = [gr.skip()] * 7
        working = (gr.Button(interactive=False), gr.Button(interactive=True))
        idle = (gr.Button(interactive=True), gr.Button(interactive=False))
        try:
            settings = settings_of(*given)
            yield (status("Filling …", "run"), *keep[1:7], *working, gr.skip())
            photo, image, hole = photo_and_hole(visit, value)
            visit.asked(value)
            pipe = models.get(model)
            step, done = Step(photo, None, [], [], [], ""), []
            name = f"{photo.stem}_filled"
            for result in filling.fill(pipe, image, hole, settings, models.revision(model)):
                number = "" if settings.results == 1 else f"_{len(done) + 1}"
                file, shown = write_result(result.image, visit, name + number, result.notes)
                done.append(result)
                step.results.append(file)
                step.shown.append(shown)
                step.captions.append(caption(result))
                if len(done) < settings.results:
                    text = f"Filling … {len(done)} of {settings.results}"
                    show = (before_after(step), gr.Gallery(pairs(step), selected_index=0))
                    yield (status(text, "run"), keep[1], *show, *keep[4:7], *working, NO_DRAFT)
            step.summary = summary(step, hole, done)
            step.mask = visit.new_file(f"{photo.stem}_mask.png")
            mask_picture(hole).save(step.mask, compress_level=1)
            visit.add(step)
            text = step.summary
            if hole.all():
                text += "\nEverything was painted over: all of it is invented."
            yield (
                status(text),
                visit,
                before_after(step),
                gr.Gallery(pairs(step), selected_index=0),
                str(step.results[0]),
                history_of(visit),
                settings.seed,
                *idle,
                NO_DRAFT,
            )
        except Exception as error:
            yield (status(said(error), "error"), *keep[1:7], *idle, gr.skip())

    def fill_live(value, visit, model, *given):
        """Draft's sentence, slider, results, download: a draft after each stroke, replaced by the
        next. Its sentence has its own place: it never covers one that was asked for."""
        nothing = (gr.skip(),) * 4
        try:
            if visit is None or not visit.wants_draft(value):
                return nothing
            photo, image, hole = photo_and_hole(visit, value)
            pipe, requests = models.get(model), visit.requests
            settings = Settings(seed=whole_or_zero(given[0]), seam=given[5], texture="none")
            start = time.perf_counter()
            result = next(filling.fill(pipe, image, hole, settings.checked()))
            files = write_result(result.image, visit, f"{photo.stem}_filled", result.notes)
            text = f"Live draft in {time.perf_counter() - start:.2f} s; Fill adds texture."
            step = Step(photo, None, [files[0]], [files[1]], ["live draft"], text)
            if visit.requests != requests or not visit.wants_draft(
                value
            ):  # meanwhile something else was asked for
                visit.forget(step)
                return nothing
            visit.show_draft(step)
            return (
                draft_sentence(text),
                before_after(step),
                gr.Gallery(pairs(step), selected_index=0),
                str(files[0]),
            )
        except Refusal:
            return nothing  # nothing is painted: the next stroke will tell
        except Exception as error:
            return draft_sentence(said(error)), gr.skip(), gr.skip(), gr.skip()

    def whole_or_zero(seed):
        try:
            return filling.whole("seed", seed, 0, MAX_SEED)
        except Refusal:
            return 0

    def cancelled():
        return (
            status("Cancelled."),
            gr.Button(interactive=True),
            gr.Button(interactive=False),
        )

    # --- rounds ----------------------------------------------------------------------------------

    @telling(4)
    def choose(visit, file_format, event: gr.SelectData):
        step = visit.step() if visit else None
        if step is None or event.index >= len(step.shown):
            return (gr.skip(),) * 4
        step.chosen = event.index
        visit.asked()
        file = converted(step.results[step.chosen], file_format)
        return gr.skip(), before_after(step), str(file), history_of(visit)

    @telling(2)
    def change_format(visit, file_format):
        step = visit.step() if visit else None
        if step is None:
            return gr.skip(), gr.skip()
        file = converted(step.results[step.chosen], file_format)
        text = step.summary
        if file_format != "PNG":
            text += f"\n{file_format} files lose a little everywhere; PNG keeps every known value."
        return status(text), str(file)

    @telling(2)
    def go_on(visit):
        step = visit.step() if visit else None
        if step is None:
            raise Refusal("There is no result yet: fill something first.")
        photo, image = from_result(visit, step.results[step.chosen], step.photo.stem)
        photo = Photo(photo.path, photo.name, photo.size, step.shown[step.chosen], photo.note)
        return (
            status("The result is the photo now: paint over what else should go."),
            show_photo(visit, photo, image),
        )

    @telling(7)
    def go_back(visit, file_format, event: gr.SelectData):
        step = visit.back_to(event.index)
        image = opened(step.photo.path, step.photo.name)
        hole = mask_from_file(step.mask, image)
        return (
            status(f"Back at step {event.index + 1}. {step.summary}"),
            visit,
            show_photo(visit, step.photo, image, hole),
            before_after(step),
            gr.Gallery(pairs(step), selected_index=step.chosen),
            str(converted(step.results[step.chosen], file_format)),
            NO_DRAFT,
        )

    # --- compare, where it guesses ---------------------------------------------------------------

    def compare_all(value, visit, model, *given):
        """Status, methods' gallery, visit."""
        try:
            settings = settings_of(*given)
            yield status("Comparing …", "run"), gr.skip(), visit
            photo, image, hole = photo_and_hole(visit, value)
            rows = comparison.arms(methods, models.get(model), model or models.default)
            folder, shown, files = f"{photo.stem}_compared", [], []
            for text, picture in comparison.compare(rows, image, hole, settings):
                number = len(shown) + 1
                _, look = write_result(picture, visit, f"{folder}_{number}", {})
                shown.append((str(look), text))
                files.append(look)
                yield status(f"Comparing … {number} done", "run"), list(shown), visit
            visit.compared = (photo.shown, files)
            text = "The same hole by every method at hand; click one to see it in the slider."
            yield status(text), list(shown), visit
        except Exception as error:
            yield status(said(error), "error"), gr.skip(), visit

    def choose_method(visit, event: gr.SelectData):
        compared = getattr(visit, "compared", None)
        if not compared or event.index >= len(compared[1]):
            return gr.skip(), gr.skip()
        visit.asked()
        return (str(compared[0]), str(compared[1][event.index])), NO_DRAFT

    def where_guessed(value, visit, model, *given):
        """Status, heat map."""
        try:
            settings = settings_of(*given)
            yield status("Filling it several times …", "run"), gr.skip()
            photo, image, hole = photo_and_hole(visit, value)
            drawn = comparison.spread_map(models.get(model), image, hole, settings)
            picture, mean, top, count = drawn
            path = visit.new_file(f"{photo.stem}_spread.png")
            picture.save(path, compress_level=1)
            text = (
                f"{count} fills differ by {mean:.1f} of 255 levels on average; the brightest "
                f"parts, by {top:.1f} or more, are guesses."
            )
            yield status(text), str(path)
        except Exception as error:
            yield status(said(error), "error"), gr.skip()

    # --- outside, many photos --------------------------------------------------------------------

    def extend(visit, model, left, top, right, bottom, seam, texture, progress=PROGRESS):
        """Status, slider, download, visit."""
        try:
            photo = photo_of(visit)
            yield status("Extending …", "run"), gr.skip(), gr.skip()
            image = opened(photo.path, photo.name)
            settings = Settings(seam=seam, texture=texture).checked()
            pipe, name = outside.pipeline(models, model)
            start = time.perf_counter()
            picture, notes = outside.extended(
                pipe, image, (left, top, right, bottom), settings, lambda *at: progress(at)
            )
            file, shown = write_result(picture, visit, f"{photo.stem}_extended", notes)
            before = outside.framed(image, picture.size, (left, top, right, bottom))
            _, before = write_result(before, visit, f"{photo.stem}_before", {})
            text = (
                f"{image.width} × {image.height} became {picture.width} × {picture.height} px in "
                f"{seconds_said(time.perf_counter() - start)}, by {name}."
            )
            yield status(text), (str(before), str(shown)), str(file)
        except Exception as error:
            yield status(said(error), "error"), gr.skip(), gr.skip()

    def fill_many(photos, masks, invert, visit, model, *given, progress=PROGRESS):
        """Status, zip, visit."""
        visit = visit_for(visit)
        work = visit.new_file("batch")
        try:
            settings = settings_of(*given)
            yield status("Filling …", "run"), gr.skip(), visit
            jobs = batch.jobs_of(
                batch.gathered(photos, work / "photos"),
                batch.gathered(masks, work / "masks"),
                work / "filled",
            )
            jobs, notes = batch.too_large(jobs)
            pipe = models.get(model)
            report = batch.fill_all(
                pipe,
                jobs,
                filling.options_for(settings),
                settings.seed,
                lambda done, count: progress((done, count), desc="Filling"),
                invert,
            )
            total = len(jobs) + len(notes)
            notes += [
                Path(note.split(": ")[0]).name + ": " + note.split(": ", 1)[-1]
                for note in [*report.failures, *report.empty]
            ]
            text = f"{report.filled} of {total} filled"
            text += f" in {seconds_said(report.seconds)}."
            if not report.filled:
                yield status("\n".join([text, *notes[:20]]), "error"), gr.skip(), visit
                return
            path = batch.zipped(work / "filled", visit.new_file("filled.zip"), notes)
            yield status("\n".join([text, *notes[:20]])), str(path), visit
        except Exception as error:
            yield status(said(error), "error"), gr.skip(), visit
        finally:
            shutil.rmtree(work, ignore_errors=True)

    # --- the page --------------------------------------------------------------------------------

    routed = models.sources[models.default] is default_pipeline
    with gr.Blocks(title="inpaint_hub", delete_cache=(60, 900), analytics_enabled=False) as demo:
        visit = gr.State(
            None, time_to_live=VISIT_SECONDS, delete_callback=lambda v: v.close() if v else None
        )
        gr.Markdown(INTRO.format(routing=ROUTING[routed]), elem_id="intro")
        with gr.Tabs():
            with gr.Tab("Fill"), gr.Row(equal_height=False):
                with gr.Column(scale=6, min_width=320, elem_id="left-side"):
                    editor = gr.HTML(
                        html_template=editor_html(),
                        js_on_load=(HERE / "editor.js").read_text(encoding="utf-8"),
                        apply_default_css=False,
                        elem_id="editor",
                    )
                    with gr.Row(elem_id="fill-row"):
                        fill_button = gr.Button("Fill", variant="primary", elem_id="fill", scale=3)
                        cancel = gr.Button("Cancel", interactive=False, elem_id="cancel", scale=1)
                    examples = gr.HTML(
                        html_template=examples_html(),
                        js_on_load="""element.addEventListener('click', (event) => {
                            const one = event.target.closest('button[data-index]');
                            const index = one && Number(one.dataset.index);
                            if (one) trigger('select', {index, value: null}); });""",
                        apply_default_css=False,
                        elem_id="examples",
                    )
                    with gr.Row(elem_id="chosen-model"):
                        model = gr.Dropdown(
                            models.names,
                            value=models.default,
                            label="Model",
                            info="or any Hub id, as owner/name" if models.from_hub else None,
                            allow_custom_value=models.from_hub,
                            elem_id="model",
                        )
                    with gr.Accordion(
                        "Mask: random, from a file, download", open=False, elem_id="mask-tools"
                    ):
                        with gr.Row():
                            random_button = gr.Button("Random hole", elem_id="random-hole")
                            mask_file = gr.UploadButton(
                                "Mask from a file", file_types=["image"], elem_id="mask-file"
                            )
                            make_mask = gr.Button("Make mask file", elem_id="make-mask")
                            mask_out = gr.DownloadButton(
                                "Download mask", interactive=False, elem_id="mask-download"
                            )
                    with gr.Accordion("Options", open=False, elem_id="options"):
                        with gr.Row():
                            seed = gr.Number(0, label="Seed", precision=None, elem_id="seed")
                            new_seed = gr.Checkbox(
                                False, label="New seed each time", info="it is written back here"
                            )
                        results = gr.Slider(1, 8, 1, step=1, label="Number of results")
                        variation = gr.Slider(
                            0,
                            1,
                            0.3,
                            step=0.1,
                            label="Variation",
                            info="How much several results differ",
                        )
                        texture = gr.Dropdown(
                            TEXTURE_NAMES,
                            value="auto",
                            label="Texture",
                            info="Where fine detail comes from",
                        )
                        seam = gr.Dropdown(
                            SEAMS, value="gp", label="Seam", info="How the fill meets the photo"
                        )
                        soft_seam = gr.Slider(
                            0, 32, 0, step=1, label="Soft seam, px", info="Inside the hole only"
                        )
                with gr.Column(scale=6, min_width=320, elem_id="right-side"):
                    told = gr.HTML(status("Loading …"), elem_id="status")
                    slider = gr.ImageSlider(
                        label="Before and after",
                        show_label=False,
                        type="filepath",
                        format="png",
                        height=440,
                        elem_id="slider",
                        buttons=["fullscreen"],
                    )
                    drafted = gr.HTML(NO_DRAFT, elem_id="draft")
                    gr.Markdown("## Results", elem_classes="ih-heads")
                    gallery = gr.Gallery(
                        label="Results",
                        show_label=False,
                        type="filepath",
                        format="png",
                        columns=4,
                        height=180,
                        object_fit="contain",
                        allow_preview=False,
                        elem_id="results",
                        buttons=[],
                    )
                    with gr.Row():
                        onward = gr.Button("Go on from this result", elem_id="go-on")
                        file_format = gr.Dropdown(
                            ["PNG", "JPEG", "WEBP"],
                            value="PNG",
                            show_label=False,
                            label="File format",
                            container=False,
                            min_width=90,
                            elem_id="file-format",
                        )
                        download = gr.DownloadButton(
                            "Download", variant="primary", elem_id="download"
                        )
                    with gr.Accordion(
                        "Compare methods on this hole", open=False, elem_id="compare-them"
                    ):
                        compare_button = gr.Button("Compare", elem_id="compare")
                        methods_gallery = gr.Gallery(
                            label="Methods",
                            show_label=False,
                            type="filepath",
                            format="png",
                            columns=4,
                            height=360,
                            object_fit="contain",
                            allow_preview=False,
                            elem_id="methods",
                            buttons=[],
                        )
                    with gr.Accordion("Where is it guessing?", open=False, elem_id="guessing"):
                        guess_button = gr.Button("Show where results differ", elem_id="guess")
                        heat = gr.Image(
                            label="Spread between results",
                            show_label=False,
                            type="filepath",
                            format="png",
                            height=320,
                            elem_id="heat",
                            buttons=["download", "fullscreen"],
                            interactive=False,
                        )
                    gr.Markdown("## Steps so far: click one to go back", elem_classes="ih-heads")
                    history = gr.Gallery(
                        label="Steps so far",
                        show_label=False,
                        type="filepath",
                        format="png",
                        columns=6,
                        height=150,
                        object_fit="cover",
                        allow_preview=False,
                        elem_id="history",
                        buttons=[],
                    )
            with gr.Tab("Extend"), gr.Row(equal_height=False):
                with gr.Column(scale=4, min_width=300):
                    gr.Markdown(
                        "Adds a border to the photo of the first tab, in percent of its width and "
                        "height, from the photo outward, a strip at a time."
                    )
                    amounts = [
                        gr.Slider(
                            0, 100, value, step=5, label=f"{name}, %", elem_id=f"add-{name.lower()}"
                        )
                        for name, value in (("Left", 25), ("Top", 0), ("Right", 25), ("Bottom", 0))
                    ]
                    extend_button = gr.Button("Extend", variant="primary", elem_id="extend")
                    gr.Markdown(outside.STATEMENT)
                with gr.Column(scale=7, min_width=320):
                    extend_told = gr.HTML(status("Nothing extended yet."), elem_id="extend-status")
                    extended = gr.ImageSlider(
                        label="Before and after",
                        show_label=False,
                        type="filepath",
                        format="png",
                        height=440,
                        elem_id="extend-slider",
                        buttons=["fullscreen"],
                    )
                    extend_file = gr.DownloadButton(
                        "Download", interactive=True, elem_id="extend-download"
                    )
            with gr.Tab("Many photos"):
                gr.Markdown(
                    "Photos, or zips of photos, and one mask for all of them, or a mask for each, "
                    "of its name (white is filled). Model and options are those of the first tab."
                )
                with gr.Row():
                    many_photos = gr.File(
                        label="Photos",
                        file_count="multiple",
                        file_types=["image", ".zip"],
                        elem_id="many-photos",
                    )
                    many_masks = gr.File(
                        label="Masks",
                        file_count="multiple",
                        file_types=["image", ".zip"],
                        elem_id="many-masks",
                    )
                invert = gr.Checkbox(False, label="Black is filled, not white")
                with gr.Row():
                    many_button = gr.Button("Fill all", variant="primary", elem_id="fill-many")
                    many_cancel = gr.Button("Cancel", elem_id="cancel-many")
                many_told = gr.HTML(status("Nothing filled yet."), elem_id="many-status")
                many_file = gr.File(label="Filled (zip)", elem_id="many-result", interactive=False)

        settings = [seed, new_seed, results, variation, texture, seam, soft_seam]
        hidden = {"show_progress": "hidden", **PRIVATE}
        opened_example = [told, visit, editor, drafted, slider, gallery, download, history]
        demo.load(first_visit, visit, opened_example, concurrency_limit=4, **hidden)
        demo.load(None, js=NAMES, **PRIVATE)
        examples.select(picked(open_example), visit, opened_example, concurrency_limit=4, **hidden)
        editor.upload(
            open_upload,
            [editor, visit],
            [told, visit, editor],
            js=UPLOADED,
            concurrency_limit=4,
            **hidden,
        )
        random_button.click(random_hole, visit, [told, editor], **hidden)
        mask_file.upload(mask_upload, [mask_file, visit], [told, editor], **hidden)
        make_mask.click(mask_download, [editor, visit], [told, mask_out], js=READ, **hidden)
        filled = fill_button.click(
            fill_it,
            [editor, visit, model, *settings],
            [told, visit, slider, gallery, download, history, seed, fill_button, cancel, drafted],
            js=READ,
            **MODEL,
            **hidden,
        )
        filled.then(None, js=TO_RESULT, **PRIVATE)
        cancel.click(
            cancelled, None, [told, fill_button, cancel], cancels=[filled], queue=False, **hidden
        )
        editor.input(
            fill_live,
            [editor, visit, model, *settings],
            [drafted, slider, gallery, download],
            js=READ,
            trigger_mode="always_last",
            **MODEL,
            **hidden,
        )
        gallery.select(choose, [visit, file_format], [told, slider, download, history], **hidden)
        file_format.input(change_format, [visit, file_format], [told, download], **hidden)
        onward.click(go_on, visit, [told, editor], **hidden)
        history.select(
            go_back,
            [visit, file_format],
            [told, visit, editor, slider, gallery, download, drafted],
            **hidden,
        )
        compare_button.click(
            compare_all,
            [editor, visit, model, *settings],
            [told, methods_gallery, visit],
            js=READ,
            **MODEL,
            **hidden,
        )
        methods_gallery.select(choose_method, visit, [slider, drafted], **hidden)
        guess_button.click(
            where_guessed,
            [editor, visit, model, *settings],
            [told, heat],
            js=READ,
            **MODEL,
            **hidden,
        )
        extend_button.click(
            extend,
            [visit, model, *amounts, seam, texture],
            [extend_told, extended, extend_file],
            show_progress_on=extend_told,
            **MODEL,
            **PRIVATE,
        )
        many = many_button.click(
            fill_many,
            [many_photos, many_masks, invert, visit, model, *settings],
            [many_told, many_file, visit],
            show_progress_on=many_told,
            **MODEL,
            **PRIVATE,
        )
        many_cancel.click(
            lambda: status("Cancelled."), None, many_told, cancels=[many], queue=False, **hidden
        )
        endpoints.add(models, MODEL)
    demo.queue(max_size=QUEUE)
    demo.shelf = shelf
    return demo


def picked(function):
    """A select handler that passes on which item was picked."""

    def handler(visit, event: gr.SelectData):
        return function(event.index, visit)

    return handler


def editor_html():
    text = (HERE / "editor.html").read_text(encoding="utf-8")
    return text.replace("{live_megapixels}", f"{LIVE_PIXELS / 1e6:.0f}")


def examples_html():
    """Three buttons with a picture each."""
    buttons = "".join(
        f'<button type="button" class="ih-example" data-index="{index}">'
        f'<img alt="" src="{url}"><span>{html.escape(title)}</span></button>'
        for index, (title, url) in enumerate(thumbnails())
    )
    return f'<h2>Try one</h2><div class="ih-examples">{buttons}</div>'
