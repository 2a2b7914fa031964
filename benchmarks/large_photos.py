"""What holes in a large photo cost, and which part of it what.

    python -m benchmarks.large_photos [--width 4000 --height 3000 --hole_px 100]
    python -m benchmarks.large_photos --holes large scratch --repeats 1

The examples enlarged, by the bundled pipeline as the demo calls it: median milliseconds of the
whole call after a warm-up, and within it of finding faces, of the drafts, of the shift map, of the
unled copies made beside it, and of mixing both with the network's fill.
"""

import argparse
import statistics
import time
from collections import defaultdict

import torch
from PIL import Image, ImageDraw

from benchmarks import measuring
from benchmarks.inference import ROOT
from inpaint_hub import default_pipeline
from inpaint_hub.pipelines import routes
from inpaint_hub.texture import curation

PHOTOS = ("astronaut.png", "chelsea.png", "face.png", "rocket.jpg")
HOLES = {  # left, top in shares of the photo
    "small": ((0.75, 0.83), (0.18, 0.47)),
    "large": ((0.55, 0.27),),  # half of the photo's height a side
    "scratch": ((0.025, 0.067),),  # from there to the other corner, a hundredth of the width wide
}
PARTS = {
    "finding faces": (routes, "find_faces"),
    "drafts": (curation, "copied_by_each"),
    "shift map": (curation, "shifted"),
    "unled copies": (curation, "_unled_copies"),
    "mixing": (curation, "mixed"),
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


def hole_of(kind, left, top, arguments):
    """An L picture, white where the hole of this kind (of HOLES) is."""
    width, height = arguments.width, arguments.height
    hole = Image.new("L", (width, height))
    draw = ImageDraw.Draw(hole)
    if kind == "scratch":
        ends = [(left, top), (width - left, height - top)]
        draw.line(ends, fill=255, width=max(width // 100, 1))
    else:
        side = arguments.hole_px if kind == "small" else height // 2
        draw.rectangle([left, top, left + side - 1, top + side - 1], fill=255)
    return hole


def build_parser():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--width", type=int, default=4000, help="px (default: %(default)s)")
    parser.add_argument("--height", type=int, default=3000, help="px (default: %(default)s)")
    parser.add_argument("--hole_px", type=int, default=100, help="side (default: %(default)s)")
    parser.add_argument("--holes", nargs="+", choices=HOLES, default=["small"])
    parser.add_argument("--repeats", type=int, default=5, help="of each (default: %(default)s)")
    return parser


def main(argv=None):
    arguments = build_parser().parse_args(argv)
    pipe = default_pipeline()
    pipe.set_progress_bar_config(disable=True)
    size, rows = (arguments.width, arguments.height), []
    holes = [(kind, *place) for kind in arguments.holes for place in HOLES[kind]]
    for name in PHOTOS:
        photo = Image.open(ROOT / "examples" / name).convert("RGB")
        photo = photo.resize(size, Image.Resampling.BICUBIC)
        for kind, x, y in holes:
            left, top = round(x * arguments.width), round(y * arguments.height)
            hole = hole_of(kind, left, top, arguments)
            route, choice, ms = measured(pipe, photo, hole, arguments.repeats)
            place = f"{kind}, {left}, {top}"
            rows.append([name, place, route.route, choice, *(f"{v:.0f}" for v in ms.values())])
    print(measuring.machine(torch.device("cpu")))
    print(measuring.table(["photo", "hole", "model", "fill", "ms", *PARTS], rows))


if __name__ == "__main__":
    main()
