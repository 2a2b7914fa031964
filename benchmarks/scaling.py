"""What a fill costs as things grow: batch, resolution, number of holes, photo size, textured holes.

    python -m benchmarks.scaling [--output scaling.png]

One thing grows at a time; medians after a warm-up, in milliseconds, of the whole call, and
the process' highest memory during one more.
"""

import argparse
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image

from benchmarks import measuring
from benchmarks.inference import ROOT, photo_with_hole, random_pipeline
from inpaint_hub import load_pipeline
from inpaint_hub.texture import copied

NETWORKS = SimpleNamespace(channel_base=8192, backbone="small", backbone_width=32)


def photo_with_holes(size, count, hole_px=24):
    """A photo with `count` separate square holes on a grid."""
    photo, _ = photo_with_hole(size)
    mask = np.zeros((size, size), bool)
    side = int(np.ceil(np.sqrt(count)))
    step = size // side
    for i in range(count):
        top, left = (i // side) * step + 4, (i % side) * step + 4
        mask[top : top + hole_px, left : left + hole_px] = True
    return photo, mask


def textured_photo(side, hole_px):
    """A smooth photo with grain and one square hole of `hole_px` in its middle."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(40, 216, (12, 12, 3), dtype=np.uint8)
    smooth = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
    grain = rng.integers(-20, 21, (side, side, 3))
    pixels = np.clip(np.asarray(smooth) + grain, 0, 255).astype(np.uint8)
    mask = np.zeros((side, side), bool)
    first = (side - hole_px) // 2
    mask[first : first + hole_px, first : first + hole_px] = True
    return Image.fromarray(pixels), mask


def textures(pipe, arguments):
    """As measurements: holes of a photo of one megapixel by their share of it, beside the engine
    alone, which knows no crops; then a hole of 100 px in ever larger photos."""
    for percent in arguments.hole_percent:
        photo, mask = textured_photo(1024, round(1024 * (percent / 100) ** 0.5))
        for texture in ("none", "detail", "patches"):
            yield (
                f"hole % of 1 MP, {texture}",
                percent,
                (lambda p=photo, m=mask, t=texture: pipe(p, m, context=1.0, texture=t)),
            )
        pixels = np.asarray(photo)
        yield "hole % of 1 MP, PyPatchMatch", percent, lambda p=pixels, m=mask: copied(p, m, m)
    for side in arguments.textured_photos:
        photo, mask = textured_photo(side, 100)
        yield (
            "photo px, patches in 100 px",
            side,
            (lambda p=photo, m=mask: pipe(p, m, context=1.0, texture="patches")),
        )


def measurements(pipe, arguments, device):
    """(what grows, its value, what is called)."""
    size = pipe.resolution
    for batch in arguments.batches:
        photos, holes = (list(x) for x in zip(*(photo_with_hole(size, i) for i in range(batch))))
        yield "pictures", batch, lambda p=photos, h=holes: pipe(p, h)
    for samples in arguments.batches:
        inputs = photo_with_hole(size)
        yield "results", samples, lambda i=inputs, n=samples: pipe(*i, num_images_per_prompt=n)
    for resolution in arguments.resolutions:
        other = random_pipeline(resolution, NETWORKS).to(device).optimize(arguments.engine)
        inputs = photo_with_hole(resolution)
        yield "network px", resolution, lambda o=other, i=inputs: o(*i)
    for count in arguments.holes:
        inputs = photo_with_holes(1024, count)
        yield "holes", count, lambda i=inputs: pipe(*i, padding_mask_crop=8)
    for side in arguments.photos:
        inputs = photo_with_hole(side)
        yield "photo px, whole", side, lambda i=inputs: pipe(*i)
        inputs = photo_with_holes(side, 1)
        yield "photo px, crop", side, lambda i=inputs: pipe(*i, padding_mask_crop=32)
    yield from textures(pipe, arguments)


def plot(results, file):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    kinds = list(dict.fromkeys(kind for kind, *_ in results))
    figure, axes = pyplot.subplots(2, -(-len(kinds) // 2), figsize=(12, 7))
    for axis in axes.flat[len(kinds) :]:
        axis.remove()
    for axis, kind in zip(axes.flat, kinds):
        points = [(value, seconds * 1e3) for k, value, seconds in results if k == kind]
        axis.plot(*zip(*points), marker="o")
        axis.set(xlabel=kind, ylabel="ms")
        measuring.logarithmic(axis, [value for value, _ in points])
    figure.tight_layout()
    figure.savefig(file, dpi=110)


@torch.inference_mode()
def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=str(ROOT / "weights" / "invertfill-faces-64"))
    parser.add_argument("--engine", default="eager", choices=("eager", "compile", "openvino"))
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--resolutions", type=int, nargs="+", default=[64, 128, 256, 512])
    parser.add_argument("--holes", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--photos", type=int, nargs="+", default=[256, 512, 1024, 2048, 3464])
    parser.add_argument("--hole_percent", type=int, nargs="*", default=[1, 5, 20])
    parser.add_argument("--textured_photos", type=int, nargs="*", default=[512, 1024, 3464])
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--output", type=Path, help="PNG to plot into")
    arguments = parser.parse_args()
    device = torch.device("cuda" if arguments.gpu else "cpu")
    pipe = load_pipeline(arguments.model).to(device).optimize(arguments.engine)
    print(measuring.machine(device))
    print(measuring.table(["what grows", "to", "ms", "ms for each", "MB"], []))
    results, each = [], ("pictures", "results", "holes")
    for kind, value, call in measurements(pipe, arguments, device):
        seconds = measuring.clock(call, device, arguments.repeats)
        share = f"{seconds * 1e3 / value:.1f}" if kind in each else ""
        memory = measuring.peak_bytes(call, device) / 1e6
        cells = kind, value, f"{seconds * 1e3:.1f}", share, f"{memory:.0f}"
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)
        results.append((kind, value, seconds))
    if arguments.output:
        plot(results, arguments.output)


if __name__ == "__main__":
    main()
