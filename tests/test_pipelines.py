"""The pipelines: diffusers' conventions outside, the hard constraint inside."""

import inspect
import json

import numpy as np
import pytest
import torch
from diffusers.pipelines import pipeline_loading_utils
from PIL import Image

from inpaint_hub import (
    FWLatent,
    InvertFillEncoder,
    InvertFillPipeline,
    PSPEncoder,
    PSPPipeline,
    StyleGAN2Generator,
    load_pipeline,
)

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
    if cls is PSPPipeline:
        encoder = PSPEncoder(resolution=32, w_dim=16, **SMALL)
    else:
        encoder = InvertFillEncoder(**TINY, **SMALL, structure_channels=16)
        for conv in encoder.image_branch.to_features.values():
            torch.nn.init.normal_(conv.weight, std=0.1)  # as after training: zero would hide I_m
    return cls(encoder.eval(), tiny_gan().eval())


PIPELINES = {cls.__name__: tiny_pipeline(cls) for cls in (InvertFillPipeline, PSPPipeline)}


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


OPTIONS = [
    {},
    {"padding_mask_crop": 6},
    {"mask_blur": 4},
    {"num_images_per_prompt": 2},
    {"noise_mode": "none"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (32, 32), (70, 50), (333, 217)], ids=str)
def test_known_pixels_come_back_bit_for_bit(pipe, size, options):
    image, hole = photo(size), middle_hole(size)
    for result in pipe(image, mask_of(hole), **options).images:
        assert result.size == size and result.mode == "RGB"
        assert np.array_equal(np.array(result)[~hole], np.array(image)[~hole])
        if size == (70, 50):
            assert not np.array_equal(np.array(result), np.array(image))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("output_type", ["pil", "np", "pt"])
def test_known_values_are_equal_in_every_output_type_and_dtype(dtype, output_type):
    pipe = tiny_pipeline().to(dtype)
    image, hole = photo(), middle_hole()
    out = pipe(image, mask_of(hole), output_type=output_type).images[0]
    source = np.array(image)
    if output_type != "pil":
        source = source.astype(np.float32) / 255
    out = out.permute(1, 2, 0).numpy() if output_type == "pt" else np.array(out)
    assert np.array_equal(out[~hole], source[~hole])


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
    grown = np.zeros_like(hole)
    grown[17:27, 27:37] = True
    assert not changed[~grown].any() and changed[grown & ~hole].any()


def test_the_holes_old_content_cannot_influence_the_result(pipe):
    hole = middle_hole((333, 217))
    one, other = np.array(photo((333, 217), 1)), np.array(photo((333, 217), 1))
    other[hole] = np.array(photo((333, 217), 2))[hole]
    for options in ({}, {"padding_mask_crop": 10}, {"mask_blur": 3}):
        a = pipe(Image.fromarray(one), mask_of(hole), **options).images[0]
        b = pipe(Image.fromarray(other), mask_of(hole), **options).images[0]
        assert np.array_equal(np.array(a), np.array(b))


def test_the_known_pixels_do_influence_the_result(pipe):
    hole = middle_hole()
    a, b = (pipe(photo(seed=s), mask_of(hole)).images[0] for s in (1, 2))
    assert not np.array_equal(np.array(a)[hole], np.array(b)[hole])


def test_an_empty_mask_returns_the_picture_without_running_the_network(pipe, monkeypatch):
    monkeypatch.setattr(type(pipe), "encode", lambda *a: pytest.fail("the network ran"))
    out = pipe(photo(), mask_of(np.zeros((50, 70), bool)))
    assert np.array_equal(np.array(out.images[0]), np.array(photo()))
    assert len(out.generated) == 0


def test_a_full_mask_fills_everything(pipe):
    result = pipe(photo(), mask_of(np.ones((50, 70), bool))).images[0]
    assert result.size == (70, 50)
    other = pipe(photo(seed=9), mask_of(np.ones((50, 70), bool))).images[0]
    assert np.array_equal(np.array(result), np.array(other))


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
    images, generated = pipe(photo(), mask_of(middle_hole()), output_type="np", return_dict=False)
    assert np.array_equal(out.images, images) and torch.equal(out.generated, generated)
    assert generated.shape == (1, 3, 32, 32)


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


def test_a_generator_each_makes_results_independent_of_the_batch(pipe):
    images, holes = [photo(seed=s) for s in range(2)], mask_of(middle_hole())
    both = pipe(images, holes, generator=[seeded(5), seeded(6)], output_type="np").images
    alone = pipe(images[1], holes, generator=[seeded(6)], output_type="np").images
    np.testing.assert_allclose(both[1], alone[0], atol=2e-5)


def test_variation_changes_the_hole_alone_and_repeats_with_its_generator(pipe):
    image, hole = photo(), middle_hole()
    results = [
        np.array(pipe(image, mask_of(hole), generator=seeded(1), variation=v).images[0]).astype(int)
        for v in (0, 0.3, 1, 1)
    ]
    assert np.array_equal(results[2], results[3])
    for result in results:
        assert np.array_equal(result[~hole], np.array(image)[~hole])
    distances = [np.abs(result - results[0]).mean() for result in results]
    assert distances[0] == 0 and distances[1] > 0 and distances[2] > 0


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
        latent = pipe.encode(mask_out(prepared.image, prepared.mask), prepared.mask)
        filled = pipe.composite(prepared, pipe.generate(latent))
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
    "options, message",
    [
        ({"height": 64}, "both or neither"),
        ({"padding_mask_crop": -1}, "padding_mask_crop is -1"),
        ({"num_images_per_prompt": 0}, "num_images_per_prompt is 0"),
        ({"mask_blur": 1.5}, "mask_blur is 1.5"),
        ({"output_type": "jpg"}, "output_type is 'jpg'"),
        ({"generator": [seeded(0)] * 3}, "expected 1"),
        ({"noise_mode": "loud"}, "loud"),
        ({"variation": 2}, "variation is 2"),
        ({"latents": FWLatent(torch.zeros(2, 8, 16))}, "2 entries, expected 1"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_bad_arguments_are_named_with_what_they_were(invertfill, options, message):
    with pytest.raises(ValueError, match=message):
        invertfill(photo(), mask_of(middle_hole()), **options)


def test_call_signature_speaks_diffusers(pipe):
    names = set(inspect.signature(pipe.__call__).parameters)
    assert {
        "image", "mask_image", "height", "width", "padding_mask_crop", "num_images_per_prompt",
        "generator", "latents", "output_type", "return_dict",
    } <= names  # fmt: skip


def equal_weights(a, b):
    return all(
        torch.equal(x, y)
        for name in ("encoder", "gan")
        for x, y in zip(
            getattr(a, name).state_dict().values(), getattr(b, name).state_dict().values()
        )
    )


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


def test_variants_load_by_name_and_wrong_ones_are_errors(pipe, tmp_path):
    pipe.save_pretrained(tmp_path, variant="fp16")
    assert (tmp_path / "gan" / "model.fp16.safetensors").is_file()
    assert equal_weights(pipe, type(pipe).from_pretrained(tmp_path, variant="fp16"))
    with pytest.raises(FileNotFoundError, match="model.bf16.safetensors"):
        type(pipe).from_pretrained(tmp_path, variant="bf16")


def test_one_deleted_tensor_is_an_error(pipe, tmp_path):
    from safetensors.torch import load_file, save_file

    pipe.save_pretrained(tmp_path)
    file = tmp_path / "gan" / "model.safetensors"
    state = load_file(file)
    del state["synthesis.blocks.8.conv.bias"]
    save_file(state, file)
    with pytest.raises(RuntimeError, match="synthesis.blocks.8.conv.bias"):
        type(pipe).from_pretrained(tmp_path)


def test_dtype_its_alias_and_a_dict_of_dtypes(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    cls = type(pipe)
    assert cls.from_pretrained(tmp_path, dtype=torch.bfloat16).gan.dtype == torch.bfloat16
    assert cls.from_pretrained(tmp_path, torch_dtype=torch.bfloat16).gan.dtype == torch.bfloat16
    mixed = cls.from_pretrained(tmp_path, dtype={"gan": torch.bfloat16, "default": torch.float32})
    assert (mixed.gan.dtype, mixed.encoder.dtype) == (torch.bfloat16, torch.float32)


def test_device_map_is_the_name_of_a_device(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    assert type(pipe).from_pretrained(tmp_path, device_map="cpu").device.type == "cpu"
    with pytest.raises(ValueError, match="balanced"):
        type(pipe).from_pretrained(tmp_path, device_map="balanced")


def test_components_can_be_passed_in_and_shared(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    loaded = type(pipe).from_pretrained(tmp_path, gan=pipe.gan)
    assert loaded.gan is pipe.gan
    assert set(pipe.components) == {"encoder", "gan"}
    assert type(pipe)(**pipe.components).encoder is pipe.encoder
    assert type(pipe).from_pipe(pipe).gan is pipe.gan


def test_device_and_dtype_follow_the_components():
    pipe = tiny_pipeline().to("cpu", torch.bfloat16)
    assert pipe.dtype == torch.bfloat16 and pipe.device.type == "cpu"


def test_our_base_class_is_registered_with_diffusers():
    assert pipeline_loading_utils.LOADABLE_CLASSES["inpaint_hub"] == {
        "HubModel": ["save_pretrained", "from_pretrained"]
    }
    assert "HubModel" in pipeline_loading_utils.ALL_IMPORTABLE_CLASSES


def test_folders_that_are_no_pipelines_are_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="model_index.json"):
        load_pipeline(tmp_path)
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    with pytest.raises(ValueError, match="StableDiffusionPipeline"):
        load_pipeline(tmp_path)
