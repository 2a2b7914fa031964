"""HubModel: what every network of the package is on disk and on the Hugging Face Hub.

A model is a folder (or a subfolder of a repository) with `config.json`, the constructor's keyword
arguments, and `model[.<variant>].safetensors`, possibly in shards. Loading is all or nothing.
"""

import inspect
import math
import re
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from types import UnionType
from typing import Any, Self, get_args, get_origin

import torch
from huggingface_hub import (
    CommitInfo,
    HfApi,
    PyTorchModelHubMixin,
    hf_hub_download,
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

from inpaint_hub.weight_files import (
    check_shapes,
    finite_tensors,
    names_in,
    read_json,
    shapes_in,
    weight_files,
    weights_stem,
)

HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
MAX_SHARD_SIZE = "5GB"  # huggingface_hub's own default
CARD = "README.md"
MOST_OF_A_SETTING = 1 << 16  # no side, width or number of layers is larger
MOST_ENTRIES = 256  # of a list in a config
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


def _check_hub_id(repo: str | Path) -> None:
    if not HUB_ID.fullmatch(str(repo)):
        raise FileNotFoundError(
            f"{str(repo)!r} is neither a folder nor a Hub id (owner/name); check the path"
        )


def _fetched(download: Callable, repo_id: str | Path, wanted: str, **options: Any) -> Path:
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


def download_weights(repo_id: str | Path, filename: str, **options: Any) -> str:
    """Path of one file of a Hub repository in the local cache, downloaded at need.

    options: those of huggingface_hub.hf_hub_download (revision, token, cache_dir, ...).

    Raises: FileNotFoundError when it is neither cached nor to be had.
    """
    return str(_fetched(hf_hub_download, repo_id, repr(filename), filename=filename, **options))


def find_file(repo: str | Path, filename: str, **options: Any) -> Path:
    """Path of a file of a folder, or of a Hub repository (options: as download_weights').

    Raises: FileNotFoundError when there is none.
    """
    folder = Path(repo)
    if not folder.is_dir():
        return Path(download_weights(repo, filename, **options))
    if not (folder / filename).is_file():
        raise FileNotFoundError(
            f"no {filename} in {str(folder)!r}; expected the folder that save_pretrained wrote; "
            f"files present: {names_in(folder)}"
        )
    return folder / filename


def local_repository(
    repo: str | Path, subfolder: str | None = None, variant: str | None = None, **options: Any
) -> Path:
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
            f"{stem}.safetensors; files present: {names_in(folder)}"
        )
    return folder


def local_snapshot(repo_id: str | Path, **options: Any) -> Path:
    """Folder with all files of a Hub repository, downloaded at need; options: download_weights'.

    Raises: FileNotFoundError when it is neither cached nor to be had.
    """
    return _fetched(snapshot_download, repo_id, "the repository", **options)


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
    def dtype(self) -> torch.dtype:
        """torch.dtype of the first floating-point parameter."""
        return next(p.dtype for p in self.parameters() if p.is_floating_point())

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def config(self) -> dict:
        """The constructor's arguments as they are written to config.json."""
        return dict(self._hub_mixin_config or {})

    def save_pretrained(
        self,
        save_directory: str | Path,
        *,
        variant: str | None = None,
        max_shard_size: int | str | None = MAX_SHARD_SIZE,
        safe_serialization: bool = True,
        push_to_hub: bool = False,
        repo_id: str | None = None,
        model_card_kwargs: dict | None = None,
        **push_options: Any,
    ) -> CommitInfo | None:
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

    def _save_pretrained(self, save_directory: str | Path) -> None:
        stem = weights_stem(self._layout["variant"])
        save_torch_model(
            self,
            save_directory,
            filename_pattern=f"{stem}{{suffix}}.safetensors",
            max_shard_size=self._layout["max_shard_size"],
        )

    def push_to_hub(
        self,
        repo_id: str,
        *,
        variant: str | None = None,
        max_shard_size: int | str | None = MAX_SHARD_SIZE,
        model_card_kwargs: dict | None = None,
        **push_options: Any,
    ) -> CommitInfo:
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
        pretrained_model_name_or_path: str | Path,
        *,
        subfolder: str | None = None,
        variant: str | None = None,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
        **kwargs: Any,
    ) -> Self:
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
            this class, a file that is damaged, or weights that are no numbers. Sizes are compared
            before anything is allocated.
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
    def _check_config(cls, file: Path) -> None:
        config = read_json(file, f"the arguments of {cls.__name__}")
        known = set(cls._hub_mixin_init_parameters) - {"self"}
        if unknown := sorted(set(config) - known):
            raise ValueError(
                f"{str(file)!r} holds {unknown}, which {cls.__name__} does not know; expected some "
                f"of {sorted(known)}; was it written for another class, or by a newer version?"
            )
        parameters = inspect.signature(cls.__init__).parameters
        for name, value in config.items():
            check_setting(file, name, value, parameters[name].annotation)

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
        variant: str | None = None,
        dtype: torch.dtype | None = None,
        torch_dtype: torch.dtype | None = None,
        device: str | torch.device | None = None,
        strict: bool = True,
        **model_kwargs: Any,
    ) -> Self:
        folder, stem = Path(model_id), weights_stem(variant)
        files = weight_files(folder, stem, variant)
        shapes = {}
        for file in files:
            shapes |= shapes_in(file)
        check_shapes(cls._shapes_for(folder, model_kwargs), shapes, cls, files, strict)
        model = cls(**model_kwargs)
        state = {}
        for file in files:
            state.update(finite_tensors(file))
        model.load_state_dict(state, strict=strict)
        return model.to(device=device, dtype=dtype or torch_dtype).eval()

    @classmethod
    def _shapes_for(cls, folder: Path, arguments: dict) -> dict:
        """{name: shape} of the model that the arguments describe, before anything is allocated."""
        try:
            with torch.device("meta"):
                state = cls(**arguments).state_dict()
        except Exception as error:  # whatever a constructor raises for what it cannot be made of
            given = {k: v for k, v in arguments.items() if k in inspect.signature(cls).parameters}
            raise ValueError(
                f"{str(folder / 'config.json')!r} holds {given}, of which no {cls.__name__} can be "
                f"made ({error}); expected the arguments it was saved with; download it again"
            ) from error
        return {name: tuple(tensor.shape) for name, tensor in state.items()}


def check_setting(file: Path, name: str, value: object, kind: object) -> None:
    """Raises: ValueError for a value in a config that is not of the annotated kind, or that no
    model has."""
    kinds = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    values = value if isinstance(value, list) else [value]
    fitting = value is None and type(None) in kinds
    for one in kinds:
        base = get_origin(one) or one
        inner = get_args(one)[0] if get_args(one) else base
        if base is inspect.Parameter.empty or (base is list) == isinstance(value, list):
            fitting |= all(type(v) is inner or (inner is float and type(v) is int) for v in values)
            fitting |= inner is inspect.Parameter.empty
    if not fitting:
        wanted = " or ".join(getattr(k, "__name__", str(k)) for k in kinds)
        raise ValueError(
            f"{name} is {value!r} in {str(file)!r}, expected {wanted}; download the file again"
        )
    for one in values:
        number = isinstance(one, (int, float)) and not isinstance(one, bool)
        if number and not (math.isfinite(one) and abs(one) <= MOST_OF_A_SETTING):
            raise ValueError(
                f"{name} is {one} in {str(file)!r}, expected a number of at most "
                f"{MOST_OF_A_SETTING}; nothing was loaded; download the file again"
            )
    if len(values) > MOST_ENTRIES:
        raise ValueError(
            f"{name} has {len(values)} entries in {str(file)!r}, expected {MOST_ENTRIES} at most; "
            "download the file again"
        )


def create_repository(
    repo_id: str, *, private: bool | None = None, token: str | bool | None = None
) -> str:
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
    folder: str | Path,
    repo_id: str,
    *,
    commit_message: str | None = None,
    private: bool | None = None,
    token: str | bool | None = None,
    create_pr: bool = False,
    branch: str | None = None,
    allow_patterns: list[str] | None = None,
    keep_card: bool = False,
) -> CommitInfo:
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
