"""Our StyleGAN2 gives the numbers of the two original programs.

tests/fixtures/*.npz hold inputs and outputs computed by rosinality/stylegan2-pytorch and by
NVlabs/stylegan2-ada-pytorch; their weights follow a rule (a seeded normal tensor per key of the
original state dict, `original_tensor` below), so the files hold no weights. See fixtures/README.md.
"""

import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from inpaint_hub.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator

FIXTURES = Path(__file__).parent / "fixtures"


def original_tensor(key, shape):
    """The tensor that the fixtures' rule gives the original program's parameter `key`."""
    r = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(key.encode())))
    if key.endswith("w_avg"):
        return 0.3 * r
    if key.startswith(("style.", "mapping.")):
        return r / 0.01 if key.endswith("weight") else r * 10
    if key.endswith(("modulation.bias", "affine.bias")):
        return 1 + 0.1 * r
    if key.endswith(("noise.weight", "noise_strength")) or (
        key.endswith("bias") and not key.startswith("noises.")
    ):
        return 0.1 * r
    return r


def rosinality_generator_names(resolutions):
    """{our name: (original key, leading axes of size 1 there)}"""
    names = {"synthesis.blocks.4.const": "input.input"}
    convs = [("4.conv", "conv1", 0)]
    rgbs = [("4.to_rgb", "to_rgb1")]
    for k, r in enumerate(resolutions[1:]):
        convs += [
            (f"{r}.up_conv", f"convs.{2 * k}", 2 * k + 1),
            (f"{r}.conv", f"convs.{2 * k + 1}", 2 * k + 2),
        ]
        rgbs += [(f"{r}.to_rgb", f"to_rgbs.{k}")]
    for ours, theirs, noise in convs:
        prefix = f"synthesis.blocks.{ours}"
        names |= {
            f"{prefix}.conv.weight": f"{theirs}.conv.weight",
            f"{prefix}.conv.affine.weight": f"{theirs}.conv.modulation.weight",
            f"{prefix}.conv.affine.bias": f"{theirs}.conv.modulation.bias",
            f"{prefix}.noise_strength": f"{theirs}.noise.weight",
            f"{prefix}.bias": f"{theirs}.activate.bias",
            f"{prefix}.noise_const": f"noises.noise_{noise}",
        }
    for ours, theirs in rgbs:
        prefix = f"synthesis.blocks.{ours}"
        names |= {
            f"{prefix}.conv.weight": f"{theirs}.conv.weight",
            f"{prefix}.conv.affine.weight": f"{theirs}.conv.modulation.weight",
            f"{prefix}.conv.affine.bias": f"{theirs}.conv.modulation.bias",
            f"{prefix}.bias": f"{theirs}.bias",
        }
    return names | {
        f"mapping.layers.{i}.{kind}": f"style.{i + 1}.{kind}"
        for i in range(8)
        for kind in ("weight", "bias")
    }


def nvidia_generator_names(resolutions):
    names = {"w_avg": "mapping.w_avg", "synthesis.blocks.4.const": "synthesis.b4.const"}
    for r in resolutions:
        layers = {"conv": "conv1", "to_rgb": "torgb"} | ({} if r == 4 else {"up_conv": "conv0"})
        for ours, theirs in layers.items():
            a, b = f"synthesis.blocks.{r}.{ours}", f"synthesis.b{r}.{theirs}"
            names |= {
                f"{a}.conv.weight": f"{b}.weight",
                f"{a}.conv.affine.weight": f"{b}.affine.weight",
                f"{a}.conv.affine.bias": f"{b}.affine.bias",
                f"{a}.bias": f"{b}.bias",
            }
            if ours != "to_rgb":
                names |= {
                    f"{a}.noise_strength": f"{b}.noise_strength",
                    f"{a}.noise_const": f"{b}.noise_const",
                }
    return names | {
        f"mapping.layers.{i}.{kind}": f"mapping.fc{i}.{kind}"
        for i in range(8)
        for kind in ("weight", "bias")
    }


def rosinality_discriminator_names(num_blocks):
    names = {"from_rgb.weight": "convs.0.0.weight", "from_rgb.bias": "convs.0.1.bias"}
    for k in range(num_blocks):
        a, b = f"blocks.{k}", f"convs.{k + 1}"
        names |= {
            f"{a}.conv.weight": f"{b}.conv1.0.weight",
            f"{a}.conv.bias": f"{b}.conv1.1.bias",
            f"{a}.down_conv.weight": f"{b}.conv2.1.weight",
            f"{a}.down_conv.bias": f"{b}.conv2.2.bias",
            f"{a}.skip.weight": f"{b}.skip.1.weight",
        }
    return names | {
        "conv.weight": "final_conv.0.weight",
        "conv.bias": "final_conv.1.bias",
        "fc.weight": "final_linear.0.weight",
        "fc.bias": "final_linear.0.bias",
        "out.weight": "final_linear.1.weight",
        "out.bias": "final_linear.1.bias",
    }


def fill_by_rule(model, names):
    """Every tensor of `model` from the rule; randn draws in memory order, so only the count
    matters."""
    state = model.state_dict()
    missing = set(state) - set(names) - {"w_avg"}
    assert not missing, missing
    for ours, theirs in names.items():
        state[ours].copy_(original_tensor(theirs, state[ours].shape).view_as(state[ours]))
    return model.eval().requires_grad_(False)


def assert_reproduces(ours, reference):
    """Largest difference at most 1e-4 of the reference's largest value."""
    reference = torch.from_numpy(reference.astype(np.float32))
    assert ours.shape == reference.shape
    assert (ours - reference).abs().max() <= 1e-4 * reference.abs().max()


@pytest.fixture(scope="module")
def rosinality():
    model = StyleGAN2Generator(resolution=64, channel_base=16384)
    return fill_by_rule(model, rosinality_generator_names(model.resolutions))


@pytest.fixture(scope="module")
def nvidia():
    model = StyleGAN2Generator(resolution=32, z_dim=64, w_dim=64, channel_base=512, channel_max=32)
    return fill_by_rule(model, nvidia_generator_names(model.resolutions))


def test_generator_matches_rosinality_with_one_w_per_layer(rosinality):
    data = np.load(FIXTURES / "rosinality-generator-64.npz")
    w = rosinality.mapping(torch.from_numpy(data["z"].astype(np.float32)))
    assert_reproduces(w, data["w"])
    ws = w[:, None] + 0.05 * torch.arange(rosinality.num_ws)[None, :, None]
    assert_reproduces(rosinality.synthesis(ws), data["image_from_ws"])


def test_generator_matches_rosinality_from_z(rosinality):
    data = np.load(FIXTURES / "rosinality-generator-64.npz")
    assert_reproduces(
        rosinality(torch.from_numpy(data["z"].astype(np.float32))), data["image_from_z"]
    )


@pytest.mark.parametrize(("key", "psi"), [("image", 1.0), ("image_psi07", 0.7)])
def test_generator_matches_nvidia_with_and_without_truncation(nvidia, key, psi):
    data = np.load(FIXTURES / "nvidia-generator-32.npz")
    z = torch.from_numpy(data["z"].astype(np.float32))
    assert_reproduces(nvidia(z, truncation_psi=psi), data[key])


def test_discriminator_matches_rosinality():
    data = np.load(FIXTURES / "rosinality-discriminator-64.npz")
    model = StyleGAN2Discriminator(resolution=64, channel_base=16384)
    fill_by_rule(model, rosinality_discriminator_names(len(model.blocks)))
    assert_reproduces(model(torch.from_numpy(data["x"].astype(np.float32))), data["score"])
