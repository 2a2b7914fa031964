"""The plain StyleGAN2 of the benchmarks: the same function as the package's, and trainable."""

import pytest
import torch

from benchmarks.reference_stylegan2 import ReferenceDiscriminator, ReferenceGenerator
from inpaint_hub import StyleGAN2Discriminator, StyleGAN2Generator

SIZES = {"resolution": 32, "channel_base": 512, "channel_max": 32}


@pytest.fixture(scope="module")
def generators():
    torch.manual_seed(0)
    gan = StyleGAN2Generator(z_dim=16, w_dim=16, num_mapping_layers=2, **SIZES)
    for name, parameter in gan.named_parameters():
        if name.endswith(("noise_strength", "bias")):
            parameter.data.normal_()
    reference = ReferenceGenerator(**gan.config)
    reference.load_state_dict(gan.state_dict())
    return gan, reference


def relative_error(value, expected):
    return ((value - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize("noise_mode", ["const", "random", "none"])
def test_both_generators_draw_the_same_picture(generators, noise_mode):
    z, other = torch.randn(2, 3, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        pictures = [
            g(
                z,
                noise_mode=noise_mode,
                generator=torch.Generator().manual_seed(2),
                mixing_z=other,
                crossover=torch.tensor([1, 4, 8]),
            )
            for g in generators
        ]
    assert relative_error(*pictures) < 1e-5


def test_both_generators_take_features(generators):
    gan, reference = generators
    random = torch.Generator().manual_seed(3)
    ws = torch.randn(2, gan.num_ws, 16, generator=random)
    features = {
        r: torch.randn(2, gan.channels_at(r), r, r, generator=random) for r in gan.resolutions
    }
    rgb_features = {8: torch.randn(2, 3, 8, 8, generator=random)}
    with torch.no_grad():
        pictures = [g.synthesis(ws, features, rgb_features) for g in generators]
    assert relative_error(*pictures) < 1e-5


@pytest.mark.parametrize("mask_channel", [False, True])
def test_both_discriminators_judge_alike(mask_channel):
    torch.manual_seed(0)
    ours = StyleGAN2Discriminator(mask_channel=mask_channel, **SIZES)
    reference = ReferenceDiscriminator(**ours.config)
    reference.load_state_dict(ours.state_dict())
    inputs = [torch.randn(8, 3, 32, 32)] + [torch.rand(8, 1, 32, 32)] * mask_channel
    with torch.no_grad():
        assert relative_error(reference(*inputs), ours(*inputs)) < 1e-5


def test_every_parameter_of_the_reference_learns(generators):
    torch.manual_seed(0)
    _, generator = generators
    discriminator = ReferenceDiscriminator(**SIZES)
    discriminator(generator(torch.randn(4, 16))).sum().backward()
    for network in (generator, discriminator):
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert name == "out.bias" or parameter.grad.abs().max() > 0, name
