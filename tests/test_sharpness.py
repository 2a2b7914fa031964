"""How sharp a fill is beside its surroundings, and the arena at the pictures' own size."""

import numpy as np
import pytest
from PIL import Image

from inpaint_hub.evaluation.__main__ import main
from inpaint_hub.evaluation.classical import patchmatch
from inpaint_hub.evaluation.metrics import sharpness_ratio

SIDE = 256


def gray(values):
    return np.repeat(np.clip(np.rint(values), 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def hole():
    mask = np.zeros((SIDE, SIDE), bool)
    mask[90:160, 80:170] = True
    return mask


def checkered(amplitude):
    return 128 + amplitude * np.where(np.indices((SIDE, SIDE)).sum(axis=0) % 2, 1.0, -1.0)


@pytest.mark.parametrize(("inside", "outside"), [(20, 20), (20, 40), (40, 20), (0, 30)])
def test_the_finest_checkers_count_by_the_square_of_their_amplitude(inside, outside):
    picture = gray(np.where(hole(), checkered(inside), checkered(outside)))
    expected = (inside**2 + 1) / (outside**2 + 1)
    assert sharpness_ratio(picture, hole()) == pytest.approx(expected, rel=0.02, abs=1e-3)


@pytest.mark.parametrize(("share", "expected"), [(0.25, None), (1.0, 1 - 2**-0.5), (4.0, 1.0)])
def test_the_filter_halves_the_energy_at_half_the_networks_nyquist(share, expected):
    """A wave of `share` times that frequency loses exp(-ln 2 / 2 share^2) of its amplitude to what
    is low; what is left is squared. At a quarter hardly anything is left."""
    frequency = share * 128 / 4 / SIDE
    wave = 60 * np.sin(2 * np.pi * frequency * (np.arange(SIDE) + 0.25))
    picture = gray(128 + np.where(hole(), np.broadcast_to(wave, (SIDE, SIDE)), checkered(60) - 128))
    kept = (1 - 2 ** (-(share**2) / 2)) ** 2 * 60**2 / 2
    if expected is not None:
        assert kept == pytest.approx(expected**2 * 60**2 / 2, rel=0.01)
    value = sharpness_ratio(picture, hole()) * (60**2 + 1) - 1
    assert value == pytest.approx(kept, rel=0.12, abs=25)


def test_the_step_between_hole_and_ring_counts_in_neither():
    picture = gray(np.where(hole(), 30.0, 220.0))
    assert sharpness_ratio(picture, hole()) == pytest.approx(1, abs=1e-6)


def test_without_hole_or_ring_there_is_no_ratio():
    picture = gray(checkered(9))
    assert np.isnan(sharpness_ratio(picture, np.zeros((SIDE, SIDE), bool)))
    assert np.isnan(sharpness_ratio(picture, np.ones((SIDE, SIDE), bool)))


def test_copies_stand_beside_the_other_fillers_at_the_pictures_own_size(tmp_path, capsys):
    rng = np.random.default_rng(0)
    folder = tmp_path / "pictures" / "validation"
    folder.mkdir(parents=True)
    for i, size in enumerate([(60, 52), (52, 70), (54, 54)]):
        pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    arguments = ["--data_dir", str(folder.parent), "--resolution", "native", "--bands", "10-30"]
    main([*arguments, "--patchmatch", "--telea", "--output", str(tmp_path / "out")])
    table = capsys.readouterr().out
    assert "sharpness_ratio →1" in table and "| patchmatch |" in table
    picture = Image.open(next((tmp_path / "out" / "pictures").rglob("*.png")))
    assert picture.size == (52, 52)


def test_nothing_known_leaves_the_picture_as_it_is():
    picture = gray(checkered(9))
    assert (patchmatch(picture, np.ones((SIDE, SIDE), bool)) == picture).all()
