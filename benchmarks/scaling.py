"""What a fill costs as things grow: batch, resolution, number of holes, photo size.

    python -m benchmarks.scaling [--output scaling.png]

One thing grows at a time; medians after a warm-up, in milliseconds, of the whole call.
"""

import argparse
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from benchmarks import measuring
from benchmarks.inference import ROOT, photo_with_hole, random_pipeline
from inpaint_hub import load_pipeline

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
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--output", type=Path, help="PNG to plot into")
    arguments = parser.parse_args()
    device = torch.device("cuda" if arguments.gpu else "cpu")
    pipe = load_pipeline(arguments.model).to(device).optimize(arguments.engine)
    print(measuring.machine(device))
    print(measuring.table(["what grows", "to", "ms", "ms for each"], []))
    results, each = [], ("pictures", "results", "holes")
    for kind, value, call in measurements(pipe, arguments, device):
        seconds = measuring.clock(call, device, arguments.repeats)
        share = f"{seconds * 1e3 / value:.1f}" if kind in each else ""
        print(f"| {kind} | {value} | {seconds * 1e3:.1f} | {share} |", flush=True)
        results.append((kind, value, seconds))
    if arguments.output:
        plot(results, arguments.output)


if __name__ == "__main__":
    main()
