"""python -m inpaint_hub.faces: cut the faces out of photos, aligned as the models for faces expect.

The folder written trains those models: train_accelerate.py --train_data_dir OUT.
"""

import argparse
import sys
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from inpaint_hub.bundled import weights_folder
from inpaint_hub.crops import cut, window_slices
from inpaint_hub.faces.alignment import frame_of
from inpaint_hub.faces.detector import FaceDetector
from inpaint_hub.faces.finding import find_faces
from inpaint_hub.formats import open_picture

DETECTOR = "face-detector"
MOST_OUTSIDE = 0.1  # of a face's square past the photo's border; more would teach reflections


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m inpaint_hub.faces", description=__doc__)
    parser.add_argument("photos", type=Path, metavar="DIR", help="folder of photos, searched whole")
    parser.add_argument("output", type=Path, metavar="OUT", help="folder to write train/ into")
    parser.add_argument("--size", type=int, default=256, help="side of the crops in px")
    parser.add_argument(
        "--min_size",
        type=int,
        help="leave out faces whose crop would have to be enlarged from less (default: half of "
        "--size)",
    )
    parser.add_argument(
        "--validation_fraction",
        type=float,
        default=0.1,
        help="share of the photos whose faces go to validation/ instead, chosen by file name",
    )
    parser.add_argument(
        "--detector", help="folder or Hub id of a face detector (default: the bundled one)"
    )
    return parser


def aligned_faces(
    detector: FaceDetector, pixels: np.ndarray, size: int, min_size: int
) -> tuple[list[np.ndarray], Counter[str]]:
    """([uint8 [size,size,3]], Counter of why others were left out) of one photo, uint8 [H,W,3]."""
    crops, left_out = [], Counter()
    for face in find_faces(detector, pixels):
        frame = frame_of(face.points)
        rows, columns = window_slices(frame, pixels.shape)
        bounds = frame.bounds
        seen = (rows.stop - rows.start) * (columns.stop - columns.start) / bounds.side**2
        if frame.side < min_size:
            left_out["too small"] += 1
        elif 1 - seen > MOST_OUTSIDE:
            left_out["cut off by the border"] += 1
        else:
            crops.append(cut(pixels, frame, size))
    return crops, left_out


def main(argv: list[str] | None = None) -> int:
    """Exit status 0; 1 where a file could not be read (each is named), 2 for bad arguments."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    size, fraction = arguments.size, arguments.validation_fraction
    min_size = size // 2 if arguments.min_size is None else arguments.min_size
    if not arguments.photos.is_dir():
        parser.error(f"DIR is {str(arguments.photos)!r}, expected a folder of photos")
    if size < 16 or min_size < 1 or not 0 <= fraction < 1:
        parser.error(
            f"--size {size} --min_size {min_size} --validation_fraction {fraction}: expected at "
            "least 16, at least 1, and a share from 0 to below 1"
        )
    endings = Image.registered_extensions()
    files = sorted(path for path in arguments.photos.rglob("*") if path.suffix.lower() in endings)
    if not files:
        parser.error(f"DIR {str(arguments.photos)!r} holds no picture; give another folder")
    try:
        detector = FaceDetector.from_pretrained(arguments.detector or weights_folder(DETECTOR))
    except (FileNotFoundError, ValueError, RuntimeError) as error:
        parser.error(str(error))
    written, left_out, failures, faceless = Counter(), Counter(), [], 0
    for file in tqdm(files, unit="photo"):
        try:
            pixels = open_picture(file).pixels
        except (OSError, ValueError) as error:
            failures.append(f"{file}: {error}")
            continue
        crops, why = aligned_faces(detector, pixels, size, min_size)
        left_out += why
        faceless += not crops and not why
        name = file.relative_to(arguments.photos).with_suffix("").as_posix().replace("/", "-")
        name += f"-{file.suffix[1:].lower()}"
        drawn = zlib.crc32(name.encode()) / 2**32  # the same on every machine and every run
        split = "validation" if drawn < fraction else "train"
        for k, crop in enumerate(crops):
            folder = arguments.output / split
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.ascontiguousarray(crop)).save(folder / f"{name}-{k}.png")
            written[split] += 1
    for failure in failures:
        print(f"skipped {failure}", file=sys.stderr)
    print(
        f"{written['train']} faces for training, {written['validation']} for validation, from "
        f"{len(files)} photos; left out: {left_out['too small']} smaller than {min_size} px, "
        f"{left_out['cut off by the border']} cut off by the border; {faceless} photos without a "
        "face",
        file=sys.stderr,
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
