"""report.html: one file with tables, plots and pictures that opens without a network."""

import base64
import html
import io

import numpy as np
from PIL import Image

from inpaint_hub.evaluation.pairs import masked_picture
from inpaint_hub.evaluation.report import (
    NOT_AVAILABLE,
    arrow,
    badness,
    best_mean,
    metric_columns,
    number,
    remarks,
)

COLORS = ("#1f6feb", "#d1480b", "#2a8a3e", "#8a3fc7", "#b8860b", "#0b8a8f", "#c2256b", "#5b6570")
LOSSLESS_PX = 128  # larger pictures are stored as WebP of quality 90: a report is to be mailed
FULL_SCALE = 0.5  # share of the range at which a difference map is white
WIDTH, LEFT, TOP, INNER, BOTTOM = 372, 54, 12, 158, 30  # of a plot, px
TILTED_BOTTOM = 62  # where the bands' names do not fit side by side

STYLE = """
:root{color-scheme:light}
body{font:15px/1.5 system-ui,sans-serif;color:#1b1f24;background:#fff;
margin:0 auto;max-width:1180px;padding:24px 20px 60px}
h1{font-size:26px;margin:0 0 4px}
h2{font-size:20px;margin:40px 0 10px;border-bottom:1px solid #d8dee4;padding-bottom:4px}
h3{font-size:16px;margin:24px 0 8px}
p,li{max-width:80ch}.quiet{color:#57606a}.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums}
th,td{padding:5px 7px;text-align:right;white-space:nowrap;border-bottom:1px solid #e6eaee}
th{font-weight:600;background:#f6f8fa;vertical-align:bottom;white-space:normal}
th:first-child,td:first-child{text-align:left;position:sticky;left:0;background:#fff}
th:first-child{background:#f6f8fa}
td small{display:block;color:#57606a;font-size:11px}
td.best{font-weight:700}td.best small{font-weight:400}
svg{max-width:100%;height:auto}.plots{display:flex;flex-wrap:wrap;gap:18px 24px}
figure{margin:0}figcaption{font-weight:600;font-size:14px}
.key span{display:inline-flex;align-items:center;gap:6px;margin-right:18px}
.key i{width:12px;height:12px;border-radius:50%;display:inline-block}
.strip td,.strip th{padding:3px 5px;text-align:center;border:0;background:#fff;vertical-align:top}
.strip th{font-size:12px}.strip td:first-child{text-align:left;position:static;padding-top:52px}
.strip img{display:block;width:128px;height:128px;margin:0 auto 3px}
.strip img.small{image-rendering:pixelated}
summary{cursor:pointer;font-weight:600;margin:10px 0 6px}
ul{padding-left:20px}
"""


def page_text(report, names, galleries):
    """The whole page. names: of the methods that fill; galleries: {band: [(heading, rows)]}, see
    gallery_rows."""
    settings, results = report["settings"], report["results"]
    facts = (
        f"{settings['num_images']} pictures at {settings['resolution']} px, seed {settings['seed']}"
    )
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>Inpainting evaluation</title><style>{STYLE}</style></head><body>",
        f'<h1>Inpainting evaluation</h1><p class="quiet">{html.escape(facts)}. All methods filled '
        "the same holes; every metric compares the original with the composite, which has the "
        "original's known pixels.</p>",
        "<h2>Tables</h2>",
        *(_table(band, methods, report) for band, methods in results.items()),
        '<p class="quiet">Mean and 95 % interval over pictures: percentile bootstrap; for fd a '
        "jackknife over groups of pictures. Bold: best mean of the band.</p>",
        _list(remarks(report)),
    ]
    if any(report["paired_differences"].values()):
        parts += [
            f"<h2>Differences to {html.escape(names[0])}, picture by picture</h2>",
            '<p class="quiet">Mean of method minus '
            f"{html.escape(names[0])} over the same pairs; an interval without 0 is bold.</p>",
            *(
                _difference_table(band, methods)
                for band, methods in report["paired_differences"].items()
            ),
        ]
    judged = list(dict.fromkeys(name for methods in results.values() for name in methods))
    parts += ["<h2>Metrics by band</h2>", _key(judged), '<div class="plots">']
    parts += [_plot(metric, results, judged) for metric in metric_columns(results)]
    parts += [
        "</div><h2>Pictures</h2>",
        '<p class="quiet">Of each method its best, median and worst picture by the metric named, '
        "with the other methods on the same pair. Below each fill its difference map: mean "
        f"absolute difference of the channels, from black (0) to white ({FULL_SCALE:.0%} of the "
        "range and more).</p>",
    ]
    for band, galleries_of_band in galleries.items():
        parts.append(f"<h3>{html.escape(band)}</h3>")
        for place, (heading, rows) in enumerate(galleries_of_band):
            opened = "" if place else " open"
            parts.append(f"<details{opened}><summary>{html.escape(heading)}</summary>")
            parts.append(_strip(names, rows) + "</details>")
    return "\n".join([*parts, "</body></html>\n"])


def html_page(report, judged, names):
    """The page of the report, with the pictures of the JudgedBands."""
    galleries = {}
    for band in judged:
        metric = ranking_metric(band.values[names[0]])
        galleries[band.band] = [
            (f"{name}, by {metric}", gallery_rows(band, name, metric, names)) for name in names
        ]
    return page_text(report, names, galleries)


def ranking_metric(values):
    """The perceptual distance where there is one, else PSNR."""
    return next((metric for metric in values if metric.endswith("_distance")), "psnr")


def gallery_rows(judged, ranked, metric, names):
    """[(label, masked, original, [(fill, map, value)] of each method)]: best, median and worst pair
    of the method `ranked`."""
    numbers = np.asarray(judged.values[ranked][metric])
    order = np.argsort(badness(metric, numbers), kind="stable")
    places = {"best": order[0], "median": order[(len(order) - 1) // 2], "worst": order[-1]}
    rows = []
    for label, index in places.items():
        original, mask = judged.pairs[int(index)]
        cells = []
        for name in names:
            fill = judged.picture(name, int(index))
            value = judged.values[name][metric][int(index)]
            cells.append((fill, difference_map(fill, original), value))
        rows.append((f"{label} (pair {index})", masked_picture(original, mask), original, cells))
    return rows


def difference_map(result, original):
    """uint8 [H,W,3]: mean absolute difference of the channels, black to red to yellow to white at
    FULL_SCALE."""
    share = np.abs(result.astype(np.float64) - original).mean(axis=2) / 255 / FULL_SCALE
    bands = [np.clip(3 * share - k, 0, 1) for k in range(3)]
    return np.rint(np.stack(bands, axis=2) * 255).astype(np.uint8)


def _table(band, methods, report):
    metrics = metric_columns(report["results"], report["unavailable"])
    head = "".join(_head(metric) for metric in metrics)
    rows = []
    for method, summary in methods.items():
        cells = "".join(_cell(summary.get(m), best_mean(m, methods)) for m in metrics)
        rows.append(f"<tr><td>{html.escape(method)}</td>{cells}</tr>")
    return _titled(band, f"<tr><th>method</th>{head}</tr>{''.join(rows)}")


def _difference_table(band, methods):
    metrics = metric_columns({band: methods})
    head = "".join(_head(metric) for metric in metrics)
    rows = []
    for method, summary in methods.items():
        cells = []
        for metric in metrics:
            s = summary.get(metric)
            sure = s and (s["low"] > 0 or s["high"] < 0)
            cells.append(_cell(s, s["mean"] if sure else None))
        rows.append(f"<tr><td>{html.escape(method)}</td>{''.join(cells)}</tr>")
    return _titled(band, f"<tr><th>method</th>{head}</tr>{''.join(rows)}")


def _head(metric):
    broken = html.escape(metric).replace("_", "_<wbr>")
    return f"<th>{broken} {arrow(metric)}</th>"


def _titled(band, rows):
    return f'<h3>{html.escape(band)}</h3><div class="wide"><table>{rows}</table></div>'


def _cell(summary, best):
    if summary is None:
        return f"<td>{NOT_AVAILABLE}</td>"
    mean, low, high = summary["mean"], summary["low"], summary["high"]
    interval = ""
    if low is not None:
        interval = f"<small>{number(low, mean)} to {number(high, mean)}</small>"
    kind = ' class="best"' if mean == best else ""
    return f"<td{kind}>{number(mean)}{interval}</td>"


def _list(lines):
    return "<ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in lines) + "</ul>"


def _key(names):
    spans = (
        f'<span><i style="background:{_color(k)}"></i>{html.escape(name)}</span>'
        for k, name in enumerate(names)
    )
    return f'<p class="key">{"".join(spans)}</p>'


def _color(k):
    return COLORS[k % len(COLORS)]


def _plot(metric, results, names):
    """Figure with one dot and its interval for each band and method."""
    points = [
        (place, names.index(method), summary[metric], band, method)
        for place, (band, methods) in enumerate(results.items())
        for method, summary in methods.items()
        if metric in summary
    ]
    ends = [v for _, _, s, *_ in points for v in (s["mean"], s["low"], s["high"]) if v is not None]
    ticks = nice_ticks(min(ends), max(ends))
    low, high = ticks[0], ticks[-1]
    step = (WIDTH - LEFT) / len(results)
    tilted = step < 52
    height = TOP + INNER + (TILTED_BOTTOM if tilted else BOTTOM)

    def y_of(value):
        return TOP + INNER * (high - value) / (high - low)

    parts = []
    for tick in ticks:
        y = y_of(tick)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e6eaee"/>')
        label = f"{tick:.6g}"
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
    spread = min(14, step * 0.8 / len(names))
    for place, band in enumerate(results):
        x = LEFT + step * (place + 0.5)
        spot = f'x="{x:.1f}" y="{TOP + INNER + 18}" text-anchor="middle"'
        if tilted:
            x, y = x + 4, TOP + INNER + 12
            spot = f'transform="translate({x:.1f} {y}) rotate(-45)" text-anchor="end"'
        parts.append(f"<text {spot}>{html.escape(_short(band))}</text>")
    for place, k, s, band, method in points:
        x = LEFT + step * (place + 0.5) + spread * (k - (len(names) - 1) / 2)
        title = f"{method}, {band}: {number(s['mean'])}"
        parts.append(
            f'<g stroke="{_color(k)}" fill="{_color(k)}"><title>{html.escape(title)}</title>'
        )
        if s["low"] is not None:
            y1, y2 = y_of(s["low"]), y_of(s["high"])
            parts.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y1:.1f}" y2="{y2:.1f}" stroke-width="2"/>'
            )
        parts.append(f'<circle cx="{x:.1f}" cy="{y_of(s["mean"]):.1f}" r="4"/></g>')
    return (
        f"<figure><figcaption>{html.escape(metric)} {arrow(metric)}</figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" font-size="11" '
        f'font-family="system-ui,sans-serif" fill="#57606a" role="img">'
        f"{''.join(parts)}</svg></figure>"
    )


def _short(band):
    """What fits below a plot: "hard", "10-30 %", "right 50"."""
    if band.startswith("outpaint-"):
        return band.removeprefix("outpaint-").replace("-", " ")
    return band if band.endswith("%") else band.split()[0]


def nice_ticks(low, high, count=4):
    """Round numbers at equal steps of 1, 2 or 5 times a power of ten around [low, high]."""
    if high - low < 1e-9 * max(abs(high), 1e-9):
        room = abs(high) * 0.1 or 1.0
        low, high = low - room, high + room
    rough = (high - low) / count
    power = 10 ** np.floor(np.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [
        float(k * step) for k in range(int(np.floor(low / step)), int(np.ceil(high / step)) + 1)
    ]


def _strip(names, rows):
    heads = "".join(f"<th>{html.escape(t)}</th>" for t in ("", "masked", "original", *names))
    lines = []
    for label, masked, original, cells in rows:
        line = f"<td>{html.escape(label)}</td><td>{_image(masked)}</td><td>{_image(original)}</td>"
        for fill, difference, value in cells:
            line += f"<td>{_image(fill)}{_image(difference)}{number(value)}</td>"
        lines.append(f"<tr>{line}</tr>")
    return f'<div class="wide"><table class="strip"><tr>{heads}</tr>{"".join(lines)}</table></div>'


def _image(pixels):
    small = max(pixels.shape[:2]) <= LOSSLESS_PX
    buffer = io.BytesIO()
    kind, options = ("PNG", {}) if small else ("WEBP", {"quality": 90})
    Image.fromarray(pixels).save(buffer, kind, **options)
    data = base64.b64encode(buffer.getvalue()).decode()
    css = ' class="small"' if small else ""
    return f'<img{css} alt="" src="data:image/{kind.lower()};base64,{data}">'
