"""A pipeline as a repository: what every pipeline is on disk and on the Hugging Face Hub.

A folder with `model_index.json`, a sub-folder for each network as `inpaint_hub.hub` writes it, a
model card, and the root `config.json` by which the Hub counts downloads.
"""

import inspect
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from types import NoneType
from typing import Any, Self, get_args

import torch
from diffusers import DiffusionPipeline
from diffusers.pipelines import pipeline_loading_utils
from torch import nn

from inpaint_hub import hub

# diffusers saves and loads only components whose base class stands in these tables; ours is looked
# up by name in the top-level package. One test fails loudly should the tables move. It is done here
# because importing diffusers takes seconds, and every pipeline class imports this module.
REGISTRATION = {hub.HubModel.__name__: ["save_pretrained", "from_pretrained"]}
pipeline_loading_utils.LOADABLE_CLASSES["inpaint_hub"] = REGISTRATION
pipeline_loading_utils.ALL_IMPORTABLE_CLASSES.update(REGISTRATION)

INDEX = "model_index.json"
PAPERS = {  # where those are that the classes name
    "CoModGAN": "https://arxiv.org/abs/2103.10428",
    "Dual-path": "https://openaccess.thecvf.com/content/CVPR2022/html/Wang_Dual-Path_Image_Inpainting_With_Auxiliary_GAN_Inversion_CVPR_2022_paper.html",
    "Generative Image Inpainting with Contextual Attention": "https://arxiv.org/abs/1801.07892",
    "Image2StyleGAN": "https://arxiv.org/abs/1904.03189",
    "InvertFill": "https://www.ecva.net/papers/eccv_2022/papers_ECCV/papers/136760228.pdf",
    "Prior Guided GAN Based Semantic Inpainting": "https://openaccess.thecvf.com/content_CVPR_2020/html/Lahiri_Prior_Guided_GAN_Based_Semantic_Inpainting_CVPR_2020_paper.html",
    "Semantic Image Inpainting with Deep Generative Models": "https://arxiv.org/abs/1607.07539",
    "StyleGAN2": "https://arxiv.org/abs/1912.04958",
    "mGANprior": "https://arxiv.org/abs/1912.07116",
    "pSp": "https://arxiv.org/abs/2008.00951",
}
SIZES = ("resolution", "w_dim", "z_dim")  # that every component shares with the generator


def hub_options(arguments: dict) -> dict:
    """Those of the arguments that say which files of a Hub repository are meant, and by what
    right."""
    names = ("revision", "token", "cache_dir", "local_files_only", "force_download")
    return {name: arguments[name] for name in names if name in arguments}


def dtype_for(name: str, arguments: dict) -> torch.dtype | None:
    """The dtype that from_pretrained's arguments ask for in one component."""
    dtype = arguments.get("dtype", arguments.get("torch_dtype"))
    return dtype.get(name, dtype.get("default")) if isinstance(dtype, dict) else dtype


def woken(model: nn.Module) -> nn.Module:
    """The model, moved to its device if enable_model_cpu_offload put it away.

    diffusers' hook does so before `forward`; we also call the parts of a model by themselves.
    """
    hook = getattr(model, "_hf_hook", None)
    if hasattr(hook, "pre_forward"):
        hook.pre_forward(model)
    return model


class HubPipeline(DiffusionPipeline):
    """Base of all pipelines: networks by name, in most a `gan`, loaded and saved all or nothing.

    The constructor's annotations say of what class each network is.
    """

    pipeline_tag = "image-to-image"
    tags: tuple[str, ...] = ("inpainting", "gan-inversion", "image-inpainting")
    # The card's example: its imports, what follows on `pipe`, and what may be relied on.
    usage_imports = usage = promise = ""
    papers = ()  # that it was written from: names in PAPERS
    # {component: settings, beside SIZES, that it must have in common with the generator}
    shared_settings: dict[str, tuple[str, ...]] = {}

    @property
    def resolution(self) -> int:
        """Side of the network's pictures in px."""
        return self.gan.resolution

    @classmethod
    def network_classes(cls) -> dict[str, tuple[type, ...]]:
        """{component's name: classes it may be of}, as the constructor's annotations say."""
        annotations = cls.__init__.__annotations__.items()
        kinds = {name: get_args(kind) or (kind,) for name, kind in annotations if name != "return"}
        kinds = {name: tuple(c for c in own if c is not NoneType) for name, own in kinds.items()}
        return {
            name: classes
            for name, classes in kinds.items()
            if all(isinstance(c, type) and issubclass(c, hub.HubModel) for c in classes)
        }

    def register_networks(self, **networks: hub.HubModel) -> None:
        """Register the components, given by their names.

        Raises: TypeError for a component of another class than the constructor's annotation;
            ValueError for networks whose pictures, codes or features differ in size.
        """
        for name, expected in self.network_classes().items():
            if networks[name] is None and name in self._optional_components:
                continue
            model = getattr(networks[name], "_orig_mod", networks[name])  # if compiled
            if not isinstance(model, expected):
                raise TypeError(self._of_another_kind(name, type(model).__name__))
        gan = networks["gan"].config if "gan" in networks else {}
        for name, network in networks.items():
            own = dict(network.config) if network is not None else {}
            if "resolution" in own:  # where the generator's features enter
                own["resolution"] >>= own.get("outer_scales", 0)
            for key in (*SIZES, *self.shared_settings.get(name, ())):
                if gan and own.get(key, gan.get(key)) != gan.get(key):
                    raise ValueError(
                        f"{key} is {own[key]} for the {name} and {gan.get(key)} for gan; "
                        f"expected them equal; use the {name} that was trained with this generator"
                    )
        self.register_modules(**networks)

    @classmethod
    def _of_another_kind(cls, name: str, given: str | None) -> str:
        expected = " or ".join(kind.__name__ for kind in cls.network_classes()[name])
        return (
            f"{name} is a {given}, {cls.__name__} expects {expected}; for a saved pipeline of "
            "another kind use load_pipeline"
        )

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        variant: str | None = None,
        device_map: str | torch.device | None = None,
        **kwargs: Any,
    ) -> Self:
        """The pipeline of a folder or Hub repository.

        Args:
            variant: read model.<variant>.safetensors of every component.
            device_map: name of one device ("cuda", "cpu", "cuda:1").
            Others as in diffusers: revision, token, cache_dir, local_files_only, force_download,
            dtype (one, or {component: dtype, "default": dtype}), components by their names.

        Raises: FileNotFoundError for a missing repository, file or variant; RuntimeError for
            weights that are not exactly the models'; TypeError for a pipeline of another kind;
            ValueError for device maps that split a model.
        """
        if device_map is not None and (
            not isinstance(device_map, (str, torch.device))
            or str(device_map) in ("balanced", "auto")
        ):
            raise ValueError(
                f"device_map is {device_map!r}, expected the name of one device, as 'cuda'; the "
                "models are small enough for one"
            )
        where = hub_options(kwargs)
        index = hub.find_file(pretrained_model_name_or_path, INDEX, **where)
        left_out = set(cls._optional_components) - cls._networks_in(index)
        absent = [name for name in cls.network_classes() if name not in {*kwargs, *left_out}]
        for name in absent:
            hub.find_file(pretrained_model_name_or_path, f"{name}/config.json", **where)
        cls._check_index(index, absent)
        if variant is not None:
            kwargs |= cls._load_components(pretrained_model_name_or_path, variant, where, kwargs)
        pipeline = super().from_pretrained(pretrained_model_name_or_path, **kwargs)
        return pipeline if device_map is None else pipeline.to(device_map)

    @staticmethod
    def _networks_in(file: Path) -> set[str]:
        """Names of the components that a model_index.json has, whatever they are."""
        index = hub.read_json(file, "a pipeline's index").items()
        return {name for name, value in index if isinstance(value, list) and any(value)}

    @classmethod
    def _check_index(cls, file: Path, networks: list[str]) -> None:
        """Raises: ValueError for a model_index.json that is none, or of no pipeline like this;
        TypeError for other networks than those named."""
        index = hub.read_json(file, "a pipeline's index")
        parameters = inspect.signature(cls.__init__).parameters
        for name, value in index.items():
            if name.startswith("_"):
                continue
            if name not in parameters and isinstance(value, list) and value[:1] == ["inpaint_hub"]:
                continue  # a network of another of our pipelines, which is left aside
            if name not in parameters:
                raise ValueError(
                    f"{str(file)!r} holds {name!r}, which {cls.__name__} does not know; expected "
                    f"some of {[n for n in parameters if n != 'self']}; use load_pipeline, or the "
                    "class that it names"
                )
            if parameters[name].annotation in (int, float, bool, str):
                hub.check_setting(file, name, value, parameters[name].annotation)
        for name in networks:
            entry = index.get(name)
            if not (isinstance(entry, list) and [type(e) for e in entry] == [str, str]):
                raise ValueError(
                    f"{name} is {entry!r} in {str(file)!r}, expected [library, class]; "
                    "download it again, or save the pipeline anew"
                )
            library, given = entry
            found = getattr(sys.modules.get(library), given, None)  # nothing is imported for it
            if not (isinstance(found, type) and issubclass(found, cls.network_classes()[name])):
                given = given if library == "inpaint_hub" else f"{library}.{given}"
                raise TypeError(f"{cls._of_another_kind(name, given)} ({file})")

    @classmethod
    def _load_components(
        cls, repository: str | Path, variant: str | None, where: dict, kwargs: dict
    ) -> dict[str, hub.HubModel]:
        """{name: model} of the variant's files, which diffusers would not pass on."""
        index = hub.read_json(hub.find_file(repository, INDEX, **where), "a pipeline's index")
        models = {}
        for name, classes in cls.network_classes().items():
            given = (index.get(name) or (None, None))[1]
            if name in kwargs or (given is None and name in cls._optional_components):
                continue
            network = next((kind for kind in classes if kind.__name__ == given), None)
            if network is None:
                raise TypeError(cls._of_another_kind(name, given))
            own = {"variant": variant, "dtype": dtype_for(name, kwargs)}
            models[name] = network.from_pretrained(repository, subfolder=name, **own, **where)
        return models

    def save_pretrained(
        self,
        save_directory: str | Path,
        safe_serialization: bool = True,
        variant: str | None = None,
        max_shard_size: int | str | None = None,
        push_to_hub: bool = False,
        repo_id: str | None = None,
        **push_options: Any,
    ) -> hub.CommitInfo | None:
        """Write model_index.json, the components, and, where they are not there yet, a model card
        and the root config.json by which the Hub counts downloads.

        push_to_hub: upload these files too, to repo_id (default: the folder's name); push_options:
        as push_to_hub's. Returns the commit then, else None.
        """
        folder = Path(save_directory)
        repo_id = repo_id or folder.name
        self.write_components(
            folder,
            safe_serialization=safe_serialization,
            variant=variant,
            max_shard_size=max_shard_size,
        )
        own_card = (folder / hub.CARD).is_file()
        if not own_card:
            (folder / hub.CARD).write_text(
                self.model_card(repo_id if push_to_hub else None), "utf-8"
            )
        if not (folder / "config.json").is_file():
            config = {"_class_name": type(self).__name__, "resolution": self.resolution}
            (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")
        if not push_to_hub:
            return None
        files = [INDEX, "config.json", hub.CARD, *(f"{name}/*" for name in self.components)]
        return hub.push_folder(
            folder, repo_id, allow_patterns=files, keep_card=not own_card, **push_options
        )

    def write_components(self, folder: Path, **options: Any) -> None:
        """Write model_index.json and the components; options: how, as save_pretrained's."""
        super().save_pretrained(folder, **options)
        index = json.loads((folder / INDEX).read_text("utf-8"))
        index.pop("_name_or_path", None)  # where it was loaded from is nobody's business
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", "utf-8")

    def push_to_hub(
        self,
        repo_id: str,
        *,
        variant: str | None = None,
        max_shard_size: int | str | None = None,
        **push_options: Any,
    ) -> hub.CommitInfo:
        """Upload the pipeline as one commit, with our model card where the repository has none.

        push_options: commit_message, private, token, create_pr, branch. Returns the commit.
        """
        with TemporaryDirectory() as folder:
            return self.save_pretrained(
                folder,
                variant=variant,
                max_shard_size=max_shard_size,
                push_to_hub=True,
                repo_id=repo_id,
                **push_options,
            )

    def paper_line(self) -> str:
        """Links to the papers, as the Hub finds them in a card."""
        links = ", ".join(f"[{name}]({PAPERS[name]})" for name in self.papers)
        return f"Written from: {links}.\n\n" if links else ""

    def model_card(self, repo_id: str | None = None) -> str:
        """README.md of a saved pipeline; training data and terms are the trainer's to add."""
        name = type(self).__name__
        return (
            f"---\nlibrary_name: inpaint_hub\npipeline_tag: {self.pipeline_tag}\n"
            f"tags: [{', '.join(self.tags)}]\n---\n\n"
            f"# {name}, {self.resolution} px\n\n"
            f"{inspect.cleandoc(type(self).__doc__)}\n\n"
            f"{self.paper_line()}"
            "```python\n"
            f"from inpaint_hub import {name}\n"
            f"{self.usage_imports}"
            f'\npipe = {name}.from_pretrained("{repo_id or "<this repository>"}")\n'
            f"{self.usage}"
            "```\n\n"
            f"{self.promise}"
            "Training data, terms of use and measured quality: not stated by who saved this.\n"
        )
