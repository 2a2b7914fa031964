"""Handlers: fill, drafts while drawing, and the steps so far, back and on."""

import random
import time
from collections.abc import Iterator
from types import SimpleNamespace

import gradio as gr
import numpy as np

from inpaint_hub.demo import filling
from inpaint_hub.demo.editor import photo_and_hole, photo_message
from inpaint_hub.demo.filling import MAX_SEED, Result, Settings, seconds_said
from inpaint_hub.demo.models import Models
from inpaint_hub.demo.photos import (
    Photo,
    Refusal,
    Step,
    Visit,
    converted,
    from_result,
    mask_from_file,
    mask_picture,
    opened,
    write_result,
)
from inpaint_hub.demo.sentences import NO_DRAFT, draft_sentence, said, status, telling

IDLE = {"fill_button": gr.update(interactive=True), "cancel": gr.update(interactive=False)}


def settings_of(
    seed: object,
    new_seed: bool,
    results: object,
    variation: object,
    texture: str,
    seam: str,
    soft_seam: object,
) -> Settings:
    """Checked settings from the page's options, in their order there.

    Raises: Refusal.
    """
    if new_seed:
        seed = random.randrange(MAX_SEED + 1)
    return Settings(
        seed, results, variation, soft_seam=soft_seam, seam=seam, texture=texture
    ).checked()


def caption(result: Result) -> str:
    return f"seed {result.seed} · {seconds_said(result.seconds)}"


def summary(step: Step, hole: np.ndarray, results: list[Result], timed: bool = True) -> str:
    """What the page says of a step: how much, how long, which way."""
    text = f"Filled {hole.mean():.1%} of {step.photo.name}"
    if timed:
        text += f" in {seconds_said(sum(result.seconds for result in results))}"
    text += f" ({len(results)} results)." if len(results) > 1 else "."
    return "\n".join([text, *results[0].routes[:6]])


def pairs(step: Step) -> list[tuple[str, str]]:
    """The gallery's value of a step."""
    return list(zip(map(str, step.shown), step.captions))


def before_after(step: Step) -> tuple[str, str]:
    """The slider's value of a step."""
    return str(step.photo.shown), str(step.shown[step.chosen])


def history_of(visit: Visit) -> list[tuple[str, str]]:
    """The history's value of a visit."""
    return [(str(s.shown[s.chosen]), f"Step {i}") for i, s in enumerate(visit.steps, start=1)]


def add_result(step: Step, result: Result, visit: Visit, name: str) -> None:
    """Write a result, and put it at the end of the step's."""
    file, shown = write_result(result.image, visit, name, result.notes)
    step.results.append(file)
    step.shown.append(shown)
    step.captions.append(caption(result))


class Rounds:
    """Args: parts: the page's components by name; models: Models to fill with."""

    def __init__(self, parts: SimpleNamespace, models: Models):
        self.parts, self.models = parts, models

    def shown(self, step: Step) -> dict:
        return {
            self.parts.slider: before_after(step),
            self.parts.gallery: gr.Gallery(pairs(step), selected_index=step.chosen),
        }

    def buttons(self, working: bool) -> dict:
        return {
            self.parts.fill_button: gr.Button(interactive=not working),
            self.parts.cancel: gr.Button(interactive=working),
        }

    @telling("told", **IDLE)
    def fill_it(self, value: dict, visit: Visit | None, model: str, *given: object) -> Iterator:
        parts = self.parts
        settings = settings_of(*given)
        yield {parts.told: status("Filling …", "run")} | self.buttons(working=True)
        photo, image, hole = photo_and_hole(visit, value)
        visit.asked(value)
        pipe = self.models.get(model)
        step, done = Step(photo, None, [], [], [], ""), []
        name = f"{photo.stem}_filled"
        for result in filling.fill(pipe, image, hole, settings, self.models.revision(model)):
            done.append(result)
            add_result(
                step, result, visit, name if settings.results == 1 else f"{name}_{len(done)}"
            )
            if len(done) < settings.results:
                text = status(f"Filling … {len(done)} of {settings.results}", "run")
                yield {parts.told: text, parts.drafted: NO_DRAFT} | self.shown(step)
        step.summary = summary(step, hole, done)
        step.mask = visit.new_file(f"{photo.stem}_mask.png")
        mask_picture(hole).save(step.mask, compress_level=1)
        visit.add(step)
        text = step.summary
        if hole.all():
            text += "\nEverything was painted over: all of it is invented."
        yield {
            parts.told: status(text),
            parts.drafted: NO_DRAFT,
            parts.visit: visit,
            parts.download: str(step.results[0]),
            parts.history: history_of(visit),
            parts.seed: settings.seed,
            **self.shown(step),
            **self.buttons(working=False),
        }

    def canceled(self) -> dict:
        return {self.parts.told: status("Canceled.")} | self.buttons(working=False)

    def fill_live(self, value: dict, visit: Visit | None, model: str, *given: object) -> dict:
        """A draft after each stroke, replaced by the next. Its sentence has its own place: it never
        covers one that was asked for."""
        parts = self.parts
        try:
            if visit is None or not visit.wants_draft(value):
                return {parts.drafted: gr.skip()}
            step = self.draft(value, visit, model, *given)
        except Refusal:
            return {parts.drafted: gr.skip()}  # nothing is painted: the next stroke will tell
        except Exception as error:
            return {parts.drafted: draft_sentence(said(error))}
        if step is None:
            return {parts.drafted: gr.skip()}
        return {
            parts.drafted: draft_sentence(step.summary),
            parts.download: str(step.results[0]),
            **self.shown(step),
        }

    def draft(self, value: dict, visit: Visit, model: str, *given: object) -> Step | None:
        """The step of a draft; None where something else was asked for in the meantime."""
        photo, image, hole = photo_and_hole(visit, value)
        pipe, requests = self.models.get(model), visit.requests
        settings = Settings(seed=whole_or_zero(given[0]), seam=given[5], texture="none")
        start = time.perf_counter()
        result = next(filling.fill(pipe, image, hole, settings.checked()))
        step = Step(photo, None, [], [], [], "")
        add_result(step, result, visit, f"{photo.stem}_filled")
        step.captions = ["live draft"]
        step.summary = f"Live draft in {time.perf_counter() - start:.2f} s; Fill adds texture."
        if visit.requests != requests or not visit.wants_draft(value):
            visit.forget(step)
            return None
        visit.show_draft(step)
        return step

    # --- steps -----------------------------------------------------------------------------------

    @telling("told")
    def choose(self, visit: Visit | None, file_format: str, event: gr.SelectData) -> dict:
        parts = self.parts
        step = visit.step() if visit else None
        if step is None or event.index >= len(step.shown):
            return {parts.told: gr.skip()}
        step.chosen = event.index
        visit.asked()
        return {
            parts.slider: before_after(step),
            parts.download: str(converted(step.results[step.chosen], file_format)),
            parts.history: history_of(visit),
        }

    @telling("told")
    def change_format(self, visit: Visit | None, file_format: str) -> dict:
        parts = self.parts
        step = visit.step() if visit else None
        if step is None:
            return {parts.told: gr.skip()}
        text = step.summary
        if file_format != "PNG":
            text += f"\n{file_format} files lose a little everywhere; PNG keeps every known value."
        file = converted(step.results[step.chosen], file_format)
        return {parts.told: status(text), parts.download: str(file)}

    @telling("told")
    def go_on(self, visit: Visit | None) -> dict:
        step = visit.step() if visit else None
        if step is None:
            raise Refusal("There is no result yet: fill something first.")
        photo, image = from_result(visit, step.results[step.chosen], step.photo.stem)
        photo = Photo(photo.path, photo.name, photo.size, step.shown[step.chosen], photo.note)
        text = "The result is the photo now: paint over what else should go."
        return {
            self.parts.told: status(text),
            self.parts.editor: photo_message(visit, photo, image),
        }

    @telling("told")
    def go_back(self, visit: Visit, file_format: str, event: gr.SelectData) -> dict:
        parts = self.parts
        step = visit.back_to(event.index)
        image = opened(step.photo.path, step.photo.name)
        hole = mask_from_file(step.mask, image)
        return {
            parts.told: status(f"Back at step {event.index + 1}. {step.summary}"),
            parts.visit: visit,
            parts.editor: photo_message(visit, step.photo, image, hole),
            parts.download: str(converted(step.results[step.chosen], file_format)),
            parts.drafted: NO_DRAFT,
            **self.shown(step),
        }


def whole_or_zero(seed: object) -> int:
    """The seed, or 0 for one that cannot be: a draft is none to complain at."""
    try:
        return filling.whole("seed", seed, 0, MAX_SEED)
    except Refusal:
        return 0
