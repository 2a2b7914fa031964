"""python -m inpaint_hub: fill holes in pictures, one or a folder of them, from the command line."""

import argparse
import sys
from pathlib import Path

import torch
from PIL import Image
from tqdm.auto import tqdm

from inpaint_hub import load_pipeline
from inpaint_hub.images import read_images, read_masks

DEFAULT_MODEL = Path(__file__).parent.parent / "weights" / "invertfill-faces-64"
LOSSLESS = {".png", ".tif", ".tiff", ".bmp"}


def build_parser():
    parser = argparse.ArgumentParser(
        prog="python -m inpaint_hub",
        description="Fill the white part of a mask in a picture; the rest is kept bit for bit.",
    )
    parser.add_argument(
        "--image", required=True, type=Path, help="picture, or a folder of pictures"
    )
    parser.add_argument(
        "--mask",
        required=True,
        type=Path,
        help="mask (white = repaint) for all, or a folder with a mask of each picture's name",
    )
    parser.add_argument(
        "--output", required=True, type=Path, help="file to write (.png, .tif, .bmp), or a folder"
    )
    parser.add_argument(
        "--model",
        default=str(DEFAULT_MODEL),
        help="folder or Hub id of a pipeline (default: bundled)",
    )
    parser.add_argument(
        "--device", default="auto", help="auto (a GPU where there is one), cpu, cuda, mps"
    )
    parser.add_argument("--local_files_only", action="store_true", help="never ask the Hub")
    parser.add_argument(
        "--padding_mask_crop", type=int, help="cut each hole out with so many px around it"
    )
    parser.add_argument("--mask_dilate", type=int, default=0, help="grow the hole by so many px")
    parser.add_argument(
        "--mask_blur", type=int, default=0, help="soften the fill's rim over so many px"
    )
    parser.add_argument("--invert_mask", action="store_true", help="black is repainted, not white")
    parser.add_argument("--seed", type=int, help="draw the generator's noise from this seed")
    return parser


def best_device():
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def is_picture(path):
    return path.is_file() and path.suffix.lower() in Image.registered_extensions()


def jobs_of(image, mask, output):
    """[(picture, mask or None, output file)], from files or folders.

    Raises: FileNotFoundError, ValueError for paths that make no job.
    """
    for name, path in (("--image", image), ("--mask", mask)):
        if not path.exists():
            raise FileNotFoundError(f"{name} {str(path)!r} does not exist; check the path")
    if image.is_file():
        if mask.is_dir():
            mask = mask_named(mask, image.stem)
        into_folder = output.is_dir() or not output.suffix
        jobs = [(image, mask, output / f"{image.stem}.png" if into_folder else output)]
    else:
        if output.suffix and not output.is_dir():
            raise ValueError(
                f"--image is a folder but --output {str(output)!r} looks like a file; give a folder"
            )
        pictures = sorted(path for path in image.iterdir() if is_picture(path))
        if not pictures:
            raise FileNotFoundError(f"--image {str(image)!r} holds no picture; give another folder")
        masks = [mask if mask.is_file() else mask_named(mask, p.stem) for p in pictures]
        stems = [p.stem for p in pictures]  # a.png and a.jpg become a.png.png and a.jpg.png
        names = [p.stem if stems.count(p.stem) == 1 else p.name for p in pictures]
        jobs = [(p, m, output / f"{n}.png") for p, m, n in zip(pictures, masks, names)]
    inputs = {path.resolve() for job in jobs for path in job[:2] if path}
    for _, _, target in jobs:
        if target.suffix.lower() not in LOSSLESS:
            raise ValueError(
                f"--output {str(target)!r} would lose known pixels; expected one of "
                f"{sorted(LOSSLESS)}"
            )
        if target.resolve() in inputs:
            raise ValueError(
                f"--output {str(target)!r} would overwrite an input; give another file or folder"
            )
    return jobs


def mask_named(folder, stem):
    return next((path for path in sorted(folder.glob(f"{stem}.*")) if is_picture(path)), None)


def fill_file(pipe, picture, mask, target, arguments):
    """Fill one file, without touching the inputs; raises what went wrong with it."""
    if mask is None:
        raise FileNotFoundError(f"no mask named {picture.stem}.* in {str(arguments.mask)!r}")
    generator = None
    if arguments.seed is not None:
        generator = torch.Generator().manual_seed(arguments.seed)
    with Image.open(picture) as image, Image.open(mask) as hole:
        result = pipe(
            image,
            read_masks(hole, read_images(image), arguments.invert_mask)[0],
            padding_mask_crop=arguments.padding_mask_crop,
            mask_dilate=arguments.mask_dilate,
            mask_blur=arguments.mask_blur,
            generator=generator,
        ).images[0]
    if result.mode == "CMYK" and target.suffix.lower() == ".png":
        target = target.with_suffix(".tif")  # PNG has no CMYK
    if target.resolve() in (picture.resolve(), mask.resolve()):
        raise ValueError(
            f"its result {str(target)!r} would overwrite an input; give another folder"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.stem}.partial{target.suffix}")
    result.save(partial)
    partial.replace(target)


def main(argv=None):
    """Exit status 0 when every file was filled, 1 when some failed (each is named), 2 for bad
    arguments."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    try:
        jobs = jobs_of(arguments.image, arguments.mask, arguments.output)
        pipe = load_pipeline(arguments.model, local_files_only=arguments.local_files_only)
        pipe = pipe.to(best_device() if arguments.device == "auto" else arguments.device)
    except (FileNotFoundError, ValueError, RuntimeError) as error:
        parser.error(str(error))
    failures = []
    for picture, mask, target in tqdm(jobs, unit="image", disable=len(jobs) == 1):
        try:
            fill_file(pipe, picture, mask, target, arguments)
        except Exception as error:  # broken files raise many kinds; the others must go on
            failures.append(f"{picture}: {error or type(error).__name__}")
    for failure in failures:
        print(f"skipped {failure}", file=sys.stderr)
    print(f"{len(jobs) - len(failures)} of {len(jobs)} filled", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
