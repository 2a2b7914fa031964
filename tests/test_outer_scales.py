"""Inpainters finer than their generator: what an outer scale sees, adds, and starts as."""

import dataclasses
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from accelerate.state import AcceleratorState
from test_pipelines import (
    SMALL,
    equal_weights,
    mask_of,
    middle_hole,
    photo,
    seeded,
    tiny_gan,
)
from training_runs import fields

from inpaint_hub import DualPathInpainter, DualPathPipeline, PSPEncoder, load_pipeline
from inpaint_hub.compositing import reduced
from inpaint_hub.export import check_onnx, export_onnx
from inpaint_hub.training import TrainConfig, train
from inpaint_hub.training.dualpath import DualPath
from inpaint_hub.training.loop import Run

OPTIONS = {"channels": 8, "dilations": [1, 2], "channel_base": 256, "channel_max": 16}


def random_(parameters, std=0.1):
    for parameter in parameters:
        torch.nn.init.normal_(parameter, std=std)


def outer_inpainter(outer_scales=1, trained=True):
    """With scales and fusions that add something where they are trained."""
    torch.manual_seed(0)
    options = {**OPTIONS, "resolution": 32 << outer_scales, "outer_scales": outer_scales}
    inpainter = DualPathInpainter(**options)
    if trained:
        random_(p for p in inpainter.parameters() if not p.any())
    return inpainter.eval()


def outer_pipeline(outer_scales=1):
    torch.manual_seed(0)
    encoder = PSPEncoder(resolution=32, w_dim=16, **SMALL).eval()
    return DualPathPipeline(encoder, tiny_gan().eval(), outer_inpainter(outer_scales))


def features():
    return {r: torch.randn(2, 16, r, r, generator=seeded(r)) for r in (4, 8, 16)}


def inputs(side=64):
    mask = torch.zeros(2, 1, side, side)
    mask[..., side // 4 : side // 2 + 1, side // 4 + 1 : side // 2] = 1
    return torch.rand(2, 3, side, side, generator=seeded(0)) * (1 - mask), mask


@torch.no_grad()
@pytest.mark.parametrize("before", [0, 1])
def test_it_begins_as_the_smaller_one_enlarged(before):
    smaller = outer_inpainter(before)
    grown = outer_inpainter(before + 1, trained=False)
    grown.grow_from(smaller)
    image, mask = inputs(64 << before)
    fuse = fusing(smaller, reduced(image, mask, 32)[1])
    rgb = smaller.feed_forward.decode(*reduced(image, mask, 32 << before), fuse)[1]
    enlarged = F.interpolate(rgb, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(grown(image, mask, features()), enlarged.tanh())
    layers = grown.feed_forward.inner.state_dict()
    for name, value in smaller.feed_forward.state_dict().items():
        assert torch.equal(layers[name], value), name


def fusing(inpainter, mask):
    def fuse(x):
        r = int(x.shape[-1])
        fused = r in inpainter.fusion_resolutions
        return inpainter.fusions[str(r)](x, features()[r], mask)[0] if fused else x

    return fuse


def test_what_does_not_fit_is_no_start():
    grown = outer_inpainter(1)
    for other in ({"channels": 4}, {"dilations": [1]}, {"channel_base": 512}):
        smaller = DualPathInpainter(**{**OPTIONS, "resolution": 32, **other})
        with pytest.raises(ValueError, match=f"cannot grow.*{next(iter(other))}"):
            grown.grow_from(smaller)
    with pytest.raises(ValueError, match="cannot grow.*resolution"):
        grown.grow_from(DualPathInpainter(**OPTIONS, resolution=64))


def test_every_parameter_learns():
    inpainter = outer_inpainter(2).train()
    image, mask = inputs(128)
    inpainter(image, mask, features()).square().sum().backward()
    assert [n for n, p in inpainter.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_a_fresh_scale_is_awake_after_two_steps():
    inpainter = outer_inpainter(1, trained=False).train()
    optimizer = torch.optim.SGD(inpainter.parameters(), lr=0.1)
    target = torch.rand(2, 3, 64, 64, generator=seeded(5))
    for _ in range(3):
        optimizer.zero_grad()
        (inpainter(*inputs(), features()) - target).abs().mean().backward()
        optimizer.step()
    outer = inpainter.feed_forward.named_parameters()
    assert [n for n, p in outer if not p.grad.any()] == []


@torch.no_grad()
def test_each_scale_sees_more_than_the_one_inside_it():
    inpainter = outer_inpainter(1)
    image, mask = inputs()
    expected = inpainter(image, mask, features())
    finer = image.clone()
    finer[..., 2, 2] += 0.3
    finer[..., 2, 3] -= 0.3  # the same when reduced
    for one, other in zip(reduced(image, mask, 32), reduced(finer, mask, 32)):
        torch.testing.assert_close(one, other)
    assert (inpainter(finer, mask, features()) - expected).abs().max() > 1e-3
    for r, feature in features().items():
        moved = inpainter(image, mask, {**features(), r: feature + 1})
        assert (moved - expected).abs().max() > 1e-3


@pytest.mark.parametrize("resolution, outer_scales", [(64, -1), (64, 2), (32, 1)])
def test_scales_that_do_not_exist_are_errors(resolution, outer_scales):
    with pytest.raises(ValueError, match=f"outer_scales is {outer_scales}, expected .*32 px"):
        DualPathInpainter(resolution=resolution, outer_scales=outer_scales)


@pytest.mark.parametrize("outer_scales", [1, 2])
def test_the_pipeline_inverts_what_is_reduced_and_fills_at_its_own_resolution(
    outer_scales, tmp_path
):
    pipe = outer_pipeline(outer_scales)
    side = 32 << outer_scales
    assert pipe.resolution == side and pipe.gan.resolution == 32
    image, hole = photo((200, 150)), middle_hole((200, 150))
    output = pipe(image, mask_of(hole))
    result = np.array(output.images[0])
    assert np.array_equal(result[~hole], np.array(image)[~hole])
    assert not np.array_equal(result[hole], np.array(image)[hole])
    assert output.generated.shape == (1, 3, side, side)
    assert output.inverted.shape == (1, 3, 32, 32) and set(output.offsets) == {4, 8, 16}
    prepared = pipe.preprocess(image, mask_of(hole))
    seen = prepared.masked(slice(None))
    with torch.no_grad():
        latent = pipe.encoder.invert(*reduced(*seen, 32))
        inverted, semantic = pipe.gan.synthesis(*latent, return_features=True)
        assert torch.equal(output.inverted, inverted)
        assert torch.equal(output.generated, pipe.inpainter(*seen, semantic))
        trained = DualPath(pipe.encoder, pipe.gan, pipe.inpainter, train_inversion=False)
        assert torch.equal(output.generated, trained(*seen)[0])
    pipe.save_pretrained(tmp_path)
    loaded = load_pipeline(tmp_path)
    assert equal_weights(pipe, loaded) and loaded.resolution == side
    assert json.loads((tmp_path / "config.json").read_text())["resolution"] == side
    assert np.array_equal(np.array(loaded(image, mask_of(hole)).images[0]), result)
    optimized = loaded.optimize(dtype=torch.float32)(image, mask_of(hole))
    torch.testing.assert_close(optimized.generated, output.generated, rtol=1e-3, atol=1e-3)


def test_it_is_exported(tmp_path):
    file = tmp_path / "outer.onnx"
    fill = export_onnx(outer_pipeline(), file)
    assert fill.resolution == 64 and check_onnx(fill, file) < 1e-4


def test_a_generator_of_another_size_is_refused():
    encoder, gan, _ = outer_pipeline().components.values()
    with pytest.raises(ValueError, match="resolution is 64 for the inpainter and 32 for gan"):
        DualPathPipeline(encoder, gan, DualPathInpainter(**OPTIONS, resolution=64))


@pytest.mark.parametrize("changed", [{"outer_scales": -1}, {"method": "psp"}])
def test_only_dual_path_has_them(place, tmp_path, changed):
    chosen = {**fields(place, tmp_path, "dualpath"), "outer_scales": 1, **changed}
    with pytest.raises(ValueError, match="--outer_scales is .*--method"):
        TrainConfig(**chosen)


def run_of(place, output_dir, **options):
    AcceleratorState._reset_state(True)
    chosen = fields(place, output_dir, "dualpath", resolution=0, **options)
    return TrainConfig(**{**chosen, "max_train_steps": 1, "inpainter_channels": 8})


def test_it_is_trained_around_another_and_gone_on_with(place, tmp_path):
    train(run_of(place, tmp_path / "small"))
    small = str(tmp_path / "small")
    config = run_of(place, tmp_path / "large", grow_from=small, outer_scales=1)
    config = dataclasses.replace(config, pretrained_model_name_or_path=small)
    run = Run(config)
    inner = run.method.networks.inpainter.feed_forward.inner
    assert run.config.resolution == 64
    given = load_pipeline(small).inpainter.feed_forward
    assert torch.equal(inner.to_rgb.weight, given.to_rgb.weight)
    AcceleratorState._reset_state(True)
    train(config)
    large = load_pipeline(tmp_path / "large")
    assert large.resolution == 64 and large.gan.resolution == 32
    assert large.inpainter.feed_forward.to_rgb.weight.any()  # it learned
    going_on = run_of(place, tmp_path / "on")
    going_on = dataclasses.replace(going_on, pretrained_model_name_or_path=str(tmp_path / "large"))
    run = Run(going_on)
    assert run.config.resolution == 64 and run.method.networks.inpainter.outer_scales == 1
    again = run_of(place, tmp_path / "again", grow_from=str(tmp_path / "large"), outer_scales=2)
    again = dataclasses.replace(again, pretrained_model_name_or_path=str(tmp_path / "large"))
    assert Run(again).config.resolution == 128
    scratch = Run(run_of(place, tmp_path / "scratch", outer_scales=1))
    assert scratch.config.resolution == 64  # twice the given inversion's
    AcceleratorState._reset_state(True)
    wrong = dataclasses.replace(config, resolution=32, output_dir=str(tmp_path / "wrong"))
    with pytest.raises(ValueError, match="makes 32 px pictures, doubled 1 times; use 64"):
        Run(wrong)
