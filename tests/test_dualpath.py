"""Dual-path: deformable convolution, the fusion, the inpainter, its discriminator and pipeline."""

import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from test_pipelines import (
    SMALL,
    TINY,
    equal_weights,
    mask_of,
    middle_hole,
    photo,
    seeded,
    tiny_gan,
    tiny_inpainter,
)

from benchmarks import offsets as offsets_script
from inpaint_hub import (
    DualPathInpainter,
    DualPathPipeline,
    FWLatent,
    InvertFillEncoder,
    InvertFillPipeline,
    PSPEncoder,
    PSPPipeline,
    load_pipeline,
)
from inpaint_hub.compositing import mask_out
from inpaint_hub.dualpath import PatchDiscriminator
from inpaint_hub.dualpath.deformable_fusion import (
    DeformableAlignment,
    FeatureFusion,
    deform_conv2d,
)
from inpaint_hub.dualpath.model import FUSIONS
from inpaint_hub.dualpath.offset_field import draw_arrows, mean_offset

ENCODERS = ("psp", "invertfill")
SIZES = {name: TINY[name] for name in ("resolution", "channel_base", "channel_max")}
ARMS = [
    {},
    {"deform": "v1"},
    {"groups": 2},
    {"fusion_resolutions": [4, 32]},
    {"fusion": "concat"},
    {"fusion": "none"},
]


def features_of(inpainter, n=2, seed=3):
    return {
        r: torch.randn(n, fusion.from_semantic.in_channels, int(r), int(r), generator=seeded(seed))
        for r, fusion in ((int(r), fusion) for r, fusion in inpainter.fusions.items())
    }


def inputs(n=2):
    mask = torch.zeros(n, 1, 32, 32)
    mask[..., 8:20, 8:20] = 1
    return torch.randn(n, 3, 32, 32, generator=seeded(0)).clamp(-1, 1) * (1 - mask), mask


def tiny_dual_path(encoder="psp"):
    torch.manual_seed(0)
    if encoder == "psp":
        network = PSPEncoder(resolution=32, w_dim=16, **SMALL)
    else:
        network = InvertFillEncoder(**TINY, **SMALL, structure_channels=16)
        for conv in network.image_branch.to_features.values():
            torch.nn.init.normal_(conv.weight, std=0.1)
    return DualPathPipeline(network.eval(), tiny_gan().eval(), tiny_inpainter().eval())


PIPELINES = {encoder: tiny_dual_path(encoder) for encoder in ENCODERS}


@pytest.fixture(params=ENCODERS)
def pipe(request):
    return PIPELINES[request.param]


# Deformable convolution


def by_definition(x, offset, weight, bias, modulation):
    """The closed form, pixel by pixel: what a point reads is the sum of all pixels, each weighted
    by its tent function."""
    n, channels, height, width = x.shape
    out_channels, _, k, _ = weight.shape
    groups = offset.shape[1] // (2 * k * k)
    offset = offset.reshape(n, groups, k, k, 2, height, width)
    modulation = modulation.reshape(n, groups, k, k, height, width)
    i, j = torch.arange(height)[:, None], torch.arange(width)
    y = torch.zeros(n, out_channels, height, width, dtype=x.dtype)
    for b, g, a, c, p, q in np.ndindex(n, groups, k, k, height, width):
        row = p + a - k // 2 + offset[b, g, a, c, 0, p, q]
        column = q + c - k // 2 + offset[b, g, a, c, 1, p, q]
        tent = (1 - (row - i).abs()).clamp(min=0) * (1 - (column - j).abs()).clamp(min=0)
        own = slice(g * channels // groups, (g + 1) * channels // groups)
        read = (x[b, own] * tent).sum(dim=(1, 2)) * modulation[b, g, a, c, p, q]
        y[b, :, p, q] += weight[:, own, a, c] @ read
    return y + bias[:, None, None]


def random_deform(groups=2, k=3, size=(4, 5), reach=3.0, dtype=torch.float64):
    g = seeded(1)
    shape = (2, 2 * k * k * groups, *size)
    return {
        "x": torch.randn(2, 4, *size, generator=g, dtype=dtype),
        "offset": (torch.rand(shape, generator=g, dtype=dtype) * 2 - 1) * reach,
        "weight": torch.randn(3, 4, k, k, generator=g, dtype=dtype),
        "bias": torch.randn(3, generator=g, dtype=dtype),
        "modulation": torch.rand(2, k * k * groups, *size, generator=g, dtype=dtype) * 2,
    }


@pytest.mark.parametrize("groups, k, size", [(1, 3, (5, 4)), (2, 3, (4, 5)), (4, 1, (3, 3))])
def test_deformable_convolution_is_its_definition(groups, k, size):
    arguments = random_deform(groups, k, size)
    torch.testing.assert_close(deform_conv2d(**arguments), by_definition(**arguments))
    arguments["modulation"] = torch.ones_like(arguments["modulation"])
    expected = by_definition(**arguments)
    arguments["modulation"] = None
    torch.testing.assert_close(deform_conv2d(**arguments), expected)


def test_the_gradients_of_deformable_convolution_are_right():
    arguments = random_deform(size=(2, 3))
    # Bilinear reading has kinks at whole pixels: differences across them are no derivatives.
    whole = arguments["offset"].floor()
    arguments["offset"] = whole + 0.2 + 0.6 * (arguments["offset"] - whole)
    names = list(arguments)
    values = [value.requires_grad_() for value in arguments.values()]
    assert torch.autograd.gradcheck(lambda *a: deform_conv2d(**dict(zip(names, a))), values)


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (64, 64)], ids=str)
def test_without_offsets_it_is_an_ordinary_convolution(size):
    arguments = random_deform(size=size, reach=0, dtype=torch.float32)
    arguments["modulation"] = None
    expected = F.conv2d(arguments["x"], arguments["weight"], arguments["bias"], padding=1)
    torch.testing.assert_close(deform_conv2d(**arguments), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_whole_offset_shifts_the_picture_and_lets_in_zeros(dtype):
    x = torch.randn(1, 1, 6, 512, generator=seeded(0)).to(dtype)
    offset = torch.tensor([2.0, -3.0], dtype=dtype)[None, :, None, None].expand(1, 2, 6, 512)
    shifted = deform_conv2d(x, offset, torch.ones(1, 1, 1, 1, dtype=dtype))
    expected = torch.zeros_like(x)
    expected[..., :-2, 3:] = x[..., 2:, :-3]
    torch.testing.assert_close(shifted, expected, rtol=0, atol=1e-6)


def test_shapes_that_do_not_fit_are_errors():
    arguments = random_deform()
    for name, wrong in (
        ("offset", arguments["offset"][:, :-1]),
        ("offset", arguments["offset"][:, :4]),
        ("weight", arguments["weight"][:, :3]),
        ("modulation", arguments["modulation"][:, :-1]),
    ):
        with pytest.raises(ValueError, match="expected"):
            deform_conv2d(**{**arguments, name: wrong})


# Fusion


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_untrained_alignment_is_an_ordinary_convolution(version):
    alignment = DeformableAlignment(8, 2, version)
    x, f = torch.randn(2, 2, 8, 16, 16, generator=seeded(0))
    aligned, offset = alignment(x, f, torch.ones(2, 1, 16, 16))
    torch.testing.assert_close(aligned, alignment.conv(f), rtol=1e-4, atol=1e-5)
    assert offset.shape == (2, 36, 16, 16) and not offset.any()


@pytest.mark.parametrize("options", ARMS, ids=str)
def test_untrained_fusion_is_the_identity(options):
    image, mask = inputs()
    torch.manual_seed(0)
    fused = DualPathInpainter(channels=8, **SIZES, **options)
    alone = DualPathInpainter(channels=8, **SIZES, fusion="none")
    alone.feed_forward.load_state_dict(fused.feed_forward.state_dict())
    assert torch.equal(fused(image, mask, features_of(fused)), alone(image, mask))
    for r, fusion in fused.fusions.items():
        x = torch.randn(2, fusion.gate.out_channels, int(r), int(r))
        assert torch.equal(fusion(x, features_of(fused)[int(r)], mask)[0], x)


def test_the_gate_and_the_alignment_see_the_share_of_hole():
    torch.manual_seed(0)
    x, semantic, mask = torch.randn(1, 8, 4, 4), torch.randn(1, 3, 4, 4), torch.zeros(1, 1, 8, 8)
    mask[..., 0, 0] = 1
    fusion = FeatureFusion(8, 3, DeformableAlignment(8, 1, "v2"))
    for conv in (fusion.update, fusion.alignment.to_offset):
        torch.nn.init.normal_(conv.weight, std=0.1)
    small = torch.zeros(1, 1, 4, 4)
    small[..., 0, 0] = 0.25
    (out, offset), (same, same_offset) = (fusion(x, semantic, m) for m in (mask, small))
    assert torch.equal(out, same) and torch.equal(offset, same_offset)
    other, other_offset = fusion(x, semantic, torch.zeros_like(mask))
    assert not torch.equal(out, other) and not torch.equal(offset, other_offset)


SHIFT = (3, -3)  # dy, dx in px, further than the concatenation's 3x3 convolution can reach


def shifted_batch(generator, n=4, size=16, border=4):
    """Smooth random maps [n,4,size,size], and the same as seen SHIFT further."""
    coarse = torch.randn(n, 4, 9, 9, generator=generator)
    whole = F.interpolate(coarse, [size + 2 * border] * 2, mode="bicubic")
    seen = whole[..., border - SHIFT[0] :, border - SHIFT[1] :][..., :size, :size]
    return whole[..., border:-border, border:-border], seen


def train_on_shifts(deformable, num_steps=100):
    """(fusion trained to show the unshifted maps, function that measures its mean squared
    error)."""
    torch.manual_seed(0)
    fusion = FeatureFusion(8, 4, DeformableAlignment(8, 1, "v2") if deformable else None)
    optimizer = torch.optim.Adam(fusion.parameters(), lr=1e-2)
    nothing, hole = torch.zeros(4, 8, 16, 16), torch.ones(4, 1, 16, 16)

    def error(generator):
        target, seen = shifted_batch(generator)
        inner = (fusion(nothing, seen, hole)[0][:, :4] - target)[..., 3:-3, 3:-3]
        return inner.square().mean()

    generator = seeded(0)
    for _ in range(num_steps):
        optimizer.zero_grad()
        error(generator).backward()
        optimizer.step()
    return fusion, lambda: error(seeded(99)).item()


def test_learned_offsets_undo_a_shift_that_concatenation_cannot():
    _, concat_error = train_on_shifts(deformable=False)
    fusion, deformable_error = train_on_shifts(deformable=True)
    learned = deformable_error()
    assert learned < concat_error() / 10
    torch.nn.init.zeros_(fusion.alignment.to_offset.weight[: fusion.alignment.num_offsets])
    torch.nn.init.zeros_(fusion.alignment.to_offset.bias[: fusion.alignment.num_offsets])
    assert deformable_error() > 10 * learned  # it was the offsets


# Inpainter


@pytest.mark.parametrize("options", ARMS, ids=str)
def test_pictures_and_offsets_have_the_shapes_of_the_symbol_table(options):
    inpainter = tiny_inpainter(**options)
    picture, offsets = inpainter(*inputs(), features_of(inpainter), return_offsets=True)
    assert picture.shape == (2, 3, 32, 32) and picture.abs().max() <= 1
    deformable = options.get("fusion", "deformable") == "deformable"
    assert set(offsets) == (set(inpainter.fusion_resolutions) if deformable else set())
    for r, offset in offsets.items():
        assert offset.shape == (2, 18 * options.get("groups", 1), r, r) and offset.any()


@pytest.mark.parametrize("resolution", [32, 64, 128, 256, 512, 1024])
def test_every_size_from_32_to_1024_is_built(resolution):
    with torch.device("meta"):
        inpainter = DualPathInpainter(resolution=resolution)
        assert inpainter.fusion_resolutions == [resolution // k for k in (8, 4, 2)]
        picture, offsets = inpainter(
            torch.zeros(1, 3, resolution, resolution),
            torch.zeros(1, 1, resolution, resolution),
            features_of_meta(inpainter),
            return_offsets=True,
        )
    assert picture.shape == (1, 3, resolution, resolution)
    assert {offset.shape[1] for offset in offsets.values()} == {2 * 9 * 8}


def features_of_meta(inpainter):
    return {
        int(r): torch.zeros(1, fusion.from_semantic.in_channels, int(r), int(r))
        for r, fusion in inpainter.fusions.items()
    }


def test_groups_are_eight_or_one_below_64_channels():
    groups = {
        r: fusion.alignment.num_offsets // 18
        for r, fusion in DualPathInpainter(
            resolution=64, channels=16, fusion_resolutions=[8, 32, 64]
        ).fusions.items()
    }
    assert groups == {"8": 8, "32": 1, "64": 1}


@pytest.mark.parametrize("options", ARMS, ids=str)
def test_every_parameter_learns(options):
    inpainter = tiny_inpainter(**options)
    semantic = {r: f.requires_grad_() for r, f in features_of(inpainter).items()}
    inpainter(*inputs(), semantic).square().sum().backward()
    dead = [n for n, p in inpainter.named_parameters() if p.grad is None or not p.grad.any()]
    assert dead == []
    assert all(f.grad.any() for f in semantic.values())  # the joint stage trains the inversion
    for stage in inpainter.feed_forward.decoder:
        assert stage.join.weight.grad[:, stage.up.out_channels :].any()  # the skip arrives


def test_a_fresh_fusion_is_awake_after_two_steps():
    torch.manual_seed(0)
    inpainter = DualPathInpainter(channels=8, dilations=[1], **SIZES)
    optimizer = torch.optim.SGD(inpainter.parameters(), lr=0.1)
    target = torch.rand(2, 3, 32, 32, generator=seeded(5))
    for _ in range(3):
        optimizer.zero_grad()
        (inpainter(*inputs(), features_of(inpainter)) - target).abs().mean().backward()
        optimizer.step()
    assert [n for n, p in inpainter.named_parameters() if not p.grad.any()] == []


@pytest.mark.parametrize("options", ARMS, ids=str)
def test_hole_content_cannot_influence_the_picture(options):
    inpainter, (image, mask) = tiny_inpainter(**options), inputs()
    other = torch.where(mask > 0.5, torch.full_like(image, torch.nan), image)
    semantic = features_of(inpainter)
    a, b = (inpainter(mask_out(x, mask), mask, semantic) for x in (image, other))
    assert torch.equal(a, b)


@pytest.mark.parametrize("options", ARMS, ids=str)
def test_known_pixels_mask_and_features_do_influence_it(options):
    inpainter, (image, mask) = tiny_inpainter(**options), inputs()
    semantic = features_of(inpainter)
    picture = inpainter(image, mask, semantic)
    changed = image.clone()
    changed[..., 2, 2] += 1
    assert not torch.equal(picture, inpainter(changed, mask, semantic))
    assert not torch.equal(picture, inpainter(image, 1 - mask, semantic))
    for r in semantic:
        moved = {**semantic, r: semantic[r] + 1}
        assert not torch.equal(picture, inpainter(image, mask, moved)), r


def test_a_batch_is_its_pictures_one_by_one():
    inpainter, (image, mask) = tiny_inpainter(), inputs(3)
    semantic = features_of(inpainter, n=3)
    together = inpainter(image, mask, semantic)
    for n in range(3):
        own = {r: f[n : n + 1] for r, f in semantic.items()}
        alone = inpainter(image[n : n + 1], mask[n : n + 1], own)
        torch.testing.assert_close(together[n : n + 1], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", ARMS, ids=str)
def test_every_arm_survives_saving(options, tmp_path):
    inpainter = tiny_inpainter(**options).eval()
    inpainter.save_pretrained(tmp_path)
    loaded = DualPathInpainter.from_pretrained(tmp_path)
    assert loaded.config == inpainter.config
    semantic = features_of(inpainter)
    assert torch.equal(inpainter(*inputs(), semantic), loaded(*inputs(), semantic))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"resolution": 48}, "resolution is 48"),
        ({"resolution": 16}, "resolution is 16"),
        ({"fusion": "sum"}, "fusion is 'sum'.*deformable"),
        ({"deform": "v3"}, "deform is 'v3'"),
        ({"groups": 3}, "groups is 3.*divisor of"),
        ({"groups": 0}, "groups is 0"),
        ({"fusion_resolutions": []}, 'fusion="none"'),
        ({"fusion_resolutions": [64]}, r"\[64\].*\[4, 8, 16, 32\]"),
    ],
    ids=str,
)
def test_settings_that_do_not_exist_are_errors(options, message):
    with pytest.raises(ValueError, match=message):
        DualPathInpainter(**{**SIZES, "channels": 8, **options})


def test_pictures_of_another_size_and_missing_features_are_errors():
    inpainter, (image, mask) = tiny_inpainter(), inputs()
    semantic = features_of(inpainter)
    with pytest.raises(ValueError, match=r"\(2, 3, 16, 16\).*\[N,3,32,32\]"):
        inpainter(image[..., ::2, ::2], mask[..., ::2, ::2], semantic)
    del semantic[8]
    with pytest.raises(ValueError, match=r"hold \[4, 16\] px, \[8\] px are missing"):
        inpainter(image, mask, semantic)
    with pytest.raises(ValueError, match="return_features=True"):
        inpainter(image, mask)


# Discriminator


def test_the_discriminator_judges_patches_of_70_px_by_picture_and_mask():
    torch.manual_seed(0)
    discriminator = PatchDiscriminator(channels=4)
    for size in (32, 64):
        logits = discriminator(torch.zeros(2, 3, size, size), torch.zeros(2, 1, size, size))
        assert logits.shape == (2, 1, size // 8 - 2, size // 8 - 2)
    image = torch.randn(1, 3, 128, 128, requires_grad=True)
    mask = torch.rand(1, 1, 128, 128, requires_grad=True)
    discriminator(image, mask)[..., 7, 7].sum().backward()
    for gradient in (image.grad, mask.grad):
        rows = gradient.abs().sum(dim=(0, 1, 3)).nonzero()
        assert (rows.max() - rows.min() + 1).item() == 70


def test_every_layers_largest_singular_value_becomes_one():
    torch.manual_seed(0)
    discriminator = PatchDiscriminator(channels=4)
    for _ in range(100):
        discriminator.power_iteration()
    for conv in discriminator.convs:
        largest = torch.linalg.svdvals(conv.normalized_weight().flatten(1))[0]
        assert largest.item() == pytest.approx(1, abs=1e-3)
        torch.nn.init.normal_(conv.weight, std=3)
    discriminator.power_iteration()  # one step finds most of a new matrix's size
    for conv in discriminator.convs:
        assert torch.linalg.svdvals(conv.normalized_weight().flatten(1))[0] < 10


def test_asking_the_discriminator_does_not_change_it():
    discriminator = PatchDiscriminator(channels=4).train()
    before = {name: value.clone() for name, value in discriminator.state_dict().items()}
    x = torch.randn(2, 3, 32, 32, requires_grad=True), torch.ones(2, 1, 32, 32)
    first, second = discriminator(*x), discriminator(*x)
    assert torch.equal(first, second)
    first.sum().backward()
    assert all(torch.equal(v, before[name]) for name, v in discriminator.state_dict().items())
    assert all(p.grad.any() for p in discriminator.parameters())


def test_the_discriminator_survives_saving(tmp_path):
    discriminator = PatchDiscriminator(channels=4).eval()
    discriminator.save_pretrained(tmp_path)
    loaded = PatchDiscriminator.from_pretrained(tmp_path)
    x = torch.randn(2, 3, 32, 32), torch.ones(2, 1, 32, 32)
    assert torch.equal(discriminator(*x), loaded(*x))


# Pipeline (the hard constraint and diffusers' conventions: test_pipelines.py)


def test_known_pixels_are_exact_and_the_hole_is_the_inpainters(pipe):
    image, hole = photo((32, 32)), middle_hole((32, 32))
    output = pipe(image, mask_of(hole))
    result = np.array(output.images[0])
    assert np.array_equal(result[~hole], np.array(image)[~hole])
    painted = ((output.generated[0].permute(1, 2, 0).numpy() + 1) / 2 * 255)[hole]
    assert np.abs(result[hole] - painted).max() <= 0.5 + 1e-3


def test_known_values_are_exact_in_half_precision(pipe):
    image, hole = photo(), middle_hole()
    half = DualPathPipeline(**pipe.components).to(torch.bfloat16)
    try:
        result = np.array(half(image, mask_of(hole)).images[0])
    finally:
        half.to(torch.float32)
    assert np.array_equal(result[~hole], np.array(image)[~hole])
    assert not np.array_equal(result[hole], np.array(image)[hole])


def test_the_holes_old_content_influences_none_of_the_outputs(pipe):
    hole = middle_hole()
    one, other = np.array(photo(seed=1)), np.array(photo(seed=1))
    other[hole] = np.array(photo(seed=2))[hole]
    a, b = (pipe(pixels, hole) for pixels in (one, other))
    assert np.array_equal(np.array(a.images[0]), np.array(b.images[0]))
    assert torch.equal(a.generated, b.generated) and torch.equal(a.inverted, b.inverted)
    assert all(torch.equal(a.offsets[r], b.offsets[r]) for r in (4, 8, 16))


def test_the_inverted_picture_is_the_generators(pipe):
    prepared = pipe.preprocess(photo(), mask_of(middle_hole()))
    with torch.no_grad():
        latent = pipe.encode(mask_out(prepared.image, prepared.mask), prepared.mask)
        expected = pipe.gan.synthesis(*latent)
        w_plus_alone = pipe.gan.synthesis(latent.ws)
    assert torch.equal(pipe(photo(), mask_of(middle_hole())).inverted, expected)
    has_features = isinstance(pipe.encoder, InvertFillEncoder)
    assert torch.equal(expected, w_plus_alone) == (not has_features)


def test_the_fill_is_the_inpainters_given_the_generators_features(pipe):
    prepared = pipe.preprocess(photo(), mask_of(middle_hole()))
    with torch.no_grad():
        seen = mask_out(prepared.image, prepared.mask), prepared.mask
        _, semantic = pipe.gan.synthesis(*pipe.encode(*seen), return_features=True)
        expected = pipe.inpainter(*seen, semantic)
    assert torch.equal(pipe(photo(), mask_of(middle_hole())).generated, expected)


def test_several_results_of_several_pictures_keep_to_their_own(pipe):
    images, mask = [photo(seed=s) for s in range(2)], mask_of(middle_hole())
    several = pipe(images, mask, num_images_per_prompt=2, noise_mode="const").generated
    for i, result in enumerate(several):
        alone = pipe(images[i // 2], mask, noise_mode="const").generated[0]
        torch.testing.assert_close(result, alone, rtol=1e-4, atol=1e-4)


def test_what_enters_the_generator_reaches_the_fill():
    pipe = PIPELINES["invertfill"]
    arguments = (photo(), mask_of(middle_hole()))
    latent = pipe(*arguments, output_type="latent").images
    full, w_plus_alone = (
        pipe(*arguments, latents=given).generated for given in (latent, FWLatent(latent.ws))
    )
    assert latent.features and not torch.equal(full, w_plus_alone)


def test_outputs_have_one_entry_for_each_result(pipe):
    holes = np.zeros((60, 180), bool)
    holes[5:9, 5:9] = holes[40:50, 150:160] = True
    output = pipe(photo((180, 60)), holes, padding_mask_crop=2, num_images_per_prompt=3)
    assert len(output.images) == 3
    assert output.generated.shape == output.inverted.shape == (6, 3, 32, 32)
    assert {r: tuple(o.shape) for r, o in output.offsets.items()} == {
        r: (6, 2, r, r) for r in (4, 8, 16)
    }
    assert not torch.equal(output.generated[0], output.generated[1])
    as_tuple = pipe(photo(), mask_of(middle_hole()), return_dict=False)
    kinds = [type(value).__name__ for value in as_tuple]
    assert kinds == ["list", "Tensor", "Tensor", "dict", "NoneType"]


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("variant", [None, "fp16"])
def test_both_kinds_of_encoder_are_saved_and_loaded(encoder, variant, tmp_path):
    pipe = PIPELINES[encoder]
    pipe.save_pretrained(tmp_path, variant=variant)
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert index["encoder"] == ["inpaint_hub", type(pipe.encoder).__name__]
    assert index["inpainter"] == ["inpaint_hub", "DualPathInpainter"]
    for load in (load_pipeline, DualPathPipeline.from_pretrained):
        loaded = load(tmp_path, variant=variant)
        assert type(loaded) is DualPathPipeline and type(loaded.encoder) is type(pipe.encoder)
        assert equal_weights(pipe, loaded)
    fills = [np.array(p(photo(), mask_of(middle_hole())).images[0]) for p in (pipe, loaded)]
    assert np.array_equal(*fills)


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_an_encoder_of_another_class_is_refused_by_its_name(variant, tmp_path):
    PIPELINES["psp"].save_pretrained(tmp_path, variant=variant)
    index = tmp_path / "model_index.json"
    index.write_text(index.read_text().replace("PSPEncoder", "StyleGAN2Discriminator"))
    with pytest.raises((TypeError, ValueError), match="StyleGAN2Discriminator"):
        DualPathPipeline.from_pretrained(tmp_path, variant=variant)


def test_networks_that_do_not_fit_are_refused():
    encoder, gan, inpainter = PIPELINES["psp"].components.values()
    with pytest.raises(TypeError, match="PSPEncoder or InvertFillEncoder"):
        DualPathPipeline(gan, gan, inpainter)
    for name, value in {"resolution": 64, "channel_base": 512, "channel_max": 8}.items():
        other = DualPathInpainter(channels=8, **{**SIZES, name: value})
        with pytest.raises(ValueError, match=f"{name} is {value} for the inpainter and .* for gan"):
            DualPathPipeline(encoder, gan, other)


def test_a_pipeline_is_made_from_the_inversion_it_was_trained_on():
    dual_path = PIPELINES["psp"]
    inversion = PSPPipeline(dual_path.encoder, dual_path.gan)
    made = DualPathPipeline.from_pipe(inversion, inpainter=dual_path.inpainter)
    assert made.encoder is dual_path.encoder and made.gan is dual_path.gan


def test_offloaded_networks_work_in_the_order_of_the_figure():
    pipe = DualPathPipeline(**PIPELINES["psp"].components)
    pipe.enable_model_cpu_offload(device="cpu")
    woken = []
    for name, model in pipe.components.items():
        hook = model._hf_hook
        wake = hook.pre_forward
        hook.pre_forward = lambda *a, wake=wake, name=name, **k: (
            woken.append(name),
            wake(*a, **k),
        )[1]
    try:
        pipe(photo(), mask_of(middle_hole()))
    finally:
        pipe.remove_all_hooks()
    assert woken == ["encoder", "gan", "inpainter"]


def test_without_a_hole_nothing_is_inverted(pipe):
    output = pipe(photo(), mask_of(np.zeros((50, 70), bool)))
    assert output.inverted is None and output.offsets is None
    with pytest.raises(ValueError, match="fill a hole"):
        output.offset_pictures()


# Offsets, seen


def test_the_mean_offset_reads_dy_and_dx_of_all_taps_and_groups():
    offset = torch.tensor([1.0, -2.0]).repeat(18)[None, :, None, None].repeat(1, 1, 4, 4)
    offset[:, 0] += 18
    field = mean_offset(offset)
    assert field.shape == (1, 2, 4, 4)
    assert (field[:, 0] == 2).all() and (field[:, 1] == -2).all()


@pytest.mark.parametrize(
    "dy, dx, color", [(0, 3, (255, 0, 0)), (0, -3, (0, 255, 255)), (0, 0, None)]
)
def test_arrows_point_to_where_features_are_read(dy, dx, color):
    black = np.zeros((32, 32, 3), np.uint8)
    field = np.zeros((2, 8, 8))
    field[:, 3, 3] = dy, dx
    drawn = np.array(draw_arrows(black, field, side_px=256))
    row, column = (round(32 * (3.5 + d / 2)) for d in (dy, dx))  # half-way along the shaft
    if color is None:
        assert drawn[row + 8, column + 8].tolist() == [0, 0, 0]
    else:
        assert tuple(drawn[row, column]) == color
    start = round(32 * 3.5)
    behind = start - int(math.copysign(10, dx))
    assert drawn[start, behind].tolist() == [0, 0, 0]


def test_offsets_come_as_pictures_on_request(pipe):
    output = pipe([photo(), photo(seed=1)], mask_of(middle_hole()))
    pictures = output.offset_pictures(8, side_px=128, stretch=3)
    assert [picture.size for picture in pictures] == [(128, 128)] * 2
    plain = [draw_arrows(np.asarray(p), np.zeros((2, 8, 8)), 128) for p in pictures]
    assert not np.array_equal(np.array(pictures[0]), np.array(plain[0]))
    finest, by_name = (output.offset_pictures(r)[0] for r in (None, 16))
    assert np.array_equal(np.array(finest), np.array(by_name))
    with pytest.raises(ValueError, match=r"resolution is 64, expected one of \[4, 8, 16\]"):
        output.offset_pictures(64)


def test_the_script_draws_a_panel_for_every_fused_resolution(tmp_path, capsys):
    PIPELINES["invertfill"].save_pretrained(tmp_path / "model")
    target = tmp_path / "offsets.png"
    offsets_script.main(
        ["--model", str(tmp_path / "model"), "--output", str(target), "--side_px", "64"]
    )
    assert Image.open(target).size == (6 * 64, 64)
    assert capsys.readouterr().out.count("px on average") == 3


def test_another_pipelines_folder_is_refused(tmp_path):
    encoder = PIPELINES["invertfill"].encoder
    InvertFillPipeline(encoder, PIPELINES["invertfill"].gan).save_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError, match="inpainter"):
        DualPathPipeline.from_pretrained(tmp_path)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_grown_inpainter_has_the_smaller_ones_layers(fusion):
    options = {"channels": 8, "channel_base": 512, "channel_max": 16, "fusion": fusion}
    smaller = DualPathInpainter(resolution=32, **options)
    grown = DualPathInpainter(resolution=64, **options)
    begun_anew = {n: p.clone() for n, p in grown.named_parameters()}
    grown.grow_from(smaller)
    layers = dict(grown.named_parameters())
    for name, parameter in smaller.named_parameters():
        if name.startswith("fusions."):
            _, r, rest = name.split(".", 2)
            name = f"fusions.{2 * int(r)}.{rest}"
        if "from_semantic" in name and layers[name].shape != parameter.shape:
            assert torch.equal(layers[name], begun_anew[name])
        else:
            assert torch.equal(layers[name], parameter), name
    wider = DualPathInpainter(resolution=64, **{**options, "channels": 16})
    with pytest.raises(ValueError, match="cannot grow.*'channels': 8.*'channels': 16"):
        wider.grow_from(smaller)
