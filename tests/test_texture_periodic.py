"""Pictures that repeat themselves: their holes come back exactly; nothing else is taken for one."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from inpaint_hub.texture import periodic, textured
from inpaint_hub.texture.periodic import (
    MAX_ERROR,
    MIN_OVERLAP,
    Period,
    periods_of,
    repeated,
    shift_errors,
)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def tiled(tile, height, width):
    rows, columns = -(-height // tile.shape[0]), -(-width // tile.shape[1])
    return np.tile(tile, (rows, columns, 1))[:height, :width]


def box(shape, top, left, height, width):
    hole = np.zeros(shape, bool)
    hole[top : top + height, left : left + width] = True
    return hole


def without(picture, hole, seed=9):
    return np.where(hole[..., None], noise(*hole.shape, seed), picture)


@pytest.mark.parametrize("texture", ["patches", "auto"])
@pytest.mark.parametrize("size", [(7, 11), (1, 5), (16, 16), (20, 31)])
def test_the_hole_of_a_periodic_texture_comes_back_exactly(texture, size):
    picture = tiled(noise(*size), 100, 140)
    hole = box((100, 140), 30, 40, 37, 52) | box((100, 140), 0, 100, 20, 40)
    fill = np.zeros((100, 140, 3), np.float32)
    made = textured(fill, without(picture, hole), hole, hole, hole, texture, cell_px=2.0)
    assert made.choice == "periodic"
    assert (np.rint(made.rgb * 255)[hole] == picture[hole]).all()


def test_a_slanted_weave_comes_back_exactly():
    y, x = np.mgrid[:90, :120]
    picture = noise(1, 13)[0][(x + 5 * y) % 13]
    hole = box((90, 120), 30, 30, 30, 40)
    given = without(picture, hole)
    assert set(periods_of(given, hole)) == {Period(3, -2), Period(2, 3)}
    assert (repeated(given, hole, hole, periods_of(given, hole)) == picture).all()


def test_errors_of_shifts_are_those_of_slices():
    rng = np.random.default_rng(1)
    picture, known = rng.random((9, 12)) * 255, rng.random((9, 12)) < 0.8
    error, share = shift_errors(picture, known)
    for dy, dx in ((0, 0), (2, 3), (1, -4), (-3, 0)):
        here = np.s_[max(0, -dy) : 9 - max(0, dy), max(0, -dx) : 12 - max(0, dx)]
        there = np.s_[max(0, dy) : 9 + min(0, dy), max(0, dx) : 12 + min(0, dx)]
        both = known[here] & known[there]
        expected = ((picture[there] - picture[here])[both] ** 2).mean()
        assert error[8 + dy, 11 + dx] == pytest.approx(expected, rel=1e-3, abs=0.05)
        assert share[8 + dy, 11 + dx] == pytest.approx(both.sum() / known.sum())


def test_a_tile_saved_as_jpeg_is_still_one():
    file = io.BytesIO()
    tile = ndimage.gaussian_filter(noise(24, 24), (3, 3, 0), mode="wrap")
    picture = tiled(tile, 120, 168)
    Image.fromarray(picture).save(file, "JPEG", quality=90)
    pixels, hole = np.asarray(Image.open(file)), box((120, 168), 40, 50, 40, 50)
    filled = repeated(pixels, hole, hole, periods_of(without(pixels, hole), hole))
    assert np.abs(filled[hole].astype(float) - picture[hole]).mean() < 3


@pytest.mark.parametrize("softness", [0, 2, 6])
def test_what_repeats_nothing_has_no_period(softness):
    picture = ndimage.gaussian_filter(noise(80, 100).astype(float), (softness, softness, 0))
    contrast = 50 / picture.std()
    picture = np.clip(128 + (picture - picture.mean()) * contrast, 0, 255).astype(np.uint8)
    assert periods_of(picture, box((80, 100), 30, 30, 20, 20)) == []


def test_a_ramp_goes_on_along_its_lines_of_equal_lightness_alone():
    ramp = np.repeat((2 * np.arange(100) + 20)[None, :, None], 80, axis=0)
    picture = np.repeat(ramp, 3, axis=2).astype(np.uint8)
    hole = box((80, 100), 30, 30, 20, 20)
    given = without(picture, hole)
    assert periods_of(given, hole) == [Period(2, 0)]
    assert (repeated(given, hole, hole, periods_of(given, hole)) == picture).all()


def test_a_sky_repeats_nothing():
    rows, columns = np.mgrid[:160, :160]
    grain = np.random.default_rng(2).normal(0, 1.5, (160, 160))
    sky = np.rint(40 + 0.6 * rows + 0.02 * columns + grain)[..., None].repeat(3, axis=2)
    hole = box((160, 160), 60, 60, 40, 40)
    error, share = shift_errors(sky[..., 0], ~hole)
    along = np.s_[158:161, 159 + 40 : 159 + 100]  # one row is as like another pixel of it as any
    assert (error[along] < MAX_ERROR**2).all() and (share[along] > MIN_OVERLAP).any()
    assert periods_of(sky.astype(np.uint8), hole) == []


def test_waves_in_grain_repeat_themselves():
    """On the way to a period the error need not be large everywhere, but somewhere."""
    grain = np.random.default_rng(3).normal(0, 2.2, (128, 192))
    waves = 128 + 40 * np.sin(2 * np.pi * np.arange(192) / 32) + grain
    picture = np.rint(waves)[..., None].repeat(3, axis=2).astype(np.uint8)
    hole = box((128, 192), 40, 60, 40, 40)
    assert Period(0, 32) in periods_of(picture, hole)


def test_a_gentle_ramp_goes_on_as_it_is():
    """Two pixels further it is hardly another, and 40 further it is."""
    rows, columns = np.mgrid[:120, :160]
    ramp = np.rint(60 + 0.1 * rows + 0.04 * columns)[..., None].repeat(3, axis=2).astype(np.uint8)
    hole = box((120, 160), 40, 50, 40, 50)
    filled = repeated(ramp, hole, hole, periods_of(ramp, hole))
    assert np.abs(filled[hole].astype(int) - ramp[hole]).max() <= 1


def test_what_is_searched_is_where_least_is_missing():
    hole = np.zeros((700, 1600), bool)
    hole[:, :700] = hole[:, 1300:] = True
    rows, columns = periodic._most_known(hole)
    assert hole[rows, columns].mean() < 0.1 and rows.stop - rows.start == 640


def test_tiles_as_light_and_of_other_colors_are_not_the_same():
    picture = tiled(noise(8, 8) / 3 + 60.0, 64, 96)
    y, x = np.mgrid[:64, :96] // 8
    redder = np.array([40.0, -40 * 0.299 / 0.587, 0])
    picture = (picture + ((x + y) % 2)[..., None] * redder).astype(np.uint8)
    hole = box((64, 96), 20, 40, 16, 16)
    given = without(picture, hole)
    assert periods_of(given, hole) == [Period(8, -8), Period(8, 8)]
    assert (repeated(given, hole, hole, periods_of(given, hole)) == picture).all()


def test_a_hole_that_no_period_leads_out_of_is_left_to_the_others():
    picture = np.tile(noise(60, 6), (1, 10, 1))
    hole = box((60, 60), 20, 0, 8, 60)
    assert periods_of(picture, hole) == [Period(0, 6)]
    assert repeated(picture, hole, hole, [Period(0, 6)]) is None


def test_only_what_is_asked_for_is_written_and_other_holes_are_not_read():
    picture = tiled(noise(8, 8), 64, 64)
    own = box((64, 64), 24, 24, 10, 10)
    hole = own | (box((64, 64), 14, 14, 30, 30) & ~box((64, 64), 23, 23, 12, 12))
    given = without(picture, hole)
    filled = repeated(given, hole, own, periods_of(given, hole))
    assert (filled[own] == picture[own]).all()
    assert (filled[~own] == given[~own]).all()


@pytest.mark.parametrize("top", [0, 300, 600])
def test_of_a_large_picture_a_part_is_searched_and_all_of_it_compared(monkeypatch, top):
    picture = tiled(noise(9, 14), 900, 1000)
    hole = box((900, 1000), top, 100, 300, 800)
    sizes = []

    def errors(given, known):
        sizes.append(given.shape)
        return shift_errors(given, known)

    monkeypatch.setattr(periodic, "shift_errors", errors)
    given = without(picture, hole)
    assert set(periods_of(given, hole)) == {Period(9, 0), Period(0, 14)}
    assert sizes == [(640, 640)]
    assert (repeated(given, hole, hole, periods_of(given, hole)) == picture).all()
    other = given.copy()
    other[880:, :] = noise(20, 1000, 5)  # a strip that repeats nothing
    other[:20, :] = noise(20, 1000, 6)
    assert periods_of(other, hole | box((900, 1000), 300, 0, 300, 1000)) == []


@pytest.mark.parametrize("corner", [(0, 0), (36, 36), (0, 36)])
def test_a_pattern_is_continued_beyond_its_borders(corner):
    picture = tiled(noise(6, 9), 60, 60)
    hole = ~box((60, 60), *corner, 24, 24)
    given = without(picture, hole)
    assert (repeated(given, hole, hole, periods_of(given, hole)) == picture).all()
