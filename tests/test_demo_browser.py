"""The demo as people use it: in a real browser, with mouse, keyboard and touch.

The gate visits the page's first minute; `-m slow` visits everything.
"""

import io
import json
import urllib.request
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from demo_page import (
    CHROMIUM,
    MASK,
    Recorded,
    choose,
    draw,
    open_part,
    photo_file,
    photo_id,
    press_fill,
    said,
    served,
    start_fill,
    tiny_pipeline,
    upload,
    visitor,
    without_live,
)
from PIL import Image

from inpaint_hub import provenance
from inpaint_hub.bundled import example_file
from inpaint_hub.demo import filling
from inpaint_hub.demo.models import Models

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


@pytest.fixture(scope="module")
def address():
    models = Models({"One": tiny_pipeline(0), "Two": tiny_pipeline(1)}, from_hub=False)
    with served(models) as url:
        yield url


def shown_result(page, index=0):
    """The result's file as the gallery shows it."""
    source = page.locator("#results img").nth(index).get_attribute("src")
    with urllib.request.urlopen(source) as answer:
        data = answer.read()
    return Image.open(io.BytesIO(data))


def test_the_first_click_is_a_stroke_and_its_pixels_alone_change(browser, address):
    with visitor(browser, address, width=1280) as page:
        without_live(page)
        page.click("[data-part=clear]")
        draw(page)
        assert 0 < page.evaluate(MASK) < 0.2
        press_fill(page)
        picture = shown_result(page)
    assert picture.format == "PNG"
    original = np.array(Image.open(example_file("face.png")).convert("RGB"))
    filled, hole = np.array(picture.convert("RGB")), Recorded.calls[-1][1]
    assert filled.shape == original.shape
    assert np.array_equal(filled[~hole], original[~hole])
    assert not np.array_equal(filled[hole], original[hole])
    # The stroke is the one drawn: through the middle, wider than high.
    rows, columns = np.flatnonzero(hole.any(axis=1)), np.flatnonzero(hole.any(axis=0))
    assert hole[hole.shape[0] // 2, hole.shape[1] // 2] and len(columns) > len(rows)


def test_a_stroke_on_a_new_photo_starts_where_it_was_begun(browser, address, tmp_path):
    with visitor(browser, address) as page:
        draw(page, (0.1, 0.1), (0.2, 0.1))
        upload(page, photo_file(tmp_path, (300, 200)))
        assert page.evaluate(MASK) == 0
        draw(page, (0.7, 0.7), (0.9, 0.7))
        press_fill(page)
        with begun_stroke(page):  # and a photo comes before it is ended
            second = photo_file(tmp_path, (200, 300), "second.png")
            before = photo_id(page)
            page.set_input_files("#photo-file", second)
            page.wait_for_function("id => window.inpaintEditor.value().id !== id", arg=before)
        assert page.evaluate(MASK) == 0
    hole = Recorded.calls[-1][1]
    columns, rows = np.flatnonzero(hole.any(axis=0)), np.flatnonzero(hole.any(axis=1))
    assert hole.shape == (200, 300)
    assert columns[0] > 0.6 * 300 and rows[0] > 0.6 * 200  # no streak from the old photo's stroke


@contextmanager
def begun_stroke(page):
    """The mouse's button is down inside the block, and is moved before it is let go."""
    box = page.locator("#editor canvas").bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.4 * box["height"])
    page.mouse.down()
    yield
    box = page.locator("#editor canvas").bounding_box()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.6 * box["height"], steps=5)
    page.mouse.up()


def test_on_touch_a_stroke_starts_where_the_finger_did(browser, address):
    with visitor(browser, address, width=390, height=844, touch=True) as page:
        without_live(page)
        page.tap("[data-part=clear]")
        stage = page.locator("#editor [data-part=stage]")
        stage.scroll_into_view_if_needed()
        box = page.locator("#editor canvas").bounding_box()
        middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        touch = page.context.new_cdp_session(page)

        def at(kind, *places):
            points = [
                {"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"], "id": number}
                for number, (x, y) in enumerate(places)
            ]
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        for start, end in (((0.2, 0.2), (0.3, 0.2)), ((0.7, 0.8), (0.85, 0.8))):
            at("touchStart", start)
            page.mouse.move(*middle)  # which is no part of the finger's stroke
            at("touchMove", end)
            at("touchEnd")
        drawn = page.evaluate(MASK)
        at("touchStart", (0.3, 0.5))
        at("touchStart", (0.3, 0.5), (0.7, 0.5))  # a second finger: they mean to zoom
        at("touchEnd")
        assert page.evaluate(MASK) == pytest.approx(drawn, abs=0.001)
        start_fill(page)  # a click: Chromium takes a tap right after a touch for its second half
        said(page, "Filled")
        page.wait_for_function(  # it scrolls there by itself
            "Math.abs(document.querySelector('#status').getBoundingClientRect().top) < 50"
        )
    hole = Recorded.calls[-1][1]
    height, width = hole.shape
    assert hole[round(0.2 * height), round(0.25 * width)]
    assert hole[round(0.8 * height), round(0.78 * width)]
    assert not hole[height // 2].any()  # nothing was drawn from one stroke to the next


def test_rounds_go_on_from_a_result_and_back_to_any_step(browser, address, tmp_path):
    with visitor(browser, address) as page:
        without_live(page)
        page.evaluate(
            "() => { Element.prototype.scrollIntoView = () => { window.scrolled = true; }; }"
        )
        path = photo_file(tmp_path, (120, 80), "my cat.png")
        upload(page, path)
        draw(page, (0.2, 0.3), (0.4, 0.3))
        press_fill(page)
        first_hole = Recorded.calls[-1][1]
        first = np.array(shown_result(page))
        page.click("#go-on")
        page.wait_for_function(f"{MASK} === 0")
        draw(page, (0.6, 0.7), (0.8, 0.7))
        press_fill(page)
        image, second_hole, _ = Recorded.calls[-1]
        second = np.array(shown_result(page))
        assert np.array_equal(np.array(image), first)  # the result was the photo
        assert np.array_equal(second[~second_hole], first[~second_hole])
        assert page.locator("#history img").count() == 3  # the example, and these two
        page.locator("#history button").nth(1).click()
        said(page, "Back at step 2")
        page.wait_for_function(f"{MASK} > 0")
        press_fill(page)
        assert np.array_equal(Recorded.calls[-1][1], first_hole)
        assert np.array_equal(np.array(Recorded.calls[-1][0]), np.array(Image.open(path)))
        assert page.evaluate("window.scrolled") is None  # there is room for all of it
        with page.expect_download() as download:
            page.click("#download")
        assert download.value.suggested_filename == "my_cat_filled.png"
        file = Image.open(download.value.path())
        assert np.array_equal(np.array(file), first)
        assert provenance.read(file)["coverage"] == pytest.approx(first_hole.mean(), abs=1e-6)


@pytest.mark.slow
def test_several_results_choice_and_a_seed_that_is_written_back(browser, address, tmp_path):
    with visitor(browser, address) as page:
        without_live(page)
        upload(page, photo_file(tmp_path, (60, 40)))
        draw(page)
        open_part(page, "options")
        page.get_by_label("New seed each time").check()
        page.get_by_label("number input for Number of results").fill("3")
        page.keyboard.press("Tab")
        press_fill(page)
        assert page.locator("#results img").count() == 3
        seed = int(page.locator("#seed input").input_value())
        captions = page.locator("#results .caption-label").all_inner_texts()
        assert captions[0].startswith(f"seed {seed} ")
        results = [np.array(shown_result(page, i)) for i in range(3)]
        assert not np.array_equal(results[0], results[2])
        page.locator("#results button").nth(2).click()
        third = page.locator("#results img").nth(2).get_attribute("src")
        page.wait_for_function(
            "src => [...document.querySelectorAll('#slider img')].some(i => i.src === src)",
            arg=third,
        )
        with page.expect_download() as download:
            page.click("#download")
        assert np.array_equal(np.array(Image.open(download.value.path())), results[2])


def test_errors_are_sentences_beside_results_that_stay(browser, address, tmp_path):
    (tmp_path / "notes.png").write_text("no picture")
    with visitor(browser, address) as page:
        without_live(page)
        result = page.locator("#results img").first.get_attribute("src")
        page.click("[data-part=clear]")
        start_fill(page)
        said(page, "Nothing is painted yet")
        choose(page, "#upload-photo", tmp_path / "notes.png")
        text = said(page, "“notes.png” cannot be read")
        assert "Save it again" in text and "/tmp" not in text
        open_part(page, "options")
        seed = page.locator("#seed input")
        page.wait_for_function("document.querySelector('#seed input')?.value === '0'")
        seed.click()  # an accordion just opened may still write its values
        seed.press("ControlOrMeta+a")
        seed.press("Delete")
        draw(page)
        start_fill(page)
        said(page, "The seed is empty")
        assert page.locator("#results img").first.get_attribute("src") == result
        assert page.locator("#results img").first.is_visible()
        assert page.locator(".toast-wrap .toast-body.error").count() == 0


def test_live_drafts_follow_the_strokes_and_cover_no_other_sentence(browser, address, tmp_path):
    with visitor(browser, address) as page:
        upload(page, photo_file(tmp_path, (60, 40)))
        assert is_live(page)
        text = said(page, "holiday.png is here")
        draw(page)
        page.wait_for_function(
            "document.querySelector('#draft p').textContent.startsWith('Live draft in')"
        )
        assert page.inner_text("#results .caption-label") == "live draft"
        assert page.inner_text("#status p") == text
        assert page.locator("#history img").count() == 1  # the example's alone
        press_fill(page)
        assert page.inner_text("#draft p") == ""  # what is on show is no draft


def is_live(page):
    return page.locator("#live input").is_checked()


def test_the_choice_of_drafts_stays_and_a_large_photo_is_opened_without(browser, address, tmp_path):
    small = photo_file(tmp_path, (60, 40))
    large = photo_file(tmp_path, (1400, 1000), "large.png")
    with visitor(browser, address) as page:
        for wanted in (True, False):
            page.locator("#live input").set_checked(wanted)
            for path, expected in ((small, wanted), (large, False), (small, wanted)):
                upload(page, path)
                assert is_live(page) == expected, (wanted, path.name)
        with holding(page, "**/gradio_api/queue/join*") as release:  # chosen before the answer
            start = photo_id(page)
            choose(page, "#upload-photo", small)
            page.locator("#live input").check()
            page.locator("#live input").uncheck()
            release()
            page.wait_for_function("id => window.inpaintEditor.value().id !== id", arg=start)
        assert not is_live(page)


@contextmanager
def holding(page, pattern):
    """Requests to such addresses wait until the yielded function is called."""
    held = []
    page.route(pattern, lambda route: held.append(route))

    def release():
        while not held:
            page.wait_for_timeout(20)
        page.unroute(pattern)  # which lets those go on that are held

    yield release


@pytest.mark.slow
def test_a_draft_that_comes_after_the_fill_it_led_to_is_not_shown(browser, address, tmp_path):
    with visitor(browser, address) as page:
        upload(page, photo_file(tmp_path, (60, 40)))
        with Recorded.held() as release:
            draw(page, (0.2, 0.3), (0.4, 0.3))  # its draft is begun
            Recorded.wait_until_held()
            draw(page, (0.2, 0.6), (0.4, 0.6))  # and the next one waits for it in the browser
            start_fill(page)
            release()
        said(page, "Filled")
        page.wait_for_function("!document.querySelector('#fill').disabled")
        page.wait_for_timeout(1000)  # time for the draft to do harm
        assert page.inner_text("#results .caption-label").startswith("seed ")
        assert page.inner_text("#draft p") == ""


@pytest.mark.slow
def test_two_visitors_with_different_models_get_their_own(browser, address, tmp_path):
    results = []
    with visitor(browser, address) as one, visitor(browser, address) as other:
        for page, model, seed in ((one, "One", 1), (other, "Two", 2)):
            without_live(page)
            upload(page, photo_file(tmp_path, (60, 40), f"{model}.png", seed))
            page.click("#model input")
            page.get_by_role("option", name=model).click()
            draw(page)
        start_fill(one)
        start_fill(other)
        for page, model in ((one, "One"), (other, "Two")):
            assert f"{model}.png" in said(page, "Filled")
            file = Image.open(tmp_path / f"{model}.png")
            result = np.array(shown_result(page))
            results.append(result)
            hole = next(h for image, h, _ in Recorded.calls if np.array_equal(image, file))
            assert np.array_equal(result[~hole], np.array(file)[~hole])
    assert not np.array_equal(*results)


@pytest.mark.slow
def test_a_reload_in_the_middle_gives_a_fresh_page_that_works(browser, address, tmp_path):
    with visitor(browser, address) as page:
        upload(page, photo_file(tmp_path, (60, 40)))
        draw(page)
        start_fill(page)
        page.reload()
        page.wait_for_selector("#results img")
        page.wait_for_function(f"{MASK} > 0")
        assert photo_id(page)
        assert press_fill(page).startswith("Filled")


@pytest.mark.slow
def test_a_slow_network_shows_what_it_waits_for(browser, address, tmp_path):
    with visitor(browser, address) as page:
        held = []
        page.route("**/gradio_api/upload*", lambda route: held.append(route))
        choose(page, "#upload-photo", photo_file(tmp_path))
        page.wait_for_function(
            "document.querySelector('[data-part=note]').textContent.startsWith('Uploading')"
        )
        while not held:
            page.wait_for_timeout(20)
        held[0].abort()
        page.wait_for_function(
            "document.querySelector('[data-part=note]').textContent.includes('upload failed')"
        )


@pytest.mark.slow
def test_every_example_shows_its_result_on_one_click(browser, address):
    with visitor(browser, address) as page:
        buttons = page.locator("#examples button")
        assert buttons.count() == 3
        # The first is on show already: what the page says of it would not be new.
        for index, name in ((1, "astronaut.png"), (2, "rocket.jpg"), (0, "face.png")):
            before = photo_id(page)
            start_fill(page, buttons.nth(index).click)
            page.wait_for_function("id => window.inpaintEditor.value().id !== id", arg=before)
            assert name in said(page, "Filled") and page.evaluate(MASK) > 0


@pytest.mark.slow
def test_cancel_gives_the_button_back_and_keeps_the_result(browser, address, tmp_path):
    with visitor(browser, address) as page:
        without_live(page)
        upload(page, photo_file(tmp_path, (60, 40)))
        draw(page)
        open_part(page, "options")
        page.get_by_label("number input for Number of results").fill("8")
        page.keyboard.press("Tab")
        with Recorded.held() as release:
            start_fill(page)
            Recorded.wait_until_held()
            page.wait_for_function("document.querySelector('#fill').disabled")
            page.click("#cancel")
            said(page, "Canceled")
            release()
        page.wait_for_function("!document.querySelector('#fill').disabled")
        assert page.locator("#results img").first.is_visible()


@pytest.mark.slow
def test_methods_are_compared_and_shown_in_the_slider(browser, address, tmp_path):
    with visitor(browser, address) as page:
        without_live(page)
        upload(page, photo_file(tmp_path, (60, 40)))
        draw(page)
        open_part(page, "compare-them")
        page.click("#compare")
        said(page, "The same hole by every method")
        captions = page.locator("#methods .caption-label").all_inner_texts()
        for name in ("InvertFill", "Dual-path", "pSp", "pSp + Blend", "One, no texture", "Telea"):
            assert any(c.startswith(name + " ·") for c in captions), (name, captions)
        page.locator("#methods button").nth(1).click()
        source = page.locator("#methods img").nth(1).get_attribute("src")
        page.wait_for_function(
            "src => [...document.querySelectorAll('#slider img')].some(i => i.src === src)",
            arg=source,
        )


@pytest.mark.slow
def test_the_heat_map_says_where_results_differ(browser, address, tmp_path):
    with visitor(browser, address) as page:
        without_live(page)
        upload(page, photo_file(tmp_path, (60, 40)))
        draw(page)
        open_part(page, "guessing")
        page.click("#guess")
        assert "fills differ by" in said(page, "6 fills")
        page.wait_for_selector("#heat img")


@pytest.mark.slow
def test_extend_adds_what_was_asked_for(browser, address, tmp_path):
    with visitor(browser, address) as page:
        path = photo_file(tmp_path, (60, 40))
        upload(page, path)
        page.get_by_role("tab", name="Extend").click()
        page.click("#extend")
        page.wait_for_function(
            "document.querySelector('#extend-status p').textContent.includes('became 90 × 40')"
        )
        with page.expect_download() as download:
            page.click("#extend-download")
        result = np.array(Image.open(download.value.path()))
        assert np.array_equal(result[:, 15:75], np.array(Image.open(path)))


@pytest.mark.slow
def test_many_photos_come_back_as_a_zip(browser, address, tmp_path):
    photos = [photo_file(tmp_path, (60, 40), f"{name}.png", i) for i, name in enumerate("abc")]
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        for path in photos[:2]:
            archive.write(path, f"holiday/{path.name}")
    mask = np.zeros((40, 60), np.uint8)
    mask[10:20, 10:40] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    with visitor(browser, address) as page:
        page.get_by_role("tab", name="Many photos").click()
        given = {"photos": [tmp_path / "two.zip", photos[2]], "masks": [tmp_path / "mask.png"]}
        for part, files in given.items():
            page.set_input_files(f"#many-{part} input[type=file]", files)
            page.locator(f"#many-{part} .file-preview, #many-{part} table").first.wait_for()
        page.click("#fill-many")
        page.wait_for_function(
            "document.querySelector('#many-status p').textContent.startsWith('3 of 3 filled')"
        )
        link = page.locator("#many-result a").first
        link.wait_for()
        with page.expect_download() as download:
            link.click()
        with zipfile.ZipFile(download.value.path()) as archive:
            assert sorted(archive.namelist()) == [f"{n}_filled.png" for n in "abc"]
            for path in photos:
                result = np.array(Image.open(archive.open(f"{path.stem}_filled.png")))
                assert np.array_equal(result[mask == 0], np.array(Image.open(path))[mask == 0])


def axe_source():
    package = pytest.importorskip("axe_playwright_python")
    return (Path(package.__file__).parent / "axe.min.js").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "dark", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["light", "dark"]
)
def test_axe_finds_nothing_critical_or_serious(browser, address, dark):
    source = axe_source()
    with visitor(browser, address, dark=dark) as page:
        for tab in ("Fill", "Extend", "Many photos"):
            page.get_by_role("tab", name=tab).click()
            page.get_by_role("tab", name=tab, selected=True).wait_for()
            page.evaluate(
                "() => document.querySelectorAll('button.label-wrap:not(.open)')"
                ".forEach((button) => button.click())"
            )
            page.evaluate(source)
            found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
            serious = [
                (v["id"], [node["html"][:120] for node in v["nodes"]][:3])
                for v in found["violations"]
                if v["impact"] in ("critical", "serious")
            ]
            assert serious == [], json.dumps(serious, indent=1)


@pytest.mark.parametrize("width", [pytest.param(1440, marks=pytest.mark.slow), 390])
def test_nothing_is_wider_than_the_window_and_buttons_are_large_enough(browser, address, width):
    with visitor(browser, address, width=width, touch=width < 500) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        small = page.evaluate(
            """() => [...document.querySelectorAll("#editor button, #fill, #cancel, #go-on,"
            + "#download, #examples button, #slider button")].filter((b) => b.offsetParent
            && (b.offsetWidth < 40 || b.offsetHeight < 40)).map((b) => b.outerHTML.slice(0, 80))"""
        )
        assert small == []


def test_on_a_phone_the_page_takes_the_width_and_the_photo_its_room(browser, address, tmp_path):
    with visitor(browser, address, width=390, height=844, touch=True) as page:
        upload(page, photo_file(tmp_path, (300, 200)))
        room, photo = (
            page.locator(f"#editor [data-part={part}]").bounding_box()
            for part in ("stage", "sheet")
        )
        assert room["width"] >= 320
        assert photo["width"] >= room["width"] - 4 and photo["height"] >= room["height"] - 4
        tick = "getComputedStyle(document.querySelector('#live input')).backgroundColor"
        assert page.evaluate(tick) != "rgb(255, 255, 255)"  # the tick on it is white


PLACES = (
    "['#fill', '#slider', '#results', '#go-on', '#history'].map((one) =>"
    "document.querySelector(one).getBoundingClientRect().top + scrollY)"
)


@pytest.mark.parametrize("width", [pytest.param(1440, marks=pytest.mark.slow), 390])
def test_drafts_results_and_errors_move_nothing_on_the_page(
    browser, address, tmp_path, monkeypatch, width
):
    said_of_routes = ["The hole was filled by the model of photos: there is no face near it."]
    monkeypatch.setattr(filling, "route_sentences", lambda told: said_of_routes)
    with visitor(browser, address, width=width) as page:
        upload(page, photo_file(tmp_path, (300, 200)))
        before = page.evaluate(PLACES)
        draw(page)
        page.wait_for_function("document.querySelector('#draft p').textContent !== ''")
        assert page.evaluate(PLACES) == pytest.approx(before, abs=1)
        press_fill(page)
        page.wait_for_function("document.querySelectorAll('#history img').length === 2")
        assert page.evaluate(PLACES) == pytest.approx(before, abs=1)
        page.locator("#live input").uncheck()
        page.click("[data-part=clear]")
        start_fill(page)
        said(page, "Nothing is painted yet")
        assert page.evaluate(PLACES) == pytest.approx(before, abs=1)
