"""The soft-update mean latent's algebra (InvertFill section 3.2)."""

import math

import pytest
import torch

from inpaint_hub.invertfill import SoftMeanLatent
from inpaint_hub.stylegan2.mapping import MappingNetwork


@pytest.fixture
def make():
    torch.manual_seed(0)
    mapping = MappingNetwork(z_dim=8, w_dim=4, num_layers=2)

    def build(**options):
        defaults = {"w_avg": torch.ones(4), "generator": torch.Generator().manual_seed(0)}
        return SoftMeanLatent(mapping, **{**defaults, **options})

    return build


def test_the_online_latent_moves_a_share_tau_of_the_way(make):
    latent = make(tau=0.25)
    online, target = latent.w_bar_online.clone(), latent.w_bar_target.clone()
    latent.step()
    torch.testing.assert_close(latent.w_bar_online, 0.25 * target + 0.75 * online)
    assert torch.equal(latent.w_bar_target, target)


def test_tau_zero_never_moves_and_tau_one_arrives_at_once(make):
    still = make(tau=0.0)
    before = still.w_bar_online.clone()
    for _ in range(5):
        still.step()
    assert torch.equal(still.w_bar_online, before)
    jumping = make(tau=1.0)
    target = jumping.w_bar_target.clone()
    jumping.step()
    assert torch.equal(jumping.w_bar_online, target)
    assert not torch.equal(jumping.w_bar_target, target)


@pytest.mark.parametrize("tau, tolerance", [(0.1, 0.05), (0.01, 0.05), (0.05, 0.01)])
def test_the_target_stands_until_it_is_reached(make, tau, tolerance):
    latent = make(tau=tau, arrival_tolerance=tolerance)
    target, steps = latent.w_bar_target.clone(), 0
    while torch.equal(latent.w_bar_target, target):
        assert latent.num_resamplings == 0
        latent.step()
        steps += 1
    assert latent.num_resamplings == 1
    assert steps == pytest.approx(math.log(tolerance) / math.log(1 - tau), abs=1)


def test_no_gradient_flows_into_the_mean_latent(make):
    latent = make(tau=1.0)
    for _ in range(2):
        assert not (latent.w_bar_online.requires_grad or latent.w_bar_target.requires_grad)
        latent.step()


def test_static_is_the_generators_average(make):
    latent = make(mode="static")
    for _ in range(3):
        latent.step()
    assert torch.equal(latent.w_bar_online, torch.ones(4))


def test_more_samples_wander_less(make):
    def spread(count):
        latent = make(num_mean_samples=count)
        return torch.stack([latent.sample(torch.ones(4)) for _ in range(64)]).std(dim=0).mean()

    assert spread(1) > 3 * spread(64)


def test_the_state_survives_a_checkpoint_file(make, tmp_path):
    one, other = make(tau=0.05), make(tau=0.05, generator=torch.Generator().manual_seed(9))
    for _ in range(30):
        one.step()
    torch.save(one.state_dict(), tmp_path / "state")
    other.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    first_target = one.w_bar_target
    for _ in range(150):
        one.step()
        other.step()
        assert torch.equal(one.w_bar_online, other.w_bar_online)
        assert torch.equal(one.w_bar_target, other.w_bar_target)
        assert one.num_resamplings == other.num_resamplings
    older = one.state_dict()
    del older["num_resamplings"]
    other.load_state_dict(older)  # a checkpoint from before they were counted
    assert torch.equal(one.w_bar_target, other.w_bar_target) and other.num_resamplings == 0
    assert not torch.equal(one.w_bar_target, first_target)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"mode": "hard"}, "hard"),
        ({"tau": 2}, "tau is 2"),
        ({"num_mean_samples": 0}, "num_mean_samples is 0"),
        ({"arrival_tolerance": 0}, "arrival_tolerance is 0"),
    ],
)
def test_values_outside_their_range_are_errors(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)
