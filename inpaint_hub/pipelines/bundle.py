"""The pipeline for any photo that comes with the package: demo and command line start with it."""

from typing import Any

from inpaint_hub.bundled import weights_folder
from inpaint_hub.faces import FaceDetector
from inpaint_hub.pipelines.auto import load_pipeline
from inpaint_hub.pipelines.router import AutoInpaintPipeline

# Bundled folders. They are pipelines of their own, so that no weights are stored twice.
BUNDLE = {"faces": "dualpath-faces-128", "photos": "photos-128"}
DETECTOR = "face-detector"
OUTPAINTING = "outpainting-128"  # the model of photos where borders are to be filled
PAINTINGS = "dualpath-portraits-128"  # the model of faces where they are painted


def default_pipeline(**kwargs: Any) -> AutoInpaintPipeline:
    """The AutoInpaintPipeline made of the bundled weights; arguments as from_pretrained's.

    Raises: FileNotFoundError where the package was installed without its weights.
    """
    parts = {
        name: load_pipeline(weights_folder(folder), **kwargs) for name, folder in BUNDLE.items()
    }
    detector = FaceDetector.from_pretrained(weights_folder(DETECTOR))
    return AutoInpaintPipeline(**parts, detector=detector)


def outpainting_pipeline(
    pipe: AutoInpaintPipeline | None = None, **kwargs: Any
) -> AutoInpaintPipeline:
    """default_pipeline() for `inpaint_hub.outpainting.outpaint`: its model of photos is the bundled
    one that was trained on borders.

    pipe: a pipeline whose model of faces and detector are to be shared, as default_pipeline();
    arguments as from_pretrained's.

    Raises: FileNotFoundError where the package was installed without its weights.
    """
    if pipe is None:
        pipe = default_pipeline(**kwargs)
    else:
        kwargs = {"dtype": pipe.photos.dtype, "device_map": pipe.photos.device} | kwargs
    photos = load_pipeline(weights_folder(OUTPAINTING), **kwargs)
    return AutoInpaintPipeline(faces=pipe.faces, photos=photos, detector=pipe.detector)


def paintings_pipeline(**kwargs: Any) -> AutoInpaintPipeline:
    """default_pipeline() for paintings: its model of faces is the bundled one of painted portraits.

    Arguments as from_pretrained's.

    Raises: FileNotFoundError where the package was installed without these weights.
    """
    faces, pipe = load_pipeline(weights_folder(PAINTINGS), **kwargs), default_pipeline(**kwargs)
    return AutoInpaintPipeline(faces=faces, photos=pipe.photos, detector=pipe.detector)
