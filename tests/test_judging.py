"""Judging while training: on what, by what, and which weights are kept."""

import json

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file, save_file
from training_runs import fields, finish, start

from inpaint_hub.data import ImageDataset
from inpaint_hub.data.pictures import held_back
from inpaint_hub.evaluation.frechet import frechet_of_features
from inpaint_hub.training import TrainConfig, train
from inpaint_hub.training.judging import Best, compare
from inpaint_hub.training.loop import Run, held_out_pictures, training_pictures


@pytest.fixture(scope="module")
def judge_file(tmp_path_factory):
    """A network of one 3x3 convolution with random weights, and its mean."""
    path = tmp_path_factory.mktemp("judge") / "random.json"
    layers = [
        {"op": "conv", "inputs": [0], "output": 1, "weights": "layer0", "stride": 2}
        | {"same_padding": True, "activation": "relu6"},
        {"op": "global_mean", "inputs": [1], "output": 2},
    ]
    path.write_text(json.dumps({"input": {"id": 0, "size": 16}, "layers": layers}))
    weight = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    save_file(
        {"layer0.weight": weight, "layer0.bias": torch.ones(4)}, path.with_suffix(".safetensors")
    )
    return path


@pytest.fixture
def judged(place, judge_file):
    AcceleratorState._reset_state(True)
    return {
        "holdout_fraction": 0.5,
        "validation_network": str(judge_file),
        "judging_steps": 2,
        "judged_bands": "20-40,60-80",
    }


def config(place, output_dir, method="stylegan2", **options):
    return TrainConfig(**fields(place, output_dir, method, **options))


def lines_of(run):
    return [json.loads(line) for line in (run / "logs" / "metrics.jsonl").open()]


def test_what_is_held_back_is_spread_evenly_and_stays_the_same():
    for count, fraction in ((1000, 0.1), (7, 0.5), (30, 0.3)):
        held = held_back(count, fraction)
        assert held.sum() == int(count * fraction)
        assert np.array_equal(held_back(count // 2, fraction), held[: count // 2])
        assert np.diff(np.flatnonzero(held)).max() <= np.ceil(1 / fraction)
    assert not held_back(10, 0.0).any()


def test_held_out_pictures_are_never_trained_on(place, tmp_path, judged):
    run = config(place, tmp_path / "run", **judged)
    trained = training_pictures(run)
    held = held_out_pictures(run, trained)
    names = [[p.name(i) for i in range(len(p))] for p in (trained, held)]
    assert [len(n) for n in names] == [4, 3]
    every = ImageDataset(place / "pictures", resolution=32)
    assert sorted(names[0] + names[1]) == [every.name(i) for i in range(7)]
    for i, name in enumerate(names[1]):
        expected = next(j for j in range(7) if every.name(j) == name)
        assert np.array_equal(held.load(i), every.load(expected))


def test_a_generator_is_judged_by_samples_before_the_first_step_and_as_asked(
    place, tmp_path, judged
):
    done = train(config(place, tmp_path / "run", **judged, logging_steps=100))
    lines = lines_of(done)
    assert [line["step"] for line in lines if "fd_random" in line] == [0, 2, 4, 5]
    assert all(line["fd_random"] >= 0 and 0 <= line["clipped_share"] <= 1 for line in lines[:1])
    AcceleratorState._reset_state(True)
    fresh = Run(config(place, tmp_path / "again", **judged))
    made = fresh.judge.pictures(fresh.method.samples)
    with fresh.method.average_weights() as gan, torch.no_grad():
        z = torch.randn(1, gan.z_dim, generator=torch.Generator().manual_seed(1))
        expected = (gan(z)[0].clamp(-1, 1).permute(1, 2, 0) + 1) * 127.5
    np.testing.assert_allclose(made[1], expected.numpy(), atol=0.51)
    assert fresh.judge.read()["fd_random"] == lines[0]["fd_random"]
    features = [fresh.judge.network(x) for x in (made, fresh.judge.real)]
    assert lines[0]["fd_random"] == frechet_of_features(*features)


FILLING = ("invertfill", "psp", "lahiri", "dualpath", "feedforward", "refinement")


@pytest.mark.parametrize("method", FILLING)
def test_what_fills_holes_is_judged_by_its_composites_in_two_bands(place, tmp_path, judged, method):
    own = {"pretrained_model_name_or_path": ""} if method == "feedforward" else {}
    run = Run(config(place, tmp_path / "run", method, **judged, **own))
    values = run.judge.read()
    bands = [values["fd_random_20-40"], values["fd_random_60-80"]]
    assert values["fd_random"] == pytest.approx((bands[0] * bands[1]) ** 0.5)
    assert bands[0] < bands[1]  # more of the picture is made up
    side = run.config.resolution
    holes = np.stack([run.judge.bands[1].draw(side, 0, i)[0] for i in run.judge.indices])
    made = run.judge.pictures(lambda a, b: run.judge.fills(a, b, holes))
    assert np.array_equal(made[~holes], run.judge.real[~holes])
    mean = made[holes].mean(axis=0) - run.judge.real[holes].mean(axis=0)
    assert values["shift_green_60-80"] == pytest.approx(mean[1], abs=1e-3)


def test_contrast_clipping_and_color_shift_are_those_of_the_hole():
    real = np.full((1, 8, 8, 3), 100, np.uint8)
    real[:, :, ::2] = 140
    made = real.copy()
    made[0, :4] = np.where(made[0, :4] == 140, 255, 175)  # twice the contrast, brighter
    holes = np.zeros((1, 8, 8), bool)
    holes[0, :4] = True
    values = compare(made, real, holes)
    assert values["contrast_ratio"] == pytest.approx(2) == values["edge_ratio"]
    assert (values["clipped_share"], values["clipped_share_real"]) == (0.5, 0)
    assert values["shift_red"] == values["shift_blue"] == pytest.approx(95)
    assert compare(made, real, ~holes)["shift_red"] == 0


def test_judging_does_not_change_what_is_trained(place, tmp_path, judged):
    plain = {"holdout_fraction": judged["holdout_fraction"]}
    for name, options in (("judged", {**judged, "keep_best": True}), ("plain", plain)):
        AcceleratorState._reset_state(True)
        train(config(place, tmp_path / name, "psp", max_train_steps=3, **options))
    states = [
        load_file(tmp_path / n / "checkpoint-3" / "model.safetensors") for n in ("judged", "plain")
    ]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])


def test_the_best_weights_are_released(place, tmp_path, judged):
    """A learning rate that breaks the networks: what was judged before any step is best."""
    broken = {"learning_rate": 0.5, "adam_beta1": 0.0, "use_ema": False}
    done = train(config(place, tmp_path / "run", **judged, **broken, keep_best=True))
    lines = {x["step"]: x["fd_random"] for x in lines_of(done) if "fd_random" in x}
    best = min(lines, key=lines.get)
    record = json.loads((done / "best" / "judged.json").read_text())
    assert best < 5 and (record["step"], record["score"]) == (best, lines[best])
    kept = load_file(done / "best" / "gan" / "model.safetensors")
    released = load_file(done / "gan" / "model.safetensors")
    assert all(torch.equal(kept[k], released[k]) for k in kept)
    last = load_file(done / "checkpoint-5" / "model.safetensors")
    assert not any(torch.equal(last[k], v) for k, v in released.items() if k.endswith(".const"))
    card = (done / "README.md").read_text()
    assert f"Released are the weights of step {best}, the best by fd_random" in card
    terms, quality = card.split("## Quality")
    assert "never trained on; the weights were chosen by them." in quality
    assert f"| fd_random | {lines[best]:.4g} |" in quality
    judged_names = lines_of(done)[0].keys() - {"step"}  # before any step nothing else was measured
    assert not any(f"| {name} |" in terms for name in judged_names)


def test_a_run_that_goes_on_forgets_what_was_judged_after_its_checkpoint(tmp_path):
    def write(folder):
        (folder / "gan").mkdir()

    best = Best(tmp_path, "fd_random")
    assert best.offer(2, 5.0, {}, write) and not best.offer(4, 5.0, {}, write)
    assert best.offer(6, 4.0, {}, write)
    assert Best(tmp_path, "fd_random").record["step"] == 6
    assert Best(tmp_path, "fd_other").record is None
    best.forget_after(6)
    assert best.record["score"] == 4.0
    best.forget_after(5)
    assert best.record is None and not (tmp_path / "best").exists()
    assert best.offer(6, 9.0, {}, write)
    (tmp_path / "best").rename(tmp_path / "best.replaced")  # killed between two renames
    assert Best(tmp_path, "fd_random").record["score"] == 9.0


def test_a_killed_run_keeps_the_same_best(place, tmp_path, judged):
    run = fields(place, tmp_path / "run", **judged, keep_best=True)
    whole = {**run, "output_dir": str(tmp_path / "whole" / "run")}
    (tmp_path / "whole").mkdir()
    assert finish(start(whole)) == [0], (tmp_path / "whole" / "rank-0.log").read_text()
    resumable = {**run, "resume_from_checkpoint": "latest"}
    assert finish(start(resumable, die_at=60)) == [-9]
    assert finish(start(resumable)) == [0], (tmp_path / "rank-0.log").read_text()
    assert "Resumed from" in (tmp_path / "rank-0.log").read_text()
    records = [json.loads((p / "best/judged.json").read_text()) for p in (
        tmp_path / "run", tmp_path / "whole" / "run"
    )]  # fmt: skip
    assert records[0] == records[1]
    for name in ("gan", "discriminator"):
        a, b = (
            load_file(p / name / "model.safetensors")
            for p in (tmp_path / "run", tmp_path / "whole" / "run")
        )
        assert all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"holdout_fraction": 0.0}, "--validation_network judges.*--holdout_fraction 0.1"),
        ({"validation_network": "", "keep_best": True}, "--keep_best needs a judge"),
        ({"holdout_fraction": 1.0}, "--holdout_fraction is 1.0, expected a share below 1"),
        ({"holdout_fraction": 0.2}, "holds back 1 pictures, expected at least 2"),
        ({"judged_bands": "20-x"}, "band is '20-x'"),
    ],
)
def test_a_judge_that_cannot_judge_is_refused(place, tmp_path, judged, options, message):
    with pytest.raises(ValueError, match=message):
        Run(config(place, tmp_path / "run", "psp", **{**judged, **options}))


def test_a_loss_may_not_know_the_judge(place, tmp_path, judged):
    network = place / "network.safetensors"
    network.with_suffix(".json").write_text(
        json.dumps({"input": {"id": 0, "size": 8}, "layers": []})
    )
    with pytest.raises(ValueError, match="--validation_network and --perceptual_network are both"):
        Run(config(place, tmp_path / "r", "psp", **{**judged, "validation_network": str(network)}))
