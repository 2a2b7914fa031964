"""A path of more channels that begins as a narrower one's function (Net2Net)."""

import pytest
import torch
from accelerate.state import AcceleratorState
from training_runs import fields

from inpaint_hub import DualPathInpainter, FeedForwardPipeline
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


@pytest.mark.parametrize(
    "changed", [{"method": "dualpath"}, {"pretrained_model_name_or_path": ""}, {"widen": 0}]
)
def test_what_is_not_given_cannot_be_widened(place, tmp_path, changed):
    chosen = fields(place, tmp_path, "feedforward", widen=2)
    chosen["pretrained_model_name_or_path"] = "given"
    with pytest.raises(ValueError, match="--widen"):
        TrainConfig(**{**chosen, **changed})
