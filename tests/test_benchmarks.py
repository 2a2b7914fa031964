"""The benchmarks run, and what they measure with is right."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from test_pipelines import tiny_pipeline

from benchmarks import (
    any_photo,
    context,
    inference,
    large_photos,
    measuring,
    mutations,
    scaling,
    training,
)
from inpaint_hub.training import presets

CPU = torch.device("cpu")


PEAKS = """
import numpy as np, torch
from benchmarks import measuring
small, large, again = (
    measuring.peak_bytes(lambda n=n: np.ones(n * 1_000_000, np.uint8), torch.device("cpu"))
    for n in (1, 200, 1)
)
assert 1.5e8 < large - small < 2.5e8
assert again < large - 1e8
"""


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
    """In a process of its own: a training in this one may have tuned the allocator."""
    run = {"cwd": Path(__file__).parent.parent, "capture_output": True, "text": True}
    done = subprocess.run([sys.executable, "-c", PEAKS], **run)
    assert done.returncode == 0, done.stderr


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
    options += "--hole_percent --textured_photos 128".split()
    _, _, *rows = run(scaling, monkeypatch, capsys, "--model", model, *options)
    assert [row[:2] for row in rows] == [
        *(["pictures", "1"], ["pictures", "2"], ["results", "1"], ["results", "2"]),
        *(["network px", "32"], ["holes", "1"], ["holes", "4"]),
        *(["photo px, whole", "64"], ["photo px, crop", "64"]),
        ["photo px, patches in 100 px", "128"],
    ]


def test_the_parts_of_a_step_are_timed(monkeypatch, capsys):
    pytest.importorskip("diffusers")
    from accelerate.state import AcceleratorState

    tiny = {"z_dim": 8, "w_dim": 8, "num_mapping_layers": 1, "channel_base": 64, "channel_max": 8}
    monkeypatch.setitem(training.PRESETS, "tiny", lambda: {**presets.faces64_gan(), **tiny})
    options = "--parts --presets tiny --batch_size 2 --repeats 1"
    header, _, whole, *parts = run(training, monkeypatch, capsys, *options.split())
    AcceleratorState._reset_state(True)
    assert whole[1] == "a step" and int(whole[2]) > 0
    names = [row[1] for row in parts]
    assert "generator, forward and backward" in names
    assert "discriminator: R1, of 16 steps" in names and len(names) == 6


SOURCE = """
def f(a, b=2):
    '''docstring'''
    if a < 3 and not b:
        g(a)
    return a + 1.5 * -b
"""


def test_every_place_of_a_source_is_mutated_once_and_nothing_else():
    places = mutations.places_of(SOURCE)
    told = [what for _, what, *_ in places]
    assert told == [
        "2 becomes 4",
        "And becomes Or",
        "Lt becomes LtE",
        "3 becomes 6",
        "not is left out",
        "the call is left out",
        "Add becomes Sub",
        "Mult becomes Div",
        "1.5 becomes 3.0",
        "the sign is left out",
    ]
    changed = [mutations.mutated(SOURCE, place) for place in places]
    plain = mutations.mutated(SOURCE, (0, "", (), lambda node: None))
    assert len({plain, *changed}) == len(places) + 1
    assert "a < 3 or not b" in changed[1] and "not not b" in changed[4]
    assert "g(a)" not in changed[5] and "a - 1.5" in changed[6] and "+b" in changed[9]


def test_a_mutation_is_tried_without_touching_a_file(tmp_path, monkeypatch):
    (tmp_path / "fruit.py").write_text("def count(n):\n    return n + 1\n")
    test = "from fruit import count\n\ndef test_count():\n    assert count(1) == 2\n"
    (tmp_path / "test_fruit.py").write_text(test)
    monkeypatch.setattr(mutations, "ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    file, tests = tmp_path / "fruit.py", ["test_fruit.py"]
    before = file.read_text()
    outcomes = [mutations.try_mutation(file, None, tests, None, 60)]
    for place in mutations.places_of(before):
        source = mutations.mutated(before, place)
        outcomes.append(mutations.try_mutation(file, source, tests, None, 60))
    assert outcomes == ["survived", "killed", "killed"] and file.read_text() == before


def test_a_drawn_set_is_worked_off_part_by_part(tmp_path, monkeypatch):
    monkeypatch.setattr(mutations, "ROOT", tmp_path)
    (tmp_path / "inner").mkdir()
    for name in ("inner/a.py", "inner/b.py", "c.py"):
        (tmp_path / name).write_text("x = 1 + 2\ny = 3 * x\n")
    drawn, possible = mutations.chosen(mutations.files_of(["inner", "c.py"]), 8, seed=1)
    parts = [mutations.within(drawn, names) for names in (["inner"], ["c.py"])]
    assert possible == 15 and len(drawn) == 8 and all(parts) and sum(parts, []) == drawn
    assert mutations.within(drawn, ["inner/a.py", "c.py"]) == [
        d for d in drawn if d[0].name != "b.py"
    ]


def test_the_contact_sheet_shows_each_hole_with_its_route(tmp_path, capsys):
    page = tmp_path / "sheet.jpg"
    any_photo.main(["--output", str(page), "--max_cases", "2"])
    assert "2 of 2: astronaut.png" in capsys.readouterr().out
    with Image.open(page) as sheet:
        assert sheet.size == (2 * 4 * any_photo.TILE_PX + 8, any_photo.TILE_PX + any_photo.LINE_PX)


def test_contexts_are_compared_in_the_same_holes():
    """A pipeline that is wrong by ten gray levels for each unit of context, in the hole alone."""
    holes = []

    def pipe(picture, mask, context, blend):
        holes.append(mask)
        pixels = np.asarray(picture).copy()
        pixels[mask] += np.uint8(10 * context)
        return SimpleNamespace(images=[Image.fromarray(pixels)])

    picture = Image.new("RGB", (40, 24), (7, 8, 9))
    psnr = context.measured(pipe, [picture] * 2, (0.1, 0.3, "boxes"), [1, 2])
    expected = [20 * np.log10(255 / wrong) for wrong in (10, 20)]
    np.testing.assert_allclose(psnr, [expected] * 2)
    assert (holes[0] == holes[1]).all() and (holes[0] != holes[2]).any()


def test_a_large_photo_is_timed_by_its_parts_and_left_as_it_was(monkeypatch, capsys):
    before = [getattr(*place) for place in large_photos.PARTS.values()]
    size = ("--width", 320, "--height", 240, "--hole_px", 16, "--repeats", 1)
    header, _, *rows = run(large_photos, monkeypatch, capsys, *size)
    assert len(rows) == len(large_photos.PHOTOS) * len(large_photos.HOLES["small"])
    for row in rows:
        found = dict(zip(header, row))
        whole, parts = int(found["ms"]), [int(found[name]) for name in large_photos.PARTS]
        finding, drafts, shift_map, unled, mixing = parts
        assert finding + drafts + max(shift_map, unled) + mixing <= whole + len(parts)
        assert finding > 0
        assert all((part > 0) == (found["fill"] == "patches") for part in (shift_map, unled))
    assert {"texture", "faces"} == {dict(zip(header, row))["model"] for row in rows}
    assert [getattr(*place) for place in large_photos.PARTS.values()] == before


@pytest.mark.parametrize(
    "kind, share", [("small", 16 * 16 / (320 * 240)), ("large", 120 * 120 / (320 * 240))]
)
def test_holes_of_large_photos_are_as_said(kind, share):
    arguments = large_photos.build_parser().parse_args(
        ["--width", "320", "--height", "240", "--hole_px", "16"]
    )
    hole = np.asarray(large_photos.hole_of(kind, 100, 50, arguments)) > 0
    assert hole.shape == (240, 320) and hole.mean() == share and hole[50, 100]
    scratch = np.asarray(large_photos.hole_of("scratch", 8, 16, arguments)) > 0
    assert scratch.any(axis=0).sum() > 300 and scratch.sum(axis=0).max() <= 6
