"""Several trainings, one after the other, each in a folder of its own: finished ones are kept, a
killed one is resumed."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from inpaint_hub.training import TrainConfig

TRAINER = Path(__file__).parent.parent / "train_accelerate.py"
RECORD, INDEX = "run.json", "model_index.json"
UNRECORDED = {"output_dir", "resume_from_checkpoint", "hub_token", "cache_dir"}


class Run(NamedTuple):
    """One training: its flags of train_accelerate.py, and what they mean."""

    name: str
    arm: str
    flags: list
    config: TrainConfig

    @property
    def folder(self):
        return Path(self.config.output_dir)

    def is_finished(self):
        """Raises: ValueError where another configuration was trained in the folder."""
        if not (self.folder / RECORD).is_file():
            return False
        record, wanted = json.loads((self.folder / RECORD).read_text()), recorded(self.config)
        there = record["config"]
        if changed := [n for n in wanted if there.get(n) != wanted[n]]:
            told = ", ".join(f"{n} {there.get(n)!r}, now {wanted[n]!r}" for n in changed)
            raise ValueError(f"{self.folder} was trained with {told}; give another --output_dir")
        return record["finished"]


def recorded(config):
    return {name: value for name, value in vars(config).items() if name not in UNRECORDED}


def flag(name, value):
    """A field of TrainConfig on the command line."""
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no-{name}"
    return f"--{name}={value}"


def write(path, text):
    """The whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial-{path.name}")
    partial.write_text(text, "utf-8")
    os.replace(partial, path)


def train_apart(flags):
    """train_accelerate.py in a process of its own; Ctrl-C and SIGTERM let it write a checkpoint.

    Raises: ChildProcessError when it fails.
    """
    process = subprocess.Popen([sys.executable, str(TRAINER), *flags])
    signals = (signal.SIGINT, signal.SIGTERM)
    previous = [signal.signal(s, lambda number, frame: process.terminate()) for s in signals]
    try:
        status = process.wait()
    finally:
        for one, handler in zip(signals, previous):
            signal.signal(one, handler)
    if status:
        raise ChildProcessError(f"train_accelerate.py ended with status {status}, see above")


def train_missing(runs, train):
    """Train what is not finished.

    Raises: InterruptedError when a run was stopped; those of Run.is_finished before any training.
    """
    missing = [run for run in runs if not run.is_finished()]
    for count, run in enumerate(missing, start=len(runs) - len(missing) + 1):
        print(f"Run {count} of {len(runs)}: {run.name}", flush=True)
        record = {"config": recorded(run.config), "finished": False}
        write(run.folder / RECORD, json.dumps(record, indent=1))
        (run.folder / INDEX).unlink(missing_ok=True)
        train([*run.flags, "--resume_from_checkpoint=latest"])
        if not (run.folder / INDEX).is_file():
            raise InterruptedError(f"{run.name} was stopped; the same command goes on from there")
        write(run.folder / RECORD, json.dumps(record | {"finished": True}, indent=1))
