"""When a face's other half is the better fill: the table of docs/ANY_PHOTO.md.

    python -m benchmarks.other_half --data_dir FACES --perceptual_network mobilenet_v2.json

Aligned faces of the training split that its training held back (--holdout_fraction), 256 px, one
hole each, filled by the model of faces and mirrored; then an eye alone in drawn holes of 10-30 %.
Distances are of the whole face, PSNR of the hole; rows by how unlike the halves are around it.
"""

import argparse

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.context import hole_psnr
from inpaint_hub import load_pipeline
from inpaint_hub.blending import blend_fill
from inpaint_hub.crops import TurnedWindow, separate_holes
from inpaint_hub.data import ImageDataset
from inpaint_hub.evaluation.feature_network import FeatureNetwork
from inpaint_hub.evaluation.metrics import cosine_distance
from inpaint_hub.faces import other_half
from inpaint_hub.faces.symmetry import eyes_in
from inpaint_hub.masks import mask_in_band

SIDE_PX = 256
HOLES = {  # ellipses: left, top, right, bottom in shares of the side
    "one eye": (0.23, 0.25, 0.44, 0.40),
    "one eye with its brow and temple": (0.52, 0.18, 0.82, 0.44),
    "cheek": (0.12, 0.42, 0.42, 0.72),
    "corner of the mouth": (0.27, 0.60, 0.46, 0.76),
}
LIMITS = (0.3, 1.0, 3.0, np.inf)  # of asymmetry


def ellipse(shares):
    picture = Image.new("L", (SIDE_PX, SIDE_PX))
    ImageDraw.Draw(picture).ellipse([share * SIDE_PX for share in shares], fill=255)
    return np.asarray(picture) > 0


def mirrored(pixels, hole, own, half):
    """The picture with `own` from the other half, its colors fitted as the router's are."""
    known = pixels[half.part] / np.float32(255)
    rgb = np.clip(blend_fill(half.rgb, known, hole[half.part], "gp"), 0, 1)
    result = pixels.copy()
    np.copyto(
        result[half.part], np.rint(rgb * 255).astype(np.uint8), where=own[half.part][..., None]
    )
    return result


def compared(face, hole, own, model, half, distance):
    """[asymmetry, distance and PSNR of the model's fill, the same of the mirrored one]."""
    other = mirrored(model, own, own, half)
    scores = [(distance(face, x), hole_psnr(x, face, hole)) for x in (model, other)]
    return [half.asymmetry, *scores[0], *scores[1]]


def row(name, limit, rows):
    chosen = rows[rows[:, 0] < limit]
    if not len(chosen):
        return
    means, nearer = chosen[:, 1:].mean(axis=0), (chosen[:, 3] < chosen[:, 1]).sum()
    unlike = "all" if np.isinf(limit) else f"{len(chosen)} of asymmetry below {limit:g}"
    cells = f"{means[0]:.4f}, {means[1]:.2f} dB | {means[2]:.4f}, {means[3]:.2f} dB"
    print(f"| {name} | {unlike} | {cells} | {nearer} of {len(chosen)} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", required=True)
    parser.add_argument("--perceptual_network", required=True)
    parser.add_argument("--model", default="weights/dualpath-faces-128")
    parser.add_argument("--holdout_fraction", type=float, default=0.1)
    parser.add_argument("--max_images", type=int, default=30)
    parser.add_argument("--drawn", type=int, default=150)
    options = parser.parse_args()
    held = ImageDataset(options.data_dir, holdout_fraction=options.holdout_fraction, held_out=True)
    pipe, network = load_pipeline(options.model), FeatureNetwork(options.perceptual_network)
    frame = TurnedWindow(SIDE_PX / 2, SIDE_PX / 2, SIDE_PX)

    def distance(a, b):
        return float(cosine_distance(network(a[None]), network(b[None]))[0])

    def faces(count):
        for i in range(count):
            picture = held.open(i * (len(held) // count)).convert("RGB")
            yield i, np.asarray(picture.resize((SIDE_PX, SIDE_PX)))

    def filled(face, hole):
        image = pipe(Image.fromarray(face), hole, blend="gp", texture="detail").images[0]
        return np.asarray(image)

    print(f"| hole | mirrored | model | mirrored | nearer by distance |\n{'| --- ' * 5}|")
    for name, shares in HOLES.items():
        hole, rows = ellipse(shares), []
        for _, face in faces(options.max_images):
            half = other_half(face, hole, hole, frame)
            if half is not None:
                rows.append(compared(face, hole, hole, filled(face, hole), half, distance))
        for limit in LIMITS:
            row(name, limit, np.array(rows))
    rows = []
    for i, face in faces(options.drawn):
        hole = mask_in_band(SIDE_PX, 0.1, 0.3, np.random.default_rng((11, i)), "mixture")
        for part in separate_holes(hole):
            alone = np.zeros_like(hole)
            alone[part.part] = part.own
            for eye in eyes_in(alone, frame):
                model = filled(face, hole)
                half = other_half(model, hole, eye, frame, filled=alone)
                if half is not None:
                    rows.append(compared(face, eye, eye, model, half, distance))
    for limit in (1.0, 2.0, np.inf):
        row("an eye alone in a drawn hole", limit, np.array(rows))


if __name__ == "__main__":
    main()
