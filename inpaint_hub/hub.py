"""HubModel: what every network of the package is on disk and on the Hugging Face Hub.

A model is a folder (or a subfolder of a repository) with `config.json`, the constructor's keyword
arguments, and `model[.<variant>].safetensors`, possibly in shards. Loading is all or nothing.
"""

import json
from pathlib import Path

from huggingface_hub import (
    HfApi,
    PyTorchModelHubMixin,
    hf_hub_download,
    load_torch_model,
    save_torch_model,
    snapshot_download,
)
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from torch import nn


def weights_stem(variant):
    return f"model.{variant}" if variant else "model"


def download_weights(repo_id, filename, **options):
    """Path of one file of a Hub repository in the local cache, downloaded at need.

    options: those of huggingface_hub.hf_hub_download (revision, token, cache_dir, local_files_only,
    ...).

    Raises: FileNotFoundError when it is neither cached nor reachable.
    """
    try:
        return hf_hub_download(repo_id, filename, **options)
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise FileNotFoundError(
            f"{filename!r} of the Hub repository {repo_id!r} is not in the local cache and could "
            f"not be "
            f"downloaded ({type(error).__name__}); expected a reachable Hub or an earlier "
            f"download; "
            "connect once, or give the path of a local file"
        ) from error


def local_repository(repo, subfolder=None, variant=None, **options):
    """Folder that holds a model: `repo` itself if it is one, else a snapshot of only the wanted
    files."""
    stem, prefix = weights_stem(variant), f"{subfolder}/" if subfolder else ""
    folder = Path(repo)
    if not folder.is_dir():
        if folder.is_absolute() or str(repo).count("/") != 1 or str(repo).startswith("."):
            raise FileNotFoundError(
                f"{str(repo)!r} is neither a folder nor a Hub id (owner/name); check the path"
            )
        patterns = ("config.json", f"{stem}.safetensors*", f"{stem}-*-of-*.safetensors")
        try:
            folder = Path(
                snapshot_download(
                    str(repo), allow_patterns=[prefix + p for p in patterns], **options
                )
            )
        except LocalEntryNotFoundError as error:
            raise FileNotFoundError(
                f"the Hub repository {str(repo)!r} is not in the local cache and could not be "
                f"reached; "
                "connect once, or give a local folder"
            ) from error
    folder = folder / (subfolder or "")
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(
            f"no config.json in {str(folder)!r}; expected a model folder with config.json and "
            f"{stem}.safetensors; files present: {_names(folder)}"
        )
    return folder


def _names(folder):
    return sorted(p.name for p in folder.iterdir()) if folder.is_dir() else "none, no such folder"


class HubModel(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="inpaint_hub",
    license="apache-2.0",
    pipeline_tag="image-to-image",
    tags=["inpainting", "gan-inversion", "image-inpainting"],
):
    """Base class of the networks. Constructor arguments are keyword-only plain values: the
    config.json."""

    @property
    def dtype(self):
        """torch.dtype of the first floating-point parameter."""
        return next(p.dtype for p in self.parameters() if p.is_floating_point())

    @property
    def device(self):
        return next(self.parameters()).device

    @property
    def config(self):
        """The constructor's arguments as they are written to config.json."""
        return dict(self._hub_mixin_config or {})

    def save_pretrained(
        self,
        save_directory,
        *,
        variant=None,
        max_shard_size="5GB",
        safe_serialization=True,
        **kwargs,
    ):
        """Write config.json, model[.<variant>].safetensors and README.md; kwargs: the mixin's
        (push_to_hub, ...).

        Raises: ValueError for safe_serialization=False: only safetensors are written.
        """
        if not safe_serialization:
            raise ValueError(
                "safe_serialization is False, expected True: weights are only written as "
                "safetensors"
            )
        self._save_options = {"variant": variant, "max_shard_size": max_shard_size}
        try:
            return super().save_pretrained(save_directory, **kwargs)
        finally:
            del self._save_options

    def _save_pretrained(self, save_directory):
        options = getattr(self, "_save_options", {"variant": None, "max_shard_size": "5GB"})
        save_torch_model(
            self,
            save_directory,
            filename_pattern=weights_stem(options["variant"]) + "{suffix}.safetensors",
            max_shard_size=options["max_shard_size"],
        )

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path,
        *,
        subfolder=None,
        variant=None,
        revision=None,
        token=None,
        cache_dir=None,
        local_files_only=False,
        force_download=False,
        **kwargs,
    ):
        """The model of a folder or Hub repository, in eval mode.

        Args: subfolder inside it; variant: read model.<variant>.safetensors; dtype (or
        torch_dtype):
            fp32 where not given, whatever the file holds; device; strict: refuse missing or unknown
            tensors (default); the rest as in huggingface_hub. Other arguments override config.json.

        Raises: FileNotFoundError when there is no such model or variant; RuntimeError when the
        file's
            tensors are not exactly the model's; ValueError for a config.json with unknown
            arguments.
        """
        options = {
            "revision": revision,
            "token": token,
            "cache_dir": cache_dir,
            "local_files_only": local_files_only,
            "force_download": force_download,
        }
        folder = local_repository(pretrained_model_name_or_path, subfolder, variant, **options)
        cls._check_config(folder / "config.json")
        return super().from_pretrained(str(folder), variant=variant, **kwargs)

    @classmethod
    def _check_config(cls, file):
        known = set(cls._hub_mixin_init_parameters) - {"self"}
        unknown = sorted(set(json.loads(file.read_text())) - known)
        if unknown:
            raise ValueError(
                f"{str(file)!r} holds {unknown}, which {cls.__name__} does not know; expected some "
                f"of "
                f"{sorted(known)}; was it written for another class, or by a newer version?"
            )

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id,
        revision=None,
        cache_dir=None,
        force_download=False,
        local_files_only=False,
        token=None,
        variant=None,
        dtype=None,
        torch_dtype=None,
        device=None,
        strict=True,
        **model_kwargs,
    ):
        folder, stem = Path(model_id), weights_stem(variant)
        model = cls(**model_kwargs)
        index = folder / f"{stem}.safetensors.index.json"
        if index.is_file():
            state = _sharded_state(index)
            model.load_state_dict(state, strict=strict)
        elif (folder / f"{stem}.safetensors").is_file():
            load_torch_model(model, folder / f"{stem}.safetensors", strict=strict)
        else:
            raise FileNotFoundError(
                f"no {stem}.safetensors in {model_id!r}; "
                f"expected it for variant={variant!r}; files present: {_names(folder)}"
            )
        return model.to(device=device, dtype=dtype or torch_dtype).eval()


def _sharded_state(index):
    """{name: tensor} of all the shards that an index names."""
    from safetensors.torch import load_file

    weight_map = json.loads(index.read_text())["weight_map"]
    state = {}
    for shard in sorted(set(weight_map.values())):
        file = index.parent / shard
        if not file.is_file():
            raise FileNotFoundError(
                f"shard {shard!r}, named by {index.name!r}, is missing in {str(index.parent)!r}"
            )
        state.update(load_file(file))
    return state


def push_folder(folder, repo_id, commit_message=None, private=None, token=None, create_pr=False):
    """Create the Hub repository if need be and upload a folder as one commit; returns its
    address."""
    api = HfApi(token=token)
    repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
    message = commit_message or "Upload with inpaint_hub"
    return api.upload_folder(
        repo_id=repo_id, folder_path=folder, commit_message=message, create_pr=create_pr
    )
