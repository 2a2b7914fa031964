"""The demo's editor in a real browser: its tools, pointers and keys, and how photos come to it."""

import base64
import io

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

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


@pytest.fixture(scope="module")
def address():
    with served(tiny_pipeline()) as url:
        yield url


def painted(page):
    """The mask as the editor sends it, bool [H,W]."""
    url = page.evaluate("window.inpaintEditor.value().mask")
    return np.array(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))))[..., 3] > 127


def sides(hole):
    """Left, top, right and bottom of what is painted, in px of the mask."""
    columns, rows = np.flatnonzero(hole.any(axis=0)), np.flatnonzero(hole.any(axis=1))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])


def test_rectangle_eraser_grow_shrink_undo_and_zoom(browser, address, tmp_path):
    with visitor(browser, address) as page:
        without_live(page)
        upload(page, photo_file(tmp_path, (400, 200)))
        page.click("[data-part=box]")
        draw(page, (0.7, 0.8), (0.3, 0.2))  # leftward and upward
        box = painted(page)
        left, top, right, bottom = sides(box)
        assert sides(box) == pytest.approx([120, 40, 280, 160], abs=2)
        assert box[top:bottom, left:right].all()
        for part, outward in (("grow", 1), ("shrink", -1)):
            page.click(f"[data-part={part}]")
            moved = (sides(painted(page)) - sides(box)) * [-1, -1, 1, 1] * outward
            assert (moved >= 1).all() and (moved <= 3).all(), (part, moved)
            page.click("[data-part=undo]")
        page.click("[data-part=eraser]")
        draw(page, (0.1, 0.5), (0.9, 0.5))
        left_over = painted(page)
        assert not left_over[100].any() and left_over[50].any() and not (left_over & ~box).any()
        page.click("[data-part=undo]")
        assert np.array_equal(painted(page), box)
        page.click("[data-part=clear]")
        page.click("[data-part=undo]")
        page.click("[data-part=undo]")
        assert page.evaluate(MASK) == 0 and page.locator("[data-part=redo]").is_enabled()
        page.click("[data-part=brush]")
        for _ in range(2):
            page.click("[data-part=zoom-in]")
        draw(page, (0.45, 0.5), (0.55, 0.5))
        left, top, right, bottom = sides(painted(page))
        assert ((left + right) / 2, (top + bottom) / 2) == pytest.approx((200, 100), abs=2)
        assert page.locator("[data-part=redo]").is_disabled()  # something else was done instead


def test_the_brush_follows_the_size_of_the_photo(browser, address, tmp_path):
    """What is painted, and the ring that shows it, have the size that is said, in px of the photo,
    also where the mask is smaller than the photo."""
    told = {}
    with visitor(browser, address) as page:
        without_live(page)
        for size in ((60, 40), (3000, 2000)):
            upload(page, photo_file(tmp_path, size, f"{size[0]}.png"))
            px = told[size] = int(page.inner_text("[data-part=size-label]").split()[0])
            page.click("[data-part=sheet]")
            mask = painted(page)
            left, top, right, bottom = sides(mask) * size[0] / mask.shape[1]
            assert (right - left, bottom - top) == pytest.approx((px, px), abs=2, rel=0.02)
            ring = page.locator("[data-part=ring]").evaluate("ring => parseFloat(ring.style.width)")
            shown = ring * size[0] / page.locator("[data-part=sheet]").bounding_box()["width"]
            assert shown == pytest.approx(px, rel=0.02)
            page.locator("[data-part=size]").fill("100")
            assert page.inner_text("[data-part=size-label]") == f"{size[0] // 4} px"
    assert 2 <= told[60, 40] <= 6
    assert 100 <= told[3000, 2000] <= 200


def test_masks_are_changed_undone_taken_from_files_and_downloaded(browser, address, tmp_path):
    mask = np.zeros((40, 60), np.uint8)
    mask[10:20, 10:40] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    with visitor(browser, address) as page:
        without_live(page)
        upload(page, photo_file(tmp_path, (60, 40)))
        open_part(page, "mask-tools")
        choose(page, "#mask-file", tmp_path / "mask.png")
        said(page, "The mask covers 12.5%")
        page.wait_for_function(f"{MASK} === 0.125")
        page.click("[data-part=invert]")
        assert page.evaluate(MASK) == 0.875
        page.click("[data-part=undo]")
        assert page.evaluate(MASK) == 0.125
        page.click("[data-part=grow]")
        assert page.evaluate(MASK) > 0.125
        page.click("[data-part=undo]")
        page.click("#random-hole")
        said(page, "A random hole")
        page.wait_for_function(f"{MASK} !== 0.125")
        page.click("[data-part=undo]")
        assert page.evaluate(MASK) == 0.125
        page.click("[data-part=redo]")
        page.click("[data-part=undo]")
        page.click("#make-mask")
        said(page, "The mask is ready")
        with page.expect_download() as download:
            page.click("#mask-download")
        assert download.value.suggested_filename == "holiday_mask.png"
        assert np.array_equal(np.array(Image.open(download.value.path())), mask)
        press_fill(page)
    assert np.array_equal(Recorded.calls[-1][1], mask > 0)


def test_the_keyboard_paints_and_fills(browser, address, tmp_path):
    with visitor(browser, address) as page:
        without_live(page)
        path = photo_file(tmp_path, (60, 40), seed=7)
        upload(page, path)
        page.focus("[data-part=stage]")
        page.keyboard.press("Space")
        one = page.evaluate(MASK)
        for _ in range(4):
            page.keyboard.press("Shift+ArrowRight")
        page.keyboard.press("Space")
        assert 0 < one < page.evaluate(MASK)
        page.keyboard.press("Control+z")
        assert page.evaluate(MASK) == one
        before = len(Recorded.calls)
        page.evaluate(
            """() => { window.pressed = 0;
            document.querySelector("#fill").addEventListener("click", () => window.pressed++); }"""
        )
        page.keyboard.press("Enter")
        assert page.evaluate("window.pressed") == 0
        start_fill(page, lambda: page.keyboard.press("Control+Enter"))
        said(page, "Filled")
        own = [
            call for call in Recorded.calls[before:] if np.array_equal(call[0], Image.open(path))
        ]
        assert len(own) == 1  # and no draft
        page.wait_for_function("!document.querySelector('#fill').disabled")
        page.keyboard.press("Meta+Enter")
        assert page.evaluate("window.pressed") == 2


def test_undo_takes_back_one_step_of_very_many(browser, address, tmp_path):
    with visitor(browser, address) as page:
        without_live(page)
        upload(page, photo_file(tmp_path, (200, 40)))
        page.focus("[data-part=stage]")
        masks = []
        for _ in range(45):
            page.keyboard.press("ArrowLeft")
            page.keyboard.press("Space")
            masks.append(painted(page))
        page.keyboard.press("Control+z")
        page.keyboard.press("Control+z")
        assert np.array_equal(painted(page), masks[-3])
        assert not np.array_equal(masks[-3], masks[-1])


PUT = """async ([kind, name, text]) => {
  const data = new DataTransfer();
  if (text) data.setData("text/plain", text);
  else {
    const canvas = document.createElement("canvas");
    canvas.width = 30; canvas.height = 20;
    const blob = await new Promise((done) => canvas.toBlob(done));
    data.items.add(new File([blob], name, { type: "image/png" }));
  }
  const options = { bubbles: true, cancelable: true, clipboardData: data, dataTransfer: data };
  const event = kind === "paste" ? new ClipboardEvent(kind, options) : new DragEvent(kind, options);
  return document.querySelector("[data-part=stage]").dispatchEvent(event); }"""


def test_photos_come_by_paste_drop_and_the_same_file_again(browser, address, tmp_path):
    path = photo_file(tmp_path, (60, 40))
    with visitor(browser, address) as page:
        for kind in ("paste", "drop"):
            before = photo_id(page)
            assert not page.evaluate(PUT, [kind, f"{kind}.png", None])  # the browser does no more
            page.wait_for_function("id => window.inpaintEditor.value().id !== id", arg=before)
            assert "30 × 20" in page.inner_text("[data-part=note]")
        assert page.evaluate(PUT, ["paste", None, "7"])  # text is for the fields
        assert "30 × 20" in page.inner_text("[data-part=note]")
        upload(page, path)
        # A file that stays chosen is no change when it is chosen again.
        assert page.evaluate("document.querySelector('#photo-file').files.length") == 0
