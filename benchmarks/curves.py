"""Draw the curves of training runs: python -m benchmarks.curves RUN [RUN ...] --output curves.png

One panel for each term that --terms names; one line for each run, from its logs/metrics.jsonl.
"""

import argparse
import json
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402


def read_log(run):
    """{term: (steps, values)} of one run."""
    terms = {}
    with (Path(run) / "logs" / "metrics.jsonl").open() as lines:
        for line in lines:
            entry = json.loads(line)
            step = entry.pop("step")
            for name, value in entry.items():
                terms.setdefault(name, []).append((step, value))
    return {name: np.array(pairs).T for name, pairs in terms.items()}


def smoothed(values, window):
    """Mean over the last `window` values."""
    sums = np.cumsum(np.insert(values, 0, 0.0))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - window, 0)
    return (sums[ends] - sums[starts]) / (ends - starts)


def draw(runs, terms, window, path):
    """runs: {label: {term: (steps, values)}}."""
    figure, panels = plt.subplots(1, len(terms), figsize=(4 * len(terms), 3), squeeze=False)
    for panel, term in zip(panels[0], terms):
        for number, log in enumerate(runs.values()):
            if term in log:
                steps, values = log[term]
                panel.plot(steps, smoothed(values, window), f"C{number}", lw=1.2)
        panel.set_title(term, fontsize=9)
        panel.set_xlabel("step", fontsize=8)
        panel.tick_params(labelsize=8)
        panel.grid(alpha=0.3)
    handles = [plt.Line2D([], [], color=f"C{i}", label=label) for i, label in enumerate(runs)]
    panels[0][-1].legend(handles=handles, fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", nargs="+", help="folders that train_accelerate.py wrote")
    parser.add_argument("--terms", nargs="+", required=True)
    parser.add_argument("--window", type=int, default=10, help="log lines averaged into a point")
    parser.add_argument("--output", default="curves.png")
    arguments = parser.parse_args()
    logs = {Path(run).name: read_log(run) for run in arguments.runs}
    known = sorted(set().union(*logs.values()))
    if unknown := [term for term in arguments.terms if term not in known]:
        parser.error(f"--terms {unknown} are in no log; there are {known}")
    draw(logs, arguments.terms, arguments.window, arguments.output)


if __name__ == "__main__":
    main()
