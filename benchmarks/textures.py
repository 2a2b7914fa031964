"""What each texture makes of the same holes, side by side.

    python -m benchmarks.textures [--output docs/textures.jpg]

Photos: those of examples/. Columns: the hole, the network's fill, detail, unguided copies, patches,
auto.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.inference import ROOT
from inpaint_hub import default_pipeline
from inpaint_hub.texture import copied

HEIGHT_PX = 200  # of a row
# file, longest side in px, [(shape, left, top, right, bottom in shares of the sides)]
CASES = (
    ("rocket.jpg", 640, [("rectangle", 0.26, 0.25, 0.34, 0.88)]),
    ("chelsea.png", 451, [("ellipse", 0.72, 0.5, 0.92, 0.8)]),
    ("astronaut.png", 512, [("ellipse", 0.36, 0.18, 0.54, 0.28)]),
)


def case(file, longest, shapes):
    """(photo, mask, uint8 of the photo with the hole in violet)."""
    photo = Image.open(file).convert("RGB")
    photo.thumbnail((longest, longest))
    mask = Image.new("L", photo.size)
    for shape, *corners in shapes:
        sides = (*photo.size, *photo.size)
        getattr(ImageDraw.Draw(mask), shape)([c * n for c, n in zip(corners, sides)], fill=255)
    shown = np.array(photo)
    shown[np.asarray(mask) > 0] = (200, 0, 200)
    return photo, mask, shown


def row_of(pipe, photo, mask, shown):
    """(PIL picture of all textures, the choices)."""
    hole = np.asarray(mask) > 0
    pixels = np.where(hole[..., None], 0, np.asarray(photo)).astype(np.uint8)
    made = {t: pipe(photo, mask, texture=t) for t in ("none", "detail", "patches", "auto")}
    pictures = {name: np.asarray(result.images[0]) for name, result in made.items()}
    columns = [shown, pictures["none"], pictures["detail"], copied(pixels, hole, hole)]
    columns += [pictures["patches"], pictures["auto"]]
    rows, across = np.nonzero(hole)
    reach = int(0.8 * max(np.ptp(rows), np.ptp(across)))  # shown around the hole
    part = np.s_[
        max(rows.min() - reach, 0) : rows.max() + reach,
        max(across.min() - reach, 0) : across.max() + reach,
    ]
    whole = np.concatenate([np.pad(c[part], ((0, 0), (0, 4), (0, 0)), constant_values=255)
                            for c in columns], axis=1)  # fmt: skip
    height, width = whole.shape[:2]
    size = round(width * HEIGHT_PX / height), HEIGHT_PX
    return Image.fromarray(whole).resize(size, Image.Resampling.LANCZOS), made["auto"].textures


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "textures.jpg")
    arguments = parser.parse_args()
    pipe, rows = default_pipeline(), []
    for name, longest, shapes in CASES:
        picture, choices = row_of(pipe, *case(ROOT / "examples" / name, longest, shapes))
        print(name, choices, flush=True)
        rows.append(picture)
    sheet = Image.new("RGB", (max(r.width for r in rows), (HEIGHT_PX + 6) * len(rows)), "white")
    for i, row in enumerate(rows):
        sheet.paste(row, (0, i * (HEIGHT_PX + 6)))
    sheet.save(arguments.output, quality=85)


if __name__ == "__main__":
    main()
