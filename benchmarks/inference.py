"""Time to fill a hole, stage by stage, on this machine: medians over repeats after a warm-up.

    python -m benchmarks.inference [--model weights/invertfill-faces-64] [--sizes 256 512 2048]

Run it with nothing else running.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from inpaint_hub import load_pipeline

ROOT = Path(__file__).parent.parent
STAGES = ("preprocess", "encode", "generate", "composite")


def stage_seconds(pipe, photo, mask):
    """{stage: seconds} of one fill."""
    marks = [time.perf_counter()]

    def mark(value):
        marks.append(time.perf_counter())
        return value

    prepared = mark(pipe.preprocess(photo, mask))
    seen = prepared.masked(slice(None))
    latent = mark(pipe.encode(*seen))
    rendered = mark(pipe.render(latent, *seen))
    mark(pipe.composite(prepared, rendered["generated"]))
    return dict(zip(STAGES, np.diff(marks).tolist()))


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=str(ROOT / "weights" / "invertfill-faces-64"))
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 2048])
    parser.add_argument("--repeats", type=int, default=20)
    arguments = parser.parse_args()
    start = time.perf_counter()
    pipe = load_pipeline(arguments.model)
    print(
        f"loading: {(time.perf_counter() - start) * 1e3:.0f} ms; {torch.get_num_threads()} threads"
    )
    print("| photo | " + " | ".join(STAGES) + " | whole, ms |")
    print("| --- |" + " --- |" * (len(STAGES) + 1))
    for size in arguments.sizes:
        rng = np.random.default_rng(0)
        photo = Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8))
        hole = np.zeros((size, size), bool)
        hole[size // 4 : size // 2, size // 4 : 3 * size // 4] = True
        stage_seconds(pipe, photo, hole)  # warm-up
        runs = [stage_seconds(pipe, photo, hole) for _ in range(arguments.repeats)]
        medians = [statistics.median(run[stage] for run in runs) * 1e3 for stage in STAGES]
        whole = statistics.median(sum(run.values()) for run in runs) * 1e3
        cells = " | ".join(f"{m:.1f}" for m in medians)
        print(f"| {size} x {size} | {cells} | {whole:.1f} |")


if __name__ == "__main__":
    main()
