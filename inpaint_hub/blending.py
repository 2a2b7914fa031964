"""Seams: how a fill meets the known pixels, which stay as they are (SPEC E3).

Masks: bool [H,W], True = hole. Every blend changes the fill alone, never reads what the hole held,
and leaves a fill that already continues the known pixels as it is.
"""

import math
from collections.abc import Iterator

import numpy as np
from PIL import Image
from scipy import fft, ndimage
from scipy.spatial import cKDTree

MANY_HOLES = 1000  # more than these are softened in one piece
BLENDS = ("none", "feather", "laplacian", "poisson", "gp")
FEATHER_PX = 8  # width of blend="feather" where none is given: the upper end of SPEC E3
COARSEST_PX = 8  # the Laplacian pyramid ends before a side falls below this
# GP-GAN (Wu et al., 2019) weighs colors by 1 and blurs by 0.5 px: a seam fades over about 1 px of
# the picture this is applied to. Ours is 16 px wide, so that it fades over a sixteenth of any side.
COLOR_WEIGHT, COLOR_SIGMA_PX, COLOR_SIDE_PX = 1.0, 0.5, 16
SOLVER_SIDE_PX = 256  # longer sides are solved on a coarser grid; the rest is carried by the rim
NEAREST = 3  # border pixels whose mean a hole's pixel takes over there
SEAM_TOLERANCE = 1e-3  # a quarter of a gray level
MAX_SOLVER_STEPS = 200


def dilate(mask: np.ndarray, radius_px: int) -> np.ndarray:
    """The hole grown by a square of radius_px in all directions; what it gains is repainted too."""
    radius_px = min(radius_px, max(mask.shape))  # beyond is nothing
    if radius_px == 0 or not mask.any():
        return mask
    return ndimage.maximum_filter(mask, size=2 * radius_px + 1)


def feather(mask: np.ndarray, radius_px: int) -> np.ndarray:
    """Weights of the fill, float32 [H,W]: rising inside the hole from its border to 1 at radius_px,
    0 outside."""
    weight = mask.astype(np.float32)
    if radius_px == 0 or mask.all() or not mask.any():
        return weight
    for part, hole in _holes_with_rims(mask):
        distance = ndimage.distance_transform_edt(mask[part])
        weight[part][hole] = np.minimum(distance[hole] / (radius_px + 1), 1)
    return weight


def _holes_with_rims(mask: np.ndarray) -> Iterator[tuple[tuple[slice, slice], np.ndarray]]:
    """(slices, bool array of their shape, True = this hole) for each hole.

    The slices are its bounding box with one pixel around it: the nearest known pixel of every one
    of its pixels lies there, since what lies nearer than that pixel is all hole and connected.
    """
    labels, count = ndimage.label(mask)
    if count > MANY_HOLES:
        labels = mask.astype(np.int32)
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        rows, columns = (slice(max(s.start - 1, 0), s.stop + 1) for s in box)
        yield (rows, columns), labels[rows, columns] == label


def feathered(rgb: np.ndarray, known: np.ndarray, mask: np.ndarray, radius_px: int) -> np.ndarray:
    """`rgb` with a soft rim: inside the hole near its border it fades into the nearest known
    color.

    rgb, known: float32 [H,W,3]; outside the mask the result means nothing, it is never used there.
    """
    if radius_px == 0 or mask.all() or not mask.any():
        return rgb
    soft = rgb.copy()
    for part, hole in _holes_with_rims(mask):
        distance, nearest = ndimage.distance_transform_edt(mask[part], return_indices=True)
        weight = np.minimum(distance[hole] / (radius_px + 1), 1).astype(np.float32)[:, None]
        rim = known[part][tuple(nearest[:, hole])]
        soft[part][hole] = weight * rgb[part][hole] + (1 - weight) * rim
    return soft


def blend_fill(
    rgb: np.ndarray, known: np.ndarray, mask: np.ndarray, blend: str, radius_px: int = 0
) -> np.ndarray:
    """The fill `rgb`, changed inside the hole so that it meets the known colors.

    rgb, known: float32 [H,W,3] in [0,1]; outside the mask the result means nothing, it is never
    used there. blend: one of BLENDS. radius_px: width of a feather, which is laid over the results
    of the other modes too; 0 is none, and FEATHER_PX for blend="feather".
    """
    assert blend in BLENDS, blend
    if mask.all() or not mask.any():
        return rgb
    if blend == "laplacian":
        rgb = laplacian_blended(rgb, known, mask)
    elif blend == "poisson":
        rgb = poisson_blended(rgb, known, mask)
    elif blend == "gp":
        rgb = gaussian_poisson_blended(rgb, known, mask)
    elif blend == "feather":
        radius_px = radius_px or FEATHER_PX
    return feathered(rgb, known, mask, radius_px)


def laplacian_blended(rgb: np.ndarray, known: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Band by band: the finer the detail, the narrower the rim inside the hole in which the fill
    takes over (the Laplacian pyramid of Burt and Adelson, 1983).

    Differs from theirs: the fill's share falls to 0 at the border instead of to a half, since only
    the hole's side of the seam may change; into the hole the known pixels go on with their nearest
    color.
    """
    distance, nearest = ndimage.distance_transform_edt(mask, return_indices=True)
    around = known[tuple(nearest)]  # known pixels are their own nearest
    difference = rgb - around
    bands = []
    for _ in range(int(math.log2(max(min(mask.shape) // COARSEST_PX, 1)))):
        coarser = _halved(difference)
        bands.append(difference - _doubled(coarser, difference.shape))
        difference = coarser
    bands.append(difference)
    result = None
    for level, band in reversed(list(enumerate(bands))):
        share = np.minimum(distance[:: 2**level, :: 2**level] / 2 ** (level + 1), 1)
        band = band * share[..., None].astype(np.float32)
        result = band if result is None else band + _doubled(result, band.shape)
    return around + result


BINOMIAL = np.array([1, 4, 6, 4, 1], np.float32) / 16


def _smoothed(array: np.ndarray) -> np.ndarray:
    for axis in (0, 1):
        array = ndimage.convolve1d(array, BINOMIAL, axis=axis, mode="mirror")
    return array


def _halved(array: np.ndarray) -> np.ndarray:
    """[H,W,C] -> every second row and column of the smoothed array."""
    return np.ascontiguousarray(_smoothed(array)[::2, ::2])


def _doubled(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The smooth array of that shape whose every second row and column `array` weighs."""
    sparse = np.zeros(shape, np.float32)
    sparse[::2, ::2] = array
    weight = np.zeros((*shape[:2], 1), np.float32)
    weight[::2, ::2] = 1
    return _smoothed(sparse) / _smoothed(weight)


def poisson_blended(rgb: np.ndarray, known: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The fill's gradients with the known colors at the border (Perez et al., 2003)."""
    return _corrected(rgb, known, mask, 0.0, 0.0)


def gaussian_poisson_blended(rgb: np.ndarray, known: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """As poisson_blended, but held to the fill's own colors away from the border: the
    Gaussian-Poisson equation of GP-GAN (Wu et al., 2019; SPEC D psp_blend).

    Differs from GP-GAN: known pixels are fixed, the colors are the fill's own instead of those of
    a second GAN, and there is one solve instead of one per level of a pyramid: the weight is scaled
    from COLOR_SIDE_PX to the picture's size, where it reaches as far.
    """
    scale = max(mask.shape) / COLOR_SIDE_PX
    return _corrected(rgb, known, mask, COLOR_WEIGHT / scale**2, COLOR_SIGMA_PX * scale)


def _corrected(
    rgb: np.ndarray, known: np.ndarray, mask: np.ndarray, color_weight: float, sigma_px: float
) -> np.ndarray:
    """rgb + u in each hole: u is what the border lacks of the known colors, carried inside by
    correction()."""
    result = rgb.copy()
    for part, hole in _holes_with_rims(mask):
        border = ndimage.binary_dilation(hole) & ~hole
        missing = known[part][border] - rgb[part][border]
        result[part][hole] += _carried(missing, border, hole, color_weight, sigma_px)
    return result


def _carried(
    values: np.ndarray, border: np.ndarray, hole: np.ndarray, color_weight: float, sigma_px: float
) -> np.ndarray:
    """correction() at the hole's pixels [m,C], of sides above SOLVER_SIDE_PX in two parts: cell by
    cell on a coarser grid, and what the border's pixels have beyond, which fades over a cell."""
    cell_px = -(-max(hole.shape) // SOLVER_SIDE_PX)
    means, border_cells = _cell_means(values, border, cell_px)
    ends = bool(hole[-1].any()), bool(hole[:, -1].any())
    u = correction(
        means,
        np.pad(border_cells, _fast_room(border_cells.shape, ends)),
        color_weight * cell_px**2,
        sigma_px / cell_px,
    )[: border_cells.shape[0], : border_cells.shape[1]]
    if cell_px == 1:
        return u[hole]
    u = _enlarged(u, cell_px, hole.shape)
    near = np.repeat(ndimage.maximum_filter(border_cells, 5), cell_px, axis=0)
    near = np.repeat(near, cell_px, axis=1)[: hole.shape[0], : hole.shape[1]] & hole
    count = range(1, min(NEAREST, len(values)) + 1)
    tree = cKDTree(np.argwhere(border))
    distance, nearest = tree.query(np.argwhere(near), count, workers=-1)
    share = np.clip(1 - distance[:, :1] / (cell_px + 1), 0, 1) / distance
    share /= (1 / distance).sum(axis=1, keepdims=True)
    beyond = (values - u[border])[nearest]
    u[near] += np.einsum("mk,mkc->mc", share, beyond)
    return u[hole]


def _cell_means(
    values: np.ndarray, border: np.ndarray, cell_px: int
) -> tuple[np.ndarray, np.ndarray]:
    """(means [k,C] of the values [n,C] in each cell that holds some, bool [h,w]: the k cells)."""
    height, width = (-(-n // cell_px) for n in border.shape)
    rows, columns = np.nonzero(border)
    cells, count = rows // cell_px * width + columns // cell_px, height * width
    number = np.bincount(cells, minlength=count)
    used = number > 0
    sums = [np.bincount(cells, weights=v, minlength=count)[used] for v in values.T]
    return np.stack(sums, axis=1) / number[used, None], used.reshape(height, width)


def _enlarged(u: np.ndarray, cell_px: int, shape: tuple[int, int]) -> np.ndarray:
    """Cells [h,w,C] -> pixels [H,W,C], float32, bilinear between the cells' centers."""
    box = (0, 0, shape[1] / cell_px, shape[0] / cell_px)
    size, method = shape[::-1], Image.Resampling.BILINEAR
    planes = [Image.fromarray(np.ascontiguousarray(p)) for p in u.transpose(2, 0, 1)]
    return np.stack([np.asarray(p.resize(size, method, box)) for p in planes], axis=2)


def _fast_room(shape: tuple[int, int], ends: tuple[bool, bool]) -> list[tuple[int, int]]:
    """np.pad's widths that make the transform's sides products of small primes: room beyond the
    border hardly matters. None where the hole ends at the picture's edge, where u lies flat."""
    return [(0, 0 if end else fft.next_fast_len(n, real=True) - n) for n, end in zip(shape, ends)]


def correction(
    values: np.ndarray, border: np.ndarray, color_weight: float = 0.0, sigma_px: float = 0.0
) -> np.ndarray:
    """u, float32 [H,W,C], that has `values` [n,C] on the border's n pixels (bool [H,W]) and the
    least energy |grad u|^2 + color_weight |G_sigma * u|^2 over the rectangle.

    The energy S is diagonal under the cosine transform, so u = S^-1 q for sources q on the border
    alone; conjugate gradients find the sources, at one transform and its inverse per step. Without
    colors u is harmonic away from the border.
    """
    height, width = border.shape
    energy = np.add.outer(_laplacian_spectrum(height), _laplacian_spectrum(width))
    energy = energy + color_weight * np.exp(-(sigma_px**2) * energy)
    free_mean = energy[0, 0] == 0  # then a constant costs nothing: it is found apart
    inverse = np.where(energy > 0, 1 / np.where(energy > 0, energy, 1), 0).astype(np.float32)

    def on_plane(sources: np.ndarray) -> np.ndarray:
        plane = np.zeros((len(sources), height, width), np.float32)
        plane[:, border] = sources
        return plane

    def spread(sources: np.ndarray) -> np.ndarray:
        spectrum = fft.dctn(on_plane(sources), axes=(1, 2), norm="ortho", workers=-1)
        return fft.idctn(spectrum * inverse, axes=(1, 2), norm="ortho", workers=-1)

    def centered(x: np.ndarray) -> np.ndarray:
        return x - x.mean(axis=1, keepdims=True) if free_mean else x

    def preconditioned(
        x: np.ndarray,
    ) -> np.ndarray:  # S itself among border pixels: halves the number of steps
        plane = on_plane(x)
        near = np.pad(plane, ((0, 0), (1, 1), (1, 1)), mode="edge")
        around = near[:, 2:, 1:-1] + near[:, :-2, 1:-1] + near[:, 1:-1, 2:] + near[:, 1:-1, :-2]
        return centered(((4 + color_weight) * plane - around)[:, border])

    target = np.ascontiguousarray(values.T, np.float32)
    sources = np.zeros_like(target)
    residual = centered(target)
    direction = preconditioned(residual)
    size = (residual * direction).sum(axis=1, keepdims=True)
    for _ in range(MAX_SOLVER_STEPS):
        if np.abs(residual).max(initial=0) <= SEAM_TOLERANCE:
            break
        image = centered(spread(direction)[:, border])
        step = size / np.maximum((direction * image).sum(axis=1, keepdims=True), 1e-20)
        sources = sources + step * direction
        residual = residual - step * image
        toward = preconditioned(residual)
        before, size = size, (residual * toward).sum(axis=1, keepdims=True)
        direction = toward + size / np.maximum(before, 1e-20) * direction
    u = spread(sources)
    if free_mean:
        u += (target - u[:, border]).mean(axis=1)[:, None, None]
    return u.transpose(1, 2, 0)


def _laplacian_spectrum(length: int) -> np.ndarray:
    """Eigenvalues of the negative second difference with reflected ends, under the DCT-II."""
    return 2 - 2 * np.cos(np.pi * np.arange(length) / length)
