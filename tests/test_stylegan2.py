"""Facts of the StyleGAN2 networks that hold for any weights."""

import pytest
import torch

from inpaint_hub.losses.adversarial import (
    discriminator_loss,
    generator_loss,
    path_length_penalty,
    path_lengths,
    r1_penalty,
)
from inpaint_hub.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator
from inpaint_hub.stylegan2.discriminator import minibatch_stddev
from inpaint_hub.stylegan2.resample import downsample
from inpaint_hub.stylegan2.synthesis import channels_at, num_ws

TINY = {"resolution": 32, "channel_base": 256, "channel_max": 16}


@pytest.fixture(scope="module")
def gan():
    torch.manual_seed(0)
    gan = StyleGAN2Generator(z_dim=8, w_dim=8, num_mapping_layers=2, **TINY).eval()
    for name, parameter in gan.named_parameters():
        if name.endswith("noise_strength"):  # zero at initialization, where noise would do nothing
            parameter.data.fill_(0.3)
    return gan


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    "resolution, count", [(32, 8), (64, 10), (128, 12), (256, 14), (512, 16), (1024, 18)]
)
def test_number_of_style_vectors_is_the_papers(resolution, count):
    assert num_ws(resolution) == count


def test_channels_of_configuration_f():
    widths = [channels_at(2**k, 32768, 512) for k in range(2, 11)]
    assert widths == [512, 512, 512, 512, 512, 256, 128, 64, 32]


@pytest.mark.parametrize("resolution", [0, 4, 48, 100])
def test_impossible_resolution_is_an_error_that_names_it(resolution):
    with pytest.raises(ValueError, match=str(resolution)):
        StyleGAN2Generator(resolution=resolution)


def test_every_parameter_of_the_generator_gets_a_gradient(gan):
    z, mixing_z = torch.randn(2, 4, 8, generator=seeded(0))
    crossover = torch.tensor([1, 3, 5, 8])
    picture = gan(z, noise_mode="random", mixing_z=mixing_z, crossover=crossover)
    gradients = torch.autograd.grad(picture.square().mean(), list(gan.parameters()))
    dead = [
        name for (name, _), g in zip(gan.named_parameters(), gradients) if not g.abs().sum() > 0
    ]
    assert dead == []


def test_every_parameter_of_the_discriminator_gets_a_gradient():
    torch.manual_seed(0)
    discriminator = StyleGAN2Discriminator(**TINY)
    images = torch.randn(4, 3, 32, 32).requires_grad_()
    scores = discriminator(images)
    (generator_loss(scores) + r1_penalty(scores, images)).backward()
    dead = [n for n, p in discriminator.named_parameters() if p.grad is None or not p.grad.any()]
    assert dead == []
    assert all(torch.isfinite(p.grad).all() for p in discriminator.parameters())


@pytest.mark.parametrize("mask_channel", [False, True])
def test_a_grown_discriminator_judges_the_picture_at_half_its_size(mask_channel):
    torch.manual_seed(0)
    options = {"channel_base": 512, "channel_max": 32, "mask_channel": mask_channel}
    smaller = StyleGAN2Discriminator(resolution=32, **options)
    torch.nn.init.normal_(smaller.from_rgb.bias)
    grown = StyleGAN2Discriminator(resolution=64, **options)
    grown.grow_from(smaller)
    seen = torch.randn(4, 4 if mask_channel else 3, 64, 64)

    def judged(judge, seen):
        return judge(seen[:, :3], seen[:, 3:] if mask_channel else None)

    torch.testing.assert_close(judged(grown, seen), judged(smaller, downsample(seen)))
    judged(grown, seen).sum().backward()
    assert all(p.grad.any() for p in grown.parameters())


def test_a_discriminator_that_is_shown_the_mask_starts_from_one_that_is_not():
    torch.manual_seed(0)
    judge = StyleGAN2Discriminator(**TINY)
    masked = StyleGAN2Discriminator(mask_channel=True, **TINY)
    assert masked.start_from(judge)
    picture, mask = torch.randn(4, 3, 32, 32), torch.rand(4, 1, 32, 32)
    torch.testing.assert_close(masked(picture, mask), judge(picture))
    masked(picture, mask).sum().backward()
    assert masked.from_rgb.weight.grad[:, 3].any()
    assert not StyleGAN2Discriminator(**{**TINY, "channel_max": 8}).start_from(judge)


def test_second_derivative_of_the_discriminator_agrees_with_finite_differences():
    torch.manual_seed(1)
    discriminator = StyleGAN2Discriminator(resolution=8, channel_base=32, channel_max=4).double()
    images = torch.randn(2, 3, 8, 8, dtype=torch.double)
    weight = discriminator.blocks[0].down_conv.weight

    def penalty():
        x = images.clone().requires_grad_()
        return r1_penalty(discriminator(x), x)

    (analytic,) = torch.autograd.grad(penalty(), weight)
    direction = torch.randn_like(weight)
    with torch.no_grad():
        weight += 1e-6 * direction
    above = penalty().item()
    with torch.no_grad():
        weight -= 2e-6 * direction
    below = penalty().item()
    assert (analytic * direction).sum().item() == pytest.approx((above - below) / 2e-6, rel=1e-4)


def test_r1_of_a_linear_discriminator_is_its_squared_weight():
    images = torch.randn(5, 3, 4, 4).requires_grad_()
    weight = torch.randn(3, 4, 4)
    scores = (images * weight).sum(dim=(1, 2, 3))[:, None]
    assert r1_penalty(scores, images).item() == pytest.approx(
        weight.square().sum().item(), rel=1e-5
    )


def test_logistic_losses_at_zero_scores_are_log_two():
    zero = torch.zeros(3, 1)
    assert generator_loss(zero).item() == pytest.approx(0.693147, rel=1e-5)
    assert discriminator_loss(zero, zero).item() == pytest.approx(2 * 0.693147, rel=1e-5)
    assert generator_loss(zero + 3) < generator_loss(zero)


def test_a_batch_is_rendered_as_its_pictures_one_by_one(gan):
    z = torch.randn(3, 8, generator=seeded(0))
    together = gan(z)
    for n in range(3):
        torch.testing.assert_close(together[n : n + 1], gan(z[n : n + 1]), rtol=1e-4, atol=1e-5)


def test_one_noise_generator_per_picture_makes_each_independent_of_the_batch(gan):
    ws = gan.map(torch.randn(2, 8, generator=seeded(0)))
    both = gan.synthesis(ws, noise_mode="random", generator=[seeded(5), seeded(6)])
    alone = gan.synthesis(ws[1:], noise_mode="random", generator=[seeded(6)])
    torch.testing.assert_close(both[1:], alone, rtol=1e-4, atol=1e-5)


def test_noise_modes(gan):
    ws = gan.map(torch.randn(1, 8, generator=seeded(0)))
    constant, again, none = (gan.synthesis(ws, noise_mode=m) for m in ("const", "const", "none"))
    random_a, random_b = (
        gan.synthesis(ws, noise_mode="random", generator=seeded(s)) for s in (1, 2)
    )
    assert torch.equal(constant, again)
    assert not torch.allclose(constant, none)
    assert not torch.allclose(random_a, random_b)
    with pytest.raises(ValueError, match="loud"):
        gan.synthesis(ws, noise_mode="loud")


def test_full_truncation_leaves_one_picture(gan):
    gan.update_w_avg(500, generator=seeded(0))
    a, b = gan(torch.randn(2, 8, generator=seeded(1)), truncation_psi=0.0)
    assert torch.equal(a, b)


def test_forward_changes_no_state(gan):
    before = {k: v.clone() for k, v in gan.state_dict().items()}
    gan(torch.randn(2, 8), noise_mode="random")
    assert all(torch.equal(v, before[k]) for k, v in gan.state_dict().items())


def test_crossover_splits_the_style_vectors(gan):
    z, mixing_z = torch.randn(2, 2, 8, generator=seeded(0))
    unmixed = gan(z, mixing_z=mixing_z, crossover=torch.tensor([gan.num_ws, 0]))
    torch.testing.assert_close(unmixed[:1], gan(z[:1]), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(unmixed[1:], gan(mixing_z[1:]), rtol=1e-4, atol=1e-5)


def test_zero_features_change_nothing_and_others_do(gan):
    ws = gan.map(torch.randn(1, 8, generator=seeded(0)))
    plain, activations = gan.synthesis(ws, return_features=True)
    zeros = {r: torch.zeros_like(a) for r, a in activations.items()}
    assert list(activations) == [4, 8, 16, 32]
    assert torch.equal(gan.synthesis(ws, features=zeros), plain)
    for r, a in activations.items():
        assert a.shape == (1, gan.channels_at(r), r, r)
        assert not torch.allclose(gan.synthesis(ws, features={r: torch.ones_like(a)}), plain)
    shifted = gan.synthesis(ws, rgb_features={32: torch.full((1, 3, 32, 32), 0.25)})
    torch.testing.assert_close(shifted, plain + 0.25)


def test_w_statistics_are_those_of_the_mapping(gan):
    mean, std = gan.w_statistics(4000, generator=seeded(0))
    w = gan.mapping(torch.randn(4000, 8, generator=seeded(1)))
    standard_error = w.std(dim=0) / 4000**0.5
    assert ((mean - w.mean(dim=0)).abs() < 6 * standard_error).all()
    torch.testing.assert_close(std, w.std(dim=0), rtol=0.1, atol=0)


def test_minibatch_stddev_is_the_mean_deviation_inside_a_group():
    x = torch.zeros(4, 2, 3, 3)
    x[2:] = 2.0  # groups of 4 // 2 = samples {0, 2} and {1, 3}: deviation 1 everywhere
    channel = minibatch_stddev(x, group_size=2)[:, -1]
    torch.testing.assert_close(channel, torch.ones(4, 3, 3))
    assert (minibatch_stddev(torch.ones(4, 2, 3, 3))[:, -1] < 1e-3).all()


def test_discriminator_takes_the_mask_exactly_when_built_for_it():
    image, mask = torch.randn(2, 3, 32, 32), torch.ones(2, 1, 32, 32)
    with_mask = StyleGAN2Discriminator(mask_channel=True, **TINY)
    assert with_mask(image, mask).shape == (2, 1)
    with pytest.raises(ValueError, match="mask_channel"):
        with_mask(image)
    with pytest.raises(ValueError, match="mask_channel"):
        StyleGAN2Discriminator(**TINY)(image, mask)


def second_order_gradients(penalty, model):
    """Gradient of `penalty()` with respect to all parameters, as one vector."""
    model.zero_grad()
    penalty().backward()
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]
    return torch.cat([g.flatten() for g in grads])


def test_penalties_differentiate_twice_under_bf16_autocast_too():
    torch.manual_seed(0)
    judge = StyleGAN2Discriminator(**TINY)
    gan = StyleGAN2Generator(z_dim=8, w_dim=8, num_mapping_layers=2, **TINY)
    images, z = torch.randn(8, 3, 32, 32), torch.randn(8, gan.z_dim)
    noise = torch.randn(8, 3, 32, 32)

    def r1(enabled):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            real = images.clone().requires_grad_()
            return r1_penalty(judge(real).float(), real)

    def path_length(enabled):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            pictures, ws = gan(z, noise_mode="none", return_ws=True)
        return path_length_penalty(path_lengths(pictures.float(), ws, noise), 0.5)

    for penalty, model in ((r1, judge), (path_length, gan)):
        exact, rounded = (
            second_order_gradients(lambda e=e, f=penalty: f(e), model) for e in (False, True)
        )
        assert exact.norm() > 0
        # Five seeds by AMX's kernels: 0.92 to 0.99; 0.994 to 1 on the same machine without them.
        least = 0.9 if torch.cpu.get_capabilities().get("amx_bf16") else 0.99
        assert torch.cosine_similarity(exact, rounded, dim=0) > least


def test_path_lengths_are_those_of_a_linear_map():
    matrix = torch.randn(3 * 4 * 4, 5)
    ws = torch.randn(6, 2, 5, requires_grad=True)
    pictures = (ws.sum(dim=1) @ matrix.t()).view(6, 3, 4, 4)
    noise = torch.randn(6, 3, 4, 4)
    # J^T y is the same for both rows of ws: the mean over rows is one row's squared norm.
    expected = ((noise / 4).flatten(1) @ matrix).norm(dim=1)
    lengths = path_lengths(pictures, ws, noise)
    torch.testing.assert_close(lengths, expected)
    mean = expected.mean().detach()
    torch.testing.assert_close(
        path_length_penalty(lengths, mean), (expected - mean).square().mean()
    )
