"""Losses against values computed by hand."""

import os

import pytest
import torch
from safetensors.torch import save_file

from inpaint_hub.losses.fidelity import fidelity_loss
from inpaint_hub.losses.objective import InvertFillObjective, LossWeights
from inpaint_hub.losses.perceptual import (
    SqueezeNetFeatures,
    VGG16Features,
    gram,
    load_perceptual_network,
    perceptual_loss,
    style_loss,
)
from inpaint_hub.losses.reconstruction import hole_loss, tv_loss, valid_loss
from inpaint_hub.training.small_presets import faces64_invertfill, faces64_psp


def picture(values):
    """[1,3,2,2] with the same 2x2 values in each channel."""
    return torch.tensor(values, dtype=torch.float32).expand(1, 3, 2, 2)


MASK = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])


def test_pixel_losses_divide_by_the_full_area():
    generated, image = picture([[1.0, 0.5], [0.0, 0.0]]), picture([[0.2, 0.0], [0.0, 0.0]])
    assert hole_loss(generated, image, MASK).item() == pytest.approx(0.8 / 4)
    assert valid_loss(generated, image, MASK).item() == pytest.approx(0.5 / 4)
    assert valid_loss(generated, image, 1 - MASK).item() == pytest.approx(0.8 / 4)


def test_total_variation_sees_the_hole_alone():
    composited = picture([[0.8, 0.3], [0.9, 0.1]])
    # Times the mask: [[.8, 0], [0, 0]]; vertical differences (.8, 0), horizontal (.8, 0).
    assert tv_loss(composited, MASK).item() == pytest.approx(0.8 / 2 + 0.8 / 2)
    other = picture([[0.8, 0.7], [0.2, 0.6]])
    assert tv_loss(other, MASK).item() == pytest.approx(tv_loss(composited, MASK).item())


def test_gram_matrices_and_style_loss():
    x = torch.tensor([[[[1.0, 2.0]], [[0.0, 3.0]]]])  # two channels of 1 x 2
    assert gram(x)[0].tolist() == [[5.0, 6.0], [6.0, 9.0]]
    zero = torch.zeros_like(x)
    # mean of |Gram| is (5 + 6 + 6 + 9) / 4, divided by C H W = 4
    assert style_loss([x], [zero]).item() == pytest.approx(6.5 / 4)
    assert perceptual_loss([x, x], [zero, zero]).item() == pytest.approx(2 * 6 / 4)


def test_fidelity_is_a_mean_square_in_deviations():
    ws, w_bar = torch.full((2, 3, 4), 3.0), torch.ones(4)
    assert fidelity_loss(ws, w_bar).item() == pytest.approx(4)
    assert fidelity_loss(ws, w_bar, torch.full([4], 2.0)).item() == pytest.approx(1)


class Identity(torch.nn.Module):
    def forward(self, images01):
        return [images01]


@pytest.fixture
def scene():
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(2, 3, 64, 64, generator=generator) * 2 - 1
    generated = torch.rand(2, 3, 64, 64, generator=generator) * 2 - 1
    mask = torch.zeros(2, 1, 64, 64)
    mask[..., 16:40, 20:50] = 1
    ws = torch.randn(2, 10, 4, generator=generator)
    coarse = [torch.rand(2, 3, r, r, generator=generator) * 2 - 1 for r in (4, 8, 16)]
    return image, mask, generated, coarse, ws


def test_the_weights_are_those_that_were_chosen():
    assert LossWeights() == LossWeights(1, 6, 0.05, 120, 0.1, multi_scale=0.5, fidelity=0.1)


def test_the_total_is_equation_seven(scene):
    image, mask, generated, coarse, ws = scene
    weights = LossWeights(1, 6, 0.05, 120, 0.1, multi_scale=0.5, fidelity=0.3)
    total, logs = InvertFillObjective(Identity(), weights)(
        image, mask, generated, coarse, ws, torch.zeros(4)
    )
    inpainting = (
        logs["valid_loss"]
        + 6 * logs["hole_loss"]
        + 0.05 * logs["perceptual_loss"]
        + 120 * logs["style_loss"]
        + 0.1 * logs["tv_loss"]
    )
    torch.testing.assert_close(logs["inpainting_loss"], inpainting)
    expected = inpainting + 0.5 * logs["multi_scale_loss"] + 0.3 * logs["fidelity_loss"]
    torch.testing.assert_close(total, expected)
    assert set(logs) == {
        f"{n}_loss"
        for n in "valid hole perceptual style tv inpainting multi_scale fidelity".split()
    }


def test_perceptual_terms_hold_the_raw_and_the_composited_picture_in_zero_to_one(scene):
    image, mask, generated, coarse, ws = scene
    _, logs = InvertFillObjective(Identity())(image, mask, generated, coarse, ws, torch.zeros(4))
    difference = (generated - image).abs() / 2
    expected = difference.mean() + (difference * mask).mean()
    torch.testing.assert_close(logs["perceptual_loss"], expected)
    torch.testing.assert_close(logs["hole_loss"], (difference * mask).mean())


def test_style_holds_the_composite_too_and_total_variation_holds_it_alone(scene):
    image, mask, generated, _, ws = scene
    _, logs = InvertFillObjective(Identity())(image, mask, generated, [], ws, torch.zeros(4))
    real, fake = (image + 1) / 2, (generated + 1) / 2
    mixed = torch.where(mask > 0, fake, real)
    expected = style_loss([fake], [real]) + style_loss([mixed], [real])
    torch.testing.assert_close(logs["style_loss"], expected)
    outside = generated.masked_fill(mask == 0, float("nan"))
    _, other = InvertFillObjective(Identity())(image, mask, outside, [], ws, torch.zeros(4))
    torch.testing.assert_close(other["tv_loss"], logs["tv_loss"])


def test_the_multi_scale_loss_is_a_mean_square_and_the_weighted_network_terms(scene):
    image, mask, generated, _, ws = scene
    black = -torch.ones(2, 3, 16, 16)
    no_network = InvertFillObjective(Identity(), LossWeights(perceptual=0, style=0))
    _, logs = no_network(image, mask, generated, [black, black], ws, torch.zeros(4))
    target = torch.nn.functional.avg_pool2d((image + 1) / 2, 4)
    torch.testing.assert_close(logs["multi_scale_loss"], 2 * target.square().mean())
    perceptual = InvertFillObjective(Identity(), LossWeights(perceptual=3, style=0))
    _, more = perceptual(image, mask, generated, [black, black], ws, torch.zeros(4))
    added = more["multi_scale_loss"] - logs["multi_scale_loss"]
    torch.testing.assert_close(added, 2 * 3 * target.mean(), rtol=0.02, atol=0)  # enlarging blurs


def test_the_true_picture_costs_nothing_but_its_edges(scene):
    image, mask, _, _, _ = scene
    coarse = [torch.nn.functional.interpolate(image, r, mode="area") for r in (4, 8, 16)]
    _, logs = InvertFillObjective(Identity())(
        image, mask, image, coarse, torch.zeros(2, 10, 4), torch.zeros(4)
    )
    zero = {k: v.item() for k, v in logs.items() if k not in ("tv_loss", "inpainting_loss")}
    assert all(abs(v) < 1e-4 for v in zero.values()), zero


@pytest.mark.parametrize("network_class", [SqueezeNetFeatures, VGG16Features])
def test_networks_load_by_key_name_frozen_and_have_three_maps(network_class, tmp_path):
    torch.manual_seed(0)
    state = {k: v.half().contiguous() for k, v in network_class().state_dict().items()}
    state["classifier.1.weight"] = torch.zeros(2, 2)  # what the losses do not need is left out
    save_file(state, tmp_path / "network.safetensors")
    network = load_perceptual_network(tmp_path / "network.safetensors")
    assert isinstance(network, network_class)
    assert not any(p.requires_grad for p in network.parameters())
    images = torch.rand(1, 3, 64, 64, requires_grad=True)
    maps = network(images)
    assert [m.shape[1] for m in maps] == [64, 128, 256]
    assert all(abs(m.shape[2] - side) <= 1 for m, side in zip(maps, (32, 16, 8)))
    sum(m.sum() for m in maps).backward()
    assert images.grad.abs().sum() > 0


def test_squeezenet_sees_bgr_minus_its_mean():
    network = SqueezeNetFeatures()
    conv = network.features["0"]
    torch.nn.init.zeros_(conv.weight)
    conv.weight.data[0, 0] = 1 / 9  # the first output averages the first input channel: blue
    torch.nn.init.zeros_(conv.bias)
    blue = torch.zeros(1, 3, 32, 32)
    blue[:, 2] = 1
    assert network(blue)[0][0, 0].mean().item() == pytest.approx(255 - 104, rel=1e-4)


def test_squeezenets_pools_round_up():
    """At 64 px the maps are 31, 15 and 7 either way; at 66 px (32 -> 15.5) they round up."""
    sides = [m.shape[-1] for m in SqueezeNetFeatures()(torch.rand(1, 3, 66, 66))]
    assert sides == [32, 16, 8]


def test_vgg_sees_pictures_as_they_are():
    network = VGG16Features()
    conv = network.features["0"]
    torch.nn.init.zeros_(conv.bias)
    captured = []
    conv.register_forward_pre_hook(lambda module, inputs: captured.append(inputs[0]))
    images = torch.rand(1, 3, 16, 16)
    network(images)
    assert torch.equal(captured[0], images)


def test_squeezenet_weights_are_those_of_the_presets():
    weights = LossWeights.squeezenet()
    assert (weights.valid, weights.hole, weights.tv) == (1, 6, 0.1)
    for preset in (faces64_invertfill(), faces64_psp()):
        assert preset["perceptual_weight"] == weights.perceptual
        assert preset["style_weight"] == weights.style


def test_missing_or_strange_networks_say_what_was_expected(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.safetensors"):
        load_perceptual_network(tmp_path / "nowhere.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="neither VGG-16 nor SqueezeNet"):
        load_perceptual_network(tmp_path / "other.safetensors")
    (tmp_path / "pickled.pth").write_bytes(b"PK" * 100)
    with pytest.raises(ValueError, match="is no safetensors file"):
        load_perceptual_network(tmp_path / "pickled.pth")
    state = {k: v.contiguous() for k, v in SqueezeNetFeatures().state_dict().items()}
    state["features.0.weight"] = torch.zeros(96, 3, 7, 7)  # SqueezeNet 1.0's stem
    save_file(state, tmp_path / "older.safetensors")
    with pytest.raises(ValueError, match="key names and shapes"):
        load_perceptual_network(tmp_path / "older.safetensors")


@pytest.mark.skipif(os.environ.get("HF_HUB_OFFLINE") != "1", reason="would download")
def test_vgg_without_a_network_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="timm/vgg16.tv_in1k.*connect once"):
        load_perceptual_network("vgg16")
