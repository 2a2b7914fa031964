"""A run that is killed and resumed ends, bit for bit, with the weights of one left in peace."""

import functools
import itertools
import json
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from training_runs import fields, finish, kill, start

from inpaint_hub.training.checkpoint import MANIFEST, checkpoints, usable_checkpoint

COMPONENT = {"stylegan2": "gan", "invertfill": "encoder", "psp": "encoder"}


def weights(output_dir, method):
    return load_file(Path(output_dir) / COMPONENT[method] / "model.safetensors")


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@functools.cache
def undisturbed(place, method, num_processes, accumulation):
    """Weights of a run that nobody interrupts."""
    folder = place / f"whole-{method}-{num_processes}-{accumulation}" / "run"
    folder.parent.mkdir()
    run = fields(place, folder, method, gradient_accumulation_steps=accumulation)
    assert set(finish(start(run, num_processes))) == {0}, (folder.parent / "rank-0.log").read_text()
    return weights(folder, method)


def wait_for(path, processes, seconds=240):
    deadline = time.monotonic() + seconds
    while not path.exists() and time.monotonic() < deadline and processes[0].is_alive():
        time.sleep(0.002)
    assert path.exists()


CASES = list(itertools.product(COMPONENT, (1, 2), (1, 2), (0, 2)))
COMPONENT["dualpath"] = "inpainter"
COMPONENT["feedforward"] = "inpainter"  # against projected heads beside SN-PatchGAN
CASES += [("dualpath", 1, 2, 2), ("dualpath", 2, 1, 0)]
COMPONENT["refinement"] = "refiner"  # likewise
CASES += [("feedforward", 1, 1, 0), ("feedforward", 2, 2, 0), ("refinement", 1, 2, 0)]


@pytest.mark.parametrize("method, num_processes, accumulation, workers", CASES)
def test_killed_and_resumed(place, tmp_path, method, num_processes, accumulation, workers):
    run = fields(
        place,
        tmp_path / "run",
        method,
        gradient_accumulation_steps=accumulation,
        dataloader_num_workers=workers,
    )
    processes = start(run, num_processes)
    wait_for(tmp_path / "run" / "checkpoint-2", processes)
    kill(processes)
    assert processes[0].exitcode == -signal.SIGKILL
    assert not (tmp_path / "run" / "model_index.json").exists()
    resumed = start({**run, "resume_from_checkpoint": "latest"}, num_processes)
    assert set(finish(resumed)) == {0}, (tmp_path / "rank-0.log").read_text()
    assert "Resumed from" in (tmp_path / "rank-0.log").read_text()
    whole = undisturbed(place, method, num_processes, accumulation)
    assert same(weights(tmp_path / "run", method), whole)
    steps = [json.loads(x)["step"] for x in (tmp_path / "run/logs/metrics.jsonl").open()]
    assert steps == sorted(set(steps)) and steps[-1] == 5


@pytest.fixture(scope="module")
def touches(place):
    """How often an undisturbed run touches its checkpoints."""
    folder = place / "counted"
    folder.mkdir()
    run = fields(place, folder / "run")
    assert finish(start(run, count_file=str(folder / "count"))) == [0]
    return int((folder / "count").read_text())


@pytest.mark.parametrize("share", np.linspace(0.02, 0.98, 12).round(2))
def test_killed_at_any_touch_of_a_checkpoint(place, tmp_path, touches, share):
    assert touches > 40
    run = fields(place, tmp_path / "run", resume_from_checkpoint="latest")
    assert finish(start(run, die_at=round(share * touches))) == [-signal.SIGKILL]
    assert finish(start(run)) == [0], (tmp_path / "rank-0.log").read_text()
    assert same(weights(tmp_path / "run", "stylegan2"), undisturbed(place, "stylegan2", 1, 1))
    left = {p.name for p in (tmp_path / "run").glob("checkpoint-*")}
    assert left >= {"checkpoint-4", "checkpoint-5"}


@pytest.fixture
def finished(place, tmp_path):
    """A copy of a finished run with two checkpoints, 4 and 5."""
    undisturbed(place, "stylegan2", 1, 1)
    shutil.copytree(place / "whole-stylegan2-1-1" / "run", tmp_path / "run")
    (tmp_path / "run" / "model_index.json").unlink()
    return tmp_path / "run"


def tear(path):
    path.write_bytes(path.read_bytes()[:-7])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("damage", [tear, flip_a_bit, Path.unlink], ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.bin", "states.json", MANIFEST])
def test_a_damaged_checkpoint_is_passed_over(place, finished, damage, name):
    if (damage, name) == (flip_a_bit, MANIFEST):
        damage = tear
    damage(finished / "checkpoint-5" / name)
    said = []
    folder, manifest = usable_checkpoint(finished, "latest", said.append)
    assert folder.name == "checkpoint-4" and manifest["step"] == 4
    assert len(said) == 1 and name in said[0] and "checkpoint-5" in said[0]
    with pytest.raises(ValueError, match=name):
        usable_checkpoint(finished, finished / "checkpoint-5")


def test_what_a_checkpoint_adds_is_no_pickle(finished):
    assert not list((finished / "checkpoint-5").glob("custom_checkpoint_*"))
    states = json.loads((finished / "checkpoint-5" / "states.json").read_text())
    assert states["progress"] == {"step": 5} and states["average"]["optimization_step"] == 5
    assert {"progress", "average", "mean_length"} == set(states)


def test_after_damage_the_previous_checkpoint_gives_the_same_weights(place, finished, tmp_path):
    tear(finished / "checkpoint-5" / "model.safetensors")
    run = fields(place, finished, resume_from_checkpoint="latest")
    assert finish(start(run)) == [0], (tmp_path / "rank-0.log").read_text()
    assert "Passed over a damaged checkpoint" in (tmp_path / "rank-0.log").read_text()
    assert same(weights(finished, "stylegan2"), undisturbed(place, "stylegan2", 1, 1))


def test_damaged_checkpoints_only_are_an_error_that_says_what_to_do(finished):
    for folder in checkpoints(finished):
        tear(folder / "optimizer.bin")
    with pytest.raises(ValueError, match="all checkpoints.*damaged.*--output_dir"):
        usable_checkpoint(finished, "latest", lambda text: None)


def test_a_full_disk_is_said_and_leaves_the_last_checkpoint_whole(place, tmp_path):
    run = fields(place, tmp_path / "run")
    assert finish(start(run, largest_file=3000)) == [1]
    log = (tmp_path / "rank-0.log").read_text()
    assert "checkpoint 2 could not be written" in log and "is the disk full" in log
    assert "Whole checkpoints: ['checkpoint-1']" in log and "Traceback" not in log
    assert [p.name for p in (tmp_path / "run").glob("checkpoint-*")] == ["checkpoint-1"]
    assert finish(start({**run, "resume_from_checkpoint": "latest"})) == [0]
    assert same(weights(tmp_path / "run", "stylegan2"), undisturbed(place, "stylegan2", 1, 1))


def test_a_checkpoint_of_another_method_is_refused(place, finished, tmp_path):
    from inpaint_hub.training import TrainConfig, train

    run = fields(place, finished, "psp", resume_from_checkpoint="latest")
    with pytest.raises(ValueError, match="--method stylegan2, this run is --method psp"):
        train(TrainConfig(**run))
    wider = fields(place, finished, resume_from_checkpoint="latest", channel_max=16)
    with pytest.raises(ValueError, match="does not fit these networks"):
        train(TrainConfig(**wider))
