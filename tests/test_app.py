"""The demo: its endpoints, its messages, and one visit with a real browser."""

import io
import shutil
import urllib.request

import gradio as gr
import numpy as np
import pytest
import torch
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from app import EXAMPLES, SEAMS, build_demo
from inpaint_hub import InvertFillEncoder, InvertFillPipeline, StyleGAN2Generator

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
TINY = {"resolution": 32, "w_dim": 16, "channel_base": 256, "channel_max": 16}
SMALL = {"backbone": "small", "backbone_width": 8, "style_channels": 16, "structure_channels": 16}


class Recorded(InvertFillPipeline):
    """Remembers the masks it was called with."""

    masks = []

    def __call__(self, image, mask_image, **options):
        self.masks.append(mask_image)
        return super().__call__(image, mask_image, **options)


@pytest.fixture(scope="module")
def address():
    torch.manual_seed(0)
    pipe = Recorded(
        InvertFillEncoder(**TINY, **SMALL),
        StyleGAN2Generator(z_dim=16, num_mapping_layers=2, **TINY),
    )
    demo = build_demo(pipe)
    _, url, _ = demo.launch(
        server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, show_error=True
    )
    yield url
    demo.close()


@pytest.fixture(scope="module")
def client(address):
    return Client(address, verbose=False)


@pytest.fixture
def photo(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path)
    return path


def mask_file(tmp_path, hole):
    path = tmp_path / "mask.png"
    Image.fromarray(hole.astype(np.uint8) * 255).save(path)
    return path


def half_hole():
    hole = np.zeros((50, 70), bool)
    hole[:, :30] = True
    return hole


def gallery_paths(gallery):
    return [
        item["image"] if isinstance(item["image"], str) else item["image"]["path"]
        for item in gallery
    ]


def test_photo_and_mask_endpoint_keeps_known_pixels(client, photo, tmp_path):
    hole = half_hole()
    mask = mask_file(tmp_path, hole)
    _, gallery = client.predict(
        handle_file(photo), handle_file(mask), 0, 2, 0.5, False, api_name="/inpaint_image_and_mask"
    )
    paths = gallery_paths(gallery)
    assert len(paths) == 2
    for path in paths:
        result = Image.open(path)
        assert result.format == "PNG"
        assert np.array_equal(np.array(result)[~hole], np.array(Image.open(photo))[~hole])


def test_each_seam_is_another_fill_with_the_same_known_pixels(client, photo, tmp_path):
    hole = half_hole()
    inputs = handle_file(photo), handle_file(mask_file(tmp_path, hole)), 0, 1, 0, False, 0
    fills = set()
    for _, seam in SEAMS:
        _, gallery = client.predict(*inputs, seam, api_name="/inpaint_image_and_mask")
        result = np.array(Image.open(gallery_paths(gallery)[0]))
        assert np.array_equal(result[~hole], np.array(Image.open(photo))[~hole])
        fills.add(result[hole].tobytes())
    assert len(fills) == len(SEAMS)


def test_a_mask_drawn_only_in_alpha_is_understood(client, photo, tmp_path):
    hole = half_hole()
    layer = np.zeros((50, 70, 4), np.uint8)
    layer[hole, 3] = 255
    path = tmp_path / "alpha.png"
    Image.fromarray(layer).save(path)
    _, gallery = client.predict(
        handle_file(photo), handle_file(path), 0, 1, 0, False, api_name="/inpaint_image_and_mask"
    )
    result = np.array(Image.open(gallery_paths(gallery)[0]))
    original = np.array(Image.open(photo))
    assert np.array_equal(result[~hole], original[~hole])
    assert not np.array_equal(result[hole], original[hole])


def test_editor_endpoint_reads_the_painted_layer(client, photo, tmp_path):
    hole = half_hole()
    layer = np.zeros((50, 70, 4), np.uint8)
    layer[hole] = (255, 255, 255, 255)
    layer_path = tmp_path / "layer.png"
    Image.fromarray(layer).save(layer_path)
    editor = {
        "background": handle_file(photo),
        "layers": [handle_file(layer_path)],
        "composite": handle_file(photo),
    }
    _, gallery = client.predict(editor, 0, 1, 0, False, api_name="/inpaint")
    result = np.array(Image.open(gallery_paths(gallery)[0]).convert("RGB"))
    original = np.array(Image.open(photo))
    assert np.array_equal(result[~hole], original[~hole])
    assert not np.array_equal(result[hole], original[hole])


@pytest.mark.parametrize(
    "hole, message",
    [(np.zeros((50, 70), bool), "no white"), (None, "no mask")],
    ids=["black", "none"],
)
def test_requests_without_a_hole_get_advice_and_leave_the_page_usable(
    client, photo, tmp_path, hole, message
):
    mask = None if hole is None else handle_file(mask_file(tmp_path, hole))
    with pytest.raises(AppError, match=message):
        client.predict(handle_file(photo), mask, 0, 1, 0, False, api_name="/inpaint_image_and_mask")
    good = handle_file(mask_file(tmp_path, half_hole()))
    client.predict(handle_file(photo), good, api_name="/inpaint_image_and_mask")


def test_request_without_a_photo_gets_advice(client, tmp_path):
    with pytest.raises(AppError, match="upload a photo"):
        client.predict(None, None, 0, 1, 0, False, api_name="/inpaint_image_and_mask")
    empty = {"background": None, "layers": [], "composite": None}
    with pytest.raises(AppError, match="upload a photo"):
        client.predict(empty, 0, 1, 0, False, api_name="/inpaint")


def test_a_file_that_is_no_picture_is_refused_without_a_traceback(client, tmp_path):
    fake = tmp_path / "fake.png"
    fake.write_text("this is text")
    with pytest.raises(AppError) as refusal:
        client.predict(handle_file(fake), None, 0, 1, 0, False, api_name="/inpaint_image_and_mask")
    assert "Traceback" not in str(refusal.value)


def test_everything_masked_is_filled(client, photo, tmp_path):
    full = handle_file(mask_file(tmp_path, np.ones((50, 70), bool)))
    _, gallery = client.predict(
        handle_file(photo), full, 0, 1, 0, False, api_name="/inpaint_image_and_mask"
    )
    assert Image.open(gallery_paths(gallery)[0]).size == (70, 50)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_visitor_draws_a_stroke_and_gets_a_picture_with_the_same_known_pixels(address):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.goto(address)
        canvas = page.locator("#editor canvas").first
        canvas.wait_for(state="visible", timeout=60_000)
        page.wait_for_timeout(3000)  # the editor lays the photo out after its canvas is there
        box = canvas.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x - 40, y)
        page.mouse.down()
        page.mouse.move(x + 40, y + 10, steps=12)
        page.mouse.up()
        page.wait_for_timeout(500)
        page.click("#fill")
        result = page.locator("#results img").first
        result.wait_for(state="visible", timeout=60_000)
        with urllib.request.urlopen(result.get_attribute("src")) as response:
            data = response.read()
        browser.close()
    picture = Image.open(io.BytesIO(data))
    assert picture.format == "PNG"
    original = np.array(Image.open(EXAMPLES[0]).convert("RGB"))
    filled = np.array(picture.convert("RGB"))
    assert filled.shape == original.shape
    stroke = np.array(Recorded.masks[-1]) > 0
    assert np.array_equal(filled[~stroke], original[~stroke])
    assert not np.array_equal(filled[stroke], original[stroke])
    # The stroke is the one drawn: wider than high, through the middle, and a small part of all.
    rows, columns = np.flatnonzero(stroke.any(axis=1)), np.flatnonzero(stroke.any(axis=0))
    height, width = stroke.shape
    assert stroke[height // 2, width // 2] and stroke.mean() < 0.2
    assert len(columns) > len(rows)


def test_the_page_is_named_endpoints_and_nothing_else(client):
    endpoints = client.view_api(return_format="dict")["named_endpoints"]
    assert set(endpoints) == {"/inpaint", "/inpaint_image_and_mask"}


def test_gradio_is_the_pinned_one():
    assert gr.__version__ == "6.31.0"
