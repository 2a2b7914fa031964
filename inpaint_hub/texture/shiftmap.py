"""The hole as shifted pieces of the photo: every pixel of it takes over what lies at one of a
hundred offsets from it, so that neighbors show what are neighbors in the photo, too.

Pritch, Kav-Venaki, Peleg, "Shift-Map Image Editing", ICCV 2009 (the labeling).
He, Sun, "Statistics of Patch Offsets for Image Completion", ECCV 2012 (which offsets).

Differs from both: offsets come from a draft, too, and its colors lead the choice; places are as
fine as what surrounds the hole; loopy belief propagation in place of graph cuts.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage, sparse
from scipy.sparse.linalg import splu

from inpaint_hub import crops
from inpaint_hub.images import LUMA
from inpaint_hub.texture.detail import BOX, reduced_mask, resized
from inpaint_hub.texture.guide import carried_colors

FACTOR = 2  # offsets are chosen at so much less resolution
RADIUS_PX = 3  # of compared patches
COMPONENTS = 24  # of their principal components
KEYS, QUERIES = 5000, 1500  # patches that are compared, at most
NEAR = 1 / 15  # of the longer side: shorter offsets say that a photo is smooth, not what it repeats
REPEATS, MATCHES = 40, 60  # offsets, at most: of the photo's repetitions, of the draft's matches
NEAREST = 3  # matches that each of the draft's patches counts for
LABELS = 12  # offsets that each pixel chooses from
SOFTNESS_PX = 1.0
# Costs, of squared differences of values in [0,1]:
COLOR_COST = 0.1  # of softened colors to the draft's
PATCH_COST = 0.3  # of patches to the draft's
FINENESS_COST = 4.0  # of fineness to that of the hole's surroundings
SEAM_COST = 0.01  # wherever two offsets meet
RIM_COST = 2.0  # of what lies beyond the rim to the known pixels there
FINENESS_WEIGHT = 3.0  # beside colors and their differences, where two offsets meet
WINDOW_PX = 9  # in which costs are summed to find a pixel's offsets
SWEEPS, DAMPING = 12, 0.5  # of the belief propagation
FORBIDDEN = 10.0
FINE_SIGMA_PX, FINE_SOFTNESS_PX = 1.0, 2.0
PULL = 1e-3  # to the copies' own colors, where gradients alone leave them open
NEIGHBORS = ((0, 1), (1, 0), (0, -1), (-1, 0))


class Scene(NamedTuple):
    """picture: float32 [H,W,3] in [0,1], the known pixels and in the hole a draft; hole; barred:
    what is not copied from, all of the hole and more; own: what is to be filled, a part of it;
    fineness: float32 [H,W], in the hole that of its surroundings."""

    picture: np.ndarray
    hole: np.ndarray
    barred: np.ndarray
    own: np.ndarray
    fineness: np.ndarray


def shifted(
    picture: np.ndarray, hole: np.ndarray, barred: np.ndarray, own: np.ndarray, seed: int
) -> np.ndarray | None:
    """float32 [H,W,3]: the picture with `own` filled by shifted pieces of it; None where no whole
    patch may be copied.

    picture, hole, barred, own: as in Scene. seed: of the patches that are compared, a whole number.
    Offsets are chosen at half the resolution.
    """
    fineness = fineness_of(picture, hole)
    size = tuple(max(round(n / FACTOR), 1) for n in own.shape[::-1])
    small_hole, small_barred, small_own = (reduced_mask(x, size) for x in (hole, barred, own))
    fineness = resized(fineness[..., None], size, BOX)[..., 0]
    scene = Scene(
        resized(picture, size, BOX),
        small_hole,
        small_barred,
        small_own,
        carried_fineness(fineness, small_hole),
    )
    offsets = offsets_of(scene, np.random.default_rng(seed))
    if not len(offsets):
        return None
    chosen = np.zeros((*small_own.shape, 2), int)
    chosen[small_own] = labeled(scene, offsets) * FACTOR
    places = np.stack(np.nonzero(own))
    small = [i * small // large for i, small, large in zip(places, small_own.shape, own.shape)]
    there, _ = _moved(places, chosen[tuple(small)].T, own.shape)
    # Of odd sides a half is rounded, so that an offset may end a pixel within what is barred.
    nearest = ndimage.distance_transform_edt(barred, return_distances=False, return_indices=True)
    return composed(picture, hole, own, (nearest[:, *there] - places).T)


def fineness_of(picture: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """float32 [H,W]: root mean square of what is finer than a pixel or two in the lightness around
    each known pixel; 0 in the hole."""
    known, luma = (~hole).astype(np.float32), picture @ LUMA
    fine = np.where(hole, 0, luma - _softened(luma, known, FINE_SIGMA_PX))
    return np.where(hole, 0, np.sqrt(_softened(fine**2, known, FINE_SOFTNESS_PX)))


def _softened(values: np.ndarray, weight: np.ndarray, sigma: float) -> np.ndarray:
    """The values [H,W,...], blurred over where the weight is 1."""
    share = np.maximum(ndimage.gaussian_filter(weight, sigma), 1e-3)
    if values.ndim == 3:
        weight, share, sigma = weight[..., None], share[..., None], (sigma, sigma, 0)
    return ndimage.gaussian_filter(values * weight, sigma) / share


def carried_fineness(fineness: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """The same, with that of the known pixels carried into the hole."""
    carried = carried_colors(np.repeat(fineness[..., None], 3, axis=2), hole)[..., 0]
    return np.where(hole, carried, fineness).astype(np.float32)


def offsets_of(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """int [K,2], rows and columns: the offsets at which the photo's patches repeat most often, and
    those at which the draft's are found; [0,2] where no whole patch may be copied."""
    shape, side = scene.own.shape, 2 * RADIUS_PX + 1
    whole = ~ndimage.maximum_filter(scene.barred, size=side, mode="constant", cval=True)
    places = _some(np.argwhere(whole), KEYS, rng)
    if not len(places):
        return np.zeros((0, 2), int)
    keys = _patches(scene.picture, places)
    mean = keys.mean(dim=0)
    axes = _principal_axes(keys - mean)
    keys = (keys - mean) @ axes
    some = _some(np.arange(len(places)), QUERIES, rng)
    spots = torch.from_numpy(places.astype(np.float32))
    far = torch.cdist(spots[some], spots, p=float("inf")) >= NEAR * max(shape)
    repeats = places[_nearest(keys[some], keys, 1, far)[:, 0]] - places[some]
    repeats = _frequent(np.concatenate([repeats, -repeats]), shape, REPEATS)
    drafted = _some(np.argwhere(scene.own), QUERIES, rng)
    nearest = _nearest((_patches(scene.picture, drafted) - mean) @ axes, keys, NEAREST)
    matches = (places[nearest] - drafted[:, None]).reshape(-1, 2)
    return np.unique(np.concatenate([repeats, _frequent(matches, shape, MATCHES)]), axis=0)


def _principal_axes(values: torch.Tensor) -> torch.Tensor:
    """float32 [D,COMPONENTS] of centered values [N,D]."""
    # In single precision LAPACK may fail for a photo of a single color.
    squares = (values.T @ values).double() + 1e-9 * torch.eye(values.shape[1])
    return torch.linalg.eigh(squares).eigenvectors[:, -COMPONENTS:].float()  # the largest are last


def _patches(picture: np.ndarray, places: np.ndarray) -> torch.Tensor:
    """float32 [N,D]: the patches around the places [N,2]; border pixels go on beyond the border."""
    around = np.mgrid[-RADIUS_PX : RADIUS_PX + 1, -RADIUS_PX : RADIUS_PX + 1].reshape(2, 1, -1)
    (y, x), _ = _moved(places.T[..., None], around, picture.shape[:2])
    return torch.from_numpy(picture[y, x].reshape(len(places), -1))


def _some(array: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """At most so many of its rows, in their order."""
    if len(array) <= count:
        return array
    return array[np.sort(rng.choice(len(array), count, replace=False))]


def _nearest(
    queries: torch.Tensor, keys: torch.Tensor, count: int, allowed: torch.Tensor | None = None
) -> np.ndarray:
    """int [M,count']: for each query the indices of the nearest keys, count of them or all."""
    squares = keys.square().sum(dim=1) - 2 * queries @ keys.T
    if allowed is not None:
        squares.masked_fill_(~allowed, float("inf"))
    return squares.topk(min(count, len(keys)), dim=1, largest=False).indices.numpy()


def _frequent(offsets: np.ndarray, shape: tuple[int, int], count: int) -> np.ndarray:
    """int [K,2]: the most frequent offsets that are no neighbors' shoulders, `count` at most."""
    counts = np.zeros([2 * n + 1 for n in shape], np.float32)
    np.add.at(counts, tuple((offsets + shape).T), 1)
    soft = ndimage.gaussian_filter(counts, 1.0)
    peaks = np.argwhere((soft == ndimage.maximum_filter(soft, size=3)) & (soft > 0))
    order = np.argsort(-soft[tuple(peaks.T)], kind="stable")
    return peaks[order[:count]] - np.array(shape)


def labeled(scene: Scene, offsets: np.ndarray) -> np.ndarray:
    """int [N,2]: the offset of each pixel of `own`, row by row, with little cost where different
    ones meet, at the rim, and to the draft."""
    costs = _costs(scene, offsets) + _rim_costs(scene, offsets)
    chosen, costs = _cheapest(costs, scene.own)
    first, second = (torch.from_numpy(x) for x in _pairs(scene.own))
    seams = _seam_costs(scene, offsets, chosen, first, second)
    forth, back = torch.zeros(2, len(first), costs.shape[1])

    def beliefs() -> torch.Tensor:
        return costs.clone().index_add_(0, second, forth).index_add_(0, first, back)

    for _ in range(SWEEPS):
        now = beliefs()
        new_forth = ((now[first] - back)[:, :, None] + seams).amin(dim=1)
        new_back = ((now[second] - forth)[:, None, :] + seams).amin(dim=2)
        for messages, new in ((forth, new_forth), (back, new_back)):
            messages.lerp_(new - new.amin(dim=1, keepdim=True), 1 - DAMPING)
    return offsets[chosen.gather(1, beliefs().argmin(dim=1, keepdim=True))[:, 0].numpy()]


def _pairs(own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two int [E]: the numbers of neighboring pixels of `own`, the second right of or below the
    first."""
    numbers = np.full(own.shape, -1)
    numbers[own] = np.arange(own.sum())
    beside = [(numbers[:, :-1], numbers[:, 1:]), (numbers[:-1], numbers[1:])]
    both = [(a >= 0) & (b >= 0) for a, b in beside]
    first, second = (np.concatenate([x[i][m] for x, m in zip(beside, both)]) for i in (0, 1))
    return first, second


def _costs(scene: Scene, offsets: np.ndarray) -> torch.Tensor:
    """float32 [N,K]: what each offset costs each pixel by itself."""
    known = (~scene.barred).astype(np.float32)
    soft = _softened(scene.picture, known, SOFTNESS_PX)
    drafted = ndimage.gaussian_filter(scene.picture, (SOFTNESS_PX, SOFTNESS_PX, 0))
    # A pixel beside barred ones has no difference to its neighbor.
    barred = ndimage.maximum_filter(scene.barred, size=3)
    inside = _box(scene.own)
    places = np.mgrid[inside]
    own = scene.own[inside]
    costs = np.empty((own.sum(), len(offsets)), np.float32)
    for k, offset in enumerate(offsets):
        there, exists = _moved(places, offset, scene.own.shape)
        color = ((soft[there] - drafted[inside]) ** 2).sum(axis=2)
        patch = ((scene.picture[there] - scene.picture[inside]) ** 2).sum(axis=2)
        fine = (scene.fineness[there] - scene.fineness[inside]) ** 2
        cost = COLOR_COST * color + FINENESS_COST * fine
        cost += PATCH_COST * ndimage.uniform_filter(patch, 2 * RADIUS_PX + 1)
        costs[:, k] = np.where(exists & ~barred[there], cost, FORBIDDEN)[own]
    return torch.from_numpy(costs)


def _box(own: np.ndarray) -> tuple[slice, slice]:
    left, top, right, bottom = crops.bounding_box(own)
    return slice(top, bottom), slice(left, right)


def _moved(
    places: np.ndarray, offset: np.ndarray, shape: tuple[int, int]
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """(rows and columns of the places [2,...] moved by the offset [2,...], kept inside; which of
    them are there by themselves)."""
    y, x = places[0] + offset[0], places[1] + offset[1]
    inside = (y >= 0) & (y < shape[0]) & (x >= 0) & (x < shape[1])
    return (np.clip(y, 0, shape[0] - 1), np.clip(x, 0, shape[1] - 1)), inside


def _looks(scene: Scene) -> np.ndarray:
    """float32 [H,W,6]: what is compared where two offsets meet."""
    luma = scene.picture.mean(axis=2)
    parts = [*np.moveaxis(scene.picture, 2, 0), *np.gradient(luma)]
    return np.stack([*parts, FINENESS_WEIGHT * scene.fineness], axis=2).astype(np.float32)


def _rim(own: np.ndarray, hole: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """For each side: (numbers of the pixels of `own` with a known neighbor there, those pixels
    [2,M], their neighbors [2,M])."""
    places = np.stack(np.nonzero(own))
    for step in NEIGHBORS:
        (y, x), inside = _moved(places, np.array(step), own.shape)
        numbers = np.nonzero(inside & ~hole[y, x])[0]
        yield numbers, places[:, numbers], np.stack([y, x])[:, numbers]


def _rim_costs(scene: Scene, offsets: np.ndarray) -> torch.Tensor:
    """float32 [N,K]: how much differs, for pixels at the rim, what lies beyond it in the photo
    from the same after the offset."""
    looks = _looks(scene)
    costs = np.zeros((scene.own.sum(), len(offsets)), np.float32)
    for numbers, _, beyond in _rim(scene.own, scene.hole):
        there, exists = _moved(beyond[..., None], offsets.T[:, None], scene.own.shape)
        difference = ((looks[there] - looks[tuple(beyond)][:, None]) ** 2).sum(axis=2)
        costs[numbers] += RIM_COST * np.where(exists, difference, 1)
    return torch.from_numpy(costs)


def _cheapest(costs: torch.Tensor, own: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """(int [N,L] offsets to choose from, float32 [N,L] their costs): half of them the cheapest of
    the pixel and its surroundings, half the cheapest others of the pixel alone."""
    inside = own[_box(own)]
    spread = np.zeros((*inside.shape, costs.shape[1]), np.float32)
    spread[inside] = costs.numpy()
    around = torch.from_numpy(ndimage.uniform_filter(spread, (WINDOW_PX, WINDOW_PX, 1))[inside])
    around += torch.where(costs >= FORBIDDEN, 1e3, 0.0)  # the surroundings' is no help
    count = min(LABELS, costs.shape[1])
    by_place = around.topk(count // 2, dim=1, largest=False).indices
    rest = costs.scatter(1, by_place, float("inf"))
    alone = rest.topk(count - count // 2, dim=1, largest=False).indices
    chosen = torch.cat([by_place, alone], dim=1)
    return chosen, costs.gather(1, chosen)


def _seam_costs(
    scene: Scene,
    offsets: np.ndarray,
    chosen: torch.Tensor,
    first: torch.Tensor,
    second: torch.Tensor,
) -> torch.Tensor:
    """float32 [E,L,L]: what it costs each pair of neighbors to take over different offsets: how
    much these differ at both of them."""
    looks, shape = torch.from_numpy(_looks(scene)), scene.own.shape
    places = torch.from_numpy(np.stack(np.nonzero(scene.own), axis=1))
    labels = torch.from_numpy(offsets)[chosen]

    def seen(spots: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        y, x = (places[spots][:, None] + labels[others]).unbind(dim=2)
        return looks[y.clamp(0, shape[0] - 1), x.clamp(0, shape[1] - 1)]

    costs = []
    for a, b in zip(first.split(4096), second.split(4096)):
        here, there = (torch.cdist(seen(x, a), seen(x, b)).square_() for x in (a, b))
        apart = chosen[a][:, :, None] != chosen[b][:, None, :]
        costs.append(here.add_(there).add_(apart, alpha=SEAM_COST))
    return torch.cat(costs)


def composed(
    picture: np.ndarray, hole: np.ndarray, own: np.ndarray, offsets: np.ndarray
) -> np.ndarray:
    """float32 [H,W,3]: `picture` with `own` filled by what lies at the offsets, int [N,2], of its
    pixels; without seams, by its differences and the known colors at the rim (Poisson).
    """
    places = np.stack(np.nonzero(own))
    count = places.shape[1]

    def taken(spots: np.ndarray, by: np.ndarray) -> np.ndarray:
        there, _ = _moved(spots, by.T, own.shape)
        return picture[there].astype(np.float64)

    first, second = _pairs(own)
    steps = sum(
        taken(places[:, second], offsets[by]) - taken(places[:, first], offsets[by])
        for by in (first, second)
    )
    weight, right = np.full(count, PULL), PULL * taken(places, offsets)
    for ends, sign in ((first, -0.5), (second, 0.5)):  # the mean of what both offsets say
        weight += np.bincount(ends, minlength=count)
        np.add.at(right, ends, sign * steps)
    for numbers, here, beyond in _rim(own, hole):
        step = taken(here, offsets[numbers]) - taken(beyond, offsets[numbers])
        weight[numbers] += 1
        right[numbers] += picture[tuple(beyond)] + step
    diagonal = np.arange(count)
    values = np.concatenate([weight, np.full(2 * len(first), -1.0)])
    rows = np.concatenate([diagonal, first, second])
    columns = np.concatenate([diagonal, second, first])
    system = sparse.csc_matrix((values, (rows, columns)), shape=(count, count))
    filled = picture.copy()
    filled[own] = np.clip(splu(system).solve(right), 0, 1)
    return filled
