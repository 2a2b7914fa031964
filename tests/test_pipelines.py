"""The pipelines: diffusers' conventions outside, the hard constraint inside."""

import inspect
import io
import json
import re
import shutil
import warnings

import numpy as np
import pytest
import torch
from diffusers.pipelines import pipeline_loading_utils
from PIL import Image

from inpaint_hub import (
    CoarseToFinePipeline,
    DualPathInpainter,
    DualPathPipeline,
    FWLatent,
    InvertFillEncoder,
    InvertFillPipeline,
    PSPEncoder,
    PSPPipeline,
    Refiner,
    StyleGAN2Generator,
    StyleGAN2Pipeline,
    load_pipeline,
)
from inpaint_hub.images import from_pil
from inpaint_hub.pipelines.repository import PAPERS, HubPipeline
from inpaint_hub.pipelines.windows import window_groups

TINY = {"resolution": 32, "w_dim": 16, "channel_base": 256, "channel_max": 16}
SMALL = {"backbone": "small", "backbone_width": 8, "style_channels": 16}


def tiny_gan():
    gan = StyleGAN2Generator(z_dim=16, num_mapping_layers=2, **TINY)
    for name, parameter in gan.named_parameters():
        if name.endswith("noise_strength"):
            parameter.data.fill_(0.2)
    return gan


def tiny_pipeline(cls=InvertFillPipeline):
    torch.manual_seed(0)
    if cls in (PSPPipeline, DualPathPipeline):
        encoder = PSPEncoder(resolution=32, w_dim=16, **SMALL)
    else:
        encoder = InvertFillEncoder(**TINY, **SMALL, structure_channels=16)
        for conv in encoder.image_branch.to_features.values():
            torch.nn.init.normal_(conv.weight, std=0.1)  # as after training: zero would hide I_m
    networks = [encoder, tiny_gan()]
    if cls is DualPathPipeline:
        networks.append(tiny_inpainter())
    return cls(*(network.eval() for network in networks))


def tiny_inpainter(**options):
    """With a fusion that adds something, as after training."""
    sizes = {name: TINY[name] for name in ("resolution", "channel_base", "channel_max")}
    inpainter = DualPathInpainter(channels=8, dilations=[1, 2], **sizes, **options)
    for parameter in inpainter.fusions.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return inpainter


def tiny_refined():
    """Refining adds something, as after training."""
    torch.manual_seed(1)
    refiner = Refiner(resolution=64, channels=4, dilations=[1, 2])
    torch.nn.init.normal_(refiner.feed_forward.to_rgb.weight, std=0.1)
    coarse = tiny_pipeline(PSPPipeline)
    for name, parameter in coarse.gan.named_parameters():
        if "to_rgb" in name:
            parameter.data *= 0.1  # else most of its pictures lie beyond [-1,1]
    return CoarseToFinePipeline(coarse=coarse, refiner=refiner.eval())


PIPELINES = {
    cls.__name__: tiny_pipeline(cls) for cls in (InvertFillPipeline, PSPPipeline, DualPathPipeline)
} | {"CoarseToFinePipeline": tiny_refined()}


of_networks = pytest.mark.parametrize("pipe", [*PIPELINES][:3], indirect=True)


@pytest.fixture(params=PIPELINES)
def pipe(request):
    return PIPELINES[request.param]


@pytest.fixture
def invertfill():
    return PIPELINES["InvertFillPipeline"]


def photo(size=(70, 50), seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def mask_of(hole):
    return Image.fromarray(hole.astype(np.uint8) * 255)


def middle_hole(size=(70, 50)):
    hole = np.zeros(size[::-1], bool)
    hole[size[1] // 3 : 2 * size[1] // 3 + 1, size[0] // 3 : 2 * size[0] // 3 + 1] = True
    return hole


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def channels_last(image):
    """A result of any output_type as an array [H,W,C]."""
    return image.permute(1, 2, 0).numpy() if isinstance(image, torch.Tensor) else np.array(image)


def grown(hole, radius):
    """The hole and every pixel at most `radius` away from it along both axes."""
    rows, columns = np.nonzero(hole)
    result = np.zeros_like(hole)
    for row, column in zip(rows, columns):
        result[
            max(row - radius, 0) : row + radius + 1, max(column - radius, 0) : column + radius + 1
        ] = True
    return result


OPTIONS = [
    {},
    {"padding_mask_crop": 6},
    {"context": 0.4, "blend": "gp"},
    {"mask_dilate": 3},
    {"mask_blur": 4},
    {"mask_dilate": 2, "mask_blur": 5, "padding_mask_crop": 9},
    {"num_images_per_prompt": 2, "variation": 0.5},
    {"noise_mode": "none"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (32, 32), (70, 50), (333, 217)], ids=str)
def test_known_pixels_come_back_bit_for_bit(pipe, size, options):
    image, hole = photo(size), middle_hole(size)
    known = ~grown(hole, options.get("mask_dilate", 0))
    for result in pipe(image, mask_of(hole), **options).images:
        assert result.size == size and result.mode == "RGB"
        assert np.array_equal(np.array(result)[known], np.array(image)[known])
        if size == (70, 50):
            assert not np.array_equal(np.array(result)[hole], np.array(image)[hole])


@pytest.mark.parametrize("output_type", ["pil", "np", "pt"])
def test_known_pixels_of_a_large_photo_come_back_in_every_output_type(pipe, output_type):
    image, hole = photo((1500, 1100)), np.zeros((1100, 1500), bool)
    hole[5:40, 3:60] = hole[600:900, 700:1200] = hole[1099, 1499] = True
    options = {"padding_mask_crop": 20, "mask_blur": 8, "output_type": output_type}
    out = pipe(image, hole, **options)
    assert len(out.generated) == 3
    source = np.array(image)
    if output_type != "pil":
        source = source.astype(np.float32) / 255
    assert np.array_equal(channels_last(out.images[0])[~hole], source[~hole])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("output_type", ["pil", "np", "pt"])
def test_known_values_are_equal_in_every_output_type_and_dtype(dtype, output_type):
    pipe = tiny_pipeline().to(dtype)
    image, hole = photo(), middle_hole()
    out = pipe(image, mask_of(hole), output_type=output_type).images[0]
    source = np.array(image)
    if output_type != "pil":
        source = source.astype(np.float32) / 255
    assert np.array_equal(channels_last(out)[~hole], source[~hole])


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "CMYK", "I;16"])
def test_modes_survive_the_pipeline(invertfill, mode):
    if mode == "I;16":
        image = Image.fromarray(np.array(photo().convert("L")).astype(np.uint16) * 200)
    else:
        image = photo().convert(mode)
    hole = middle_hole()
    result = invertfill(image, mask_of(hole)).images[0]
    kept = image.convert("RGB") if mode == "P" else image
    assert result.mode == kept.mode
    assert np.array_equal(np.array(result)[~hole], np.array(kept)[~hole])


def test_dilation_enlarges_the_hole_and_keeps_the_rest(pipe):
    image, hole = photo(), np.zeros((50, 70), bool)
    hole[20:24, 30:34] = True
    result = np.array(pipe(image, mask_of(hole), mask_dilate=3).images[0])
    changed = (result != np.array(image)).any(axis=2)
    enlarged = np.zeros_like(hole)
    enlarged[17:27, 27:37] = True
    assert not changed[~enlarged].any() and changed[enlarged & ~hole].any()


def test_the_holes_old_content_cannot_influence_the_result(pipe):
    hole = middle_hole((333, 217))
    one, other = np.array(photo((333, 217), 1)), np.array(photo((333, 217), 1))
    other[hole] = np.array(photo((333, 217), 2))[hole]
    for options in ({}, {"padding_mask_crop": 10}, {"mask_blur": 3}, {"context": 0.5}):
        a = pipe(Image.fromarray(one), mask_of(hole), **options).images[0]
        b = pipe(Image.fromarray(other), mask_of(hole), **options).images[0]
        assert np.array_equal(np.array(a), np.array(b))
    prepared = [pipe.preprocess(pixels, hole, padding_mask_crop=10) for pixels in (one, other)]
    assert torch.equal(prepared[0].image, prepared[1].image)


def test_the_known_pixels_do_influence_the_result(pipe):
    hole = middle_hole()
    a, b = (pipe(photo(seed=s), mask_of(hole)).images[0] for s in (1, 2))
    assert not np.array_equal(np.array(a)[hole], np.array(b)[hole])


@pytest.mark.parametrize("output_type", ["pil", "np", "pt"])
@pytest.mark.parametrize("options", [{}, {"padding_mask_crop": 8}, {"mask_dilate": 3}], ids=str)
def test_an_empty_mask_returns_the_picture_without_running_a_network(
    pipe, monkeypatch, options, output_type
):
    for stage in ("encode", "generate"):
        monkeypatch.setattr(type(pipe), stage, lambda *a, **k: pytest.fail("a network ran"))
    empty = mask_of(np.zeros((50, 70), bool))
    out = pipe(photo(), empty, num_images_per_prompt=2, output_type=output_type, **options)
    source = np.array(photo())
    assert len(out.images) == 2 and len(out.generated) == 0
    for image in out.images:
        expected = source if output_type == "pil" else source.astype(np.float32) / 255
        assert np.array_equal(channels_last(image), expected)


def test_of_a_batch_only_pictures_with_a_hole_reach_the_network(pipe):
    masks = [mask_of(middle_hole()), mask_of(np.zeros((50, 70), bool)), mask_of(middle_hole())]
    images = [photo(seed=s) for s in range(3)]
    out = pipe(images, masks, output_type="np")
    assert len(out.generated) == 2
    assert np.array_equal(out.images[1], np.array(images[1]).astype(np.float32) / 255)
    alone = pipe(images[2], masks[2], output_type="np").images[0]
    np.testing.assert_allclose(out.images[2], alone, atol=2e-5)


@pytest.mark.parametrize("options", [{}, {"padding_mask_crop": 8}, {"mask_blur": 5}], ids=str)
def test_a_full_mask_fills_everything_from_nothing(pipe, options):
    full = mask_of(np.ones((50, 70), bool))
    results = [np.array(pipe(photo(seed=s), full, **options).images[0]) for s in (0, 9)]
    assert np.array_equal(*results) and results[0].shape == (50, 70, 3)
    assert (results[0] != np.array(photo())).any(axis=2).mean() > 0.9


def test_distant_holes_of_a_12_megapixel_photo_are_cut_out_separately(invertfill):
    pixels = np.full((3000, 4000, 3), 90, np.uint8)
    hole = np.zeros((3000, 4000), bool)
    hole[100:180, 200:300] = hole[2500:2600, 3500:3560] = True
    out = invertfill(pixels, hole, padding_mask_crop=32, output_type="np")
    assert len(out.generated) == 2
    assert np.array_equal(out.images[0][~hole], pixels[~hole].astype(np.float32) / 255)
    assert (out.images[0][2500:2600, 3500:3560] != np.float32(90 / 255)).mean() > 0.5


def test_kinds_of_input_are_equivalent(pipe):
    image, hole = photo(), middle_hole()
    array = np.array(image)
    reference = np.array(pipe(image, mask_of(hole)).images[0])
    tensor = torch.from_numpy(array).permute(2, 0, 1)
    for same_image, same_mask in [
        (array, hole),
        (array[None], hole[None]),
        (tensor, torch.from_numpy(hole)),
        (tensor[None], torch.from_numpy(hole)[None, None]),
        ([image], [mask_of(hole)]),
        (array.astype(np.float64) / 255, hole.astype(np.float32)),
    ]:
        assert np.array_equal(np.array(pipe(same_image, same_mask).images[0]), reference)


def test_output_types_hold_the_same_picture(pipe):
    as_pil, as_np, as_pt = (
        pipe(photo(), mask_of(middle_hole()), output_type=kind).images
        for kind in ("pil", "np", "pt")
    )
    assert as_np.shape == (1, 50, 70, 3) and as_pt.shape == (1, 3, 50, 70)
    assert np.array_equal(np.array(as_pil[0]), np.rint(as_np[0] * 255).astype(np.uint8))
    assert np.array_equal(as_pt.permute(0, 2, 3, 1).numpy(), as_np)


def test_dataclass_and_tuple_hold_the_same(pipe):
    out = pipe(photo(), mask_of(middle_hole()), output_type="np")
    images, generated, *_ = pipe(
        photo(), mask_of(middle_hole()), output_type="np", return_dict=False
    )
    assert np.array_equal(out.images, images) and torch.equal(out.generated, generated)
    assert generated.shape == (1, 3, pipe.resolution, pipe.resolution)


def test_a_batch_is_its_pictures_one_by_one(pipe):
    images = [photo(seed=s) for s in range(3)]
    holes = [mask_of(np.roll(middle_hole(), 5 * s, axis=1)) for s in range(3)]
    together = pipe(images, holes, output_type="np").images
    for i in range(3):
        alone = pipe(images[i], holes[i], output_type="np").images[0]
        np.testing.assert_allclose(together[i], alone, atol=2e-5)


def test_one_mask_serves_a_batch(pipe):
    assert len(pipe([photo(), photo(seed=1)], mask_of(middle_hole())).images) == 2


def test_several_results_differ_in_the_hole_alone_and_are_reproducible(pipe):
    arguments = (photo(), mask_of(middle_hole()))
    generators = [[seeded(s) for s in (1, 2, 3)] for _ in range(2)]
    first, again = (
        pipe(*arguments, num_images_per_prompt=3, generator=g, output_type="np").images
        for g in generators
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first[0], first[1])
    alone = pipe(*arguments, generator=seeded(2), output_type="np").images[0]
    np.testing.assert_allclose(alone, first[1], atol=2e-5)


def test_results_with_constant_noise_are_all_the_same(pipe):
    arguments = (photo(), mask_of(middle_hole()))
    options = {"num_images_per_prompt": 3, "output_type": "np"}
    several = pipe(*arguments, noise_mode="const", **options).images
    assert np.abs(several - several[:1]).max() < 2e-5
    assert np.abs(several[0] - pipe(*arguments, output_type="np").images[0]).max() < 2e-5


def test_one_result_without_a_generator_is_always_the_same(pipe):
    results = [np.array(pipe(photo(), mask_of(middle_hole())).images[0]) for _ in range(2)]
    assert np.array_equal(*results)


def test_results_of_one_picture_follow_each_other(pipe):
    images = [photo(seed=s) for s in range(2)]
    out = pipe(images, mask_of(middle_hole()), num_images_per_prompt=2, output_type="np").images
    known = ~middle_hole()
    for result, source in zip(out, [images[0], images[0], images[1], images[1]]):
        assert np.array_equal(result[known], (np.array(source).astype(np.float32) / 255)[known])


@of_networks
@pytest.mark.parametrize("variation", [0, 0.7])
def test_a_generator_each_makes_results_independent_of_the_batch(pipe, variation):
    size = (180, 60)
    images, hole = [photo(size, seed=s) for s in range(2)], middle_hole(size)
    hole[1, 1] = True
    options = {"padding_mask_crop": 2, "variation": variation, "output_type": "np"}
    both = pipe(images, hole, generator=[seeded(5), seeded(6)], **options)
    assert len(both.generated) == 4  # several windows draw from one picture's generator
    alone = pipe(images[1], hole, generator=[seeded(6)], **options).images[0]
    np.testing.assert_allclose(both.images[1], alone, atol=2e-5)


@of_networks
def test_many_holes_are_filled_in_groups_as_they_would_be_at_once(pipe, monkeypatch):
    hole = np.zeros((200, 300), bool)
    hole[20::40, 20::40] = True
    options = {"padding_mask_crop": 1, "output_type": "np"}
    at_once = pipe(photo((300, 200)), hole, **options)
    assert len(at_once.generated) > 3
    latent = pipe(photo((300, 200)), hole, padding_mask_crop=1, output_type="latent").images
    monkeypatch.setattr("inpaint_hub.pipelines.windows.WINDOWS_AT_ONCE", 3)
    for latents in (None, latent):
        in_groups = pipe(photo((300, 200)), hole, latents=latents, **options).images
        np.testing.assert_allclose(in_groups, at_once.images, atol=2e-5)


@of_networks
def test_grouping_windows_keeps_results_independent_of_the_batch(pipe, monkeypatch):
    monkeypatch.setattr("inpaint_hub.pipelines.windows.WINDOWS_AT_ONCE", 3)
    images = [photo((200, 120), seed=s) for s in range(4)]
    holes = [np.zeros((120, 200), bool) for _ in images]
    for hole, count in zip(holes, (2, 2, 5, 1)):
        for i in range(count):
            hole[20 + 80 * (i // 3), 20 + 70 * (i % 3)] = True
    options = {"padding_mask_crop": 1, "output_type": "np"}
    together = pipe(images, holes, generator=[seeded(s) for s in range(4)], **options)
    assert len(together.generated) == 10
    counted = [index for index, count in enumerate((2, 2, 5, 1)) for _ in range(count)]
    assert window_groups([(index, None) for index in counted]) == [
        slice(0, 2), slice(2, 4), slice(4, 7), slice(7, 10),
    ]  # fmt: skip
    for i, hole in enumerate(holes):
        alone = pipe(images[i], hole, generator=[seeded(i)], **options).images[0]
        np.testing.assert_allclose(together.images[i], alone, atol=2e-5)


def test_the_list_of_generators_is_in_the_order_of_the_results(pipe):
    images, mask = [photo(seed=s) for s in range(2)], mask_of(middle_hole())
    generators = [seeded(s) for s in range(4)]
    options = {"output_type": "np", "variation": 0.5}
    out = pipe(images, mask, generator=generators, num_images_per_prompt=2, **options).images
    for i, result in enumerate(out):
        alone = pipe(images[i // 2], mask, generator=seeded(i), **options).images[0]
        np.testing.assert_allclose(result, alone, atol=2e-5)


def test_padding_beyond_the_picture_costs_no_memory(invertfill):
    hole = middle_hole()
    far, farther = (
        invertfill(photo(), hole, padding_mask_crop=p, output_type="np").images
        for p in (1000, 10**9)
    )
    assert np.array_equal(far, farther)


def test_variation_moves_the_hole_alone_and_repeats_with_its_generator(pipe):
    image, hole = photo(), middle_hole()
    none, little, much, again = (
        np.array(
            pipe(image, mask_of(hole), generator=seeded(1), variation=v, noise_mode="const").images[
                0
            ]
        ).astype(int)
        for v in (0, 0.1, 1, 1)
    )
    assert np.array_equal(much, again)
    for result in (none, little, much):
        assert np.array_equal(result[~hole], np.array(image)[~hole])
    assert 0 < np.abs(little - none).mean() < np.abs(much - none).mean()


def test_blur_fades_the_rim_into_the_known_color_and_leaves_the_middle(pipe):
    gray, hole = Image.new("RGB", (70, 50), (90, 90, 90)), np.zeros((50, 70), bool)
    hole[10:40, 20:50] = True
    sharp, soft = (
        np.array(pipe(gray, mask_of(hole), mask_blur=b).images[0]).astype(int) for b in (0, 5)
    )
    assert np.array_equal(sharp[20:30, 30:40], soft[20:30, 30:40])
    rim = (slice(10, 40), 20)
    assert np.abs(soft[rim] - 90).mean() < 0.4 * np.abs(sharp[rim] - 90).mean()


def test_latents_go_out_and_in_again(pipe):
    arguments = (photo(), mask_of(middle_hole()))
    latent = pipe(*arguments, output_type="latent").images
    assert isinstance(latent, FWLatent) and latent.ws.shape == (1, 8, 16)
    direct = pipe(*arguments, output_type="np").images
    assert np.array_equal(pipe(*arguments, latents=latent, output_type="np").images, direct)


def test_stages_compose_to_the_call(pipe):
    from inpaint_hub.compositing import mask_out

    prepared = pipe.preprocess(photo(), mask_of(middle_hole()))
    with torch.no_grad():
        seen = mask_out(prepared.image, prepared.mask), prepared.mask
        rendered = pipe.render(pipe.encode(*seen), *seen)
        filled = pipe.composite(prepared, rendered["generated"])
    expected = pipe(photo(), mask_of(middle_hole())).images[0]
    assert np.array_equal(np.array(filled[0]), np.array(expected))


def test_height_and_width_resize_first(pipe):
    result = pipe(photo(), mask_of(middle_hole()), height=40, width=60).images[0]
    assert result.size == (60, 40)


def test_without_compositing_the_generators_picture_is_shown(invertfill):
    result = np.array(invertfill(photo(), mask_of(middle_hole()), composite=False).images[0])
    square = np.array(photo())[:, 10:60]
    assert (result[:, 10:60] != square).mean() > 0.9
    assert np.array_equal(result[:, :10], np.array(photo())[:, :10])


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"height": 64}, ValueError, "both or neither"),
        ({"height": 0, "width": 5}, ValueError, "height is 0"),
        ({"padding_mask_crop": -1}, ValueError, "padding_mask_crop is -1"),
        ({"padding_mask_crop": 6.0}, ValueError, "padding_mask_crop is 6.0"),
        ({"context": -0.5}, ValueError, "context is -0.5"),
        ({"context": "1"}, ValueError, "context is '1'"),
        ({"context": 1, "padding_mask_crop": 6}, ValueError, "give one of them"),
        ({"num_images_per_prompt": 0}, ValueError, "num_images_per_prompt is 0"),
        ({"num_images_per_prompt": None}, ValueError, "num_images_per_prompt is None"),
        ({"mask_dilate": "3"}, ValueError, "mask_dilate is '3'"),
        ({"mask_dilate": float("nan")}, ValueError, "mask_dilate is nan"),
        ({"mask_blur": 1.5}, ValueError, "mask_blur is 1.5"),
        ({"output_type": "jpg"}, ValueError, "output_type is 'jpg'"),
        ({"noise_mode": "loud"}, ValueError, "noise_mode is 'loud'"),
        ({"variation": 2}, ValueError, "variation is 2"),
        ({"variation": "much"}, ValueError, "variation is 'much'"),
        ({"generator": [seeded(0)] * 3}, ValueError, "list of 3, expected 1"),
        ({"generator": 42}, TypeError, "generator is 42"),
        ({"generator": [None]}, TypeError, r"generator is \[None\]"),
        ({"latents": torch.zeros(1, 8, 16)}, TypeError, "latents is a Tensor"),
        ({"latents": FWLatent(torch.zeros(2, 8, 16))}, ValueError, "2 entries, expected 1"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_bad_arguments_are_named_with_what_they_were(invertfill, options, error, message):
    with pytest.raises(error, match=message):
        invertfill(photo(), mask_of(middle_hole()), **options)


def test_a_mask_without_a_hole_has_no_latent(invertfill):
    with pytest.raises(ValueError, match="give a mask with white"):
        invertfill(photo(), mask_of(np.zeros((50, 70), bool)), output_type="latent")


def test_networks_that_do_not_fit_each_other_are_refused():
    fill, invert = PIPELINES["InvertFillPipeline"], PIPELINES["PSPPipeline"]
    with pytest.raises(TypeError, match="encoder is a PSPEncoder.*expects InvertFillEncoder"):
        InvertFillPipeline(invert.encoder, fill.gan)
    for name, value in {"resolution": 64, "w_dim": 8}.items():
        other = StyleGAN2Generator(z_dim=16, num_mapping_layers=2, **{**TINY, name: value})
        with pytest.raises(ValueError, match=f"{name} is .* for the encoder and {value} for gan"):
            InvertFillPipeline(fill.encoder, other)


@pytest.mark.parametrize("kind", ["pil", "array", "several"])
def test_a_fill_that_alpha_hides_is_said(invertfill, kind):
    """Erased in an editor: the colors come back filled, and nobody sees them."""
    hole, alpha = middle_hole(), np.full((50, 70), 255, np.uint8)
    rows = np.flatnonzero(hole.any(axis=1))
    alpha[rows[0] : rows[len(rows) // 2], :] = 0
    share = np.mean(alpha[hole] == 0)
    erased = photo()
    erased.putalpha(Image.fromarray(alpha))
    given = {"pil": erased, "array": np.asarray(erased), "several": [photo(), erased]}[kind]
    index = int(kind == "several")
    with pytest.warns(UserWarning, match=f"{share:.0%} of the hole in picture {index} is fully"):
        result = invertfill(given, mask_of(hole), output_type="native").images[-1]
    assert np.array_equal(np.asarray(result)[..., 3], alpha)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        invertfill(from_pil(erased), mask_of(hole))  # who read it says it
        erased.putalpha(1)
        invertfill(erased, mask_of(hole))


def test_truncation_psi_scales_what_comes_of_chance_alone(pipe):
    """At 0 every random w is the mean; noise and the generator's stream stay as they are."""
    call = {"image": photo(), "mask_image": mask_of(middle_hole()), "output_type": "np"}
    whole, half, none, plain = (
        pipe(
            **call, generator=seeded(1), variation=v, noise_mode="const", truncation_psi=psi
        ).images
        for v, psi in ((0.8, 1.0), (0.8, 0.5), (0.8, 0.0), (0.0, 1.0))
    )
    assert np.array_equal(none, plain)
    assert np.array_equal(
        half, pipe(**call, generator=seeded(1), variation=0.4, noise_mode="const").images
    )
    assert not np.array_equal(half, plain) and not np.array_equal(half, whole)


@pytest.mark.parametrize("psi", [1.0, 0.3])
def test_truncation_psi_reaches_what_co_modulates(psi):
    encoder = InvertFillEncoder(**TINY, **SMALL, structure_channels=16, noise_levels="fine")
    torch.nn.init.ones_(encoder.noise_gate)
    pipe, shown = InvertFillPipeline(encoder.eval(), tiny_gan().eval()), []
    pipe.gan.synthesis.register_forward_pre_hook(lambda module, given: shown.append(given[0]))
    pipe(photo(), mask_of(middle_hole()), noise_mode="const")
    pipe(photo(), mask_of(middle_hole()), generator=[seeded(5)], truncation_psi=psi)
    with torch.no_grad():
        w = pipe.gan.mapping(torch.randn(1, pipe.gan.z_dim, generator=seeded(5)))
    moved = shown[1] - shown[0]
    expected = (psi * (w - pipe.gan.w_avg)).expand(len(encoder.noise_gate), -1)
    torch.testing.assert_close(moved[0, -len(encoder.noise_gate) :], expected, atol=1e-5, rtol=1e-4)


def test_call_signature_speaks_diffusers(pipe):
    names = set(inspect.signature(pipe.__call__).parameters)
    assert {
        "image", "mask_image", "height", "width", "padding_mask_crop", "num_images_per_prompt",
        "generator", "latents", "output_type", "return_dict",
    } <= names  # fmt: skip


def equal_weights(a, b):
    return all(
        torch.equal(x, y)
        for name in a.components
        for x, y in zip(
            getattr(a, name).state_dict().values(), getattr(b, name).state_dict().values()
        )
    )


@of_networks
def test_save_and_load_locally(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    loaded = type(pipe).from_pretrained(tmp_path)
    assert equal_weights(pipe, loaded)
    arguments = (photo(), mask_of(middle_hole()))
    assert np.array_equal(
        np.array(loaded(*arguments).images[0]), np.array(pipe(*arguments).images[0])
    )
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert index["gan"] == ["inpaint_hub", "StyleGAN2Generator"]
    assert "library_name: inpaint_hub" in (tmp_path / "README.md").read_text()
    assert json.loads((tmp_path / "config.json").read_text())["resolution"] == 32
    assert type(load_pipeline(tmp_path)) is type(pipe)


def test_saving_a_loaded_pipeline_tells_nobody_where_it_came_from(pipe, tmp_path):
    pipe.save_pretrained(tmp_path / "first")
    type(pipe).from_pretrained(tmp_path / "first").save_pretrained(tmp_path / "second")
    first, second = ((tmp_path / n / "model_index.json").read_text() for n in ("first", "second"))
    assert first == second and str(tmp_path) not in second


@of_networks
def test_variants_load_by_name_and_wrong_ones_are_errors(pipe, tmp_path):
    pipe.save_pretrained(tmp_path, variant="fp16")
    assert (tmp_path / "gan" / "model.fp16.safetensors").is_file()
    assert equal_weights(pipe, type(pipe).from_pretrained(tmp_path, variant="fp16"))
    with pytest.raises(FileNotFoundError, match="model.bf16.safetensors"):
        type(pipe).from_pretrained(tmp_path, variant="bf16")


def test_a_generator_by_itself_is_a_repository_like_the_others(tmp_path):
    torch.manual_seed(0)
    pipe = StyleGAN2Pipeline(gan=tiny_gan())
    pipe.save_pretrained(tmp_path / "first", variant="fp16")
    loaded = StyleGAN2Pipeline.from_pretrained(tmp_path / "first", variant="fp16")
    assert equal_weights(pipe, loaded)
    loaded.save_pretrained(tmp_path / "second")
    assert str(tmp_path) not in (tmp_path / "second" / "model_index.json").read_text()
    card = (tmp_path / "second" / "README.md").read_text()
    assert "unconditional-image-generation" in card and "mask" not in card
    with pytest.raises(TypeError, match="expects StyleGAN2Generator"):
        StyleGAN2Pipeline(gan=PIPELINES["PSPPipeline"].encoder)


@of_networks
def test_one_deleted_tensor_is_an_error(pipe, tmp_path):
    from safetensors.torch import load_file, save_file

    pipe.save_pretrained(tmp_path)
    file = tmp_path / "gan" / "model.safetensors"
    state = load_file(file)
    del state["synthesis.blocks.8.conv.bias"]
    save_file(state, file)
    with pytest.raises(RuntimeError, match="synthesis.blocks.8.conv.bias"):
        type(pipe).from_pretrained(tmp_path)


@of_networks
def test_dtype_its_alias_and_a_dict_of_dtypes(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    cls = type(pipe)
    assert cls.from_pretrained(tmp_path, dtype=torch.bfloat16).gan.dtype == torch.bfloat16
    assert cls.from_pretrained(tmp_path, torch_dtype=torch.bfloat16).gan.dtype == torch.bfloat16
    mixed = cls.from_pretrained(tmp_path, dtype={"gan": torch.bfloat16, "default": torch.float32})
    assert (mixed.gan.dtype, mixed.encoder.dtype) == (torch.bfloat16, torch.float32)


@of_networks
def test_device_map_is_the_name_of_a_device(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    for device in ("cpu", torch.device("cpu"), "meta"):
        loaded = type(pipe).from_pretrained(tmp_path, device_map=device)
        assert loaded.gan.device == loaded.encoder.device == torch.device(device)
    with pytest.raises(ValueError, match="balanced"):
        type(pipe).from_pretrained(tmp_path, device_map="balanced")


@of_networks
def test_components_can_be_passed_in_and_shared(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    loaded = type(pipe).from_pretrained(tmp_path, gan=pipe.gan)
    assert loaded.gan is pipe.gan
    assert {"encoder", "gan"} <= set(pipe.components)
    assert type(pipe)(**pipe.components).encoder is pipe.encoder
    assert type(pipe).from_pipe(pipe).gan is pipe.gan


def test_device_and_dtype_follow_the_components():
    pipe = tiny_pipeline().to("cpu", torch.bfloat16)
    assert pipe.dtype == torch.bfloat16 and pipe.device.type == "cpu"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="offloading needs an accelerator")
def test_cpu_offload_gives_the_same_picture():
    pipe, arguments = tiny_pipeline(), (photo(), mask_of(middle_hole()))
    expected = np.array(pipe(*arguments, output_type="np").images)
    pipe.enable_model_cpu_offload()
    np.testing.assert_allclose(pipe(*arguments, output_type="np").images, expected, atol=1e-3)


@of_networks
@pytest.mark.parametrize("stage", ["encode", "vary", "generate"])
def test_offloaded_networks_are_woken_before_they_work(pipe, stage):
    latent = pipe(photo(), mask_of(middle_hole()), output_type="latent").images
    pipe = type(pipe)(**pipe.components)
    pipe.enable_model_cpu_offload(device="cpu")
    woken = []
    for name, model in pipe.components.items():
        hook = model._hf_hook
        wake = hook.pre_forward
        hook.pre_forward = lambda *a, wake=wake, name=name: (woken.append(name), wake(*a))[1]
    with torch.no_grad():
        if stage == "encode":
            pipe.encode(torch.zeros(1, 3, 32, 32), torch.zeros(1, 1, 32, 32))
        elif stage == "vary":
            pipe.vary(latent, 0.5)
        else:
            pipe.generate(latent)
    pipe.remove_all_hooks()
    assert woken == ["encoder" if stage == "encode" else "gan"]


def test_group_offloading_gives_the_same_picture():
    pipe, arguments = tiny_pipeline(), (photo(), mask_of(middle_hole()))
    expected = np.array(pipe(*arguments).images[0])
    cpu = torch.device("cpu")
    pipe.enable_group_offload(onload_device=cpu, offload_device=cpu, offload_type="leaf_level")
    assert np.array_equal(np.array(pipe(*arguments).images[0]), expected)


@of_networks
def test_compiled_networks_are_saved_as_what_they_wrap(pipe, tmp_path):
    compiled = type(pipe)(**{n: torch.compile(model) for n, model in pipe.components.items()})
    compiled.save_pretrained(tmp_path)
    assert equal_weights(pipe, type(pipe).from_pretrained(tmp_path))


@of_networks
def test_both_components_are_needed(pipe, tmp_path):
    assert type(pipe)._optional_components == []
    pipe.save_pretrained(tmp_path)
    shutil.rmtree(tmp_path / "encoder")
    with pytest.raises((OSError, ValueError), match="encoder"):
        type(pipe).from_pretrained(tmp_path)


def test_rotated_photos_are_filled_upright(pipe):
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    photo((50, 70)).save(buffer, "PNG", exif=exif)
    upright = photo((50, 70)).transpose(Image.Transpose.ROTATE_270)
    result = pipe(Image.open(buffer), mask_of(middle_hole())).images[0]
    assert result.size == (70, 50)
    known = ~middle_hole()
    assert np.array_equal(np.array(result)[known], np.array(upright)[known])


def test_our_base_class_is_registered_with_diffusers():
    assert pipeline_loading_utils.LOADABLE_CLASSES["inpaint_hub"] == {
        "HubModel": ["save_pretrained", "from_pretrained"]
    }
    assert "HubModel" in pipeline_loading_utils.ALL_IMPORTABLE_CLASSES


def test_a_pipeline_of_another_kind_is_refused(tmp_path):
    PIPELINES["PSPPipeline"].save_pretrained(tmp_path)
    with pytest.raises(TypeError, match="load_pipeline"):
        InvertFillPipeline.from_pretrained(tmp_path)


def test_a_card_that_is_there_is_not_overwritten(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    (tmp_path / "README.md").write_text("# by hand")
    pipe.save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "# by hand"


@of_networks
def test_shards_load(pipe, tmp_path):
    pipe.save_pretrained(tmp_path, max_shard_size="50KB")
    assert (tmp_path / "gan" / "model.safetensors.index.json").is_file()
    assert equal_weights(pipe, type(pipe).from_pretrained(tmp_path))


def test_the_example_in_the_docstring_is_shown(pipe):
    assert ">>> pipe(photo, mask).images[0].save" in inspect.getdoc(pipe.__call__)


def test_folders_that_are_no_pipelines_are_errors(tmp_path):
    for load in (load_pipeline, InvertFillPipeline.from_pretrained):
        with pytest.raises(FileNotFoundError, match="model_index.json"):
            load(tmp_path)
        with pytest.raises(FileNotFoundError, match="neither a folder nor a Hub id"):
            load(tmp_path / "nowhere")
        with pytest.raises(FileNotFoundError, match="owner/name.*connect once"):
            load("owner/name")
    for index in ('{"_class_name": "StableDiffusionPipeline"}', "{}"):
        (tmp_path / "model_index.json").write_text(index)
        with pytest.raises(ValueError, match="InvertFillPipeline"):
            load_pipeline(tmp_path)


class CardExample:
    """The Python of a card, to be run beside photo.png and mask.png."""

    def __init__(self, card, place):
        (self.code,) = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
        self.place = place
        photo().save(place / "photo.png")
        mask_of(middle_hole()).save(place / "mask.png")

    def run(self, monkeypatch):
        monkeypatch.chdir(self.place)
        exec(compile(self.code, "card", "exec"), {})


def test_the_example_of_a_saved_pipelines_card_runs(pipe, tmp_path, monkeypatch):
    pipe.save_pretrained(tmp_path / "saved")
    card = (tmp_path / "saved" / "README.md").read_text(encoding="utf-8")
    assert "<this repository>" in card
    CardExample(card.replace("<this repository>", "saved"), tmp_path).run(monkeypatch)
    with Image.open(tmp_path / "filled.png") as filled:
        known = ~middle_hole()
        assert np.array_equal(np.array(filled)[known], np.array(photo())[known])
    for name in pipe.papers:
        assert f"[{name}](https://" in card


def test_every_pipeline_names_its_papers():
    classes, found = [HubPipeline], []
    while classes:
        found += (now := [c for cls in classes for c in cls.__subclasses__()])
        classes = now
    ours = [cls for cls in found if cls.__module__.startswith("inpaint_hub")]  # not other tests'
    named = [cls for cls in ours if cls.papers]
    assert {cls.__name__ for cls in ours if cls not in named} <= {
        "InpaintPipeline",
        "SearchPipeline",
        "AutoInpaintPipeline",
        "NestedPipeline",
    }
    assert {name for cls in named for name in cls.papers} == set(PAPERS)
