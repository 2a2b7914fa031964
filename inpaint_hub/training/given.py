"""Pipelines that a run is given to start from: what they are, and their networks."""

import json
from pathlib import Path
from typing import Any, TypeVar

from inpaint_hub import hub
from inpaint_hub.stylegan2 import StyleGAN2Discriminator
from inpaint_hub.training.config import TrainConfig

INDEX = "model_index.json"
Model = TypeVar("Model", bound=hub.HubModel)


def component_config(
    config: TrainConfig, name: str, pipeline: str | Path | None = None
) -> dict[str, Any]:
    """config.json of component `name` of a pipeline: where not given, the one that
    pretrained_model_name_or_path names."""
    path = pipeline or config.pretrained_model_name_or_path
    return json.loads(
        hub.find_file(path, f"{name}/config.json", **hub_options(config)).read_text(
            encoding="utf-8"
        )
    )


def pipeline_index(config: TrainConfig) -> dict[str, Any]:
    """model_index.json of the pipeline that pretrained_model_name_or_path names."""
    path = config.pretrained_model_name_or_path
    return json.loads(hub.find_file(path, INDEX, **hub_options(config)).read_text(encoding="utf-8"))


def hub_options(config: TrainConfig) -> dict[str, Any]:
    return {"revision": config.revision or None, "cache_dir": config.cache_dir or None}


class GivenPipelines:
    """The networks of given pipelines, for a training method with `config` and `accelerator`."""

    def load_pretrained(
        self, model_class: type[Model], subfolder: str, pipeline: str | Path | None = None
    ) -> Model:
        """Component `subfolder` of a pipeline: where not given, the one that
        pretrained_model_name_or_path names."""
        c = self.config
        return model_class.from_pretrained(
            pipeline or c.pretrained_model_name_or_path,
            subfolder=subfolder,
            variant=c.variant or None,
            **hub_options(c),
        )

    def discriminator_beside(self, pipeline: str | Path) -> StyleGAN2Discriminator | None:
        """The StyleGAN2 discriminator saved beside a pipeline's generator; None where there is
        none, or another kind."""
        try:
            arguments = component_config(self.config, "discriminator", pipeline)
        except FileNotFoundError:
            return None
        if "resolution" not in arguments:  # SN-PatchGAN knows none
            return None
        options = hub_options(self.config)
        return StyleGAN2Discriminator.from_pretrained(
            pipeline, subfolder="discriminator", **options
        ).train()

    def beside(
        self, model_class: type[Model], subfolder: str, arguments: dict[str, Any]
    ) -> Model | None:
        """The model of these arguments that an earlier run saved beside the given pipeline; None
        where there is none, or one of other arguments."""
        pipeline = self.config.pretrained_model_name_or_path
        try:
            if not pipeline or component_config(self.config, subfolder) != dict(arguments):
                return None
        except FileNotFoundError:
            return None
        self.accelerator.print(f"{model_class.__name__}: the one beside the pipeline goes on.")
        options = hub_options(self.config)
        return model_class.from_pretrained(pipeline, subfolder=subfolder, **options).train()
