"""What the judge writes: results.json, table.md, and a grid of pictures for each band."""

import json

import numpy as np
from diffusers.utils import make_image_grid
from PIL import Image

from inpaint_hub.evaluation.metrics import bootstrap_interval

HIGHER_IS_BETTER = {"psnr", "ssim"}


def summarise(values):
    """{metric: {mean, low, high, num_images}} of {metric: [per picture]}, with 95 % intervals."""
    summary = {}
    for metric, numbers in values.items():
        low, high = bootstrap_interval(numbers)
        mean = float(np.mean(numbers))
        summary[metric] = {"mean": mean, "low": low, "high": high, "num_images": len(numbers)}
    return summary


def markdown_table(results):
    """One Markdown table of {band: {method: {metric: summary}}}; a band's best means are bold."""
    first = next(iter(next(iter(results.values())).values()))
    metrics = list(first)
    arrows = ["↑" if m in HIGHER_IS_BETTER else "↓" for m in metrics]
    lines = [
        "| coverage | method | " + " | ".join(f"{m} {a}" for m, a in zip(metrics, arrows)) + " |"
    ]
    lines.append("| --- | --- |" + " --- |" * len(metrics))
    for band, methods in results.items():
        for method, summary in methods.items():
            cells = [_cell(summary, metric, methods) for metric in metrics]
            lines.append(f"| {band} | {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(summary, metric, methods):
    s = summary[metric]
    digits = 2 if abs(s["mean"]) >= 1 else 4
    text = f"{s['mean']:.{digits}f}"
    best = max if metric in HIGHER_IS_BETTER else min
    if s["mean"] == best(m[metric]["mean"] for m in methods.values()):
        text = f"**{text}**"
    return f"{text} [{s['low']:.{digits}f}, {s['high']:.{digits}f}]"


def picture_grid(rows, scale=2):
    """PIL picture of rows of uint8 [s,s,3], each enlarged `scale` times without smoothing."""
    pictures = []
    for pixels in (p for row in rows for p in row):
        picture = Image.fromarray(pixels)
        side = (picture.width * scale, picture.height * scale)
        pictures.append(picture.resize(side, Image.Resampling.NEAREST))
    return make_image_grid(pictures, rows=len(rows), cols=len(rows[0]))


def masked_picture(pixels, mask):
    """uint8 [H,W,3] with the hole, bool [H,W], in grey."""
    shown = pixels.copy()
    shown[mask] = 128
    return shown


def write_report(output_dir, results, settings, grids):
    """Everything at once, after all methods are judged: nothing half-written.

    settings: what was run; grids {band: PIL}.
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    content = {"settings": settings, "results": results}
    (output_dir / "results.json").write_text(json.dumps(content, indent=1) + "\n")
    (output_dir / "table.md").write_text(markdown_table(results))
    for band, grid in grids.items():
        grid.save(output_dir / f"grid-{band.split()[0]}.png")
