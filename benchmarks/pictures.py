"""The pictures of the documents, made on the example face by the weights given.

    python -m benchmarks.pictures [--baselines DIR ...]

docs/before_after.jpg: the demo's examples with their holes, and what default_pipeline fills in.
docs/methods.png: one mask of each coverage band; masked, each method, original. The masks are the
first ones drawn, not chosen.
docs/samples.png: four answers to one hole; with noise alone, and with variation=0.3;
blended (gp).
docs/failures.png: what the weights cannot do; masked, filled (gp), original, one column for each
case.
weights/*/sample.jpg, with --cards and nothing else: what the weights' cards show.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from diffusers.utils import make_image_grid
from PIL import Image, ImageOps

from inpaint_hub import FeedForwardPipeline, StyleGAN2Pipeline, default_pipeline, load_pipeline
from inpaint_hub.evaluation.classical import telea
from inpaint_hub.evaluation.pairs import masked_picture
from inpaint_hub.masks import box, mask_in_band, outpainting

ROOT = Path(__file__).parent.parent
FACE = ROOT / "examples" / "face.png"
EXAMPLES = {
    "face.png": "face_mask.png",
    "astronaut.png": "astronaut_mask.png",
    "rocket.jpg": "rocket_mask.png",
}
BANDS = [(0.1, 0.3), (0.1, 0.3), (0.3, 0.6), (0.3, 0.6), (0.6, 0.9), (0.6, 0.9)]


# What is expected to fail: {what: (photo, size -> mask)}.
FAILURES = {
    "an eye beside a known one": (
        "face.png",
        lambda size: box(size, *scaled(size, 50, 25, 35, 20)),
    ),
    "three quarters unknown": ("face.png", lambda size: outpainting(size, "right", 0.75)),
    "a face seen from afar": (
        "astronaut.png",
        lambda size: box(size, *scaled(size, 30, 8, 25, 25)),
    ),
    "no face": ("chelsea.png", lambda size: box(size, *scaled(size, 25, 25, 30, 30))),
}


def scaled(size, *percent):
    """Percent of the side -> px."""
    return [round(size * p / 100) for p in percent]


def square(file):
    """RGB array: the middle of the picture."""
    picture = Image.open(ROOT / "examples" / file).convert("RGB")
    return np.asarray(ImageOps.fit(picture, (min(picture.size),) * 2))


def masks_of(size, seed):
    return [
        mask_in_band(size, *band, np.random.default_rng((seed, i))) for i, band in enumerate(BANDS)
    ]


def filled(pipe, pixels, mask, **options):
    return np.asarray(pipe(Image.fromarray(pixels), mask, **options).images[0])


def grid(rows, side):
    pictures = [
        Image.fromarray(p).resize((side, side), Image.Resampling.NEAREST) for r in rows for p in r
    ]
    return make_image_grid(pictures, rows=len(rows), cols=len(rows[0]))


def card_picture(folder, side=192):
    """An example masked, filled (gp; a model of photos with their texture) and as it was; of a
    generator, pictures of the first seeds."""
    if (folder / "gan").is_dir() and not (folder / "encoder").is_dir():
        pipe = StyleGAN2Pipeline.from_pretrained(folder)
        draws = [torch.Generator().manual_seed(seed) for seed in range(6)]
        pictures = [pipe(truncation_psi=0.7, generator=draw).images[0] for draw in draws]
        return grid([[np.asarray(picture) for picture in pictures]], side)
    pipe = load_pipeline(folder)
    paintings = "portraits" in folder.name
    photo = "face.png" if paintings or "faces" in folder.name else "rocket.jpg"
    options = {"context": 1, "texture": "auto"} if isinstance(pipe, FeedForwardPipeline) else {}
    pixels = square(photo)
    if paintings:  # no painting is among the examples
        pixels = cv2.stylization(pixels, sigma_s=30, sigma_r=0.3)
    given = Image.open(ROOT / "examples" / EXAMPLES[photo]).convert("L")
    mask = np.asarray(ImageOps.fit(given, pixels.shape[1::-1])) > 127
    if "outpainting" in folder.name:
        mask = outpainting(mask.shape[::-1], "left", 0.25)
    pictures = [
        masked_picture(pixels, mask),
        filled(pipe, pixels, mask, blend="gp", **options),
        pixels,
    ]
    shown = [Image.fromarray(p).resize((side, side), Image.Resampling.LANCZOS) for p in pictures]
    return make_image_grid(shown, rows=1, cols=len(shown))


def before_after(height=300):
    """The examples' photos: above with their holes in red, below filled."""
    pipe, columns = default_pipeline(), []
    for photo, mask in EXAMPLES.items():
        photo, mask = (Image.open(ROOT / "examples" / name) for name in (photo, mask))
        photo, mask = photo.convert("RGB"), mask.convert("L")
        red = Image.composite(Image.new("RGB", photo.size, (208, 32, 64)), photo, mask)
        pair = [red, pipe(photo, mask).images[0]]
        size = round(photo.width * height / photo.height), height
        columns.append([picture.resize(size, Image.Resampling.LANCZOS) for picture in pair])
    sheet = Image.new("RGB", (sum(top.width for top, _ in columns), 2 * height))
    left = 0
    for top, bottom in columns:
        sheet.paste(top, (left, 0))
        sheet.paste(bottom, (left, height))
        left += top.width
    return sheet


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=str(ROOT / "weights" / "dualpath-faces-128"))
    parser.add_argument(
        "--baselines", nargs="*", default=[], help="other pipelines, one column each"
    )
    parser.add_argument(
        "--several",
        default=str(ROOT / "weights" / "invertfill-faces-128"),
        help="the pipeline that gives several answers",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cards", action="store_true", help="the pictures of weights/ alone")
    arguments = parser.parse_args()
    if arguments.cards:
        for index in sorted((ROOT / "weights").glob("*/model_index.json")):
            card_picture(index.parent).save(index.parent / "sample.jpg", quality=88)
        return
    ours = load_pipeline(arguments.model)
    baselines = [load_pipeline(path) for path in arguments.baselines]
    face = Image.open(FACE).convert("RGB")
    large = np.asarray(face)
    before_after().save(ROOT / "docs" / "before_after.jpg", quality=90)
    side = ours.resolution
    small = np.asarray(face.resize((side, side), Image.Resampling.LANCZOS))
    rows = []
    for mask in masks_of(side, arguments.seed):
        results = [filled(pipe, small, mask) for pipe in (ours, *baselines)]
        rows.append([masked_picture(small, mask), *results, telea(small, mask), small])
    grid(rows, 2 * side).save(ROOT / "docs" / "methods.png")
    several = load_pipeline(arguments.several)
    mask = box(len(large), *scaled(len(large), 20, 25, 45, 60))
    rows = []
    for variation in (0.0, 0.3):
        generator = torch.Generator().manual_seed(arguments.seed)
        options = {"num_images_per_prompt": 4, "generator": generator, "variation": variation}
        options["blend"] = "gp"
        answers = several(face, mask, **options).images
        rows.append([masked_picture(large, mask), *(np.asarray(answer) for answer in answers)])
    grid(rows, 192).save(ROOT / "docs" / "samples.png")
    columns = []
    for file, mask_of in FAILURES.values():
        photo = square(file)
        mask = mask_of(len(photo))
        columns.append([masked_picture(photo, mask), filled(ours, photo, mask, blend="gp"), photo])
    grid(list(zip(*columns)), 192).save(ROOT / "docs" / "failures.png")


if __name__ == "__main__":
    main()
