"""train_accelerate.py from data to a pipeline directory, at tiny size with real networks."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from PIL import Image
from safetensors.torch import load_file

from inpaint_hub import InvertFillPipeline, PSPPipeline
from inpaint_hub.pipelines.stylegan2 import StyleGAN2Pipeline
from inpaint_hub.training import PRESETS, TrainConfig, parse_config, train
from inpaint_hub.training.checkpoint import checkpoints, latest_checkpoint
from inpaint_hub.training.loop import step_generator

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

    from inpaint_hub.losses.perceptual import SqueezeNetFeatures

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("squeezenet") / "squeezenet1_1.safetensors"
    state = SqueezeNetFeatures().state_dict()
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
        {"method": "psp"},
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
    cls = PSPPipeline if fields["method"] == "psp" else InvertFillPipeline
    pipe = cls.from_pretrained(trained)
    photo = Image.open(faces / "0.png")
    hole = Image.new("L", photo.size)
    hole.paste(255, (8, 8, 24, 24))
    filled = pipe(photo, hole).images[0]
    known = np.asarray(hole) == 0
    assert np.array_equal(np.asarray(filled)[known], np.asarray(photo)[known])


@pytest.mark.parametrize(
    "method, accumulation", [("stylegan2", 1), ("invertfill", 1), ("invertfill", 2), ("psp", 1)]
)
def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(
    faces, encoder_fields, tmp_path, method, accumulation
):
    fields = TINY_GAN if method == "stylegan2" else {"method": method, **encoder_fields}
    fields = {**fields, "gradient_accumulation_steps": accumulation}
    whole = train(config(faces, tmp_path / "whole", **fields))
    train(config(faces, tmp_path / "halves", max_train_steps=2, **fields))
    resumed = train(config(faces, tmp_path / "halves", resume_from_checkpoint="latest", **fields))
    component = "gan" if method == "stylegan2" else "encoder"
    assert same(weights_of(whole, component), weights_of(resumed, component))


def test_noise_is_drawn_by_place_in_the_run_alone(faces, tmp_path):
    run = config(faces, tmp_path, **TINY_GAN)
    places = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    draws = {p: torch.randn(4, generator=step_generator(run, *p)).tolist() for p in places}
    assert len({tuple(draw) for draw in draws.values()}) == len(places)
    assert torch.randn(4, generator=step_generator(run, 1, 0, 0)).tolist() == draws[1, 0, 0]


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
    deadline = time.monotonic() + 120
    while not (log.is_file() and log.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.1)
    run.send_signal(signal.SIGTERM)
    output, _ = run.communicate(timeout=60)
    assert run.returncode == 0 and "Stopped at step" in output
    saved = latest_checkpoint(tmp_path, "latest")
    step = int(saved.name.split("-")[1])
    fields = {**TINY_GAN, "max_train_steps": step + 1, "resume_from_checkpoint": "latest"}
    assert (train(config(faces, tmp_path, **fields)) / "model_index.json").is_file()


def test_a_loss_that_is_not_finite_ends_the_run_and_is_named(faces, tmp_path):
    fields = {**TINY_GAN, "learning_rate": 1e30, "max_train_steps": 50, "checkpointing_steps": 100}
    with pytest.raises(FloatingPointError, match="is not finite at step.*lower --learning_rate"):
        train(config(faces, tmp_path, **fields))
    assert not (tmp_path / "model_index.json").exists()


def test_old_checkpoints_are_removed_and_partial_ones_ignored(faces, tmp_path):
    fields = {**TINY_GAN, "checkpointing_steps": 1, "checkpoints_total_limit": 2}
    train(config(faces, tmp_path, **fields))
    assert [p.name for p in checkpoints(tmp_path)] == ["checkpoint-3", "checkpoint-4"]
    (tmp_path / "checkpoint-9.partial").mkdir()
    assert latest_checkpoint(tmp_path, "latest").name == "checkpoint-4"
    with pytest.raises(FileNotFoundError, match="checkpoint-3.*checkpoint-4"):
        latest_checkpoint(tmp_path, tmp_path / "checkpoint-77")


def test_epochs_count_passes_over_the_data(faces, tmp_path):
    train(config(faces, tmp_path, **TINY_GAN, num_train_epochs=1))  # 10 pictures in batches of 4
    lines = (tmp_path / "logs" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["step"] == 3


def test_averaged_weights_are_released_unless_switched_off(faces, tmp_path):
    averaged, last = (
        train(config(faces, tmp_path / str(use), **TINY_GAN, use_ema=use, ema_decay=0.5))
        for use in (True, False)
    )
    assert not same(weights_of(averaged, "gan"), weights_of(last, "gan"))


def test_a_token_is_not_logged(faces, tmp_path):
    train(config(faces, tmp_path, **{**TINY_GAN, "max_train_steps": 1}, hub_token="hf_secret"))
    logged = [p.read_bytes() for p in (tmp_path / "logs").rglob("*") if p.is_file()]
    assert logged and not any(b"hf_secret" in content for content in logged)
    with pytest.raises(ValueError, match="hf auth login"):
        config(faces, tmp_path, **TINY_GAN, hub_token="hf_secret", report_to="wandb")


def test_bf16_training_runs_and_saves_finite_weights(faces, tmp_path):
    fields = {**TINY_GAN, "max_train_steps": 2, "mixed_precision": "bf16"}
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
    ],
)
def test_bad_flags_say_what_to_do(flags, message, capsys):
    presets = {name: preset() for name, preset in PRESETS.items()}
    base = ["--method", "stylegan2", "--train_data_dir", "d", "--output_dir", "o"]
    with pytest.raises(SystemExit):
        parse_config([*base, *flags], presets)
    error = " ".join(capsys.readouterr().err.split())
    assert re.search(message, error), error


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_are_valid_and_flags_override_them(name):
    presets = {name: preset() for name, preset in PRESETS.items()}
    arguments = ["--preset", name, "--train_data_dir", "d", "--output_dir", "o", "--seed", "7"]
    if presets[name]["method"] != "stylegan2":
        arguments += ["--pretrained_model_name_or_path", "g"]
    parsed = parse_config(arguments, presets)
    assert parsed.seed == 7 and parsed.method == presets[name]["method"]


def test_the_script_reports_missing_data_without_a_traceback(tmp_path):
    command = [sys.executable, "train_accelerate.py", "--method", "stylegan2"]
    command += ["--train_data_dir", str(tmp_path / "no"), "--output_dir", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert "does not exist" in done.stderr and "Traceback" not in done.stderr
