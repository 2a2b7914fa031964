"""Files and folders on the command line: whose mask is whose, what is written, what is said."""

import io
import os
import struct
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_formats import DEEP_FILES, bomb, described_png, encoded
from test_pipelines import tiny_pipeline

from inpaint_hub import folders as files
from inpaint_hub import provenance
from inpaint_hub.__main__ import main
from inpaint_hub.formats import open_picture, openable_endings

SIZE = (40, 30)  # width, height
PIPELINE = tiny_pipeline()


@pytest.fixture
def model(monkeypatch):
    """A name under which the command line finds a tiny pipeline: loading is not what is tested."""
    monkeypatch.setattr("inpaint_hub.__main__.load_pipeline", lambda *given, **options: PIPELINE)
    return "tiny"


@pytest.fixture
def place(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "masks").mkdir()
    return tmp_path


def pixels(seed=0):
    shape = (SIZE[1], SIZE[0], 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def hole(left):
    mask = np.zeros(SIZE[::-1], bool)
    mask[10:18, left : left + 8] = True
    return mask


def mask_file(path, left=4):
    Image.fromarray(hole(left).astype(np.uint8) * 255).save(path)


def photo_file(path, seed=0):
    Image.fromarray(pixels(seed)).save(path)


def run(place, model, *more, image="photos", mask="masks", output="out"):
    paths = {"--image": image, "--mask": mask, "--output": output}
    arguments = [x for flag, path in paths.items() for x in (flag, str(place / path))]
    return main([*arguments, "--model", model, "--blend", "none", "--engine", "none", *more])


def matched(names, mask_names):
    """{picture's name: mask's name, or why there is none}."""
    pictures = [Path("photos") / name for name in names]
    found = files.masks_for(pictures, [Path("masks") / name for name in mask_names])
    return {p.name: m.name if m else why for p, (m, why) in zip(pictures, found)}


COMPOSED, APART = (unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(
    "names, mask_names, expected",
    [
        (["a.png", "a.b.png"], ["a.png", "a.b.png"], {"a.png": "a.png", "a.b.png": "a.b.png"}),
        (["a.png"], ["a.b.png"], {"a.png": "no mask named a"}),
        (["a.b.png"], ["a.png"], {"a.b.png": "no mask named a.b"}),
        (["a.jpg"], ["a.png"], {"a.jpg": "a.png"}),
        (["a[1].png", "a1.png"], ["a[1].png", "a1.png"], {"a[1].png": "a[1].png"}),
        (["a[1].jpg"], ["a1.png"], {"a[1].jpg": "no mask named"}),
        (["what?.jpg"], ["whatx.png"], {"what?.jpg": "no mask named"}),
        (["*.jpg"], ["a.png"], {"*.jpg": "no mask named"}),
        (["s.bmp", "s.png"], ["s.bmp", "s.png"], {"s.bmp": "s.bmp", "s.png": "s.png"}),
        (["s.bmp", "s.png"], ["s.png"], {"s.bmp": "fits other pictures", "s.png": "s.png"}),
        (["s.bmp", "s.png"], ["s.tif"], {"s.bmp": "fits other", "s.png": "fits other"}),
        (["a.jpg"], ["a.png", "a.tif"], {"a.jpg": "2 masks fit: a.png and a.tif"}),
        (["a.jpg"], ["a.jpg", "a.png"], {"a.jpg": "a.jpg"}),
        (["A.JPG"], ["a.png"], {"A.JPG": "a.png"}),
        (["a.png"], ["A.PNG"], {"a.png": "A.PNG"}),
        (["a.png", "A.png"], ["a.png", "A.png"], {"a.png": "a.png", "A.png": "A.png"}),
        (["a.jpg"], ["a.png", "A.png"], {"a.jpg": "a.png"}),
        ([COMPOSED], [APART], {COMPOSED: APART}),
        ([APART], [COMPOSED], {APART: COMPOSED}),
        (["a.tar.png"], ["a.tar.jpg", "a.png"], {"a.tar.png": "a.tar.jpg"}),
        (["a"], ["a.png"], {"a": "a.png"}),
        (["a.png"], [], {"a.png": "no mask named a.*"}),
    ],
)
def test_a_picture_gets_its_own_mask_or_none(names, mask_names, expected):
    found = matched(names, mask_names)
    for name, mask in expected.items():
        assert found[name] == mask if mask in mask_names else mask in found[name], found


def test_masks_with_longer_names_are_not_mixed_up_in_a_folder(place, model):
    for seed, (name, left) in enumerate((("a.png", 4), ("a.b.png", 24))):
        photo_file(place / "photos" / name, seed)
        mask_file(place / "masks" / name, left)
    assert run(place, model) == 0
    for seed, (name, left) in enumerate((("a.png", 4), ("a.b.png", 24))):
        changed = (np.array(Image.open(place / "out" / name)) != pixels(seed)).any(axis=2)
        assert changed.any() and not changed[~hole(left)].any()


def test_one_picture_finds_its_mask_in_a_folder_by_the_same_rule(place, model, capsys):
    photo_file(place / "photos" / "a.png")
    mask_file(place / "masks" / "a.b.png")
    assert run(place, model, image="photos/a.png") == 1
    assert "no mask named a.*" in capsys.readouterr().err
    mask_file(place / "masks" / "a.png", 24)
    assert run(place, model, image="photos/a.png", output="out.png") == 0
    changed = (np.array(Image.open(place / "out.png")) != pixels()).any(axis=2)
    assert changed.any() and not changed[~hole(24)].any()


@pytest.mark.parametrize(
    "names, expected",
    [
        (["a.png", "b.jpg"], ["a", "b"]),
        (["a.jpg", "a.png", "a.png.bmp"], ["a.jpg", "a.png", "a.png.bmp"]),
        (["a.png", "a.png.bmp", "b.png"], ["a", "a.png", "b"]),
        (["a.bmp", "a.bmp.png", "a.png"], ["a.bmp", "a.bmp.png", "a.png"]),
        (["x.tif", "x.tif.png", "x.tif.png.jpg", "x.png"], None),
    ],
)
def test_results_have_names_of_their_own(names, expected):
    found = files.result_names([Path(name) for name in names])
    assert len(set(found)) == len(names)
    assert expected is None or found == expected


def test_a_second_run_writes_nothing(place, model, capsys):
    for name in ("a.png", "a.jpg", "a.png.bmp"):
        photo_file(place / "photos" / name)
    Image.fromarray(pixels()).convert("CMYK").save(place / "photos" / "c.tif")
    mask_file(place / "mask.png")
    first = None
    for count in ("4 of 4 filled", "0 of 0 filled, 4 were there already"):
        assert run(place, model, mask="mask.png", output="results.v2") == 0
        assert count in capsys.readouterr().err
        written = {p.name: p.stat().st_mtime_ns for p in (place / "results.v2").iterdir()}
        assert sorted(written) == ["a.jpg.png", "a.png.bmp.png", "a.png.png", "c.tif"]
        assert first in (None, written)
        first = written


@pytest.mark.parametrize("output", ["photos", "masks", "photos/../photos", "link"])
def test_results_never_lie_among_the_inputs(place, model, output, capsys):
    photo_file(place / "photos" / "a.jpg")
    mask_file(place / "masks" / "a.png")
    (place / "link").symlink_to(place / "photos")
    with pytest.raises(SystemExit) as stop:
        run(place, model, output=output)
    assert stop.value.code == 2
    assert "would overwrite an input" in " ".join(capsys.readouterr().err.split())
    assert [p.name for p in (place / "photos").iterdir()] == ["a.jpg"]


def test_what_is_left_out_is_named_once_and_dot_files_never(place, model, capsys):
    photo_file(place / "photos" / "a.png")
    mask_file(place / "mask.png")
    for name in ("notes.pdf", "x.heic", "y.cr2", "readme.txt", "._a.jpg", ".DS_Store"):
        (place / "photos" / name).write_bytes(b"something")
    (place / "photos" / "more").mkdir()
    assert run(place, model, mask="mask.png", output="photos/filled") == 0
    error = capsys.readouterr().err
    assert "left out, as no pictures: more/, notes.pdf, readme.txt, x.heic, y.cr2\n" in error
    assert "._a" not in error and "DS_Store" not in error and "filled/" not in error
    assert "1 of 1 filled" in error


def test_a_folder_without_pictures_says_what_it_holds(place, model, capsys):
    (place / "photos" / "a.heic").write_bytes(b"x")
    mask_file(place / "mask.png")
    with pytest.raises(SystemExit):
        run(place, model, mask="mask.png")
    assert "holds no picture; it holds a.heic" in " ".join(capsys.readouterr().err.split())


ODD_FILES = {
    "14000x14000.png": bomb(14000, 14000),
    "20000x20000.png": bomb(20000, 20000),
    "letters.ppm": b"P6\nx y\n255\n",
    "header.bmp": b"BM" + b"\xff" * 60,
    "header.dds": b"DDS " + struct.pack("<I", 124) + b"\x07" * 120,
    "header.avif": encoded(Image.fromarray(pixels()), "AVIF")[:40] + b"\0" * 40,
    "header.jp2": encoded(Image.fromarray(pixels()), "JPEG2000")[:30] + b"\0" * 30,
    "cut.jpg": encoded(Image.fromarray(pixels()), "JPEG")[:300],
    "empty.png": b"",
    "text.webp": b"text",
    "header.psd": b"8BPS" + b"\xff" * 30,
    "header.ico": b"\0\0\1\0" + b"\xff" * 30,
    "header.gif": b"GIF89a" + b"\xff" * 7,
    "header.tif": b"II*\0" + b"\xff" * 30,
}


@pytest.mark.filterwarnings("ignore")
def test_odd_files_are_named_and_the_good_ones_written(place, model, capsys):
    mask_file(place / "mask.png")
    for name, data in ODD_FILES.items():
        (place / "photos" / name).write_bytes(data)
    photo_file(place / "photos" / "good.png")
    odd_exif = encoded(Image.fromarray(pixels(1)), exif=b"Exif\0\0nonsense")
    (place / "photos" / "odd_exif.png").write_bytes(odd_exif)
    assert run(place, model, mask="mask.png") == 1
    error = capsys.readouterr().err
    assert f"2 of {len(ODD_FILES) + 2} filled" in error
    assert "Traceback" not in error
    for name in ODD_FILES:
        (line,) = [
            line for line in error.splitlines() if line.startswith("skipped") and name in line
        ]
        assert "expected" in line
    assert sorted(p.name for p in (place / "out").iterdir()) == ["good.png", "odd_exif.png"]
    assert "odd_exif.png: its EXIF cannot be read" in error


def test_an_unreadable_mask_is_named_and_not_the_picture(place, model, capsys):
    photo_file(place / "photos" / "a.png")
    (place / "masks" / "a.png").write_bytes(b"no picture")
    assert run(place, model) == 1
    error = capsys.readouterr().err
    assert f"mask {place / 'masks' / 'a.png'}: the picture cannot be decoded" in error


KEPT = {
    "rgb16.png": (DEEP_FILES["png rgb"][0], "out.png", None),
    "rgba16.png": (DEEP_FILES["png rgba"][0], "out.png", None),
    "la16.png": (DEEP_FILES["png gray and alpha"][0], "out.png", None),
    "rgb16.tif": (DEEP_FILES["tiff rgb"][0], "out.png", None),
    "int32.tif": (
        encoded(Image.fromarray(np.arange(54, dtype=np.int32).reshape(6, 9) * 10**7), "TIFF"),
        "out.tif",
        None,
    ),
    "float.tif": (
        encoded(Image.fromarray(np.random.default_rng(0).random((6, 9), np.float32)), "TIFF"),
        "out.tif",
        None,
    ),
    "lab.tif": (
        encoded(Image.frombytes("LAB", (9, 6), bytes(range(162))), "TIFF"),
        "out.tif",
        None,
    ),
    "cmyk.tif": (
        encoded(Image.frombytes("CMYK", (9, 6), bytes(range(216))), "TIFF"),
        "out.tif",
        None,
    ),
    "alpha.png": (encoded(Image.frombytes("RGBA", (9, 6), bytes(range(216)))), "out.png", None),
    "bits.png": (encoded(Image.fromarray(np.eye(6, 9) > 0)), "out.png", "L"),
    "palette.png": (encoded(Image.fromarray(pixels()[:6, :9]).quantize(8)), "out.png", "RGB"),
}


@pytest.mark.parametrize("kind", sorted(KEPT))
def test_known_values_are_kept_to_the_bit_by_file(place, model, kind):
    data, name, converted = KEPT[kind]
    (place / "photos" / kind).write_bytes(data)
    mask = np.zeros((6, 9), bool)
    mask[2:4, 3:6] = True
    Image.fromarray(mask).save(place / "mask.png")
    assert run(place, model, image=f"photos/{kind}", mask="mask.png", output="out") == 0
    (written,) = (place / "out").iterdir()
    assert written.name == kind.rpartition(".")[0] + name[3:]
    before, after = open_picture(data), open_picture(written)
    assert after.native.dtype == before.native.dtype
    assert np.array_equal(after.native[~mask], before.native[~mask])
    assert not np.array_equal(after.native[mask], before.native[mask])
    if converted is None and before.native.dtype != np.uint16:
        assert Image.open(written).mode == Image.open(io.BytesIO(data)).mode
    elif converted:
        assert Image.open(written).mode == converted


def test_an_ending_that_cannot_hold_the_result_is_changed_and_said(place, model, capsys):
    rgba = Image.frombytes("RGBA", SIZE, np.random.default_rng(0).bytes(SIZE[0] * SIZE[1] * 4))
    rgba.save(place / "a.png")
    mask_file(place / "mask.png")
    assert run(place, model, image="a.png", mask="mask.png", output="out.bmp") == 0
    assert "written to out.png, since .bmp does not hold RGBA" in capsys.readouterr().err
    assert not (place / "out.bmp").exists()
    result = np.array(Image.open(place / "out.png"))
    assert np.array_equal(result[~hole(4)], np.array(rgba)[~hole(4)])


def test_the_file_written_has_what_described_the_photo(place, model):
    data, profile = described_png()
    (place / "a.png").write_bytes(data)
    Image.new("1", (9, 6), 1).save(place / "mask.png")
    assert run(place, model, image="a.png", mask="mask.png", output="out.png") == 0
    kept, given = open_picture(place / "out.png"), open_picture(data)
    assert kept.metadata.keys() == given.metadata.keys()
    assert kept.metadata["icc_profile"] == profile
    texts = kept.metadata["text"]
    assert "InvertFillPipeline" in texts.pop(provenance.KEY)  # by what it was filled
    assert texts == given.metadata["text"]
    assert kept.metadata["gamma"] == given.metadata["gamma"]


DARK = Image.fromarray((np.arange(1200) % 90).astype(np.uint8).reshape(30, 40))
EMPTY = {
    "labels": Image.fromarray(np.arange(3, dtype=np.uint8).repeat(400).reshape(30, 40)),
    "gray to 127": Image.fromarray((np.arange(1200) % 128).astype(np.uint8).reshape(30, 40)),
    "black": Image.new("L", SIZE),
    "shades of blue": Image.merge("RGB", [Image.new("L", SIZE), Image.new("L", SIZE), DARK]),
}


@pytest.mark.parametrize("kind", sorted(EMPTY))
def test_a_mask_that_selects_nothing_is_named_with_what_it_holds(place, model, kind, capsys):
    for name in ("a.png", "b.png"):
        photo_file(place / "photos" / name)
    EMPTY[kind].save(place / "masks" / "a.png")
    mask_file(place / "masks" / "b.png")
    assert run(place, model) == 1
    error = capsys.readouterr().err
    assert "1 of 2 filled, 1 with an empty mask" in error
    (line,) = [line for line in error.splitlines() if "selects nothing" in line]
    assert str(place / "masks" / "a.png") in line and "40x30 px with" in line
    assert "expected white where to fill" in line
    assert [p.name for p in (place / "out").iterdir()] == ["b.png"]


def test_the_first_frame_is_filled_and_said(place, model, capsys):
    frames = [Image.fromarray(pixels(seed)) for seed in range(3)]
    frames[0].save(place / "a.tif", save_all=True, append_images=frames[1:])
    mask_file(place / "mask.png")
    assert run(place, model, image="a.tif", mask="mask.png", output="out.png") == 0
    assert "only the first of its 3 frames" in capsys.readouterr().err
    result = np.array(Image.open(place / "out.png"))
    assert np.array_equal(result[~hole(4)], pixels(0)[~hole(4)])


def test_a_fill_that_cannot_be_seen_is_said(place, model, capsys):
    values = np.dstack([pixels(), np.where(hole(4), 0, 255).astype(np.uint8)])
    Image.fromarray(values).save(place / "a.png")
    mask_file(place / "mask.png")
    assert run(place, model, image="a.png", mask="mask.png", output="out.png") == 0
    assert "100% of the hole is fully transparent" in capsys.readouterr().err


def test_concat_writes_picture_mask_and_result_beside_each_other(place, model):
    photo_file(place / "a.png")
    mask_file(place / "mask.png")
    assert run(place, model, "--concat", image="a.png", mask="mask.png", output="three.png") == 0
    assert run(place, model, image="a.png", mask="mask.png", output="one.png") == 0
    three = np.split(np.array(Image.open(place / "three.png")), 3, axis=1)
    assert np.array_equal(three[0], pixels())
    assert np.array_equal(three[1] == 255, np.repeat(hole(4)[..., None], 3, axis=2))
    assert np.array_equal(three[2], np.array(Image.open(place / "one.png")))


def test_a_failed_write_leaves_no_part_of_a_file(place, model, monkeypatch, capsys):
    photo_file(place / "photos" / "a.png")
    mask_file(place / "mask.png")

    def half(result, path, metadata):
        path.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(files, "save_picture", half)
    assert run(place, model, mask="mask.png") == 1
    assert "a.png: no space left" in capsys.readouterr().err
    assert list((place / "out").iterdir()) == []


def test_names_survive_whatever_they_are(place, model):
    names = ["x" * 250 + ".png", " .png", "a\nb.png", "ü.png", "%s.png"]
    for name in names:
        photo_file(place / "photos" / name)
    strange = os.fsdecode(b"\xff\xfe.png")  # no UTF-8
    photo_file(place / "photos" / strange)
    mask_file(place / "mask.png")
    assert run(place, model, mask="mask.png") == 0
    assert {p.name for p in (place / "out").iterdir()} == {*names, strange}


@pytest.mark.parametrize(
    "flags, message",
    [
        (("--device", "cuda:7"), "cannot be used here"),
        (("--device", "nonsense"), "cannot be used here"),
        (("--seed", "-1"), "whole number from 0"),
        (("--seed", str(2**63)), "whole number from 0"),
        (("--variation", "7"), "no number from 0 to 1"),
        (("--variation", "nan"), "no number from 0 to 1"),
        (("--mask_dilate", "-1"), "invalid natural value"),
        (("--mask_blur", "x"), "invalid natural value"),
        (("--padding_mask_crop", "-3"), "invalid natural value"),
        (("--batch_size", "0"), "invalid positive value"),
        (("--blend", "glue"), "invalid choice"),
    ],
)
def test_flags_that_cannot_be_used_end_before_the_work(place, model, flags, message, capsys):
    photo_file(place / "photos" / "a.png")
    mask_file(place / "mask.png")
    with pytest.raises(SystemExit) as stop:
        run(place, model, *flags, mask="mask.png")
    assert stop.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (place / "out").exists()


def test_a_huge_dilation_takes_the_whole_picture_at_once(place, model):
    photo_file(place / "a.png")
    mask_file(place / "mask.png")
    flags = ("--mask_dilate", str(10**8))
    assert run(place, model, *flags, image="a.png", mask="mask.png", output="out.png") == 0


def test_only_what_pillow_reads_by_itself_counts_as_a_picture():
    endings = openable_endings()
    assert {".png", ".jpg", ".webp", ".avif", ".tif", ".bmp", ".gif", ".jp2"} <= endings
    assert not {".pdf", ".eps", ".mpg", ".h5", ".txt", ".heic"} & endings
