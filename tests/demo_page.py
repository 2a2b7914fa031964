"""What the demo's tests share: a tiny pipeline behind the page, and a visitor with a browser."""

import shutil
import threading
from contextlib import contextmanager

import numpy as np
import torch
from PIL import Image

from inpaint_hub import InvertFillEncoder, InvertFillPipeline, StyleGAN2Generator

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
TINY = {"resolution": 32, "w_dim": 16, "channel_base": 256, "channel_max": 16}
SMALL = {"backbone": "small", "backbone_width": 8, "style_channels": 16, "structure_channels": 16}
PATIENCE_MS = 120_000  # for a machine that has other work
MASK = "window.inpaintEditor.holes()"


class Recorded(InvertFillPipeline):
    """Remembers what it was called with; can be made to wait in the middle."""

    calls = []
    may_go_on, waiting = threading.Event(), threading.Event()
    may_go_on.set()

    def __call__(self, image, mask_image, **options):
        self.calls.append((image, np.array(mask_image) > 0, options))
        if not self.may_go_on.is_set():
            self.waiting.set()
            assert self.may_go_on.wait(PATIENCE_MS / 1000)
        return super().__call__(image, mask_image, **options)

    @classmethod
    @contextmanager
    def held(cls):
        """Calls wait until the yielded function is called, or the block is left."""
        cls.waiting.clear()
        cls.may_go_on.clear()
        try:
            yield cls.may_go_on.set
        finally:
            cls.may_go_on.set()

    @classmethod
    def wait_until_held(cls):
        assert cls.waiting.wait(PATIENCE_MS / 1000)


def tiny_pipeline(seed=0, kind=Recorded):
    torch.manual_seed(seed)
    pipe = kind(
        InvertFillEncoder(**TINY, **SMALL),
        StyleGAN2Generator(z_dim=16, num_mapping_layers=2, **TINY),
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


@contextmanager
def served(models, **launch_options):
    """Address of the page around Models, or a pipeline."""
    from inpaint_hub.demo.launch import always
    from inpaint_hub.demo.page import build_demo

    demo = build_demo(models)
    _, url, _ = demo.launch(
        server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, **always(), **launch_options
    )
    try:
        yield url
    finally:
        demo.close()


@contextmanager
def visitor(browser, address, width=1440, height=1000, touch=False, dark=False, ready=True):
    """A page in a context of its own, on which nothing may go wrong that is not looked for."""
    context = browser.new_context(
        viewport={"width": width, "height": height},
        has_touch=touch,
        is_mobile=touch,
        accept_downloads=True,
    )
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.goto(f"{address}?__theme={'dark' if dark else 'light'}")
    if ready:
        page.wait_for_selector("#results img")  # the first example and its result
        page.wait_for_function(f"{MASK} > 0")
    try:
        yield page
        assert page.faults == []
    finally:
        context.close()


def photo_file(folder, size=(70, 50), name="holiday.png", seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / name)
    return folder / name


def upload(page, path):
    """Upload by the page's own button, and wait until the editor shows it."""
    before = photo_id(page)
    with page.expect_file_chooser() as chooser:
        page.click("#upload-photo")
    chooser.value.set_files(path)
    page.wait_for_function(
        "before => { const id = window.inpaintEditor.value().id; return id && id !== before; }",
        arg=before,
    )


def photo_id(page):
    return page.evaluate("window.inpaintEditor.value().id")


def draw(page, start=(0.3, 0.5), end=(0.7, 0.55), steps=12):
    """A stroke with the mouse, between two places given as shares of the photo's sides."""
    page.locator("#editor canvas").scroll_into_view_if_needed()
    box = page.locator("#editor canvas").bounding_box()
    at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end)]
    page.mouse.move(*at[0])
    page.mouse.down()
    page.mouse.move(*at[1], steps=steps)
    page.mouse.up()


def start_fill(page, press=None):
    """Press Fill, having marked what the page says now, so that `said` waits for what comes."""
    page.evaluate("document.querySelector('#status p').dataset.old = 'yes'")
    (press or (lambda: page.click("#fill")))()


def said(page, start):
    """Wait until the page says something new that starts so; all of it."""
    page.wait_for_function(
        """start => { const one = document.querySelector("#status p");
        return one && !one.dataset.old && one.textContent.startsWith(start); }""",
        arg=start,
    )
    return page.inner_text("#status p")


def press_fill(page):
    """Press Fill and wait until it is done and on show; what the page says then."""
    before = page.locator("#results img").first.get_attribute("src")
    start_fill(page)
    text = said(page, "Filled")
    page.wait_for_function("!document.querySelector('#fill').disabled")
    page.wait_for_function("src => document.querySelector('#results img').src !== src", arg=before)
    return text


def choose(page, button, path):
    with page.expect_file_chooser() as chooser:
        page.click(button)
    chooser.value.set_files(path)


def without_live(page):
    """No drafts, whatever photo comes: then what was called, was called by what the test did."""
    page.locator("#live input").uncheck()


def open_part(page, name):
    """Open an accordion."""
    part = page.locator(f"#{name} button.label-wrap").first
    if "open" not in (part.get_attribute("class") or ""):
        part.click()
