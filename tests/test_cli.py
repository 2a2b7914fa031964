"""python -m inpaint_hub: files and folders, nothing lost when one fails."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import rosinality_training
from PIL import Image
from test_pipelines import tiny_pipeline

from inpaint_hub import PSPPipeline, WPlusSearchPipeline, load_pipeline, provenance
from inpaint_hub import folders as files
from inpaint_hub.__main__ import main
from inpaint_hub.convert import convert_to_folder

ROOT = Path(__file__).parent.parent


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tiny_pipeline().save_pretrained(folder)
    return str(folder)


@pytest.fixture
def folders(tmp_path):
    """images/{a,b,c}.png|jpg and masks/{a,b,c}.png."""
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    rng = np.random.default_rng(0)
    hole = np.zeros((40, 50), np.uint8)
    hole[10:20, 10:30] = 255
    for name in ("a.png", "b.jpg", "c.png"):
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(
            tmp_path / "images" / name
        )
        Image.fromarray(hole).save(tmp_path / "masks" / f"{name[0]}.png")
    return tmp_path


def run(folders, model, image="images", mask="masks", output="out", *more):
    paths = {"--image": image, "--mask": mask, "--output": output}
    arguments = [x for flag, path in paths.items() for x in (flag, str(folders / path))]
    return main([*arguments, "--model", model, *more])


def check(folders, source, target, mask="masks/a.png"):
    known = np.array(Image.open(folders / mask)) == 0
    before = np.array(Image.open(folders / source).convert("RGB"))
    after = np.array(Image.open(folders / target))
    assert np.array_equal(after[known], before[known])
    assert not np.array_equal(after, before)


def test_one_file(folders, model):
    assert run(folders, model, "images/a.png", "masks/a.png", "out.png") == 0
    check(folders, "images/a.png", "out.png")


@pytest.mark.parametrize("more", [[], ["--coarse_to_fine", "--num_starts", "2"]], ids=str)
def test_any_generator_fills_by_search(folders, model, more):
    """The model's generator alone is taken; its encoder stays aside."""
    line = ["--search", "w_plus", "--num_inference_steps", "2", "--max_seconds", "60", *more]
    assert run(folders, model, "images/a.png", "masks/a.png", "out.png", *line) == 0
    check(folders, "images/a.png", "out.png")


def test_a_search_begins_at_the_codes_of_a_given_encoder(folders, model, tmp_path):
    """The file is what the pipeline itself gives, and says how it was made."""
    source = tiny_pipeline(PSPPipeline)
    source.save_pretrained(tmp_path / "psp")
    files, begun = ("images/a.png", "masks/a.png"), ["--init_encoder", str(tmp_path / "psp")]
    line = ["--search", "w_plus", "--num_inference_steps", "1", "--texture", "none"]
    line += ["--blend", "none"]
    assert run(folders, model, *files, "begun.png", *line, *begun) == 0
    assert run(folders, model, *files, "plain.png", *line) == 0
    check(folders, "images/a.png", "begun.png")
    with Image.open(folders / "begun.png") as begun, Image.open(folders / "plain.png") as plain:
        assert provenance.read(begun)["init_encoder"] == "PSPEncoder"
        assert not np.array_equal(begun, plain)
        pipe = WPlusSearchPipeline.from_pretrained(model)
        photo, mask = (Image.open(folders / f) for f in files)
        options = {"num_inference_steps": 1, "init_encoder": source.encoder}
        assert np.array_equal(begun, pipe(photo, mask, **options).images[0])


@pytest.mark.parametrize("search", [[], ["--search", "mganprior"]], ids=str)
def test_an_encoder_to_begin_at_asks_for_a_search_of_style_vectors(folders, model, capsys, search):
    files = ("images/a.png", "masks/a.png", "out.png")
    with pytest.raises(SystemExit) as stopped:
        run(folders, model, *files, *search, "--init_encoder", model)
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert "--init_encoder" in said and "expected --search" in said


@pytest.mark.parametrize("search", ["w_plus", "yeh", "mganprior"])
def test_a_converted_training_is_searched_at_once(folders, tmp_path, search):
    """Also by its discriminator, which lies beside the generator."""
    torch.save(rosinality_training(), tmp_path / "given.pt")
    convert_to_folder(tmp_path / "given.pt", tmp_path / "gan")
    line = ["--search", search, "--num_inference_steps", "2"]
    files = ("images/a.png", "masks/a.png", "out.png")
    assert run(folders, str(tmp_path / "gan"), *files, *line) == 0
    check(folders, "images/a.png", "out.png")


def test_flags_of_a_search_ask_for_one(folders, model, capsys):
    files = ("images/a.png", "masks/a.png", "out.png")
    with pytest.raises(SystemExit):
        run(folders, model, *files, "--num_starts", "2")
    assert "--num_starts given without --search" in capsys.readouterr().err
    with pytest.raises(SystemExit):  # the tiny pipeline has no discriminator
        run(folders, model, *files, "--search", "yeh")
    assert "discriminator" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        paths = zip(("--image", "--mask", "--output"), (str(folders / f) for f in files))
        main([*(x for pair in paths for x in pair), "--search", "w_plus"])
    assert "no --model is given" in capsys.readouterr().err


def test_a_folder_with_a_mask_each(folders, model):
    assert run(folders, model) == 0
    for name in ("a.png", "b.jpg", "c.png"):
        check(folders, f"images/{name}", f"out/{name[0]}.png")
    assert sorted(p.name for p in (folders / "out").iterdir()) == ["a.png", "b.png", "c.png"]


def test_a_folder_with_one_mask_for_all(folders, model):
    assert run(folders, model, mask="masks/a.png") == 0
    assert len(list((folders / "out").iterdir())) == 3


def test_files_that_fail_are_named_and_do_not_stop_the_others(folders, model, capsys):
    (folders / "images" / "broken.png").write_text("not a picture")
    (folders / "masks" / "broken.png").write_bytes((folders / "masks" / "a.png").read_bytes())
    (folders / "masks" / "c.png").unlink()
    assert run(folders, model) == 1
    error = capsys.readouterr().err
    assert "skipped" in error and "broken.png" in error and "no mask named c.*" in error
    assert "2 of 4 filled" in error
    assert sorted(p.name for p in (folders / "out").iterdir()) == ["a.png", "b.png"]


def test_cmyk_is_written_as_tiff(folders, model):
    image = Image.open(folders / "images" / "a.png").convert("CMYK")
    image.save(folders / "images" / "a.tif")
    assert run(folders, model, "images/a.tif", "masks/a.png", "out") == 0
    result = Image.open(folders / "out" / "a.tif")
    known = np.array(Image.open(folders / "masks" / "a.png")) == 0
    assert result.mode == "CMYK"
    assert np.array_equal(np.array(result)[known], np.array(image)[known])


def test_cmyk_into_its_own_folder_overwrites_nothing(folders, model, capsys):
    source = folders / "images" / "a.tif"
    Image.open(folders / "images" / "a.png").convert("CMYK").save(source)
    (folders / "images" / "a.png").unlink()
    before = source.read_bytes()
    assert run(folders, model, "images/a.tif", "masks/a.png", "images") == 1
    assert source.read_bytes() == before
    assert "would overwrite an input" in capsys.readouterr().err


def test_pictures_that_share_a_stem_each_get_their_result(folders, model):
    Image.open(folders / "images" / "a.png").save(folders / "images" / "a.bmp")
    assert run(folders, model, mask="masks/a.png") == 0
    results = sorted(p.name for p in (folders / "out").iterdir())
    assert results == ["a.bmp.png", "a.png.png", "b.png", "c.png"]


def test_an_inverted_mask_repaints_the_black_part(folders, model):
    run(folders, model, "images/a.png", "masks/a.png", "out.png")
    inverted = 255 - np.array(Image.open(folders / "masks" / "a.png"))
    Image.fromarray(inverted).save(folders / "inverted.png")
    run(folders, model, "images/a.png", "inverted.png", "again.png", "--invert_mask")
    assert (folders / "out.png").read_bytes() == (folders / "again.png").read_bytes()


def test_a_seed_repeats_the_result_and_the_default_is_one_picture(folders, model):
    results = []
    for seed in ("1", "1", "2"):
        run(folders, model, "images/a.png", "masks/a.png", "out.png", "--seed", seed)
        results.append((folders / "out.png").read_bytes())
    assert results[0] == results[1] != results[2]


@pytest.mark.parametrize(
    "options", [(), ("--blend", "none"), ("--variation", "0.5", "--seed", "1")], ids=str
)
def test_seams_and_variation_are_the_pipelines(folders, model, options):
    given = dict(zip(options[::2], options[1::2]))
    options = (*options, "--texture", "none")
    assert run(folders, model, "images/a.png", "masks/a.png", "out.png", *options) == 0
    check(folders, "images/a.png", "out.png")
    pipe = load_pipeline(model)
    expected = pipe(
        Image.open(folders / "images" / "a.png"),
        Image.open(folders / "masks" / "a.png"),
        blend=given.get("--blend", "gp"),
        variation=float(given.get("--variation", 0)),
        generator=[torch.Generator().manual_seed(1)] if "--seed" in given else None,
    ).images[0]
    other = pipe(
        Image.open(folders / "images" / "a.png"), Image.open(folders / "masks" / "a.png")
    ).images[0]
    assert np.array_equal(np.array(Image.open(folders / "out.png")), np.array(expected))
    assert (given == {"--blend": "none"}) == np.array_equal(np.array(expected), np.array(other))


@pytest.mark.parametrize(
    "image, mask, output, message",
    [
        ("nowhere", "masks", "out", "--image .* does not exist"),
        ("images", "nowhere", "out", "--mask .* does not exist"),
        ("images/a.png", "masks/a.png", "out.jpg", "would lose known pixels"),
        ("images/a.png", "masks/a.png", "images/a.png", "would overwrite an input"),
        ("images", "masks", "masks", "would overwrite an input"),
        ("masks/..", "masks", "out", "holds no picture"),
        ("images", "masks", "out.png", "give a folder"),
    ],
)
def test_bad_paths_end_before_anything_is_written(
    folders, model, image, mask, output, message, capsys
):
    import re

    before = {p: p.read_bytes() for p in folders.rglob("*") if p.is_file()}
    with pytest.raises(SystemExit) as stop:
        run(folders, model, image, mask, output)
    assert stop.value.code == 2
    error = " ".join(capsys.readouterr().err.split())
    assert re.search(message, error), error
    assert {p: p.read_bytes() for p in folders.rglob("*") if p.is_file()} == before


def test_results_that_are_there_are_kept_unless_told_otherwise(folders, model, capsys):
    run(folders, model)
    first = {p.name: p.read_bytes() for p in (folders / "out").iterdir()}
    (folders / "out" / "b.png").unlink()
    (folders / "out" / "a.png").write_bytes(b"kept")
    capsys.readouterr()
    assert run(folders, model) == 0
    error = capsys.readouterr().err
    assert "1 of 1 filled, 2 were there already" in error and "images/s" in error
    assert (folders / "out" / "a.png").read_bytes() == b"kept"
    check(folders, "images/b.jpg", "out/b.png")
    assert run(folders, model, "images", "masks", "out", "--overwrite") == 0
    assert {p.name for p in (folders / "out").iterdir()} == set(first)
    check(folders, "images/a.png", "out/a.png")


def test_results_do_not_depend_on_the_batch(folders, model):
    rng = np.random.default_rng(1)
    for name, size in (("d", (90, 31)), ("e", (12, 300))):
        pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folders / "images" / f"{name}.png")
        hole = np.zeros(size, np.uint8)
        hole[size[0] // 4 : size[0] // 2, size[1] // 4 : size[1] // 2] = 255
        Image.fromarray(hole).save(folders / "masks" / f"{name}.png")
    results = []
    for size in ("1", "2", "8"):
        options = ("--batch_size", size, "--seed", "3", "--padding_mask_crop", "4")
        assert run(folders, model, "images", "masks", f"out{size}", *options) == 0
        files = sorted((folders / f"out{size}").iterdir())
        results.append([np.array(Image.open(file), int) for file in files])
    assert len(results[0]) == 5
    for others in results[1:]:
        assert all(np.abs(a - b).max() <= 1 for a, b in zip(results[0], others))


def test_batches_hold_like_sizes_and_few_pixels(monkeypatch):
    monkeypatch.setattr(files, "BATCH_PIXELS", 100)
    batches = files.batches_of(list("abcdefg"), [90, 1, 20, 2, 30, 200, 1], 3)
    assert [sorted(batch) for batch in batches] == [["b", "d", "g"], ["c", "e"], ["a"], ["f"]]


def test_two_processes_share_a_folder(folders, model):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    command += ["--master_port", str(free_port()), "-m", "inpaint_hub", "--model", model]
    for flag, name in (("--image", "images"), ("--mask", "masks"), ("--output", "out")):
        command += [flag, str(folders / name)]
    (folders / "masks" / "c.png").unlink()
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stderr.count("2 of 3 filled") == 1, done.stderr
    assert done.stderr.count("no mask named c.*") == 1
    assert done.returncode == 1
    check(folders, "images/a.png", "out/a.png")
    check(folders, "images/b.jpg", "out/b.png")


def test_a_missing_model_is_an_error(folders, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(folders, str(tmp_path / "no_model"))
    assert "no_model" in capsys.readouterr().err
