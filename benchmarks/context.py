"""How much around a hole a model should be shown: PSNR inside holes by `context`.

    python -m benchmarks.context --data_dir PHOTOS --model weights/photos-128

On pictures of the training split that its training held back (--holdout_fraction): validation
pictures are for judging. Differences to a context of 1 are picture by picture.
"""

import argparse

import numpy as np

from inpaint_hub import load_pipeline
from inpaint_hub.data import ImageDataset
from inpaint_hub.masks import mask_in_band

BANDS = {"1-5 %, boxes": (0.01, 0.05, "boxes"), "10-30 %, every kind": (0.1, 0.3, "mixture")}


def hole_psnr(result, original, mask):
    """dB over the pixels of the hole, bool [H,W], alone."""
    error = (result.astype(np.float64) - original)[mask]
    return 10 * np.log10(255**2 / max(np.mean(error**2), 1e-3))


def measured(pipe, pictures, band, contexts, seed=0):
    """float64 [pictures, contexts] of hole_psnr, the same holes for each context."""
    low, high, kind = band
    rows = []
    for index, picture in enumerate(pictures):
        mask = mask_in_band(picture.size, low, high, np.random.default_rng((seed, index)), kind)
        fills = (pipe(picture, mask, context=c, blend="gp").images[0] for c in contexts)
        rows.append([hole_psnr(np.asarray(fill), np.asarray(picture), mask) for fill in fills])
    return np.array(rows)


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data_dir", required=True)
    parser.add_argument("--model", default="weights/photos-128")
    parser.add_argument("--contexts", type=float, nargs="+", default=[0.5, 1, 1.5, 2, 3])
    parser.add_argument("--holdout_fraction", type=float, default=0.1)
    parser.add_argument("--max_images", type=int, default=60)
    options = parser.parse_args(arguments)
    held = ImageDataset(options.data_dir, holdout_fraction=options.holdout_fraction, held_out=True)
    step = max(len(held) // options.max_images, 1)
    pictures = [held.open(i) for i in range(0, len(held), step)][: options.max_images]
    pipe = load_pipeline(options.model)
    contexts = sorted({1.0, *options.contexts})
    print(f"| holes | context | PSNR in the hole | less that of 1 |\n{'| --- ' * 4}|")
    for name, band in BANDS.items():
        psnr = measured(pipe, pictures, band, contexts)
        less = psnr - psnr[:, [contexts.index(1.0)]]
        half = 1.96 * less.std(axis=0) / np.sqrt(len(pictures))
        for k, context in enumerate(contexts):
            row = f"{psnr[:, k].mean():.2f} | {less[:, k].mean():.2f} ± {half[k]:.2f}"
            print(f"| {name} | {context:g} | {row} |", flush=True)


if __name__ == "__main__":
    main()
