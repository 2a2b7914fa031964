"""Means and 95 % intervals over pictures and seeds of what the evaluation judged."""

import math

import numpy as np
from scipy.stats import t as student_t

from benchmarks.measuring import table
from inpaint_hub.evaluation.report import SECONDS, number, summarize


def with_intervals(means, halves):
    """{arm: {mean, low, high, seeds}} of {arm: [mean of each seed]} and {arm: half of the interval
    over pictures, NaN if unknown}.

    The seeds' share is Student's t on their variance, pooled over the arms since two or three
    seeds of one arm say little; both shares are added in quadrature.
    """
    count, seeds_half = len(next(iter(means.values()))), 0.0
    if count > 1:
        variance = np.mean([np.var(values, ddof=1) for values in means.values()])
        seeds_half = student_t.ppf(0.975, len(means) * (count - 1)) * math.sqrt(variance / count)
    summaries = {}
    for arm, values in means.items():
        mean, half = float(np.mean(values)), float(math.hypot(halves[arm], seeds_half))
        low, high = (None, None) if math.isnan(half) else (mean - half, mean + half)
        seeds = [float(value) for value in values]
        summaries[arm] = {"mean": mean, "low": low, "high": high, "seeds": seeds}
    return summaries


def half_width(summary):
    """The longer side of an interval: the Frechet distance's is cut off at 0."""
    if summary["low"] is None:
        return math.nan
    return max(summary["high"] - summary["mean"], summary["mean"] - summary["low"])


def of_pictures(columns):
    """with_intervals of {arm: values [seeds, pictures]}; the pictures are the same for all
    seeds."""
    halves = {arm: half_width(summarize({"": c.mean(0)})[""]) for arm, c in columns.items()}
    return with_intervals({arm: c.mean(1) for arm, c in columns.items()}, halves)


def of_sets(runs):
    """with_intervals of {arm: [summary of each seed]}, for metrics of all pictures together."""
    halves = {arm: np.mean([half_width(s) for s in own]) for arm, own in runs.items()}
    return with_intervals({arm: [s["mean"] for s in own] for arm, own in runs.items()}, halves)


def over_seeds(band, names, whole):
    """(results, differences to the arm `whole`), each {arm: {metric: summary}}, of a JudgedBand.

    names: {arm: [its runs' names, by seed]}. Differences are taken on the same picture and seed;
    metrics of all pictures together have none.
    """
    results, differences = {arm: {} for arm in names}, {arm: {} for arm in names if arm != whole}
    for metric in band.results[names[whole][0]]:
        if metric == SECONDS:
            continue
        if metric in band.values[names[whole][0]]:
            columns = {a: np.array([band.values[n][metric] for n in o]) for a, o in names.items()}
            summaries = of_pictures(columns)
            gaps = of_pictures({arm: columns[arm] - columns[whole] for arm in differences})
            for arm, gap in gaps.items():
                differences[arm][metric] = gap
        else:
            summaries = of_sets({a: [band.results[n][metric] for n in o] for a, o in names.items()})
        for arm, summary in summaries.items():
            results[arm][metric] = summary
    return results, differences


def difference_table(differences):
    """Markdown of {band: {arm: {metric: summary}}}; what may be chance, 0 being inside, is in
    brackets."""
    rows = []
    for band, arms in differences.items():
        for arm, summary in arms.items():
            cells = []
            for s in summary.values():
                half = s["high"] - s["mean"]
                text = f"{number(s['mean'])} ± {number(half, s['mean'])}"
                cells.append(f"({text})" if abs(s["mean"]) <= half else text)
            rows.append([band, arm, *cells])
    return table(["coverage", "arm", *summary], rows)
