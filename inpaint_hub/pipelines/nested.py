"""Pipelines that are made of others."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import torch
from diffusers import __version__ as diffusers_version

from inpaint_hub import hub
from inpaint_hub.pipelines.base import InpaintPipeline
from inpaint_hub.pipelines.repository import INDEX, dtype_for, hub_options


class NestedPipeline(InpaintPipeline):
    """Base of pipelines whose components are pipelines, `parts`, and networks beside them. On disk,
    the folder of a part is a whole repository itself."""

    part_kinds: Mapping[str, type[InpaintPipeline]] = {}  # by name: what a part may be
    in_full_precision: tuple[str, ...] = ()  # networks that no dtype or variant concerns

    def register_parts(self, **components: InpaintPipeline | hub.HubModel) -> None:
        """Raises: TypeError for a component of another kind than the constructor names."""
        networks = self.network_classes()
        kinds = tuple(self.part_kinds.values())
        for name, part in components.items():
            given = type(part).__name__
            if name in networks and not isinstance(part, networks[name]):
                expected = networks[name][0].__name__
                raise TypeError(
                    f"{name} is a {given}, expected a {expected}; load one with "
                    f"{expected}.from_pretrained"
                )
            if name not in networks and not isinstance(part, kinds):
                raise TypeError(
                    f"{name} is a {given}, expected a pipeline of one model; load one with "
                    "load_pipeline"
                )
        self.register_modules(**components)

    @property
    def parts(self) -> dict[str, InpaintPipeline]:
        """{name: pipeline} of those it is made of."""
        return {k: v for k, v in self.components.items() if isinstance(v, InpaintPipeline)}

    @property
    def own_networks(self) -> dict[str, hub.HubModel]:
        return {k: v for k, v in self.components.items() if k not in self.parts}

    def to(self, *arguments: Any, **options: Any) -> Self:
        for part in self.components.values():
            part.to(*arguments, **options)
        return self

    def optimize(self, engine: str | None = "eager", dtype: torch.dtype | None = None) -> Self:
        for part in self.parts.values():
            part.optimize(engine, dtype)
        return self

    def enable_model_cpu_offload(self, *arguments: Any, **options: Any) -> None:
        for part in self.parts.values():
            part.enable_model_cpu_offload(*arguments, **options)

    def maybe_free_model_hooks(self) -> None:
        for part in self.parts.values():
            part.maybe_free_model_hooks()

    def set_progress_bar_config(self, **options: Any) -> None:
        for part in self.parts.values():
            part.set_progress_bar_config(**options)

    @classmethod
    def part_names(cls) -> Iterable[str]:
        """Names of the components that are pipelines."""
        names = cls.__init__.__annotations__.keys() - cls.network_classes().keys() - {"return"}
        return sorted(names)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        variant: str | None = None,
        device_map: str | torch.device | None = None,
        **kwargs: Any,
    ) -> Self:
        """The pipeline of a folder or Hub repository; arguments as InpaintPipeline's, components by
        their names in place of the repository's."""
        names = [*cls.part_names(), *cls.network_classes()]
        own = {name: kwargs.pop(name) for name in names if name in kwargs}
        where = hub_options(kwargs)
        kwargs |= {"variant": variant, "device_map": device_map}
        index = json.loads(
            hub.find_file(pretrained_model_name_or_path, INDEX, **where).read_text("utf-8")
        )
        if index.get("_class_name") != cls.__name__:
            raise TypeError(
                f"{str(pretrained_model_name_or_path)!r} holds a {index.get('_class_name')}, "
                f"expected a {cls.__name__}; use load_pipeline"
            )
        folder = Path(pretrained_model_name_or_path)
        if not folder.is_dir():
            folder = hub.local_snapshot(pretrained_model_name_or_path, **where)
        for name in [name for name in cls.part_names() if name not in own]:
            entry = index.get(name)
            kind = entry[1] if isinstance(entry, list) and len(entry) == 2 else entry
            if kind not in cls.part_kinds:
                raise ValueError(
                    f"{name} is a {kind} in {INDEX}, expected one of {sorted(cls.part_kinds)}; "
                    "was it written by a newer version?"
                )
            own[name] = cls.part_kinds[kind].from_pretrained(folder / name, **kwargs)
        for name, (network, *_) in cls.network_classes().items():
            if name not in own:
                options = {"variant": variant, "dtype": dtype_for(name, kwargs)}
                options = {} if name in cls.in_full_precision else options
                own[name] = network.from_pretrained(folder, subfolder=name, **options)
        pipeline = cls(**own)
        return pipeline if device_map is None else pipeline.to(device_map)

    def write_components(self, folder: Path, **options: Any) -> None:
        for name, part in self.parts.items():
            part.save_pretrained(folder / name, **options)
        for name, network in self.own_networks.items():
            own_options = {} if name in self.in_full_precision else options
            network.save_pretrained(folder / name, **own_options)
        index = {"_class_name": type(self).__name__, "_diffusers_version": diffusers_version}
        index |= {
            name: ["inpaint_hub", type(part).__name__] for name, part in self.components.items()
        }
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", "utf-8")
