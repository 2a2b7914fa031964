"""The contact sheet of docs/ANY_PHOTO.md: holes in whole photos, filled by the bundled pipeline.

    python -m benchmarks.any_photo [--output docs/any_photo.jpg] [--whole DIR]

Each row: the photo, the hole, a model of faces shown the whole photo (--whole: what was filled
before photos were routed), the bundled pipeline, and its route. The holes were drawn before
anything was filled, and all are shown. Photos: the examples', and two that scikit-image carries.
"""

import argparse
import importlib.util
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from inpaint_hub import default_pipeline, load_pipeline
from inpaint_hub.crops import bounding_box

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
TILE_PX, LINE_PX = 216, 16
SURROUNDINGS = 1.0  # of the hole's size on each side are shown
# (photo, degrees it is turned by first, ellipses of the hole: left, top, right, bottom in px)
CASES = [
    ("astronaut.png", 0, [(194, 90, 226, 118)]),
    ("astronaut.png", 0, [(200, 128, 252, 160)]),
    ("astronaut.png", 0, [(222, 62, 272, 175)]),
    ("astronaut.png", 30, [(178, 132, 212, 164)]),
    ("face.png", 0, [(55, 65, 115, 110)]),
    ("astronaut.png", 0, [(180, 295, 245, 355)]),
    ("astronaut.png", 0, [(375, 0, 460, 220)]),
    ("astronaut.png", 0, [(140, 20, 310, 230)]),
    ("chelsea.png", 0, [(130, 80, 215, 160)]),
    ("chelsea.png", 0, [(330, 180, 430, 270)]),
    ("coffee.png", 0, [(60, 60, 150, 150)]),
    ("coffee.png", 0, [(400, 230, 520, 330)]),
    ("rocket.jpg", 0, [(300, 60, 345, 330)]),
    ("rocket.jpg", 0, [(430, 40, 560, 160)]),
]


def opened(name):
    """An example, or a photo that scikit-image carries, as RGB."""
    file = EXAMPLES / name
    if not file.is_file():
        package = Path(importlib.util.find_spec("skimage").origin).parent
        file = package / "data" / name
    return Image.open(file).convert("RGB")


def hole_of(size, ellipses):
    mask = Image.new("L", size)
    for box in ellipses:
        ImageDraw.Draw(mask).ellipse(box, fill=255)
    return mask


def row_of(photo, mask, whole, pipe):
    """One line of the sheet as a picture."""
    output = pipe(photo, mask)
    left, top, right, bottom = bounding_box(np.asarray(mask) > 127)
    side = min(int(max(right - left, bottom - top) * (1 + 2 * SURROUNDINGS)), max(photo.size))
    x, y = (left + right - side) // 2, (top + bottom - side) // 2
    x = min(max(x, 0), max(photo.width - side, 0))
    y = min(max(y, 0), max(photo.height - side, 0))
    masked = Image.composite(Image.new("RGB", photo.size, "white"), photo, mask)
    shown = [photo, masked, whole(photo, mask, blend="gp").images[0], output.images[0]]
    row = Image.new("RGB", (TILE_PX * len(shown), TILE_PX + LINE_PX), "white")
    for k, picture in enumerate(shown):
        tile = picture.crop((x, y, x + side, y + side))
        row.paste(tile.resize((TILE_PX, TILE_PX), Image.Resampling.LANCZOS), (k * TILE_PX, 0))
    route = output.routes[0]
    ImageDraw.Draw(row).text((3, TILE_PX + 2), f"{route.route}: {route.reason}", fill="black")
    return row


def sheet(rows, columns=2):
    width, height = rows[0].size
    gap = 8
    lines = -(-len(rows) // columns)
    page = Image.new("RGB", ((width + gap) * columns - gap, height * lines), "white")
    for k, row in enumerate(rows):
        page.paste(row, (k % columns * (width + gap), k // columns * height))
    return page


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", default=str(ROOT / "docs" / "any_photo.jpg"))
    parser.add_argument("--whole", default=str(ROOT / "weights" / "dualpath-faces-128"))
    parser.add_argument("--max_cases", type=int, default=len(CASES))
    arguments = parser.parse_args(argv)
    whole, pipe = load_pipeline(arguments.whole), default_pipeline()
    rows = []
    for name, degrees, ellipses in CASES[: arguments.max_cases]:
        photo = opened(name)
        if degrees:
            photo = photo.rotate(degrees, Image.Resampling.BICUBIC)
        rows.append(row_of(photo, hole_of(photo.size, ellipses), whole, pipe))
        print(f"{len(rows)} of {arguments.max_cases}: {name}")
    sheet(rows).save(arguments.output, quality=85)


if __name__ == "__main__":
    main()
