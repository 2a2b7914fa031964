"""What the judge writes: results.json, table.md, report.html, and a grid of pictures for each
band."""

import json
import os

import numpy as np
from diffusers.utils import make_image_grid
from PIL import Image

from inpaint_hub.evaluation.metrics import bootstrap_interval

HIGHER_IS_BETTER = ("psnr", "ssim", "diversity")
NEAREST_ONE_IS_BEST = ("seam_ratio", "sharpness_ratio")
NEAREST_ZERO_IS_BEST = ("shift_",)
NOT_AVAILABLE = "n/a"
SECONDS = "seconds_per_image"


def summarize(values):
    """{metric: {mean, low, high, num_images}} of {metric: [per picture]}, with 95 % intervals.

    Time has none: pictures are filled in batches, so that theirs are not independent.
    """
    summary = {}
    for metric, numbers in values.items():
        low, high = (None, None) if metric == SECONDS else bootstrap_interval(numbers)
        mean = float(np.mean(numbers))
        summary[metric] = {"mean": mean, "low": low, "high": high, "num_images": len(numbers)}
    return summary


def paired_differences(values):
    """{method: {metric: summary}} of method minus first method, picture by picture, of {method:
    {metric: [per picture]}}: the first is what all others are compared with."""
    (_, first), *others = values.items()
    return {
        name: summarize(
            {
                metric: np.subtract(columns[metric], first[metric])
                for metric in first
                if metric in columns and metric != SECONDS
            }
        )
        for name, columns in others
    }


def metric_columns(results, unavailable=()):
    """Names of all metrics of {band: {method: {metric: summary}}}; those that nothing here could
    measure, then time, come last."""
    every = [m for methods in results.values() for summary in methods.values() for m in summary]
    measured = list(dict.fromkeys(every))
    last = [SECONDS] if SECONDS in measured else []
    absent = [metric for metric in unavailable if metric not in measured]
    return [metric for metric in measured if metric not in last] + absent + last


def arrow(metric):
    """Which way is better."""
    if metric in NEAREST_ONE_IS_BEST:
        return "→1"
    if metric.startswith(NEAREST_ZERO_IS_BEST):
        return "→0"
    return "↑" if metric.startswith(HIGHER_IS_BETTER) else "↓"


def badness(metric, values):
    """Lower is better: values of a metric, turned so that all metrics agree on that."""
    turned = {"↑": np.negative, "↓": np.array, "→0": np.abs}
    return (turned | {"→1": lambda v: np.abs(np.subtract(v, 1))})[arrow(metric)](values)


def best_mean(metric, methods):
    """The best mean of {method: {metric: summary}}, None where nobody has one."""
    means = [summary[metric]["mean"] for summary in methods.values() if metric in summary]
    return min(means, key=lambda mean: badness(metric, mean), default=None)


def number(value, like=None):
    """Two decimals from 1 on, four below, six below 0.001; as many as `like` would have."""
    size = abs(value if like is None else like)
    digits = 2 if size >= 1 else 4 if size >= 0.001 or size == 0 else 6
    return f"{value:.{digits}f}"


def markdown_table(results, unavailable=()):
    """One Markdown table of {band: {method: {metric: summary}}}; a band's best means are bold."""
    metrics = metric_columns(results, unavailable)
    header = " | ".join(f"{metric} {arrow(metric)}" for metric in metrics)
    lines = [f"| coverage | method | {header} |", "| --- | --- |" + " --- |" * len(metrics)]
    for band, methods in results.items():
        for method, summary in methods.items():
            cells = [_cell(summary, metric, methods) for metric in metrics]
            lines.append(f"| {band} | {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(summary, metric, methods):
    if metric not in summary:
        return NOT_AVAILABLE
    s = summary[metric]
    text = number(s["mean"])
    if s["mean"] == best_mean(metric, methods):
        text = f"**{text}**"
    if s["low"] is None:
        return text
    return f"{text} [{number(s['low'], s['mean'])}, {number(s['high'], s['mean'])}]"


def remarks(report):
    """Lines to read with the tables: coverage, what could not be measured, what looks wrong."""
    lines = list(report["settings"]["coverage"])
    lines += [f"{metric}: not available, {why}" for metric, why in report["unavailable"].items()]
    return lines + report["notes"]


def picture_grid(rows, scale=2):
    """PIL picture of rows of uint8 [s,s,3], each enlarged `scale` times without smoothing."""
    pictures = []
    for pixels in (p for row in rows for p in row):
        picture = Image.fromarray(pixels)
        side = (picture.width * scale, picture.height * scale)
        pictures.append(picture.resize(side, Image.Resampling.NEAREST))
    return make_image_grid(pictures, rows=len(rows), cols=len(rows[0]))


def write_report(output_dir, report, page, grids):
    """Everything at once, after all methods are judged, each file whole or not at all.

    report: settings, results, unavailable, notes and more, as results.json holds it. page: the text
    of report.html. grids: {band's folder name: PIL}.
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    table = markdown_table(report["results"], report["unavailable"])
    table += "".join(f"\n- {line}" for line in remarks(report)) + "\n"
    texts = {"results.json": json.dumps(report, indent=1) + "\n", "table.md": table}
    for name, text in (texts | {"report.html": page}).items():
        _replace(output_dir / name, lambda path, text=text: path.write_text(text, "utf-8"))
    for band, grid in grids.items():
        _replace(output_dir / f"grid-{band}.png", grid.save)


def _replace(path, write):
    partial = path.with_name(f".partial-{path.name}")
    write(partial)
    os.replace(partial, path)
