"""Coarse to fine: the second network, what it is shown, and the pipeline around both."""

import functools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from accelerate.state import AcceleratorState
from test_pipelines import mask_of, middle_hole, photo, tiny_pipeline, tiny_refined
from training_runs import fields

from inpaint_hub import (
    AutoInpaintPipeline,
    CoarseToFinePipeline,
    DualPathInpainter,
    DualPathPipeline,
    FaceDetector,
    FeedForwardPipeline,
    PSPPipeline,
    Refiner,
    load_pipeline,
)
from inpaint_hub.compositing import reduced
from inpaint_hub.engines.inpainter import InferenceRefiner
from inpaint_hub.refinement import softened, with_coarse_fill
from inpaint_hub.training import TrainConfig
from inpaint_hub.training.loop import Run


@pytest.fixture(scope="module")
def pipe():
    return tiny_refined()


@pytest.fixture
def shown():
    """(masked picture [2,3,64,64], mask)"""
    mask = torch.zeros(2, 1, 64, 64)
    mask[0, :, 11:40, 20:51] = 1
    mask[1, :, 63, 0] = 1
    picture = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return picture * (1 - mask), mask


def test_a_new_refiner_adds_nothing(shown):
    assert torch.equal(Refiner(resolution=64, channels=4)(*shown), shown[0])


def test_a_refiner_starts_as_a_path_that_sees_the_mean_of_four_pixels(shown):
    torch.manual_seed(0)
    inpainter = DualPathInpainter(resolution=32, channels=4, fusion="none")
    refiner = Refiner(resolution=64, channels=4)
    refiner.start_from(inpainter.feed_forward)
    last = []
    for network in (inpainter, refiner):
        network.feed_forward.to_rgb.register_forward_pre_hook(lambda _, x: last.append(x[0]))
    inpainter(*(F.avg_pool2d(x, 2) for x in shown))
    assert torch.equal(refiner(*shown), shown[0])
    torch.testing.assert_close(last[1], last[0], rtol=1e-4, atol=1e-4)
    with pytest.raises(RuntimeError, match="size mismatch"):
        Refiner(resolution=64, channels=8).start_from(inpainter.feed_forward)


def test_each_pixel_of_a_place_is_made_by_a_channel_of_its_own(monkeypatch):
    refiner = Refiner(resolution=64, channels=4)
    refiner.feed_forward.to_rgb.bias.data[5] = 1.0  # the second of three colors, pixel (0, 1)
    nothing = torch.zeros(1, 3, 64, 64), torch.zeros(1, 1, 64, 64)
    softened = refiner(*nothing)
    monkeypatch.setattr("inpaint_hub.refinement.softened", lambda x: x)
    added = refiner(*nothing)
    expected = torch.zeros(1, 3, 64, 64)
    expected[0, 1, ::2, 1::2] = torch.tanh(torch.tensor(1.0))
    assert torch.equal(added, expected)
    inner = softened[0, :, 1:-1, 1:-1]  # of a pattern of period 2 only the mean is left
    torch.testing.assert_close(inner, expected.mean(dim=(2, 3))[0, :, None, None].expand_as(inner))


def test_softening_is_a_binomial_filter_that_keeps_means_and_goes_on_at_the_border():
    dot = torch.zeros(1, 2, 5, 6)
    dot[0, 1, 2, 3] = 16.0
    expected = torch.zeros(5, 6)
    expected[1:4, 2:5] = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]])
    assert torch.equal(softened(dot)[0, 1], expected) and not softened(dot)[0, 0].any()
    assert torch.equal(softened(torch.ones(1, 1, 3, 3)), torch.ones(1, 1, 3, 3))


def test_what_is_known_in_part_is_hole_to_the_coarse_pipeline(shown):
    masked, mask = shown
    small, hole = reduced(masked, mask, 32)
    assert hole[0, 0].nonzero().min(dim=0).values.tolist() == [5, 10]
    assert hole[0, 0].nonzero().max(dim=0).values.tolist() == [19, 25]
    assert hole[1].sum() == 1 and hole[1, 0, 31, 0] == 1
    assert not small[hole.expand_as(small) > 0].any()
    torch.testing.assert_close(small[0, :, 0, 0], masked[0, :, :2, :2].mean(dim=(1, 2)))
    assert torch.equal(reduced(masked, mask, 64)[0], masked)


def test_the_coarse_fill_is_put_into_the_hole_alone_and_within_range(shown):
    masked, mask = shown
    generated = torch.full((2, 3, 32, 32), 0.5)
    generated[1] = 7.0
    filled = with_coarse_fill(masked, mask, generated)
    hole = mask.expand_as(filled) > 0
    assert torch.equal(filled[~hole], masked[~hole])
    assert (filled[0][hole[0]] == 0.5).all() and (filled[1][hole[1]] == 1).all()


def test_the_pipeline_refines_what_its_coarse_one_renders(pipe, shown):
    masked, mask = shown
    small = reduced(masked, mask, 32)
    with torch.no_grad():
        latent = pipe.encode(masked, mask)
        assert torch.equal(latent.ws, pipe.coarse.encode(*small).ws)
        generated = pipe.coarse.render(latent, *small)["generated"]
        expected = pipe.refiner(with_coarse_fill(masked, mask, generated), mask)
        found = pipe.render(latent, masked, mask)["generated"]
    assert torch.equal(found, expected)
    assert (found - with_coarse_fill(masked, mask, generated)).abs().max() > 0.01
    moved = pipe.vary(latent, 0.5, torch.Generator().manual_seed(1), 0.3)
    same = pipe.coarse.vary(latent, 0.5, torch.Generator().manual_seed(1), 0.3)
    assert torch.equal(moved.ws, same.ws) and not torch.equal(moved.ws, latent.ws)


def test_how_noise_is_drawn_reaches_the_coarse_pipeline(shown, monkeypatch):
    pipe, told = tiny_refined(), []

    def render(latent, masked_image, mask, *options):
        told.append(options)
        return {"generated": torch.zeros(2, 3, 32, 32)}

    monkeypatch.setattr(pipe.coarse, "render", render)
    pipe.render(None, *shown, "random", "the generator", 0.3)
    assert told == [("random", "the generator", 0.3)]


def test_saved_loaded_and_loaded_by_name(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    assert {p.name for p in tmp_path.iterdir() if p.is_dir()} == {"coarse", "refiner"}
    loaded = load_pipeline(tmp_path)
    assert type(loaded) is CoarseToFinePipeline and loaded.resolution == 64
    assert type(loaded.coarse) is PSPPipeline and not loaded.refiner.training
    hole = mask_of(middle_hole())
    one, other = (np.array(p(photo(), hole, texture="none").images[0]) for p in (pipe, loaded))
    assert np.array_equal(one, other)
    half = CoarseToFinePipeline.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert half.refiner.dtype == half.coarse.gan.dtype == torch.bfloat16 == half.input_dtype
    assert half(photo(), hole).images[0].size == photo().size
    pipe.save_pretrained(tmp_path / "other", variant="fp16")
    assert (tmp_path / "other" / "refiner" / "model.fp16.safetensors").is_file()
    other = CoarseToFinePipeline.from_pretrained(tmp_path / "other", variant="fp16")
    assert torch.equal(*(p.refiner.feed_forward.to_rgb.weight for p in (pipe, other)))
    mixed = CoarseToFinePipeline(coarse=half.coarse, refiner=other.refiner)
    assert mixed(photo(), hole).images[0].size == photo().size
    own = CoarseToFinePipeline.from_pretrained(tmp_path, coarse=pipe.coarse)
    assert own.coarse is pipe.coarse
    assert "1801.07892" in (tmp_path / "README.md").read_text("utf-8")
    with pytest.raises(TypeError, match="holds a CoarseToFinePipeline"):
        AutoInpaintPipeline.from_pretrained(tmp_path)


def test_what_does_not_fit_is_refused(pipe):
    with pytest.raises(ValueError, match="have 64 px and those of coarse 64"):
        small = DualPathInpainter(resolution=64, channels=4, fusion="none")
        CoarseToFinePipeline(FeedForwardPipeline(small), pipe.refiner)
    with pytest.raises(TypeError, match="coarse is a CoarseToFinePipeline, expected a pipeline of"):
        CoarseToFinePipeline(pipe, pipe.refiner)
    with pytest.raises(TypeError, match=r"refiner is a DualPathInpainter, .*Refiner.from_pretr"):
        CoarseToFinePipeline(pipe.coarse, small)
    with pytest.raises(ValueError, match="resolution is 96"):
        Refiner(resolution=96)
    with pytest.raises(ValueError, match=r"\(1, 3, 32, 32\), expected \[N,3,64,64\]"):
        pipe.refiner(torch.zeros(1, 3, 32, 32), torch.zeros(1, 1, 32, 32))


def test_optimized_it_fills_alike_and_rounds_nothing_it_adds_to(shown):
    pipe = tiny_refined()
    hole = mask_of(middle_hole())
    before = pipe(photo(), hole, output_type="np").images
    pipe.optimize(dtype=torch.float32)
    assert "forward" in vars(pipe.refiner) and "forward" in vars(pipe.coarse.gan.synthesis)
    np.testing.assert_allclose(pipe(photo(), hole, output_type="np").images, before, atol=1e-4)
    nothing = Refiner(resolution=64, channels=4).eval()
    assert torch.equal(InferenceRefiner(nothing, torch.bfloat16)(*shown), shown[0])
    pipe.optimize(None)
    assert "forward" not in vars(pipe.refiner)


def test_what_is_offloaded_is_put_away_after_a_fill(monkeypatch):
    pipe, told = tiny_refined(), []
    for name in ("enable_model_cpu_offload", "maybe_free_model_hooks"):
        monkeypatch.setattr(PSPPipeline, name, lambda self, *a, name=name, **o: told.append(name))
    pipe.enable_model_cpu_offload(device="cpu")
    pipe(photo(), middle_hole())
    assert told == ["enable_model_cpu_offload", "maybe_free_model_hooks"]


def test_a_face_model_may_be_refined(tmp_path):
    torch.manual_seed(0)
    fine = CoarseToFinePipeline(tiny_pipeline(DualPathPipeline), Refiner(resolution=64, channels=4))
    photos = FeedForwardPipeline(DualPathInpainter(resolution=32, channels=4, fusion="none"))
    pipe = AutoInpaintPipeline(faces=fine, photos=photos, detector=FaceDetector())
    pipe.save_pretrained(tmp_path)
    loaded = load_pipeline(tmp_path)
    assert type(loaded.faces) is CoarseToFinePipeline and loaded.resolution == 64
    half = AutoInpaintPipeline.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert half.faces.refiner.dtype == torch.bfloat16 and half.detector.dtype == torch.float32
    half.save_pretrained(tmp_path / "half", variant="fp16")
    assert (tmp_path / "half" / "detector" / "model.safetensors").is_file()  # it has no variants
    assert load_pipeline(tmp_path / "half", variant="fp16").resolution == 64
    options = {"faces": "always", "texture": "detail"}
    one, other = (p(photo(), middle_hole(), **options).images[0] for p in (pipe, loaded))
    known = ~middle_hole()
    assert np.array_equal(np.array(one), np.array(other))
    assert np.array_equal(np.array(one)[known], np.array(photo())[known])


def test_it_is_trained_from_an_inpainters_path_and_gone_on_with(place, tmp_path):
    torch.manual_seed(0)
    inpainter = DualPathInpainter(resolution=32, channels=4, fusion="none")
    FeedForwardPipeline(inpainter).save_pretrained(tmp_path / "path")
    fields_of = functools.partial(fields, place, tmp_path / "run", "refinement")
    AcceleratorState._reset_state(True)
    run = Run(TrainConfig(**fields_of(grow_from=str(tmp_path / "path"))))
    started = run.method.networks.feed_forward
    assert torch.equal(
        started.middle[0].residual[0].weight, inpainter.feed_forward.middle[0].residual[0].weight
    )
    assert not started.to_rgb.weight.any()
    tiny_refined().save_pretrained(tmp_path / "given")
    given = {"pretrained_model_name_or_path": str(tmp_path / "given"), "resolution": 0}
    AcceleratorState._reset_state(True)
    run = Run(TrainConfig(**fields_of(**given)))
    assert run.config.resolution == 64 and run.method.networks.training
    assert torch.equal(
        run.method.networks.feed_forward.to_rgb.weight,
        tiny_refined().refiner.feed_forward.to_rgb.weight,
    )
