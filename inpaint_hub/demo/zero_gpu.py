"""Where the pipelines are called: here, or, on a ZeroGPU Space, in a process that was lent a GPU.

There the package `spaces` is at hand; it has to be imported before CUDA is used, so app.py imports
this first. Its processes are forks: a pipeline is named by its id, not sent.
"""

import weakref

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

    generators = None if seed is None else [torch.Generator().manual_seed(seed)]
    with torch.inference_mode():
        output = PIPELINES[key](image, mask, generator=generators, **options)
    # Pictures and plain values alone: tensors of the GPU do not leave its process.
    return output.images, getattr(output, "routes", None), getattr(output, "textures", None)


def call(pipe, image, mask, seed=None, **options):
    """(images, routes, textures) of a pipeline's call."""
    PIPELINES[id(pipe)] = pipe
    return _called(id(pipe), image, mask, seed, options)
