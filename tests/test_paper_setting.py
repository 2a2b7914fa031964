"""Every command of docs/PAPER_SETTING.md, at tiny size; and an encoder begun from a given trunk."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import nvidia_discriminator, nvidia_generator, nvidia_pickle, psp_checkpoint
from PIL import Image
from training_runs import TINY, fields

from inpaint_hub.convert.__main__ import main as convert
from inpaint_hub.inversion import EncoderTrunk, PSPEncoder
from inpaint_hub.inversion.backbone import start_trunk
from inpaint_hub.training.config import TrainConfig
from inpaint_hub.training.loop import Run

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "PAPER_SETTING.md").read_text()
SHORT = "--max_train_steps 2 --tail_fraction 0 --train_batch_size 2 --backbone_width 16 "
SHORT += "--style_channels 8 --structure_channels 8 --num_validation_images 1 --report_to jsonl"
TRUNK = ("input_layer", "body")  # of ArcFace's keys, and of pSp's and e4e's


def commands():
    blocks = re.findall(r"```bash\n(.*?)```", PAGE, re.S)
    return [line for b in blocks for line in b.replace("\\\n", " ").splitlines() if line.strip()]


def test_the_page_names_every_command_this_test_knows():
    starts = [" ".join(c.split()[:3]) for c in commands()]
    assert starts == [
        "python -m inpaint_hub.convert",
        "python -m inpaint_hub.convert",
        "accelerate launch train_accelerate.py",
        "python -m inpaint_hub.evaluation",
        "python -m inpaint_hub.evaluation",
        "python -m inpaint_hub.export",
    ]


@pytest.mark.slow
def test_every_command_of_the_page_runs_in_its_order(tmp_path, place):
    networks = {"G_ema": nvidia_generator(), "D": nvidia_discriminator()}
    (tmp_path / "gan.pkl").write_bytes(nvidia_pickle(networks))
    checkpoint, _ = psp_checkpoint()
    state = checkpoint["state_dict"]
    trunk = {k.removeprefix("encoder."): v for k, v in state.items()}
    trunk = {k: v for k, v in trunk.items() if k.startswith(TRUNK)}
    torch.save(trunk, tmp_path / "model_ir_se50.pth")
    rng = np.random.default_rng(0)
    for folder in ("DATA/train", "DATA/validation", "MASKS"):
        (tmp_path / folder).mkdir(parents=True)
        for i in range(4):
            pixels = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
            if folder == "MASKS":
                pixels[:] = 0
                pixels[8:30, 5 + i : 25] = 255
            Image.fromarray(pixels).save(tmp_path / folder / f"{i}.png")
    (tmp_path / "vgg16.safetensors").write_bytes((place / "network.safetensors").read_bytes())
    environment = os.environ | {"PYTHONPATH": str(ROOT), "ACCELERATE_USE_CPU": "true"}
    for command in commands():
        words = shlex.split(command)
        if "train_accelerate.py" in words:
            words = ["python", str(ROOT / "train_accelerate.py"), *words[3:], *SHORT.split()]
        words[0] = sys.executable
        done = subprocess.run(
            words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    assert (tmp_path / "runs" / "report-files" / "table.md").is_file()
    assert (tmp_path / "runs" / "invertfill256.onnx").is_file()


def test_a_backbone_begins_as_the_trunk_and_the_mask_changes_nothing():
    torch.manual_seed(0)
    trunk = EncoderTrunk(in_channels=3, width=16).eval()
    encoder = PSPEncoder(
        resolution=32,
        w_dim=8,
        input_size=32,
        backbone="irse50",
        backbone_width=16,
        style_channels=8,
    ).eval()
    start_trunk(encoder.backbone, trunk.trunk)
    picture, mask = torch.randn(1, 3, 32, 32), torch.ones(1, 1, 32, 32)
    with torch.no_grad():
        coarse = encoder.backbone(torch.cat([picture, mask], 1))[0]
        torch.testing.assert_close(coarse, trunk(picture)[-1])


@pytest.mark.parametrize("kind", ["ArcFace", "pSp", "e4e"])
def test_training_begins_at_the_trunk_of_a_converted_file(place, tmp_path, kind):
    """Each layer of the other program's trunk, run by itself, is what the new encoder computes."""
    checkpoint, theirs = psp_checkpoint(delta=kind == "e4e")
    if kind == "ArcFace":
        checkpoint = {k: v for k, v in theirs.state_dict().items() if k.startswith(TRUNK)}
    torch.save(checkpoint, tmp_path / "given.pt")
    assert convert([str(tmp_path / "given.pt"), str(tmp_path / "given")]) == 0
    given = {"pretrained_backbone": str(tmp_path / "given"), "backbone": "irse50"}
    run = Run(
        TrainConfig(**fields(place, tmp_path / "run", "invertfill", backbone_width=16, **given))
    )
    backbone = run.method.networks.encoder.eval().backbone
    picture, mask = torch.randn(1, 3, 32, 32), torch.ones(1, 1, 32, 32)
    x, taps = theirs.input_layer(picture), []
    for unit in theirs.body:
        x = unit(x)
        taps.append(x)
    with torch.no_grad():
        found = backbone.trunk(torch.cat([picture, mask], dim=1))
    torch.testing.assert_close(found, [taps[6], taps[20], taps[23]], rtol=1e-4, atol=1e-4)


def test_a_trunk_of_another_width_is_an_error_that_names_it():
    encoder = PSPEncoder(
        resolution=32,
        w_dim=8,
        input_size=32,
        backbone="irse50",
        backbone_width=32,
        style_channels=8,
    )
    with pytest.raises(ValueError, match="--backbone_width"):
        start_trunk(encoder.backbone, EncoderTrunk(width=16).trunk)


def test_a_trunk_and_a_trained_encoder_are_not_both_begun_from():
    names = ("resolution", "backbone_width")
    with pytest.raises(ValueError, match="--pretrained_backbone"):
        TrainConfig(
            train_data_dir="a",
            output_dir="b",
            pretrained_model_name_or_path="c",
            pretrained_backbone="d",
            pretrained_encoder=True,
            **{name: TINY[name] for name in names},
        )
