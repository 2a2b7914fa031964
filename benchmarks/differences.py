"""Two methods of one report, picture by picture: which differences are more than chance.

    python -m benchmarks.differences report dualpath-gp:psp-blend invertfill-paper:telea

prints a row for every pair and band: the mean of first minus second over the same image-mask pairs
and its 95 % interval; in brackets where the interval holds 0, a tie. `report` is the --output of
python -m inpaint_hub.evaluation.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from inpaint_hub.evaluation.ledger import Ledger
from inpaint_hub.evaluation.metrics import bootstrap_interval
from inpaint_hub.evaluation.report import number

METRICS = ("psnr", "ssim", "l1_percent")


def measured(folder):
    """{(band, method): {index: values}} of a report's per_image.jsonl.

    Raises: FileNotFoundError where there is none.
    """
    path = Path(folder) / "per_image.jsonl"
    if not path.is_file():
        raise FileNotFoundError(
            f"{str(path)!r} does not exist; expected the --output folder of an evaluation"
        )
    found = {}
    for record in Ledger(path).records.values():
        if "values" in record:
            rows = found.setdefault((record["band"], record["method"]), {})
            rows[record["index"]] = record["values"]
    return found


def difference(first, second, metric):
    """(mean, low, high) of first minus second, {index: values} each, over the indices of both."""
    both = sorted(set(first) & set(second))
    values = [first[i][metric] - second[i][metric] for i in both]
    return float(np.mean(values)), *bootstrap_interval(values)


def cell(mean, low, high):
    """ "-0.19 [-0.42, 0.04]", in brackets where it is a tie."""
    text = f"{number(mean)} [{number(low, mean)}, {number(high, mean)}]"
    return f"({text})" if low <= 0 <= high else text


def table(found, pairs):
    """Markdown of the differences of (first, second) names in every band that has both.

    Raises: ValueError for a pair that no band has.
    """
    bands = list(dict.fromkeys(band for band, _ in found))
    names = {m for values in found.values() for v in values.values() for m in v}
    metrics = [*METRICS, *sorted(m for m in names if m.endswith("_distance"))]
    lines = [f"| first - second | band | n | {' | '.join(metrics)} |"]
    lines += ["| --- | --- | --- |" + " --- |" * len(metrics)]
    for first, second in pairs:
        both = [b for b in bands if (b, first) in found and (b, second) in found]
        if not both:
            methods = sorted({method for _, method in found})
            raise ValueError(f"{first}:{second} is in no band together; there are {methods}")
        for band in both:
            a, b = found[band, first], found[band, second]
            cells = " | ".join(cell(*difference(a, b, metric)) for metric in metrics)
            lines.append(f"| {first} - {second} | {band} | {len(set(a) & set(b))} | {cells} |")
    return "\n".join(lines)


def main(argv=None):
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.differences",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("report", help="--output folder of an evaluation")
    parser.add_argument("pairs", nargs="+", metavar="FIRST:SECOND", help="names of two methods")
    arguments = parser.parse_args(argv)
    try:
        pairs = [tuple(text.split(":")) for text in arguments.pairs]
        if any(len(pair) != 2 for pair in pairs):
            raise ValueError(f"pairs are {arguments.pairs}, expected FIRST:SECOND each")
        print(table(measured(arguments.report), pairs))
    except (OSError, ValueError) as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
