"""train_accelerate.py from data to a pipeline directory, at tiny size with real networks."""

import dataclasses
import json
import math
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from PIL import Image
from safetensors.torch import load_file

from inpaint_hub import CoModGANPipeline, DualPathPipeline, InvertFillPipeline, load_pipeline
from inpaint_hub.pipelines.stylegan2 import StyleGAN2Pipeline
from inpaint_hub.stylegan2.resample import upsample
from inpaint_hub.training import PRESETS, TrainConfig, logs, parse_config, train
from inpaint_hub.training.checkpoint import checkpoints, usable_checkpoint
from inpaint_hub.training.loop import Run, picture_generators, training_pictures
from inpaint_hub.training.method import MovingAverage
from inpaint_hub.training.rules import FROM_SCRATCH

ROOT = Path(__file__).parent.parent
TINY_GAN = {
    "method": "stylegan2",
    "z_dim": 16,
    "w_dim": 16,
    "num_mapping_layers": 2,
    "channel_base": 256,
    "channel_max": 16,
}
TINY_ENCODER = {"backbone_width": 8, "style_channels": 16, "structure_channels": 16}


def config(folder, output_dir, **fields):
    defaults = {
        "train_data_dir": str(folder),
        "output_dir": str(output_dir),
        "resolution": 32,
        "train_batch_size": 4,
        "max_train_steps": 4,
        "checkpointing_steps": 2,
        "validation_steps": 4,
        "logging_steps": 1,
        "num_validation_images": 2,
        "report_to": "jsonl",
    }
    return TrainConfig(**{**defaults, **fields})


@pytest.fixture(scope="session")
def faces(tmp_path_factory):
    """Ten pictures of a disc on a plain ground."""
    folder = tmp_path_factory.mktemp("pictures")
    yy, xx = np.mgrid[:32, :32]
    for i in range(10):
        rng = np.random.default_rng(i)
        disc = (xx - rng.integers(10, 22)) ** 2 + (yy - rng.integers(10, 22)) ** 2 < 60
        pixels = np.where(disc[..., None], rng.integers(0, 256, 3), rng.integers(0, 256, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="session")
def trained_gan(faces, tmp_path_factory):
    trackers = {"report_to": "jsonl,tensorboard"}
    return train(config(faces, tmp_path_factory.mktemp("gan"), **TINY_GAN, **trackers))


@pytest.fixture(scope="session")
def perceptual_network(tmp_path_factory):
    """SqueezeNet 1.1's layout with random weights: enough to carry gradients."""
    from safetensors.torch import save_file

    from inpaint_hub.losses.perceptual import ProjectionFeatures

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("squeezenet") / "squeezenet1_1.safetensors"
    state = ProjectionFeatures().state_dict()
    save_file({k: v.contiguous() for k, v in state.items()}, path)
    return path


@pytest.fixture
def encoder_fields(trained_gan, perceptual_network):
    return {
        "pretrained_model_name_or_path": str(trained_gan),
        "perceptual_network": str(perceptual_network),
        **TINY_ENCODER,
    }


@pytest.fixture(autouse=True)
def fresh_accelerate_state():
    """Accelerate keeps one state per process; every run of a test file is one of its own."""
    AcceleratorState._reset_state(True)


def weights_of(directory, component):
    return load_file(Path(directory) / component / "model.safetensors")


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_the_generator_trains_and_its_pipeline_makes_pictures(trained_gan):
    pipe = StyleGAN2Pipeline.from_pretrained(trained_gan)
    pictures = pipe(num_images=3, generator=torch.Generator().manual_seed(0)).images
    assert [p.size for p in pictures] == [(32, 32)] * 3
    assert pipe.gan.w_avg.abs().sum() > 0
    lines = (trained_gan / "logs" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4]
    assert {"generator_loss", "discriminator_loss"} <= set(json.loads(lines[-1]))
    assert list((trained_gan / "logs").rglob("events.out.tfevents*"))
    assert Image.open(trained_gan / "samples" / "step-0000004.png").size[0] > 32


@pytest.mark.parametrize(
    "fields",
    [
        {"method": "invertfill"},
        {"method": "invertfill", "fw_mode": "rgb", "sml_mode": "static"},
        {"method": "invertfill", "fw_mode": "none", "premodulation": False},
        {"method": "invertfill", "sml_mode": "offset"},
        {"method": "invertfill", "sml_mode": "offset", "premodulation": False},
        {"method": "invertfill", "sml_mode": "off"},
        {"method": "invertfill", "noise_levels": "fine", "adversarial_weight": 0.1},
        {"method": "invertfill", "train_masks": "outpainting", "center_crop": False},
        {"method": "psp"},
        {"method": "psp", "adversarial_weight": 0.1, "augment": "ada"},
        {"method": "invertfill", "adversarial_weight": 0.1, "discriminator": "patch"},
        {"method": "lahiri"},
    ],
    ids=lambda fields: "-".join(map(str, fields.values())),
)
def test_an_encoder_trains_on_a_frozen_generator(
    faces, trained_gan, encoder_fields, tmp_path, fields
):
    untrained = train(
        config(faces, tmp_path / "untrained", max_train_steps=1, **{**encoder_fields, **fields})
    )
    trained = train(config(faces, tmp_path / "trained", **{**encoder_fields, **fields}))
    assert same(weights_of(trained, "gan"), weights_of(trained_gan, "gan"))
    assert not same(weights_of(trained, "encoder"), weights_of(untrained, "encoder"))
    pipe = load_pipeline(trained)
    photo = Image.open(faces / "0.png")
    hole = Image.new("L", photo.size)
    hole.paste(255, (8, 8, 24, 24))
    filled = pipe(photo, hole).images[0]
    known = np.asarray(hole) == 0
    assert np.array_equal(np.asarray(filled)[known], np.asarray(photo)[known])


DUAL_PATH = {"method": "dualpath", "inpainter_channels": 8, "patch_channels": 8}


@pytest.mark.parametrize("inversion", ["psp", "invertfill"])
@pytest.mark.parametrize(
    "fields",
    [
        {"fusion": "deformable", "discriminator": "patch", "adversarial_weight": 0.1},
        {"fusion": "concat", "adversarial_weight": 0.1},
        {"fusion": "none"},
        {"fusion": "deformable", "deform": "v1", "train_inversion": True},
    ],
    ids=lambda fields: "-".join(map(str, fields.values())),
)
def test_dual_path_trains_on_an_inversion(faces, encoder_fields, tmp_path, inversion, fields):
    base = train(config(faces, tmp_path / "base", method=inversion, **encoder_fields))
    AcceleratorState._reset_state(True)
    given = {**encoder_fields, "pretrained_model_name_or_path": str(base)}
    first = train(config(faces, tmp_path / "first", **{**given, **DUAL_PATH, **fields}))
    joint = fields.get("train_inversion", False)
    assert same(weights_of(first, "gan"), weights_of(base, "gan"))
    assert same(weights_of(first, "encoder"), weights_of(base, "encoder")) != joint
    pipe = DualPathPipeline.from_pretrained(first)
    photo, hole = Image.open(faces / "0.png"), Image.new("L", (32, 32))
    hole.paste(255, (8, 8, 24, 24))
    filled = pipe(photo, hole).images[0]
    known = np.asarray(hole) == 0
    assert np.array_equal(np.asarray(filled)[known], np.asarray(photo)[known])
    AcceleratorState._reset_state(True)
    given["pretrained_model_name_or_path"] = str(first)
    still = {"learning_rate": 0.0, "max_train_steps": 1}
    further = train(
        config(faces, tmp_path / "further", **{**given, **DUAL_PATH, **fields, **still})
    )
    assert same(weights_of(further, "inpainter"), weights_of(first, "inpainter"))


@pytest.mark.parametrize("method", ["invertfill", "psp", "dualpath"])
def test_what_fills_holes_grows_with_its_generator(faces, encoder_fields, tmp_path, method):
    """At a learning rate of zero the grown networks hold what was learned at half the size."""

    def run(name, **fields):
        AcceleratorState._reset_state(True)
        return train(config(faces, tmp_path / name, **{**encoder_fields, **fields}))

    last = {**DUAL_PATH, "adversarial_weight": 0.1} if method == "dualpath" else {}
    inversion = "psp" if method == "dualpath" else method
    small = run("small", method=inversion)
    learned = small
    if last:
        learned = run("small-last", **last, pretrained_model_name_or_path=str(small))
    gan_fields = {**TINY_GAN, "resolution": 0, "pretrained_model_name_or_path": ""}
    gan = run("gan64", **gan_fields, grow_from=encoder_fields["pretrained_model_name_or_path"])
    still = {"resolution": 0, "learning_rate": 0.0, "max_train_steps": 1}
    base = {"pretrained_model_name_or_path": str(gan), "grow_from": str(small)}
    large = run("large", method=inversion, **still, **base)
    name = "encoder"
    if last:
        base = {"pretrained_model_name_or_path": str(large), "grow_from": str(learned)}
        large, name = run("large-last", **last, **still, **base), "inpainter"
    before, after = weights_of(learned, name), weights_of(large, name)
    kept = [k for k in before if k.startswith(("backbone", "map_to_style", "feed_forward"))]
    assert kept and all(torch.equal(after[k], before[k]) for k in kept)
    pipe = load_pipeline(large)
    assert pipe.resolution == 64 and pipe.encoder.input_size == 32


def test_comodgan_trains_from_scratch_and_gives_several_answers(faces, tmp_path):
    fields = {**TINY_GAN, "method": "comodgan", "global_dim": 16, "train_batch_size": 2}
    first = train(config(faces, tmp_path / "first", **fields))
    AcceleratorState._reset_state(True)
    more = {"pretrained_model_name_or_path": str(first), "max_train_steps": 1}
    further = train(config(faces, tmp_path / "further", **{**fields, **more}))
    assert not same(weights_of(first, "gan"), weights_of(further, "gan"))
    photo, hole = Image.open(faces / "0.png"), Image.new("L", (32, 32))
    hole.paste(255, (8, 8, 24, 24))
    rng = torch.Generator().manual_seed(0)
    pipe = CoModGANPipeline.from_pretrained(further)
    fills = pipe(photo, hole, num_images_per_prompt=3, generator=rng).images
    known = np.asarray(hole) == 0
    assert all(np.array_equal(np.asarray(f)[known], np.asarray(photo)[known]) for f in fills)
    assert len({f.tobytes() for f in fills}) == 3


def test_dual_path_needs_an_inversion(faces, trained_gan, encoder_fields, tmp_path):
    with pytest.raises(ValueError, match="holds a StyleGAN2Pipeline, expected a PSPPipeline"):
        train(config(faces, tmp_path, **{**encoder_fields, **DUAL_PATH}))


@pytest.mark.parametrize(
    "train_generator, moved",
    [("last_block", {"synthesis.blocks.32"}), ("all", {"synthesis.blocks"})],
)
def test_the_generator_is_trained_where_asked_for_and_nowhere_else(
    faces, trained_gan, encoder_fields, tmp_path, train_generator, moved
):
    fields = {"train_generator": train_generator, "adversarial_weight": 0.1, **encoder_fields}
    before = weights_of(trained_gan, "gan")
    after = weights_of(train(config(faces, tmp_path, method="invertfill", **fields)), "gan")
    for name, value in after.items():
        constant = name.endswith("noise_const")
        trained = name.startswith(tuple(moved)) and not constant
        assert torch.equal(value, before[name]) != trained, name


def test_the_encoders_gradients_are_clipped_and_the_discriminators_are_not(
    faces, encoder_fields, tmp_path
):
    fields = {**encoder_fields, "adversarial_weight": 0.1, "max_train_steps": 1}
    fields |= {"max_grad_norm": 1e-6, "discr_adam_beta1": 0.0, "adam_beta1": 0.0}
    run = Run(config(faces, tmp_path, method="invertfill", **fields))
    run.loop()

    def norm(optimizer):  # with beta1 = 0, Adam's first moment is the last gradient
        moments = [state["exp_avg"].flatten() for state in optimizer.state.values()]
        return torch.cat(moments).norm()

    assert (
        norm(run.method.optimizer) <= 1.01e-6 < norm(next(iter(run.method.adversaries)).optimizer)
    )


def test_the_generator_trained_along_learns_more_slowly(faces, encoder_fields, tmp_path):
    fields = {"train_generator": "all", "learning_rate": 1e-3, **encoder_fields}
    method = Run(config(faces, tmp_path, method="invertfill", **fields)).method
    assert [group["lr"] for group in method.optimizer.param_groups] == [1e-3, 1e-4]


@pytest.mark.parametrize("use", ["pretrained_model_name_or_path", "grow_from"])
def test_a_generator_is_trained_further_with_its_discriminator(faces, trained_gan, tmp_path, use):
    run = Run(config(faces, tmp_path, **{**TINY_GAN, "resolution": 0, use: str(trained_gan)}))
    grown = use == "grow_from"
    assert run.config.resolution == (64 if grown else 32)
    judged = weights_of(trained_gan, "discriminator")
    mine = next(iter(run.method.adversaries)).discriminator.state_dict()
    for name, value in judged.items():
        if grown and name.startswith("from_rgb"):
            continue
        if grown and name.startswith("blocks."):
            number = int(name.split(".")[1])
            name = name.replace(f"blocks.{number}", f"blocks.{number + 1}", 1)
        assert torch.equal(mine[name], value), name
    if not grown:
        return
    z = torch.randn(2, 16)
    smaller = StyleGAN2Pipeline.from_pretrained(trained_gan).gan
    torch.testing.assert_close(run.method.gan(z), upsample(smaller(z)))
    train(config(faces, tmp_path, **{**TINY_GAN, "resolution": 64, use: str(trained_gan)}))


def test_growing_from_other_widths_says_which(faces, trained_gan, tmp_path):
    wider = {**TINY_GAN, "resolution": 64, "channel_max": 32, "grow_from": str(trained_gan)}
    with pytest.raises(ValueError, match="'channel_max': 16.*expected.*'channel_max': 32"):
        train(config(faces, tmp_path, **wider))


def test_adaptation_trains_the_encoder_alone_from_where_it_was(
    faces, trained_gan, encoder_fields, tmp_path, perceptual_network
):
    start = train(config(faces, tmp_path / "start", method="invertfill", **encoder_fields))
    arguments = ["--preset", "adapt", "--pretrained_model_name_or_path", str(start)]
    arguments += ["--train_data_dir", str(faces), "--output_dir", str(tmp_path / "adapted")]
    arguments += ["--perceptual_network", str(perceptual_network), "--learning_rate", "0"]
    arguments += ["--max_train_steps", "2", "--report_to", "jsonl"]
    presets = {name: preset() for name, preset in PRESETS.items()}
    still = train(parse_config(arguments, presets))
    assert same(weights_of(still, "encoder"), weights_of(start, "encoder"))
    AcceleratorState._reset_state(True)
    arguments += ["--output_dir", str(tmp_path / "moved"), "--learning_rate", "1e-3"]
    moved = train(parse_config(arguments, presets))
    assert not same(weights_of(moved, "encoder"), weights_of(start, "encoder"))
    assert same(weights_of(moved, "gan"), weights_of(start, "gan"))
    assert InvertFillPipeline.from_pretrained(moved).resolution == 32
    AcceleratorState._reset_state(True)
    with pytest.raises(ValueError, match="holds a InvertFillPipeline, expected a PSPPipeline"):
        train(parse_config([*arguments, "--output_dir", "new", "--method", "psp"], presets))


def test_noise_is_drawn_by_place_in_the_run_alone(faces, tmp_path):
    run = config(faces, tmp_path, **TINY_GAN)

    def draws(run, *place):
        return [torch.randn(3, generator=g).tolist() for g in picture_generators(run, *place)]

    places = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]  # step, micro-batch, process
    pictures = [tuple(numbers) for place in places for numbers in draws(run, *place)]
    assert len(set(pictures)) == len(places) * run.train_batch_size
    assert draws(run, 1, 0, 0) == [list(numbers) for numbers in pictures[4:8]]
    double = config(faces, tmp_path, **TINY_GAN, train_batch_size=8)
    assert draws(double, 0, 0, 0) == draws(run, 0, 0, 0) + draws(run, 0, 0, 1)


def test_sigterm_saves_a_checkpoint_from_which_the_run_goes_on(faces, tmp_path):
    flags = {k: v for k, v in vars(config(faces, tmp_path, **TINY_GAN)).items() if v != ""}
    flags |= {"max_train_steps": 100_000, "checkpointing_steps": 100_000, "report_to": "jsonl"}
    command = [sys.executable, "train_accelerate.py"]
    for name, value in flags.items():
        if isinstance(value, bool):
            command.append(f"--{name}" if value else f"--no-{name}")
        else:
            command += [f"--{name}", str(value)]
    run = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    log = tmp_path / "logs" / "metrics.jsonl"
    while not (log.is_file() and log.stat().st_size) and run.poll() is None:
        time.sleep(0.1)
    run.send_signal(signal.SIGTERM)
    output, _ = run.communicate(timeout=1800)
    assert run.returncode == 0 and "Stopped at step" in output
    _, manifest = usable_checkpoint(tmp_path, "latest")
    step = manifest["step"]
    fields = {**TINY_GAN, "max_train_steps": step + 1, "resume_from_checkpoint": "latest"}
    assert (train(config(faces, tmp_path, **fields)) / "model_index.json").is_file()


SIGNALED = """
import os, signal, sys
from inpaint_hub.training import TrainConfig, pictures
from inpaint_hub.training.loop import StopSignal, training_batches, training_pictures
if sys.argv[3] == "slow to start":  # the signal comes before a worker has done anything itself
    pictures.leave_process_group = None
config = TrainConfig(
    method="stylegan2", resolution=32, train_batch_size=2, dataloader_num_workers=2,
    train_data_dir=sys.argv[1], output_dir="unused",
)
batches = training_batches(config, training_pictures(config), None, 0, 1, 0)
next(batches)
with StopSignal() as stop:
    os.killpg(0, int(sys.argv[2]))
    for _ in range(20):  # more than the workers have read ahead
        next(batches)
    print("stop requested:", stop.requested)
"""


@pytest.mark.parametrize(
    ("number", "workers"), [(signal.SIGINT, "started"), (signal.SIGTERM, "slow to start")]
)
def test_a_signal_to_the_whole_group_leaves_the_loading_workers_at_work(faces, number, workers):
    command = [sys.executable, "-c", SIGNALED, str(faces), str(int(number)), workers]
    run = {"cwd": ROOT, "capture_output": True, "text": True, "start_new_session": True}
    done = subprocess.run(command, **run)
    assert "stop requested: True" in done.stdout, done.stderr


def test_a_loss_that_is_not_finite_ends_the_run_and_is_named(faces, tmp_path):
    fields = {**TINY_GAN, "learning_rate": 1e30, "max_train_steps": 50, "checkpointing_steps": 100}
    with pytest.raises(FloatingPointError, match="is not finite at step.*lower --learning_rate"):
        train(config(faces, tmp_path, **fields))
    assert not (tmp_path / "model_index.json").exists()


def test_weights_that_are_not_finite_are_not_kept(faces, tmp_path):
    run = Run(config(faces, tmp_path, **TINY_GAN))
    next(run.method.gan.parameters()).data.fill_(math.nan)
    with pytest.raises(FloatingPointError, match="a weight is not finite at step 0"):
        run.save_checkpoint()
    assert checkpoints(tmp_path) == []


def test_old_checkpoints_are_removed_and_partial_ones_ignored(faces, tmp_path):
    fields = {**TINY_GAN, "checkpointing_steps": 1, "checkpoints_total_limit": 2}
    train(config(faces, tmp_path, **fields))
    assert [p.name for p in checkpoints(tmp_path)] == ["checkpoint-3", "checkpoint-4"]
    (tmp_path / "checkpoint-9.partial").mkdir()
    assert usable_checkpoint(tmp_path, "latest")[0].name == "checkpoint-4"
    with pytest.raises(FileNotFoundError, match="checkpoint-3.*checkpoint-4"):
        usable_checkpoint(tmp_path, tmp_path / "checkpoint-77")


def test_a_run_into_the_checkpoints_of_another_is_refused(faces, tmp_path):
    fields = {**TINY_GAN, "checkpointing_steps": 1}
    train(config(faces, tmp_path / "first", **fields))
    other = {"resume_from_checkpoint": str(tmp_path / "first" / "checkpoint-3")}
    train(config(faces, tmp_path / "second", **fields, **other))  # into a folder of its own
    for given in ({}, other):
        AcceleratorState._reset_state(True)
        with pytest.raises(ValueError, match="checkpoints of an earlier run.*checkpoint-4.*latest"):
            train(config(faces, tmp_path / "second", **fields, **given))


def test_going_back_to_a_checkpoint_leaves_the_later_ones(faces, tmp_path):
    fields = {**TINY_GAN, "checkpoints_total_limit": 3}
    train(config(faces, tmp_path, **fields, checkpointing_steps=2, max_train_steps=8))
    kept = tmp_path / "checkpoint-6.mine"
    kept.mkdir()
    AcceleratorState._reset_state(True)
    back = {"resume_from_checkpoint": str(tmp_path / "checkpoint-4"), "checkpointing_steps": 1}
    train(config(faces, tmp_path, **fields, **back, max_train_steps=5))
    assert [p.name for p in checkpoints(tmp_path)] == ["checkpoint-4", "checkpoint-5"]
    assert kept.is_dir()  # what we did not write is not ours to remove


def test_epochs_count_passes_over_the_data(faces, tmp_path):
    train(config(faces, tmp_path, **TINY_GAN, num_train_epochs=1))  # 10 pictures in batches of 4
    lines = (tmp_path / "logs" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["step"] == 3


def test_the_last_step_is_shown_logged_checked_and_kept(faces, tmp_path, capsys):
    fields = {"max_train_steps": 3, "logging_steps": 100, "checkpointing_steps": 100}
    train(config(faces, tmp_path, **TINY_GAN, **fields))
    bar = capsys.readouterr().err.strip().split("\r")[-1]
    assert bar.startswith("step 3: 100%") and "| 12/12 [" in bar  # pictures, 4 a step
    lines = (tmp_path / "logs" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 3]
    assert [p.name for p in checkpoints(tmp_path)] == ["checkpoint-3"]


def test_as_many_pictures_as_asked_for_are_shown(faces, tmp_path):
    shown = tmp_path / "shown"
    for i in range(20):
        shutil.copytree(faces, shown / str(i // 10), dirs_exist_ok=True)
    fields = {"max_train_steps": 1, "validation_steps": 1, "num_validation_images": 20}
    train(config(shown, tmp_path / "run", **TINY_GAN, **fields))
    assert Image.open(tmp_path / "run/samples/step-0000001.png").size == (20 * 32, 4 * 32)


def test_the_generators_sample_grid_is_of_its_averaged_weights(faces, tmp_path):
    method = Run(config(faces, tmp_path, **TINY_GAN)).method
    with method.average_weights() as gan, torch.no_grad():
        pictures = gan(method.sample_z[:8]).clamp(-1, 1)
    assert pictures.min() < 0 < pictures.max()
    rows = method.sample_rows(torch.zeros(2, 3, 32, 32), None)
    assert [len(row) for row in rows] == [2] * 4 and torch.equal(torch.cat(rows), pictures)


def test_the_averages_half_life_counts_pictures_and_ramps_up(faces, tmp_path):
    fields = {**TINY_GAN, "ema_half_life_images": 1000, "ema_ramp_up": 0.05}
    method = Run(config(faces, tmp_path, **fields)).method
    assert method.average_decay(100_000) ** (1000 / 4) == pytest.approx(0.5)
    assert method.average_decay(2000) ** (100 / 4) == pytest.approx(0.5)
    AcceleratorState._reset_state(True)
    method = Run(config(faces, tmp_path, **TINY_GAN, ema_decay=0.9)).method
    assert method.average_decay(5) == 0.9


@pytest.mark.parametrize("half_life, decay", [(0, 0.5), (8, 0.5**0.5)])
def test_the_average_is_that_of_its_decay(faces, tmp_path, half_life, decay):
    fields = {"ema_half_life_images": half_life, "ema_ramp_up": 0.0, "ema_decay": 0.5}
    method = Run(config(faces, tmp_path, **TINY_GAN, **fields)).method
    parameter, expected = method.averaged_parameters[0], None
    for step in range(1, 5):
        parameter.data.fill_(float(step))
        method.after_step(step)
        # A half-life is kept to the letter; a decay is at first that of diffusers' EMAModel.
        share = decay if half_life else min(decay, step / (step + 9))
        expected = step if expected is None else share * expected + (1 - share) * step
        average = method.ema.shadow_params[0]
        torch.testing.assert_close(average, torch.full_like(average, expected))


def test_a_restored_average_stays_on_its_device():
    saved = MovingAverage([torch.nn.Parameter(torch.ones(2))]).state_dict()
    average = MovingAverage([torch.nn.Parameter(torch.ones(2, device="meta"))])
    average.load_state_dict(saved)  # as accelerate reads it: on the CPU
    assert average.shadow_params[0].device.type == "meta"


def test_sampling_leaves_a_frozen_inversions_statistics_alone(faces, encoder_fields, tmp_path):
    fields = {**encoder_fields, "backbone": "resnet34", "max_train_steps": 1}
    base = train(config(faces, tmp_path / "base", method="psp", **fields))
    AcceleratorState._reset_state(True)
    fields |= {"pretrained_model_name_or_path": str(base), "max_train_steps": 2}
    dual = train(config(faces, tmp_path / "dual", **{**fields, **DUAL_PATH}, validation_steps=1))
    assert same(weights_of(dual, "encoder"), weights_of(base, "encoder"))


def test_averaged_weights_are_released_unless_switched_off(faces, tmp_path):
    averaged, last = (
        train(config(faces, tmp_path / str(use), **TINY_GAN, use_ema=use, ema_decay=0.5))
        for use in (True, False)
    )
    assert not same(weights_of(averaged, "gan"), weights_of(last, "gan"))


def test_the_tail_learns_slowly_with_frozen_batch_norms(faces, encoder_fields, tmp_path):
    tail = {"max_train_steps": 5, "tail_fraction": 0.4, "learning_rate": 1e-3}
    fields = {**encoder_fields, "backbone": "resnet34", "backbone_width": 64}
    run = Run(config(faces, tmp_path, method="invertfill", **{**fields, **tail}))
    method, rates, training = run.method, [], []
    norms = [m for m in method.networks.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for step in range(5):
        method.phases(step)
        rates.append(method.optimizer.param_groups[0]["lr"])
        training.append(all(norm.training for norm in norms))
        method.optimizer.step()
        method.after_step(step + 1)
    assert norms and training == [True] * 3 + [False] * 2
    assert rates == pytest.approx([1e-3] * 3 + [1e-4] * 2)
    with pytest.raises(ValueError, match="--tail_fraction with --lr_scheduler cosine"):
        config(faces, tmp_path, method="invertfill", lr_scheduler="cosine", **{**fields, **tail})


@pytest.mark.parametrize("shape", ["step", "cosine"])
def test_two_processes_have_the_tail_of_one(faces, tmp_path, shape):
    fields = {"tail_fraction": 0.5, "tail_shape": shape, "max_train_steps": 8}
    method, rates = Run(config(faces, tmp_path, **TINY_GAN, **fields)).method, {}
    for processes in (1, 2):
        method.accelerator = SimpleNamespace(num_processes=processes)
        optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        schedule, rates[processes] = method.schedule(optimizer, "constant", main=True), []
        for _ in range(8):
            rates[processes].append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            for _ in range(processes):  # as accelerate does
                schedule.step()
    assert rates[2] == pytest.approx(rates[1])
    assert rates[1][:4] == [1.0] * 4 and rates[1][-1] < 1.0


def test_a_cosine_tail_ends_at_its_share_for_the_discriminator_too(faces, encoder_fields, tmp_path):
    tail = {"max_train_steps": 8, "tail_fraction": 0.5, "tail_shape": "cosine"}
    tail |= {"learning_rate": 1e-3, "lr_warmup_steps": 2, "adversarial_weight": 0.1}
    tail |= {"discr_lr_scheduler": "tail", "discr_learning_rate": 1e-2, "r1_gamma": 0.0}
    fields = {**encoder_fields, **tail}
    method = Run(config(faces, tmp_path, method="invertfill", **fields)).method
    rates = []
    for step in range(8):
        rates.append([o.param_groups[0]["lr"] for o in method.optimizers])
        method.optimizer.step()
        method.after_step(step + 1)
    rates.append([o.param_groups[0]["lr"] for o in method.optimizers])
    halfway = [0.1 + 0.9 * (1 + math.cos(math.pi * t / 4)) / 2 for t in range(5)]
    expected = [0, 0.5, 1, 1, *halfway]
    assert [r[0] / 1e-3 for r in rates] == pytest.approx(expected)
    assert [r[1] / 1e-2 for r in rates] == pytest.approx(expected)
    with pytest.raises(ValueError, match="--discr_lr_scheduler tail.*--tail_fraction"):
        config(faces, tmp_path, **TINY_GAN, discr_lr_scheduler="tail")


def test_the_holes_weight_falls_in_the_second_half(faces, encoder_fields, tmp_path):
    fields = {**encoder_fields, "max_train_steps": 9, "hole_weight_end": 2.0}
    method = Run(config(faces, tmp_path, method="invertfill", **fields)).method
    weights = []
    for step in range(9):
        method.phases(step)
        weights.append(method.objective.weights.hole)
    assert weights[:5] == [6.0] * 5 and weights[8] == 2.0
    steps = [a - b for a, b in zip(weights[5:], weights[6:])]
    assert steps == pytest.approx([steps[0]] * 3) and steps[0] > 0
    assert method.objective.weights.valid == 1.0
    with pytest.raises(ValueError, match="--hole_weight_end.*psp"):
        config(faces, tmp_path, method="psp", **fields)


def test_the_flags_are_logged_without_the_token(faces, tmp_path):
    train(config(faces, tmp_path, **{**TINY_GAN, "max_train_steps": 1}, hub_token="hf_secret"))
    logged = [p.read_bytes() for p in (tmp_path / "logs").rglob("*") if p.is_file()]
    assert logged and not any(b"hf_secret" in content for content in logged)
    flags = json.loads((tmp_path / "logs" / "config.json").read_text())
    assert flags["method"] == "stylegan2" and flags["max_train_steps"] == 1
    with pytest.raises(ValueError, match="hf auth login"):
        config(faces, tmp_path, **TINY_GAN, hub_token="hf_secret", report_to="wandb")


@pytest.mark.parametrize("chosen, used", [("auto", "bf16"), ("no", "no")])
def test_the_launchers_precision_holds_unless_another_is_chosen(
    faces, tmp_path, monkeypatch, chosen, used
):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")  # what `accelerate launch` sets
    run = Run(config(faces, tmp_path, **TINY_GAN, mixed_precision=chosen))
    assert run.accelerator.mixed_precision == run.config.mixed_precision == used


def test_bf16_training_runs_and_saves_finite_weights(faces, tmp_path):
    fields = {**TINY_GAN, "max_train_steps": 2, "mixed_precision": "bf16", "augment": "ada"}
    weights = weights_of(train(config(faces, tmp_path, **fields)), "gan")
    assert all(torch.isfinite(w).all() for w in weights.values())


def test_a_generator_of_another_size_is_refused_before_training(faces, encoder_fields, tmp_path):
    fields = {"method": "psp", **encoder_fields, "resolution": 64}
    with pytest.raises(ValueError, match="32 px"):
        train(config(faces, tmp_path, **fields))


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--resolution", "48"], "48.*power of two"),
        (["--method", "psp"], "--pretrained_model_name_or_path"),
        (["--train_batch_size", "0"], "--train_batch_size is 0"),
        (["--output_dir", ""], "--output_dir is missing"),
        (["--preset", "faces9"], "invalid choice: 'faces9'.*faces64_gan"),
        (["--train_data_dir", ""], "--train_data_dir and --dataset_name: neither given"),
        (["--dataset_name", "a/b"], "--train_data_dir and --dataset_name: both given"),
        (["--streaming"], "give its --dataset_name"),
        (["--mixed_precision", "fp16"], "use bf16 or no"),
        (["--grow_from", "g", "--pretrained_model_name_or_path", "g"], "--grow_from.*leave one"),
        (["--method", "comodgan", "--grow_from", "g"], "--grow_from.*comodgan.*expected one of"),
        (
            ["--method", "psp", "--pretrained_model_name_or_path", "g", "--grow_from", "g"]
            + ["--pretrained_encoder"],
            "--grow_from and --pretrained_encoder",
        ),
        (["--r1_interval", "0"], "--r1_interval is 0"),
    ],
)
def test_bad_flags_say_what_to_do(flags, message, capsys):
    presets = {name: preset() for name, preset in PRESETS.items()}
    base = ["--method", "stylegan2", "--train_data_dir", "d", "--output_dir", "o"]
    with pytest.raises(SystemExit):
        parse_config([*base, *flags], presets)
    error = " ".join(capsys.readouterr().err.split())
    assert re.search(message, error), error


def test_every_flag_of_before_is_there_with_its_kind_and_default():
    """Changed on purpose? Then say in the message what to do, and change the file with it."""
    frozen = json.loads((ROOT / "tests" / "fixtures" / "train_flags.json").read_text())
    kinds = {
        f.name: [f.type.__name__ if isinstance(f.type, type) else list(get_args(f.type)), f.default]
        for f in dataclasses.fields(TrainConfig)
    }
    assert {name: kinds.get(name) for name in frozen} == frozen


def test_help_has_a_titled_group_for_every_section(capsys):
    presets = {name: preset() for name, preset in PRESETS.items()}
    with pytest.raises(SystemExit):
        parse_config(["--help"], presets)
    text = capsys.readouterr().out
    titles = [f.metadata["section"] for f in dataclasses.fields(TrainConfig)]
    assert titles[0] and len([title for title in titles if title]) == 9
    assert all(f"\n{title}:\n" in text for title in titles if title)


def test_choices_are_checked_without_a_command_line_too(faces, tmp_path):
    with pytest.raises(ValueError, match="--method is 'stylegan3', expected one of .*'stylegan2'"):
        config(faces, tmp_path, method="stylegan3")


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_are_valid_and_flags_override_them(name):
    presets = {name: preset() for name, preset in PRESETS.items()}
    arguments = ["--preset", name, "--train_data_dir", "d", "--output_dir", "o", "--seed", "7"]
    if presets[name]["method"] != "stylegan2":
        arguments += ["--pretrained_model_name_or_path", "g"]
    parsed = parse_config(arguments, presets)
    assert parsed.seed == 7 and parsed.method == presets[name]["method"]


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"train_data_dir": "EMPTY"}, "holds no picture"),
        ({"grow_from": "EMPTY"}, "no gan/config.json"),
        ({"method": "psp", "pretrained_model_name_or_path": "EMPTY"}, "no gan/config.json"),
        ({"resume_from_checkpoint": "EMPTY/checkpoint-3"}, "does not exist"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_not_there_is_reported_before_any_step(faces, tmp_path, fields, message):
    (tmp_path / "empty").mkdir()
    fields = {k: v.replace("EMPTY", str(tmp_path / "empty")) for k, v in fields.items()}
    with pytest.raises(FileNotFoundError, match=message):
        train(config(faces, tmp_path / "out", **{**TINY_GAN, "resolution": 0, **fields}))
    assert not (tmp_path / "out" / "logs").exists()


def test_unreadable_pictures_are_listed_once(faces, tmp_path):
    folder = tmp_path / "pictures"
    shutil.copytree(faces, folder)
    (folder / "3.png").write_bytes(b"not a picture")
    train(config(folder, tmp_path / "out", **TINY_GAN, max_train_steps=8))
    assert (tmp_path / "out" / "unreadable.txt").read_text() == f"{folder / '3.png'}\n"
    AcceleratorState._reset_state(True)
    more = {"max_train_steps": 12, "resume_from_checkpoint": "latest"}
    train(config(folder, tmp_path / "out", **TINY_GAN, **more))
    assert (tmp_path / "out" / "unreadable.txt").read_text() == f"{folder / '3.png'}\n"


@pytest.mark.parametrize("streaming", [False, True])
def test_a_named_data_set_is_trained_on(faces, tmp_path, streaming, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "SLEEP_TIME_ON_THREADS_SHUTDOWN", 0)
    data = {"train_data_dir": "", "dataset_name": str(faces), "streaming": streaming}
    data |= {"max_train_samples": 3, "revision": "of-a-pipeline"}
    fields = config(faces, tmp_path, **TINY_GAN, **data)
    pictures = training_pictures(fields)
    assert len(list(pictures) if streaming else pictures) == 3
    done = train(fields)
    assert (done / "gan" / "model.safetensors").is_file()
    assert str(faces.parent) not in (done / "README.md").read_text()


def test_the_log_holds_speed_and_every_term(trained_gan):
    lines = [json.loads(x) for x in (trained_gan / "logs" / "metrics.jsonl").open()]
    assert {"r1_penalty", "path_length", "path_length_penalty"} <= set(lines[0])
    assert all(x["images_per_second"] > 0 and 0 <= x["data_wait_share"] <= 1 for x in lines)


def test_terms_are_logged_as_means_of_where_they_were_computed():
    terms = logs.TermLogs()
    for values in ({"a": 2.0, "b": 5.0}, {"a": 4.0}):
        terms.add({name: torch.tensor(value) for name, value in values.items()})
    assert terms.means(Accelerator()) == {"a": 3.0, "b": 5.0}


def test_speed_and_waiting_are_of_the_time_since_the_last_look(monkeypatch):
    seconds = iter([0, 1, 3, 4, 6, 12, 12])  # made; next; stopped; read, and begun anew
    monkeypatch.setattr(logs.time, "perf_counter", lambda: float(next(seconds)))
    clock = logs.Clock(5)
    clock.next(iter([{"seconds": {"read": 3.0, "decode": 1.0}}]))
    clock.steps += 4
    with clock.stopped():
        pass
    values = {"images_per_second": 2.0, "data_wait_share": 0.2, "decode_share": 0.25}
    assert clock.read() == pytest.approx(values)
    assert (clock.start, clock.waited, clock.steps) == (12, 0, 0)


def test_the_card_says_what_was_trained_how_and_on_what(trained_gan, faces):
    card = (trained_gan / "README.md").read_text()
    assert f"Data: `{faces.name}`, 32 px. 4 steps of 4 pictures, 16 in all." in card
    assert "| channel_max | 16 |" in card and "generator_loss" in card
    assert "not stated by who saved this" not in card and "![samples](samples.png)" in card
    assert Image.open(trained_gan / "samples.png").size[0] > 32
    assert str(faces.parent) not in card


def test_a_card_of_ones_own_is_left_alone(faces, tmp_path):
    (tmp_path / "README.md").write_text("mine")
    train(config(faces, tmp_path, **{**TINY_GAN, "max_train_steps": 1}))
    assert (tmp_path / "README.md").read_text() == "mine"


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_trains_at_tiny_size(
    faces, trained_gan, encoder_fields, perceptual_network, tmp_path, name
):
    preset = PRESETS[name]()
    tiny = {**TINY_GAN, **TINY_ENCODER, "train_batch_size": 2, "max_train_steps": 2}
    tiny |= {"resolution": 32, "backbone": "small", "inpainter_channels": 8, "patch_channels": 8}
    tiny |= {"perceptual_network": str(perceptual_network), "method": preset["method"]}
    if preset["method"] == "dualpath" or preset.get("pretrained_encoder"):
        method = "psp" if preset["method"] == "dualpath" else "invertfill"
        base = train(config(faces, tmp_path / "base", method=method, **encoder_fields))
        AcceleratorState._reset_state(True)
        tiny["pretrained_model_name_or_path"] = str(base)
        tiny["resolution"] <<= preset.get("outer_scales", 0)
    elif preset["method"] == "refinement":
        base = train(config(faces, tmp_path / "base", method="psp", **encoder_fields))
        AcceleratorState._reset_state(True)
        tiny |= {"pretrained_model_name_or_path": str(base), "resolution": 0}
    elif preset["method"] not in FROM_SCRATCH:
        tiny["pretrained_model_name_or_path"] = str(trained_gan)
    done = train(config(faces, tmp_path / "run", **{**preset, **tiny}))
    assert (done / "model_index.json").is_file()


def test_the_script_reports_missing_data_without_a_traceback(tmp_path):
    command = [sys.executable, "train_accelerate.py", "--method", "stylegan2"]
    command += ["--train_data_dir", str(tmp_path / "no"), "--output_dir", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert "does not exist" in done.stderr and "Traceback" not in done.stderr
