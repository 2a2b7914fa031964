"""Pipelines: preprocess -> encode -> generate -> composite."""

from inpaint_hub.pipelines.auto import load_pipeline
from inpaint_hub.pipelines.base import InpaintOutput, InpaintPipeline
from inpaint_hub.pipelines.bundle import (
    default_pipeline,
    outpainting_pipeline,
    paintings_pipeline,
)
from inpaint_hub.pipelines.comodgan import CoModGANPipeline
from inpaint_hub.pipelines.dualpath import DualPathOutput, DualPathPipeline
from inpaint_hub.pipelines.feed_forward import FeedForwardPipeline
from inpaint_hub.pipelines.invertfill import InvertFillPipeline
from inpaint_hub.pipelines.lahiri import LahiriPipeline
from inpaint_hub.pipelines.psp import PSPBlendPipeline, PSPPipeline
from inpaint_hub.pipelines.refinement import CoarseToFinePipeline
from inpaint_hub.pipelines.router import AutoInpaintOutput, AutoInpaintPipeline
from inpaint_hub.pipelines.routes import Route
from inpaint_hub.pipelines.search import MGANPriorPipeline, WPlusSearchPipeline, YehPipeline
from inpaint_hub.pipelines.stylegan2 import StyleGAN2Pipeline

__all__ = [
    "AutoInpaintOutput",
    "AutoInpaintPipeline",
    "DualPathOutput",
    "DualPathPipeline",
    "CoModGANPipeline",
    "CoarseToFinePipeline",
    "FeedForwardPipeline",
    "InpaintOutput",
    "InpaintPipeline",
    "InvertFillPipeline",
    "LahiriPipeline",
    "MGANPriorPipeline",
    "PSPBlendPipeline",
    "PSPPipeline",
    "Route",
    "StyleGAN2Pipeline",
    "WPlusSearchPipeline",
    "YehPipeline",
    "default_pipeline",
    "load_pipeline",
    "outpainting_pipeline",
    "paintings_pipeline",
]
