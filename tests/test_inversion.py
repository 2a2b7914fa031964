"""Backbones, style heads and pSp's encoder."""

import pytest
import torch
import torch.nn.functional as F
from test_pipelines import tiny_gan, tiny_pipeline

from inpaint_hub import (
    InvertFillPipeline,
    LahiriEncoder,
    LahiriPipeline,
    PSPEncoder,
    PSPPipeline,
)
from inpaint_hub.inversion.backbone import BACKBONES, build_backbone, encoder_input
from inpaint_hub.inversion.style_heads import MapToStyle, level_of
from inpaint_hub.training.inversion import Inversion

SMALL = {"backbone": "small", "backbone_width": 8, "style_channels": 16}


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_a_pyramid_has_a_sixteenth_an_eighth_and_a_quarter_of_its_input(name):
    pyramid = build_backbone(name, in_channels=4, width=16).eval()
    levels = pyramid(torch.randn(2, 4, 64, 64))
    assert [tuple(x.shape) for x in levels] == [(2, pyramid.out_channels, r, r) for r in (4, 8, 16)]


def test_the_coarse_map_reaches_the_fine_one():
    pyramid = build_backbone("small", in_channels=4, width=8)
    pyramid(torch.randn(1, 4, 32, 32))[2].square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in pyramid.trunk.stages[3].parameters())


def test_the_original_trunk_has_the_papers_parts():
    pyramid = build_backbone("irse50", in_channels=3, width=64)
    assert [len(stage) for stage in pyramid.trunk.stages] == [3, 4, 14, 3]
    assert pyramid.out_channels == 512 and pyramid.trunk.channels == [128, 256, 512]
    millions = sum(p.numel() for p in pyramid.trunk.parameters()) / 1e6
    assert millions == pytest.approx(31.0, abs=0.6)  # the count published for pSp's trunk


def test_style_heads_have_the_published_numbers_of_parameters():
    counts = [
        sum(p.numel() for p in MapToStyle(spatial, 512, 512, 512).parameters()) / 1e6
        for spatial in (16, 32, 64)
    ]
    assert counts == pytest.approx([9.70, 12.06, 14.42], abs=0.01)


def test_layers_are_split_at_three_and_seven():
    assert [level_of(i) for i in range(14)] == [0] * 3 + [1] * 4 + [2] * 7


def test_unknown_backbones_and_small_inputs_are_errors():
    with pytest.raises(ValueError, match="vgg"):
        build_backbone("vgg", 4, 8)
    for size in (16, 48):
        with pytest.raises(ValueError, match=str(size)):
            PSPEncoder(resolution=64, w_dim=8, input_size=size, **SMALL)


@pytest.mark.parametrize("name, width", [("irse50", 8), ("irse50", 40), ("small", 12)])
def test_widths_that_do_not_divide_are_errors_that_propose_one_that_does(name, width):
    with pytest.raises(ValueError, match=f"backbone_width is {width}.*choose") as error:
        build_backbone(name, 4, width)
    build_backbone(name, 4, int(str(error.value).split()[-1]))


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_every_parameter_of_every_backbone_gets_a_gradient(name):
    torch.manual_seed(0)
    pyramid = build_backbone(name, in_channels=4, width=16)
    sum(x.square().sum() for x in pyramid(torch.randn(2, 4, 64, 64))).backward()
    assert [n for n, p in pyramid.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_large_pictures_are_averaged_down_to_the_encoders_size():
    image, mask = torch.randn(1, 3, 64, 64), torch.ones(1, 1, 64, 64)
    x = encoder_input(image, mask, 32, mask_channel=True)
    assert x.shape == (1, 4, 32, 32)
    torch.testing.assert_close(x[0, :3, 0, 0], image[0, :, :2, :2].mean(dim=(1, 2)))


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return PSPEncoder(resolution=32, w_dim=8, **SMALL)


def inputs(n=2):
    mask = torch.zeros(n, 1, 32, 32)
    mask[..., 8:20, 8:20] = 1
    return torch.randn(n, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * (1 - mask), mask


def test_codes_are_offsets_from_the_mean_latent(encoder):
    before = encoder(*inputs())
    encoder.set_w_avg(torch.full([8], 2.0))
    torch.testing.assert_close(encoder(*inputs()), before + 2)
    assert before.shape == (2, 8, 8)


def test_every_parameter_gets_a_gradient(encoder):
    encoder(*inputs()).square().sum().backward()
    assert [n for n, p in encoder.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_the_mask_is_seen_exactly_when_asked_for(encoder):
    image, mask = inputs()
    assert not torch.equal(encoder(image, mask), encoder(image, 0 * mask))
    blind = PSPEncoder(resolution=32, w_dim=8, mask_channel=False, **SMALL)
    assert torch.equal(blind(image, mask), blind(image, 0 * mask))


def test_the_mean_latent_is_saved_with_the_encoder(encoder, tmp_path):
    encoder.set_w_avg(torch.linspace(-1, 1, 8))
    encoder.save_pretrained(tmp_path)
    loaded = PSPEncoder.from_pretrained(tmp_path)
    assert torch.equal(loaded.w_avg, encoder.w_avg)
    assert torch.equal(loaded(*inputs()), encoder.eval()(*inputs()))


def test_a_batch_is_its_pictures_one_by_one(encoder):
    image, mask = inputs(3)
    together = encoder(image, mask)
    for n in range(3):
        alone = encoder(image[n : n + 1], mask[n : n + 1])
        torch.testing.assert_close(together[n : n + 1], alone, rtol=1e-4, atol=1e-5)


def test_a_grown_encoder_says_of_the_averaged_picture_what_the_smaller_one_said(encoder):
    encoder.set_w_avg(torch.full([8], 2.0))
    grown = PSPEncoder(resolution=64, input_size=32, w_dim=8, **SMALL)
    grown.grow_from(encoder)
    image, mask = torch.randn(2, 3, 64, 64), torch.rand(2, 1, 64, 64).round()
    ws = grown(image, mask)
    expected = encoder(*(F.interpolate(x, 32, mode="area") for x in (image, mask)))
    torch.testing.assert_close(ws, expected[:, [*range(8), 7, 7]])


@pytest.mark.parametrize("cls", [InvertFillPipeline, PSPPipeline, LahiriPipeline])
@torch.no_grad()
def test_one_inversion_serves_filling_and_training(cls):
    if cls is LahiriPipeline:
        torch.manual_seed(0)
        pipe = cls(LahiriEncoder(resolution=32, z_dim=16, **SMALL).eval(), tiny_gan().eval())
    else:
        pipe = tiny_pipeline(cls)
    random = torch.Generator().manual_seed(0)
    mask = (torch.rand(2, 1, 32, 32, generator=random) > 0.5).float()
    masked_image = torch.randn(2, 3, 32, 32, generator=random) * (1 - mask)
    latent = pipe.encoder.invert(masked_image, mask, pipe.gan)
    encoded = pipe.encode(masked_image, mask)
    assert torch.equal(latent.ws, encoded.ws) and latent.ws.shape == (2, pipe.gan.num_ws, 16)
    assert all(torch.equal(f, encoded.features[r]) for r, f in latent.features.items())
    generated, _ = Inversion(pipe.encoder, pipe.gan)(masked_image, mask)
    assert torch.equal(generated, pipe.generate(latent))
