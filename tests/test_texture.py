"""The photo's own texture in the fill: what is copied is exact, what is known stays."""

import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from inpaint_hub import PSPEncoder, PSPPipeline
from inpaint_hub.stylegan2 import StyleGAN2Generator
from inpaint_hub.texture import FillMixer, copied, curation, patches, with_detail
from inpaint_hub.texture.detail import match_cells, resized
from inpaint_hub.texture.guide import height_features, richness, unexplained

ROOT = Path(__file__).parent.parent
TEXTURED = ("detail", "patches", "auto")


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def box(shape, top, left, height, width):
    hole = np.zeros(shape, bool)
    hole[top : top + height, left : left + width] = True
    return hole


@pytest.fixture(scope="module")
def pipe():
    torch.manual_seed(0)
    sizes = {"resolution": 32, "w_dim": 8}
    gan = StyleGAN2Generator(z_dim=8, channel_base=64, channel_max=8, **sizes)
    encoder = PSPEncoder(backbone="small", backbone_width=8, style_channels=8, **sizes)
    return PSPPipeline(encoder=encoder, gan=gan)


def test_matches_are_those_of_brute_force_where_every_source_is_a_key():
    grid = np.random.default_rng(0).random((20, 20, 3)).astype(np.float32)
    asked = box((20, 20), 8, 8, 4, 4)
    sources = ~box((20, 20), 7, 7, 6, 6)
    padded = np.pad(grid, ((2, 2), (2, 2), (0, 0)), mode="edge")
    patches = {(y, x): padded[y : y + 5, x : x + 5] for y in range(20) for x in range(20)}
    matches = match_cells(grid, asked, sources)
    for y, x in zip(*np.nonzero(asked)):
        costs = {p: ((patches[y, x] - patches[p]) ** 2).sum() for p in zip(*np.nonzero(sources))}
        chosen = costs[tuple(matches[y, x])]
        assert chosen <= min(costs.values()) * 1.05 + 1e-5


def test_residuals_are_those_of_the_place_that_looks_alike():
    """Two halves, one grainy, one flat: a fill without grain takes that of its color."""
    grain = np.where(np.indices((80, 80)).sum(axis=0) % 2, 0.02, -0.02).astype(np.float32)
    dark, light = np.float32(0.3) + grain, np.full((80, 80), 0.7, np.float32)
    picture = np.repeat(np.where(np.arange(80) < 40, dark, light)[..., None], 3, axis=2)
    hole = box((80, 80), 30, 10, 16, 16) | box((80, 80), 30, 54, 16, 16)
    fill = np.repeat(
        np.where(np.arange(80) < 40, np.float32(0.3), np.float32(0.7))[..., None], 3, 1
    )
    fill = np.repeat(fill.reshape(1, 80, 3), 80, axis=0)
    coarse = np.where(hole[..., None], fill, picture).astype(np.float32)
    result = with_detail(coarse, hole, hole, 4.0)
    left, right = hole & (np.arange(80) < 40), hole & (np.arange(80) >= 40)
    assert np.abs(np.abs(result[left] - 0.3) - 0.02).max() < 0.004
    assert np.abs(result[right] - 0.7).max() < 0.004
    assert (result[~hole] == coarse[~hole]).all()


def test_a_periodic_texture_gets_its_detail_back():
    tile = np.random.default_rng(3).random((12, 12, 3)).astype(np.float32)
    picture = np.tile(tile, (8, 8, 1))
    hole = box((96, 96), 36, 36, 20, 24)
    cells = picture.reshape(24, 4, 24, 4, 3).mean(axis=(1, 3))
    coarse = resized(cells, (96, 96), Image.Resampling.BICUBIC)
    filled = np.where(hole[..., None], coarse, picture)
    assert np.abs(filled[hole] - picture[hole]).max() > 0.3
    inner = box((96, 96), 44, 44, 4, 8)  # where no known pixel mixes into the coarse picture
    result = with_detail(filled, hole, hole, 4.0)
    assert np.abs(result[inner] - picture[inner]).max() < 0.15
    assert np.abs(result[inner] - picture[inner]).mean() < 0.03


@pytest.mark.parametrize("mixing", [False, True])
def test_copies_are_led_by_a_draft_at_half_the_size_or_the_mean_of_two(monkeypatch, mixing):
    """The engine and the shift map recorded: the latter is given a draft, or what is to be mixed
    the mean of two."""
    calls, values = [], (40, 80)

    def engine(guides, pixels, hole, own, seed, weight):
        calls.append((guides, pixels.shape[:2], seed, weight))
        made = [pixels.copy() for _ in guides]
        for picture, value in zip(made, values):
            picture[own] = value
        return made

    def shifted(picture, hole, barred, own, seed):
        calls.append((picture, hole, barred, own, seed))
        return np.full_like(picture, 0.5)

    monkeypatch.setattr(curation, "copied_by_each", engine)
    monkeypatch.setattr(curation, "shifted", shifted)
    monkeypatch.setattr(curation, "_unled_copies", lambda pixels, *_: pixels / np.float32(255))
    hole = box((48, 64), 16, 20, 16, 20)
    barred = hole | box((48, 64), 0, 0, 5, 5)
    colors, pixels = np.full((48, 64, 3), 0.5, np.float32), np.full((48, 64, 3), 128, np.uint8)
    mixer = FillMixer() if mixing else None
    made = curation._led_copies(pixels, [colors, colors], hole, barred, hole, 6, mixer)
    (guides, *of_drafts), (picture, *of_copies) = calls
    assert of_drafts == [(24, 32), 6, curation.DRAFT_WEIGHT]
    assert (guides[0] == height_features((24, 32))).all()
    assert guides[1:] == ((None,) if mixing else ())
    assert of_copies[0] is hole and of_copies[1] is barred and of_copies[2] is hole
    assert of_copies[3] == 6 and np.allclose(made, 0.5, atol=0.01)
    led_by = np.mean(values[: 2 if mixing else 1])
    assert np.allclose(picture[22:26, 28:32], led_by / 255, atol=0.01)
    assert (picture[~hole] == 0.5).all()


@pytest.mark.parametrize(("side", "factor"), [(100, 2), (200, 200 / 4500**0.5)])
def test_drafts_of_large_holes_are_copied_at_less_than_half(monkeypatch, side, factor):
    sizes = []

    def engine(guides, pixels, hole, own, seed, weight):
        sizes.append(pixels.shape[:2])
        return [pixels for _ in guides]

    monkeypatch.setattr(curation, "copied_by_each", engine)
    hole = box((300, 360), 40, 60, side, side)
    curation._drafted(np.full((300, 360, 3), 0.5, np.float32), hole, hole, 0, 2)
    assert sizes == [(round(300 / factor), round(360 / factor))]


def test_where_half_the_size_holds_no_whole_patch_the_engine_copies_alone():
    """A known stripe of 8 px holds patches of 7 px, and none at half the resolution."""
    picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    hole = ~box((48, 64), 20, 0, 8, 64)
    colors = picture.astype(np.float32) / 255
    made = curation._led_copies(picture, [colors], hole, hole, hole, 3, None)
    wanted = copied(picture, hole, hole, 3).astype(np.float32) / 255
    assert np.allclose(made, curation._recolored(wanted, colors, hole))


def test_copies_by_each_guide_are_what_each_gives_alone():
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
    hole = box((48, 64), 16, 20, 16, 20)
    guides = [None, height_features((48, 64))]
    together = patches.copied_by_each(guides, picture, hole, hole, 5, 0.5)
    alone = [patches.copied_by_each([g], picture, hole, hole, 5, 0.5)[0] for g in guides]
    assert all((a == b).all() for a, b in zip(together, alone))
    assert (copied(picture, hole, hole, 5) == together[0]).all()
    assert (together[0] != together[1]).any()


def test_calls_of_one_seed_run_together_and_others_wait(monkeypatch):
    """The engine's seed is the whole process's."""
    running, met, seeds = set(), threading.Barrier(2, timeout=20), []

    def engine(known, own, **options):
        seed = seeds[-1]
        running.add((seed, threading.get_ident()))
        if seed == 1:
            met.wait()  # nothing goes on before both calls of this seed have begun
        assert {other for other, _ in running} == {seed}
        running.discard((seed, threading.get_ident()))
        return known + np.uint8(seed)

    patchmatch = pytest.importorskip("patchmatch")
    monkeypatch.setattr(patchmatch, "inpaint", engine)
    monkeypatch.setattr(patchmatch, "set_random_seed", seeds.append)
    picture, hole = np.zeros((16, 16, 3), np.uint8), np.zeros((16, 16), bool)
    with ThreadPoolExecutor(4) as threads:
        done = list(
            threads.map(lambda seed: patches.copied(picture, hole, hole, seed), (1, 2, 1, 2))
        )
    assert [fill.max() for fill in done] == [1, 2, 1, 2]


def test_a_call_that_fails_lets_others_go_on(monkeypatch):
    patchmatch = pytest.importorskip("patchmatch")
    picture, hole = np.zeros((16, 16, 3), np.uint8), np.zeros((16, 16), bool)

    def engine(known, own, **options):
        raise RuntimeError("no")

    monkeypatch.setattr(patchmatch, "inpaint", engine)
    with pytest.raises(RuntimeError, match="no"):
        patches.copied(picture, hole, hole, 1)
    monkeypatch.setattr(patchmatch, "inpaint", lambda known, own, **options: known)
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(patches.copied, picture, hole, hole, 2).result(60).shape == (16, 16, 3)


def energy(picture, where):
    fine = picture - ndimage.gaussian_filter(picture, (1, 1, 0))
    return float((fine[where] ** 2).mean())


@pytest.mark.parametrize(("softness", "gain"), [(1.25, 1.25), (4.0, 2.0), (0.5, 1.0)])
def test_a_fill_becomes_as_fine_as_what_lies_around_it(softness, gain):
    """Grain divided by `softness` in the hole: raised to that around it, by no more than 2."""
    rng = np.random.default_rng(1)
    grain = rng.normal(0, 0.05, (96, 96, 3)).astype(np.float32)
    hole = box((96, 96), 28, 28, 40, 40)
    picture = np.float32(0.5) + np.where(hole[..., None], grain / np.float32(softness), grain)
    made = curation.as_fine_as_around(picture, hole, hole)
    assert (made[~hole] == picture[~hole]).all()
    inner = box((96, 96), 32, 32, 32, 32)
    fine = picture - ndimage.gaussian_filter(picture, (1, 1, 0))
    added = (made - picture)[inner]
    assert np.allclose(added, (gain - 1) * fine[inner], atol=0.05 * np.abs(fine[inner]).max())
    if softness == 1.25:
        assert energy(made, inner) > 1.3 * energy(picture, inner)


def test_fineness_is_measured_up_to_16_px_around():
    rng = np.random.default_rng(4)
    hole, near = box((96, 96), 36, 36, 24, 24), box((96, 96), 30, 30, 36, 36)
    grain = rng.normal(0, 0.05, (96, 96, 3)).astype(np.float32)
    picture = np.float32(0.5) + np.where(
        hole[..., None], grain / 2, np.where(near[..., None], 0, grain)
    )
    made = curation.as_fine_as_around(picture.astype(np.float32), hole, hole)
    inner = box((96, 96), 42, 42, 12, 12)
    assert energy(made, inner) > 1.4 * energy(picture, inner)


def test_copies_take_half_of_the_low_frequencies_of_the_colors():
    hole = box((80, 80), 0, 0, 80, 80)
    copies, colors = np.full((80, 80, 3), 0.2, np.float32), np.full((80, 80, 3), 0.6, np.float32)
    assert np.allclose(curation._recolored(copies, colors, hole), 0.2 + 0.5 * 0.4, atol=1e-5)


def test_a_network_that_shows_what_is_there_leaves_nothing_unexplained():
    known = noise(80, 80)
    hole, everywhere = box((80, 80), 30, 30, 20, 20), np.ones((80, 80), bool)
    right = known.astype(np.float32) / 255
    assert unexplained(right, known, hole, everywhere, 2.0) < 1e-6
    mean = np.full_like(right, right[~hole].mean(axis=0))
    assert unexplained(mean, known, hole, everywhere, 2.0) == pytest.approx(1, abs=0.15)
    assert np.isnan(unexplained(right, known, hole, hole, 2.0))
    other = known.copy()
    other[hole] = 255 - other[hole]
    assert unexplained(mean, other, hole, everywhere, 2.0) == pytest.approx(
        unexplained(mean, known, hole, everywhere, 2.0)
    )


def test_richness_tells_a_blur_from_what_is_around_it():
    known = noise(80, 80).astype(np.float32) / 255
    hole = box((80, 80), 24, 24, 32, 32)
    assert richness(known, hole, 2.0) == pytest.approx(1, abs=0.3)
    assert richness(np.where(hole[..., None], np.float32(0.5), known), hole, 2.0) < 0.05


@pytest.mark.parametrize("texture", TEXTURED)
@pytest.mark.parametrize("blend", ["none", "gp", "laplacian"])
def test_known_pixels_come_back_bit_for_bit(pipe, texture, blend):
    picture = noise(70, 90)
    hole = box((70, 90), 20, 30, 12, 17) | box((70, 90), 0, 80, 6, 10)
    made = pipe(picture, hole, texture=texture, blend=blend, context=1.0, mask_blur=2).images
    made = np.asarray(made[0])
    assert (made[~hole] == picture[~hole]).all()
    assert (made[hole] != picture[hole]).any()


@pytest.mark.parametrize("texture", TEXTURED)
def test_the_old_content_of_a_hole_is_never_read(pipe, texture):
    picture, other = noise(64, 64), noise(64, 64)
    hole = box((64, 64), 20, 24, 14, 11) | box((64, 64), 50, 2, 5, 5)
    other[hole] = 255 - other[hole]
    a, b = (pipe(p, hole, texture=texture, context=0.5).images[0] for p in (picture, other))
    assert (np.asarray(a)[hole] == np.asarray(b)[hole]).all()


@pytest.mark.parametrize("texture", TEXTURED)
def test_a_batch_gives_what_each_picture_gives_alone_and_seeds_repeat(pipe, texture):
    pictures = [noise(60, 64, 1), noise(64, 50, 2)]
    holes = [box((60, 64), 20, 20, 10, 12), box((64, 50), 5, 30, 9, 20)]

    def fill(which):
        generators = [torch.Generator().manual_seed(5 + i) for i in which]
        made = pipe(
            [pictures[i] for i in which],
            [Image.fromarray(holes[i]) for i in which],
            texture=texture,
            generator=generators,
        )
        return [np.asarray(image) for image in made.images]

    together = fill([0, 1])
    for i in (0, 1):
        assert (fill([i])[0] == together[i]).all()


DEGENERATE = {
    "nothing known": (noise(40, 40), np.ones((40, 40), bool)),
    "one known pixel": (noise(40, 40), ~box((40, 40), 0, 0, 1, 1)),
    "less than a patch known": (noise(40, 40), ~box((40, 40), 10, 10, 5, 5)),
    "one pixel at a corner": (noise(40, 40), box((40, 40), 39, 0, 1, 1)),
    "a line across": (noise(40, 40), box((40, 40), 20, 0, 1, 40)),
    "a border": (noise(40, 40), box((40, 40), 0, 0, 40, 9)),
    "flat color": (np.full((40, 40, 3), 77, np.uint8), box((40, 40), 10, 10, 12, 12)),
    "1x1": (noise(1, 1), np.ones((1, 1), bool)),
    "6x50": (noise(6, 50), box((6, 50), 0, 20, 6, 9)),
    "checkered hole": (noise(16, 16), (np.indices((16, 16)).sum(axis=0) % 2).astype(bool)),
}


def test_several_results_are_copied_from_other_places(pipe):
    photo = Image.open(ROOT / "examples" / "astronaut.png").convert("RGB").resize((160, 160))
    photo, hole = np.asarray(photo), box((160, 160), 96, 48, 40, 48)
    options = {"texture": "patches", "num_images_per_prompt": 2, "output_type": "np"}
    rng = torch.Generator().manual_seed(0)
    first, second = pipe(photo, hole, generator=rng, **options).images
    difference = np.abs(first - second)
    assert difference[hole].mean() > 0.02 and not difference[~hole].any()


@pytest.mark.filterwarnings("ignore:texture=")
@pytest.mark.parametrize("texture", TEXTURED)
@pytest.mark.parametrize("case", DEGENERATE)
def test_degenerate_holes_give_a_picture(pipe, texture, case):
    picture, hole = DEGENERATE[case]
    with np.errstate(invalid="raise"):
        made = np.asarray(pipe(picture, Image.fromarray(hole), texture=texture).images[0])
    assert made.shape == picture.shape
    assert (made[~hole] == picture[~hole]).all()


def test_where_nothing_can_be_copied_a_warning_says_so(pipe):
    picture, hole = DEGENERATE["nothing known"]
    with pytest.warns(UserWarning, match="texture='patches' was left out: no 7x7 px"):
        made = pipe(picture, Image.fromarray(hole), texture="patches")
    assert [[choice for choice, _ in crops] for crops in made.textures] == [["none"]]


def test_without_the_engine_detail_is_taken_and_the_warning_says_how_to_install(pipe, monkeypatch):
    import patchmatch

    monkeypatch.setattr(patchmatch, "patchmatch_available", False)
    hole = box((64, 64), 20, 20, 12, 12)
    with pytest.warns(UserWarning, match="texture='patches' became 'detail'.*pip install"):
        made = pipe(noise(64, 64), hole, texture="patches")
    assert made.textures[0][0][0] == "detail"


def test_no_texture_is_the_default_and_changes_nothing(pipe):
    picture, hole = noise(64, 64), box((64, 64), 20, 20, 12, 12)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain = pipe(picture, hole)
    assert plain.textures is None
    named = pipe(picture, hole, texture="none")
    assert (np.asarray(plain.images[0]) == np.asarray(named.images[0])).all()


def test_an_unknown_texture_is_named(pipe):
    with pytest.raises(ValueError, match="texture is 'sharp', expected one of"):
        pipe(noise(32, 32), box((32, 32), 4, 4, 8, 8), texture="sharp")
