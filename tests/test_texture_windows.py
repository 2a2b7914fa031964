"""Which crops a texture is made in, and that long, thin holes are filled piece by piece."""

import numpy as np
import pytest
from PIL import Image
from test_pipelines import tiny_pipeline

from inpaint_hub.crops import window_slices
from inpaint_hub.pipelines import windows
from inpaint_hub.texture import Textured, textured_windows
from inpaint_hub.texture.windows import MIN_SIDE_PX, PIECE_PX, THIN_PX

SHAPE = (900, 1200)


def line(width):
    """A diagonal of so many px across the picture."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    off = (x * 0.6 - y * 0.8 + 60) / 1.0
    return (np.abs(off) < width / 2) & (x > 50) & (x < 1100)


def all_of(hole, in_pieces=True):
    whole = tuple(slice(0, n) for n in hole.shape)
    return textured_windows(hole, hole, whole, in_pieces)


@pytest.mark.parametrize("width", [1, 20, THIN_PX - 4])
def test_a_long_thin_hole_is_filled_in_pieces_each_pixel_once(width):
    hole = line(width)
    (pieces,) = all_of(hole)
    assert len(pieces) > 5
    times = np.zeros(SHAPE, int)
    for window, own in pieces:
        part = window_slices(window, SHAPE)
        assert own.shape == times[part].shape
        assert MIN_SIDE_PX <= window.side <= 3 * PIECE_PX
        times[part] += own
        rows, columns = np.nonzero(own)
        assert max(np.ptp(rows), np.ptp(columns)) < PIECE_PX
    assert np.array_equal(times, hole)


def test_what_is_thick_or_short_or_not_to_be_divided_is_filled_at_once():
    thick, short = line(4), np.zeros(SHAPE, bool)
    thick[400 : 400 + THIN_PX, 500 : 500 + THIN_PX] = True
    short[100:104, 100:250] = True
    for hole in (thick, short):
        assert [len(pieces) for pieces in all_of(hole)] == [1]
    assert [len(pieces) for pieces in all_of(line(4), in_pieces=False)] == [1]
    small = np.zeros((320, 480), bool)  # whose crop is copied as it is
    small[100:110, 20:460] = True
    assert [len(pieces) for pieces in all_of(small)] == [1]


def test_thin_and_thick_holes_are_told_apart():
    hole = np.zeros(SHAPE, bool)
    hole[100:104, 20:1100] = hole[600:800, 700:900] = True
    (thick,), thin = all_of(hole)
    assert thick.own.sum() == 200 * 200 and sum(own.sum() for _, own in thin) == 4 * 1080


def test_a_piece_sees_what_was_filled_before(monkeypatch):
    """Fills of 200, 201, ... in turn: each call's known pixels hold those made before, and its hole
    does not."""
    pipe, hole = tiny_pipeline(), line(12)
    photo = np.full((*SHAPE, 3), 30, np.uint8)
    calls = []

    def fake(fill, known, hole, own, *_):
        made = np.full(known.shape, np.float32((200 + len(calls)) / 255))
        calls.append((known.copy(), hole.copy(), own))
        return Textured(made, "patches", {})

    monkeypatch.setattr(windows, "textured", fake)
    filled = np.asarray(pipe(Image.fromarray(photo), hole, texture="patches").images[0])
    assert np.array_equal(filled[~hole], photo[~hole])
    values = filled[hole][:, 0]
    assert sorted(set(values.tolist())) == list(range(200, 200 + len(calls)))
    for number, (known, missing, own) in enumerate(calls):
        assert not missing[(known >= 200)[..., 0]].any() and missing[own].all()
        assert (known[known >= 200] < 200 + number).all()
    assert sum((known >= 200).any() for known, _, _ in calls) > len(calls) // 2
    made = values.copy()
    calls.clear()
    again = np.asarray(pipe(Image.fromarray(photo), hole, texture="patches").images[0])
    assert np.array_equal(again[hole][:, 0], made) and (photo == 30).all()
    calls.clear()
    pipe(Image.fromarray(photo), hole, texture="patches", num_images_per_prompt=2)
    first_of_second = calls[len(calls) // 2]
    assert not (first_of_second[0] >= 200).any()  # each result is made from the photo alone
    calls.clear()
    pipe(Image.fromarray(photo), hole, texture="detail")
    assert len(calls) == 1


@pytest.mark.parametrize("texture", ["patches", "auto"])
def test_a_scratch_across_a_large_photo_is_as_fine_as_the_photo(texture):
    """Stripes of 5 px, which a fill at a lower resolution would lose, with noise so that they are
    no period."""
    rng = np.random.default_rng(0)
    rows = np.sin(2 * np.pi * (np.arange(SHAPE[0]) + rng.normal(0, 0.6, SHAPE[0])) / 5)
    photo = np.clip(128 + 60 * rows[:, None, None] + rng.normal(0, 8, (*SHAPE, 3)), 0, 255)
    photo, hole = photo.astype(np.uint8), line(14)
    pipe = tiny_pipeline()
    result = np.asarray(pipe(Image.fromarray(photo), hole, texture=texture, context=1).images[0])
    assert np.array_equal(result[~hole], photo[~hole])
    error = np.abs(result.astype(float) - photo)[hole].mean()
    assert error < 0.5 * np.abs(photo[hole] - 128.0).mean()
