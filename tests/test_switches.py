"""Switches of the networks on the command line, and how memory is saved."""

import copy
import sys
import types

import pytest
import torch
from accelerate.state import AcceleratorState
from training_runs import fields

from inpaint_hub.training import PRESETS, TrainConfig, parse_config, train
from inpaint_hub.training.loop import Run, picture_generators, training_batches, validation_batch
from inpaint_hub.training.method import adam_class
from inpaint_hub.training.recompute import recompute_blocks


def config(place, output_dir, method, **options):
    AcceleratorState._reset_state(True)
    return TrainConfig(**fields(place, output_dir, method, **options))


def flags(place, output_dir, method, *given):
    """A run's config by its command line."""
    arguments = list(given)
    for name, value in fields(place, output_dir, method).items():
        arguments += [f"--{name}", str(value)]
    AcceleratorState._reset_state(True)
    return parse_config(arguments, {name: preset() for name, preset in PRESETS.items()})


def test_the_encoders_switches_reach_it(place, tmp_path):
    given = ["--fw_resolutions", "8,32", "--branch_channel_max", "4", "--input_size", "64"]
    given += ["--beta_sees_w", "--shared_fc"]
    encoder = Run(flags(place, tmp_path / "a", "invertfill", *given)).method.networks.encoder
    assert encoder.config["fw_resolutions"] == [8, 32] and encoder.input_size == 64
    assert encoder.config["branch_channel_max"] == 4
    assert encoder.config["beta_sees_w"] and encoder.config["shared_fc"]
    plain = Run(flags(place, tmp_path / "b", "invertfill")).method.networks.encoder
    assert plain.config["fw_resolutions"] is None and plain.input_size == 32
    for method in ("psp", "lahiri"):
        run = Run(flags(place, tmp_path / method, method, "--input_size", "64"))
        assert run.method.networks.encoder.input_size == 64


def test_the_inpainters_switches_reach_it(place, tmp_path):
    given = ["--fusion_resolutions", "8,4", "--dilations", "1,3", "--groups", "2"]
    inpainter = Run(flags(place, tmp_path / "a", "dualpath", *given)).method.networks.inpainter
    assert set(inpainter.fusions) == {"4", "8"} and len(inpainter.feed_forward.middle) == 2
    assert inpainter.config["groups"] == 2 and inpainter.config["dilations"] == [1, 3]


def test_the_fidelity_loss_may_be_taken_in_units_of_w(place, tmp_path):
    values = []
    for given in ((), ("--no-fid_normalise",)):
        run = Run(flags(place, tmp_path / str(len(given)), "invertfill", *given))
        image, mask = torch.zeros(1, 3, 32, 32), torch.ones(1, 1, 32, 32)
        generated, code = run.method.paint(image, mask, picture_generators(run.config, 0, 0, 0)[:1])
        _, logs = run.method.loss(image, mask, generated, code)
        values.append(float(logs["fidelity_loss"]))
        gap = code.latent.ws - run.method.mean_latent.w_bar_online
    assert values[1] == pytest.approx(float(gap.square().mean()))
    assert values[0] != pytest.approx(values[1])


def test_lists_that_are_no_numbers_are_refused(place, tmp_path):
    with pytest.raises(ValueError, match="--dilations is 'a,b', expected whole numbers.*16,32"):
        config(place, tmp_path, "dualpath", dilations="a,b")


def test_a_fusion_that_came_apart_is_told_once(place, tmp_path, monkeypatch, capsys):
    from inpaint_hub.training import dualpath

    monkeypatch.setattr(dualpath, "LARGE_OFFSET_PX", -1)
    train(config(place, tmp_path / "run", "dualpath", max_train_steps=3, logging_steps=1))
    assert capsys.readouterr().out.count("mean offset of the deformable fusion") == 1


METHODS = {
    "stylegan2": {"path_length_interval": 1, "r1_interval": 1, "path_length_weight": 2.0},
    "dualpath": {},
    "invertfill": {"adversarial_weight": 0.1, "train_generator": "all"},
}


@pytest.mark.parametrize("method", METHODS)
def test_what_is_computed_again_has_the_same_gradients(place, tmp_path, method):
    """Noise is drawn a second time as it was the first; also under second derivatives."""
    weights = []
    for again in (False, True):
        torch.manual_seed(0)
        options = {"gradient_checkpointing": again, "adam_beta1": 0.0, **METHODS[method]}
        run = Run(config(place, tmp_path / str(again), method, **options))
        masks = "mixture" if run.method.needs_masks else None
        batch = next(training_batches(run.config, run.pictures, masks, 0, 1, 0))
        batch.pop("unreadable")
        rng = picture_generators(run.config, 0, 0, 0)
        for phase in run.method.phases(0):
            phase(batch, rng)
        weights.append([p.detach().clone() for m in run.method.models for p in m.parameters()])
        after = torch.rand(1, generator=rng[0])
        weights[-1].append(after)
    assert len(weights[0]) == len(weights[1])
    for a, b in zip(*weights):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_blocks_keep_only_their_inputs(place, tmp_path):
    run = Run(config(place, tmp_path / "run", "stylegan2"))
    kept = []
    for again in (False, True):
        gan, size = copy.deepcopy(run.method.gan), 0
        if again:
            assert recompute_blocks(gan) == 4  # 4, 8, 16 and 32 px

        def note(tensor):
            nonlocal size
            size += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            gan(torch.zeros(1, 8))
        kept.append(size)
    assert kept[1] < 0.5 * kept[0]


def test_eight_bit_adam_is_bitsandbytes_or_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(ImportError, match="--use_8bit_adam needs bitsandbytes.*pip install"):
        adam_class(True)
    given = types.ModuleType("bitsandbytes.optim")
    given.AdamW8bit = type("AdamW8bit", (torch.optim.AdamW,), {})
    monkeypatch.setitem(sys.modules, "bitsandbytes", types.ModuleType("bitsandbytes"))
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", given)
    assert adam_class(True) is given.AdamW8bit and adam_class(False) is torch.optim.AdamW


def test_chosen_pictures_are_shown(place, tmp_path):
    files = [place / "pictures" / f"{i}.png" for i in (5, 2)]
    run = config(place, tmp_path, "psp", validation_images=", ".join(map(str, files)))
    from inpaint_hub.data import ImageDataset

    images, masks = validation_batch(run, ImageDataset(place / "pictures", resolution=32), "cpu")
    assert len(images) == len(masks) == 2
    expected = ImageDataset(place / "pictures", resolution=32).load(5)
    assert torch.equal(images[0], torch.from_numpy(expected).permute(2, 0, 1).float() / 127.5 - 1)
    with pytest.raises(FileNotFoundError, match="--validation_images: nowhere.png not found"):
        validation_batch(
            config(place, tmp_path, "psp", validation_images="nowhere.png"), None, "cpu"
        )
