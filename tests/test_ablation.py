"""The ablation runner: arms, budgets, what a second call does, and intervals over seeds."""

import itertools
import json
import os
import shutil
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from test_evaluation import network_file  # noqa: F401
from training_runs import TINY

from benchmarks.ablation import TABLES, ablate, build_parser, main, planned_runs
from benchmarks.runs import flag, train_apart
from benchmarks.seeds import of_pictures, of_sets, with_intervals
from inpaint_hub.training import PRESETS, parse_config, train

SHAPES = ("resolution", "backbone_width", "style_channels", "structure_channels", "report_to")
SHAPES += ("inpainter_channels", "patch_channels", "train_batch_size", "checkpointing_steps")
SMALL = [flag(name, TINY[name]) for name in SHAPES] + ["--num_validation_images=1"]
PRESET_FIELDS = {name: preset() for name, preset in PRESETS.items()}
WHOLE = TABLES["invertfill"].whole
VARIED = {
    "invertfill": {"fw_mode", "premodulation", "sml_mode"},
    "dualpath": {"fusion"},
}


def train_here(flags):
    train(parse_config(flags, PRESET_FIELDS))


def never(flags):
    raise AssertionError("trained again")


@pytest.fixture(scope="module")
def data(place, tmp_path_factory):
    """Four pictures to train on, three to judge on."""
    folder = tmp_path_factory.mktemp("data")
    for i, file in enumerate(sorted((place / "pictures").iterdir())):
        split = folder / ("train" if i < 4 else "validation")
        split.mkdir(exist_ok=True)
        shutil.copy(file, split)
    return folder


def command(table, place, data, output, *others):
    """Arguments of the command; the generator's pipeline, or the inversion's."""
    pipeline = place / ("gan" if table == "invertfill" else "psp")
    return [
        *("--table", table, "--train_data_dir", str(data), "--output_dir", str(output)),
        *("--pretrained_model_name_or_path", str(pipeline), "--max_train_steps", "2"),
        *("--bands", "hard", f"--perceptual_network={place / 'network.safetensors'}"),
        *(*SMALL, *others),
    ]


def run(line, train=never):
    arguments, flags = build_parser().parse_known_args(line)
    return ablate(arguments, flags, train)


@pytest.fixture(scope="module", params=["invertfill", "dualpath"])
def finished(request, place, data, network_file, tmp_path_factory):  # noqa: F811
    """(table, its command line, folder, report) of a run with two seeds."""
    output = tmp_path_factory.mktemp(request.param)
    others = ("--seeds", "3", "5", "--feature_network", str(network_file))
    line = command(request.param, place, data, output, *others)
    return request.param, line, output, run(line, train_here)


def test_the_arms_are_the_rows_of_table_5_and_the_naive_one():
    rows = {tuple(arm.values()) for arm in TABLES["invertfill"].arms.values()}
    assert rows == {
        ("none", False, "static"),
        ("feature", False, "static"),
        ("feature", False, "loss"),
        ("feature", True, "loss"),
        ("none", True, "loss"),
    }
    whole = TABLES["invertfill"].arms[TABLES["invertfill"].whole]
    assert tuple(whole.values()) == ("feature", True, "loss")


@pytest.mark.parametrize("table", TABLES)
def test_runs_of_one_seed_differ_in_the_fields_of_the_arms_alone(table, tmp_path):
    line = command(table, tmp_path, tmp_path, tmp_path / "out", "--seeds", "0", "1")
    runs = planned_runs(*build_parser().parse_known_args(line))
    assert len(runs) == 2 * len(TABLES[table].arms)
    assert len({run.folder for run in runs}) == len(runs)
    for a, b in itertools.combinations(runs, 2):
        differ = {n for n, v in vars(a.config).items() if v != vars(b.config)[n]} - {"output_dir"}
        if a.arm == b.arm:
            assert differ == {"seed"}
        else:
            assert differ - {"seed"} and differ - {"seed"} <= VARIED[table]
    assert {run.config.max_train_steps for run in runs} == {2}


def test_arms_can_be_chosen(tmp_path):
    def planned(*arms):
        line = command("invertfill", tmp_path, tmp_path, tmp_path / "out", "--arms", *arms)
        return planned_runs(*build_parser().parse_known_args(line))

    runs = planned("fw+-sml-pm", "fw+")
    assert [run.name for run in runs] == [f"{a} seed {n}" for n in (0, 1) for a in ("fw+", WHOLE)]
    assert {run.arm for run in planned("fw+", "fw+-sml")} == {"fw+", "fw+-sml"}
    for arms in (["fw+"], [WHOLE, "fw"]):
        with pytest.raises(ValueError, match="expected at least two of .*fw\\+-sml-pm"):
            planned(*arms)


def test_the_documented_command_is_understood():
    text = (Path(__file__).parent.parent / "docs" / "EVALUATION.md").read_text()
    line = text.replace("\\\n", " ").split("python -m benchmarks.ablation ")[1].split("\n")[0]
    runs = planned_runs(*build_parser().parse_known_args(line.split()))
    assert len(runs) == 10 and {run.config.lr_warmup_steps for run in runs} == {30}


def test_every_arm_and_seed_is_in_the_table(finished):
    table, _, output, report = finished
    text = (output / "ablation.md").read_text()
    assert json.loads((output / "ablation.json").read_text()) == report
    assert "small-scale" in text and "2 steps of 2 pictures at 32 px" in text
    (band,) = report["results"]
    assert set(report["results"][band]) == set(TABLES[table].arms)
    for arm, summary in report["results"][band].items():
        assert f"| {band} | {arm} |" in text
        assert {"psnr", "ssim", "colors_distance", "fd_colors"} <= set(summary)
        for metric in ("psnr", "fd_colors"):
            s = summary[metric]
            runs = [report["runs"][band][f"{arm} seed {n}"][metric]["mean"] for n in (3, 5)]
            assert s["seeds"] == pytest.approx(runs) and s["mean"] == pytest.approx(np.mean(runs))
            assert s["low"] < s["mean"] < s["high"]
        for seed in (3, 5):
            assert f"| {band} | {arm} seed {seed} |" in text
    whole = TABLES[table].whole
    assert set(report["differences"][band]) == set(TABLES[table].arms) - {whole}
    for arm, summary in report["differences"][band].items():
        gap = report["results"][band][arm]["ssim"]["mean"]
        gap -= report["results"][band][whole]["ssim"]["mean"]
        assert summary["ssim"]["mean"] == pytest.approx(gap)


def test_every_run_took_the_same_steps_with_its_arms_networks(finished):
    table, _, output, _ = finished
    for arm, fields in TABLES[table].arms.items():
        for seed in (3, 5):
            folder = output / "runs" / f"{arm}-seed{seed}"
            log = [json.loads(x) for x in (folder / "logs" / "metrics.jsonl").open()]
            assert [entry["step"] for entry in log] == [1, 2]
            part = "inpainter" if table == "dualpath" else "encoder"
            built = json.loads((folder / part / "config.json").read_text())
            assert {n: built[n] for n in fields if n != "sml_mode"} == {
                n: v for n, v in fields.items() if n != "sml_mode"
            }


def test_a_second_call_trains_and_fills_nothing_again(finished):
    _, line, output, report = finished
    judged = (output / "evaluation" / "per_image.jsonl").read_bytes()
    again = run(line)
    assert again["results"] == report["results"]
    assert (output / "evaluation" / "per_image.jsonl").read_bytes() == judged


def test_a_further_seed_trains_that_seed_alone(finished):
    table, line, output, _ = finished
    started = []

    def note(flags):
        started.append(parse_config(flags, PRESET_FIELDS))
        raise KeyboardInterrupt

    line = [*line, "--seeds", "5", "3", "7"]
    with pytest.raises(KeyboardInterrupt):
        run(line, note)
    assert [config.seed for config in started] == [7]


def test_another_configuration_does_not_mix_with_finished_runs(finished):
    _, line, _, _ = finished
    with pytest.raises(ValueError, match="max_train_steps 2, now 3.*another --output_dir"):
        run([*line, "--max_train_steps", "3"])


def test_a_killed_run_goes_on_from_its_checkpoint(place, data, tmp_path, capsys):
    line = command("dualpath", place, data, tmp_path, "--seeds", "0", "--logging_steps", "1")

    def killed(flags):
        """A run that ends after its first checkpoint, without a pipeline."""
        config = parse_config(flags, PRESET_FIELDS)
        train(replace(config, max_train_steps=1))
        os.remove(os.path.join(config.output_dir, "model_index.json"))

    with pytest.raises(InterruptedError, match="none seed 0 was stopped"):
        run(line, killed)
    capsys.readouterr()
    started = []

    def go_on(flags):
        started.append(parse_config(flags, PRESET_FIELDS).fusion)
        train_here(flags)

    run(line, go_on)
    told = capsys.readouterr().out
    assert told.count("Resumed from") == 1 and "checkpoint-1" in told
    assert started == ["none", "concat", "deformable"]


def test_a_signal_stops_the_training_process_with_a_checkpoint(place, data, tmp_path):
    line = command("dualpath", place, data, tmp_path, "--seeds", "0", "--checkpointing_steps=99999")
    line += ["--max_train_steps", "99999", "--logging_steps", "1"]
    first = planned_runs(*build_parser().parse_known_args(line))[0]

    over = threading.Event()

    def stop_when_it_trains():
        while not (over.is_set() or (first.folder / "logs" / "metrics.jsonl").is_file()):
            time.sleep(0.1)
        if not over.is_set():
            os.kill(os.getpid(), signal.SIGTERM)

    handler = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=stop_when_it_trains)
    thread.start()
    try:
        train_apart(first.flags)
    finally:
        over.set()
        thread.join()
    assert list(first.folder.glob("checkpoint-*/checkpoint.json"))
    assert not (first.folder / "model_index.json").exists()
    assert signal.getsignal(signal.SIGTERM) is handler


def test_a_training_that_fails_ends_the_run(tmp_path):
    with pytest.raises(ChildProcessError, match="status 2"):
        train_apart(["--no_such_flag"])


@pytest.mark.parametrize(
    "others, words",
    [
        (("--seeds", "1", "1"), "expected different ones"),
        (("--fw_mode", "rgb"), "set fw_mode"),
        (("--seed", "4"), "set seed"),
        (("--preset", "faces64_psp"), "set method"),
        (("--bands", "90-10"), "two percentages"),
        (("--feature_network", "nowhere.json"), "nowhere.json"),
        (("--train_data_dir", "nowhere"), "nowhere"),
        (("--pretrained_model_name_or_path", "./nowhere"), "nowhere"),
    ],
)
def test_bad_input_is_told_before_anything_is_trained(others, words, place, data, tmp_path):
    output = tmp_path / "out"
    with pytest.raises(SystemExit, match=words):
        main(command("invertfill", place, data, output, *others))
    assert not output.exists()


def test_pictures_that_are_trained_on_are_not_judged(place, tmp_path):
    data = place / "pictures"
    line = command("invertfill", place, data, tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="no picture for split 'validation'"):
        run(line)
    with pytest.raises(ValueError, match="7 of 7 pictures to judge on are trained on"):
        run([*line, "--validation_data_dir", str(data)])


def test_one_seed_has_the_interval_over_pictures_alone():
    values = np.random.default_rng(0).normal(5, 2, (1, 400))
    one = of_pictures({"arm": values})["arm"]
    assert one["high"] - one["low"] == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.15)


def test_seeds_alone_give_students_interval():
    means = np.random.default_rng(0).normal(5, 2, 6)
    expected = stats.ttest_1samp(means, 0).confidence_interval(0.95)
    one = with_intervals({"arm": means}, {"arm": 0.0})["arm"]
    assert (one["low"], one["high"]) == pytest.approx((expected.low, expected.high))


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng, held = np.random.default_rng(0), []
    for _ in range(150):
        pictures = rng.normal(0, 1, 80)
        columns = {
            arm: truth + rng.normal(0, 0.2, (2, 1)) + pictures + rng.normal(0, 0.3, (2, 80))
            for arm, truth in enumerate((20, 21, 22, 23, 24))
        }
        for arm, s in of_pictures(columns).items():
            held.append(s["low"] <= 20 + arm <= s["high"])
    assert 0.92 < np.mean(held) < 0.995


def test_what_pictures_share_does_not_widen_a_difference():
    rng = np.random.default_rng(0)
    shared = rng.normal(0, 10, 50)
    a, b = (shared + truth + rng.normal(0, 0.1, (2, 50)) for truth in (1, 0))
    alone, gap = of_pictures({"a": a})["a"], of_pictures({"a": a - b})["a"]
    assert gap["low"] < 1 < gap["high"]
    assert gap["high"] - gap["low"] < 0.2 * (alone["high"] - alone["low"])


def test_a_metric_without_an_interval_gets_none():
    summaries = [{"mean": m, "low": None, "high": None} for m in (3.0, 5.0)]
    one = of_sets({"arm": summaries})["arm"]
    assert (one["mean"], one["low"], one["high"]) == (4.0, None, None)
