"""The pipeline a folder or Hub repository says it is."""

import json
from pathlib import Path

from inpaint_hub.hub import download_weights
from inpaint_hub.pipelines.invertfill import InvertFillPipeline
from inpaint_hub.pipelines.psp import PSPPipeline

PIPELINES = {cls.__name__: cls for cls in (InvertFillPipeline, PSPPipeline)}


def load_pipeline(pretrained_model_name_or_path, **kwargs):
    """The pipeline named by model_index.json; arguments as InpaintPipeline.from_pretrained's.

    Raises: FileNotFoundError when there is none; ValueError for a class that fills no holes.
    """
    index = Path(pretrained_model_name_or_path) / "model_index.json"
    if not index.parent.is_dir():
        where = {
            k: kwargs[k]
            for k in ("revision", "token", "cache_dir", "local_files_only")
            if k in kwargs
        }
        index = Path(download_weights(str(pretrained_model_name_or_path), index.name, **where))
    if not index.is_file():
        raise FileNotFoundError(
            f"no model_index.json in {str(pretrained_model_name_or_path)!r}; expected the folder "
            f"of a saved "
            "pipeline; name the folder that save_pretrained or train_accelerate.py wrote"
        )
    name = json.loads(index.read_text())["_class_name"]
    if name not in PIPELINES:
        raise ValueError(
            f"{str(pretrained_model_name_or_path)!r} holds a {name}, expected one of "
            f"{sorted(PIPELINES)}"
        )
    return PIPELINES[name].from_pretrained(pretrained_model_name_or_path, **kwargs)
