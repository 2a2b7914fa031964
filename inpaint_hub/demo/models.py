"""The pipelines visitors can choose, each loaded once and shared; a visitor's choice is a name."""

import re
import threading
from collections import OrderedDict
from typing import NamedTuple

from inpaint_hub import (
    default_pipeline,
    load_pipeline,
    outpainting_pipeline,
    paintings_pipeline,
)
from inpaint_hub.bundled import weights_folder
from inpaint_hub.demo.photos import Refusal
from inpaint_hub.hub import find_file
from inpaint_hub.pipelines.bundle import PAINTINGS

HUB_ID = re.compile(r"^[\w-][\w.-]*/[\w-][\w.-]*$")
HUB_PIPELINES = 2  # of the Hub's, kept at once; the longest unused one goes


class Part(NamedTuple):
    """A source: what the default pipeline has under this name."""

    name: str


class Models:
    """Pipelines by name.

    Args:
        sources: {name: folder, Hub id, pipeline, Part, or function that returns a pipeline}, the
            default first.
        device, engine: as for InpaintPipeline.to and optimize (None: leave as they are).
        from_hub: whether visitors may name any repository of the Hub.
    """

    def __init__(self, sources, device=None, engine=None, from_hub=True):
        self.sources = dict(sources)
        self.device, self.engine, self.from_hub = device, engine, from_hub
        self.loaded, self.visitors = {}, OrderedDict()
        self.revisions, self.larger = {}, None
        self.lock = threading.RLock()

    @property
    def names(self):
        return list(self.sources)

    @property
    def default(self):
        return self.names[0]

    def get(self, name=None):
        """The pipeline of that name, or of a Hub repository.

        Raises: Refusal for other names, and for repositories that hold no pipeline of ours.
        """
        name = (name or self.default).strip()
        with self.lock:
            if name in self.sources:
                if name not in self.loaded:
                    self.loaded[name] = self._ready(self.sources[name])
                return self.loaded[name]
            return self._of_hub(name)

    def outpainting(self, name=None):
        """The pipeline that makes photos larger where that name fills holes: in place of the
        bundled ones of photos, one whose weights were trained on borders.

        Raises: as get.
        """
        name = (name or self.default).strip()
        pipe = self.get(name)
        photos_alone = self.sources.get(name) == Part("photos")
        if self.sources.get(self.default if photos_alone else name) is not default_pipeline:
            return pipe
        with self.lock:
            if self.larger is None:
                self.larger = outpainting_pipeline(self.get() if photos_alone else pipe)
                if self.engine is not None:
                    self.larger.photos.optimize(self.engine)
                self.larger.set_progress_bar_config(disable=True)
        return self.larger.photos if photos_alone else self.larger

    def revision(self, name=None):
        """Commit of the Hub repository that the pipeline came from, or None."""
        return self.revisions.get(name or self.default)

    def _of_hub(self, name):
        if not self.from_hub or not HUB_ID.match(name):
            raise Refusal(
                f"There is no model {name!r} here; choose one of {', '.join(self.names)}"
                + (", or name a Hub repository as owner/name." if self.from_hub else ".")
            )
        if name in self.visitors:
            self.visitors.move_to_end(name)
            return self.visitors[name]
        try:
            pipe = self._ready(name)
        except Refusal:
            raise
        except Exception as error:
            raise Refusal(
                f"The model {name!r} cannot be loaded: {error}. Name a repository that a pipeline "
                "of inpaint_hub was pushed to."
            ) from error
        index = find_file(name, "model_index.json")
        if index.parent.parent.name == "snapshots":
            self.revisions[name] = index.parent.name
        self.visitors[name] = pipe
        while len(self.visitors) > HUB_PIPELINES:
            self.visitors.popitem(last=False)
        return pipe

    def _ready(self, source):
        if isinstance(source, Part):
            return getattr(self.get(), source.name)
        if hasattr(source, "components"):  # a pipeline, as its owner made it ready
            return source
        pipe = source() if callable(source) else load_pipeline(source)
        if self.device is not None:
            pipe = pipe.to(self.device)
        if self.engine is not None:
            pipe = pipe.optimize(self.engine)
        pipe.set_progress_bar_config(disable=True)
        return pipe


def bundled_models():
    """{name: source} of what the package brings along, the default first: the router, the two
    pipelines it chooses from, and in a checkout the router for paintings.

    Raises: FileNotFoundError without bundled weights.
    """
    weights_folder("")
    found = {"Automatic": default_pipeline, "Faces": Part("faces"), "Photos": Part("photos")}
    try:
        weights_folder(PAINTINGS)
    except FileNotFoundError:
        return found  # an installed package has the default weights alone
    return found | {"Paintings": paintings_pipeline}
