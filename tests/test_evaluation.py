"""The judge: fixed pairs, metrics against closed forms, a report of real runs."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from test_pipelines import tiny_pipeline

from inpaint_hub.data import ImageDataset
from inpaint_hub.evaluation.__main__ import main
from inpaint_hub.evaluation.classical import navier_stokes, telea
from inpaint_hub.evaluation.config import EvaluationConfig
from inpaint_hub.evaluation.evaluate import evaluate
from inpaint_hub.evaluation.feature_network import FeatureNetwork, same_padding
from inpaint_hub.evaluation.methods import distinct_names
from inpaint_hub.evaluation.metrics import (
    bootstrap_interval,
    cosine_distance,
    l1_percent,
    psnr,
    ssim,
)
from inpaint_hub.evaluation.pairs import EvaluationPairs, parse_band
from inpaint_hub.evaluation.report import markdown_table, summarize
from inpaint_hub.evaluation.scoring import SHIFTS

ROOT = Path(__file__).parent.parent
OPTIONAL = {"lpips_alex", "fid_inception", "kid_inception"}  # where those packages are installed


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures")
    photo = Image.open(ROOT / "examples" / "face.png")
    (path / "validation").mkdir()
    for i in range(5):
        photo.crop((i * 8, 0, i * 8 + 200, 200)).save(path / "validation" / f"{i}.png")
    return path


@pytest.fixture(scope="module")
def network_file(tmp_path_factory):
    """A two-layer network: 1x1 convolution to the colors themselves, then their means."""
    path = tmp_path_factory.mktemp("network") / "colors.json"
    layers = [
        {"op": "conv", "inputs": [0], "output": 1, "weights": "layer0", "stride": 2}
        | {"same_padding": True, "activation": "none"},
        {"op": "global_mean", "inputs": [1], "output": 2},
    ]
    path.write_text(json.dumps({"input": {"id": 0, "size": 8}, "layers": layers}))
    weight = torch.eye(3)[:, :, None, None].contiguous()
    save_file(
        {"layer0.weight": weight, "layer0.bias": torch.ones(3)}, path.with_suffix(".safetensors")
    )
    return path


def test_pairs_do_not_depend_on_how_many_are_judged(folder):
    pictures = ImageDataset(folder, "validation", 32)
    band = parse_band("30-60")
    few, many = EvaluationPairs(pictures, band, 0, 2), EvaluationPairs(pictures, band, 0)
    assert (len(few), len(many)) == (2, 5)
    for a, b in zip(few, many):
        assert np.array_equal(a[0], b[0]) and np.array_equal(a[1], b[1])
    assert all(0.3 <= mask.mean() <= 0.6 for _, mask in many)
    assert not np.array_equal(many[0][1], many[1][1])
    other_seed = EvaluationPairs(pictures, band, 1)
    assert not all(np.array_equal(many[i][1], other_seed[i][1]) for i in range(5))


@pytest.mark.parametrize("text", ["", "10", "60-30", "a-b", "50-120"])
def test_bands_that_are_none_are_errors(text):
    with pytest.raises(ValueError, match="two percentages"):
        parse_band(text)


def test_psnr_and_l1_are_their_closed_forms():
    original = np.full((8, 8, 3), 100, np.uint8)
    assert psnr(original + 10, original) == pytest.approx(20 * np.log10(255 / 10))
    one_byte = original.copy()
    one_byte[0, 0, 0] += 1
    assert psnr(original, original) == psnr(one_byte, original) == pytest.approx(70.96, abs=0.01)
    assert l1_percent(original - 51, original) == pytest.approx(20)


def test_ssim_is_one_for_equal_pictures_and_falls_with_noise(folder):
    original = ImageDataset(folder, "validation", 64).load(0)
    rng = np.random.default_rng(0)
    noisy = [
        np.clip(original + rng.normal(0, s, original.shape), 0, 255).astype(np.uint8)
        for s in (5, 40)
    ]
    assert ssim(original, original) == pytest.approx(1)
    assert 1 > ssim(noisy[0], original) > ssim(noisy[1], original) > 0


def test_cosine_distance_of_right_angles_is_one():
    a = np.array([[1.0, 0.0], [2.0, 0.0], [1.0, 1.0]])
    b = np.array([[0.0, 3.0], [5.0, 0.0], [-1.0, -1.0]])
    np.testing.assert_allclose(cosine_distance(a, b), [1, 0, 2], atol=1e-12)


def test_bootstrap_interval_has_the_width_of_the_standard_error():
    values = np.random.default_rng(0).normal(5, 2, 400)
    low, high = bootstrap_interval(values)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.15)


def test_the_table_prints_the_best_mean_of_a_band_in_bold():
    good, bad = (summarize({"psnr": [p, p], "l1_percent": [d, d]}) for p, d in ((30, 1), (20, 2)))
    lines = markdown_table({"10-30 %": {"good": good, "bad": bad}}).splitlines()
    assert lines[0] == "| coverage | method | psnr ↑ | l1_percent ↓ |"
    assert lines[2].count("**") == 4 and "**30.00** [30.00, 30.00]" in lines[2]
    assert "**" not in lines[3]


def test_feature_network_runs_its_layers(network_file):
    network = FeatureNetwork(network_file)
    pixels = np.zeros((2, 8, 8, 3), np.uint8)
    pixels[1] = (255, 0, 51)
    np.testing.assert_allclose(network(pixels), [[0, 0, 0], [2, 0, 0.4]], atol=1e-5)
    with pytest.raises(FileNotFoundError, match="nowhere.json"):
        FeatureNetwork(network_file.with_name("nowhere.json"))


def test_feature_network_adds_what_an_earlier_layer_made(tmp_path):
    conv = {"op": "conv", "weights": "w", "stride": 1, "same_padding": True}
    layers = [
        conv | {"inputs": [0], "output": 1, "activation": "none"},
        conv | {"inputs": [1], "output": 2, "activation": "relu6"},
        {"op": "add", "inputs": [1, 2], "output": 3},
        {"op": "global_mean", "inputs": [3], "output": 4},
    ]
    (tmp_path / "n.json").write_text(json.dumps({"input": {"id": 0, "size": 4}, "layers": layers}))
    state = {"w.weight": 5 * torch.eye(3)[:, :, None, None].contiguous(), "w.bias": torch.ones(3)}
    save_file(state, tmp_path / "n.safetensors")
    white = np.full((1, 4, 4, 3), 255, np.uint8)  # 5 + 1 = 6; relu6(31) = 6
    np.testing.assert_allclose(FeatureNetwork(tmp_path / "n.json")(white), [[12, 12, 12]])


def test_padding_is_tensorflows():
    assert same_padding(224, 3, 2) == (0, 1)
    assert same_padding(7, 3, 1) == (1, 1)
    assert same_padding(5, 1, 1) == (0, 0)


@pytest.mark.parametrize("fill", [telea, navier_stokes])
def test_classical_fillers_change_the_hole_alone(folder, fill):
    original = ImageDataset(folder, "validation", 32).load(0)
    mask = np.zeros((32, 32), bool)
    mask[10:20, 10:20] = True
    result = fill(original, mask)
    assert np.array_equal(result[~mask], original[~mask])
    assert not np.array_equal(result[mask], original[mask])


def test_methods_of_one_name_carry_as_much_of_their_paths_as_tells_them_apart():
    assert distinct_names(["runs/ours", "runs/psp"]) == ["ours", "psp"]
    assert distinct_names(["a/out/pipe", "b/out/pipe"]) == ["a/out/pipe", "b/out/pipe"]
    assert distinct_names(["runs/psp", "owner/psp"]) == ["runs/psp", "owner/psp"]
    assert distinct_names([]) == []
    with pytest.raises(ValueError, match="name each once"):
        distinct_names(["runs/psp", "runs/psp"])


def test_a_data_set_of_the_datasets_library_is_judged_like_its_files(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    files = sorted((folder / "validation").iterdir())
    rows = [{"bytes": file.read_bytes(), "path": None} for file in files]
    for split, kept in (("train", rows[:1]), ("test", rows[1:])):
        path = tmp_path / "set" / f"{split}-00000-of-00001.parquet"
        path.parent.mkdir(exist_ok=True)
        pq.write_table(pa.table({"photo": kept, "label": list(range(len(kept)))}), path)
    line = ["--telea", "--resolution", "32", "--bands", "50-60"]
    hub = ["--dataset_name", str(path.parent), "--image_column", "photo", "--split", "test"]
    main([*line, *hub, "--output", str(tmp_path / "hub")])
    settings = json.loads((tmp_path / "hub" / "results.json").read_text())["settings"]
    assert settings["num_images"] == 4 and settings["split"] == "test"
    main([*line, "--data_dir", str(folder), "--output", str(tmp_path / "files")])
    shown = [np.asarray(Image.open(tmp_path / k / "grid-50-60.png")) for k in ("hub", "files")]
    side = 64  # of a picture in the grid, whose rows are the pictures
    assert np.array_equal(shown[0][:side, :side], shown[1][side : 2 * side, :side])


def test_exactly_one_source_of_pictures_is_given(folder, tmp_path):
    line = ["--telea", "--resolution", "32", "--output", str(tmp_path)]
    for more, given in (([], "neither"), (["--data_dir", "x", "--dataset_name", "y"], "both")):
        with pytest.raises(SystemExit, match=f"--dataset_name: {given} given"):
            main([*line, *more])


def test_a_folder_without_held_out_pictures_is_refused(folder, tmp_path):
    line = ["--telea", "--resolution", "32", "--output", str(tmp_path / "o"), "--bands", "50-60"]
    plain = ["--data_dir", str(folder / "validation")]
    with pytest.raises(SystemExit, match="'validation'.*--split all"):
        main([*line, *plain])
    main([*line, *plain, "--split", "all", "--max_images", "1"])
    assert (tmp_path / "o" / "table.md").exists()


def test_an_evaluation_from_python_gives_what_the_command_line_gives(folder, tmp_path):
    line = ["--telea", "--resolution", "32", "--bands", "50-60", "--data_dir", str(folder)]
    main([*line, "--output", str(tmp_path / "line")])
    options = {"resolution": 32, "bands": ["50-60"], "data_dir": str(folder)}
    evaluate(EvaluationConfig(telea=True, **options, output=str(tmp_path / "python")))
    one, other = (
        json.loads((tmp_path / k / "results.json").read_text()) for k in ("line", "python")
    )
    for report in (one, other):
        del report["results"]["50-60 %"]["telea"]["seconds_per_image"]
    assert one["settings"] == other["settings"] and one["results"] == other["results"]


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"bands": "10-30"}, {"pipelines": "a"}])
def test_settings_that_no_flag_could_give_are_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is "):
        EvaluationConfig(**wrong)


@pytest.mark.parametrize("fill", [telea, navier_stokes])
def test_a_missing_development_library_says_how_to_install_it(fill, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ModuleNotFoundError, match="OpenCV is not.*requirements-dev.txt"):
        fill(np.zeros((16, 16, 3), np.uint8), np.zeros((16, 16), bool))


def test_a_whole_run_judges_all_methods_on_the_same_pairs(folder, network_file, tmp_path, capsys):
    tiny_pipeline().save_pretrained(tmp_path / "ours")
    arguments = ["--pipelines", str(tmp_path / "ours"), "--telea", "--data_dir", str(folder)]
    arguments += ["--bands", "10-30", "60-90", "--perceptual_network", str(network_file)]
    main([*arguments, "--batch_size", "2", "--output", str(tmp_path / "one")])
    table = capsys.readouterr().out
    report = json.loads((tmp_path / "one" / "results.json").read_text())
    assert set(report["results"]) == {"10-30 %", "60-90 %"}
    for methods in report["results"].values():
        assert set(methods) == {"ours", "telea"}
        judged = {"psnr", "ssim", "l1_percent", "seam_ratio", "sharpness_ratio"}
        judged |= {"colors_distance", "fd_colors", "kid_colors", *SHIFTS}
        assert set(methods["ours"]) - OPTIONAL == judged | {"seconds_per_image"}
        for metric in judged:
            summary = methods["ours"][metric]
            assert summary["num_images"] == 5
            assert summary["low"] <= summary["mean"] <= summary["high"]
    assert (
        table[table.index("| coverage") :].strip()
        == (tmp_path / "one" / "table.md").read_text().strip()
    )
    grid = Image.open(tmp_path / "one" / "grid-10-30.png")
    assert grid.size == (4 * 64, 5 * 64)
    assert report["settings"]["grid_columns"] == ["original", "masked", "ours", "telea"]
    first = np.asarray(grid)[:64:2, :64:2]
    assert np.array_equal(first, ImageDataset(folder, "validation", 32).load(0))
    main([*arguments, "--batch_size", "5", "--output", str(tmp_path / "other")])
    other = json.loads((tmp_path / "other" / "results.json").read_text())
    for band, methods in report["results"].items():
        for metric, summary in methods["telea"].items():
            if metric != "seconds_per_image":
                assert other["results"][band]["telea"][metric] == summary


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--bands", "90-10", "--telea", "--resolution", "32"], "two percentages"),
        ([], "nothing to judge"),
        (["--telea"], "--resolution is missing"),
        (["--pipelines", "nowhere/at/all"], "nowhere"),
    ],
)
def test_bad_arguments_end_before_anything_is_written(folder, tmp_path, arguments, message):
    output = tmp_path / "out"
    with pytest.raises(SystemExit, match=message):
        main(["--data_dir", str(folder), "--output", str(output), *arguments])
    assert not output.exists()


def test_the_command_ends_with_one_line_on_bad_arguments(folder, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "inpaint_hub.evaluation", "--data_dir", str(folder)]
        + ["--output", str(tmp_path / "out")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("ValueError: nothing to judge")
