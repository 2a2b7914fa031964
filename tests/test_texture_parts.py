"""The texture's parts one by one, against closed forms and brute force."""

import numpy as np
import pytest
from PIL import Image

from inpaint_hub.texture import curation, detail, guide, shiftmap
from inpaint_hub.texture.curation import textured
from inpaint_hub.texture.detail import cells_with, match_cells, nearest, resized, with_detail
from inpaint_hub.texture.guide import height_features, richness, unexplained

LUMA = np.array([0.299, 0.587, 0.114])


def box(shape, top, left, height, width):
    hole = np.zeros(shape, bool)
    hole[top : top + height, left : left + width] = True
    return hole


def noise(height, width, seed=0):
    return np.random.default_rng(seed).random((height, width, 3)).astype(np.float32)


@pytest.mark.parametrize("shape", [(20, 40), (40, 20)])
def test_the_first_guide_is_half_the_height(shape):
    made = height_features(shape)
    assert made.dtype == np.float32 and made.shape == (*shape, 2)
    rows = np.broadcast_to(np.arange(shape[0])[:, None] / 40, shape)
    np.testing.assert_allclose(made[..., 0], rows / 2, atol=1e-6)
    assert not made[..., 1].any()


def test_what_is_unexplained_is_the_error_over_the_variance():
    """Known columns of two colors; a network that is off by a share of their difference."""
    known = np.repeat(np.where(np.arange(60) % 20 < 10, 60, 180)[None, :, None], 60, 0)
    known = known.repeat(3, 2).astype(np.uint8)
    hole, everywhere = box((60, 60), 20, 20, 20, 20), np.ones((60, 60), bool)
    right, mean = known / np.float32(255), np.float32(120 / 255)
    # The network's picture is the known one with its contrast times 1 - e: e^2 is unexplained.
    for e in (0.5, 0.25, -0.5):
        shown = mean + (right - mean) * np.float32(1 - e)
        value = unexplained(shown, known, hole, everywhere, 1.0)
        assert value == pytest.approx(e * e, rel=0.05)
    shown = mean + (right - mean) * np.float32(0.5)
    # Only what lies near the hole, outside it, where the network showed something, is compared.
    far = box((60, 60), 0, 0, 60, 10)
    for place in (far, hole):
        changed = np.where(place[..., None], np.float32(1), shown)
        assert unexplained(changed, known, hole, everywhere, 1.0) == pytest.approx(0.25, rel=0.05)
    near = np.where(box((60, 60), 20, 41, 20, 4)[..., None], np.float32(1), shown)
    assert unexplained(near, known, hole, everywhere, 1.0) > 0.4
    covered = everywhere & ~box((60, 60), 0, 38, 60, 22)
    assert unexplained(near, known, hole, covered, 1.0) < 0.35
    few = box((60, 60), 40, 20, 1, 15)  # fewer than 16 pixels to compare
    assert np.isnan(unexplained(shown, known, hole, few, 1.0))
    assert np.isfinite(unexplained(shown, known, hole, box((60, 60), 40, 20, 1, 16), 1.0))


def test_richness_goes_with_the_square_of_the_contrast():
    known, hole = noise(80, 80), box((80, 80), 24, 24, 32, 32)
    whole = richness(known, hole, 2.0)
    for share in (0.5, 2.0):
        soft = np.where(hole[..., None], 0.5 + (known - 0.5) * np.float32(share), known)
        assert richness(soft, hole, 2.0) == pytest.approx(whole * share**2, rel=0.08)
    flat = np.full((80, 80, 3), 0.5, np.float32)
    assert richness(flat, hole, 2.0) == pytest.approx(1)  # nothing over nothing
    assert np.isnan(richness(known, np.ones((80, 80), bool), 2.0))
    assert np.isnan(richness(known, np.zeros((80, 80), bool), 2.0))
    thin = box((80, 80), 40, 10, 1, 50)  # no pixel of it lies deep inside
    assert np.isfinite(richness(known, thin, 2.0))
    rim = np.where((hole & ~box((80, 80), 27, 27, 26, 26))[..., None], np.float32(0.5), known)
    assert richness(rim, hole, 2.0) > 0.75 * whole  # the seam itself is not judged


def test_cells_hold_the_pixels_of_their_place():
    mask = np.random.default_rng(1).random((23, 37)) < 0.02
    found = cells_with(mask, 5, 9)
    expected = np.zeros((5, 9), bool)
    for y, x in zip(*np.nonzero(mask)):
        expected[int(y * 5 / 23), int(x * 9 / 37)] = True
    assert np.array_equal(found, expected) and expected.any() and not expected.all()
    assert cells_with(box((23, 37), 22, 36, 1, 1), 5, 9).nonzero() == ([4], [8])


@pytest.mark.parametrize("at_once", [4096, 7])
def test_the_nearest_key_is_that_of_brute_force(at_once):
    import torch

    keys, wanted = (torch.rand(n, 6, generator=torch.Generator().manual_seed(n)) for n in (31, 20))
    expected = torch.cdist(wanted, keys).argmin(dim=1)
    assert torch.equal(nearest(wanted, keys, at_once), expected)


def test_channels_are_resized_apart():
    pixels = noise(12, 18)
    made = resized(pixels, (6, 4), Image.Resampling.BOX)
    expected = pixels.reshape(4, 3, 6, 3, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(made, expected, atol=1e-6)


def test_a_match_may_leave_the_lattice_and_a_neighbors_match_goes_on():
    """Of many sources only some are tried at first: the search finds the copy beside them."""
    grid = noise(70, 70, 4)
    grid[40:52, 40:52] = grid[3:15, 9:21]
    asked, sources = box((70, 70), 43, 43, 6, 6), box((70, 70), 0, 0, 36, 70)
    matches = match_cells(grid, asked, sources)
    for y, x in zip(*np.nonzero(asked)):
        assert tuple(matches[y, x]) == (y - 37, x - 31)
    own = np.stack(np.mgrid[:70, :70], axis=2)
    assert np.array_equal(matches[~asked], own[~asked])


def test_detail_leaves_alone_what_lacks_nothing():
    picture, hole = noise(40, 40), box((40, 40), 10, 10, 12, 12)
    nothing = np.zeros((40, 40), bool)
    assert with_detail(picture, hole, hole, 1.0) is picture
    assert with_detail(picture, hole, nothing, 4.0) is picture
    assert with_detail(picture, hole, hole, 9.0) is picture  # fewer cells than a patch is high
    assert with_detail(picture, ~nothing, hole, 4.0) is picture
    other = with_detail(picture, hole, hole, 4.0)
    assert not np.array_equal(other[hole], picture[hole])
    assert np.array_equal(other[~hole], picture[~hole])
    assert 0 <= other.min() and other.max() <= 1


@pytest.mark.parametrize(("known", "enough"), [((7, 7), True), ((7, 6), False), ((6, 9), False)])
def test_a_whole_patch_must_be_known(known, enough):
    hole = ~box((30, 30), 5, 9, *known)
    said = curation._too_little(hole, hole)
    assert (said is None) == enough
    if not enough:
        assert "no 7x7 px of the picture are known" in said
    assert curation._too_little(~hole, np.zeros((30, 30), bool)) == "there is no hole"
    assert curation._too_little(box((6, 40), 0, 0, 6, 3), box((6, 40), 0, 0, 6, 3))
    corner = ~box((30, 30), 0, 23, 7, 7)  # a patch at the border is one
    assert curation._too_little(corner, corner) is None


def test_a_reduced_mask_holds_every_cell_with_a_share():
    mask = box((40, 60), 13, 21, 1, 2)
    assert np.array_equal(detail.reduced_mask(mask, (6, 4)), cells_with(mask, 4, 6))


def test_copies_take_a_share_of_the_colors_that_lead():
    copies, base = np.full((400, 400, 3), 0.4, np.float32), np.full((400, 400, 3), 0.8, np.float32)
    own = box((400, 400), 100, 100, 200, 200)
    made = curation._recolored(copies, base, own)
    assert np.array_equal(made[~own], copies[~own])
    np.testing.assert_allclose(made[195:205, 195:205], 0.4 + 0.5 * 0.4, atol=1e-4)
    # At its rim, half of the Gaussian of 1/40 of the side lies outside and lacks nothing.
    np.testing.assert_allclose(made[200, 100], 0.4 + 0.5 * 0.4 / 2, atol=5e-3)
    steep = np.diff(made[200, 100:200, 0]).max()
    assert steep == pytest.approx(0.2 / (10 * np.sqrt(2 * np.pi)), rel=0.05)


def test_known_colors_are_carried_into_the_hole():
    """A photo of one gradient: the hole continues it, whatever it held."""
    ramp = np.linspace(0.2, 0.8, 80, dtype=np.float32)
    photo = np.broadcast_to(ramp[None, :, None], (80, 80, 3)).copy()
    hole = box((80, 80), 30, 30, 20, 20)
    photo[hole] = 0
    made = guide.carried_colors(photo, hole)
    np.testing.assert_allclose(
        made[hole], np.broadcast_to(ramp[None, :, None], made.shape)[hole], atol=0.02
    )


def choice_of(monkeypatch, texture, error, rich):
    """(Textured, {"led": the colors that copies are given, "seed"}) with these scores."""
    given = {}

    def patches(fills, known, hole, own, barred, seed, mixer):
        assert mixer is None
        given.update(led=fills[0], seed=seed)
        return fills[0]

    monkeypatch.setattr(curation, "unexplained", lambda *args: error)
    monkeypatch.setattr(curation, "richness", lambda *args: rich)
    monkeypatch.setattr(curation, "_patches", patches)
    monkeypatch.setattr(curation, "engine_problem", lambda: None)
    hole = box((40, 40), 12, 12, 14, 14)
    known = (noise(40, 40) * 255).astype(np.uint8)
    fill = np.full((40, 40, 3), 0.9, np.float32)
    made = textured(fill, known, hole, hole, hole, texture, 2.0, seed=3)
    assert made.scores == {"unexplained": error, "richness": rich}
    return made, given


@pytest.mark.parametrize(
    ("error", "rich", "choice"),
    [(0.04, 0.3, "detail"), (0.06, 0.3, "patches"), (0.04, 0.2, "patches")],
)
def test_auto_takes_the_networks_fill_where_it_is_right_and_rich(monkeypatch, error, rich, choice):
    assert choice_of(monkeypatch, "auto", error, rich)[0].choice == choice
    assert choice_of(monkeypatch, "patches", 0.04, 0.3)[0].choice == "patches"
    assert choice_of(monkeypatch, "detail", 0.9, 0.1)[0].choice == "detail"


@pytest.mark.parametrize(("error", "trust"), [(0.0, 1), (0.02, 1), (0.035, 0.5), (0.05, 0), (1, 0)])
def test_a_network_leads_as_far_as_it_is_right(monkeypatch, error, trust):
    made, given = choice_of(monkeypatch, "patches", error, 0.1)
    assert made.choice == "patches" and given["seed"] == 3
    full = choice_of(monkeypatch, "patches", 0.0, 0.1)[1]["led"]
    none = choice_of(monkeypatch, "patches", 1.0, 0.1)[1]["led"]
    assert np.abs(full - none).max() > 0.05
    np.testing.assert_allclose(given["led"], trust * full + (1 - trust) * none, atol=1e-5)


def test_large_holes_are_filled_smaller_and_get_the_photos_detail_back(monkeypatch):
    monkeypatch.setattr(curation, "MAX_HOLE_PX", 1500)
    rng = np.random.default_rng(2)
    photo = np.repeat(120 + rng.integers(-60, 61, (120, 120, 1)), 3, axis=2).astype(np.uint8)
    hole = box((120, 120), 35, 35, 50, 50)
    assert hole.sum() > 1.2**2 * curation.MAX_HOLE_PX
    base = np.where(hole[..., None], np.float32(120 / 255), photo.astype(np.float32) / 255)
    made = curation._patches([base], photo, hole, hole, hole, 0, None)
    assert made.shape == base.shape and np.array_equal(made[~hole], base[~hole])
    grain = (photo / 255)[~hole].std()
    assert 0.5 * grain < made[hole].std() < 1.3 * grain
    assert made[hole].mean() == pytest.approx(120 / 255, abs=0.03)


def test_copies_are_from_everywhere_but_holes_and_what_is_unwanted():
    own, unwanted = box((60, 100), 20, 30, 10, 10), box((60, 100), 40, 60, 9, 9)
    other = box((60, 100), 50, 80, 5, 5)
    assert (curation._barred(own | other, own, None) == (own | other)).all()
    assert (curation._barred(own | other, own, unwanted) == (own | other | unwanted)).all()


def test_where_too_little_would_be_left_everything_known_is_copied_from():
    own = box((60, 100), 20, 20, 10, 10)
    assert (curation._barred(own, own, np.ones((60, 100), bool)) == own).all()


@pytest.mark.parametrize("most", [18_000, 900])
def test_what_is_unwanted_is_in_no_copy(monkeypatch, most):
    """Red patches lie beside the hole, whose other surroundings are gray: large holes, too."""
    taken, real = [], shiftmap.composed

    def composed(picture, hole, own, offsets):
        y, x = (np.argwhere(own) + offsets).T
        taken.append((picture[y, x, 0] - picture[y, x, 1]).max())
        return real(picture, hole, own, offsets)

    monkeypatch.setattr(curation, "MAX_HOLE_PX", most)
    monkeypatch.setattr(shiftmap, "composed", composed)
    gray = np.repeat((noise(90, 120)[..., :1] * 80 + 80), 3, axis=2)
    red = box((90, 120), 25, 70, 40, 20)
    photo = np.where(red[..., None], gray * [1.5, 0.3, 0.3], gray).astype(np.uint8)
    own = box((90, 120), 25, 30, 40, 40)
    fill = np.full((90, 120, 3), 0.5, np.float32)
    for unwanted in (red, None):
        made = textured(fill, photo, own, own, own, "patches", 2.0, unwanted=unwanted)
        assert made.choice == "patches"
    assert taken[0] < 0.1 < taken[1]


@pytest.mark.parametrize("most", [18_000, 900])
def test_drafts_copies_and_detail_leave_alone_what_is_unwanted(monkeypatch, most):
    asked, real = [], curation.with_detail

    def drafts(guides, pixels, barred, *others):
        asked.append(barred)
        return [pixels] * len(guides)

    def copies(picture, hole, barred, own, seed):
        asked.append(barred)
        assert (hole == own).all()
        return picture

    monkeypatch.setattr(curation, "MAX_HOLE_PX", most)
    monkeypatch.setattr(curation, "copied_by_each", drafts)
    monkeypatch.setattr(curation, "shifted", copies)
    monkeypatch.setattr(curation, "with_detail", lambda *a: asked.append(a[1]) or real(*a))
    own, unwanted = box((90, 120), 25, 30, 40, 40), box((90, 120), 24, 80, 40, 20)
    photo, fill = (noise(90, 120) * 255).astype(np.uint8), noise(90, 120)
    textured(fill, photo, own, own, own, "patches", 2.0, unwanted=unwanted)
    assert len(asked) == (2 if most > 1600 else 3)
    for barred in asked:
        rows, columns = barred.shape
        share = barred[:, columns * 5 // 8 :].mean()
        assert share == pytest.approx(unwanted[:, 75:].mean(), abs=0.05)


def soft_scene(height, width):
    """(photo float32, hole, a fill that errs by a ramp): a picture of low frequencies alone."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    photo = np.stack([0.5 + 0.3 * np.sin(5 * x), 0.4 + 0.3 * y, 0.5 + 0.2 * np.cos(4 * y)], axis=2)
    fill = photo + 0.2 * (x - 0.5)[..., None]
    hole = box((height, width), height // 3, width // 3, height // 4, width // 4)
    return photo.astype(np.float32), hole, np.clip(fill, 0, 1).astype(np.float32)


def test_a_large_crop_is_looked_at_smaller_with_the_same_result(monkeypatch):
    """Scores, and the colors that lead, at a quarter of the resolution."""
    photo, hole, fill = soft_scene(240, 320)
    known = np.rint(photo * 255).astype(np.uint8)
    given = []
    monkeypatch.setattr(curation, "_patches", lambda led, *_: given.append(led[0]) or led[0])
    monkeypatch.setattr(curation, "engine_problem", lambda: None)
    monkeypatch.setattr(curation, "TRUSTED", 10.0)  # so that the network's colors have their share
    monkeypatch.setattr(curation, "LEADING", 5.0)
    everywhere = np.ones_like(hole)
    made = []
    for most in (240 * 320, 240 * 320 / 16):
        monkeypatch.setattr(curation, "MAX_SEEN_PX", most)
        for texture in ("patches", "detail"):
            made.append(textured(fill, known, hole, hole, everywhere, texture, 8.0))
    whole, detail, smaller, smaller_detail = made
    assert whole.choice == smaller.choice == "patches"
    for name, value in whole.scores.items():
        assert smaller.scores[name] == pytest.approx(value, rel=0.15), name
    difference = np.abs(given[0] - given[1])[hole]  # a cell of 4 px may be hole for one pixel of it
    assert difference.mean() < 0.015 and difference.max() < 0.06
    assert np.array_equal(given[1][~hole], known[~hole] / np.float32(255))
    assert np.array_equal(detail.rgb, smaller_detail.rgb)  # of the photo's resolution in any case
