"""The pipeline a folder or Hub repository says it is."""

from pathlib import Path
from typing import Any

from inpaint_hub.hub import find_file, read_json
from inpaint_hub.pipelines.base import InpaintPipeline
from inpaint_hub.pipelines.kinds import KINDS
from inpaint_hub.pipelines.refinement import CoarseToFinePipeline
from inpaint_hub.pipelines.repository import INDEX, hub_options
from inpaint_hub.pipelines.router import AutoInpaintPipeline
from inpaint_hub.stylegan2 import StyleGAN2Generator

PIPELINES = KINDS | {cls.__name__: cls for cls in (CoarseToFinePipeline, AutoInpaintPipeline)}


def class_name(pretrained_model_name_or_path: str | Path, **kwargs: Any) -> str | None:
    """Name of the pipeline's class, as model_index.json has it, or None.

    Raises: FileNotFoundError when there is no such file; ValueError where it is no JSON object.
    """
    index = find_file(pretrained_model_name_or_path, INDEX, **hub_options(kwargs))
    name = read_json(index, "a pipeline's index").get("_class_name")
    return name if isinstance(name, str) else None


def _is_generator(folder: str | Path) -> bool:
    """Whether a folder's config.json, without a pipeline around it, is a StyleGAN2Generator's."""
    file = Path(folder) / "config.json"
    if not file.is_file() or (Path(folder) / INDEX).exists():
        return False
    try:
        config = set(read_json(file, "a config"))
    except ValueError:
        return False
    return "z_dim" in config and config <= set(StyleGAN2Generator._hub_mixin_init_parameters)


def load_pipeline(pretrained_model_name_or_path: str | Path, **kwargs: Any) -> InpaintPipeline:
    """The pipeline named by model_index.json; arguments as InpaintPipeline.from_pretrained's.

    Raises: FileNotFoundError when there is none; ValueError for a class that fills no holes; those
        of from_pretrained.
    """
    path = str(pretrained_model_name_or_path)
    if _is_generator(path):
        raise ValueError(
            f"{path!r} holds a generator alone, expected a pipeline; search with it: "
            f"WPlusSearchPipeline(StyleGAN2Generator.from_pretrained({path!r}))"
        )
    name = class_name(pretrained_model_name_or_path, **kwargs)
    if name == "StyleGAN2Pipeline":
        raise ValueError(
            f"{path!r} holds a generator alone ({name}), expected a pipeline with an encoder; "
            f"search with it: WPlusSearchPipeline.from_pretrained({path!r})"
        )
    if name not in PIPELINES:
        raise ValueError(
            f"{str(pretrained_model_name_or_path)!r} holds a {name}, expected one of "
            f"{sorted(PIPELINES)}; name the folder of an inpainting pipeline"
        )
    return PIPELINES[name].from_pretrained(pretrained_model_name_or_path, **kwargs)
