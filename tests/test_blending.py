"""Seams: what softening may touch."""

import numpy as np

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


def test_dilation_grows_by_its_radius_in_all_directions():
    point = np.zeros((9, 9), bool)
    point[4, 4] = True
    assert np.array_equal(np.argwhere(dilate(point, 2)), np.argwhere(np.pad(np.ones((5, 5)), 2)))
    assert dilate(point, 0) is point
