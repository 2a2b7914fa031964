"""Every pipeline of one model, by the name that a model_index.json has."""

from inpaint_hub.pipelines.comodgan import CoModGANPipeline
from inpaint_hub.pipelines.dualpath import DualPathPipeline
from inpaint_hub.pipelines.feed_forward import FeedForwardPipeline
from inpaint_hub.pipelines.invertfill import InvertFillPipeline
from inpaint_hub.pipelines.lahiri import LahiriPipeline
from inpaint_hub.pipelines.psp import PSPBlendPipeline, PSPPipeline
from inpaint_hub.pipelines.search import MGANPriorPipeline, WPlusSearchPipeline, YehPipeline

KINDS = {
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
    )
}
