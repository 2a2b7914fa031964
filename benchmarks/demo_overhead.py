"""What the page adds to a fill: CPU seconds of everything but the pipeline, by photo size.

python -m benchmarks.demo_overhead
"""

import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from inpaint_hub.demo.photos import (
    Visit,
    accept,
    data_url,
    mask_from_url,
    opened,
    preview_url,
    write_result,
)

SIZES = ((1155, 866), (4000, 3000))


def photo_of(size):
    """A picture with the detail of a photo: smooth at large, noise at small scale."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(small).resize(size, Image.Resampling.BICUBIC), np.int16)
    noise = rng.normal(0, 4, smooth.shape).astype(np.int16)
    return Image.fromarray(np.clip(smooth + noise, 0, 255).astype(np.uint8))


def timed(rows, name, function, *arguments, **options):
    start = time.process_time()
    value = function(*arguments, **options)
    rows.append((name, time.process_time() - start))
    return value


def main():
    for size in SIZES:
        rows = []
        with tempfile.TemporaryDirectory() as folder:
            visit = Visit(folder)
            path = Path(folder) / "photo.jpg"
            photo_of(size).save(path, quality=92)
            drawn = [max(1, round(side * min(1, 2048 / max(size)))) for side in size]
            mask = Image.new("RGBA", drawn)
            mask.paste((255, 23, 68, 255), (9, 9, drawn[0] // 4, drawn[1] // 4))
            url = data_url(mask, "PNG")
            photo, image = timed(rows, "upload: read, copy", accept, visit, path, "photo.jpg")
            timed(rows, "upload: preview", preview_url, image)
            timed(rows, "fill: mask", mask_from_url, url, photo.size)
            image = timed(rows, "fill: read", opened, photo.path)
            timed(rows, "fill: write", write_result, image, visit, "photo_filled", {"seed": 0})
        print(f"{size[0]} x {size[1]} px")
        for name, seconds in rows:
            print(f"  {name:<22} {seconds:.2f} s")
        added = sum(seconds for name, seconds in rows if name.startswith("fill"))
        print(f"  {'added to a fill':<22} {added:.2f} s")


if __name__ == "__main__":
    main()
