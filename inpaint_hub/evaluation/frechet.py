"""Distances between two sets of feature vectors, in float64: Frechet distance and kernel distance.

Which network made the features belongs into the name of every number (fd_<network>).
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import eigh, eigvalsh, svdvals

NUM_GROUPS = 20  # of the jackknife


def frechet_distance(
    mean_a: ArrayLike, covariance_a: ArrayLike, mean_b: ArrayLike, covariance_b: ArrayLike
) -> float:
    """|mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2)): the squared 2-Wasserstein distance of two
    Gaussians [D], [D,D] (Dowson and Landau, 1982; Heusel et al., 2017).

    The root is taken of A^(1/2) B A^(1/2), symmetric and with the same eigenvalues as A B, so that
    singular covariances need no repair.
    """
    a, b = (np.asarray(c, np.float64) for c in (covariance_a, covariance_b))
    values, vectors = eigh(a)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    cross = np.sqrt(np.clip(eigvalsh(root @ b @ root), 0, None)).sum()
    gap = np.asarray(mean_a, np.float64) - mean_b
    return float(gap @ gap + np.trace(a) + np.trace(b) - 2 * cross)


def frechet_of_features(a: ArrayLike, b: ArrayLike) -> float:
    """Frechet distance of Gaussians fitted to rows [N,D] and [M,D] (covariances over N - 1).

    Raises: ValueError for fewer than two rows.
    """
    a, b = (np.asarray(x, np.float64) for x in (a, b))
    if min(len(a), len(b)) < 2:
        raise ValueError(
            f"{len(a)} and {len(b)} feature vectors, expected at least 2 of each; judge more "
            "pictures"
        )
    gap = a.mean(axis=0) - b.mean(axis=0)
    if max(a.shape[0], b.shape[0]) >= a.shape[1]:
        return frechet_distance(a.mean(axis=0), np.cov(a.T), b.mean(axis=0), np.cov(b.T))
    # With A = X'X and B = Y'Y, tr (A B)^(1/2) is the sum of the singular values of X Y'.
    x, y = ((m - m.mean(axis=0)) / np.sqrt(len(m) - 1) for m in (a, b))
    cross = svdvals(x @ y.T).sum()
    return float(gap @ gap + (x**2).sum() + (y**2).sum() - 2 * cross)


def frechet_interval(
    a: np.ndarray, b: np.ndarray, num_groups: int = NUM_GROUPS
) -> tuple[float, float]:
    """(low, high): 95 % interval of frechet_of_features over paired rows, by leaving out groups.

    Differs from the other metrics' bootstrap: rows drawn twice shrink a covariance, which moves a
    bootstrapped Frechet distance away from the one it should describe; the delete-a-group
    jackknife estimates the same standard error without repeating a row.
    """
    value = frechet_of_features(a, b)
    groups = min(num_groups, len(a))
    if len(a) < 4:
        return value, value
    rows = np.arange(len(a))
    left = [rows[rows % groups != g] for g in range(groups)]
    values = np.array([frechet_of_features(a[kept], b[kept]) for kept in left])
    error = np.sqrt((groups - 1) / groups * ((values - values.mean()) ** 2).sum())
    return max(0.0, value - 1.96 * float(error)), value + 1.96 * float(error)


def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Binkowski et al.'s (x.y / D + 1)^3 of all rows of a with all of b: [N,M]."""
    return (np.asarray(a, np.float64) @ np.asarray(b, np.float64).T / a.shape[1] + 1) ** 3


def kernel_distance(
    a: np.ndarray, b: np.ndarray, seed: int = 0, num_resamples: int = 1000
) -> tuple[float, float, float]:
    """(value, low, high): unbiased squared MMD under `kernel` of rows [N,D] and [N,D], and its 95 %
    percentile bootstrap interval over pairs of rows (KID, Binkowski et al., 2018).

    Differs from KID's usual code: all rows at once, not subsets of 1000; and row i of a is not
    compared with row i of b (Gretton et al., 2012, Eq. (4)), since a fill shares its known pixels
    with its original, which would make the distance of any two such sets too small. In a resample
    a pair drawn k times weighs k and is not compared with its own copies either.

    Raises: ValueError for fewer than two rows, or sets of different sizes.
    """
    if len(a) < 2 or len(a) != len(b):
        raise ValueError(
            f"{len(a)} and {len(b)} feature vectors, expected equally many and at least 2; judge "
            "more pictures"
        )
    n = len(a)
    across = kernel(a, b)
    terms = kernel(a, a) + kernel(b, b) - across - across.T
    np.fill_diagonal(terms, 0)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(n, np.full(n, 1 / n), size=num_resamples).astype(np.float64)
    weights = weights[(weights > 0).sum(axis=1) > 1]
    low, high = np.quantile(_weighted_mean(weights, terms), (0.025, 0.975))
    return float(_weighted_mean(np.ones((1, n)), terms)[0]), float(low), float(high)


def _weighted_mean(weights: np.ndarray, terms: np.ndarray) -> np.ndarray:
    """Mean of terms [N,N] off the diagonal, which is 0, for each row of weights [R,N]."""
    pairs = weights.sum(axis=1) ** 2 - (weights**2).sum(axis=1)
    return ((weights @ terms) * weights).sum(axis=1) / pairs
