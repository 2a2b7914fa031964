"""Handlers: photos and masks come in, and masks go out."""

from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import numpy as np

from inpaint_hub.demo import editor
from inpaint_hub.demo.editor import photo_message, photo_of
from inpaint_hub.demo.examples import Shelf
from inpaint_hub.demo.photos import (
    Refusal,
    Step,
    Visit,
    accept,
    mask_from_file,
    mask_picture,
    opened,
)
from inpaint_hub.demo.rounds import before_after, history_of, pairs, summary
from inpaint_hub.demo.sentences import NO_DRAFT, status, telling
from inpaint_hub.masks import mask_in_band

RANDOM_SIDE_PX = 1024  # random holes of larger photos are drawn at this size
RANDOM_COVERAGE = (0.1, 0.3)


class Opening:
    """Args: parts: the page's components by name; shelf: the examples; root: the visits' folder."""

    def __init__(self, parts: SimpleNamespace, shelf: Shelf, root: Path):
        self.parts, self.shelf, self.root = parts, shelf, root

    def visit_for(self, visit: Visit | None) -> Visit:
        """The visit, or a new one where there is none any more."""
        return Visit(self.root) if visit is None or not visit.folder.is_dir() else visit

    def first_visit(self, visit: Visit | None) -> dict:
        return self.open_example(0, visit)

    def pick_example(self, visit: Visit | None, event: gr.SelectData) -> dict:
        return self.open_example(event.index, visit)

    @telling("told")
    def open_example(self, index: int, visit: Visit | None) -> dict:
        parts, visit = self.parts, self.visit_for(visit)
        photo, image, hole, (file, shown), result = self.shelf.open(visit, int(index))
        mask = visit.new_file(f"{photo.stem}_mask.png")
        mask_picture(hole).save(mask)
        step = Step(photo, mask, [file], [shown], [f"seed {result.seed}"], "")
        step.summary = summary(step, hole, [result], timed=False)  # it was made beforehand
        shown_photo = photo_message(visit, photo, image, hole)
        visit.add(step)
        return {
            parts.told: status(step.summary),
            parts.visit: visit,
            parts.editor: shown_photo,
            parts.drafted: NO_DRAFT,
            parts.slider: before_after(step),
            parts.gallery: gr.Gallery(pairs(step), selected_index=0),
            parts.download: str(file),
            parts.history: history_of(visit),
        }

    @telling("told")
    def open_upload(self, value: dict | None, visit: Visit | None) -> dict:
        parts, visit = self.parts, self.visit_for(visit)
        sent = (value or {}).get("upload") or {}
        if not sent.get("path"):
            raise Refusal("The upload did not arrive: try again.")
        try:
            photo, image = accept(visit, sent["path"], Path(sent.get("orig_name") or "photo").name)
        except Refusal as refusal:
            return {
                parts.told: status(refusal, "error"),
                parts.visit: visit,
                parts.editor: editor.message(visit, "error", text=str(refusal)),
            }
        return {
            parts.told: status(f"{photo.name} is here. Paint over what should go."),
            parts.visit: visit,
            parts.editor: photo_message(visit, photo, image),
        }

    # --- the mask --------------------------------------------------------------------------------

    @telling("told")
    def random_hole(self, visit: Visit | None) -> dict:
        photo = photo_of(visit)
        scale = min(1, RANDOM_SIDE_PX / max(photo.size))
        size = [max(1, round(side * scale)) for side in photo.size]
        hole = mask_in_band(size, *RANDOM_COVERAGE, np.random.default_rng())
        return self.new_mask(visit, hole, "A random hole; Undo takes it back.")

    @telling("told")
    def mask_upload(self, path: str, visit: Visit | None) -> dict:
        photo = photo_of(visit)
        hole = mask_from_file(path, opened(photo.path, photo.name))
        text = f"The mask covers {hole.mean():.1%} of the photo; Undo takes it back."
        return self.new_mask(visit, hole, text)

    def new_mask(self, visit: Visit, hole: np.ndarray, text: str) -> dict:
        url = editor.hole_url(hole)
        return {
            self.parts.told: status(text),
            self.parts.editor: editor.message(visit, "mask", url=url),
        }

    @telling("told")
    def mask_download(self, value: dict | None, visit: Visit | None) -> dict:
        photo, _, hole = editor.photo_and_hole(visit, value)
        path = visit.new_file(f"{photo.stem}_mask.png")
        mask_picture(hole).save(path)
        text = f"The mask is ready: {path.name}, white where the photo is to be filled."
        return {
            self.parts.told: status(text),
            self.parts.mask_out: gr.DownloadButton(value=str(path), interactive=True),
        }
