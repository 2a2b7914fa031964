"""InvertFill's encoder: Eq. (1)-(3), its initialization, and its arms."""

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from inpaint_hub import FWLatent, InvertFillEncoder, InvertFillPipeline, StyleGAN2Generator
from inpaint_hub.compositing import mask_out
from inpaint_hub.invertfill.pre_modulation import PreModulation, instance_norm
from inpaint_hub.stylegan2.resample import downsample

TINY = {"resolution": 32, "w_dim": 16, "channel_base": 256, "channel_max": 16}
SMALL = {
    "backbone": "small",
    "backbone_width": 8,
    "style_channels": 16,
    "structure_channels": 16,
}


ARMS = [
    {},
    {"beta_sees_w": True},
    {"shared_fc": True},
    {"premodulation": False},
    {"fw_mode": "rgb"},
    {"fw_mode": "none"},
    {"mask_channel": False},
]


def make(**options):
    torch.manual_seed(0)
    return InvertFillEncoder(**TINY, **{**SMALL, **options})


@pytest.fixture(scope="module")
def gan():
    torch.manual_seed(1)
    return StyleGAN2Generator(z_dim=16, num_mapping_layers=2, **TINY).eval()


def inputs(n=2):
    mask = torch.zeros(n, 1, 32, 32)
    mask[..., 8:20, 8:20] = 1
    return torch.randn(n, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * (1 - mask), mask


def test_shapes_are_those_of_the_symbol_table():
    output = make()(*inputs())
    assert output.latent.ws.shape == (2, 8, 16)
    assert [tuple(o.shape) for o in output.coarse] == [(2, 3, r, r) for r in (2, 4, 8)]
    assert output.level_codes.shape == output.structure.shape == (2, 3, 16)
    assert {r: tuple(f.shape) for r, f in output.latent.features.items()} == {
        4: (2, 16, 4, 4),
        8: (2, 16, 8, 8),
        16: (2, 16, 16, 16),
        32: (2, 8, 32, 32),
    }


def tensors_of(output):
    latent = output.latent
    maps = [*latent.features.values(), *latent.rgb_features.values()]
    return [latent.ws, *maps, *output.coarse, output.level_codes, output.structure]


def wake(encoder):
    """Zero-initialized convolutions hide what feeds them: give them values."""
    for parameter in encoder.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return encoder


def test_instance_norm_gives_each_level_mean_zero_and_deviation_one():
    codes = torch.randn(4, 3, 512) * torch.tensor([1.0, 50.0, 0.1])[:, None] + 7
    normalized = instance_norm(codes)
    torch.testing.assert_close(normalized.mean(dim=-1), torch.zeros(4, 3), atol=1e-4, rtol=0)
    torch.testing.assert_close(
        normalized.std(dim=-1, unbiased=False), torch.ones(4, 3), atol=2e-3, rtol=0
    )
    with pytest.raises(ValueError, match=r"\(4, 3, 1\)"):
        instance_norm(codes[..., :1])


def test_pre_modulation_is_equation_one():
    layer = PreModulation(w_dim=16, level=1)
    level_codes, structure = torch.randn(2, 2, 3, 16)
    S = structure[:, 1]
    gamma = S @ layer.gamma.weight.T + layer.gamma.bias
    beta = S @ layer.beta.weight.T + layer.beta.bias
    w_prime = level_codes[:, 1]
    mean, variance = w_prime.mean(1, keepdim=True), w_prime.var(1, unbiased=False, keepdim=True)
    expected = gamma * (w_prime - mean) / (variance + 1e-5).sqrt() + beta
    actual = layer(level_codes, instance_norm(level_codes), structure)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"beta_sees_w": True}, {"shared_fc": True}], ids=str)
def test_the_first_style_vectors_are_the_mean_plus_one_deviation_times_the_normalized_code(options):
    mean, std = torch.linspace(-1, 1, 16), torch.linspace(0.1, 0.5, 16)
    encoder = make(**options)
    encoder.initialize_latents(mean, std)
    output = encoder(*inputs())
    normalized = instance_norm(output.level_codes)
    for row, level in enumerate([0, 0, 0, 1, 1, 1, 1, 2]):
        expected = mean + std * normalized[:, level]
        torch.testing.assert_close(output.latent.ws[:, row], expected, atol=0.05, rtol=0)


def test_the_first_style_vectors_lie_inside_a_real_generators_domain(gan):
    mean, std = gan.w_statistics(generator=torch.Generator().manual_seed(0))
    encoder = make()
    encoder.initialize_latents(mean, std)
    z_scores = (encoder(*inputs()).latent.ws - mean) / std
    assert z_scores.abs().max() < 4
    assert z_scores.std().item() == pytest.approx(1, abs=0.3)


def test_an_untrained_image_branch_leaves_the_generator_as_it_is(gan):
    for mode in ("feature", "rgb"):
        latent = make(fw_mode=mode)(*inputs()).latent
        maps = [*latent.features.values(), *latent.rgb_features.values()]
        assert maps and not any(x.any() for x in maps)
        with_branch = gan.synthesis(*latent)
        assert torch.equal(with_branch, gan.synthesis(latent.ws))


@pytest.mark.parametrize("mode", ["feature", "rgb", "none"])
def test_w_plus_alone_is_an_arm(mode):
    latent = make(fw_mode=mode)(*inputs()).latent
    assert bool(latent.features) == (mode == "feature")
    assert bool(latent.rgb_features) == (mode == "rgb")


def test_injection_can_be_limited_to_some_resolutions():
    assert set(make(fw_resolutions=[16, 32])(*inputs()).latent.features) == {16, 32}
    for bad in ([], [64], [5]):
        with pytest.raises(ValueError, match="fw_resolutions"):
            make(fw_resolutions=bad)
    with pytest.raises(ValueError, match="fw_mode is 'both'"):
        make(fw_mode="both")


@pytest.mark.parametrize("options", ARMS, ids=str)
def test_every_encoder_parameter_learns_and_no_generator_parameter_does(gan, options):
    encoder = wake(make(**options))
    gan.requires_grad_(False)
    output = encoder(*inputs())
    coarse = sum(o.square().sum() for o in output.coarse)
    (gan.synthesis(*output.latent).square().sum() + coarse).backward()
    dead = [n for n, p in encoder.named_parameters() if p.grad is None or not p.grad.any()]
    assert dead == []
    assert all(p.grad is None for p in gan.parameters())


@pytest.mark.parametrize("options", ARMS, ids=str)
def test_hole_content_cannot_influence_anything(options):
    encoder, (image, mask) = wake(make(**options)), inputs()
    other = torch.where(mask > 0.5, torch.full_like(image, torch.nan), image)
    for a, b in zip(*(tensors_of(encoder(mask_out(x, mask), mask)) for x in (image, other))):
        assert torch.equal(a, b)


def test_known_pixels_reach_the_image_branch_at_every_resolution():
    image, mask = inputs()
    changed = image.clone()
    changed[..., 2, 2] += 1
    for mode, maps in (("feature", "features"), ("rgb", "rgb_features")):
        encoder = wake(make(fw_mode=mode))
        a, b = (getattr(encoder(x, mask).latent, maps) for x in (image, changed))
        assert {r for r in a if not torch.equal(a[r], b[r])} == {4, 8, 16, 32}


def test_each_scale_of_the_image_branch_feeds_the_next():
    encoder = wake(make())
    encoder(*inputs()).latent.features[4].square().sum().backward()
    convs = encoder.image_branch.convs
    assert {int(r) for r in convs if convs[r].weight.grad.any()} == {4, 8, 16, 32}


def test_pictures_of_another_size_are_errors():
    image, mask = inputs()
    with pytest.raises(ValueError, match=r"\(2, 3, 16, 16\).*\[N,3,32,32\]"):
        make()(image[..., ::2, ::2], mask[..., ::2, ::2])


@pytest.mark.parametrize("options", [*ARMS, {"fw_resolutions": [8, 32]}], ids=str)
def test_every_arm_survives_saving(options, tmp_path):
    encoder = wake(make(**options)).eval()
    encoder.initialize_latents(torch.linspace(-1, 1, 16), torch.full([16], 0.3))
    encoder.save_pretrained(tmp_path)
    loaded = InvertFillEncoder.from_pretrained(tmp_path)
    for a, b in zip(tensors_of(encoder(*inputs())), tensors_of(loaded(*inputs()))):
        assert torch.equal(a, b)


def test_without_pre_modulation_codes_are_offsets_from_the_mean_latent():
    encoder = make(premodulation=False)
    encoder.initialize_latents(torch.full([16], 3.0), torch.ones(16))
    output = encoder(*inputs())
    torch.testing.assert_close(output.latent.ws[:, 0], 3 + output.level_codes[:, 0])
    torch.testing.assert_close(output.latent.ws[:, 7], 3 + output.level_codes[:, 2])


def test_a_batch_is_its_pictures_one_by_one():
    image, mask = inputs(3)
    for mode in ("feature", "rgb"):
        encoder = wake(make(fw_mode=mode))
        together = tensors_of(encoder(image, mask))
        for n in range(3):
            alone = tensors_of(encoder(image[n : n + 1], mask[n : n + 1]))
            for a, b in zip(together, alone):
                torch.testing.assert_close(a[n : n + 1], b, rtol=1e-4, atol=1e-5)


def test_latents_repeat_in_order():
    latent = FWLatent(
        torch.arange(2.0).reshape(2, 1, 1), {4: torch.arange(2.0).reshape(2, 1, 1, 1)}
    )
    twice = latent.repeat(2)
    assert twice.ws.flatten().tolist() == twice.features[4].flatten().tolist() == [0, 0, 1, 1]


def test_noise_co_modulates_the_rows_of_its_levels_through_the_gate():
    for levels, rows in {"fine": range(7, 10), "middle": range(3, 10)}.items():
        encoder = InvertFillEncoder(**{**TINY, **SMALL, "resolution": 64, "noise_levels": levels})
        ws, offset = (
            torch.randn(2, 10, encoder.w_avg.numel()),
            torch.randn(2, encoder.w_avg.numel()),
        )
        assert torch.equal(encoder.co_modulate(ws, offset), ws)  # the gate starts closed
        torch.nn.init.constant_(encoder.noise_gate, 0.5)
        moved = (encoder.co_modulate(ws, offset) - ws).abs().sum(dim=2) > 0
        assert moved.all(dim=0).nonzero().flatten().tolist() == list(rows)


def test_noise_gives_several_answers_and_one_call_without_it_is_deterministic(gan):
    encoder = make(noise_levels="fine")
    torch.nn.init.ones_(encoder.noise_gate)
    pipe = InvertFillPipeline(encoder=encoder, gan=gan)
    photo, hole = Image.new("RGB", (32, 32), "gray"), Image.new("L", (32, 32), 255)
    assert pipe(photo, hole).images[0].tobytes() == pipe(photo, hole).images[0].tobytes()
    rng = torch.Generator().manual_seed(0)
    several = pipe(photo, hole, num_images_per_prompt=3, generator=rng).images
    assert len({image.tobytes() for image in several}) == 3


def test_with_mean_offset_the_code_is_added_to_the_mean_latent():
    for premodulation in (True, False):
        encoder = make(mean_offset=True, premodulation=premodulation).eval()
        w_mean, w_std = torch.randn(2, encoder.w_avg.numel())
        encoder.initialize_latents(w_mean, w_std.abs())
        picture, mask = torch.zeros(1, 3, 32, 32), torch.ones(1, 1, 32, 32)
        other = torch.randn_like(w_mean)
        own, moved = (encoder(picture, mask, mean_latent=m).latent.ws for m in (None, other))
        torch.testing.assert_close(moved - own, (other - w_mean).expand_as(own))


@pytest.mark.parametrize("options", [{}, {"premodulation": False}, {"fw_mode": "rgb"}])
def test_a_grown_encoder_says_of_the_halved_picture_what_the_smaller_one_said(options):
    options = {**SMALL, **options, "channel_base": 512, "channel_max": 16, "w_dim": 16}
    smaller = InvertFillEncoder(resolution=32, **options).eval()
    wake(smaller)
    torch.nn.init.normal_(smaller.w_avg)
    grown = InvertFillEncoder(resolution=64, input_size=32, noise_levels="fine", **options).eval()
    grown.grow_from(smaller)
    image, mask = torch.randn(2, 3, 64, 64), torch.rand(2, 1, 64, 64).round()
    averaged = [F.interpolate(x, 32, mode="area") for x in (image, mask)]
    before, after = smaller(*averaged).latent, grown(image, mask).latent
    torch.testing.assert_close(after.ws[:, :8], before.ws)
    torch.testing.assert_close(after.ws[:, 8:], before.ws[:, [7, 7]])
    if grown.fw_mode == "feature":
        blurred = smaller.image_branch(downsample(image), downsample(mask))
        for r, features in blurred.items():
            torch.testing.assert_close(after.features[r], features)
        assert not after.features[64].any()
    with pytest.raises(ValueError, match="cannot grow"):
        InvertFillEncoder(resolution=128, **options).grow_from(smaller)
