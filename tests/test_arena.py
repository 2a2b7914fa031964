"""The arena: same pairs for all, composites judged, other programs' pictures, interrupted runs."""

import json
import re
import sys
import types

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from test_evaluation import OPTIONAL, ROOT, folder, network_file  # noqa: F401
from test_pipelines import tiny_pipeline
from torchmetrics.functional.image import (
    peak_signal_noise_ratio as torch_psnr,
)
from torchmetrics.functional.image import (
    structural_similarity_index_measure as torch_ssim,
)

from inpaint_hub import PSPPipeline
from inpaint_hub.data import ImageDataset
from inpaint_hub.evaluation import methods as methods_module
from inpaint_hub.evaluation.__main__ import main
from inpaint_hub.evaluation.config import build_parser
from inpaint_hub.evaluation.feature_network import FeatureNetwork
from inpaint_hub.evaluation.ledger import Ledger, packed, unpacked
from inpaint_hub.evaluation.methods import named_paths, pipeline_digest
from inpaint_hub.evaluation.metrics import color_shift_percent, psnr, ssim
from inpaint_hub.evaluation.page import difference_map, nice_ticks
from inpaint_hub.evaluation.pairs import EvaluationPairs, parse_band, parse_bands, slug
from inpaint_hub.evaluation.report import (
    best_mean,
    markdown_table,
    number,
    paired_differences,
    summarize,
)
from inpaint_hub.evaluation.scoring import SHIFTS, Scorer
from inpaint_hub.masks import MaskFiles

SIDE = 32


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights")
    tiny_pipeline().save_pretrained(path / "ours")
    tiny_pipeline(PSPPipeline).save_pretrained(path / "psp")
    return path


@pytest.fixture(scope="module")
def command(folder, network_file):  # noqa: F811
    """Arguments that all runs share; every run is small."""
    return ["--data_dir", str(folder), "--perceptual_network", str(network_file)] + [
        *("--bands", "hard", "outpaint-right-25"),
        *("--max_images", "3", "--resolution", str(SIDE), "--num_grid_images", "1"),
    ]


def results_of(path):
    return json.loads((path / "results.json").read_text())["results"]


def without_time(results):
    return {
        band: {
            method: {m: s for m, s in summary.items() if m != "seconds_per_image"}
            for method, summary in methods.items()
        }
        for band, methods in results.items()
    }


def pictures(folder, name, seed=0):  # noqa: F811
    return EvaluationPairs(ImageDataset(folder, "validation", SIDE), parse_band(name), seed)


# Bands


@pytest.mark.parametrize(
    "name, low, high",
    [("easy", 0.1, 0.2), ("hard", 0.5, 0.6), ("extreme", 0.7, 0.9), ("all", 0.1, 0.9)]
    + [(f"{k}-{k + 10}", k / 100, k / 100 + 0.1) for k in range(0, 60, 10)],
)
def test_a_named_band_holds_masks_of_its_coverage(folder, name, low, high):  # noqa: F811
    for _, mask in pictures(folder, name):
        assert low <= mask.mean() <= high


def test_hard_and_extreme_are_not_each_other(folder):  # noqa: F811
    hard, extreme = (
        np.mean([mask.mean() for _, mask in pictures(folder, name)]) for name in ("hard", "extreme")
    )
    assert hard < 0.61 and extreme > 0.69


@pytest.mark.parametrize(
    "name, hole",
    [
        ("outpaint-left-25", np.s_[:, :8]),
        ("outpaint-right-25", np.s_[:, 24:]),
        ("outpaint-right-75", np.s_[:, 8:]),
        ("outpaint-left-50", np.s_[:, :16]),
    ],
)
def test_outpainting_hides_the_side_it_names(folder, name, hole):  # noqa: F811
    expected = np.zeros((SIDE, SIDE), bool)
    expected[hole] = True
    for _, mask in pictures(folder, name):
        assert np.array_equal(mask, expected)


def test_outpainting_both_leaves_the_middle(folder):  # noqa: F811
    _, mask = pictures(folder, "outpaint-both-50")[0]
    assert mask[:, :8].all() and mask[:, 24:].all() and not mask[:, 8:24].any()


def test_the_nominal_protocol_covers_less_than_it_says(folder):  # noqa: F811
    nominal = pictures(folder, "mmt-70-90")
    covered = [nominal.band.draw(64, 0, index)[0].mean() for index in range(30)]
    assert 0.45 < np.mean(covered) < 0.65  # SPEC A11.2: 55 %


def test_groups_are_spelled_out_and_nothing_is_judged_twice():
    assert [b.name for b in parse_bands(["poster"])][:2] == ["0-10 %", "10-20 %"]
    assert len(parse_bands(["poster", "outpaint", "easy"])) == 6 + 9 + 1
    with pytest.raises(ValueError, match="given twice: 10-20"):
        parse_bands(["poster", "10-20"])
    for text in ("outpaint-top-50", "outpaint-left-33", "mmt-90-10", "harder"):
        with pytest.raises(ValueError, match="two percentages as 30-60.*hard, extreme, all"):
            parse_band(text)


def test_a_band_can_be_of_one_kind_of_hole(folder):  # noqa: F811
    names = [b.name for b in parse_bands(["strokes-10-20", "10-20", "boxes-hard"])]
    assert names == ["strokes-10-20 %", "10-20 %", "boxes-hard (50-60 %)"]
    assert [slug(b) for b in parse_bands(["strokes-poster"])][:2] == [
        "strokes-0-10",
        "strokes-10-20",
    ]
    pairs = pictures(folder, "strokes-30-60")
    assert all(0.3 <= mask.mean() <= 0.6 for _, mask in pairs)
    assert set(pairs.kinds.values()) == {"strokes"} and pairs.remark == "holes: strokes 100 %"
    for text in ("strokes-", "strokes-outpaint-left-50", "boxes-strokes-10-20", "strokes-mmt-1-9"):
        with pytest.raises(ValueError, match="before coverages also a kind of hole"):
            parse_band(text)


@pytest.fixture
def mask_dir(tmp_path):
    hole = np.zeros((2 * SIDE, 2 * SIDE), np.uint8)
    hole[:SIDE, :SIDE] = 255
    Image.fromarray(hole).save(tmp_path / "quarter.png")
    hole[:, :] = 255
    hole[:SIDE] = 0
    Image.fromarray(hole).save(tmp_path / "zhalf.png")
    return tmp_path


def test_mask_files_are_judged_in_turn_or_by_what_they_cover(folder, mask_dir):  # noqa: F811
    files = MaskFiles(mask_dir)
    every, half = (parse_band(text, files) for text in ("files", "files-40-60"))
    assert [slug(every), slug(half), half.name] == ["files", "files-40-60", "files-40-60 %"]
    dataset = ImageDataset(folder, "validation", SIDE)
    assert [m.mean() for _, m in EvaluationPairs(dataset, every)] == [0.25, 0.5, 0.25, 0.5, 0.25]
    pairs = EvaluationPairs(dataset, half)
    assert [mask.mean() for _, mask in pairs] == [0.5] * 5
    assert "holes: files 100 %; mask files: 2, hole 37.5 % (mean; 25.0 to 50.0 %) as stored" in (
        pairs.remark
    )
    with pytest.raises(ValueError, match="there are no mask files; give --mask_dir"):
        parse_band("files-40-60")


def test_mask_files_that_no_band_takes_are_an_error(command, mask_dir):
    line = [*command, "--telea", "--output", str(mask_dir / "o"), "--mask_dir", str(mask_dir)]
    with pytest.raises(SystemExit, match="take nothing from it; name files"):
        main(line)


def test_a_run_tells_the_kinds_of_holes_and_the_cast_of_the_fills(command, mask_dir, tmp_path):
    line = [*command, "--telea", "--output", str(tmp_path / "o"), "--mask_dir", str(mask_dir)]
    main([*line, "--bands", "files", "strokes-30-60"])
    table = (tmp_path / "o" / "table.md").read_text()
    assert "holes: files 100 %; mask files: 2, hole" in table
    assert "holes: strokes 100 %" in table and str(mask_dir) not in table
    assert "shift_red_percent →0" in table


# Metrics against other people's programs


def test_the_color_shift_is_signed_by_channel_and_of_the_hole_alone():
    original = np.full((8, 8, 3), 100, np.uint8)
    mask = np.zeros((8, 8), bool)
    mask[2:4] = True
    result = original.copy()
    result[2:4] = (151, 100, 49)
    result[2, 0] = (49, 100, 151)
    result[0] = 255  # known: does not count
    red, green, blue = color_shift_percent(result, original, mask)
    assert (red, green, blue) == pytest.approx((17.5, 0, -17.5))
    assert best_mean("shift_red_percent", {"a": {"shift_red_percent": {"mean": -3}}, "b": {}}) == -3
    means = {name: {"shift_red_percent": {"mean": m}} for name, m in (("a", -3), ("b", 2))}
    assert best_mean("shift_red_percent", means) == 2


@pytest.mark.parametrize("spread", [3, 30, 120])
def test_ssim_and_psnr_are_scikit_images_and_torchmetrics(folder, spread):  # noqa: F811
    original = ImageDataset(folder, "validation", 64).load(0)
    noise = np.random.default_rng(0).normal(0, spread, original.shape)
    result = np.clip(original + noise, 0, 255).astype(np.uint8)
    ours = ssim(result, original)
    theirs = structural_similarity(
        result,
        original,
        channel_axis=2,
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert ours == pytest.approx(theirs, abs=1e-12)
    a, b = (torch.from_numpy(x.copy()).permute(2, 0, 1)[None] / 255.0 for x in (result, original))
    _, windows = torch_ssim(a.double(), b.double(), data_range=1.0, return_full_image=True)
    inside = windows[..., 5:-5, 5:-5]  # it also averages windows over a reflected border
    assert ours == pytest.approx(inside.mean().item(), abs=1e-6)
    assert psnr(result, original) == pytest.approx(
        peak_signal_noise_ratio(original, result, data_range=255), abs=1e-9
    )
    assert torch_psnr(a, b, data_range=1.0).item() == pytest.approx(
        psnr(result, original), abs=1e-3
    )


def test_ssim_of_pictures_smaller_than_its_window_is_an_error():
    with pytest.raises(ValueError, match="at least 11 px"):
        ssim(np.zeros((10, 64, 3), np.uint8), np.zeros((10, 64, 3), np.uint8))


def test_diversity_is_the_mean_distance_of_all_pairs_inside_the_hole(network_file):  # noqa: F811
    scorer = Scorer(FeatureNetwork(network_file), num_samples=3)
    mask = np.zeros((16, 16), bool)
    mask[:, 8:] = True
    rng = np.random.default_rng(0)
    samples = [rng.integers(0, 256, (16, 16, 3), dtype=np.uint8) for _ in range(3)]
    (value,) = scorer.diversity(samples, mask).values()
    pairs = [scorer.diversity([samples[i], samples[j]], mask) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert value == pytest.approx(np.mean([p["diversity_colors"] for p in pairs])) and value > 0
    assert scorer.diversity([samples[0]] * 3, mask)["diversity_colors"] == pytest.approx(0)
    elsewhere = samples[0].copy()
    elsewhere[:, :8] = 255 - elsewhere[:, :8]
    same = scorer.diversity([samples[0], elsewhere], mask)["diversity_colors"]
    assert same == pytest.approx(0)
    swapped = scorer.diversity([samples[0], elsewhere], ~mask)["diversity_colors"]
    assert swapped > 0


class StrictLPIPS(torch.nn.Module):
    """Stands where the lpips package's network would: mean |a - b| of what it checks is its range
    and layout."""

    def __init__(self, net, verbose):
        super().__init__()
        assert net == "alex"

    def forward(self, a, b):
        assert a.shape[1] == b.shape[1] == 3 and min(a.min(), b.min()) >= -1
        assert max(a.max(), b.max()) <= 1 and a.min() < 0 < a.max()
        return (a - b).abs().mean().reshape(1, 1, 1, 1)


def test_lpips_gets_pictures_between_minus_one_and_one(monkeypatch):
    monkeypatch.setitem(sys.modules, "lpips", types.SimpleNamespace(LPIPS=StrictLPIPS))
    result, original = np.zeros((2, 16, 16, 3), np.uint8)
    original[:8], result[:] = 255, original
    result[0] = 0
    mask = np.zeros((16, 16), bool)
    mask[4:8] = True
    values, _ = Scorer().score(result, original, mask)
    assert values["lpips_alex"] == pytest.approx(2 / 16)


def test_what_cannot_be_measured_is_a_column_that_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "lpips", None)
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    scorer = Scorer()
    assert scorer.inception_distances([], []) == {}
    assert set(scorer.unavailable) == OPTIONAL
    table = markdown_table({"b": {"m": summarize({"psnr": [1, 2]})}}, scorer.unavailable)
    assert "| psnr ↑ | lpips_alex ↓ | fid_inception ↓ | kid_inception ↓ |" in table
    assert table.count("n/a") == 3


def test_fid_gets_all_results_first_then_all_originals_as_bytes(monkeypatch):
    def calculate_metrics(input1, input2, fid, kid, kid_subset_size, **options):
        assert fid and kid and kid_subset_size == 2 and len(input1) == len(input2) == 2
        assert input1[0].dtype == torch.uint8 and input1[0].shape == (3, 8, 8)
        return {"f": float(input1[1][2, 0, 1]), "k": float(input2[1][2, 0, 1])}

    module = types.SimpleNamespace(
        calculate_metrics=calculate_metrics, KEY_METRIC_FID="f", KEY_METRIC_KID_MEAN="k"
    )
    monkeypatch.setitem(sys.modules, "torch_fidelity", module)
    results, originals = np.zeros((2, 2, 8, 8, 3), np.uint8)
    results[1, 0, 1, 2], originals[1, 0, 1, 2] = 7, 9
    distances = Scorer().inception_distances(results, originals)
    assert distances["fid_inception"]["mean"] == 7 and distances["kid_inception"]["mean"] == 9


# Whole runs


@pytest.fixture(scope="module")
def first_run(command, weights, tmp_path_factory):
    output = tmp_path_factory.mktemp("runs") / "first"
    pipelines = [f"ours={weights / 'ours'}", f"psp={weights / 'psp'}"]
    main(
        [*command, "--pipelines", *pipelines, "--telea", "--navier_stokes", "--num_samples", "2"]
        + ["--variation", "0.5", "--batch_size", "2", "--output", str(output)]
    )
    return output


def test_a_run_measures_everything_for_everyone(first_run):
    report = json.loads((first_run / "results.json").read_text())
    assert list(report["results"]) == ["hard (50-60 %)", "outpaint-right-25"]
    for methods in report["results"].values():
        assert list(methods) == ["ours", "psp", "telea", "navier_stokes"]
        for name, summary in methods.items():
            learned = {"colors_distance", "fd_colors", "kid_colors", *SHIFTS}
            own = {"diversity_colors"} if name in ("ours", "psp") else set()
            expected = {"psnr", "ssim", "l1_percent", "seam_ratio", "sharpness_ratio"}
            expected |= {"seconds_per_image"} | learned | own
            assert set(summary) - OPTIONAL == expected
        assert methods["ours"]["diversity_colors"]["mean"] > 0
        assert methods["ours"]["seconds_per_image"]["mean"] > 0
    assert report["settings"]["mean_coverage"]["outpaint-right-25"] == 0.25
    assert "measured coverage mean 25.0 %" in (first_run / "table.md").read_text()
    text = json.dumps(report)
    assert str(first_run.parent) not in text  # where it ran is nobody's business


def test_a_pipeline_is_judged_as_its_own_pictures_are(first_run, command, tmp_path):
    copies = [f"{name}={first_run / 'pictures' / name}" for name in ("ours", "telea")]
    main(
        [*command, "--predictions", *copies, "--num_samples", "2", "--output", str(tmp_path / "o")]
    )
    first = without_time(results_of(first_run))
    again = without_time(results_of(tmp_path / "o"))
    for band, methods in again.items():
        assert set(methods) == {"ours", "telea"}
        for name, summary in methods.items():
            assert summary == first[band][name]
            assert "seconds_per_image" not in results_of(tmp_path / "o")[band][name]


def test_neither_batch_nor_company_changes_a_result(first_run, command, weights, tmp_path):
    main(
        [*command, "--pipelines", f"psp={weights / 'psp'}", "--num_samples", "2"]
        + ["--variation", "0.5", "--bands", "hard", "--output", str(tmp_path / "alone")]
    )
    for band, methods in without_time(results_of(tmp_path / "alone")).items():
        together = without_time(results_of(first_run))[band]["psp"]
        for metric, summary in methods["psp"].items():
            assert summary["mean"] == pytest.approx(together[metric]["mean"], rel=1e-3)


def test_one_pipeline_is_judged_with_and_without_a_blend(
    command,
    folder,  # noqa: F811
    weights,
    tmp_path,
):
    pipelines = [f"{name}={weights / 'psp'}" for name in ("psp", "psp-gp")]
    command = [*command, "--pipelines", *pipelines, "--blend", "psp-gp=gp", "--bands", "hard"]
    main([*command, "--output", str(tmp_path)])
    pipe = PSPPipeline.from_pretrained(weights / "psp")
    pictures = ImageDataset(folder, "validation", SIDE)
    original, mask = EvaluationPairs(pictures, parse_band("hard"))[0]
    for name, blend in (("psp", "none"), ("psp-gp", "gp")):
        expected = pipe(Image.fromarray(original), mask, blend=blend).images[0]
        judged = Image.open(tmp_path / "pictures" / name / "hard" / "00000.png")
        assert np.array_equal(np.asarray(judged), np.asarray(expected))


def copy_with(source, target, change):
    """The pictures of a method with `change(pixels, band, index)` applied."""
    for file in source.rglob("*.png"):
        path = target / file.relative_to(source)
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.array(Image.open(file))
        if file.parent.name != "samples":
            pixels = change(pixels, file.parent.name, int(file.stem))
        Image.fromarray(pixels).save(path)


def test_only_the_hole_is_judged(first_run, command, folder, tmp_path, capsys):  # noqa: F811
    """Fails when the polarity of a mask or of the composite is swapped."""
    pairs = {name: pictures(folder, name) for name in ("hard", "outpaint-right-25")}

    def keep(hole):
        def change(pixels, band, index):
            original, mask = pairs[band][index]
            noise = np.random.default_rng(0).integers(0, 256, pixels.shape, dtype=np.uint8)
            return np.where((mask if hole else ~mask)[..., None], pixels, noise)

        return change

    source = first_run / "pictures" / "telea"
    copy_with(source, tmp_path / "outside", keep(hole=True))
    copy_with(source, tmp_path / "inside", keep(hole=False))
    spoiled = [f"{name}={tmp_path / name}" for name in ("outside", "inside")]
    main([*command, "--predictions", *spoiled, "--output", str(tmp_path / "o")])
    first = without_time(results_of(first_run))
    for band, methods in without_time(results_of(tmp_path / "o")).items():
        assert methods["outside"] == first[band]["telea"]
        assert methods["inside"]["psnr"]["mean"] < methods["outside"]["psnr"]["mean"] - 1
    notes = json.loads((tmp_path / "o" / "results.json").read_text())["notes"]
    assert len(notes) == 2 and all("of outside differ" in note for note in notes)


def test_exported_pairs_are_the_judged_ones_with_white_holes(
    command,
    folder,  # noqa: F811
    tmp_path,
    capsys,
):
    main([*command, "--export_pairs", str(tmp_path / "pairs")])
    assert "hard (50-60 %): 3 pairs, measured coverage mean 5" in capsys.readouterr().out
    told = json.loads((tmp_path / "pairs" / "pairs.json").read_text())
    assert [entry["file"] for entry in told["hard"]["pairs"]] == [f"0000{i}.png" for i in range(3)]
    for band in ("hard", "outpaint-right-25"):
        pairs = pictures(folder, band)
        for index in range(3):
            original, mask = pairs[index]
            image, white, masked = (
                Image.open(tmp_path / "pairs" / band / part / f"0000{index}.png")
                for part in ("images", "masks", "masked")
            )
            assert white.mode == "L" and np.array_equal(np.asarray(white), mask * 255)
            assert np.array_equal(np.asarray(image), original)
            assert (np.asarray(masked)[mask] == 128).all()
            assert np.array_equal(np.asarray(masked)[~mask], original[~mask])
    with pytest.raises(SystemExit, match="not empty"):
        main([*command, "--export_pairs", str(tmp_path / "pairs")])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["pairs"]


def test_everything_wrong_with_predictions_is_one_list_and_nothing_is_written(
    first_run, command, tmp_path
):
    for name in ("a", "b"):
        copy_with(first_run / "pictures" / "telea", tmp_path / name, lambda p, *_: p)
    (tmp_path / "a" / "hard" / "00001.png").unlink()
    Image.new("RGB", (SIDE, SIDE + 1)).save(tmp_path / "a" / "hard" / "00002.png")
    Image.new("RGB", (SIDE, SIDE)).save(tmp_path / "a" / "outpaint-right-25" / "00000.jpg")
    (tmp_path / "a" / "outpaint-right-25" / "00001.png").write_bytes(b"no picture")
    Image.new("I;16", (SIDE, SIDE)).save(tmp_path / "a" / "outpaint-right-25" / "00002.png")
    for file in (tmp_path / "b" / "hard").iterdir():
        file.unlink()
    (tmp_path / "b" / "hard").rmdir()
    arguments = [*command, "--output", str(tmp_path / "o"), "--export_pairs", str(tmp_path / "x")]
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, "--predictions", f"a={tmp_path / 'a'}", f"b={tmp_path / 'b'}"])
    lines = str(stopped.value).splitlines()
    assert lines[0] == "ValueError: 6 problems; nothing was judged:"
    for line, words in zip(
        lines[1:],
        [
            "hard/00001.png is missing",
            f"00002.png is {SIDE}x{SIDE + 1}, expected {SIDE}x{SIDE}",
            r"is there as \['00000.jpg', '00000.png'\]",
            "00001.png cannot be read",
            "00002.png has mode I;16, expected 8-bit",
            "b/hard is missing, expected with 3 pictures",
        ],
        strict=True,
    ):
        assert re.search(words, line), line
    assert not (tmp_path / "o").exists() and not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--telea", "--predictions", "telea=x"], "'telea' is the name of 2 methods"),
        (["--predictions", "a=x", "a=y"], "'a' is the name of 2 methods"),
        (["--predictions", "folder"], "'folder' has no name; NAME=DIR"),
        (["--predictions", "=folder"], "name is empty"),
        (["--predictions", "a=nowhere"], "folder nowhere/hard is missing"),
        (
            ["--telea", "--num_samples", "2", "--perceptual_network", ""],
            "give --perceptual_network",
        ),
        (["--telea", "--bands", "hard", "hard"], "bands given twice: hard"),
        (["--telea", "--blend", "telea=gp"], "--blend is .*expected NAME=KIND"),
        (["--telea", "--blend", "gp"], "--blend is .*expected NAME=KIND"),
    ],
)
def test_bad_methods_end_before_anything_is_written(command, tmp_path, arguments, message):
    with pytest.raises(SystemExit, match=message):
        main([*command, "--output", str(tmp_path / "out"), *arguments])
    assert not (tmp_path / "out").exists()


def test_methods_without_a_place_for_the_report_are_refused(command):
    with pytest.raises(SystemExit, match="--output is missing"):
        main([*command, "--telea"])


# Going on


@pytest.fixture
def fills(monkeypatch):
    """Pictures that OpenCV filled while the test ran."""
    counted = []
    fill = methods_module.ClassicalMethod.fill

    def counting(self, originals, masks, band, indices):
        counted.extend((self.name, band, i) for i in indices)
        return fill(self, originals, masks, band, indices)

    monkeypatch.setattr(methods_module.ClassicalMethod, "fill", counting)
    return counted


def test_an_interrupted_run_goes_on_where_it_was(command, tmp_path, fills):
    arguments = [*command, "--telea", "--output", str(tmp_path / "o")]
    main(arguments)
    assert len(fills) == 6
    whole = results_of(tmp_path / "o")
    ledger = tmp_path / "o" / "per_image.jsonl"
    lines = ledger.read_bytes().splitlines(keepends=True)
    assert len(lines) == 12  # a fill and a score of each
    fills.clear()
    ledger.write_bytes(b"".join(lines[:7]) + lines[7][:40])  # torn inside a score
    main(arguments)
    assert len(fills) == 6 - len({line for line in lines[:7] if b'"picture"' in line})
    assert without_time(results_of(tmp_path / "o")) == without_time(whole)
    fills.clear()
    main(arguments)
    assert fills == [] and results_of(tmp_path / "o")["hard (50-60 %)"]["telea"]["psnr"]
    (tmp_path / "o" / "pictures" / "telea" / "hard" / "00001.png").write_bytes(b"torn")
    main(arguments)
    assert fills == [("telea", "hard", 1)]
    assert without_time(results_of(tmp_path / "o")) == without_time(whole)


def test_another_seed_is_other_work_and_another_metric_is_not(
    command,
    folder,  # noqa: F811
    tmp_path,
    fills,
):
    arguments = [*command, "--telea", "--output", str(tmp_path / "o")]
    no_network = [a for a in arguments if "colors" not in a and a != "--perceptual_network"]
    main(no_network)
    fills.clear()
    main(arguments)
    assert fills == []
    assert "colors_distance" in results_of(tmp_path / "o")["hard (50-60 %)"]["telea"]
    main([*arguments, "--seed", "1"])
    assert [band for _, band, _ in fills] == ["hard"] * 3  # the border is the same for all seeds


def test_a_changed_prediction_is_judged_anew(first_run, command, tmp_path):
    copy_with(first_run / "pictures" / "telea", tmp_path / "a", lambda p, *_: p)
    arguments = [*command, "--predictions", f"a={tmp_path / 'a'}", "--output", str(tmp_path / "o")]
    main(arguments)
    before = results_of(tmp_path / "o")
    copy_with(first_run / "pictures" / "ours", tmp_path / "a", lambda p, *_: p)
    main(arguments)
    assert results_of(tmp_path / "o") != before


def test_other_weights_are_another_method():
    pipe = tiny_pipeline()
    before = pipeline_digest(pipe)
    assert pipeline_digest(tiny_pipeline()) == before
    with torch.no_grad():
        next(iter(pipe.gan.parameters())).view(-1)[0] += 1e-3
    assert pipeline_digest(pipe) != before
    assert pipeline_digest(tiny_pipeline(PSPPipeline)) != before


def test_a_ledger_keeps_what_is_whole_and_refuses_what_is_broken(tmp_path):
    path = tmp_path / "o" / "ledger.jsonl"
    features = np.random.default_rng(0).normal(size=7).astype(np.float32)
    Ledger(path).append([{"key": "a", "features": packed(features)}, {"key": "b"}])
    path.write_bytes(path.read_bytes() + b'{"key": "c", "val')
    ledger = Ledger(path)
    assert np.array_equal(unpacked(ledger.get("a")["features"]), features)
    assert ledger.get("b") and ledger.get("c") is None
    ledger.append([{"key": "c"}])
    assert set(Ledger(path).records) == {"a", "b", "c"}
    path.write_text('{"key": "a"}\nnonsense\n{"key": "b"}\n')
    with pytest.raises(ValueError, match="line 2 .*delete the file"):
        Ledger(path)


# The report


def test_the_page_opens_offline_and_shows_every_picture(first_run, tmp_path):
    from playwright.sync_api import sync_playwright

    text = (first_run / "report.html").read_text()
    assert not re.search(r'(src|href)="(?!data:)', text) and "<script" not in text
    assert text.count("<details") == 2 * 4 and text.count("<svg") >= 7
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 420, "height": 800}, offline=True)
        complaints = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("requestfailed", lambda request: complaints.append(request.url[:100]))
        page.goto((first_run / "report.html").as_uri())
        broken = "[...document.images].filter(i => !(i.complete && i.naturalWidth)).length"
        assert page.evaluate(broken) == 0 and page.evaluate("document.images.length") > 50
        assert page.evaluate("document.documentElement.scrollWidth") <= 420
        assert complaints == []
        browser.close()


def find_chromium():
    import shutil

    return shutil.which("chromium") or shutil.which("chromium-browser")


def test_a_difference_map_is_black_where_equal_and_white_from_half_the_range_on():
    original = np.zeros((1, 4, 3), np.uint8)
    result = original.copy()
    result[0, 1:] = [[21, 21, 21], [64, 64, 64], [128, 128, 128]]
    shown = difference_map(result, original)[0]
    assert shown[0].tolist() == [0, 0, 0] and shown[3].tolist() == [255, 255, 255]
    assert shown[1][0] == pytest.approx(126, abs=1) and shown[1][1] == 0  # a sixth of the range
    assert shown[2][0] == 255 and shown[2][2] == 0  # yellowish halfway


def ranked_numbers(path):
    """The numbers below the first method's pictures, from the row called best to worst."""
    text = (path / "report.html").read_text()
    strip = text[text.index("<details") : text.index("</details>")]
    rows = strip.split("<tr>")[2:]
    assert [re.search(r"best|median|worst", row)[0] for row in rows] == ["best", "median", "worst"]
    return strip, [float(re.findall(r">([\d.]+)</td>", row)[0]) for row in rows]


def test_pictures_are_ranked_from_best_to_worst(first_run, folder, tmp_path):  # noqa: F811
    strip, distances = ranked_numbers(first_run)
    assert "ours, by colors_distance" in strip and distances == sorted(distances)
    arguments = ["--data_dir", str(folder), "--telea", "--resolution", str(SIDE)]
    main([*arguments, "--bands", "hard", "--output", str(tmp_path)])
    strip, decibels = ranked_numbers(tmp_path)
    assert "telea, by psnr" in strip and decibels == sorted(decibels, reverse=True)
    assert decibels[0] > decibels[2]


def test_differences_are_paired():
    values = {"a": {"psnr": [10.0, 20.0, 30.0]}, "b": {"psnr": [11.0, 21.0, 31.0]}}
    s = paired_differences(values)["b"]["psnr"]
    assert (s["mean"], s["low"], s["high"]) == (1, 1, 1)
    assert paired_differences({"a": values["a"]}) == {}


def test_ticks_are_round_and_enclose():
    for low, high in [(0.43, 0.61), (17, 28), (0, 900), (5, 5), (0, 0), (-0.01, 0.02)]:
        ticks = nice_ticks(low, high)
        assert ticks[0] <= low and ticks[-1] >= high and 2 <= len(ticks) <= 8
        steps = np.diff(ticks)
        assert np.allclose(steps, steps[0])


def test_numbers_have_the_digits_of_their_size():
    assert [number(v) for v in (20.456, 0.72345, 0.0351, 0.000123)] == [
        *("20.46", "0.7235", "0.0351", "0.000123")
    ]


def test_names_are_given_or_the_ends_of_paths(tmp_path):
    assert named_paths(["ours=runs/x", "runs/psp"]) == [("ours", "runs/x"), ("psp", "runs/psp")]
    (tmp_path / "a=b").mkdir()
    assert named_paths([str(tmp_path / "a=b")]) == [("a=b", str(tmp_path / "a=b"))]


# What docs/EVALUATION.md promises

DOCUMENT = (ROOT / "docs" / "EVALUATION.md").read_text()


@pytest.mark.parametrize(
    "line",
    [
        line
        for block in re.findall(r"```bash\n(.*?)```", DOCUMENT, flags=re.DOTALL)
        for line in block.replace("\\\n", " ").splitlines()
        if "inpaint_hub.evaluation" in line
    ],
)
def test_the_documented_commands_are_understood(line):
    arguments = build_parser().parse_args(line.split()[3:])
    assert parse_bands(arguments.bands)


def test_the_documented_conversions_fit_the_exported_pairs(command, tmp_path, monkeypatch, capsys):
    main([*command, "--export_pairs", str(tmp_path / "pairs")])
    monkeypatch.chdir(tmp_path)
    to_lama, from_lama, to_mat = re.findall(r"```python\n(.*?)```", DOCUMENT, flags=re.DOTALL)
    exec(to_lama, {})
    exec(to_mat, {})
    for band in ("hard", "outpaint-right-25"):
        mask = np.asarray(Image.open(f"pairs/{band}/masks/00001.png"))
        assert np.array_equal(np.asarray(Image.open(f"lama_in/{band}/00001_mask.png")), mask)
        assert np.array_equal(np.asarray(Image.open(f"mat_masks/{band}/00001.png")), 255 - mask)
    # A program that hands the pictures back under the names of their masks:
    for image in (tmp_path / "lama_in").rglob("*[0-9].png"):
        raw = tmp_path / "lama_raw" / image.parent.name / f"{image.stem}_mask.png"
        raw.parent.mkdir(parents=True, exist_ok=True)
        raw.write_bytes(image.read_bytes())
    exec(from_lama, {})
    main([*command, "--predictions", f"lama={tmp_path / 'lama_out'}", "--output", "o"])
    assert results_of(tmp_path / "o")["hard (50-60 %)"]["lama"]["l1_percent"]["mean"] == 0


def test_the_seams_ratio_is_best_at_one():
    methods = {
        "soft": summarize({"seam_ratio": [0.5]}),
        "right": summarize({"seam_ratio": [1.1]}),
        "hard": summarize({"seam_ratio": [2.0]}),
    }
    table = markdown_table({"b": methods})
    assert "seam_ratio →1" in table and "**1.10**" in table and "**0.50" not in table
