"""What a filled file says of itself, and who can read it."""

import numpy as np
import pytest
from PIL import Image

from inpaint_hub import __main__ as command_line
from inpaint_hub import commands, provenance

NOTES = {"program": "inpaint_hub 0.1.0", "pipeline": "InvertFillPipeline", "seed": 3, "model": "ü"}


def saved(tmp_path, file_format, ending):
    path = tmp_path / f"filled{ending}"
    image = Image.fromarray(np.full((8, 9, 3), 90, np.uint8))
    image.save(path, file_format, **provenance.save_options(NOTES, file_format))
    return path


FORMATS = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp", "TIFF": ".tif"}


@pytest.mark.parametrize("file_format", FORMATS)
def test_every_format_gives_back_what_was_written(tmp_path, file_format):
    with Image.open(saved(tmp_path, file_format, FORMATS[file_format])) as image:
        assert provenance.read(image) == NOTES


def test_other_notes_are_kept_beside_ours(tmp_path):
    exif = Image.Exif()
    exif[271] = "A camera"
    image = Image.new("RGB", (4, 4))
    image.save(tmp_path / "a.jpg", **provenance.save_options(NOTES, "JPEG", exif))
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.getexif()[271] == "A camera" and provenance.read(image) == NOTES


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"program": "another 1.0"}', "null"])
def test_what_others_wrote_is_not_taken_for_ours(tmp_path, text):
    from PIL import PngImagePlugin

    chunks = PngImagePlugin.PngInfo()
    chunks.add_text(provenance.KEY, text)
    Image.new("L", (3, 3)).save(tmp_path / "a.png", pnginfo=chunks)
    with Image.open(tmp_path / "a.png") as image:
        assert provenance.read(image) is None


def test_the_folder_a_model_was_loaded_from_is_told_by_its_name_alone():
    class Loaded:
        name_or_path = "/home/somebody/private/weights/faces"

    assert provenance.source_of(Loaded()) == "faces"
    Loaded.name_or_path = "owner/faces"
    assert provenance.source_of(Loaded()) == "owner/faces"


def test_the_command_line_prints_it(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        command_line.main(["--show-provenance", str(saved(tmp_path, "PNG", ".png"))])
    assert end.value.code == 0 and '"seed": 3' in capsys.readouterr().out
    Image.new("L", (3, 3)).save(tmp_path / "plain.png")
    with pytest.raises(SystemExit) as end:
        command_line.main(["--show-provenance", str(tmp_path / "plain.png")])
    assert end.value.code == 1 and "says nothing" in capsys.readouterr().err


def test_the_console_command_names_its_parts_and_refuses_others(capsys):
    assert commands.main(["--help"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in ("fill", "demo", "train", "evaluate", "convert", "faces"))
    assert commands.main(["paint"]) == 2
    assert "no command 'paint'" in capsys.readouterr().err


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_every_command_answers_help(name, capsys):
    with pytest.raises(SystemExit) as end:
        commands.main([name, "--help"])
    assert end.value.code == 0 and "usage" in capsys.readouterr().out
