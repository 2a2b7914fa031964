"""What a small hole in a large photo costs, and which part of it what.

    python -m benchmarks.large_photos [--width 4000 --height 3000 --hole_px 100]

The examples enlarged, by the bundled pipeline as the demo calls it: median milliseconds of the
whole call after a warm-up, and within it of finding faces, of the drafts and of the last copy.
"""

import argparse
import statistics
import time
from collections import defaultdict

import numpy as np
import torch
from PIL import Image

from benchmarks import measuring
from benchmarks.inference import ROOT
from inpaint_hub import default_pipeline
from inpaint_hub.pipelines import routes
from inpaint_hub.texture import curation

PHOTOS = ("astronaut.png", "chelsea.png", "face.png", "rocket.jpg")
CORNERS = ((0.75, 0.83), (0.18, 0.47))  # left, top of the hole in shares of the photo
PARTS = {
    "finding faces": (routes, "find_faces"),
    "drafts": (curation, "copied_by_each"),
    "copy": (curation, "copied"),
}


class Stopwatch:
    """Seconds of every call of the functions of PARTS while it is entered."""

    def __enter__(self):
        self.seconds = defaultdict(list)
        self.kept = {name: getattr(*place) for name, place in PARTS.items()}
        for name, (module, attribute) in PARTS.items():
            setattr(module, attribute, self.timed(name))
        return self

    def timed(self, name):
        def call(*args, **kwargs):
            start = time.perf_counter()
            try:
                return self.kept[name](*args, **kwargs)
            finally:
                self.seconds[name].append(time.perf_counter() - start)

        return call

    def __exit__(self, *_):
        for name, (module, attribute) in PARTS.items():
            setattr(module, attribute, self.kept[name])


def measured(pipe, photo, hole, repeats):
    """(Route, choice, {part: median ms of one call}); "whole" is the call itself."""
    pipe(photo, hole)
    runs = defaultdict(list)
    for _ in range(repeats):
        with Stopwatch() as watch:
            start = time.perf_counter()
            result = pipe(photo, hole)
            runs["whole"].append(time.perf_counter() - start)
        for name in PARTS:
            runs[name].append(sum(watch.seconds[name]))
    choice = result.textures[0][0][0] if result.textures[0] else "none"
    return result.routes[0], choice, {k: 1e3 * statistics.median(v) for k, v in runs.items()}


def build_parser():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--width", type=int, default=4000, help="px (default: %(default)s)")
    parser.add_argument("--height", type=int, default=3000, help="px (default: %(default)s)")
    parser.add_argument("--hole_px", type=int, default=100, help="side (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="of each (default: %(default)s)")
    return parser


def main(argv=None):
    arguments = build_parser().parse_args(argv)
    pipe = default_pipeline()
    pipe.set_progress_bar_config(disable=True)
    size, rows = (arguments.width, arguments.height), []
    for name in PHOTOS:
        photo = Image.open(ROOT / "examples" / name).convert("RGB")
        photo = photo.resize(size, Image.Resampling.BICUBIC)
        for x, y in CORNERS:
            hole = np.zeros((arguments.height, arguments.width), np.uint8)
            left, top = round(x * arguments.width), round(y * arguments.height)
            hole[top : top + arguments.hole_px, left : left + arguments.hole_px] = 255
            route, choice, ms = measured(pipe, photo, Image.fromarray(hole), arguments.repeats)
            place = f"{left}, {top}"
            rows.append([name, place, route.route, choice, *(f"{v:.0f}" for v in ms.values())])
    print(measuring.machine(torch.device("cpu")))
    print(measuring.table(["photo", "hole at", "model", "fill", "ms", *PARTS], rows))


if __name__ == "__main__":
    main()
