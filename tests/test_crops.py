"""Where pictures are cut around their holes."""

import numpy as np
import pytest
from PIL import Image

from inpaint_hub.crops import (
    MIN_KNOWN,
    TurnedWindow,
    Window,
    context_windows,
    cut,
    cut_mask,
    enlarge,
    hole_slices,
    hole_windows,
    inside,
    whole_window,
    window_slices,
)


def holes(shape, *boxes):
    mask = np.zeros(shape, bool)
    for left, top, right, bottom in boxes:
        mask[top:bottom, left:right] = True
    return mask


def holds(window, box):
    left, top, right, bottom = box
    return (
        window.left <= left
        and window.top <= top
        and right <= window.left + window.side
        and bottom <= window.top + window.side
    )


def test_no_hole_no_window():
    empty = np.zeros((40, 60), bool)
    assert whole_window(empty) == [] and hole_windows(empty, 8, 16) == []


@pytest.mark.parametrize(
    "box, window",
    [
        ((50, 5, 60, 15), Window(20, 0, 40)),  # right edge: moved inside
        ((0, 0, 10, 10), Window(0, 0, 40)),
        ((25, 10, 35, 20), Window(10, 0, 40)),  # centered on the hole
        ((5, 10, 55, 20), Window(0, -10, 60)),  # wider than high: reaches past the border
    ],
)
def test_the_largest_square_is_placed_around_the_hole(box, window):
    assert whole_window(holes((40, 60), box)) == [window]


def test_distant_holes_are_cut_separately_and_near_ones_together():
    a, b, c = (100, 100, 160, 150), (2000, 900, 2050, 990), (2080, 900, 2100, 930)
    windows = hole_windows(holes((3000, 4000), a, b, c), padding_px=32, min_side=64)
    assert len(windows) == 2
    for box in (a, b, c):
        assert sum(holds(w, box) for w in windows) == 1
    assert windows[0].side == 60 + 64


def test_windows_never_share_a_hole():
    rng = np.random.default_rng(0)
    for _ in range(20):
        boxes = [
            (x, y, x + w, y + h)
            for x, y, w, h in zip(
                rng.integers(0, 560, 12),
                rng.integers(0, 360, 12),
                rng.integers(1, 40, 12),
                rng.integers(1, 40, 12),
            )
        ]
        mask = holes((400, 600), *boxes)
        windows = hole_windows(mask, padding_px=10, min_side=32)
        covered = np.zeros(mask.shape, int)
        for window in windows:
            covered[window_slices(window, mask.shape)] += 1
        assert (covered[mask] == 1).all()


@pytest.mark.parametrize(
    "a, b",
    [
        (Window(90, 90, 30), Window(120, 90, 30)),  # beside each other
        (Window(90, 90, 30), Window(120, 95, 30)),
        (Window(90, 95, 30), Window(120, 90, 30)),
        (Window(90, 90, 30), Window(95, 120, 30)),  # one below the other
        (Window(95, 90, 30), Window(90, 120, 30)),
    ],
)
def test_windows_that_only_touch_stay_apart(a, b):
    boxes = [(w.left + 10, w.top + 10, w.left + 20, w.top + 20) for w in (a, b)]
    mask = holes((400, 400), *boxes)
    assert set(hole_windows(mask, padding_px=10, min_side=1)) == {a, b}
    assert len(hole_windows(mask, padding_px=11, min_side=1)) == 1


def test_thousands_of_dots_in_a_large_photo_are_told_apart():
    mask = np.zeros((3000, 4000), bool)
    mask[::80, ::80] = True
    windows = hole_windows(mask, padding_px=8, min_side=20)
    assert len(windows) == mask.sum() and all(w.side == 20 for w in windows)


def test_reflection_continues_the_picture_past_its_border():
    pixels = np.arange(4 * 6, dtype=np.uint8).reshape(4, 6, 1).repeat(3, axis=2)
    region = cut(pixels, Window(0, -1, 6), 6)[..., 0]
    assert np.array_equal(region[1:5], pixels[..., 0])
    assert np.array_equal(region[0], pixels[1, :, 0])
    assert np.array_equal(region[5], pixels[2, :, 0])


def test_a_single_pixel_fills_its_whole_window():
    pixels = np.full((1, 1, 3), 9, np.uint8)
    assert (cut(pixels, Window(-2, -2, 5), 8) == 9).all()


def test_the_hole_is_emptied_in_the_cut_alone():
    pixels = np.arange(40 * 60 * 3, dtype=np.uint8).reshape(40, 60, 3)
    before, mask = pixels.copy(), holes((40, 60), (3, 0, 9, 12))
    emptied = pixels.copy()
    emptied[mask] = 127
    for window in (Window(0, -10, 60), Window(0, 0, 20)):
        assert np.array_equal(cut(pixels, window, 16, mask), cut(emptied, window, 16))
    assert np.array_equal(pixels, before)


@pytest.mark.parametrize("side", [8, 20, 37, 64])
def test_no_hole_pixel_has_a_share_in_what_is_shown_as_known(side):
    rng = np.random.default_rng(side)
    pixels = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
    mask = rng.random((side, side)) < 0.1
    other = pixels.copy()
    other[mask] = rng.integers(0, 256, (mask.sum(), 3))
    window = Window(0, 0, side)
    known = ~cut_mask(mask, window, 16)
    assert np.array_equal(cut(pixels, window, 16)[known], cut(other, window, 16)[known])


@pytest.mark.parametrize("window", [Window(-10, 5, 40), Window(3, 4, 7), Window(0, 0, 100)])
def test_enlarging_is_pillows_cubic_convolution(window):
    patch = np.random.default_rng(0).random((16, 16, 3), dtype=np.float32)
    whole = enlarge(
        patch,
        window,
        (
            slice(window.top, window.top + window.side),
            slice(window.left, window.left + window.side),
        ),
    )
    for c in range(3):
        channel = Image.fromarray(np.ascontiguousarray(patch[..., c]))
        expected = channel.resize((window.side, window.side), Image.Resampling.BICUBIC)
        np.testing.assert_allclose(whole[..., c], np.asarray(expected), atol=2e-6)


@pytest.mark.parametrize("side", [7, 40, 97])
def test_a_part_is_enlarged_as_in_the_whole_bit_for_bit(side):
    patch = np.random.default_rng(side).random((16, 16, 3), dtype=np.float32)
    window = Window(10, -3, side)
    whole = enlarge(patch, window, (slice(-3, side - 3), slice(10, 10 + side)))
    part = enlarge(patch, window, (slice(0, 3), slice(12, 16)))
    assert np.array_equal(part, whole[3:6, 2:6])


def test_the_holes_part_has_a_pixel_around_it_inside_the_window():
    mask = holes((40, 60), (0, 10, 5, 12), (58, 38, 60, 40))
    assert hole_slices(mask, (slice(5, 20), slice(0, 30))) == (slice(9, 13), slice(0, 6))
    assert hole_slices(mask, (slice(30, 40), slice(40, 60))) == (slice(37, 40), slice(57, 60))
    assert hole_slices(mask, (slice(20, 30), slice(0, 60))) is None


def test_enlarging_covers_the_window_inside_the_picture():
    patch = np.linspace(0, 1, 16, dtype=np.float32)[None, :, None] * np.ones((16, 1, 3), np.float32)
    window = Window(-10, 5, 40)
    part = enlarge(patch, window, window_slices(window, (60, 50)))
    assert part.shape == (40, 30, 3)
    assert np.all(np.diff(part[20, :, 0]) >= -1e-6)  # the ramp still rises
    assert 0.2 < part[20, 0, 0] < 0.3  # its first quarter lies outside


def test_context_is_the_holes_own_size_on_each_side():
    (window, own), *others = context_windows(holes((900, 1200), (500, 400, 600, 470)), 1.0, 64)
    assert others == [] and window == Window(400, 285, 300) and own.sum() == 100 * 70
    assert context_windows(holes((900, 1200), (0, 0, 100, 70)), 1.0, 64)[0].window.side == 300
    assert context_windows(holes((900, 1200), (500, 400, 510, 410)), 1.0, 64)[0].window.side == 64
    assert context_windows(np.zeros((40, 60), bool), 1.0, 16) == []


def test_a_window_of_which_little_is_known_is_widened():
    mask = holes((600, 800), (200, 100, 500, 400))
    for context in (0.0, 0.1, 0.5):
        window, own = context_windows(mask, context, 32)[0]
        part = mask[window_slices(window, mask.shape)]
        assert 1 - part.mean() >= MIN_KNOWN and own.sum() == mask.sum()
    everything = np.ones((30, 40), bool)
    assert context_windows(everything, 1.0, 16)[0].window == Window(0, -5, 40)


def test_near_holes_of_one_size_are_seen_together_and_a_speck_does_not_blur_a_large_one():
    eyes = holes((900, 1200), (500, 400, 540, 420), (560, 400, 600, 420))
    assert len(context_windows(eyes, 1.0, 16)) == 1
    far = holes((900, 1200), (500, 400, 540, 420), (1000, 400, 1040, 420))
    assert len(context_windows(far, 1.0, 16)) == 2
    specks = np.zeros((900, 1200), bool)
    specks[::40, ::40] = True
    windows = context_windows(specks, 1.0, 64)
    assert max(w.window.side for w in windows) <= 96


def test_every_hole_pixel_belongs_to_one_context_window():
    rng = np.random.default_rng(0)
    for _ in range(20):
        corners = zip(*rng.integers(0, 360, (2, 15)).tolist(), *rng.integers(1, 90, (2, 15)))
        mask = holes((400, 600), *((x, y, x + w, y + h) for x, y, w, h in corners))
        filled = np.zeros(mask.shape, int)
        for window, own in context_windows(mask, 0.7, 32):
            filled[window_slices(window, mask.shape)] += own
        assert np.array_equal(filled, mask.astype(int))


TURNED = [
    TurnedWindow(300, 200, 180.0, 0.0),
    TurnedWindow(250.3, 180.7, 150.5, 0.6),
    TurnedWindow(310.9, 205.2, 40.0, -0.78),
    TurnedWindow(300, 200, 390.0, 0.1),
]


@pytest.mark.parametrize("window", TURNED)
def test_aligning_and_putting_back_is_the_identity_within_half_a_pixel(window):
    places = np.random.default_rng(0).random((50, 2))
    there = window.to_picture(places)
    np.testing.assert_allclose(window.from_picture(there), places, atol=1e-12)
    np.testing.assert_allclose(
        np.linalg.norm(window.to_picture([1, 0]) - window.to_picture([0, 0])), window.side
    )
    y, x = np.mgrid[0:400, 0:600].astype(np.float32)
    part = window_slices(window, (400, 600))
    middle = TurnedWindow(*window[:2], window.side * 0.8, window.angle)
    clear = inside(middle, part)
    for channel, longest in ((x, 600), (y, 400)):
        ramp = np.repeat(channel[..., None] / longest * 255, 3, axis=2)
        pixels = np.rint(ramp).astype(np.uint8)
        back = enlarge(cut(pixels, window, 64).astype(np.float32), window, part)
        error = np.abs(back - ramp[part])[clear] * longest / 255
        assert error.max() < 0.5 + longest / 255  # the ramp's own rounding to bytes


def test_an_upright_turned_window_shows_what_a_window_does():
    pixels = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    turned = cut(pixels, TurnedWindow(164, 114, 128, 0.0), 32).astype(int)
    upright = cut(pixels, Window(100, 50, 128), 32).astype(int)
    assert np.abs(turned - upright).max() <= 1


@pytest.mark.parametrize("window", TURNED)
def test_no_hole_pixel_has_a_share_in_what_a_turned_window_shows_as_known(window):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (400, 600, 3), dtype=np.uint8)
    mask = np.zeros((400, 600), bool)
    mask[180:215, 280:340] = True
    mask[rng.integers(0, 400, 30), rng.integers(0, 600, 30)] = True
    other = pixels.copy()
    other[mask] = rng.integers(0, 256, (mask.sum(), 3))
    known = ~cut_mask(mask, window, 16)
    assert 0 < known.sum() < known.size
    assert np.array_equal(cut(pixels, window, 16)[known], cut(other, window, 16)[known])
    assert np.array_equal(cut(pixels, window, 16, mask), cut(other, window, 16, mask))


def test_a_window_knows_its_pixels_its_bounds_and_holds_what_fits():
    known = np.zeros((10, 12), bool)
    known[3:7, 2:6] = True
    assert np.array_equal(inside(Window(2, 3, 4), (slice(0, 10), slice(0, 12))), known)
    assert TurnedWindow(30, 20, 10.0, 0.0).bounds == Window(25, 15, 10)
    hole = np.zeros((60, 100), bool)
    hole[45:58, 80:95] = True
    assert whole_window(hole)[0].side == 60
