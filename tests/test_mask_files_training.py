"""Training on the holes of mask files."""

import numpy as np
import pytest
import torch
from PIL import Image
from test_training import config
from test_training import faces as faces  # a fixture
from test_training import fresh_accelerate_state as fresh_accelerate_state

from inpaint_hub.training import train
from inpaint_hub.training.loop import (
    holes_of,
    training_batches,
    training_pictures,
    validation_batch,
)


@pytest.fixture
def mask_dir(tmp_path):
    folder = tmp_path / "masks"
    folder.mkdir()
    hole = np.zeros((64, 64), np.uint8)
    hole[:, :16] = 255  # a quarter
    Image.fromarray(hole).save(folder / "quarter.png")
    return folder


def test_every_training_mask_is_one_of_the_files(faces, mask_dir, tmp_path):
    from_files = config(faces, tmp_path / "run", method="comodgan", mask_dir=str(mask_dir))
    pictures = training_pictures(from_files)
    batches = training_batches(from_files, pictures, holes_of(from_files), 0, 1, 0)
    masks = torch.cat([next(batches)["mask"], next(batches)["mask"]])
    quarter = torch.zeros(32, 32)
    quarter[:, :8] = 1
    turns = [quarter, quarter.flip(1), quarter.T, quarter.T.flip(0)]
    assert all(any(mask[0].equal(turn) for turn in turns) for mask in masks)
    _, shown = validation_batch(from_files, pictures, torch.device("cpu"))
    assert shown.mean() == 0.25


def test_a_run_tells_what_its_mask_files_cover(faces, mask_dir, tmp_path, capsys):
    fields = {"method": "comodgan", "channel_base": 256, "channel_max": 16, "global_dim": 16}
    fields |= {"z_dim": 16, "w_dim": 16, "num_mapping_layers": 2, "max_train_steps": 1}
    saved = train(config(faces, tmp_path / "run", mask_dir=str(mask_dir), **fields))
    assert "mask files: 1, hole 25.0 % (mean;" in capsys.readouterr().out
    assert "mask_dir | masks" in (saved / "README.md").read_text()  # its name, not its place
    assert str(mask_dir) not in (saved / "README.md").read_text()
