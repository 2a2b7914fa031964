"""Seams: what softening may touch."""

import numpy as np
import pytest

from inpaint_hub import blending
from inpaint_hub.blending import dilate, feather, feathered


def disc(side=41, radius=12):
    y, x = np.mgrid[:side, :side] - side // 2
    return x**2 + y**2 <= radius**2


def test_weights_are_zero_outside_rise_from_the_rim_and_reach_one():
    weight = feather(disc(), 5)
    assert (weight[~disc()] == 0).all() and (weight[disc()] > 0).all()
    assert weight[20, 20] == 1
    profile = weight[20, 8:14]
    assert (np.diff(profile) >= 0).all() and profile[0] < 0.3


def test_no_radius_is_the_mask_and_a_full_mask_stays_full():
    assert np.array_equal(feather(disc(), 0), disc().astype(np.float32))
    assert (feather(np.ones((5, 5), bool), 3) == 1).all()


def test_the_rim_takes_the_nearest_known_colour_and_the_centre_the_fill():
    fill = np.ones((41, 41, 3), np.float32)
    known = np.zeros((41, 41, 3), np.float32)
    soft = feathered(fill, known, disc(), 6)
    assert soft[20, 20, 0] == 1
    assert soft[20, 8, 0] < 0.2
    same = feathered(fill, fill, disc(), 6)
    np.testing.assert_allclose(same[disc()], 1, rtol=1e-6)


@pytest.mark.parametrize("many_holes", [0, 1000])
def test_holes_fade_into_the_nearest_known_colour(many_holes, monkeypatch):
    monkeypatch.setattr(blending, "MANY_HOLES", many_holes)
    rng = np.random.default_rng(0)
    mask = np.zeros((60, 80), bool)
    mask[:14, 55:] = rng.random((14, 25)) < 0.8
    mask[30:40, 10:30] = mask[45:50, 25:60] = mask[::20, 0] = True
    rgb, known = rng.random((2, 60, 80, 3), np.float32)
    y, x = np.mgrid[:60, :80]
    soft, weights = feathered(rgb, known, mask, 3), feather(mask, 3)
    for row, column in np.argwhere(mask):
        distance = np.where(mask, np.inf, np.hypot(y - row, x - column))
        weight = min(distance.min() / 4, 1)
        assert abs(weights[row, column] - weight) < 1e-6
        nearest = known[distance == distance.min()]
        fades = weight * rgb[row, column] + (1 - weight) * nearest
        assert np.abs(fades - soft[row, column]).max(axis=1).min() < 1e-6


def test_nothing_is_softened_without_a_hole_or_without_a_known_pixel():
    rgb = np.random.default_rng(0).random((5, 7, 3), np.float32)
    for mask in (np.zeros((5, 7), bool), np.ones((5, 7), bool)):
        assert np.array_equal(feathered(rgb, rgb * 0, mask, 2), rgb)
        assert np.array_equal(feather(mask, 2), mask.astype(np.float32))


def test_dilation_grows_by_its_radius_in_all_directions():
    point = np.zeros((9, 9), bool)
    point[4, 4] = True
    assert np.array_equal(np.argwhere(dilate(point, 2)), np.argwhere(np.pad(np.ones((5, 5)), 2)))
    assert dilate(point, 0) is point
