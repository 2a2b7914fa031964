"""HubModel: what every network of the package is on disk and on the Hugging Face Hub.

A model is a folder (or a subfolder of a repository) with `config.json`, the constructor's keyword
arguments, and `model[.<variant>].safetensors`, possibly in shards. Loading is all or nothing.
"""

import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory

from huggingface_hub import (
    HfApi,
    PyTorchModelHubMixin,
    hf_hub_download,
    load_torch_model,
    save_torch_model,
    snapshot_download,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from torch import nn

HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
MAX_SHARD_SIZE = "5GB"  # huggingface_hub's own default
CARD = "README.md"
REASONS = (  # from the most to the least specific class of error
    (LocalEntryNotFoundError, "the Hub cannot be reached; connect once, or give a local path"),
    (
        RepositoryNotFoundError,
        "there is no such repository, or it is private; check the name, or log in: hf auth login",
    ),
    (RevisionNotFoundError, "there is no such revision; check the name of the branch or commit"),
    (EntryNotFoundError, "the repository has no such file; look at its list of files"),
    (Exception, "it could not be downloaded; try again, or give a local path"),
)


def weights_stem(variant):
    return f"model.{variant}" if variant else "model"


def _check_hub_id(repo):
    if not HUB_ID.fullmatch(str(repo)):
        raise FileNotFoundError(
            f"{str(repo)!r} is neither a folder nor a Hub id (owner/name); check the path"
        )


def _fetched(download, repo_id, wanted, **options):
    """What `download` returns; its errors as one FileNotFoundError that says what to do."""
    _check_hub_id(repo_id)
    try:
        return Path(download(str(repo_id), **options))
    except (HfHubHTTPError, OSError) as error:
        reason = next(text for kind, text in REASONS if isinstance(error, kind))
        raise FileNotFoundError(
            f"{wanted} of {str(repo_id)!r} is neither a local file nor in the Hub's cache, and "
            f"{reason} ({type(error).__name__})"
        ) from error


def download_weights(repo_id, filename, **options):
    """Path of one file of a Hub repository in the local cache, downloaded at need.

    options: those of huggingface_hub.hf_hub_download (revision, token, cache_dir, ...).

    Raises: FileNotFoundError when it is neither cached nor to be had.
    """
    return str(_fetched(hf_hub_download, repo_id, repr(filename), filename=filename, **options))


def find_file(repo, filename, **options):
    """Path of a file of a folder, or of a Hub repository (options: as download_weights').

    Raises: FileNotFoundError when there is none.
    """
    folder = Path(repo)
    if not folder.is_dir():
        return Path(download_weights(repo, filename, **options))
    if not (folder / filename).is_file():
        raise FileNotFoundError(
            f"no {filename} in {str(folder)!r}; expected the folder that save_pretrained wrote; "
            f"files present: {_names(folder)}"
        )
    return folder / filename


def local_repository(repo, subfolder=None, variant=None, **options):
    """Folder that holds a model: `repo` itself if it is one, else a snapshot of what is needed.

    Raises: FileNotFoundError when there is no such model.
    """
    stem, prefix = weights_stem(variant), f"{subfolder}/" if subfolder else ""
    folder = Path(repo)
    if not folder.is_dir():
        files = ("config.json", f"{stem}.safetensors*", f"{stem}-*-of-*.safetensors")
        patterns = [prefix + name for name in files]
        folder = _fetched(
            snapshot_download, repo, f"{prefix}{stem}", allow_patterns=patterns, **options
        )
    folder = folder / (subfolder or "")
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(
            f"no config.json in {str(folder)!r}; expected a model folder with config.json and "
            f"{stem}.safetensors; files present: {_names(folder)}"
        )
    return folder


def local_snapshot(repo_id, **options):
    """Folder with all files of a Hub repository, downloaded at need; options: download_weights'.

    Raises: FileNotFoundError when it is neither cached nor to be had.
    """
    return _fetched(snapshot_download, repo_id, "the repository", **options)


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
    """Base class of the networks.

    Constructor arguments are keyword-only plain values: together they are the config.json.
    """

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
        max_shard_size=MAX_SHARD_SIZE,
        safe_serialization=True,
        push_to_hub=False,
        repo_id=None,
        model_card_kwargs=None,
        **push_options,
    ):
        """Write config.json, model[.<variant>].safetensors and, where there is none, README.md.

        push_to_hub: upload the model too, to repo_id (default: the folder's name); push_options: as
        push_to_hub's. Returns the commit then, else None.

        Raises: ValueError for safe_serialization=False: only safetensors are written.
        """
        if not safe_serialization:
            raise ValueError(
                "safe_serialization is False, expected True: weights are only written as "
                "safetensors"
            )
        layout = {"variant": variant, "max_shard_size": max_shard_size or MAX_SHARD_SIZE}
        self._layout = layout  # the mixin calls the hook below without arguments
        try:
            super().save_pretrained(save_directory, model_card_kwargs=model_card_kwargs)
        finally:
            del self._layout
        if push_to_hub:
            repo_id = repo_id or Path(save_directory).name
            return self.push_to_hub(
                repo_id, model_card_kwargs=model_card_kwargs, **layout, **push_options
            )
        return None

    def _save_pretrained(self, save_directory):
        stem = weights_stem(self._layout["variant"])
        save_torch_model(
            self,
            save_directory,
            filename_pattern=f"{stem}{{suffix}}.safetensors",
            max_shard_size=self._layout["max_shard_size"],
        )

    def push_to_hub(
        self,
        repo_id,
        *,
        variant=None,
        max_shard_size=MAX_SHARD_SIZE,
        model_card_kwargs=None,
        **push_options,
    ):
        """Upload the model as one commit; a card that the repository has stays as it is.

        push_options: commit_message, private, token, create_pr, branch. Returns the commit.
        """
        with TemporaryDirectory() as folder:
            self.save_pretrained(
                folder,
                variant=variant,
                max_shard_size=max_shard_size,
                model_card_kwargs=model_card_kwargs,
            )
            return push_folder(folder, repo_id, keep_card=True, **push_options)

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

        Args:
            subfolder: where it lies inside the repository.
            variant: read model.<variant>.safetensors instead of model.safetensors.
            dtype (or torch_dtype): fp32 where not given, whatever the file holds.
            device: where to put it.
            strict: refuse missing or unknown tensors (default).
            revision, token, cache_dir, local_files_only, force_download: as in huggingface_hub.
            Other arguments override those in config.json.

        Raises: FileNotFoundError when there is no such model or variant; RuntimeError when the
            file's tensors are not exactly the model's; ValueError for a config.json that is none of
            this class.
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
        try:
            config = json.loads(file.read_text())
        except ValueError as error:
            raise ValueError(
                f"{str(file)!r} is not JSON ({error}); expected the arguments of {cls.__name__}; "
                "was the download complete?"
            ) from error
        known = set(cls._hub_mixin_init_parameters) - {"self"}
        if unknown := sorted(set(config) - known):
            raise ValueError(
                f"{str(file)!r} holds {unknown}, which {cls.__name__} does not know; expected some "
                f"of {sorted(known)}; was it written for another class, or by a newer version?"
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
            model.load_state_dict(_sharded_state(index), strict=strict)
        elif (folder / f"{stem}.safetensors").is_file():
            load_torch_model(model, folder / f"{stem}.safetensors", strict=strict)
        else:
            raise FileNotFoundError(
                f"no {stem}.safetensors in {model_id!r}; expected it for variant={variant!r}; "
                f"files present: {_names(folder)}"
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


def create_repository(repo_id, *, private=None, token=None):
    """Whole name of the Hub repository, which is created if need be; private: as push_folder's.

    Raises: PermissionError where the Hub does not let this user write there.
    """
    try:
        return HfApi(token=token).create_repo(repo_id, private=private, exist_ok=True).repo_id
    except (HfHubHTTPError, OSError) as error:
        raise PermissionError(
            f"cannot write to the Hub repository {repo_id!r} ({error}); log in with "
            "`hf auth login`, give a token that may write, or choose a repository of yours"
        ) from error


def push_folder(
    folder,
    repo_id,
    *,
    commit_message=None,
    private=None,
    token=None,
    create_pr=False,
    branch=None,
    allow_patterns=None,
    keep_card=False,
):
    """Create the Hub repository if need be and upload a folder as one commit; returns the commit.

    private: of a new repository (default: the owner's setting). allow_patterns: upload only these
    files. keep_card: leave a README.md that the repository has as it is.
    """
    api = HfApi(token=token)
    repo_id = create_repository(repo_id, private=private, token=token)
    keep_card = keep_card and api.file_exists(repo_id, CARD, revision=branch)
    return api.upload_folder(
        repo_id=repo_id,
        folder_path=folder,
        commit_message=commit_message or "Upload with inpaint_hub",
        create_pr=create_pr,
        revision=branch,
        allow_patterns=allow_patterns,
        ignore_patterns=[CARD] if keep_card else None,
    )
