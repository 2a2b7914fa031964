"""What a run that goes on may change takes effect; what it may not is refused; damage is named."""

import json
import os
import shutil

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from PIL import Image
from training_runs import fields

from inpaint_hub.training import TrainConfig, train
from inpaint_hub.training.checkpoint import MANIFEST, file_hash, usable_checkpoint
from inpaint_hub.training.logs import JSONLinesTracker
from inpaint_hub.training.loop import Run


def config(place, output_dir, method="psp", **options):
    AcceleratorState._reset_state(True)
    return TrainConfig(**fields(place, output_dir, method, **options))


@pytest.fixture(scope="module")
def stopped_run(place, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stopped") / "run"
    train(config(place, folder, max_train_steps=2, adversarial_weight=0.1))
    return folder


@pytest.fixture
def stopped(stopped_run, tmp_path):
    """A copy of a run of two steps, with checkpoints 1 and 2."""
    shutil.copytree(stopped_run, tmp_path / "run")
    return tmp_path / "run"


def resumed(place, folder, **options):
    options = {"adversarial_weight": 0.1, "resume_from_checkpoint": "latest", **options}
    return config(place, folder, max_train_steps=3, **options)


def groups_of(folder, number=0):
    name = "optimizer.bin" if number == 0 else f"optimizer_{number}.bin"
    return torch.load(folder / name, weights_only=True)["param_groups"]


def test_new_rates_and_decays_reach_the_optimizers_own_files(place, stopped, capsys):
    changed = {"learning_rate": 3e-5, "discr_learning_rate": 7e-5, "adam_beta1": 0.31}
    changed |= {"adam_beta2": 0.77, "adam_epsilon": 1e-5, "adam_weight_decay": 0.02}
    changed |= {"discr_adam_beta2": 0.5, "train_masks": "outpainting"}
    train(resumed(place, stopped, **changed))
    (group,) = groups_of(stopped / "checkpoint-3")
    assert (group["lr"], group["initial_lr"]) == (3e-5, 3e-5)
    assert (tuple(group["betas"]), group["eps"]) == ((0.31, 0.77), 1e-5)
    assert group["weight_decay"] == 0.02
    (judge,) = groups_of(stopped / "checkpoint-3", 1)
    lazy = 16 / 17
    assert judge["lr"] == pytest.approx(7e-5 * lazy) == judge["initial_lr"]
    assert judge["betas"][1] == pytest.approx(0.5**lazy)
    said = capsys.readouterr().out
    assert "Changed since checkpoint-2" in said and "--learning_rate 0.0001 -> 3e-05" in said
    manifest = json.loads((stopped / "checkpoint-3" / MANIFEST).read_text())
    assert manifest["flags"]["learning_rate"] == 3e-5


def test_a_slower_generator_group_follows_its_own_flag(place, tmp_path):
    options = {"train_generator": "all", "adversarial_weight": 0.0}
    run = config(place, tmp_path / "run", max_train_steps=1, learning_rate=1e-3, **options)
    train(run)
    train(resumed(place, tmp_path / "run", learning_rate=1e-3, generator_lr_scale=0.5, **options))
    assert [g["lr"] for g in groups_of(tmp_path / "run" / "checkpoint-3")] == [1e-3, 5e-4]


def test_another_schedule_goes_on_at_its_own_place(place, stopped):
    schedule = {"lr_scheduler": "linear", "lr_warmup_steps": 1, "learning_rate": 1e-3}
    run = Run(resumed(place, stopped, **schedule))
    assert run.method.optimizer.param_groups[0]["lr"] == pytest.approx(1e-3 * (3 - 2) / (3 - 1))
    run = Run(resumed(place, stopped))
    assert run.method.optimizer.param_groups[0]["lr"] == 1e-4


@pytest.mark.parametrize(
    "flags, message",
    [
        ({"seed": 7}, "written with --seed 0, this run has 7.*--pretrained_model_name_or_path"),
        ({"train_batch_size": 1}, "--train_batch_size 2, this run has 1"),
        ({"gradient_accumulation_steps": 2}, "--gradient_accumulation_steps 1, this run has 2"),
        ({"max_train_samples": 3}, r"other pictures \(7 pictures.*than this run \(3 pictures"),
        ({"holdout_fraction": 0.5}, r"this run \(4 pictures"),
    ],
)
def test_what_would_give_other_pictures_is_refused(place, stopped, flags, message):
    with pytest.raises(ValueError, match=message):
        train(resumed(place, stopped, **flags))


def test_other_files_are_other_data_and_a_moved_folder_is_not(place, stopped, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(place / "pictures", moved)
    assert Run(resumed(place, stopped, train_data_dir=str(moved))).progress.step == 2
    (moved / "6.png").rename(moved / "7.png")
    with pytest.raises(ValueError, match="trained on other pictures"):
        Run(resumed(place, stopped, train_data_dir=str(moved)))


def rewrite(folder, change):
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(change(manifest)))


def without(*names):
    return lambda manifest: {k: v for k, v in manifest.items() if k not in names}


def test_a_checkpoint_of_before_flags_were_recorded_goes_on(place, stopped):
    rewrite(stopped / "checkpoint-2", without("flags", "data"))
    assert Run(resumed(place, stopped, seed=5)).progress.step == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda m: [],
        lambda m: None,
        lambda m: {"files": m["files"]},
        without("step"),
        without("method"),
        without("num_processes"),
        lambda m: {**m, "step": "2"},
        lambda m: {**m, "step": True},
        lambda m: {**m, "files": list(m["files"])},
        lambda m: {**m, "files": {n: 3 for n in m["files"]}},
        lambda m: {**m, "files": {**m["files"], "../../etc/passwd": [1, "x"]}},
    ],
)
def test_a_misshaped_manifest_is_passed_over_for_the_one_before(stopped, change):
    rewrite(stopped / "checkpoint-2", change)
    said = []
    folder, manifest = usable_checkpoint(stopped, "latest", said.append)
    assert folder.name == "checkpoint-1" and manifest["step"] == 1
    assert len(said) == 1 and MANIFEST in said[0]


@pytest.mark.parametrize("content", [b"", b"no pickle at all", b"\x80\x04}\x94."])
def test_forged_random_states_are_named(place, stopped, content):
    forged = stopped / "checkpoint-2" / "random_states_0.pkl"
    forged.write_bytes(content)

    def adopt(manifest):
        manifest["files"][forged.name] = [forged.stat().st_size, file_hash(forged)]
        return manifest

    rewrite(stopped / "checkpoint-2", adopt)
    with pytest.raises(ValueError, match="checkpoint-2.*random_states"):
        Run(resumed(place, stopped))


def test_a_forged_optimizer_file_is_named(place, stopped):
    forged = stopped / "checkpoint-2" / "optimizer.bin"
    forged.write_bytes(b"\x80\x04cos\nsystem\n.")

    def adopt(manifest):
        manifest["files"][forged.name] = [forged.stat().st_size, file_hash(forged)]
        return manifest

    rewrite(stopped / "checkpoint-2", adopt)
    with pytest.raises(ValueError, match="checkpoint-2.*does not fit"):
        Run(resumed(place, stopped))


def test_damaged_lines_of_the_log_are_dropped_and_said(tmp_path, capsys):
    tracker = JSONLinesTracker("run", tmp_path)
    lines = [
        b'{"step": 1}',
        b"\0\0\0\0",
        b"[3]",
        b'{"step": 2, "x": 1}',
        b"\xff\xfe",
        b'{"step": 9}',
    ]
    tracker.file.write_bytes(b"\n".join(lines) + b'\n{"step"')
    tracker.forget_after(2)
    assert tracker.file.read_bytes() == b'{"step": 1}\n{"step": 2, "x": 1}\n'
    assert "Dropped 3 damaged lines" in capsys.readouterr().out


def test_an_unreadable_picture_whose_name_is_no_text_is_listed_as_it_is(place, tmp_path):
    folder = tmp_path / "pictures"
    shutil.copytree(place / "pictures", folder)
    odd = os.fsencode(folder) + b"/bad-\xff\xfe.png"
    with open(odd, "wb") as file:
        file.write(b"no picture")
    done = train(config(place, tmp_path / "run", train_data_dir=str(folder), max_train_steps=8))
    assert (done / "unreadable.txt").read_bytes() == odd + b"\n"


def test_pictures_are_read_by_the_contract_of_the_package(place, tmp_path):
    """Sixteen bits by their high bytes, transparency over white, turned as EXIF says."""
    from inpaint_hub.data import ImageDataset

    deep = np.full((32, 32), 0x8001, np.uint16)
    Image.fromarray(deep).save(tmp_path / "a.png")
    clear = np.zeros((32, 32, 4), np.uint8)
    Image.fromarray(clear).save(tmp_path / "b.png")
    turned = Image.fromarray(np.arange(32 * 32, dtype=np.uint32).astype(np.uint8).reshape(32, 32))
    exif = Image.Exif()
    exif[0x0112] = 3
    turned.convert("RGB").save(tmp_path / "c.png", exif=exif)
    (tmp_path / "d.ppm").write_bytes(b"P6\nx y\n255\n")
    pictures = ImageDataset(tmp_path, resolution=32)
    assert np.unique(pictures.load(0)).tolist() == [0x80]
    assert np.unique(pictures.load(1)).tolist() == [255]
    assert np.array_equal(pictures.load(2)[..., 0], np.asarray(turned)[::-1, ::-1])
    with pytest.raises(OSError):
        pictures.load(3)
