"""python -m inpaint_hub.evaluation: judge pipelines on the same pairs, band by band."""

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from inpaint_hub.data import ImageDataset
from inpaint_hub.evaluation.feature_network import FeatureNetwork
from inpaint_hub.evaluation.metrics import cosine_distance, l1_percent, psnr, ssim
from inpaint_hub.evaluation.pairs import EvaluationPairs, parse_band
from inpaint_hub.evaluation.report import (
    masked_picture,
    picture_grid,
    summarise,
    write_report,
)
from inpaint_hub.pipelines import load_pipeline

TELEA_RADIUS_PX = 3


def positive(text):
    """Positive int of a flag's text."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} given, expected at least 1")
    return number


def build_parser():
    parser = argparse.ArgumentParser(prog="python -m inpaint_hub.evaluation", description=__doc__)
    parser.add_argument(
        "--pipelines", nargs="*", default=[], help="folders or Hub ids of pipelines"
    )
    parser.add_argument("--telea", action="store_true", help="also judge OpenCV's Telea (2004)")
    parser.add_argument("--data_dir", required=True, help="folder of pictures or of parquet files")
    parser.add_argument("--split", default="validation", choices=["train", "validation"])
    parser.add_argument(
        "--bands", nargs="+", default=["10-30", "30-60", "60-90"], help="coverage in %%"
    )
    parser.add_argument(
        "--perceptual_network", help="JSON file of a feature network (cosine distance)"
    )
    parser.add_argument(
        "--resolution", type=positive, help="side in px; that of the first pipeline if not given"
    )
    parser.add_argument("--max_images", type=positive, help="judge only the first so many pictures")
    parser.add_argument("--batch_size", type=positive, default=50)
    parser.add_argument(
        "--num_grid_images", type=positive, default=8, help="first pictures shown in the grids"
    )
    parser.add_argument("--seed", type=int, default=0, help="draws the masks")
    parser.add_argument(
        "--output", required=True, help="folder for results.json, table.md, grid-*.png"
    )
    return parser


def telea(pixels, mask):
    """OpenCV's fast-marching inpainting (Telea, 2004) of uint8 [H,W,3] in the hole, bool [H,W].

    Raises: ModuleNotFoundError without OpenCV.
    """
    try:
        import cv2
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "OpenCV is not installed; --telea fills with it; pip install -r requirements-dev.txt"
        ) from error

    return cv2.inpaint(pixels, mask.astype(np.uint8) * 255, TELEA_RADIUS_PX, cv2.INPAINT_TELEA)


def pipeline_method(pipe):
    """Function of lists of uint8 [s,s,3] and bool [s,s]: the pipeline's uint8 composites."""

    def fill(pictures, masks):
        images = [Image.fromarray(p) for p in pictures]
        holes = [Image.fromarray(m.astype(np.uint8) * 255) for m in masks]
        return [np.asarray(image) for image in pipe(images, holes).images]

    return fill


def distinct_names(paths):
    """Shortest endings that tell the paths apart: a/psp, b/psp; psp alone if nothing else is so.

    Raises: ValueError where one path is given twice.
    """
    parts = [
        Path(path).absolute().parts if Path(path).is_dir() else path.split("/") for path in paths
    ]
    for depth in range(1, max(map(len, parts), default=0) + 1):
        names = ["/".join(p[-depth:]) for p in parts]
        if len(set(names)) == len(names):
            return names
    if parts:
        raise ValueError(f"--pipelines is {paths}, expected different ones; name each once")
    return []


def methods_of(arguments):
    """({name: function}, resolution); the names are folders', as results carry them.

    Raises: ValueError when there is nothing to judge, or not at which resolution.
    """
    methods, resolution = {}, arguments.resolution
    for name, path in zip(distinct_names(arguments.pipelines), arguments.pipelines):
        pipe = load_pipeline(path)
        resolution = resolution or pipe.resolution
        methods[name] = pipeline_method(pipe)
    if arguments.telea:
        if "telea" in methods:
            raise ValueError(
                "a pipeline's folder is called 'telea', as OpenCV's method; rename the folder"
            )
        methods["telea"] = lambda pictures, masks: [telea(p, m) for p, m in zip(pictures, masks)]
    if not methods:
        raise ValueError("nothing to judge: give --pipelines DIR ... or --telea")
    if resolution is None:
        raise ValueError("--resolution is missing; without a pipeline it has to be given")
    return methods, resolution


def judge_batch(results, originals, original_features, network):
    """{metric: [per picture]} of one batch, on 8-bit pictures."""
    values = {
        "psnr": [psnr(r, o) for r, o in zip(results, originals)],
        "ssim": [ssim(r, o) for r, o in zip(results, originals)],
        "l1_percent": [l1_percent(r, o) for r, o in zip(results, originals)],
    }
    if network is not None:
        distance = cosine_distance(network(np.stack(results)), original_features)
        values[f"{network.name}_distance"] = distance.tolist()
    return values


def evaluate(arguments):
    """Judge and write the report; returns {band: {method: {metric: summary}}}."""
    methods, resolution = methods_of(arguments)
    bands = [parse_band(text) for text in arguments.bands]
    network = None
    if arguments.perceptual_network:
        network = FeatureNetwork(arguments.perceptual_network)
    pictures = ImageDataset(arguments.data_dir, arguments.split, resolution, keep_decoded=True)
    results, grids, coverage = {}, {}, {}
    for band in bands:
        pairs = EvaluationPairs(pictures, band, arguments.seed, arguments.max_images)
        values = {name: {} for name in methods}
        covered, rows = [], []
        starts = range(0, len(pairs), arguments.batch_size)
        for start in tqdm(starts, desc=band.name):
            batch = range(start, min(start + arguments.batch_size, len(pairs)))
            originals, masks = zip(*(pairs[i] for i in batch))
            covered += [float(mask.mean()) for mask in masks]
            features = network(np.stack(originals)) if network else None
            filled = {}
            for name, method in methods.items():
                filled[name] = method(originals, masks)
                judged = judge_batch(filled[name], originals, features, network)
                for metric, numbers in judged.items():
                    values[name].setdefault(metric, []).extend(numbers)
            for k in range(min(len(batch), arguments.num_grid_images - len(rows))):
                masked = masked_picture(originals[k], masks[k])
                rows.append([originals[k], masked, *(filled[name][k] for name in methods)])
        results[band.name] = {name: summarise(v) for name, v in values.items()}
        coverage[band.name] = float(np.mean(covered))
        grids[band.name] = picture_grid(rows)
    settings = {k: v for k, v in vars(arguments).items() if k not in ("output", "data_dir")}
    settings |= {"resolution": resolution, "mean_coverage": coverage}
    settings["grid_columns"] = ["original", "masked", *methods]
    settings["pipelines"] = distinct_names(arguments.pipelines)
    if network:
        settings["perceptual_network"] = network.name
    write_report(Path(arguments.output), results, settings, grids)
    return results


def main(argv=None):
    arguments = build_parser().parse_args(argv)
    try:
        evaluate(arguments)
    except (FileNotFoundError, ModuleNotFoundError, ValueError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    print((Path(arguments.output) / "table.md").read_text())


if __name__ == "__main__":
    main()
