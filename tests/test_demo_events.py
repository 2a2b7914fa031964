"""What the page's buttons ask for, asked for without a browser: each event answers what it should.

The browser's tests look at what a visitor sees of it; these need no Chromium.
"""

import base64
import io
import json
import re
import urllib.request
import uuid
import zipfile
from pathlib import Path

import numpy as np
import pytest
from demo_page import Recorded, photo_file, served, tiny_pipeline
from PIL import Image

from benchmarks.demo_load import asked, upload
from inpaint_hub.demo import batch
from inpaint_hub.images import read_images

HOLE = (slice(10, 30), slice(15, 40))
NOT_FILLED = "not_filled.txt"
OPTIONS = [3, False, 2, 0.5, "none", "gp", 0]  # seed, new seed, results, variation, texture, seams


@pytest.fixture(scope="module")
def address():
    with served(tiny_pipeline()) as url:
        yield url.rstrip("/")


@pytest.fixture
def tab(address):
    return Tab(address)


class Tab:
    """A visitor's page as the server knows it: a session, and events of components by elem_id."""

    def __init__(self, address):
        self.address, self.session = address, uuid.uuid4().hex
        with urllib.request.urlopen(f"{address}/config") as answer:
            config = json.load(answer)
        self.names = {c["id"]: c["props"].get("elem_id") for c in config["components"]}
        self.events = {}
        for event in config["dependencies"]:
            for target, kind in event["targets"]:
                if event["backend_fn"]:
                    self.events[self.names.get(target), kind] = event["id"]

    def ask(self, name, kind, *data, event_data=None):
        """All that the server answers to the event, as text."""
        body = {"data": data, "fn_index": self.events[name, kind], "session_hash": self.session}
        body |= {"event_data": event_data}
        request = urllib.request.Request(
            f"{self.address}/gradio_api/queue/join",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        asked(request)
        url = f"{self.address}/gradio_api/queue/data?session_hash={self.session}"
        with urllib.request.urlopen(url, timeout=120) as stream:
            lines = [line.decode()[6:] for line in stream if line.startswith(b"data: ")]
        messages = [json.loads(line) for line in lines]
        assert any(m["msg"] == "process_completed" and m["success"] for m in messages), lines
        return "\n".join(json.dumps(m.get("output"), ensure_ascii=False) for m in messages)

    def open_photo(self, path):
        place = upload(self.address, path.read_bytes(), path.name)
        told = self.ask(
            "editor", "upload", {"upload": {"path": place, "orig_name": path.name}}, None
        )
        assert f"{path.name} is here" in told
        self.photo, self.size = re.findall(r'"id": "(\w+)"', told)[-1], Image.open(path).size
        return told

    def file(self, path, name=None):
        """An uploaded file, as components are told of it."""
        place = upload(self.address, path.read_bytes(), name or path.name)
        return {"path": place, "meta": {"_type": "gradio.FileData"}}

    def value(self, changes=1, live=True):
        """What the editor sends: HOLE painted."""
        mask = np.zeros((*self.size[::-1], 4), np.uint8)
        mask[HOLE] = (255, 23, 68, 255)
        buffer = io.BytesIO()
        Image.fromarray(mask).save(buffer, "PNG")
        url = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
        return {"id": self.photo, "mask": url, "changes": changes, "live": live}

    def fill(self, **sent):
        return self.ask("fill", "click", self.value(**sent), None, None, *OPTIONS)

    def draft(self, **sent):
        return self.ask("editor", "input", self.value(**sent), None, None, *OPTIONS)


@pytest.fixture
def opened(tab, tmp_path):
    tab.path = photo_file(tmp_path, (60, 40))
    tab.open_photo(tab.path)
    return tab


def test_a_fill_shows_its_results_and_going_on_and_back_open_its_photos(opened):
    told = opened.fill()
    assert "Filled 20.8% of holiday.png" in told and "(2 results)" in told
    assert "holiday_filled_1.png" in told and "holiday_filled_2.png" in told
    chosen = opened.ask("results", "select", None, "PNG", event_data={"index": 1, "value": None})
    assert "holiday_filled_2.png" in chosen and "holiday_filled_1.png" not in chosen
    assert "holiday_filled_2.jpg" in opened.ask("file-format", "input", None, "JPEG")
    before = opened.photo
    told = opened.ask("go-on", "click", None)
    assert "The result is the photo now" in told
    opened.photo = re.findall(r'"id": "(\w+)"', told)[-1]
    assert opened.photo != before
    assert "Step 2" in opened.fill()
    told = opened.ask("history", "select", None, "PNG", event_data={"index": 0, "value": None})
    assert "Back at step 1" in told and "holiday_filled_2.png" in told


def test_drafts_are_shown_until_their_mask_is_filled(opened):
    told = opened.draft(changes=1)
    assert "Live draft in" in told and "live draft" in told
    opened.fill(changes=2)
    calls = len(Recorded.calls)
    for late in ({"changes": 1}, {"changes": 2}, {"changes": 3, "live": False}):
        assert "Live draft" not in opened.draft(**late), late
    assert len(Recorded.calls) == calls
    assert "Live draft in" in opened.draft(changes=3)


def test_a_mask_of_the_photo_before_is_not_stretched_over_the_next(opened, tmp_path):
    late = opened.value()
    opened.open_photo(photo_file(tmp_path, (90, 90), "other.png"))
    told = opened.ask("fill", "click", late, None, None, *OPTIONS)
    assert "The photo changed just now" in told
    assert "Live draft" not in opened.ask("editor", "input", late, None, None, *OPTIONS)
    assert "Filled" in opened.fill()


@pytest.mark.parametrize("mode", ["I;16", "I", "F", "CMYK", "LAB"])
def test_what_no_page_can_show_is_shown_as_8_bits_and_downloaded_as_it_was(tab, tmp_path, mode):
    rng = np.random.default_rng(0)
    kinds = {"I;16": (np.uint16, 65536), "I": (np.int32, 2**31 - 1), "F": (np.float32, 256)}
    if mode in kinds:
        dtype, top = kinds[mode]
        image = Image.fromarray(rng.integers(0, top, (40, 60)).astype(dtype))
    else:
        values = rng.integers(0, 256, (40, 60, len(Image.new(mode, (1, 1)).getbands())), np.uint8)
        image = Image.frombytes(mode, (60, 40), values.tobytes())
    image.save(tmp_path / "print.tif")
    tab.open_photo(tmp_path / "print.tif")
    told = tab.fill()
    assert "Filled" in told
    files = {Path(path).name: path for path in re.findall(r'"path": "([^"]+)"', told)}
    hole = np.zeros((40, 60), bool)
    hole[HOLE] = True
    result = Image.open(files["print_filled_1" + (".png" if mode == "I;16" else ".tif")])
    assert result.mode == mode
    assert np.array_equal(np.asarray(result)[~hole], np.asarray(image)[~hole])
    assert not np.array_equal(np.asarray(result)[hole], np.asarray(image)[hole])
    look = np.asarray(Image.open(files["print_filled_1_shown.png"]).convert("RGB"))
    assert np.array_equal(look[~hole], read_images(image)[0].pixels[~hole])
    if mode == "I;16":
        assert np.array_equal(look[~hole][:, 0], np.rint(np.asarray(image)[~hole] / 257))


def test_masks_come_and_go(opened, tmp_path):
    assert "A random hole" in opened.ask("random-hole", "click", None)
    told = opened.ask("make-mask", "click", opened.value(), None)
    assert "The mask is ready: holiday_mask.png" in told
    mask = np.zeros((40, 60), np.uint8)
    mask[10:20, 10:40] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    place = upload(opened.address, (tmp_path / "mask.png").read_bytes(), "mask.png")
    file = {"path": place, "meta": {"_type": "gradio.FileData"}}
    assert "The mask covers 12.5%" in opened.ask("mask-file", "upload", file, None)


def test_methods_are_compared_and_their_spread_is_shown(opened):
    given = (opened.value(), None, None, *OPTIONS)
    told = opened.ask("compare", "click", *given)
    assert "The same hole by every method at hand" in told and "Telea" in told
    chosen = opened.ask("methods", "select", None, event_data={"index": 1, "value": None})
    assert "holiday_compared_2.png" in chosen
    assert "fills differ by" in opened.ask("guess", "click", *given)


def test_borders_are_added(opened):
    told = opened.ask("extend", "click", None, None, 25, 0, 25, 0, "gp", "none")
    assert "60 × 40 became 90 × 40 px" in told and "holiday_extended.png" in told
    told = opened.ask("extend", "click", None, None, 0, 0, 0, 0, "gp", "none")
    assert "All four sides are at 0 %" in told


def test_many_photos_are_filled_and_what_is_wrong_with_some_is_said(opened, tmp_path):
    files = {"photos": [], "masks": []}
    for kind, names in (("photos", ("a.png", "b.png")), ("masks", ("a_mask.png",))):
        for name in names:
            path = photo_file(tmp_path, (60, 40), f"{uuid.uuid4().hex}.png")
            files[kind].append(opened.file(path, name))
    (tmp_path / "b.png").write_bytes(b"no")
    files["masks"].append(opened.file(tmp_path / "b.png"))
    options = [3, False, 1, 0, "none", "gp", 0]
    told = opened.ask(
        "fill-many", "click", files["photos"], files["masks"], False, None, None, *options
    )
    assert "1 of 2 filled" in told and "filled.zip" in told
    assert "b.png: mask b.png" in told
    assert "/batch/" not in told and "/photos/" not in told


def test_what_is_not_filled_of_many_is_told_on_the_page_and_in_the_zip(tab, tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "MAX_PIXELS", 60 * 40)
    hole = np.zeros((40, 60), np.uint8)
    hole[HOLE] = 255
    for name, mask in (("good", hole), ("empty", hole * 0), ("large", hole)):
        Image.fromarray(mask).save(tmp_path / f"{name}_mask.png")
    sizes = {"good": (60, 40), "empty": (60, 40), "large": (61, 40), "alone": (60, 40)}
    paths = {name: photo_file(tmp_path, size, f"{name}.png") for name, size in sizes.items()}
    photos = [tab.file(path) for path in paths.values()]
    masks = [tab.file(path) for path in sorted(tmp_path.glob("*_mask.png"))]
    original = np.array(Image.open(paths["good"]))
    for black, kept in ((False, hole == 0), (True, hole > 0)):
        told = tab.ask("fill-many", "click", photos, masks, black, None, None, *OPTIONS)
        # A mask without white selects everything where black is filled.
        filled = ["good", "empty"] if black else ["good"]
        assert f"{len(filled)} of 4 filled" in told
        with zipfile.ZipFile(re.findall(r'"path": "([^"]+filled\.zip)"', told)[-1]) as archive:
            assert set(archive.namelist()) == {f"{n}_filled.png" for n in filled} | {NOT_FILLED}
            notes = archive.read(NOT_FILLED).decode()
            result = np.array(Image.open(archive.open("good_filled.png")))
        for name in sizes.keys() - filled:
            assert f"{name}.png: " in told and f"{name}.png: " in notes
        assert np.array_equal(result[kept], original[kept])
        assert not np.array_equal(result[~kept], original[~kept])


@pytest.mark.parametrize(
    "name, data, words",
    [
        ("fill", [{"id": None, "mask": None}, None, None, *OPTIONS], "upload one first"),
        ("random-hole", [None], "upload one first"),
        ("make-mask", [None, None], "upload one first"),
        ("go-on", [None], "fill something first"),
        ("extend", [None, None, 25, 0, 25, 0, "gp", "none"], "upload one first"),
        ("compare", [None, None, None, *OPTIONS], "upload one first"),
        ("guess", [None, None, None, *OPTIONS], "upload one first"),
        ("fill-many", [None, None, False, None, None, *OPTIONS], "no photo yet"),
    ],
)
def test_what_is_asked_for_too_early_is_answered_with_a_sentence(tab, name, data, words):
    told = tab.ask(name, "click", *data)
    assert words in told and "did not work" not in told


def test_the_first_visit_and_the_examples_show_results_at_once(tab):
    load = next(key for key in tab.events if key[1] == "load")
    assert "face_filled.png" in tab.ask(*load, None)
    told = tab.ask("examples", "select", None, event_data={"index": 2, "value": None})
    assert "of rocket.jpg" in told and "rocket_filled.png" in told


def test_cancel_ends_what_is_running(tab):
    with urllib.request.urlopen(f"{tab.address}/config") as answer:
        events = json.load(answer)["dependencies"]
    for button, ended in (("cancel", ("fill", "click")), ("cancel-many", ("fill-many", "click"))):
        mine = [e for e in events if [tab.names.get(t) for t, _ in e["targets"]] == [button]]
        assert tab.events[ended] in [one for event in mine for one in event["cancels"]], button
