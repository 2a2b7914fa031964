"""What the page's handlers answer, part by part, without a server: parts are their own names."""

import base64
import io
from types import SimpleNamespace

import numpy as np
import pytest
from demo_page import photo_file, tiny_pipeline
from PIL import Image

from inpaint_hub import provenance
from inpaint_hub.demo import filling, outside, photos, rounds
from inpaint_hub.demo.beyond import Comparing
from inpaint_hub.demo.editor import photo_message
from inpaint_hub.demo.models import Models
from inpaint_hub.demo.opening import Opening
from inpaint_hub.demo.photos import KEPT_STEPS, Step, Visit, accept, converted
from inpaint_hub.demo.rounds import Rounds

PARTS = "told visit editor drafted slider gallery download history seed fill_button cancel"
PARTS += " mask_out methods_gallery"
PARTS = SimpleNamespace(**{name: name for name in PARTS.split()})
HOLE = np.zeros((40, 60), bool)
HOLE[10:30, 15:40] = True


def options(seed=3, new_seed=False, results=2):
    return seed, new_seed, results, 0.5, "none", "gp", 0


@pytest.fixture(scope="module")
def page():
    return Rounds(PARTS, Models({"tiny": tiny_pipeline()}))


@pytest.fixture
def visit(tmp_path):
    visit = Visit(tmp_path / "visits")
    path = photo_file(tmp_path, (60, 40))
    photo_message(visit, *accept(visit, path, path.name))
    return visit


def sent(visit, hole=HOLE, changes=1):
    mask = np.zeros((*hole.shape, 4), np.uint8)
    mask[hole] = (255, 23, 68, 255)
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, "PNG")
    url = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    return {"id": visit.photo_id, "mask": url, "changes": changes, "live": True}


def fill(page, visit, hole=HOLE, **given):
    return list(page.fill_it(sent(visit, hole), visit, "tiny", *options(**given)))


def idle(answer):
    return answer["fill_button"]["interactive"] and not answer["cancel"]["interactive"]


@pytest.fixture(autouse=True)
def plain_updates(monkeypatch):
    """Buttons as the dictionaries of their settings."""
    monkeypatch.setattr(rounds.gr, "Button", lambda **settings: settings)


def test_while_it_fills_only_cancel_can_be_pressed_then_only_fill(page, visit):
    first, *_, last = fill(page, visit)
    assert not first["fill_button"]["interactive"] and first["cancel"]["interactive"]
    assert idle(last) and idle(page.canceled())
    assert last["download"].endswith("holiday_filled_1.png")
    assert [text for _, text in last["history"]] == ["Step 1"]


def test_the_seed_that_was_used_is_written_back(page, visit, monkeypatch):
    monkeypatch.setattr(rounds.random, "randrange", lambda top: 77)
    for new_seed, used in ((False, 3), (True, 77)):
        last = fill(page, visit, new_seed=new_seed, results=1)[-1]
        assert last["seed"] == used
        assert provenance.read(Image.open(last["download"]))["seed"] == used


@pytest.mark.parametrize("foreseen", [True, False])
def test_an_error_in_the_middle_covers_no_result(page, visit, monkeypatch, foreseen, capsys):
    whole = filling.fill

    def breaks(*arguments):
        yield next(whole(*arguments))
        raise photos.Refusal("no memory") if foreseen else KeyError("odd")

    monkeypatch.setattr(filling, "fill", breaks)
    last = fill(page, visit)[-1]
    assert set(last) == {"told", "fill_button", "cancel"} and idle(last)
    assert 'role="alert"' in last["told"]
    assert ("no memory" if foreseen else "KeyError") in last["told"]
    assert visit.steps == []


def test_going_back_opens_that_steps_photo_mask_and_result(page, visit):
    other = np.zeros_like(HOLE)
    other[:8, :20] = True
    fill(page, visit)
    fill(page, visit, hole=other)
    for index, hole in ((1, other), (0, HOLE)):
        answer = page.go_back(visit, "PNG", SimpleNamespace(index=index))
        assert f"Back at step {index + 1}" in answer["told"]
        assert answer["slider"][1] == str(visit.steps[index].shown[0])
        assert answer["download"] == str(visit.steps[index].results[0])
        mask = base64.b64decode(answer["editor"]["mask"].partition(",")[2])
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(mask))) > 127, hole)


def test_the_result_that_was_chosen_is_shown_downloaded_and_gone_on_from(page, visit):
    fill(page, visit)
    step = visit.step()
    answer = page.choose(visit, "JPEG", SimpleNamespace(index=1))
    assert answer["slider"][1] == str(step.shown[1])
    assert answer["download"].endswith("holiday_filled_2.jpg")
    page.go_on(visit)
    assert visit.photo.path == step.results[1]


def test_a_draft_that_something_overtook_is_neither_shown_nor_kept(page, visit, monkeypatch):
    whole, made = filling.fill, []

    def slow(*arguments):
        visit.asked()  # a result was chosen in the meantime
        made.extend(whole(*arguments))
        yield from made

    monkeypatch.setattr(filling, "fill", slow)
    answer = page.fill_live(sent(visit), visit, "tiny", *options())
    assert set(answer) == {"drafted"} and made and visit.draft is None
    assert not list(visit.folder.rglob("*filled*"))


def test_the_oldest_steps_go_with_their_files_but_not_the_photo_of_others(visit):
    for _ in range(KEPT_STEPS + 2):
        mask, result = visit.new_file("mask.png"), visit.new_file("result.png")
        for path in (mask, result):
            path.write_bytes(b"x")
        visit.add(Step(visit.photo, mask, [result], [result, visit.photo.shown], [""], ""))
    assert len(visit.steps) == KEPT_STEPS and visit.photo.shown.is_file()
    assert len(list(visit.folder.rglob("mask.png"))) == KEPT_STEPS
    assert len(list(visit.folder.rglob("result.png"))) == KEPT_STEPS


@pytest.mark.parametrize("file_format", ["JPEG", "WEBP"])
def test_other_formats_keep_where_the_fill_came_from(page, visit, file_format):
    path = photos.Path(fill(page, visit, results=1)[-1]["download"])
    with Image.open(converted(path, file_format)) as image:
        assert image.format == file_format
        assert provenance.read(image) == provenance.read(Image.open(path))


def test_a_mask_is_downloaded_white_where_it_is_painted(visit, tmp_path):
    answer = Opening(PARTS, None, tmp_path).mask_download(sent(visit), visit)
    assert "holiday_mask.png" in answer["told"]
    mask = Image.open(next(visit.folder.rglob("holiday_mask.png")))
    assert np.array_equal(np.asarray(mask) > 127, HOLE)


def test_a_compared_method_is_shown_beside_the_photo(visit):
    files = [visit.new_file(f"{number}.png") for number in range(3)]
    visit.compared = (visit.photo.shown, files)
    answer = Comparing(PARTS, None, None).choose_method(visit, SimpleNamespace(index=2))
    assert answer["slider"] == (str(visit.photo.shown), str(files[2]))


def test_percents_become_px_of_their_own_side():
    assert outside.pixels((200, 100), (10, 20, 30, 40)) == (20, 20, 60, 40)
