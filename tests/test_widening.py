"""A path of more channels that begins as a narrower one's function (Net2Net)."""

import pytest
import torch
from accelerate.state import AcceleratorState
from training_runs import fields

from inpaint_hub import DualPathInpainter, DualPathPipeline, FeedForwardPipeline
from inpaint_hub.dualpath.deformable_fusion import DeformableAlignment
from inpaint_hub.dualpath.widening import widen
from inpaint_hub.training import TrainConfig, train
from inpaint_hub.training.loop import Run


def inpainter_of(channels, **options):
    torch.manual_seed(channels)
    options = {"resolution": 32, "dilations": [1, 2], "fusion": "none", **options}
    inpainter = DualPathInpainter(channels=channels, **options)
    for parameter in inpainter.parameters():
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return inpainter


def inputs(side=32):
    mask = torch.zeros(2, 1, side, side)
    mask[..., 8:20, 9:21] = 1
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0)) * (
        1 - mask
    ), mask


@torch.no_grad()
@pytest.mark.parametrize("factor", [1, 2, 3])
@pytest.mark.parametrize("outer", [{}, {"resolution": 64, "outer_scales": 1}])
def test_a_widened_path_fills_as_the_narrow_one(factor, outer):
    narrow, wide = inpainter_of(4, **outer), inpainter_of(4 * factor, **outer)
    seen = inputs(narrow.resolution)
    widen(wide.feed_forward, narrow.feed_forward)
    torch.testing.assert_close(wide(*seen), narrow(*seen), rtol=1e-4, atol=1e-5)
    if factor == 1:
        assert torch.equal(wide(*seen), narrow(*seen))


@torch.no_grad()
@pytest.mark.parametrize("deform", ["v1", "v2"])
@pytest.mark.parametrize("fusion", ["deformable", "concat"])
def test_a_widened_inpainter_moves_the_generators_features_alike(fusion, deform):
    """16, 16, 8 channels become 64, 64, 32: of the first two 8 groups have offsets then."""
    sides = [4, 8, 16]
    options = {"channel_base": 64, "channel_max": 8, "fusion": fusion, "deform": deform}
    narrow, wide = inpainter_of(4, **options), inpainter_of(16, **options)
    for name, parameter in narrow.fusions.named_parameters():
        if "to_offset" in name or "update" in name:  # they begin as zero
            torch.nn.init.normal_(parameter, std=0.3)
    semantic = {r: torch.randn(2, narrow.fusions[str(r)].from_semantic.in_channels, r, r)
                for r in sides}  # fmt: skip
    widen(wide, narrow)
    fill, offsets = narrow(*inputs(), semantic, return_offsets=True)
    same, same_offsets = wide(*inputs(), semantic, return_offsets=True)
    torch.testing.assert_close(same, fill, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(narrow(*inputs(), {r: 2 * f for r, f in semantic.items()}), fill)
    for r, offset in offsets.items():
        groups = same_offsets[r].unflatten(1, (-1, 18))
        assert groups.shape[1] == (1 if r == 16 else 8)
        torch.testing.assert_close(groups, offset[:, None].expand_as(groups), rtol=1e-4, atol=1e-4)
    assert bool(offsets) == (fusion == "deformable")


@torch.no_grad()
def test_groups_of_offsets_stay_with_their_channels():
    torch.manual_seed(0)
    narrow = DeformableAlignment(8, 2, "v2")
    wide = DeformableAlignment(16, 4, "v2")
    torch.nn.init.normal_(narrow.to_offset.weight)
    torch.nn.init.normal_(narrow.to_offset.bias)
    widen(wide, narrow)
    x, f, mask = torch.randn(3, 1, 8, 8, 8)[:2].unbind(0) + (torch.zeros(1, 1, 8, 8),)
    aligned, offset = narrow(x, f, mask)
    same, same_offset = wide(*(v.repeat_interleave(2, dim=1) for v in (x, f)), mask)
    torch.testing.assert_close(same, aligned.repeat_interleave(2, dim=1), rtol=1e-4, atol=1e-4)
    groups = offset.unflatten(1, (2, 18)).repeat_interleave(2, dim=1)
    torch.testing.assert_close(same_offset.unflatten(1, (4, 18)), groups, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_noise_tells_a_channels_copies_apart_and_is_the_seeds():
    narrow = inpainter_of(4).feed_forward
    paths = [inpainter_of(8).feed_forward for _ in range(3)]
    for path, seed in zip(paths, (0, 0, 1)):
        widen(path, narrow, noise=0.1, seed=seed)
    one, same, other = (path.middle[0].residual[0].weight for path in paths)
    assert torch.equal(one, same) and not torch.equal(one, other)
    exact = narrow.middle[0].residual[0].weight
    exact = exact.repeat_interleave(2, dim=0).repeat_interleave(2, dim=1) / 2
    added = one - exact
    assert not torch.equal(added[0::2], added[1::2])
    assert not torch.equal(added[:, 0::2], added[:, 1::2])
    assert added.std().item() == pytest.approx(0.1 * exact.std().item(), rel=0.1)
    norm = paths[0].middle[0].residual[1].weight
    assert torch.equal(norm, narrow.middle[0].residual[1].weight.repeat_interleave(2))


def test_training_goes_on_with_more_channels(place, tmp_path):
    FeedForwardPipeline(inpainter_of(4)).save_pretrained(tmp_path / "narrow")
    narrow = str(tmp_path / "narrow")
    chosen = fields(place, tmp_path / "wide", "feedforward", widen=2, max_train_steps=1)
    AcceleratorState._reset_state(True)
    config = TrainConfig(**{**chosen, "pretrained_model_name_or_path": narrow})
    started = Run(config).method.networks
    assert started.config["channels"] == 8
    with torch.no_grad():
        error = (started(*inputs()) - inpainter_of(4)(*inputs())).abs().mean()
        random_error = (inpainter_of(8)(*inputs()) - inpainter_of(4)(*inputs())).abs().mean()
    assert 1e-4 < error < 0.3 * random_error  # more than rounding: copies have noise
    AcceleratorState._reset_state(True)
    done = train(config)
    assert FeedForwardPipeline.from_pretrained(done).inpainter.config["channels"] == 8


def test_training_goes_on_with_a_wider_dual_path(place, tmp_path):
    AcceleratorState._reset_state(True)
    narrow = train(TrainConfig(**fields(place, tmp_path / "narrow", "dualpath", max_train_steps=1)))
    chosen = fields(place, tmp_path / "wide", "dualpath", widen=2, max_train_steps=1)
    chosen["pretrained_model_name_or_path"] = str(narrow)
    AcceleratorState._reset_state(True)
    config = TrainConfig(**chosen)
    given = DualPathPipeline.from_pretrained(narrow).inpainter
    started = Run(config).method.networks.inpainter
    assert started.training and started.config == {**given.config, "channels": 8}
    features = {
        r: torch.ones(2, x.from_semantic.in_channels, int(r), int(r))
        for r, x in ((int(r), x) for r, x in given.fusions.items())
    }
    torch.manual_seed(1)
    other = DualPathInpainter(**started.config)
    with torch.no_grad():
        fill = given(*inputs(), features)
        error, random_error = (
            (x(*inputs(), features) - fill).abs().mean() for x in (started, other)
        )
    assert 1e-4 < error < 0.3 * random_error
    AcceleratorState._reset_state(True)
    assert DualPathPipeline.from_pretrained(train(config)).inpainter.config["channels"] == 8


def test_an_inversion_alone_has_nothing_to_widen(place, tmp_path):
    AcceleratorState._reset_state(True)
    with pytest.raises(ValueError, match="--widen is 2 .* no inpainter"):
        Run(TrainConfig(**fields(place, tmp_path, "dualpath", widen=2)))


@pytest.mark.parametrize(
    "changed",
    [
        {"method": "psp"},
        {"grow_from": "given"},
        {"pretrained_model_name_or_path": ""},
        {"widen": 0},
    ],
)
def test_what_is_not_given_cannot_be_widened(place, tmp_path, changed):
    chosen = fields(place, tmp_path, "feedforward", widen=2)
    chosen["pretrained_model_name_or_path"] = "given"
    with pytest.raises(ValueError, match="--widen"):
        TrainConfig(**{**chosen, **changed})
