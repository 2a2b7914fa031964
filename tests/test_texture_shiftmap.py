"""Shift maps against closed forms, brute force, and pictures whose hole is known."""

import itertools

import numpy as np
import pytest
import torch
from test_texture_parts import box, noise

from inpaint_hub.texture import shiftmap
from inpaint_hub.texture.shiftmap import Scene, composed, labeled, offsets_of, shifted


def scene_of(picture, hole, barred=None, fineness=None):
    fineness = np.zeros(hole.shape, np.float32) if fineness is None else fineness
    return Scene(picture, hole, hole if barred is None else barred, hole, fineness)


def test_fineness_is_the_strength_of_grain_and_reads_no_hole():
    grain = np.random.default_rng(0).normal(0, 0.05, (64, 64, 1)).astype(np.float32)
    picture = np.repeat(0.5 + grain * (np.arange(64) >= 32)[None, :, None], 3, axis=2)
    hole = box((64, 64), 40, 30, 10, 12)
    made = shiftmap.fineness_of(picture, hole)
    # A Gaussian g of sigma 1 taken away leaves 1 - 2 g(0) + sum g^2 of white grain's energy.
    left = np.sqrt(1 - 2 / (2 * np.pi) + 1 / (4 * np.pi))
    assert made[8:32, 44:60].mean() == pytest.approx(0.05 * left, rel=0.05)
    assert made[:, :20].max() < 1e-6 and not made[hole].any()
    picture[hole] = 7
    assert (shiftmap.fineness_of(picture, hole) == made).all()


def test_fineness_is_carried_into_the_hole_from_both_sides():
    fineness = np.repeat(np.where(np.arange(80) < 40, 0.1, 0.3)[None], 80, axis=0)
    hole = box((80, 80), 0, 20, 80, 40)
    made = shiftmap.carried_fineness(np.where(hole, 0, fineness).astype(np.float32), hole)
    assert (made[~hole] == np.float32(fineness[~hole])).all()
    assert made[40, 20] == pytest.approx(0.1, abs=0.02)
    assert made[40, 59] == pytest.approx(0.3, abs=0.02)
    assert made[40, 39:41].mean() == pytest.approx(0.2, abs=0.02)


def test_offsets_are_the_photos_periods_and_where_the_draft_is_found():
    """Columns repeat after 12 px; the draft shows what lies 30 px below and 7 to the left."""
    picture = np.tile(noise(90, 12), (1, 8, 1))
    hole = box((90, 96), 20, 40, 12, 12)
    picture[hole] = np.roll(picture, (-30, 7), (0, 1))[hole]
    offsets = {tuple(o) for o in offsets_of(scene_of(picture, hole), np.random.default_rng(0))}
    assert {(0, 12), (0, -12), (0, 24)} <= offsets
    assert any((30, -7 + 12 * n) in offsets for n in range(-3, 4))
    assert (0, 0) not in offsets


def test_short_offsets_are_no_repetition(monkeypatch):
    """A ramp is nearest to itself one pixel away."""
    monkeypatch.setattr(shiftmap, "MATCHES", 0)
    ramp = np.linspace(0, 1, 96, dtype=np.float32)[None, :, None].repeat(90, 0).repeat(3, 2)
    found = offsets_of(scene_of(ramp, box((90, 96), 40, 40, 2, 2)), np.random.default_rng(0))
    assert len(found) > 10 and np.abs(found).max(axis=1).min() >= 96 / 15


def test_of_each_repetition_both_directions_are_offsets(monkeypatch):
    monkeypatch.setattr(shiftmap, "MATCHES", 0)
    monkeypatch.setattr(shiftmap, "QUERIES", 1)
    picture = noise(60, 60)
    found = offsets_of(scene_of(picture, box((60, 60), 5, 5, 3, 3)), np.random.default_rng(0))
    assert len(found) == 2 and (found[0] == -found[1]).all()


def test_patches_are_compared_by_what_differs_most_between_them(monkeypatch):
    """Strong stripes of a period of 16 px, and weak noise that repeats nowhere."""
    monkeypatch.setattr(shiftmap, "MATCHES", 0)
    monkeypatch.setattr(shiftmap, "COMPONENTS", 2)
    stripes = 0.5 + 0.4 * np.sin(np.arange(96) * 2 * np.pi / 16)[:, None, None]
    picture = (stripes + 0.02 * noise(96, 80)).astype(np.float32)
    found = offsets_of(scene_of(picture, box((96, 80), 5, 5, 3, 3)), np.random.default_rng(0))
    off = np.abs((found[:, 0] + 8) % 16 - 8)
    assert len(found) > 20 and off.max() <= 1


def test_what_meets_is_compared_by_colors_their_differences_and_fineness():
    picture, fineness = noise(20, 24), noise(20, 24)[..., 0]
    looks = shiftmap._looks(scene_of(picture, box((20, 24), 5, 5, 3, 3), fineness=fineness))
    gray = picture.mean(axis=2)
    assert (looks[..., :3] == picture).all()
    assert np.allclose(looks[7, 9, 3], (gray[8, 9] - gray[6, 9]) / 2, atol=1e-6)
    assert np.allclose(looks[7, 9, 4], (gray[7, 10] - gray[7, 8]) / 2, atol=1e-6)
    assert np.allclose(looks[..., 5], shiftmap.FINENESS_WEIGHT * fineness)


def test_without_a_whole_patch_there_is_no_offset_and_no_copy():
    hole = ~box((40, 40), 10, 10, 6, 40)
    assert offsets_of(scene_of(noise(40, 40), hole), np.random.default_rng(0)).shape == (0, 2)
    assert shifted(noise(40, 40), hole, hole, hole, 0) is None


def energy(scene, offsets, labels):
    """Of one labeling, place by place."""
    own = np.argwhere(scene.own)
    rows = {tuple(p): n for n, p in enumerate(own)}
    looks = shiftmap._looks(scene)
    unary = (shiftmap._costs(scene, offsets) + shiftmap._rim_costs(scene, offsets)).numpy()
    total = sum(unary[n, k] for n, k in enumerate(labels))
    for (y, x), n in rows.items():
        for other in ((y, x + 1), (y + 1, x)):
            if other in rows:
                a, b = offsets[labels[n]], offsets[labels[rows[other]]]
                for place in ((y, x), other):
                    total += ((looks[tuple(place + a)] - looks[tuple(place + b)]) ** 2).sum()
                total += shiftmap.SEAM_COST * (labels[n] != labels[rows[other]])
    return total


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("shape", "seam"), [((1, 6), 0.01), ((5, 1), 0.01), ((5, 1), 0.5)])
def test_along_a_line_the_labeling_is_the_best_of_all(monkeypatch, shape, seam, seed):
    """On a chain belief propagation is exact: brute force over every labeling agrees."""
    monkeypatch.setattr(shiftmap, "SEAM_COST", seam)
    picture = noise(24, 24, seed)
    scene = scene_of(picture, box((24, 24), 10, 9, *shape))
    offsets = np.array([[-7, 2], [6, -3], [7, 5]])
    count = scene.own.sum()
    best = min(
        itertools.product(range(3), repeat=count), key=lambda k: energy(scene, offsets, list(k))
    )
    assert (labeled(scene, offsets) == offsets[list(best)]).all()


def test_costs_are_the_sums_written_out():
    picture, hole = noise(30, 30), box((30, 30), 12, 12, 3, 3)
    fineness = np.random.default_rng(1).random((30, 30)).astype(np.float32)
    scene, offset = scene_of(picture, hole, fineness=fineness), np.array([[-6, 4], [5, -8]])
    kept = shiftmap.COLOR_COST
    try:
        shiftmap.COLOR_COST = 0.0
        costs = shiftmap._costs(scene, offset).numpy()
    finally:
        shiftmap.COLOR_COST = kept
    for k, (dy, dx) in enumerate(offset):
        moved = np.roll(picture, (-dy, -dx), (0, 1))
        squares = ((moved - picture) ** 2).sum(axis=2)
        # Patches are compared within the hole's box, whose border pixels go on beyond it.
        mean = np.pad(squares[12:15, 12:15], 3, mode="symmetric")[1:8, 1:8].mean()
        fine = (fineness[13 + dy, 13 + dx] - fineness[13, 13]) ** 2
        wanted = shiftmap.PATCH_COST * mean + shiftmap.FINENESS_COST * fine
        assert costs[4, k] == pytest.approx(wanted, rel=1e-4)


def test_flat_colors_cost_their_squared_difference():
    """A draft of one color, a photo of another: softening changes neither but near the rim."""
    hole = box((60, 60), 20, 20, 20, 20)
    picture = np.where(hole[..., None], np.float32([0.2, 0.5, 0.9]), np.float32([0.4, 0.4, 0.6]))
    costs = shiftmap._costs(scene_of(picture, hole), np.array([[0, 30]])).numpy()
    inner = box((60, 60), 26, 26, 8, 4)[hole]  # what 30 px to the right of it is far from the hole
    squares = 0.2**2 + 0.1**2 + 0.3**2
    wanted = (shiftmap.COLOR_COST + shiftmap.PATCH_COST) * squares
    assert np.allclose(costs[inner], wanted, rtol=1e-3)


def test_beyond_the_photo_nothing_meets_the_rim():
    picture, hole = np.full((30, 30, 3), 0.5, np.float32), box((30, 30), 0, 10, 5, 6)
    costs = shiftmap._rim_costs(scene_of(picture, hole), np.array([[10, 0], [25, 0]])).numpy()
    assert not costs[:, 0].any()
    bottom = np.argwhere(hole)[:, 0] == 4  # whose known neighbor below lies outside, 25 px further
    assert (costs[bottom, 1] >= shiftmap.RIM_COST).all()
    assert not costs[np.argwhere(hole)[:, 0] < 4][:, 1].any()


def test_what_is_barred_or_beside_it_or_outside_is_forbidden():
    hole = box((30, 30), 12, 12, 3, 3)
    barred = hole | box((30, 30), 20, 20, 5, 5)
    scene = scene_of(noise(30, 30), hole, barred)
    offsets = np.array([[6, 7], [0, -13], [-5, -5]])
    costs = shiftmap._costs(scene, offsets).numpy()
    middle = costs[4]  # of (13, 13), to (19, 20), (13, 0), (8, 8)
    assert middle[0] == shiftmap.FORBIDDEN and middle[1] < 1 and middle[2] < 1
    assert costs[3, 1] == shiftmap.FORBIDDEN  # (13, 12) to (13, -1)


def test_one_offset_of_another_brightness_comes_back_exactly():
    """The place copied from is the hole's content and 0.2 darker: differences alone are copied."""
    picture = noise(40, 60) * 0.5 + 0.4
    picture[:, 30:] = picture[:, :30] - 0.2
    hole = box((40, 60), 12, 8, 10, 9)
    given = picture.copy()
    given[hole] = 0
    made = composed(given, hole, hole, np.broadcast_to([0, 30], (hole.sum(), 2)))
    assert (made[~hole] == given[~hole]).all()
    assert np.abs(made - picture)[hole].max() < 0.003  # the pull to the copies is a thousandth


def test_two_offsets_meet_without_a_seam():
    """Left half copied from a darker place, right half from a brighter one, of one ramp."""
    ramp = np.linspace(0.3, 0.7, 90, dtype=np.float32)[:, None].repeat(30, 1)
    picture = np.repeat(ramp[..., None], 3, axis=2)
    hole = box((90, 30), 40, 10, 10, 10)
    offsets = np.where((np.argwhere(hole)[:, 1] < 15)[:, None], [-30, 0], [30, 0])
    made = composed(picture, hole, hole, offsets)
    assert np.abs(made - picture).max() < 0.003
    copies = picture.copy()
    copies[hole] = picture[tuple((np.argwhere(hole) + offsets).T)]
    assert np.abs(copies - picture).max() > 0.1


def test_only_the_rim_that_is_known_holds_a_fill():
    """Another hole beside it, that somebody else fills, says nothing."""
    picture = np.full((30, 30, 3), 0.5, np.float32)
    own, other = box((30, 30), 10, 10, 6, 6), box((30, 30), 10, 16, 6, 6)
    picture[other] = 1.0
    made = composed(picture, own | other, own, np.broadcast_to([-8, 0], (own.sum(), 2)))
    assert np.allclose(made[own], 0.5, atol=1e-4)


def test_without_a_known_rim_the_copies_keep_their_colors():
    picture, own = noise(30, 30), box((30, 30), 12, 12, 5, 5)
    made = composed(picture, box((30, 30), 11, 11, 7, 7), own, np.broadcast_to([-9, 3], (25, 2)))
    assert np.abs(made[own] - np.roll(picture, (9, -3), (0, 1))[own]).max() < 1e-3


def test_a_pattern_comes_back_exactly():
    picture = np.tile(noise(14, 10), (7, 9, 1))
    hole = box(picture.shape[:2], 30, 28, 25, 24)
    given = np.where(hole[..., None], picture.mean(axis=(0, 1)), picture).astype(np.float32)
    made = shifted(given, hole, hole, hole, 0)
    assert (made[~hole] == given[~hole]).all()
    assert np.abs(made - picture).max() < 1 / 255


@pytest.mark.parametrize(("lightness", "low", "high"), [(60, 0, 120), (190, 135, 255)])
def test_a_draft_places_the_right_one_of_two_textures(lightness, low, high):
    """Dark above, light below, a hole between: without a draft it would hold both."""
    rng = np.random.default_rng(3)
    rows, grain = np.arange(96)[:, None, None], rng.integers(-25, 26, (96, 96, 1))
    picture = np.where(rows < 32, 60 + grain, np.where(rows >= 64, 190 + grain, 128))
    hole = box((96, 96), 34, 30, 28, 36)
    picture = np.where(hole[..., None], lightness, picture).repeat(3, 2).astype(np.float32) / 255
    made = shifted(picture, hole, hole, hole, 0) * 255
    assert low < made[42:54, 38:58].mean() < high


def test_nothing_barred_is_copied():
    """Half of the photo shows what is barred: a red that is nowhere else."""
    picture = noise(64, 64) * np.float32([0, 1, 1])
    barred = box((64, 64), 0, 36, 64, 28)
    picture[barred] = [1, 0, 0]
    hole = box((64, 64), 20, 14, 16, 16)
    picture[hole] = 0.5
    made = shifted(picture, hole, hole | barred, hole, 0)
    inner = box((64, 64), 22, 16, 12, 12)
    assert made[inner][:, 0].max() < 0.35  # the rim is mixed in, a copy would be 1


def test_odd_sides_and_small_pictures_work_and_seeds_repeat(monkeypatch):
    real = shiftmap.composed

    def checked(picture, hole, own, offsets):
        assert not hole[tuple((np.argwhere(own) + offsets).T)].any()  # nothing but what is known
        return real(picture, hole, own, offsets)

    monkeypatch.setattr(shiftmap, "composed", checked)
    for shape, place in (
        ((41, 57), (10, 21, 13, 9)),
        ((17, 90), (4, 40, 9, 11)),
        ((43, 75), (12, 30, 15, 17)),
    ):
        picture, hole = noise(*shape), box(shape, *place)
        first, again = (shifted(picture, hole, hole, hole, 3) for _ in range(2))
        assert (first == again).all() and (first[~hole] == picture[~hole]).all()
        assert np.isfinite(first).all()


@pytest.mark.parametrize("noise_of", [0.0, 1e-12, 1e-7, 1e-3])
def test_photos_of_one_color_have_axes(noise_of):
    """Single precision failed to converge for such."""
    rng = np.random.default_rng(0)
    for size in (50, 1200, 5000):
        values = torch.from_numpy((rng.normal(size=(size, 147)) * noise_of).astype(np.float32))
        axes = shiftmap._principal_axes(values)
        assert axes.shape == (147, shiftmap.COMPONENTS) and axes.isfinite().all()
    flat = np.broadcast_to(np.float32([200, 30, 40]) / 255, (50, 70, 3)).copy()
    hole = box((50, 70), 0, 0, 50, 30)
    assert np.abs(shifted(flat, hole, hole, hole, 0) - flat).max() < 1e-5


def test_another_seed_compares_other_patches(monkeypatch):
    monkeypatch.setattr(shiftmap, "KEYS", 200)
    picture, hole = noise(80, 80), box((80, 80), 30, 30, 20, 20)
    first, second = (shifted(picture, hole, hole, hole, seed) for seed in (0, 1))
    assert (first != second)[hole].mean() > 0.5


def test_two_offsets_that_show_the_same_cost_little_where_they_meet():
    picture = np.tile(noise(30, 10), (1, 3, 1))
    scene, offsets = scene_of(picture, box((30, 30), 10, 10, 1, 2)), np.array([[7, 0], [7, 10]])
    first, second, chosen = torch.tensor([0]), torch.tensor([1]), torch.tensor([[0, 1], [1, 0]])
    costs = shiftmap._seam_costs(scene, offsets, chosen, first, second)
    looks = shiftmap._looks(scene)
    other = [((looks[17, x] - looks[17, x + 10]) ** 2).sum() for x in (10, 11)]
    assert torch.allclose(costs[0].diagonal(), shiftmap.SEAM_COST + torch.tensor(sum(other)))
    assert costs[0, 0, 1] == costs[0, 1, 0] == 0  # the same offset


def test_each_pixel_chooses_from_the_cheapest_around_it_and_its_own():
    own = box((20, 20), 5, 5, 10, 10)
    costs = torch.from_numpy(np.random.default_rng(0).random((100, 40)).astype(np.float32))
    costs[:, 7] = 0.01  # cheap everywhere
    costs[33, 9] = 0.0  # the pixel's own
    costs[:50, 3] = shiftmap.FORBIDDEN
    costs[50:, 3] = -50.0  # cheap around them: no help to those that may not
    chosen, values = shiftmap._cheapest(costs, own)
    assert chosen.shape == (100, shiftmap.LABELS)
    assert all(len(set(row)) == shiftmap.LABELS for row in chosen.tolist())
    assert (chosen == 7).any(dim=1).all() and (chosen[33] == 9).any()
    assert not (chosen[:50] == 3).any() and (chosen[50:] == 3).any(dim=1).all()
    assert (values == costs.gather(1, chosen)).all()
