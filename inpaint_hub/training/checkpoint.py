"""checkpoint-<step> folders: written aside and renamed, checked before they are used."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

NAME = re.compile(r"checkpoint-(\d+)")
MANIFEST = "checkpoint.json"  # {"step", "method", "num_processes", "files": {name: [bytes, hash]}}
STATES = ("states.safetensors", "states.json")  # tensors; numbers, and how long lists are
PARTIAL, REPLACED, REMOVED = ASIDE = (".partial", ".replaced", ".removed")
# Besides OSError: what the writers of torch and of safetensors raise when the disk is full.
WRITE_ERRORS = (OSError, RuntimeError, SafetensorError)


def checkpoints(output_dir):
    """Checkpoint folders, oldest first (unfinished ones have another name)."""
    found = [p for p in Path(output_dir).glob("checkpoint-*") if NAME.fullmatch(p.name)]
    return sorted(found, key=lambda p: int(NAME.fullmatch(p.name).group(1)))


def check_continues(output_dir, resumed):
    """resumed: the checkpoint a run goes on from, or None.

    Raises: ValueError where output_dir holds checkpoints of another run, which this one would
        remove in time.
    """
    present = checkpoints(output_dir)
    if present and (resumed is None or resumed.resolve() not in [p.resolve() for p in present]):
        names = [p.name for p in present]
        raise ValueError(
            f"{str(output_dir)!r} holds checkpoints of an earlier run: {names}; "
            "go on from them with --resume_from_checkpoint latest, or give another --output_dir"
        )


def save_states(folder, states):
    """Write {name: object with a state_dict of tensors, lists of tensors and plain values}.

    accelerate would pickle them, and loading a pickle can run anything.
    """
    tensors, plain = {}, {}
    for name, state in ((name, kept.state_dict()) for name, kept in states.items()):
        plain[name] = {}
        for key, value in state.items():
            if isinstance(value, torch.Tensor):
                tensors[f"{name}.{key}"] = value.detach().cpu().clone().contiguous()
            elif isinstance(value, list):
                plain[name][key] = {"length": len(value)}
                for i, part in enumerate(value):
                    tensors[f"{name}.{key}.{i}"] = part.detach().cpu().clone().contiguous()
            else:
                plain[name][key] = value
    save_file(tensors, folder / STATES[0])
    (folder / STATES[1]).write_text(json.dumps(plain), encoding="utf-8")


def load_states(folder, states):
    """Give the objects of save_states their states back.

    Raises: KeyError, ValueError for states of other objects.
    """
    tensors = load_file(folder / STATES[0])
    plain = json.loads((folder / STATES[1]).read_text(encoding="utf-8"))
    if plain.keys() != states.keys():
        raise ValueError(f"it holds {sorted(plain)}, expected {sorted(states)}")
    for name, kept in states.items():
        state = {
            key: [tensors[f"{name}.{key}.{i}"] for i in range(value["length"])]
            if isinstance(value, dict)
            else value
            for key, value in plain[name].items()
        }
        for key in tensors:
            owner, rest = key.split(".", 1)
            if owner == name and "." not in rest:
                state[rest] = tensors[key]
        kept.load_state_dict(state)


def file_hash(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


def write_manifest(folder, **facts):
    """Record what a finished folder holds, so that a torn or missing file is noticed."""
    files = {p.name: [p.stat().st_size, file_hash(p)] for p in sorted(folder.iterdir())}
    (folder / MANIFEST).write_text(
        json.dumps({**facts, "files": files}, indent=1), encoding="utf-8"
    )


def is_manifest(value):
    """Whether a JSON value has a manifest's form."""
    if not isinstance(value, dict) or not isinstance(value.get("files"), dict):
        return False
    counts = all(type(value.get(name)) is int for name in ("step", "num_processes"))
    entries = value["files"].items()
    return (
        counts
        and isinstance(value.get("method"), str)
        and all(Path(n).name == n and isinstance(e, list) and len(e) == 2 for n, e in entries)
    )


def read_manifest(folder):
    """The manifest of a folder.

    Raises: ValueError that lists what is missing or damaged.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{folder}: no readable {MANIFEST} ({error})") from error
    if not is_manifest(manifest):
        raise ValueError(
            f"{folder}: {MANIFEST} has another form than a checkpoint's (step, method, "
            "num_processes, files with their sizes and hashes)"
        )
    files = manifest["files"]
    broken = []
    for name, (size, digest) in files.items():
        path = folder / name
        if not path.is_file():
            broken.append(f"{name} is missing")
        elif path.stat().st_size != size:
            broken.append(f"{name} has {path.stat().st_size} bytes, expected {size}")
        elif file_hash(path) != digest:
            broken.append(f"{name} is damaged")
    if broken:
        raise ValueError(f"{folder}: {'; '.join(broken)}")
    return manifest


def usable_checkpoint(output_dir, wanted, say=print):
    """(folder, manifest) to resume from: for `latest` the newest whole one, or None; else `wanted`.

    say: told which checkpoints were passed over, and why.

    Raises: FileNotFoundError for a path that does not exist; ValueError for a damaged one, or when
        `latest` finds damaged ones only.
    """
    if wanted != "latest":
        if not Path(wanted).is_dir():
            raise FileNotFoundError(
                f"checkpoint {str(wanted)!r} does not exist; expected a checkpoint-<step> folder "
                f"or `latest`; present in {str(output_dir)!r}: "
                f"{[p.name for p in checkpoints(output_dir)]}"
            )
        return Path(wanted), read_manifest(Path(wanted))
    found = checkpoints(output_dir)
    for folder in reversed(found):
        try:
            return folder, read_manifest(folder)
        except ValueError as error:
            say(f"Passed over a damaged checkpoint: {error}.")
    if found:
        raise ValueError(
            f"all checkpoints in {str(output_dir)!r} are damaged: {[p.name for p in found]}; "
            "remove them to start anew, or train into another --output_dir"
        )
    return None


def check_manifest(folder, manifest, method, num_processes, say=print):
    """Raises: ValueError for a checkpoint of another method. Says so where a run cannot be
    continued exactly."""
    if manifest["method"] != method:
        raise ValueError(
            f"{str(folder)!r} was written by --method {manifest['method']}, this run is --method "
            f"{method}; choose that method, or another --output_dir"
        )
    if manifest["num_processes"] != num_processes:
        say(
            f"{folder} was written by {manifest['num_processes']} processes, this run has "
            f"{num_processes}: it goes on, but not with the same batches."
        )


def write_checkpoint(output_dir, step, keep, save_state, states, is_main, wait, **facts):
    """checkpoint-<step>, written under another name and renamed when it is whole.

    save_state(path): writes the networks' state, on every process; states: as save_states', the
    same in every process; wait(): lets all processes catch up; facts: for the manifest. Older ones
    but the newest `keep` are removed, and those of later steps: the run went on from before them.

    Raises: OSError when it cannot be written; the checkpoints there are stay as they are.
    """
    final = output_dir / f"checkpoint-{step}"
    partial, replaced = Path(f"{final}{PARTIAL}"), Path(f"{final}{REPLACED}")
    if is_main:
        for leftover in output_dir.glob("checkpoint-*.*"):
            if NAME.fullmatch(leftover.stem) and leftover.suffix in ASIDE:
                shutil.rmtree(leftover)
    wait()
    try:
        save_state(str(partial))
        wait()
        if is_main:
            save_states(partial, states)
            write_manifest(partial, step=step, **facts)
    except WRITE_ERRORS as error:
        shutil.rmtree(partial, ignore_errors=True)
        good = [p.name for p in checkpoints(output_dir)]
        raise OSError(
            f"checkpoint {step} could not be written to {str(output_dir)!r} ({error}); is the disk "
            f"full? Whole checkpoints: {good}; make room and go on with --resume_from_checkpoint "
            "latest"
        ) from error
    if is_main:
        if final.exists():
            final.rename(replaced)
        partial.rename(final)
        shutil.rmtree(replaced, ignore_errors=True)
        present = checkpoints(output_dir)
        newest = present.index(final)
        for old in present[: max(newest + 1 - keep, 0)] + present[newest + 1 :]:
            # Renamed first: a half-removed folder must not look like a checkpoint.
            old = old.rename(f"{old}{REMOVED}")
            shutil.rmtree(old)
    wait()
