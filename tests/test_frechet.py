"""Distances of two sets of features, against closed forms and the definitions spelled out."""

import itertools

import numpy as np
import pytest
from scipy.linalg import sqrtm

from inpaint_hub.evaluation.frechet import (
    frechet_distance,
    frechet_interval,
    frechet_of_features,
    kernel_distance,
)


def rng(seed=0):
    return np.random.default_rng(seed)


def covariance(size, seed=0):
    root = rng(seed).normal(size=(size, size))
    return root @ root.T


def test_equal_gaussians_are_at_distance_zero():
    mean, cov = rng().normal(size=6), covariance(6)
    assert frechet_distance(mean, cov, mean, cov) == pytest.approx(0, abs=1e-9)


def test_a_translation_costs_its_squared_length():
    mean, cov, shift = rng().normal(size=6), covariance(6), rng(1).normal(size=6)
    distance = frechet_distance(mean, cov, mean + shift, cov)
    assert distance == pytest.approx((shift**2).sum(), rel=1e-9)


def test_diagonal_covariances_give_the_squared_differences_of_their_roots():
    a, b = rng(0).uniform(0, 4, 7), rng(1).uniform(0, 4, 7)
    zero = np.zeros(7)
    expected = ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
    assert frechet_distance(zero, np.diag(a), zero, np.diag(b)) == pytest.approx(expected)


def test_the_root_is_the_one_scipy_takes_of_the_product():
    a, b, zero = covariance(5, 1), covariance(5, 2), np.zeros(5)
    expected = np.trace(a) + np.trace(b) - 2 * np.trace(sqrtm(a @ b).real)
    assert frechet_distance(zero, a, zero, b) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(zero, b, zero, a) == pytest.approx(expected, rel=1e-9)


def test_singular_covariances_need_no_repair():
    direction = np.zeros((3, 3))
    direction[0, 0] = 4
    other = np.zeros((3, 3))
    other[1, 1] = 9
    assert frechet_distance(np.zeros(3), direction, np.zeros(3), other) == pytest.approx(13)


def test_few_pictures_take_another_path_to_the_same_number():
    a, b = rng(0).normal(size=(6, 12)), 1 + 2 * rng(1).normal(size=(8, 12))
    moments = a.mean(axis=0), np.cov(a.T), b.mean(axis=0), np.cov(b.T)
    # Roots of eigenvalues that are zero but for rounding bound the agreement.
    assert frechet_of_features(a, b) == pytest.approx(frechet_distance(*moments), rel=1e-5)
    many = np.concatenate([a] * 3), np.concatenate([b] * 3)[:18]
    moments = [m for x in many for m in (x.mean(axis=0), np.cov(x.T))]
    assert frechet_of_features(*many) == pytest.approx(frechet_distance(*moments), rel=1e-5)


def test_float32_features_are_taken_in_float64():
    a = (1e3 + rng(0).normal(size=(50, 4)) * 1e-2).astype(np.float32)
    b = a + np.float32(0.5)
    assert frechet_of_features(a, b) == pytest.approx(4 * 0.25, rel=1e-6)


def test_the_intervals_have_the_width_that_new_samples_show():
    """Against the spread over fresh sets, which no resampling enters."""
    values, kernels, widths, kernel_widths = [], [], [], []
    for seed in range(40):
        a = rng(seed).normal(size=(400, 3))
        b = a + 0.6 * rng(seed + 1000).normal(size=a.shape) + 0.3
        values.append(frechet_of_features(a, b))
        low, high = frechet_interval(a, b)
        assert low <= values[-1] <= high
        widths.append(high - low)
        value, low, high = kernel_distance(a, b, num_resamples=300)
        assert low <= value <= high
        kernels.append(value)
        kernel_widths.append(high - low)
    assert np.mean(widths) == pytest.approx(2 * 1.96 * np.std(values), rel=0.3)
    assert np.mean(kernel_widths) == pytest.approx(2 * 1.96 * np.std(kernels), rel=0.3)


def test_kernel_distance_is_its_definition_spelled_out():
    a, b = rng(0).normal(size=(7, 4)), rng(1).normal(size=(7, 4)) + 0.5

    def k(x, y):
        return (x @ y / 4 + 1) ** 3

    terms = [
        k(a[i], a[j]) + k(b[i], b[j]) - k(a[i], b[j]) - k(a[j], b[i])
        for i, j in itertools.permutations(range(7), 2)
    ]
    assert kernel_distance(a, b)[0] == pytest.approx(np.mean(terms))


def test_kernel_distance_of_one_distribution_is_zero_on_average():
    values = []
    for seed in range(300):
        a, b = rng(seed).normal(size=(2, 30, 5))
        values.append(kernel_distance(a, b, num_resamples=2)[0])
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(300)


@pytest.mark.parametrize("distance", [frechet_of_features, kernel_distance])
def test_one_picture_has_no_spread(distance):
    with pytest.raises(ValueError, match="at least 2"):
        distance(np.zeros((1, 4)), np.zeros((1, 4)))
