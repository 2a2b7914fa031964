"""Fills mixed octave by octave: the mixture is made of them alone, and what is known stays."""

import json
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from inpaint_hub import DualPathInpainter, FeedForwardPipeline, FillMixer, load_pipeline
from inpaint_hub.evaluation.methods import pipeline_digest
from inpaint_hub.pipelines import windows
from inpaint_hub.texture import copied, curation, mixing, textured_windows
from tests.test_texture import DEGENERATE, box, noise

WIDTHS = [4, 6, 8]


def lively(widths=WIDTHS):
    """A mixer whose weights differ from place to place."""
    torch.manual_seed(0)
    mixer = FillMixer(widths=widths)
    for conv in mixer.to_logits:
        torch.nn.init.normal_(conv.weight)
    return mixer.eval()


def choosing(*candidates, widths=WIDTHS):
    """A mixer that takes each octave, fine to coarse, from one candidate alone."""
    mixer = FillMixer(widths=widths)
    for conv, candidate in zip(mixer.to_logits, candidates, strict=True):
        torch.nn.init.constant_(conv.bias[candidate], 1e4)
    return mixer.eval()


@pytest.fixture(scope="module")
def inpainter():
    torch.manual_seed(0)
    return DualPathInpainter(resolution=32, channels=4, fusion="none").eval()


@pytest.fixture(scope="module")
def pipe(inpainter):
    return FeedForwardPipeline(inpainter, lively())


def pictures(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def test_octaves_add_up_to_the_picture():
    x = pictures(2, 3, 32, 48)
    bands = mixing.octaves(x, 3)
    assert [b.shape[2:] for b in bands] == [(32, 48), (16, 24), (8, 12), (4, 6)]
    assert torch.allclose(bands[-1], F.avg_pool2d(x, 8))
    assert torch.allclose(mixing.sum_of_octaves(bands), x, atol=1e-6)


def test_a_stripe_of_two_px_is_of_the_finest_octave_alone():
    x = torch.zeros(1, 1, 16, 16)
    x[..., ::2] = 1
    finest, *others, coarsest = mixing.octaves(x, 3)
    assert torch.allclose(finest, x - 0.5) and torch.allclose(coarsest, torch.full((), 0.5))
    assert all(torch.allclose(band, torch.zeros(())) for band in others)


def test_a_new_mixer_takes_the_mean():
    candidates, mask = pictures(2, 3, 3, 16, 24), torch.ones(2, 1, 16, 24)
    made = FillMixer(widths=WIDTHS)(candidates, mask)
    assert torch.allclose(made, candidates.mean(dim=1), atol=1e-6)


def test_each_octave_is_the_chosen_candidates():
    candidates, mask = pictures(1, 3, 3, 16, 16), torch.ones(1, 1, 16, 16)
    made = choosing(1, 2, 0)(candidates, mask)
    bands = [mixing.octaves(candidates[:, k], 2) for k in range(3)]
    wanted = mixing.sum_of_octaves([bands[1][0], bands[2][1], bands[0][2]])
    assert torch.allclose(made, wanted, atol=1e-6)


def test_weights_differ_from_place_to_place_and_add_up_to_one():
    weights = lively().weights(pictures(2, 3, 3, 16, 24), torch.ones(2, 1, 16, 24))
    assert [w.shape for w in weights] == [(2, 3, 16, 24), (2, 3, 8, 12), (2, 3, 4, 6)]
    for weight in weights:
        assert weight.min() >= 0 and weight.std() > 0.003
        assert torch.allclose(weight.sum(dim=1), torch.ones(()), atol=1e-5)


def test_the_hole_and_what_sets_candidates_apart_are_seen():
    candidates, mask = pictures(1, 3, 3, 16, 16), torch.ones(1, 1, 16, 16)
    mixer = lively()
    plain = mixer.weights(candidates, mask)[0]
    changed = candidates.clone()
    changed[:, 2] = changed[:, 2].flip(-1)
    mirrored = 2 * candidates.mean(dim=1, keepdim=True) - candidates  # as far apart
    half = mask.clone()
    half[..., :8] = 0
    assert not torch.allclose(plain, mixer.weights(mirrored, mask)[0], atol=1e-3)
    assert not torch.allclose(plain, mixer.weights(changed, mask)[0], atol=1e-3)
    assert not torch.allclose(plain, mixer.weights(candidates, half)[0], atol=1e-3)


@pytest.mark.parametrize("options", [{"candidates": 1}, {"widths": [8]}])
def test_too_little_to_mix_is_refused(options):
    with pytest.raises(ValueError, match="expected at least 2 candidates"):
        FillMixer(**options)


@pytest.mark.parametrize("shape", [(37, 51), (200, 210), (8, 9)])
def test_only_the_hole_is_mixed_in_pictures_of_any_size(shape):
    fills = [noise(*shape, seed).astype(np.float32) / 255 for seed in range(3)]
    own = box(shape, 1, 2, 5, 6)
    made = mixing.mixed(lively(), fills, own)
    assert made.dtype == np.float32 and (made[~own] == fills[0][~own]).all()
    assert (made[own] != fills[0][own]).any()
    assert made.min() >= 0 and made.max() <= 1
    one = mixing.mixed(choosing(2, 2, 2), fills, own)
    assert np.allclose(one[own], fills[2][own], atol=1e-5)


def test_what_lies_far_from_the_hole_changes_nothing():
    rng = np.random.default_rng(0)
    photo = rng.random((300, 320, 3)).astype(np.float32)
    own = box((300, 320), 140, 150, 20, 24)
    fills = [np.where(own[..., None], rng.random(photo.shape), photo).astype(np.float32)
             for _ in range(3)]  # fmt: skip
    far = ~box((300, 320), 140 - 64, 150 - 64, 20 + 128, 24 + 128)
    others = [np.where(far[..., None], np.float32(0), fill) for fill in fills]
    deep = lively(widths=[4] * 7)  # which sees further than it is shown
    first, second = (mixing.mixed(deep, given, own) for given in (fills, others))
    assert (first[own] == second[own]).all()
    beside = [np.where(own[..., None], fill, np.float32(0)) for fill in fills[1:]]
    third = mixing.mixed(deep, [fills[0], *beside], own)  # what else they hold is not looked at
    assert (first == third).all()


def test_a_mixer_is_given_led_copies_unled_ones_and_the_fill(inpainter, monkeypatch):
    """Each alone, as fine as what is around, is the picture; led are these copies by two drafts."""
    drafted = curation._drafted
    monkeypatch.setattr(curation, "_drafted", lambda *given: drafted(*given[:-1], 2))
    picture, hole = noise(64, 64), box((64, 64), 20, 24, 14, 16)
    known = np.where(hole[..., None], np.rint(picture[~hole].mean(axis=0)), picture)
    known = known.astype(np.uint8)

    def made(*chosen):
        pipe = FeedForwardPipeline(inpainter, choosing(*chosen))
        return np.asarray(pipe(picture, hole, texture="patches").images[0]).astype(int)

    def finished(fill):
        sigma = curation.MIXED_SIGMA_PX
        fine = curation.as_fine_as_around(fill.astype(np.float32), hole, hole, sigma)
        return np.rint(fine * 255).astype(int)

    unled = copied(known, hole, hole, 0) / np.float32(255)
    assert np.abs(made(1, 1, 1) - finished(unled))[hole].max() <= 1
    plain = FeedForwardPipeline(inpainter)
    fill = plain(picture, hole, blend="gp", output_type="np").images[0]
    led = plain(picture, hole, texture="patches", output_type="np").images[0]
    assert np.abs(made(0, 0, 0) - finished(led))[hole].max() <= 1
    between = mixing.kept_between(fill, [led, unled])
    assert np.abs(made(2, 2, 2) - finished(between))[hole].max() <= 1


def test_unled_copies_of_large_holes_are_made_smaller(monkeypatch):
    sizes = []

    def engine(pixels, hole, own, seed):
        sizes.append(pixels.shape[:2])
        return np.full_like(pixels, 51)

    monkeypatch.setattr(curation, "copied", engine)
    hole = box((300, 360), 20, 60, 200, 200)
    made = curation._unled_copies(noise(300, 360), hole, hole, 0)
    assert sizes == [(round(300 / 2**0.5), round(360 / 2**0.5))]
    assert np.allclose(made[hole], 0.2, atol=1e-3)
    assert (made[~hole] == noise(300, 360)[~hole] / np.float32(255)).all()


def test_a_fill_is_kept_between_what_copies_show_nearby():
    fill = np.full((7, 7, 3), 0.9, np.float32)
    first, second = np.full((7, 7, 3), 0.3, np.float32), np.full((7, 7, 3), 0.4, np.float32)
    second[3, 3, 0] = 0.7
    made = mixing.kept_between(fill, [first, second])
    near = np.zeros((7, 7, 3), bool)
    near[2:5, 2:5, 0] = True
    assert np.allclose(made[near], 0.7) and np.allclose(made[~near], 0.4)
    assert np.allclose(mixing.kept_between(fill - 0.9, [first, second]), 0.3)
    inside = np.full((7, 7, 3), 0.35, np.float32)
    assert (mixing.kept_between(inside, [first, second]) == inside).all()


def test_no_more_than_it_knows_is_mixed(pipe, inpainter):
    """Cells of the network above 3 px, large holes and the pieces of long ones are as copied."""
    plain = FeedForwardPipeline(inpainter)
    hole = box((104, 104), 30, 30, 20, 20)
    for side, differ in ((96, True), (104, False)):
        given = noise(side, side), hole[:side, :side]
        made = [p(*given, texture="patches", context=None).images[0] for p in (pipe, plain)]
        assert (np.asarray(made[0]) != np.asarray(made[1])).any() == differ
    for most, differ in ((400, True), (399, False)):  # of 20 x 20
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(curation, "MAX_MIXED_PX", most)
            given = noise(96, 96), hole[:96, :96]
            made = [np.asarray(p(*given, texture="patches").images[0]) for p in (pipe, plain)]
        assert (made[0] != made[1]).any() == differ
    long = box((96, 96), 40, 8, 6, 80)
    windows.textured_windows, kept = _in_pieces, windows.textured_windows
    try:
        made = [p(noise(96, 96), long, texture="patches").images[0] for p in (pipe, plain)]
    finally:
        windows.textured_windows = kept
    assert (np.asarray(made[0]) == np.asarray(made[1])).all()


def _in_pieces(hole, own, part, in_pieces):
    ((window,),) = textured_windows(hole, own, part, False)
    halves = [window.own & (np.indices(window.own.shape)[1] < 48), window.own.copy()]
    halves[1] &= ~halves[0]
    return [[window._replace(own=half) for half in halves]]


@pytest.mark.parametrize(("limit", "px"), [("MAX_HOLE_PX", 900), ("MAX_SEEN_PX", 4000)])
def test_the_fill_is_mixed_in_where_less_is_looked_at(inpainter, monkeypatch, limit, px):
    """Of a large hole, and of a large crop, all is the fill's but what the sizes between lose."""
    monkeypatch.setattr(curation, limit, px)
    picture = np.asarray(Image.fromarray(noise(8, 8)).resize((96, 96)))
    hole = box((96, 96), 28, 28, 40, 40)
    plain = FeedForwardPipeline(inpainter)
    wanted = np.asarray(plain(picture, hole, blend="gp").images[0]).astype(int)
    led = np.asarray(plain(picture, hole, texture="patches").images[0])
    monkeypatch.setattr(curation, "kept_between", lambda fill, copies: fill)
    pipe = FeedForwardPipeline(inpainter, choosing(2, 2, 2))
    made = np.asarray(pipe(picture, hole, texture="patches").images[0])
    assert np.abs(made - wanted)[hole].mean() < 0.5 * np.abs(led - wanted)[hole].mean()


def test_unled_copies_are_left_out_where_too_little_is_known_at_their_size(monkeypatch):
    monkeypatch.setattr(curation, "MAX_UNLED_PX", 200)
    picture, hole = noise(40, 40), ~box((40, 40), 10, 10, 9, 9)
    made = curation._unled_copies(picture, hole, hole, 0)
    assert (made == picture / np.float32(255)).all()


@pytest.mark.parametrize("texture", ["none", "detail", "patches", "auto"])
def test_known_pixels_come_back_bit_for_bit(pipe, texture):
    picture = noise(70, 90)
    hole = box((70, 90), 20, 30, 12, 17) | box((70, 90), 0, 80, 6, 10)
    made = np.asarray(pipe(picture, hole, texture=texture, context=1.0, mask_blur=2).images[0])
    assert (made[~hole] == picture[~hole]).all()
    assert (made[hole] != picture[hole]).any()


def test_the_old_content_of_a_hole_is_never_read(pipe):
    picture, other = noise(64, 64), noise(64, 64)
    hole = box((64, 64), 20, 24, 14, 11) | box((64, 64), 50, 2, 5, 5)
    other[hole] = 255 - other[hole]
    a, b = (pipe(p, hole, texture="patches").images[0] for p in (picture, other))
    assert (np.asarray(a)[hole] == np.asarray(b)[hole]).all()


def test_a_batch_gives_what_each_picture_gives_alone(pipe):
    given = [noise(60, 64, 1), noise(64, 50, 2)]
    holes = [box((60, 64), 20, 20, 10, 12), box((64, 50), 5, 30, 9, 20)]
    generators = [torch.Generator().manual_seed(5 + i) for i in (0, 1)]
    together = pipe(given, holes, texture="patches", generator=generators).images
    for i in (0, 1):
        generator = torch.Generator().manual_seed(5 + i)
        alone = pipe(given[i], holes[i], texture="patches", generator=generator).images[0]
        assert (np.asarray(alone) == np.asarray(together[i])).all()


@pytest.mark.filterwarnings("ignore:texture=")
@pytest.mark.parametrize("case", DEGENERATE)
def test_degenerate_holes_give_a_picture(pipe, case):
    picture, hole = DEGENERATE[case]
    with np.errstate(invalid="raise"):
        made = np.asarray(pipe(picture, hole, texture="patches").images[0])
    assert made.shape == picture.shape
    assert (made[~hole] == picture[~hole]).all()


def fill_of(pipe):
    return np.asarray(pipe(noise(64, 64), box((64, 64), 20, 20, 14, 14), texture="auto").images[0])


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_a_mixer_is_saved_and_loaded_with_its_pipeline(pipe, tmp_path, variant):
    pipe.save_pretrained(tmp_path, variant=variant)
    for load in (FeedForwardPipeline.from_pretrained, load_pipeline):
        loaded = load(tmp_path, variant=variant)
        assert loaded.mixer.config == pipe.mixer.config
        assert (fill_of(loaded) == fill_of(pipe)).all()
    low = FeedForwardPipeline.from_pretrained(tmp_path, variant=variant, dtype=torch.bfloat16)
    assert low.mixer.dtype is torch.bfloat16 and fill_of(low).any()
    without = FeedForwardPipeline.from_pretrained(tmp_path, variant=variant, mixer=None)
    assert without.mixer is None and (fill_of(without) != fill_of(pipe)).any()


@pytest.mark.parametrize("variant", [None, "fp16"])
@pytest.mark.parametrize("entry", [[None, None], None])
def test_a_pipeline_may_lack_one(inpainter, tmp_path, variant, entry):
    """As it is saved now, and as it was saved before there were any."""
    FeedForwardPipeline(inpainter).save_pretrained(tmp_path, variant=variant)
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert index.pop("mixer") == [None, None]
    if entry is not None:
        index["mixer"] = entry
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    assert FeedForwardPipeline.from_pretrained(tmp_path, variant=variant).mixer is None


def test_a_mixer_that_is_named_must_be_there(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    shutil.rmtree(tmp_path / "mixer")
    with pytest.raises(FileNotFoundError, match="no mixer/config.json"):
        FeedForwardPipeline.from_pretrained(tmp_path)


def test_a_mixer_of_another_kind_is_refused(inpainter):
    with pytest.raises(TypeError, match="mixer is a DualPathInpainter, .* expects FillMixer"):
        FeedForwardPipeline(inpainter, inpainter)


def test_a_mixer_makes_another_method_to_judge_and_none_does_not(pipe, inpainter):
    without = FeedForwardPipeline(inpainter)
    assert pipeline_digest(pipe) != pipeline_digest(without)
    assert pipeline_digest(pipe) == pipeline_digest(FeedForwardPipeline(inpainter, lively()))
    named = type("FeedForwardPipeline", (), {"components": {"inpainter": inpainter}})()
    assert pipeline_digest(without) == pipeline_digest(named)


def test_a_pipeline_with_a_mixer_is_optimized(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    fast = FeedForwardPipeline.from_pretrained(tmp_path).optimize(dtype=torch.float32)
    assert np.abs(fill_of(fast).astype(int) - fill_of(pipe)).max() <= 2
