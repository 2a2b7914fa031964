"""Handlers of what goes beyond a fill: methods compared, where it guesses, borders, many photos."""

import shutil
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import gradio as gr

from inpaint_hub import folders
from inpaint_hub.demo import batch, comparison, outside, zero_gpu
from inpaint_hub.demo.editor import photo_and_hole, photo_of
from inpaint_hub.demo.filling import Settings, options_for, seconds_said
from inpaint_hub.demo.models import Models
from inpaint_hub.demo.photos import Visit, opened, write_result
from inpaint_hub.demo.rounds import settings_of
from inpaint_hub.demo.sentences import NO_DRAFT, status, telling

PROGRESS = gr.Progress()
BATCH = 4  # of many photos, in one pass
SAID = 20  # sentences about single files; the zip holds all of them


class Comparing:
    """Args: parts: the page's components by name; models: those that fill; methods: Models of
    method_sources, to compare with."""

    def __init__(self, parts: SimpleNamespace, models: Models, methods: Models):
        self.parts, self.models, self.methods = parts, models, methods

    @telling("told")
    def compare_all(self, value: dict, visit: Visit | None, model: str, *given: object) -> Iterator:
        parts = self.parts
        settings = settings_of(*given)
        yield {parts.told: status("Comparing …", "run")}
        photo, image, hole = photo_and_hole(visit, value)
        rows = comparison.arms(self.methods, self.models.get(model), model or self.models.default)
        shown, files = [], []
        for text, picture in comparison.compare(rows, image, hole, settings):
            _, look = write_result(picture, visit, f"{photo.stem}_compared_{len(shown) + 1}", {})
            shown.append((str(look), text))
            files.append(look)
            told = status(f"Comparing … {len(shown)} done", "run")
            yield {parts.told: told, parts.methods_gallery: list(shown)}
        visit.compared = (photo.shown, files)
        text = "The same hole by every method at hand; click one to see it in the slider."
        yield {parts.told: status(text), parts.methods_gallery: list(shown), parts.visit: visit}

    def choose_method(self, visit: Visit | None, event: gr.SelectData) -> dict:
        parts = self.parts
        if visit is None or not visit.compared or event.index >= len(visit.compared[1]):
            return {parts.slider: gr.skip()}
        visit.asked()
        before, files = visit.compared
        return {parts.slider: (str(before), str(files[event.index])), parts.drafted: NO_DRAFT}

    @telling("told")
    def where_guessed(
        self, value: dict, visit: Visit | None, model: str, *given: object
    ) -> Iterator:
        parts = self.parts
        settings = settings_of(*given)
        yield {parts.told: status("Filling it several times …", "run")}
        photo, image, hole = photo_and_hole(visit, value)
        drawn = comparison.spread_map(self.models.get(model), image, hole, settings)
        picture, mean, top, count = drawn
        path = visit.new_file(f"{photo.stem}_spread.png")
        picture.save(path, compress_level=1)
        text = (
            f"{count} fills differ by {mean:.1f} of 255 levels on average; the brightest "
            f"parts, by {top:.1f} or more, are guesses."
        )
        yield {parts.told: status(text), parts.heat: str(path)}


class Extending:
    """Args: parts: the page's components by name; models: Models to fill with."""

    def __init__(self, parts: SimpleNamespace, models: Models):
        self.parts, self.models = parts, models

    @telling("extend_told")
    def extend(
        self,
        visit: Visit | None,
        model: str,
        left: float,
        top: float,
        right: float,
        bottom: float,
        seam: str,
        texture: str,
        progress: gr.Progress = PROGRESS,
    ) -> Iterator:
        parts, percent = self.parts, (left, top, right, bottom)
        photo = photo_of(visit)
        yield {parts.extend_told: status("Extending …", "run")}
        image = opened(photo.path, photo.name)
        settings = Settings(seam=seam, texture=texture).checked()
        pipe = self.models.get(model)
        start = time.perf_counter()
        picture, notes = outside.extended(pipe, image, percent, settings, lambda *at: progress(at))
        file, shown = write_result(picture, visit, f"{photo.stem}_extended", notes)
        before = outside.framed(image, picture.size, percent)
        _, before = write_result(before, visit, f"{photo.stem}_before", {})
        text = (
            f"{image.width} × {image.height} became {picture.width} × {picture.height} px in "
            f"{seconds_said(time.perf_counter() - start)}, by “{model or self.models.default}”."
        )
        yield {
            parts.extend_told: status(text),
            parts.extended: (str(before), str(shown)),
            parts.extend_file: str(file),
        }


class Batches:
    """Args: parts: the page's components by name; models: Models to fill with; visit_for: see
    Opening."""

    def __init__(
        self, parts: SimpleNamespace, models: Models, visit_for: Callable[[Visit | None], Visit]
    ):
        self.parts, self.models, self.visit_for = parts, models, visit_for

    @telling("many_told")
    def fill_many(
        self,
        photos: list | None,
        masks: list | None,
        invert: bool,
        visit: Visit | None,
        model: str,
        *given: object,
        progress: gr.Progress = PROGRESS,
    ) -> Iterator:
        parts, visit = self.parts, self.visit_for(visit)
        settings = settings_of(*given)
        yield {parts.many_told: status("Filling …", "run"), parts.visit: visit}
        work, done = visit.new_file("batch"), 0
        try:
            jobs, notes = batch.jobs_of(
                batch.gathered(photos, work / "photos"),
                batch.gathered(masks, work / "masks"),
                work / "filled",
            )
            jobs, too_many = batch.too_large(jobs)
            notes += too_many

            def one_more(count: int) -> None:
                nonlocal done
                done += count
                progress((done, len(jobs)), desc="Filling")

            report = folders.fill_files(
                zero_gpu.lent_pipeline(self.models.get(model)),
                jobs,
                batch_size=BATCH,
                invert_mask=invert,
                seed=settings.seed,
                options=options_for(settings),
                done=one_more,
                revision=self.models.revision(model),
            )
            notes += [batch.nameless(note, work) for note in [*report.failures, *report.empty]]
            text = f"{report.filled} of {len(jobs) + len(too_many)} filled"
            text = "\n".join([f"{text} in {seconds_said(report.seconds)}.", *notes[:SAID]])
            if not report.filled:
                yield {parts.many_told: status(text, "error")}
                return
            path = batch.zipped(work / "filled", visit.new_file("filled.zip"), notes)
            yield {parts.many_told: status(text), parts.many_file: str(path)}
        finally:
            shutil.rmtree(work, ignore_errors=True)
