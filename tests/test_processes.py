"""Two processes train like one with twice the batch."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
import torch
from training_runs import TINY, fields, finish, start

from inpaint_hub import InvertFillEncoder, InvertFillPipeline
from inpaint_hub.stylegan2 import StyleGAN2Generator
from inpaint_hub.training.checkpoint import checkpoints

RUN = {"max_train_steps": 1, "mbstd_group_size": 1, "adam_beta1": 0.0, "max_grad_norm": 0.0}


def gradients(output_dir):
    """The last gradient of every parameter, by optimizer: with beta1 = 0 it is Adam's first
    moment."""
    files = sorted(Path(output_dir).glob("checkpoint-1/optimizer*.bin"))
    states = [torch.load(file, weights_only=True)["state"] for file in files]
    return [[state[k]["exp_avg"] for k in sorted(state)] for state in states]


def trained(place, folder, num_processes, batch, **options):
    folder.mkdir()
    run = fields(place, folder / "run", train_batch_size=batch, **{**RUN, **options})
    codes = finish(start(run, num_processes))
    assert set(codes) == {0}, (folder / "rank-0.log").read_text()
    return folder / "run"


@pytest.mark.parametrize(
    "options",
    [
        {"method": "stylegan2", "path_length_weight": 0.0},
        {"method": "stylegan2", "augment": "ada"},
        {"method": "invertfill"},
        {"method": "invertfill", "adversarial_weight": 0.1, "train_generator": "all"},
        {"method": "invertfill", "noise_levels": "middle", "sml_mode": "offset"},
        {"method": "psp", "gradient_accumulation_steps": 2},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_two_processes_have_the_gradients_of_one_with_twice_the_batch(
    place,
    tmp_path,
    options,
):
    two = trained(place, tmp_path / "two", 2, 2, **options)
    one = trained(place, tmp_path / "one", 1, 4, **options)
    for ours, theirs in zip(gradients(two), gradients(one), strict=True):
        largest = max(g.abs().max() for g in theirs)
        assert largest > 0
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4 * float(largest))
    logged = [json.loads((run / "logs/metrics.jsonl").read_text()) for run in (one, two)]
    for name in logged[0].keys() - {"images_per_second", "data_wait_share"}:
        assert logged[0][name] == pytest.approx(logged[1][name], rel=1e-3, abs=1e-5), name


def test_joint_training_waits_for_no_gradient_that_never_comes(place, tmp_path):
    names = ("resolution", "w_dim", "channel_base", "channel_max", "backbone_width")
    encoder = InvertFillEncoder(
        **{name: TINY[name] for name in names},
        style_channels=8,
        structure_channels=8,
        premodulation=False,
        noise_levels="fine",
    )
    gan = StyleGAN2Generator.from_pretrained(place / "gan", subfolder="gan")
    InvertFillPipeline(encoder=encoder, gan=gan).save_pretrained(tmp_path / "invertfill")
    given = {"pretrained_model_name_or_path": str(tmp_path / "invertfill")}
    options = {"method": "dualpath", "train_inversion": True, "max_train_steps": 2}
    run = trained(place, tmp_path / "two", 2, 2, **given, **options)
    assert (run / "model_index.json").is_file()


def test_only_the_first_process_writes(place, tmp_path):
    run = trained(place, tmp_path / "two", 2, 2, max_train_steps=2)
    steps = [json.loads(line)["step"] for line in (run / "logs/metrics.jsonl").open()]
    assert steps == sorted(set(steps))
    ranks = {p.name for p in (run / "checkpoint-2").glob("random_states_*")}
    assert ranks == {"random_states_0.pkl", "random_states_1.pkl"}


def test_a_signal_to_one_process_ends_all_at_the_same_step(place, tmp_path):
    steps = 300  # which it never comes to
    processes = start(fields(place, tmp_path / "run", max_train_steps=steps), 2)
    log = tmp_path / "run" / "logs" / "metrics.jsonl"
    while not (log.is_file() and log.stat().st_size) and processes[1].is_alive():
        time.sleep(0.1)
    os.kill(processes[1].pid, signal.SIGTERM)
    assert set(finish(processes)) == {0}, (tmp_path / "rank-0.log").read_text()
    folder = checkpoints(tmp_path / "run")[-1]
    assert int(folder.name.removeprefix("checkpoint-")) < steps
    assert len(list(folder.glob("random_states_*"))) == 2
    assert not (tmp_path / "run" / "model_index.json").exists()


def test_machines_that_see_different_checkpoints_are_told(place, tmp_path):
    run = trained(place, tmp_path / "one", 1, 2)
    (tmp_path / "empty").mkdir()
    seen = fields(place, run, **RUN, resume_from_checkpoint="latest")
    other = {**seen, "output_dir": str(tmp_path / "empty" / "run")}
    processes = start(seen, 2, rank_1_fields=other)
    assert set(finish(processes)) == {1}
    assert "steps [1, -1] (-1: none)" in (tmp_path / "one" / "rank-0.log").read_text()
