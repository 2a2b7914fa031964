"""The benchmarks run, and what they measure with is right."""

import os
import sys

import numpy as np
import pytest
import torch
from scipy import ndimage
from test_pipelines import tiny_pipeline

from benchmarks import inference, measuring, scaling

CPU = torch.device("cpu")


def rows_of(text):
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def run(module, monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["benchmark", *map(str, arguments)])
    module.main()
    return rows_of(capsys.readouterr().out)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tiny_pipeline().save_pretrained(folder)
    return folder


def test_flops_of_a_convolution_are_two_for_each_tap_and_pixel():
    conv, x = torch.nn.Conv2d(4, 8, 3, padding=1), torch.zeros(2, 4, 16, 16)
    assert measuring.flops(lambda: conv(x)) == 2 * 2 * 8 * 4 * 9 * 16 * 16


@pytest.mark.skipif(
    "MALLOC_MMAP_THRESHOLD_" in os.environ, reason="this setting keeps freed memory in the process"
)
def test_the_highest_mark_of_memory_is_that_of_one_run():
    small, large = (
        measuring.peak_bytes(lambda n=n: np.ones(n * 1_000_000, np.uint8), CPU) for n in (1, 200)
    )
    assert 1.5e8 < large - small < 2.5e8
    assert measuring.peak_bytes(lambda: np.ones(1_000_000, np.uint8), CPU) < large - 1e8


def test_the_clock_leaves_the_warm_up_out():
    waits = iter([0.2] + [0.0] * 10)
    from time import sleep

    assert measuring.clock(lambda: sleep(next(waits)), CPU, 5) < 0.1


@pytest.mark.parametrize("count", [1, 4, 7])
def test_the_holes_of_the_scaling_are_separate(count):
    _, mask = scaling.photo_with_holes(256, count)
    assert ndimage.label(mask)[1] == count


def test_the_grid_compares_every_form_with_the_plain_one(monkeypatch, capsys, tmp_path):
    options = "--grid --resolutions 32 --batches 1 2 --backbone small --backbone_width 8 "
    options += "--channel_base 256 --repeats 1"
    pytest.importorskip("matplotlib")
    options += f" --output {tmp_path}/plot.png"
    header, _, *rows = run(inference, monkeypatch, capsys, *options.split())
    forms = {(row[1], row[2]) for row in rows}
    names = ("plain fp32", "definition fp32", "eager fp32")
    assert {(b, n) for b in ("1", "2") for n in names} <= forms
    assert all(len(row) == len(header) for row in rows)
    for row in rows:
        assert float(row[header.index("PSNR to plain, dB")]) > (90 if "fp32" in row[2] else 40)
    assert (tmp_path / "plot.png").stat().st_size > 5000


def test_photos_are_measured_by_every_engine(model, monkeypatch, capsys):
    options = ("--model", model, "--sizes", 40, "--repeats", 1)
    header, _, *rows = run(inference, monkeypatch, capsys, *options)
    assert [row[:2] for row in rows] == [["40 x 40", "none"], ["40 x 40", "eager"]]
    assert all(float(cell) >= 0 for row in rows for cell in row[2:])


def test_scaling_grows_one_thing_at_a_time(model, monkeypatch, capsys):
    options = "--batches 1 2 --resolutions 32 --holes 1 4 --photos 64 --repeats 1".split()
    _, _, *rows = run(scaling, monkeypatch, capsys, "--model", model, *options)
    assert [row[:2] for row in rows] == [
        *(["pictures", "1"], ["pictures", "2"], ["results", "1"], ["results", "2"]),
        *(["network px", "32"], ["holes", "1"], ["holes", "4"]),
        *(["photo px, whole", "64"], ["photo px, crop", "64"]),
    ]
