"""The baselines that run in one pass: CoModGAN and the one-shot latent network."""

import numpy as np
import pytest
import torch
from test_pipelines import SMALL, TINY, mask_of, middle_hole, photo, seeded, tiny_gan

from inpaint_hub import (
    CoModGANGenerator,
    CoModGANPipeline,
    FWLatent,
    LahiriEncoder,
    LahiriPipeline,
    StyleGAN2Generator,
    load_pipeline,
)
from inpaint_hub.blending import BLENDS
from inpaint_hub.comodgan import CoModulationEncoder


def tiny_comodgan():
    torch.manual_seed(0)
    gan = CoModGANGenerator(z_dim=12, num_mapping_layers=2, global_dim=24, **TINY)
    gan.update_w_avg(1000, seeded(0))
    return gan.eval()


def tiny_lahiri():
    torch.manual_seed(0)
    encoder = LahiriEncoder(resolution=32, z_dim=16, **SMALL)
    return LahiriPipeline(encoder.eval(), tiny_gan().eval())


PIPELINES = {"comodgan": CoModGANPipeline(tiny_comodgan()), "lahiri": tiny_lahiri()}


@pytest.fixture(params=PIPELINES)
def pipe(request):
    return PIPELINES[request.param]


COMOD = PIPELINES["comodgan"]


@pytest.mark.parametrize("blend", BLENDS)
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (70, 50)], ids=str)
def test_known_pixels_come_back_bit_for_bit(pipe, size, blend):
    image, hole = photo(size), middle_hole(size)
    options = {"num_images_per_prompt": 2, "variation": 0.3, "padding_mask_crop": 6}
    for result in pipe(image, mask_of(hole), blend=blend, **options).images:
        assert np.array_equal(np.array(result)[~hole], np.array(image)[~hole])
        if size == (70, 50):
            assert not np.array_equal(np.array(result)[hole], np.array(image)[hole])


def test_the_hole_has_no_say_and_the_known_pixels_have(pipe):
    hole = middle_hole()
    one, other, third = np.array(photo(seed=1)), np.array(photo(seed=1)), np.array(photo(seed=2))
    other[hole] = 255 - other[hole]
    a, b, c = (pipe(p, hole, output_type="np").images[0] for p in (one, other, third))
    assert np.array_equal(a[hole], b[hole]) and not np.array_equal(a[hole], c[hole])


@pytest.mark.parametrize("options", [{}, {"num_images_per_prompt": 2}], ids=str)
def test_a_batch_is_its_pictures_one_by_one(pipe, options):
    images = [photo(seed=s) for s in range(3)]
    holes = [mask_of(np.roll(middle_hole(), 5 * s, axis=1)) for s in range(3)]
    samples = options.get("num_images_per_prompt", 1)

    def draws(first, count):
        return [seeded(s) for s in range(first, first + count)] if options else None

    options = options | {"output_type": "np"}
    together = pipe(images, holes, generator=draws(0, 3 * samples), **options).images
    for i in range(3):
        own = draws(i * samples, samples)
        alone = pipe(images[i], holes[i], generator=own, **options).images
        np.testing.assert_allclose(
            together[i * samples : (i + 1) * samples], alone, atol=1.01 / 255
        )


def test_one_result_is_always_the_same_and_latents_go_out_and_in(pipe):
    call = {"image": photo(), "mask_image": mask_of(middle_hole())}
    first, again = (pipe(**call, output_type="np").images for _ in range(2))
    assert np.array_equal(first, again)
    latent = pipe(**call, output_type="latent").images
    assert isinstance(latent, FWLatent)
    assert np.array_equal(pipe(**call, latents=latent, output_type="np").images, first)


def test_save_and_load(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    loaded = load_pipeline(tmp_path)
    assert type(loaded) is type(pipe) and set(loaded.components) == set(pipe.components)
    for name, model in pipe.components.items():
        theirs = getattr(loaded, name).state_dict()
        assert all(torch.equal(theirs[k], v) for k, v in model.state_dict().items())
        assert getattr(loaded, name).config == model.config
    call = (photo(), mask_of(middle_hole()))
    assert np.array_equal(loaded(*call).images[0], pipe(*call).images[0])
    pipe.save_pretrained(tmp_path, variant="fp16")
    half = type(pipe).from_pretrained(tmp_path, variant="fp16", dtype=torch.bfloat16)
    assert half(*call).images[0].size == (70, 50)


def test_several_comodgan_results_differ_by_z_and_repeat_with_their_generators():
    call = {"image": photo(), "mask_image": mask_of(middle_hole()), "output_type": "np"}
    hole = middle_hole()
    strengths = [p for n, p in COMOD.gan.named_parameters() if n.endswith("noise_strength")]
    assert not any(p.any() for p in strengths)  # so that noise makes no difference here
    draws = [[seeded(s) for s in (1, 2, 3)] for _ in range(2)]
    first, again = (COMOD(**call, num_images_per_prompt=3, generator=g).images for g in draws)
    assert np.array_equal(first, again)
    for a, b in ((0, 1), (1, 2), (0, 2)):
        assert np.abs(first[a] - first[b])[hole].mean() > 0.001
    mean = COMOD(**call).images[0]
    assert not np.array_equal(first[0], mean)
    constant = COMOD(**call, num_images_per_prompt=2, noise_mode="const").images
    np.testing.assert_allclose(constant, [mean, mean], atol=1.01 / 255)


def test_truncation_psi_pulls_comodgans_random_w_to_the_mean():
    shown, call = [], {"image": photo(), "mask_image": mask_of(middle_hole())}

    def ws_of(psi, **options):
        hook = COMOD.gan.synthesis.register_forward_pre_hook(lambda m, given: shown.append(given))
        try:
            COMOD(**call, generator=[seeded(3)], truncation_psi=psi, **options)
        finally:
            hook.remove()
        return shown.pop()[0]

    w_dim = len(COMOD.gan.w_avg)
    z = torch.randn(COMOD.gan.z_dim, generator=seeded(3))
    with torch.no_grad():
        w = COMOD.gan.mapping(z[None])[0]
    whole = ws_of(1.0)
    for psi in (1.0, 0.4, 0.0):
        ws = ws_of(psi)
        expected = COMOD.gan.w_avg + psi * (w - COMOD.gan.w_avg)
        torch.testing.assert_close(ws[0, :, :w_dim], expected.expand(len(ws[0]), -1))
        assert torch.equal(ws[..., w_dim:], whole[..., w_dim:])  # what the picture says stays
        varied = ws_of(psi, noise_mode="const", variation=0.5)
        moved = varied - ws_of(psi, noise_mode="const")
        expected = 0.5 * psi * (w - COMOD.gan.w_avg)
        torch.testing.assert_close(moved[0, 0, :w_dim], expected, atol=1e-6, rtol=1e-4)
    for psi in (-0.1, 1.5, "1"):
        with pytest.raises(ValueError, match="truncation_psi is .*expected a number from 0 to 1"):
            COMOD(**call, truncation_psi=psi)


def test_the_pipeline_shows_what_the_network_makes():
    image = torch.rand(2, 3, 32, 32, generator=seeded(0)) * 2 - 1
    mask = torch.zeros(2, 1, 32, 32)
    mask[..., 8:20] = 1
    masked = torch.where(mask > 0.5, torch.zeros(()), image)
    with torch.no_grad():
        latent = COMOD.encode(masked, mask)
        generated = COMOD.generate(latent, "random", [seeded(1), seeded(2)])
        z = torch.cat([torch.randn(1, 12, generator=seeded(s)) for s in (1, 2)])
        direct = COMOD.gan(masked, mask, z)
        mean = COMOD.gan(masked, mask, z, truncation_psi=0.0)
    hole = (mask > 0.5).expand_as(image)
    np.testing.assert_allclose(generated[hole], direct[hole], atol=1e-5)
    np.testing.assert_allclose(COMOD.generate(latent).detach()[hole], mean[hole], atol=1e-5)
    assert torch.equal(direct[~hole], image[~hole])


def test_the_global_code_and_every_skip_reach_the_picture():
    gan, z = tiny_comodgan(), torch.randn(1, 12, generator=seeded(0))
    image, mask = torch.rand(1, 3, 32, 32, generator=seeded(1)), torch.zeros(1, 1, 32, 32)
    with torch.no_grad():
        code, features = gan.encoder(image, mask)
        ws = gan.co_modulate(gan.mapping(z), code)
        assert ws.shape == (1, 8, 16 + 24) and list(features) == [32, 16, 8, 4]
        picture = gan.synthesis(ws, features)
        other = gan.synthesis(gan.co_modulate(gan.mapping(z), code * 2), features)
        assert not torch.equal(other, picture)
        for r in features:
            without = {q: f for q, f in features.items() if q != r}
            assert not torch.equal(gan.synthesis(ws, without), picture)


def test_every_parameter_of_comodgan_gets_a_gradient():
    gan = tiny_comodgan().train()
    mask = torch.ones(2, 1, 32, 32)
    mask[..., :8] = 0
    masked = torch.where(mask > 0.5, torch.zeros(()), torch.rand(2, 3, 32, 32))
    picture = gan(masked, mask, torch.randn(2, 12), noise_mode="random")
    picture.square().mean().backward()
    for name, parameter in gan.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_the_encoder_sees_the_mask():
    encoder = CoModulationEncoder([4, 8, 16], {4: 8, 8: 8, 16: 4}, 6)
    gray = torch.zeros(1, 3, 16, 16)
    codes = [encoder(gray, torch.full((1, 1, 16, 16), m))[0] for m in (0.0, 1.0)]
    assert not torch.equal(*codes)


def test_lahiri_renders_the_z_it_predicts():
    pipe = PIPELINES["lahiri"]
    masked, mask = torch.rand(2, 3, 32, 32), torch.zeros(2, 1, 32, 32)
    with torch.no_grad():
        z = pipe.encoder(masked, mask)
        assert z.shape == (2, 16)
        assert torch.equal(pipe.generate(pipe.encode(masked, mask)), pipe.gan(z))
        assert not torch.equal(pipe.encoder(masked, mask + 1), z)


def test_every_parameter_of_lahiris_network_gets_a_gradient():
    encoder = LahiriEncoder(resolution=32, z_dim=16, **SMALL)
    encoder(torch.rand(2, 3, 32, 32), torch.zeros(2, 1, 32, 32)).square().mean().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_networks_and_pictures_that_do_not_fit_are_refused():
    gan = StyleGAN2Generator(z_dim=8, num_mapping_layers=2, **TINY)
    with pytest.raises(ValueError, match="z_dim is 16 for the encoder and 8 for gan"):
        LahiriPipeline(PIPELINES["lahiri"].encoder, gan)
    with pytest.raises(TypeError, match="gan is a StyleGAN2Generator.*CoModGANGenerator"):
        CoModGANPipeline(gan)
    with pytest.raises(ValueError, match=r"masked_image has shape \(1, 3, 16, 16\)"):
        COMOD.gan(torch.zeros(1, 3, 16, 16), torch.zeros(1, 1, 16, 16), torch.zeros(1, 12))
