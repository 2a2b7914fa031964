"""The pipeline a folder or Hub repository says it is."""

import json

from inpaint_hub.hub import find_file
from inpaint_hub.pipelines.comodgan import CoModGANPipeline
from inpaint_hub.pipelines.dualpath import DualPathPipeline
from inpaint_hub.pipelines.feed_forward import FeedForwardPipeline
from inpaint_hub.pipelines.invertfill import InvertFillPipeline
from inpaint_hub.pipelines.lahiri import LahiriPipeline
from inpaint_hub.pipelines.psp import PSPBlendPipeline, PSPPipeline
from inpaint_hub.pipelines.repository import INDEX, hub_options
from inpaint_hub.pipelines.router import AutoInpaintPipeline
from inpaint_hub.pipelines.search import MGANPriorPipeline, WPlusSearchPipeline, YehPipeline

PIPELINES = {
    cls.__name__: cls
    for cls in (
        InvertFillPipeline,
        PSPPipeline,
        PSPBlendPipeline,
        DualPathPipeline,
        FeedForwardPipeline,
        WPlusSearchPipeline,
        YehPipeline,
        MGANPriorPipeline,
        LahiriPipeline,
        CoModGANPipeline,
        AutoInpaintPipeline,
    )
}


def class_name(pretrained_model_name_or_path, **kwargs):
    """Name of the pipeline's class, as model_index.json has it, or None.

    Raises: FileNotFoundError when there is no such file.
    """
    index = find_file(pretrained_model_name_or_path, INDEX, **hub_options(kwargs))
    return json.loads(index.read_text()).get("_class_name")


def load_pipeline(pretrained_model_name_or_path, **kwargs):
    """The pipeline named by model_index.json; arguments as InpaintPipeline.from_pretrained's.

    Raises: FileNotFoundError when there is none; ValueError for a class that fills no holes; those
        of from_pretrained.
    """
    name = class_name(pretrained_model_name_or_path, **kwargs)
    if name not in PIPELINES:
        raise ValueError(
            f"{str(pretrained_model_name_or_path)!r} holds a {name}, expected one of "
            f"{sorted(PIPELINES)}; name the folder of an inpainting pipeline"
        )
    return PIPELINES[name].from_pretrained(pretrained_model_name_or_path, **kwargs)
