"""The same hole by every method at hand, and where several fills disagree."""

import time
from dataclasses import replace

import numpy as np
from PIL import Image

from inpaint_hub import PSPBlendPipeline
from inpaint_hub.bundled import weights_folder
from inpaint_hub.demo.filling import fill
from inpaint_hub.demo.photos import Refusal, seen
from inpaint_hub.images import read_images

SPREAD_RESULTS = 6
SPREAD_VARIATION = 0.5
# Dark to bright: black, violet, red, orange, light yellow (equal steps of the spread).
HEAT = np.array([(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)])


def psp_with_blending():
    """pSp's own components, behind the pipeline that blends by default."""
    from inpaint_hub import load_pipeline

    return PSPBlendPipeline(**load_pipeline(weights_folder("psp-faces-128")).components)


def method_sources(models):
    """{name: source} for Models, of the methods whose weights are at hand."""
    wanted = {
        "InvertFill": lambda: weights_folder("invertfill-faces-128"),
        "Dual-path": lambda: weights_folder("dualpath-faces-128"),
        "pSp": lambda: weights_folder("psp-faces-128"),
        "pSp + Blend": lambda: psp_with_blending if weights_folder("psp-faces-128") else None,
    }
    found = {}
    for name, source in wanted.items():
        try:
            found[name] = source()
        except FileNotFoundError:
            continue  # an installed package has the default weights alone
    return found


def arms(methods, chosen, chosen_name):
    """[(caption, function that returns a pipeline, changes of the settings)] to compare."""
    rows = []
    rows.append((f"{chosen_name}, photo's texture", lambda: chosen, {"texture": "auto"}))
    rows.append((f"{chosen_name}, no texture", lambda: chosen, {"texture": "none"}))
    for name in methods.names:
        seam = "gp" if name == "pSp + Blend" else "none"
        rows.append((name, lambda name=name: methods.get(name), {"texture": "none", "seam": seam}))
    return rows


def compare(rows, image, hole, settings):
    """Yields (caption, PIL picture) for each arm, then for OpenCV's Telea where it is installed."""
    settings = replace(settings, results=1, variation=0.0)
    for caption, pipeline, changes in rows:
        result = next(fill(pipeline(), image, hole, replace(settings, **changes)))
        yield f"{caption} · {result.seconds:.2f} s", result.image
    try:
        from inpaint_hub.evaluation.classical import telea

        start = time.perf_counter()
        filled = Image.fromarray(telea(np.asarray(seen(image)), hole))
    except ModuleNotFoundError:
        return
    yield f"Telea · {time.perf_counter() - start:.2f} s", filled


def spread_map(pipe, image, hole, settings):
    """(heat map over the grayed photo, mean spread in gray levels, number of results): where
    fills of the same hole differ, the model is guessing.

    The spread is the standard deviation between the results, the mean of R, G and B, in 8-bit
    levels; the brightest color is its 99th percentile in the hole.
    """
    count = max(2, min(SPREAD_RESULTS, int(4 * 12_000_000 / hole.size)))
    settings = replace(settings, results=count, variation=max(settings.variation, SPREAD_VARIATION))
    total = squares = None
    for result in fill(pipe, image, hole, settings):
        pixels = read_images(result.image)[0].pixels[hole].astype(np.float64)
        total = pixels if total is None else total + pixels
        squares = pixels**2 if squares is None else squares + pixels**2
    if total is None:
        raise Refusal("There is no result to compare.")
    spread = np.sqrt(np.maximum(squares / count - (total / count) ** 2, 0)).mean(axis=1)
    top = max(float(np.percentile(spread, 99)), 1e-6)
    gray = np.asarray(seen(image).convert("L"))
    shown = np.repeat((gray // 3 + 150)[..., None], 3, axis=2).astype(np.uint8)
    shown[hole] = heat(np.clip(spread / top, 0, 1))
    return Image.fromarray(shown), float(spread.mean()), top, count


def heat(values):
    """[n] in [0,1] -> uint8 [n,3]."""
    at = values * (len(HEAT) - 1)
    steps = np.arange(len(HEAT))
    return np.stack([np.interp(at, steps, HEAT[:, c]) for c in range(3)], axis=1).astype(np.uint8)
