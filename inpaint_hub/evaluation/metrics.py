"""Metrics of one composited picture against the original, both uint8 [H,W,3]."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.ndimage import correlate1d, gaussian_filter, maximum_filter

from inpaint_hub.images import LUMA

SSIM_WINDOW_PX = 11
SSIM_SIGMA_PX = 1.5


def psnr(result: np.ndarray, original: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB over all pixels and channels.

    Equal pictures count as if one byte differed by one gray level, so that means stay finite.
    """
    error = np.mean((result.astype(np.float64) - original) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1 / original.size)))


def l1_percent(result: np.ndarray, original: np.ndarray) -> float:
    """Mean absolute difference in percent of the range."""
    return float(np.mean(np.abs(result.astype(np.float64) - original)) / 2.55)


def color_shift_percent(
    result: np.ndarray, original: np.ndarray, mask: np.ndarray
) -> tuple[float, ...]:
    """(red, green, blue): mean signed difference result - original over the hole, bool [H,W], in
    percent of the range. A cast of the fill: 0 where errors of both signs cancel out."""
    error = result[mask].astype(np.float64) - original[mask]
    return tuple(float(shift) for shift in error.mean(axis=0) / 2.55)


def ssim(result: np.ndarray, original: np.ndarray) -> float:
    """Structural similarity of Wang et al. (2004): mean over all windows and the three channels.

    11x11 Gaussian windows of sigma 1.5 that lie inside the picture, population (co)variances,
    K1 = 0.01, K2 = 0.03, on a data range of 1 (SPEC A12). In float64.

    Raises: ValueError for pictures with a side below 11 px.
    """
    if min(result.shape[:2]) < SSIM_WINDOW_PX:
        raise ValueError(
            f"pictures are {result.shape[1]}x{result.shape[0]}, SSIM's window needs sides of at "
            f"least {SSIM_WINDOW_PX} px; judge at a higher resolution"
        )
    x, y = result / 255, original / 255
    mean_x, mean_y = _window_means(x), _window_means(y)
    variance_x = _window_means(x * x) - mean_x**2
    variance_y = _window_means(y * y) - mean_y**2
    covariance = _window_means(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    return float((luminance * structure).mean())


def _window_means(x: np.ndarray) -> np.ndarray:
    """Gaussian-weighted means of every window inside x [H,W,C]: [H-10,W-10,C]."""
    reach = SSIM_WINDOW_PX // 2
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / SSIM_SIGMA_PX) ** 2)
    weights /= weights.sum()
    x = correlate1d(x, weights, axis=0)[reach:-reach]
    return correlate1d(x, weights, axis=1)[:, reach:-reach]


def cosine_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """1 - cosine of the angle between rows of a and b, float [N,D] -> float64 [N], in [0,2]."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return 1 - (a * b).sum(axis=1) / np.maximum(norms, 1e-12)


def bootstrap_interval(
    values: ArrayLike, seed: int = 0, num_resamples: int = 1000, level: float = 0.95
) -> tuple[float, float]:
    """(low, high): percentile bootstrap interval of the mean over pictures [N]."""
    values = np.asarray(values, np.float64)
    rng = np.random.default_rng(seed)
    picks = rng.integers(0, len(values), (num_resamples, len(values)))
    means = values[picks].mean(axis=1)
    tail = (1 - level) / 2
    return float(np.quantile(means, tail)), float(np.quantile(means, 1 - tail))


def seam_step(picture: np.ndarray, mask: np.ndarray) -> float:
    """Mean jump of color across the hole's border, in gray levels: |hole - known| over all pairs
    of 4-neighbors of which one is a hole pixel and one is known, and over the three channels.

    picture: uint8 [H,W,3]; mask: bool [H,W], True = hole. NaN where no such pair is.
    """
    values = picture.astype(np.float64)
    jumps = [
        np.abs(np.diff(values, axis=axis))[
            mask.take(range(1, n), axis) ^ mask.take(range(n - 1), axis)
        ]
        for axis, n in enumerate(mask.shape)
    ]
    jumps = np.concatenate(jumps)
    return float(jumps.mean()) if len(jumps) else float("nan")


def seam_ratio(result: np.ndarray, original: np.ndarray, mask: np.ndarray) -> float:
    """seam_step of the result over that of the original: the "gapping" of InvertFill section 1 as a
    number. 1: the border is as the picture's own colors are there; 2: it shows twice their jump.

    One gray level is added to both, so that flat places do not divide by nothing.
    """
    return (seam_step(result, mask) + 1) / (seam_step(original, mask) + 1)


NETWORK_SIDE = 128  # pixels along the side that our released networks for photos see
RING_CELLS = 4  # of the network's pixels: width of the ring that the hole is compared with


def sharpness_ratio(
    picture: np.ndarray, mask: np.ndarray, network_side: int = NETWORK_SIDE
) -> float:
    """Energy of the luma above half the Nyquist frequency of a network of `network_side` px inside
    the hole, over the same in a ring of known pixels around it. 1: as sharp as its surroundings; 0:
    a blur; above 1: grain.

    picture: uint8 [H,W,3]; mask: bool [H,W], True = hole. What a Gaussian that halves the energy at
    that frequency takes away is low; hole and ring are filtered apart, so that the seam between
    them counts in neither. One squared gray level is added to both, so that flat places do not
    divide by nothing. NaN without a hole or without a ring.
    """
    side = max(mask.shape)
    frequency = network_side / 4 / side  # cycles per px
    sigma = np.sqrt(np.log(2)) / (2 * np.pi * frequency)
    reach = max(round(RING_CELLS * side / network_side), 2)
    ring = maximum_filter(mask, size=2 * reach + 1) & ~mask
    if not mask.any() or not ring.any():
        return float("nan")
    luma = picture.astype(np.float64) @ LUMA
    hole, around = (_energy_above(luma, region, sigma) for region in (mask, ring))
    return (hole + 1) / (around + 1)


def _energy_above(x: np.ndarray, region: np.ndarray, sigma: float) -> float:
    """Mean square of what a Gaussian of the region alone takes away from x [H,W] there."""
    share = gaussian_filter(region.astype(np.float64), sigma)
    low = gaussian_filter(np.where(region, x, 0), sigma)[region] / share[region]
    return float(((x[region] - low) ** 2).mean())
