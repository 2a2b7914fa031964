"""Projected heads: what they see, what they learn, and what of them never changes."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from accelerate.state import AcceleratorState
from PIL import Image
from safetensors.torch import load_file, save_file

from inpaint_hub import DualPathInpainter, FeedForwardPipeline, load_pipeline
from inpaint_hub.losses.adversarial import (
    discriminator_loss,
    generator_loss,
    hinge_discriminator_loss,
    hinge_generator_loss,
    share,
)
from inpaint_hub.losses.perceptual import (
    ProjectionFeatures,
    load_projection_network,
)
from inpaint_hub.texture import curation
from inpaint_hub.training import TrainConfig, train
from inpaint_hub.training.augment import differentiable_augment
from inpaint_hub.training.loop import Run
from inpaint_hub.training.projected import ProjectedDiscriminator

SCORES = torch.tensor([[[[-2.0, 0.5], [3.0, -0.25]]]])
HOLE = torch.tensor([[[[1.0, 0.0], [1.0, 0.0]]]])


def test_hinge_losses_by_hand():
    real = torch.tensor([[2.0], [0.25]])
    # max(0, 1 - real): 0, 0.75; max(0, 1 + fake): 0, 1.5, 4, 0.75
    assert hinge_discriminator_loss(real, SCORES).item() == pytest.approx(0.375 + 6.25 / 4)
    assert hinge_generator_loss(SCORES).item() == pytest.approx(-1.25 / 4)


def test_known_places_of_a_composite_count_as_real():
    real = torch.full((1, 1, 2, 2), 5.0)
    # hole: max(0, 1 + s) of -2 and 3; known: max(0, 1 - s) of 0.5 and -0.25
    expected = (0 + 4 + 0.5 + 1.25) / 4
    assert hinge_discriminator_loss(real, SCORES, HOLE).item() == pytest.approx(expected)
    softplus = [np.log1p(np.exp(x)) for x in (-2, 3, -0.5, 0.25)]
    expected = np.log1p(np.exp(-5)) + np.mean(softplus)
    assert discriminator_loss(real, SCORES, HOLE).item() == pytest.approx(expected)


def test_the_generator_answers_for_the_hole_alone():
    assert share(SCORES, HOLE).item() == 0.5
    assert hinge_generator_loss(SCORES, HOLE).item() == -0.5
    expected = np.mean([np.log1p(np.exp(-x)) for x in (-2, 3)])
    assert generator_loss(SCORES, HOLE).item() == pytest.approx(expected)
    assert share(SCORES, torch.zeros_like(HOLE)).item() == 0


@pytest.fixture(scope="module")
def network_file(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("squeezenet") / "squeezenet1_1.safetensors"
    save_file({k: v.contiguous() for k, v in ProjectionFeatures().state_dict().items()}, path)
    return path


def test_maps_have_the_sides_that_their_strides_say(network_file):
    maps = load_projection_network(network_file)(torch.rand(1, 3, 64, 64))
    assert [tuple(m.shape[1:]) for m in maps] == [
        (64, 32, 32),
        (128, 16, 16),
        (256, 8, 8),
        (512, 4, 4),
    ]


def test_the_first_map_is_its_convolution_of_blue_green_red_in_bytes(network_file):
    pictures, weights = torch.rand(1, 3, 16, 16), load_file(network_file)
    bgr = pictures.flip(1) * 255 - torch.tensor([104.0, 117.0, 123.0])[:, None, None]
    kernel, bias = weights["features.0.weight"], weights["features.0.bias"]
    first = load_projection_network(network_file)(pictures)[0]
    torch.testing.assert_close(first, F.conv2d(bgr, kernel, bias, 2, 1).relu())


def test_other_networks_are_refused(network_file, tmp_path):
    with pytest.raises(ValueError, match="SqueezeNet 1.1, not of 'vgg16'"):
        load_projection_network("vgg16")
    cut = {k: v for k, v in load_file(network_file).items() if "features.12" not in k}
    save_file(cut, tmp_path / "cut.safetensors")
    with pytest.raises(ValueError, match="SqueezeNet"):
        load_projection_network(tmp_path / "cut.safetensors")


def maps_of(size=64, count=2):
    shapes = [(64, 2), (128, 4), (256, 8), (512, 16)]
    return [torch.rand(count, c, size // s, size // s) for c, s in shapes]


def heads(**options):
    torch.manual_seed(0)
    network = ProjectedDiscriminator(resolution=64, **options)
    network.calibrate(torch.ones(4))
    return network


def test_there_is_a_map_of_logits_for_each_head():
    picture, mask = torch.rand(2, 3, 64, 64), torch.ones(2, 1, 64, 64)
    network = heads(strides=[4, 8], pixel_head=True, mask_channel=True)
    assert [tuple(x.shape) for x in network(maps_of(), picture, mask)] == [
        (2, 1, 8, 8),
        (2, 1, 4, 4),
        (2, 1, 8, 8),
    ]


def test_maps_are_mixed_to_the_widths_that_were_tried():
    heads = ProjectedDiscriminator(resolution=32, strides=[2, 4, 8, 16])
    assert [heads.out[s].weight.shape[:2] for s in ("2", "4", "8", "16")] == [
        (64, 64),
        (64, 64),
        (128, 128),
        (256, 256),
    ]


def test_every_head_gets_gradients_and_the_mixing_none():
    network = heads(pixel_head=True, mask_channel=True)
    logits = network(maps_of(), torch.rand(2, 3, 64, 64), torch.ones(2, 1, 64, 64))
    sum(x.square().sum() for x in logits).backward()
    trained = {n for n, p in network.named_parameters() if p.grad is not None and p.grad.any()}
    mixing = {n for n, _ in network.named_parameters() if n.split(".")[0] in FIXED}
    assert mixing and trained == {n for n, _ in network.named_parameters()} - mixing


FIXED = ("lateral", "downward", "out")


@pytest.mark.parametrize("stride", [2, 4, 8])
def test_a_finer_head_sees_the_coarser_maps(stride):
    network, picture, maps = heads(strides=[stride]), torch.rand(2, 3, 64, 64), maps_of()
    (before,) = network(maps, picture)
    maps[3] = maps[3].flip(1)
    (after,) = network(maps, picture)
    assert not torch.equal(before, after)


def test_no_finer_map_reaches_a_coarse_head():
    network, picture, maps = heads(strides=[8]), torch.rand(2, 3, 64, 64), maps_of()
    (before,) = network(maps, picture)
    (after,) = network([maps[0] + 1, maps[1] + 1, *maps[2:]], picture)
    assert torch.equal(before, after)


def test_maps_are_divided_by_their_root_mean_square():
    picture, maps = torch.rand(2, 3, 64, 64), maps_of()
    (before,) = heads(strides=[4])(maps, picture)
    larger = heads(strides=[4])
    larger.calibrate(torch.tensor([1.0, 9.0, 9.0, 9.0]))
    (after,) = larger([3 * m for m in maps], picture)
    torch.testing.assert_close(after, before)


def test_heads_that_were_not_calibrated_say_so():
    with pytest.raises(ValueError, match="calibrate"):
        ProjectedDiscriminator(resolution=64)(maps_of(), torch.rand(2, 3, 64, 64))
    with pytest.raises(ValueError, match=r"expected some of \(2, 4, 8, 16\)"):
        ProjectedDiscriminator(resolution=64, strides=[3])


def test_differentiable_augmentation_moves_a_mask_like_its_picture():
    pictures = torch.rand(4, 1, 16, 16).round().expand(-1, 3, -1, -1) * 2 - 1
    rngs = [torch.Generator().manual_seed(i) for i in range(4)]
    moved, mask = differentiable_augment(pictures, rngs, (pictures[:, :1] > 0).float())
    changed = False
    for one, hole in zip(moved, mask):
        inside = F.pad(torch.ones(1, 12, 12), [2] * 4)[0] > 0  # what no shift moves out
        bright = one[0][inside & (hole[0] > 0)]
        dark = one[0][inside & (hole[0] == 0)]
        assert len(bright) and bright.min() > dark.max()
        changed |= not torch.equal(one, pictures[0])
    assert changed


TINY = {
    "resolution": 32,
    "train_batch_size": 4,
    "max_train_steps": 2,
    "checkpointing_steps": 1,
    "validation_steps": 4,
    "logging_steps": 1,
    "num_validation_images": 2,
    "report_to": "jsonl",
    "z_dim": 16,
    "w_dim": 16,
    "num_mapping_layers": 2,
    "channel_base": 256,
    "channel_max": 16,
    "global_dim": 16,
}
HEADS = {"projected_weight": 0.5}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(6):
        pixels = np.random.default_rng(i).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


@pytest.fixture(autouse=True)
def fresh_accelerate_state():
    AcceleratorState._reset_state(True)


def config(pictures, network_file, output_dir, **fields):
    given = {"train_data_dir": str(pictures), "output_dir": str(output_dir)}
    given |= {"perceptual_network": str(network_file), "method": "stylegan2"}
    return TrainConfig(**{**TINY, **given, **HEADS, **fields})


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"discriminator": "none", "shared_fakes": True},
        {"augment": "diffaugment", "shared_fakes": True, "projected_pixel_head": True},
        {"method": "comodgan", "train_batch_size": 2, "known_is_real": True},
    ],
    ids=lambda fields: "-".join(fields) or "beside",
)
def test_generators_train_against_heads(pictures, network_file, tmp_path, fields):
    run = Run(config(pictures, network_file, tmp_path / "run", **fields))
    *_, adversary = run.method.adversaries
    assert adversary.prefix == "projected_"
    alone = fields.get("discriminator") == "none"
    assert len(list(run.method.adversaries)) == (1 if alone else 2)
    before = {k: v.clone() for k, v in adversary.discriminator.state_dict().items()}
    generator = {k: v.clone() for k, v in run.method.gan.state_dict().items()}
    values = run.loop()
    assert {"projected_discriminator_loss", "projected_adversarial_loss"} <= set(values)
    assert ("discriminator_loss" in values) != alone
    for name, value in adversary.discriminator.state_dict().items():
        fixed = name.split(".")[0] in FIXED
        # A bias before a batch norm has no gradient but rounding's.
        if fixed or not name.endswith("bias"):
            assert torch.equal(value, before[name]) == fixed, name
    assert any(not torch.equal(v, generator[k]) for k, v in run.method.gan.state_dict().items())


def test_heads_alone_reach_the_generators_gradient_through_pictures(
    pictures, network_file, tmp_path
):
    """The generator's loss is minus the heads' mean answer to its pictures, times the weight."""
    fields = {"discriminator": "none", "projected_weight": 0.25}
    run = Run(config(pictures, network_file, tmp_path / "run", **fields))
    adversary = next(iter(run.method.adversaries))
    adversary.discriminator.calibrate(torch.ones(4) * 100)
    fake = torch.rand(4, 3, 32, 32).requires_grad_()
    total, terms = run.method.adversaries.fooled(fake, None, None)
    maps = adversary.network((fake + 1) / 2)
    by_hand = -torch.stack([x.mean() for x in adversary.discriminator(maps, fake)]).mean()
    torch.testing.assert_close(terms["projected_adversarial_loss"], by_hand)
    torch.testing.assert_close(total, 0.25 * by_hand)
    (gradient,) = torch.autograd.grad(total, fake)
    assert gradient.abs().sum() > 0
    assert all(p.grad is None for p in adversary.discriminator.parameters())
    trained = {n for n, p in adversary.discriminator.named_parameters() if p.requires_grad}
    assert trained and not any(n.split(".")[0] in FIXED for n in trained)


def test_heads_judge_pictures_of_a_lower_resolution(pictures, network_file, tmp_path):
    """Each pixel is then the mean of four, for real and generated pictures alike."""
    fields = {"discriminator": "none", "projected_resolution": 32, "projected_pixel_head": True}
    fields |= {"resolution": 64}
    run = Run(config(pictures, network_file, tmp_path / "run", **fields, projected_weight=1.0))
    adversary = next(iter(run.method.adversaries))
    heads = adversary.discriminator
    assert heads.config["resolution"] == 32
    heads.calibrate(torch.ones(4) * 100)
    fake = torch.rand(4, 3, 64, 64)
    found, _ = run.method.adversaries.fooled(fake, None, None)
    reduced = fake.reshape(4, 3, 32, 2, 32, 2).mean(dim=(3, 5))
    maps = adversary.network((reduced + 1) / 2)
    by_hand = -torch.stack([x.mean() for x in heads(maps, reduced)]).mean()
    torch.testing.assert_close(found, by_hand)
    for resolution in (24, 64):
        with pytest.raises(ValueError, match=f"is {resolution}, expected a power of two from 32"):
            config(pictures, network_file, tmp_path, projected_resolution=resolution)


def test_heads_are_saved_and_gone_on_with(pictures, network_file, tmp_path):
    first = train(config(pictures, network_file, tmp_path / "first"))
    saved = load_file(first / "projected" / "model.safetensors")
    AcceleratorState._reset_state(True)
    more = {"pretrained_model_name_or_path": str(first)}
    run = Run(config(pictures, network_file, tmp_path / "more", **more))
    *_, adversary = run.method.adversaries
    now = adversary.discriminator.state_dict()
    assert now.keys() == saved.keys() and all(torch.equal(now[k], saved[k]) for k in saved)
    AcceleratorState._reset_state(True)
    other = {**more, "projected_strides": "8,16"}
    run = Run(config(pictures, network_file, tmp_path / "other", **other))
    *_, adversary = run.method.adversaries
    assert not adversary.discriminator.calibrated


def test_the_feed_forward_path_trains_alone_and_from_another(pictures, network_file, tmp_path):
    fields = {"method": "feedforward", "inpainter_channels": 4, "known_is_real": True}
    fields |= {"adversarial_weight": 0.1, "discriminator": "patch", "patch_channels": 4}
    fields |= {"r1_gamma": 0.0}
    first = train(config(pictures, network_file, tmp_path / "first", **fields))
    assert {p.name for p in first.iterdir() if p.is_dir()} >= {"inpainter", "projected"}
    AcceleratorState._reset_state(True)
    still = {"pretrained_model_name_or_path": str(first), "learning_rate": 0.0, "resolution": 0}
    second = train(config(pictures, network_file, tmp_path / "second", **fields, **still))
    one, other = (load_file(p / "inpainter" / "model.safetensors") for p in (first, second))
    assert one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)
    pipe = load_pipeline(second)
    photo, hole = Image.open(pictures / "0.png"), Image.new("L", (32, 32))
    hole.paste(255, (8, 8, 24, 24))
    filled, known = pipe(photo, hole, variation=0.5).images[0], np.asarray(hole) == 0
    assert np.array_equal(np.asarray(filled)[known], np.asarray(photo)[known])
    assert not np.array_equal(np.asarray(filled)[~known], np.asarray(photo)[~known])


def test_a_feed_forward_path_is_never_judged_by_what_it_was_shown(monkeypatch):
    """Every fill passes for right and rich here: copies are taken all the same."""
    monkeypatch.setattr(curation, "TRUSTED", 1e9)
    monkeypatch.setattr(curation, "RICH", -1.0)
    inpainter = DualPathInpainter(resolution=32, channels=4, fusion="none")
    pipe = FeedForwardPipeline(inpainter)
    photo = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)  # no pattern
    hole = np.zeros((48, 48), bool)
    hole[16:30, 16:30] = True
    results = {t: pipe(photo, hole, texture=t) for t in ("auto", "patches", "detail")}
    assert [r.textures[0][0][0] for r in results.values()] == ["patches", "patches", "detail"]
    assert (np.asarray(results["auto"].images[0]) == np.asarray(results["patches"].images[0])).all()


def test_a_fusing_inpainter_is_no_feed_forward_pipeline():
    with pytest.raises(ValueError, match="fusion='none'; use DualPathPipeline"):
        FeedForwardPipeline(inpainter=DualPathInpainter(resolution=32, channels=4))


def test_what_cannot_be_trained_against_is_refused(pictures, network_file, tmp_path):
    with pytest.raises(ValueError, match="nothing to train against"):
        config(pictures, network_file, tmp_path, discriminator="none", projected_weight=0.0)
    with pytest.raises(ValueError, match="expected some of 2,4,8,16"):
        config(pictures, network_file, tmp_path, projected_strides="4,5")


def test_heads_go_down_to_eight_px_through_at_least_one_layer():
    heads = ProjectedDiscriminator(resolution=128, strides=[2, 4, 8, 16], mask_channel=True)
    heads.calibrate(torch.ones(4))
    channels = {2: 64, 4: 128, 8: 256, 16: 512}
    maps = [torch.zeros(1, c, 128 // s, 128 // s) for s, c in channels.items()]
    logits = heads(maps, torch.zeros(1, 3, 128, 128), torch.zeros(1, 1, 128, 128))
    assert [x.shape[-1] for x in logits] == [8, 8, 8, 4]
