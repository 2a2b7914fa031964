"""HubModel: what every network of the package is on disk and on the Hugging Face Hub.

A model is a folder (or a subfolder of a repository) with `config.json`, the constructor's keyword
arguments, and `model[.<variant>].safetensors`, possibly in shards. Loading is all or nothing.
"""

import inspect
import json
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
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import nn

HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
MAX_SHARD_SIZE = "5GB"  # huggingface_hub's own default
CARD = "README.md"
MOST_OF_A_SETTING = 1 << 16  # no side, width or number of layers is larger
MOST_ENTRIES = 256  # of a list in a config
NAMED = 3  # tensors that a message names
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


def weights_stem(variant: str | None) -> str:
    return f"model.{variant}" if variant else "model"


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
            f"files present: {_names(folder)}"
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
            f"{stem}.safetensors; files present: {_names(folder)}"
        )
    return folder


def local_snapshot(repo_id: str | Path, **options: Any) -> Path:
    """Folder with all files of a Hub repository, downloaded at need; options: download_weights'.

    Raises: FileNotFoundError when it is neither cached nor to be had.
    """
    return _fetched(snapshot_download, repo_id, "the repository", **options)


def _names(folder: Path) -> list[str] | str:
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
        files = _weight_files(folder, stem, variant)
        shapes = {}
        for file in files:
            shapes |= _shapes(file)
        _check_shapes(cls._shapes_for(folder, model_kwargs), shapes, cls, files, strict)
        model = cls(**model_kwargs)
        state = {}
        for file in files:
            state.update(_finite_tensors(file))
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


def read_json(file: Path, expected: str) -> dict:
    """The dict in a JSON file; expected: what it should be, in words.

    Raises: ValueError that names the file where it holds anything else.
    """
    try:
        content = json.loads(Path(file).read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{str(file)!r} is not JSON ({error}); expected {expected}; was the download complete?"
        ) from error
    if not isinstance(content, dict):
        raise ValueError(
            f"{str(file)!r} holds a {type(content).__name__}, expected {expected}, an object; "
            "was the download complete?"
        )
    return content


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


def _weight_files(folder: Path, stem: str, variant: str | None) -> list[Path]:
    """The file, or the shards that its index names.

    Raises: FileNotFoundError where one is missing; ValueError for an index that is none.
    """
    index = folder / f"{stem}.safetensors.index.json"
    if not index.is_file():
        file = folder / f"{stem}.safetensors"
        if not file.is_file():
            raise FileNotFoundError(
                f"no {stem}.safetensors in {str(folder)!r}; expected it for variant={variant!r}; "
                f"files present: {_names(folder)}"
            )
        return [file]
    weight_map = read_json(index, "an index of shards").get("weight_map")
    shards = weight_map.values() if isinstance(weight_map, dict) else [None]
    if not shards or not all(isinstance(s, str) and Path(s).name == s for s in shards):
        raise ValueError(
            f"{str(index)!r} has no weight_map from tensors to files beside it; expected one; "
            "download it again"
        )
    files = [folder / shard for shard in sorted(set(shards))]
    for file in files:
        if not file.is_file():
            raise FileNotFoundError(
                f"shard {file.name!r}, named by {index.name!r}, is missing in {str(folder)!r}"
            )
    return files


def _shapes(file: Path) -> dict:
    """{name: shape} of a safetensors file, by its header alone.

    Raises: ValueError that says what the file is instead.
    """
    try:
        with safe_open(file, "pt") as tensors:
            return {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(
            f"{str(file)!r} ({file.stat().st_size:,} bytes) {what_it_is(file)} ({error})"
        ) from error


def what_it_is(file: Path) -> str:
    """What a file that is no whole safetensors file is, and what to do, in words."""
    again = "download it again"
    size = file.stat().st_size
    with file.open("rb") as content:
        start = content.read(1 << 20)
    if size == 0:
        return f"is empty, expected safetensors; {again}"
    if start.startswith(b"version https://git-lfs"):
        return (
            "is a pointer of Git LFS, not the weights; run `git lfs pull` in its repository, or "
            "load it by its Hub id"
        )
    if start.startswith((b"PK", b"\x80")):
        return (
            "is a PyTorch pickle, which may run code and is never loaded; convert it: "
            "python -m inpaint_hub.convert"
        )
    if start.lstrip()[:1] == b"<":
        return f"is a web page, expected safetensors; {again}"
    length = int.from_bytes(start[:8], "little")
    if size < 8 or (length <= 100_000_000 and 8 + length > size):
        return f"is cut off within its header, expected safetensors; {again}"
    try:
        header = json.loads(start[8 : 8 + length])
        end = max(e["data_offsets"][1] for n, e in header.items() if n != "__metadata__")
        if 8 + length + end > size:
            return f"is cut off, {8 + length + end:,} bytes were expected; {again}"
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        pass  # its header is damaged, too
    return f"is damaged, expected safetensors; {again}"


def _check_shapes(expected: dict, found: dict, cls: type, files: list, strict: bool) -> None:
    """Raises: RuntimeError where a file's tensors are not exactly the model's."""
    wrong = [
        f"{name} has the shape {found[name]}, expected {expected[name]}"
        for name in expected
        if name in found and found[name] != expected[name]
    ]
    missing = [name for name in expected if name not in found] if strict else []
    unknown = [name for name in found if name not in expected] if strict else []
    told = wrong[:NAMED]
    if missing:
        told.append(f"{len(missing)} tensors are missing, as {', '.join(missing[:NAMED])}")
    if unknown:
        told.append(f"{len(unknown)} are unknown, as {', '.join(unknown[:NAMED])}")
    if told:
        raise RuntimeError(
            f"the tensors of {[str(file) for file in files]} are not those of the {cls.__name__} "
            f"that config.json describes: {'; '.join(told)}; expected all of them, and no others; "
            "were both files saved together?"
        )


def _finite_tensors(file: Path) -> dict:
    """{name: tensor}.

    Raises: ValueError for a damaged file, or for weights that are no numbers.
    """
    try:
        state = load_file(file)
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(
            f"{str(file)!r} ({file.stat().st_size:,} bytes) {what_it_is(file)} ({error})"
        ) from error
    broken = [
        name
        for name, tensor in state.items()
        if tensor.is_floating_point() and not torch.isfinite(tensor.float()).all()
    ]
    if broken:
        raise ValueError(
            f"{str(file)!r} holds NaN or infinite weights in {len(broken)} tensors, as "
            f"{', '.join(broken[:NAMED])}; expected numbers; was it a run that failed? Take "
            "an earlier checkpoint, or download the file again"
        )
    return state


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
