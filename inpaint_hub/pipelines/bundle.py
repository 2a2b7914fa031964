"""The pipeline for any photo that comes with the package: demo and command line start with it."""

from typing import Any

from inpaint_hub.bundled import weights_folder
from inpaint_hub.faces import FaceDetector
from inpaint_hub.pipelines.auto import load_pipeline
from inpaint_hub.pipelines.router import AutoInpaintPipeline

# Bundled folders. They are pipelines of their own, so that no weights are stored twice.
BUNDLE = {"faces": "dualpath-faces-128", "photos": "photos-128"}
DETECTOR = "face-detector"


def default_pipeline(**kwargs: Any) -> AutoInpaintPipeline:
    """The AutoInpaintPipeline made of the bundled weights; arguments as from_pretrained's.

    Raises: FileNotFoundError where the package was installed without its weights.
    """
    parts = {
        name: load_pipeline(weights_folder(folder), **kwargs) for name, folder in BUNDLE.items()
    }
    detector = FaceDetector.from_pretrained(weights_folder(DETECTOR))
    return AutoInpaintPipeline(**parts, detector=detector)
