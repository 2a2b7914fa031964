"""Where a Dual-path pipeline's fusion looks: its offsets as arrows over the example face.

    python -m benchmarks.offsets --model FOLDER [--output docs/offsets.png] [--stretch 4]

From left to right: the hole, the inverted picture G(w+), the filled picture, and the arrows of each
fused resolution over the inpainter's picture. An arrow starts at a place and ends where the
generator's features for it are read; its color is its direction.
"""

import argparse
from pathlib import Path

import numpy as np
from diffusers.utils import make_image_grid
from PIL import Image

from inpaint_hub import DualPathPipeline
from inpaint_hub.evaluation.pairs import masked_picture
from inpaint_hub.images import read_images, read_masks, to_pixels

EXAMPLES = Path(__file__).parent.parent / "examples"


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="folder or Hub id of a DualPathPipeline")
    parser.add_argument("--image", default=str(EXAMPLES / "face.png"))
    parser.add_argument("--mask", default=str(EXAMPLES / "face_mask.png"))
    parser.add_argument("--output", default="docs/offsets.png")
    parser.add_argument("--side_px", type=int, default=320, help="of each panel")
    parser.add_argument("--stretch", type=float, default=1.0, help="draw arrows so much longer")
    arguments = parser.parse_args(argv)
    pipe = DualPathPipeline.from_pretrained(arguments.model)
    side = pipe.resolution
    with Image.open(arguments.image) as image, Image.open(arguments.mask) as mask:
        face = image.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)
        hole = read_masks(mask.resize((side, side), Image.Resampling.NEAREST), read_images(face))[0]
    output = pipe(face, hole)
    shown = [
        masked_picture(np.asarray(face), hole),
        to_pixels(output.inverted)[0],
        output.images[0],
    ]
    size = (arguments.side_px, arguments.side_px)
    panels = [
        Image.fromarray(np.asarray(picture)).resize(size, Image.Resampling.BICUBIC)
        for picture in shown
    ]
    for r, field in sorted(output.offsets.items()):
        panels += output.offset_pictures(r, arguments.side_px, arguments.stretch)
        length = field.norm(dim=1)
        print(
            f"{r} px: offsets of {length.mean():.2f} px on average, {length.max():.2f} px at most"
        )
    make_image_grid(panels, rows=1, cols=len(panels)).save(arguments.output)


if __name__ == "__main__":
    main()
