"""From nothing to the first fill: whole processes that import, load, fill once and end.

    python -m benchmarks.cold_start [--model weights/invertfill-faces-64] [--repeats 5]

Each process runs one more step than the one above it. The first of all is discarded: it reads from
the disk what the others find in memory.
"""

import argparse
import statistics
import subprocess
import sys
import time

from benchmarks import measuring
from benchmarks.inference import ROOT

IMPORT_TORCH = "import torch"
IMPORT = IMPORT_TORCH + "\nfrom inpaint_hub import load_pipeline\nload_pipeline"
LOAD = IMPORT + "\npipe = load_pipeline({model!r})"
INPUTS = (
    "\nimport numpy as np\nfrom PIL import Image"
    "\nphoto, hole = Image.new('RGB', (256, 256)), np.eye(256, dtype=bool)"
)
STEPS = {
    "python alone": "",
    "import torch": IMPORT_TORCH,
    "import the pipelines": IMPORT,
    "from_pretrained": LOAD,
    "first fill": LOAD + INPUTS + "\npipe(photo, hole)",
    "optimize, first fill": LOAD + INPUTS + "\npipe.optimize()(photo, hole)",
    "optimize, ten fills": LOAD
    + INPUTS
    + "\npipe.optimize()\nfor _ in range(10): pipe(photo, hole)",
}


def process_seconds(code):
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=str(ROOT / "weights" / "invertfill-faces-64"))
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    rows = []
    for name, code in STEPS.items():
        code = code.format(model=arguments.model)
        runs = [process_seconds(code) for _ in range(arguments.repeats + 1)][1:]
        rows.append([name, f"{statistics.median(runs):.2f}", f"{min(runs):.2f}"])
    print(measuring.table(["the process ends after", "median, s", "least, s"], rows))


if __name__ == "__main__":
    main()
