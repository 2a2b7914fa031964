"""The pipeline for any photo that comes with the package: demo and command line start with it."""

from pathlib import Path

from inpaint_hub.faces import FaceDetector
from inpaint_hub.pipelines.auto import load_pipeline
from inpaint_hub.pipelines.router import AutoInpaintPipeline

WEIGHTS = Path(__file__).parent.parent.parent / "weights"
# Folders in WEIGHTS. They are pipelines of their own, so the bundle stores no weights twice.
BUNDLE = {"faces": "dualpath-faces-128", "photos": "invertfill-scenes-128"}
DETECTOR = "face-detector"


def default_pipeline(**kwargs):
    """The AutoInpaintPipeline made of the bundled weights; arguments as from_pretrained's.

    Raises: FileNotFoundError where the package was installed without its weights.
    """
    if not WEIGHTS.is_dir():
        raise FileNotFoundError(
            f"no bundled weights in {str(WEIGHTS)!r}; expected the repository's folder weights; "
            "name a pipeline's folder or Hub id instead"
        )
    parts = {name: load_pipeline(WEIGHTS / folder, **kwargs) for name, folder in BUNDLE.items()}
    return AutoInpaintPipeline(**parts, detector=FaceDetector.from_pretrained(WEIGHTS / DETECTOR))
