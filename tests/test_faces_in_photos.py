"""The arena's faces inside whole photos: the same pairs, whatever way they go."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_pipelines import tiny_pipeline

from inpaint_hub import AutoInpaintPipeline, DualPathPipeline, FaceDetector
from inpaint_hub.crops import TurnedWindow, cut, inside
from inpaint_hub.evaluation.__main__ import main
from inpaint_hub.evaluation.faces_in_photos import (
    InPhotos,
    hole_in_photo,
    in_photos,
    inserted,
    place_of,
)
from inpaint_hub.evaluation.methods import PipelineMethod

ROOT = Path(__file__).parent.parent
FACE = np.asarray(
    Image.open(ROOT / "examples" / "face.png").convert("RGB").resize((96, 96), Image.Resampling.BOX)
)


class Photos:
    """Two gray photos."""

    resolution = 200

    def __len__(self):
        return 2

    def load(self, index):
        return np.full((200, 200, 3), 90 + 60 * index, np.uint8)


class Untouched:
    """A method that returns what it is given, and keeps it."""

    name = kind = "untouched"

    def __init__(self):
        self.seen = []

    def identity(self, band, index):
        return "untouched"

    def fill(self, originals, masks, band, indices):
        self.seen += list(zip(originals, masks))
        return originals, 0.1


def test_places_are_drawn_by_index_and_lie_inside_the_photo():
    places = [place_of(0, i, 5, 320) for i in range(40)]
    assert places == [place_of(0, i, 5, 320) for i in range(40)]
    assert places != [place_of(1, i, 5, 320) for i in range(40)]
    assert {photo for photo, _ in places} == set(range(5))
    for _, window in places:
        corners = window.to_picture([(0, 0), (1, 0), (0, 1), (1, 1)])
        assert corners.min() >= 0 and corners.max() <= 320 and 96 <= window.side <= 192


def test_the_photo_outside_the_face_stays_and_the_hole_lies_on_the_face():
    window, mask = TurnedWindow(100, 90, 70.0, 0.5), np.zeros((96, 96), bool)
    mask[20:40, 50:80] = True
    photo = Photos().load(0)
    both, hole = inserted(photo, FACE, window), hole_in_photo(mask, window, photo.shape)
    within = inside(window, (slice(0, 200), slice(0, 200)))
    assert (both[~within] == 90).all() and not hole[~within].any()
    back = cut(hole[..., None].repeat(3, 2).astype(np.uint8) * 255, window, 96)[..., 0] > 127
    assert (back != mask).mean() < 0.02


def test_what_is_left_alone_comes_back_as_the_face_it_was():
    untouched = Untouched()
    method = InPhotos(untouched, Photos())
    masks = [np.zeros((96, 96), bool)] * 6
    (*back,), seconds = method.fill([FACE] * 6, masks, "10-30", range(6))
    assert seconds == 0.1 and untouched.seen[0][0].shape == (200, 200, 3)
    for face in back:
        error = np.abs(face.astype(int) - FACE)[4:-4, 4:-4]  # the rim is mixed with the photo
        assert error.mean() < 6


def test_the_router_comes_near_to_frames_told_by_hand(monkeypatch):
    pipe = AutoInpaintPipeline(
        faces=tiny_pipeline(DualPathPipeline),
        photos=tiny_pipeline(),
        detector=FaceDetector.from_pretrained(ROOT / "weights" / "face-detector"),
    )
    # What the models fill is compared: frames told by hand mirror nothing.
    method = PipelineMethod("auto", pipe, texture="detail")
    ours, by_hand = in_photos([method], Photos(), seed=1)
    assert (ours.name, by_hand.name) == ("auto", "auto-by-hand")
    assert ours.identity("b", 0) != by_hand.identity("b", 0)
    mask = np.zeros((96, 96), bool)
    mask[26:40, 22:44] = True
    found, told = (
        np.array(m.fill([FACE] * 3, [mask] * 3, "b", range(3))[0]).astype(int)
        for m in (ours, by_hand)
    )
    assert np.abs(found - told)[:, ~mask].mean() < 1  # both read the untouched photo there
    contrast = np.abs(told - told[:, mask].mean(axis=(0, 1)))[:, mask].mean()
    assert np.abs(found - told)[:, mask].mean() < 0.7 * contrast


def test_the_command_puts_faces_into_photos(tmp_path):
    for name in ("faces", "photos"):
        (tmp_path / name / "validation").mkdir(parents=True)
    for k in range(2):
        Image.fromarray(FACE).save(tmp_path / "faces" / "validation" / f"{k}.png")
        Image.fromarray(Photos().load(k)).save(tmp_path / "photos" / "validation" / f"{k}.png")
    arguments = ["--pipelines", "bundled", "--telea", "--bands", "10-30", "--resolution", "64"]
    places = {"--data_dir": "faces", "--faces": "photos", "--output": "report"}
    main(arguments + [x for flag, name in places.items() for x in (flag, str(tmp_path / name))])
    report = json.loads((tmp_path / "report" / "results.json").read_text())
    (results,) = report["results"].values()
    assert set(results) == {"bundled", "bundled-by-hand", "telea"}
    assert report["settings"]["faces_in_photos_px"] == 320
    assert str(tmp_path) not in json.dumps(report)
    pytest.importorskip("cv2")
    assert results["bundled-by-hand"]["psnr"]["mean"] > 15
