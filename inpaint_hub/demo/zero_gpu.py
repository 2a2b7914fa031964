"""Where the pipelines are called: here, or, on a ZeroGPU Space, in a process that was lent a GPU.

There the package `spaces` is at hand; it has to be imported before CUDA is used, so app.py imports
this first. Its processes are forks: a pipeline is named by its id, not sent.
"""

import weakref
from types import SimpleNamespace

try:
    import spaces
except ModuleNotFoundError:
    spaces = None

SECONDS = 60  # a fill is lent the GPU for; short ones are served first
PIPELINES = weakref.WeakValueDictionary()  # {id: pipeline}


def lent(function):
    """The function, with a GPU for the time of each call where GPUs are lent."""
    return spaces.GPU(duration=SECONDS)(function) if spaces else function


@lent
def _called(key, image, mask, seed, options):
    import torch

    seeds = seed if isinstance(seed, list) else [seed]
    generators = None if seed is None else [torch.Generator().manual_seed(one) for one in seeds]
    with torch.inference_mode():
        output = PIPELINES[key](image, mask, generator=generators, **options)
    # Pictures and plain values alone: tensors of the GPU do not leave its process.
    return output.images, getattr(output, "routes", None), getattr(output, "textures", None)


def call(pipe, image, mask, seed=None, **options):
    """(images, routes, textures) of a pipeline's call; seed: one, or a list with one for each
    picture."""
    PIPELINES[id(pipe)] = pipe
    return _called(id(pipe), image, mask, seed, options)


class Lent:
    """A pipeline whose calls are each lent a GPU; all else is its own."""

    def __init__(self, pipe):
        self._pipe = pipe

    def __getattr__(self, name):
        return getattr(self._pipe, name)

    @property
    def __class__(self):
        return type(self._pipe)

    def __call__(self, image, mask_image, generator=None, **options):
        given = generator if isinstance(generator, list) else [generator]
        seeds = None if generator is None else [one.initial_seed() for one in given]
        made = call(self._pipe, image, mask_image, seeds, **options)
        return SimpleNamespace(**dict(zip(("images", "routes", "textures"), made)))


def lent_pipeline(pipe):
    """The pipeline, as functions that call pipelines take it."""
    return Lent(pipe) if spaces else pipe
