"""ADA: augmentations, and how much of them."""

import pytest
import torch

from inpaint_hub.training.augment import (
    AdaptiveProbability,
    augment,
    color_matrices,
    differentiable_augment,
    geometric_matrices,
)


def generators(count, seed=0):
    return [torch.Generator().manual_seed(seed + i) for i in range(count)]


def pictures(count=4, side=16):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(9)) * 2 - 1


def test_probability_zero_is_the_identity_and_one_is_not():
    images = pictures()
    assert augment(images, 0.0, generators(4)) is images
    changed = augment(images, 1.0, generators(4))
    assert changed.shape == images.shape
    assert all((a - b).abs().max() > 0.1 for a, b in zip(images, changed))


def test_a_small_probability_leaves_most_pictures_alone():
    images = pictures(300, 8)
    changed = augment(images, 0.01, generators(300))
    untouched = (changed - images).flatten(1).abs().amax(dim=1) < 1e-4
    assert 0.75 < untouched.float().mean() < 0.97  # thirteen operations at one percent


def test_a_picture_depends_on_its_own_generator_alone():
    images = pictures()
    together = augment(images, 0.8, generators(4))
    alone = torch.cat([augment(images[i : i + 1], 0.8, generators(1, i)) for i in range(4)])
    torch.testing.assert_close(together, alone)


def test_quarter_turns_flips_and_shifts_move_whole_pixels():
    images = pictures(64, 16)
    matrices = geometric_matrices(1.0, 16, generators(64))
    assert matrices.shape == (64, 3, 3)
    # With only those operations drawn, every pixel of the result is one of the picture.
    exact = 0
    for image, seed in zip(images, range(64)):
        changed = augment(image[None], 0.03, generators(1, seed))[0]
        same_values = torch.isin(changed.round(decimals=3), image.round(decimals=3)).all()
        exact += bool(same_values)
    assert exact > 32


def test_geometry_has_the_moments_of_its_distributions():
    matrices = geometric_matrices(1.0, 64, generators(4000))
    area = torch.linalg.det(matrices[:, :2, :2]).abs()
    # Stretching and rotating keep the area; scaling by 2^(0.2 n) squares it.
    assert area.log2().mean().abs() < 0.03
    assert area.log2().std() == pytest.approx(0.4, rel=0.05)
    mirrored = (torch.linalg.det(matrices[:, :2, :2]) < 0).float().mean()
    assert mirrored == pytest.approx(0.5, abs=0.04)


def test_shifts_by_whole_pixels_are_drawn_apart_for_both_directions():
    matrices = geometric_matrices(0.05, 64, generators(2000))
    shifts = matrices[:, :2, 2] * 32  # from half sides to pixels
    unturned = (matrices[:, :2, :2] - torch.eye(2)).abs().amax(dim=(1, 2)) < 1e-6
    whole = ((shifts - shifts.round()).abs() < 1e-3).all(dim=1) & (shifts.abs() > 0.5).any(dim=1)
    across, down = shifts[unturned & whole].round().unbind(1)
    assert len(across) > 30 and across.abs().max() <= 8 and down.abs().max() <= 8
    assert (across == down).float().mean() < 0.25  # of 17 values each


def test_colors_keep_or_mirror_the_gray_axis():
    color = color_matrices(1.0, generators(2000))
    gray = torch.full((3, 1), 1.0)
    mapped = (color[:, :, :3] @ gray)[:, :, 0]
    torch.testing.assert_close(mapped, mapped.mean(dim=1, keepdim=True).expand(-1, 3))
    assert (mapped[:, 0] < 0).float().mean() == pytest.approx(0.5, abs=0.05)  # luma flips
    assert mapped[:, 0].abs().log2().std() == pytest.approx(0.5, rel=0.06)  # contrast
    none = color_matrices(0.0, generators(1))[0]
    torch.testing.assert_close(none, torch.eye(3, 4), atol=1e-6, rtol=0)


def test_a_mask_moves_with_its_picture():
    mask = torch.zeros(16, 1, 32, 32)
    mask[:, :, 4:15, 6:12] = 1
    shown, moved = augment(mask.expand(-1, 3, -1, -1) * 2 - 1, 1.0, generators(16), mask)
    assert set(moved.unique().tolist()) == {0.0, 1.0} and not moved.equal(mask)

    def agreement(mask):
        channel = shown.flatten(2).std(dim=2).argmax(dim=1)  # colors may empty a channel
        pairs = zip(shown[torch.arange(16), channel].flatten(1), mask.flatten(1), strict=True)
        return torch.stack([torch.corrcoef(torch.stack(pair))[0, 1].abs() for pair in pairs])

    inside = moved.mean(dim=(1, 2, 3)) > 0.02  # else shifted out of the picture
    assert inside.sum() > 8
    assert agreement(moved)[inside].min() > 0.8 > agreement(mask)[inside].mean()


def test_brightness_and_contrast_are_drawn_evenly_around_none():
    """Of a checkerboard, whose middle holds as much of each value wherever it is shifted."""
    side = torch.arange(16)
    board = (side[:, None] + side) % 2 - 0.5
    images = board.expand(2000, 3, 16, 16)
    (changed,) = differentiable_augment(images, generators(2000))
    middle = changed[:, 0, 4:12, 4:12].flatten(1)
    contrast, brightness = middle.std(dim=1, correction=0) / 0.5, middle.mean(dim=1)
    for drawn, low, high in ((contrast, 0.5, 1.5), (brightness, -0.5, 0.5)):
        assert low - 1e-4 < drawn.min() < low + 0.01 and high - 0.01 < drawn.max() < high + 1e-4
        assert drawn.mean() == pytest.approx((low + high) / 2, abs=0.02)


def test_gradients_reach_the_pictures():
    images = pictures().requires_grad_()
    augment(images, 1.0, generators(4)).square().sum().backward()
    assert images.grad.abs().sum() > 0


def test_the_probability_rises_while_the_discriminator_is_sure_and_falls_after():
    adaptive = AdaptiveProbability(target=0.6, interval=4, images_per_unit=1000)
    for _ in range(3):
        adaptive.update(0.9, 10)
    assert adaptive.p == 0
    adaptive.update(0.9, 10)
    assert adaptive.p == pytest.approx(4 * 10 / 1000)
    for _ in range(4):
        adaptive.update(0.2, 10)
    assert adaptive.p == 0
    for _ in range(4):
        adaptive.update(0.2, 10)
    assert adaptive.p == 0  # never negative


def test_the_probability_survives_a_checkpoint_and_stays_at_one():
    one = AdaptiveProbability(interval=2, images_per_unit=100)
    for _ in range(3):
        one.update(1.0, 100)
    assert one.p == 1.0
    other = AdaptiveProbability(interval=2, images_per_unit=100)
    other.load_state_dict(one.state_dict())
    one.update(0.0, 5)
    other.update(0.0, 5)
    assert one.state_dict() == other.state_dict() and one.p < 1
