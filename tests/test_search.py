"""Latent searches: what they minimize, that they find what is there, and when they end."""

import threading
import time

import numpy as np
import pytest
import torch
from test_pipelines import mask_of, middle_hole, photo

from inpaint_hub import (
    MGANPriorPipeline,
    PSPEncoder,
    StyleGAN2Discriminator,
    StyleGAN2Generator,
    StyleGAN2Pipeline,
    WPlusSearchPipeline,
    YehPipeline,
    load_pipeline,
)
from inpaint_hub.search import Limits, Schedule, multi_code_search, yeh_search
from inpaint_hub.search.descent import descend, ramped
from inpaint_hub.search.mganprior import mixed, through
from inpaint_hub.search.objective import (
    coarse_context,
    coarse_reconstruction,
    context_weights,
    realism,
    reconstruction,
    squared_error,
    weighted_context,
)
from inpaint_hub.search.schedule import stages_of
from inpaint_hub.search.w_plus import w_plus_search


def tiny_gan():
    torch.manual_seed(0)
    gan = StyleGAN2Generator(
        resolution=16, z_dim=16, w_dim=16, channel_base=128, channel_max=16, num_mapping_layers=2
    )
    for name, parameter in gan.named_parameters():
        if name.endswith("noise_strength"):
            parameter.data.fill_(0.1)
    return gan.eval()


def tiny_discriminator():
    torch.manual_seed(3)
    return StyleGAN2Discriminator(resolution=16, channel_base=128, channel_max=16).eval()


def equal_weights_of(a, b):
    return all(
        torch.equal(x, y)
        for name in a.components
        for x, y in zip(
            getattr(a, name).state_dict().values(), getattr(b, name).state_dict().values()
        )
    )


def quiet(pipe):
    pipe.set_progress_bar_config(disable=True)
    return pipe


def generator_with_mean():
    gan = tiny_gan()
    gan.update_w_avg(1000, torch.Generator().manual_seed(0))
    return gan


GAN = generator_with_mean()
SEARCHES = {
    "w_plus": quiet(WPlusSearchPipeline(GAN, num_steps=3)),
    "yeh": quiet(YehPipeline(GAN, tiny_discriminator(), num_steps=3)),
    "mganprior": quiet(MGANPriorPipeline(GAN, num_steps=3, num_codes=3)),
}


@pytest.fixture(params=SEARCHES)
def pipe(request):
    return SEARCHES[request.param]


def made_by_the_generator(seed):
    """uint8 [16,16,3] that GAN itself made."""
    z = torch.randn(1, GAN.z_dim, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        picture = GAN(z)[0].clamp(-1, 1).add(1).mul(127.5).round().byte()
    return picture.permute(1, 2, 0).numpy()


def middle_of_16():
    hole = np.zeros((16, 16), bool)
    hole[5:12, 6:13] = True
    return hole


def test_a_search_finds_pictures_the_generator_made(pipe):
    pictures, hole, losses = [made_by_the_generator(s) for s in range(6)], middle_of_16(), []
    options = {"output_type": "np", "blend": "none", "composite": False}
    start = pipe(pictures, hole, num_inference_steps=1, **options).images
    found = pipe(
        pictures, hole, num_inference_steps=100, **options,
        callback_on_step_end=lambda p, i, t, values: losses.append(values["loss"].mean().item()),
    ).images  # fmt: skip
    assert losses[-1] < 0.3 * losses[0]
    truth = np.stack(pictures) / 255
    errors = [np.abs(images - truth) for images in (start, found)]
    for part in (hole, ~hole):
        assert errors[1][:, part].mean() < 0.65 * errors[0][:, part].mean()


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (70, 50)], ids=str)
@pytest.mark.parametrize("options", [{}, {"blend": "gp", "padding_mask_crop": 6}], ids=str)
def test_known_pixels_come_back_bit_for_bit(pipe, size, options):
    image, hole = photo(size), middle_hole(size)
    result = pipe(image, mask_of(hole), num_inference_steps=2, **options).images[0]
    assert np.array_equal(np.array(result)[~hole], np.array(image)[~hole])
    if size == (70, 50):
        assert not np.array_equal(np.array(result)[hole], np.array(image)[hole])


def test_the_holes_old_content_cannot_influence_the_result(pipe):
    hole = middle_hole()
    one, other = np.array(photo(seed=1)), np.array(photo(seed=1))
    other[hole] = 255 - other[hole]
    a, b = (pipe(pixels, hole, output_type="np").images for pixels in (one, other))
    assert np.array_equal(a[:, hole], b[:, hole])


def test_a_batch_is_its_pictures_one_by_one(pipe):
    images = [photo(seed=s) for s in range(3)]
    holes = [mask_of(np.roll(middle_hole(), 5 * s, axis=1)) for s in range(3)]
    together = pipe(images, holes, output_type="np").images
    for i in range(3):
        alone = pipe(images[i], holes[i], output_type="np").images[0]
        np.testing.assert_allclose(together[i], alone, atol=1.01 / 255)  # Adam amplifies rounding


def test_no_weight_moves_and_none_gets_a_gradient(pipe):
    before = {n: p.clone() for n, p in pipe.gan.state_dict().items()}
    pipe(photo(), mask_of(middle_hole()))
    assert all(torch.equal(before[n], p) for n, p in pipe.gan.state_dict().items())
    assert all(p.grad is None for p in pipe.gan.parameters())


def test_a_search_works_where_gradients_are_off(pipe):
    call = {"image": photo(), "mask_image": mask_of(middle_hole()), "output_type": "np"}
    expected = pipe(**call).images
    for mode in (torch.inference_mode, torch.no_grad):
        with mode():
            assert np.array_equal(pipe(**call).images, expected)


def test_latents_go_out_and_in_again_without_a_search(pipe):
    call = (photo(), mask_of(middle_hole()))
    latent = pipe(*call, output_type="latent").images
    seen = []
    rendered = pipe(
        *call, latents=latent, output_type="np", callback_on_step_end=lambda *a: seen.append(a)
    )
    assert not seen
    np.testing.assert_allclose(rendered.images, pipe(*call, output_type="np").images, atol=1e-6)


def test_the_callback_sees_every_step_and_can_end_the_search(pipe):
    seen = []

    def stop_at_the_second(this, step, timestep, values):
        seen.append((step, values["loss"].shape, [len(code) for code in values["codes"]]))
        this._interrupt = step == 1

    call = ([photo(), photo(seed=1)], mask_of(middle_hole()))
    pipe(*call, callback_on_step_end=stop_at_the_second)
    assert [s for s, *_ in seen] == [0, 1] and pipe.interrupt
    assert all(shape == (2,) and set(lengths) == {2} for _, shape, lengths in seen)
    seen.clear()
    pipe(*call, callback_on_step_end=lambda p, step, t, v: seen.append(step))
    assert seen == [0, 1, 2] and not pipe.interrupt


def test_two_threads_search_on_one_pipeline_each_with_its_own_callback(pipe):
    seen, failures = {1: [], 2: []}, []

    def call(count):
        def told(this, step, timestep, values):
            seen[count].append(len(values["loss"]))
            time.sleep(0.01)

        try:
            pictures = [photo(seed=i) for i in range(count)]
            pipe(pictures, mask_of(middle_hole()), callback_on_step_end=told)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=call, args=(count,)) for count in seen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert seen == {1: [1] * 3, 2: [2] * 3}


class Clock:
    """Stands still but when it is told."""

    now = 0.0

    def monotonic(self):
        return self.now


def test_the_time_budget_ends_the_call_and_every_window_gets_a_share(pipe, monkeypatch):
    monkeypatch.setattr("inpaint_hub.pipelines.windows.WINDOWS_AT_ONCE", 1)
    clock, steps = Clock(), []
    for module in ("inpaint_hub.pipelines.search", "inpaint_hub.search.descent"):
        monkeypatch.setattr(f"{module}.time", clock)

    def an_eighth_of_a_second_later(pipe, step, timestep, values):
        clock.now += 0.125
        steps.append(step)

    pipe(
        [photo(), photo(seed=1)],
        mask_of(middle_hole()),
        num_inference_steps=10**6,
        max_seconds=1.0,
        callback_on_step_end=an_eighth_of_a_second_later,
    )
    assert steps == [0, 1, 2, 3] * 2


def test_the_progress_bar_counts_the_steps(pipe, capsys):
    try:
        pipe.set_progress_bar_config(disable=False)
        pipe(photo(), mask_of(middle_hole()), num_inference_steps=3)
    finally:
        quiet(pipe)
    assert "3/3" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"num_inference_steps": 0}, ValueError, "num_inference_steps is 0"),
        ({"num_starts": 0}, ValueError, "num_starts is 0"),
        ({"num_inference_steps": 2.5}, ValueError, "num_inference_steps is 2.5"),
        ({"tolerance": 1}, ValueError, "tolerance is 1"),
        ({"tolerance": "small"}, ValueError, "tolerance is 'small'"),
        ({"max_seconds": 0}, ValueError, "max_seconds is 0"),
        ({"callback_on_step_end": 3}, TypeError, "callback_on_step_end is 3"),
        ({"blend": "glue"}, ValueError, "blend is 'glue'"),
        ({"variation": 2}, ValueError, "variation is 2"),
    ],
    ids=str,
)
def test_bad_arguments_are_named_with_what_they_were(pipe, options, error, message):
    with pytest.raises(error, match=message):
        pipe(photo(), mask_of(middle_hole()), **options)


def test_save_and_load_keep_weights_and_settings(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    loaded = quiet(load_pipeline(tmp_path))
    assert type(loaded) is type(pipe) and equal_weights_of(pipe, loaded)
    assert loaded.config.num_steps == 3
    call = (photo(), mask_of(middle_hole()))
    assert np.array_equal(loaded(*call).images[0], pipe(*call).images[0])
    pipe.save_pretrained(tmp_path, variant="fp16")
    assert equal_weights_of(pipe, type(pipe).from_pretrained(tmp_path, variant="fp16"))


def test_half_precision_generators_are_searched():
    torch.manual_seed(0)
    pipe = quiet(WPlusSearchPipeline(tiny_gan(), num_steps=2)).to(torch.bfloat16)
    out = pipe(photo(), mask_of(middle_hole()), output_type="latent").images
    assert out.ws.dtype == torch.bfloat16 and (out.ws != 0).any()


def test_networks_that_do_not_fit_are_refused():
    other = StyleGAN2Discriminator(resolution=32, channel_base=256, channel_max=16)
    with pytest.raises(ValueError, match="resolution is 32 for the discriminator and 16 for gan"):
        YehPipeline(GAN, other)
    with pytest.raises(TypeError, match="gan is a StyleGAN2Discriminator"):
        WPlusSearchPipeline(other)
    for resolution in (5, 16):
        with pytest.raises(ValueError, match=f"mixing_resolution is {resolution}"):
            MGANPriorPipeline(GAN, mixing_resolution=resolution)


def colors(pictures):
    """A network of one map: the pictures' mean colors over blocks."""
    return [torch.nn.functional.avg_pool2d(pictures, 4)]


def test_a_perceptual_network_has_a_say_where_it_is_given():
    call = {"image": photo(), "mask_image": mask_of(middle_hole()), "output_type": "np"}
    for name in ("w_plus", "mganprior"):
        with_it = SEARCHES[name](**call, perceptual_network=colors).images
        assert not np.array_equal(with_it, SEARCHES[name](**call).images)
    with pytest.raises(ValueError, match="YehPipeline compares no features"):
        SEARCHES["yeh"](**call, perceptual_network=colors)


def test_losses_are_their_closed_forms():
    image, mask = torch.zeros(1, 3, 8, 8), torch.zeros(1, 1, 8, 8)
    mask[..., 4:] = 1
    generated = torch.where(mask > 0.5, torch.tensor(99.0), torch.tensor(0.5)).expand(1, 3, 8, 8)
    assert squared_error(generated, image, mask).tolist() == [0.25]
    objective = reconstruction(image, mask, colors, 10.0)  # the known half differs by 0.25 of 1
    assert objective(generated).tolist() == pytest.approx([0.25 + 10 * 0.25 / 2])
    weights = torch.zeros_like(mask)
    weights[..., :2] = torch.tensor([1.0, 3.0])
    ramp = torch.arange(8.0).expand(1, 3, 8, 8)
    assert weighted_context(ramp, image, weights).tolist() == pytest.approx([0.75])


def test_context_weights_count_the_hole_around_a_known_pixel():
    mask = torch.zeros(1, 1, 20, 20)
    mask[..., 10, 10] = mask[..., 0, 1] = 1
    weights = context_weights(mask)[0, 0]
    assert weights[10, 10] == 0 == weights[0, 1]
    assert weights[10, 13] == weights[7, 7] == pytest.approx(1 / 48)
    assert weights[10, 14] == weights[5, 10] == 0
    assert weights[0, 0] == pytest.approx(1 / 15)  # the corner has 15 neighbors


def test_realism_falls_where_the_discriminator_believes_and_is_judged_alone():
    discriminator, pictures = tiny_discriminator(), torch.randn(4, 3, 16, 16)
    with torch.no_grad():
        together = realism(discriminator, pictures, None)
        alone = [realism(discriminator, p[None], None).item() for p in pictures]
        logits = torch.cat([discriminator(p[None]) for p in pictures])[:, 0]
    np.testing.assert_allclose(together, alone, rtol=1e-5)
    np.testing.assert_allclose(together, np.log1p(np.exp(-logits.numpy())), rtol=1e-5)


@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_yehs_search_minimizes_context_plus_the_weighted_prior(weight):
    discriminator, seen = tiny_discriminator(), []
    image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., 4:9, 5:12] = 1
    image = image * (1 - mask)

    def note(step, codes, losses):
        seen.append((codes[0].clone(), losses.clone()))

    limits = Limits(2, on_step=note)
    yeh_search(GAN, discriminator, image, mask, limits, prior_weight=weight)
    weights = torch.zeros(16, 16)
    for y in range(16):
        for x in range(16):
            near = mask[0, 0, max(y - 3, 0) : y + 4, max(x - 3, 0) : x + 4]
            weights[y, x] = (1 - mask[0, 0, y, x]) * near.sum() / (near.numel() - 1)
    for z, losses in seen:
        with torch.no_grad():
            w = GAN.mapping(z)
            picture = GAN.synthesis(w[:, None].expand(-1, GAN.num_ws, -1))
            context = (weights * (picture - image)[0].abs().mean(dim=0)).sum() / weights.sum()
            prior = torch.log1p(torch.exp(-discriminator(picture)))
        assert losses.item() == pytest.approx(float(context + weight * prior), rel=1e-4)


def test_a_mixed_picture_is_rendered_again_from_its_latent():
    noise = torch.Generator().manual_seed(0)
    image = torch.randn(2, 3, 16, 16, generator=noise).clamp(-1, 1)
    mask = torch.zeros(2, 1, 16, 16)
    mask[..., 4:10] = 1
    seen = {}

    def keep(step, codes, losses):
        seen[step] = (codes, losses)

    limits = Limits(1, on_step=keep)
    with torch.no_grad():
        ws, features, rgb_features = multi_code_search(GAN, image, mask, limits, 0.3, 3, 8)
        w, importance = seen[0][0]
        x, rgb, mean = mixed(GAN, w, importance / 3, 8)
        _, direct = through(GAN.synthesis, mean, x, rgb, [16])
        again = GAN.synthesis(ws, features, rgb_features)
        plain = GAN.synthesis(ws)
    np.testing.assert_allclose(again, direct, atol=1e-4)
    assert (again - plain).abs().max() > 0.01
    assert importance.std() > 0  # importances were searched too


def test_one_code_of_importance_one_is_the_generators_own_picture():
    with torch.no_grad():
        w = GAN.mapping(torch.randn(2, GAN.z_dim))
        x, rgb, ws = mixed(GAN, w[:, None], torch.ones(2, 1, GAN.channels_at(8)), 8)
        _, picture = through(GAN.synthesis, ws, x, rgb, [16])
        assert torch.allclose(picture, GAN.synthesis(ws), atol=1e-6)


def test_descent_keeps_the_best_of_each_picture_and_ends_when_nothing_improves():
    target = torch.tensor([[1.0], [-2.0]])
    count = []

    def losses_of(x):
        count.append(1)
        return (x - target).square().sum(dim=1)

    (best,), lowest = descend([torch.zeros(2, 1)], losses_of, 0.2, Limits(300))
    np.testing.assert_allclose(best, target, atol=0.02)
    np.testing.assert_allclose(lowest, (best - target).square()[:, 0], atol=1e-7)
    assert len(count) == 301
    count.clear()
    descend([torch.zeros(2, 1)], losses_of, 0.2, Limits(3000, tolerance=0.5))
    early = len(count)
    assert 50 < early < 2000
    count.clear()
    descend([target], losses_of, 0.2, Limits(3000, tolerance=0.01))
    assert len(count) == 26  # one patience: there was nothing to gain


def test_what_an_overshooting_step_lost_is_not_kept():
    seen = []

    def losses_of(x):
        losses = (x - 1).square().sum(dim=1)
        seen.append(losses.item())
        return losses

    (best,), lowest = descend([torch.zeros(1, 1)], losses_of, 3.0, Limits(4))
    assert lowest.item() == min(seen) < seen[-1]
    assert (best - 1).square().item() == pytest.approx(min(seen))


def test_a_picture_that_is_done_stays_as_it_is_while_others_go_on():
    def losses_of(x):  # Adam walks down any slope at the same pace
        return torch.stack([1 - 1e-5 * x[0, 0], (x[1, 0] - 50).square()])

    limits = Limits(400, tolerance=0.01)
    (best,), _ = descend([torch.zeros(2, 1)], losses_of, 0.2, limits)
    assert 2 < best[0] < 5.1 and best[1] > 40  # of 25 steps and of hundreds


def test_the_rate_rises_holds_and_falls():
    rates = [ramped(1.0, p) for p in (0.0, 0.025, 0.05, 0.5, 0.75, 0.875, 1.0)]
    assert rates == pytest.approx([0, 0.5, 1, 1, 1, 0.5, 0])


def test_stages_end_at_full_resolution_with_all_the_steps():
    assert stages_of(256, 100, Schedule(True, 1)) == [(64, 50), (128, 25), (256, 25)]
    assert stages_of(32, 100, Schedule(True, 4)) == [(16, 25), (32, 75)]
    assert stages_of(64, 100, Schedule(False, 3)) == [(64, 20), (64, 80)]
    assert stages_of(64, 100, Schedule(False, 1)) == [(64, 100)]
    for steps in (1, 2, 3):
        assert all(count >= 1 for _, count in stages_of(256, steps, Schedule(True, 2)))


def test_coarse_losses_see_known_pixels_alone():
    torch.manual_seed(0)
    picture, mask = torch.rand(2, 3, 16, 16), torch.zeros(2, 1, 16, 16)
    mask[:, :, 3:9, 4:11] = 1
    masked = torch.where(mask > 0.5, torch.zeros_like(picture), picture)
    hidden = torch.where(mask > 0.5, torch.full_like(picture, 9.0), picture)
    generated = torch.rand(2, 3, 8, 8)
    plain = coarse_reconstruction(masked, mask, 8)(generated)
    assert torch.equal(plain, coarse_reconstruction(hidden, mask, 8)(generated))
    known = (mask < 0.5).float()  # by hand: every known pixel's block is compared with its mean
    share = known.unflatten(2, (8, 2)).unflatten(4, (8, 2)).mean(dim=(3, 5))
    mean = (picture * known).unflatten(2, (8, 2)).unflatten(4, (8, 2)).mean(dim=(3, 5)) / share
    wanted = torch.where(share > 0, share * (generated - mean.nan_to_num()).square(), 0)
    expected = wanted.sum(dim=(1, 2, 3)) / (3 * share.sum(dim=(1, 2, 3)))
    torch.testing.assert_close(plain, expected)


def larger_gan():
    torch.manual_seed(0)
    return StyleGAN2Generator(
        resolution=32, z_dim=16, w_dim=16, channel_base=256, channel_max=16, num_mapping_layers=2
    ).eval()


def searched(kind, gan, masked, mask, limits, **schedule):
    """The pictures [K,3,s,s] that a search ends with."""
    if kind == "w_plus":
        found = w_plus_search(gan, masked, mask, limits, 0.1, **schedule)
    elif kind == "yeh":
        torch.manual_seed(3)
        judge = StyleGAN2Discriminator(resolution=32, channel_base=256, channel_max=16).eval()
        found = yeh_search(gan, judge, masked, mask, limits, 0.1, **schedule)
    else:
        found = multi_code_search(gan, masked, mask, limits, 0.1, 3, 8, **schedule)
    return gan.synthesis(*found)


@pytest.mark.parametrize("kind", SEARCHES)
@pytest.mark.parametrize("coarse, starts", [(True, 1), (True, 3), (False, 3)])
def test_schedules_find_a_picture_of_the_generator(kind, coarse, starts):
    gan, mask = larger_gan(), torch.zeros(2, 1, 32, 32)
    mask[:, :, 8:20, 8:20] = 1
    with torch.no_grad():
        gan.update_w_avg(500)
        picture = gan(torch.randn(2, 16, generator=torch.Generator().manual_seed(4)))
    masked = torch.where(mask > 0.5, torch.zeros_like(picture), picture)
    seen = []
    limits = Limits(60, on_step=lambda step, codes, losses: seen.append((step, len(losses))))
    with torch.no_grad():
        schedule = {"coarse_to_fine": coarse, "num_starts": starts}
        start = searched(kind, gan, masked, mask, Limits(1))
        begun = squared_error(start, masked, mask)
        ended = squared_error(searched(kind, gan, masked, mask, limits, **schedule), masked, mask)
    assert (ended < 0.35 * begun).all()
    assert [step for step, _ in seen] == list(range(60))
    assert seen[0][1] == 2 * starts and seen[-1][1] == 2


@pytest.mark.parametrize("kind", ["yeh", "mganprior"])
def test_of_several_starts_none_does_worse_than_the_first_alone(kind):
    gan, mask = larger_gan(), torch.zeros(1, 1, 32, 32)
    with torch.no_grad():
        picture = gan(torch.randn(1, 16, generator=torch.Generator().manual_seed(5)))
        lowest = {}
        for starts in (1, 4):
            losses = []
            keep = Limits(5, on_step=lambda s, c, now, kept=losses: kept.append(now) or s == 0)
            searched(kind, gan, picture, mask, keep, num_starts=starts)
            lowest[starts] = losses[0]
    # The same first start, to the last digits that a batch changes, and others beside it.
    assert lowest[4][0] == pytest.approx(lowest[1][0].item(), rel=1e-3)
    assert len(set(lowest[4].tolist())) == 4


def test_coarse_context_is_the_weighted_difference_to_the_known_pixels_averages():
    torch.manual_seed(0)
    picture, mask = torch.rand(1, 3, 8, 8), torch.zeros(1, 1, 8, 8)
    mask[..., 2:5, 3:6] = 1
    weights = context_weights(mask)
    generated = torch.rand(1, 3, 4, 4)
    found = coarse_context(picture * (1 - mask), weights, 4)(generated)
    hidden = coarse_context(torch.where(mask > 0.5, torch.tensor(9.0), picture), weights, 4)
    assert torch.equal(found, hidden(generated))
    total = 0.0
    for y in range(4):
        for x in range(4):
            part = (0, slice(None), slice(2 * y, 2 * y + 2), slice(2 * x, 2 * x + 2))
            w = weights[part]
            if w.sum() > 0:
                mean = (picture[part] * w).sum(dim=(1, 2)) / w.sum()
                total += w.sum() * (generated[0, :, y, x] - mean).abs().mean()
    assert found.item() == pytest.approx((total / weights.sum()).item(), rel=1e-5)


def test_a_search_that_is_stopped_in_its_first_stage_stops():
    gan, mask = larger_gan(), torch.zeros(1, 1, 32, 32)
    steps = []
    limits = Limits(60, on_step=lambda step, codes, losses: steps.append(step) or step == 2)
    with torch.no_grad():
        found = w_plus_search(
            gan, torch.rand(1, 3, 32, 32), mask, limits, coarse_to_fine=True, num_starts=2
        )
    assert steps == [0, 1, 2] and found.ws.shape == (1, gan.num_ws, 16)


def test_a_generators_repository_gives_the_discriminator_beside_it(tmp_path):
    StyleGAN2Pipeline(gan=tiny_gan()).save_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError, match="discriminator"):
        YehPipeline.from_pretrained(tmp_path)
    judge = tiny_discriminator()
    judge.save_pretrained(tmp_path / "discriminator")
    found = YehPipeline.from_pretrained(tmp_path, dtype=torch.float16)
    state = found.discriminator.state_dict()
    assert all(torch.equal(state[k], v.half()) for k, v in judge.state_dict().items())
    assert found.gan.dtype == torch.float16
    given = YehPipeline.from_pretrained(tmp_path, discriminator=judge)
    assert given.discriminator is judge


def test_a_search_begins_at_an_encoders_codes():
    gan = tiny_gan()
    torch.manual_seed(5)
    encoder = PSPEncoder(
        resolution=16, w_dim=16, input_size=32, backbone="small", backbone_width=8, style_channels=8
    ).eval()
    pipe = quiet(WPlusSearchPipeline(gan=gan, num_steps=1, learning_rate=1e-9))
    latents = pipe(photo((16, 16)), mask_of(middle_hole((16, 16))), init_encoder=encoder,
                   output_type="latent").images  # fmt: skip
    plain = pipe(photo((16, 16)), mask_of(middle_hole((16, 16))), output_type="latent").images
    assert not torch.allclose(latents.ws, plain.ws, atol=1e-3)
    prepared = pipe.preprocess(photo((16, 16)), mask_of(middle_hole((16, 16))))
    with torch.no_grad():
        expected = encoder(*prepared.masked(slice(None)))
    torch.testing.assert_close(latents.ws, expected, rtol=1e-4, atol=1e-4)
    other = PSPEncoder(
        resolution=32, w_dim=16, backbone="small", backbone_width=8, style_channels=8
    )
    with pytest.raises(ValueError, match="init_encoder gives"):
        pipe(photo((16, 16)), mask_of(middle_hole((16, 16))), init_encoder=other)
    with pytest.raises(ValueError, match="does not search W"):
        MGANPriorPipeline(gan=gan)(
            photo((16, 16)), mask_of(middle_hole((16, 16))), init_encoder=encoder
        )
