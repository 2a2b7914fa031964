"""Files of weights and of settings: safetensors in one piece or in shards, and JSON, checked before
anything is allocated; what is none of these is named for what it is."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

NAMED = 3  # tensors that a message names


def weights_stem(variant: str | None) -> str:
    return f"model.{variant}" if variant else "model"


def names_in(folder: Path) -> list[str] | str:
    return sorted(p.name for p in folder.iterdir()) if folder.is_dir() else "none, no such folder"


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


def weight_files(folder: Path, stem: str, variant: str | None) -> list[Path]:
    """The file, or the shards that its index names.

    Raises: FileNotFoundError where one is missing; ValueError for an index that is none.
    """
    index = folder / f"{stem}.safetensors.index.json"
    if not index.is_file():
        file = folder / f"{stem}.safetensors"
        if not file.is_file():
            raise FileNotFoundError(
                f"no {stem}.safetensors in {str(folder)!r}; expected it for variant={variant!r}; "
                f"files present: {names_in(folder)}"
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


def shapes_in(file: Path) -> dict:
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


def check_shapes(expected: dict, found: dict, cls: type, files: list, strict: bool) -> None:
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


def finite_tensors(file: Path) -> dict:
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
