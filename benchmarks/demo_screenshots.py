"""The demo's pictures in docs/: at 1440 and 390 px, light and dark, with the landscape example.

    python app.py --port 7901 &
    python -m benchmarks.demo_screenshots http://127.0.0.1:7901

Needs playwright and a Chromium. The page shows times: let the machine do nothing else.
"""

import argparse
import io
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

DOCS = Path(__file__).parent.parent / "docs"
SIZES = ((1440, 900), (390, 844))
PATIENCE_MS = 200_000


def shot(browser, address, size, theme):
    """PNG bytes of the whole page, once the example and all pictures are there."""
    touch = size[0] < 500
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, has_touch=touch, is_mobile=touch
    )
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(f"{address}?__theme={theme}")
    page.wait_for_selector("#results img")
    page.locator("#examples button").nth(2).click()
    page.wait_for_function("document.querySelector('#status p').textContent.includes('rocket')")
    page.wait_for_function("window.inpaintEditor.holes() > 0 && window.inpaintEditor.holes() < 0.1")
    page.wait_for_function("[...document.querySelectorAll('img')].every((i) => i.complete)")
    page.evaluate("scrollTo(0, 0)")
    data = page.screenshot(full_page=True)
    context.close()
    return data


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("address", help="of a running demo")
    parser.add_argument("--output", type=Path, default=DOCS)
    arguments = parser.parse_args(argv)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for size in SIZES:
            for theme in ("light", "dark"):
                picture = Image.open(io.BytesIO(shot(browser, arguments.address, size, theme)))
                path = arguments.output / f"demo_{size[0]}_{theme}.jpg"
                picture.convert("RGB").save(path, quality=80, optimize=True)
                print(path)
        browser.close()


if __name__ == "__main__":
    main()
