"""One evaluation = one frozen EvaluationConfig; the command-line flags are made from its fields."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from inpaint_hub.data import SPLITS
from inpaint_hub.masks import MIXTURES
from inpaint_hub.pipelines.arguments import BLENDS
from inpaint_hub.texture import TEXTURES

NATIVE = "native"
BUNDLED = "bundled"
DEFAULT_BANDS = ("10-30", "30-60", "60-90")


def positive(text: str) -> int:
    """Positive int of a flag's text."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} given, expected at least 1")
    return number


def side(text: str) -> int | str:
    """Positive int of a flag's text, or NATIVE."""
    return NATIVE if text == NATIVE else positive(text)


def option(default: object, text: str, **flag: Any) -> Any:
    """A field and its flag; flag: what argparse's add_argument is told besides."""
    return field(default=default, metadata={"help": text, "flag": flag})


def several(text: str, metavar: str) -> Any:
    """A field of any number of texts."""
    return option((), text, nargs="*", metavar=metavar)


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    pipelines: Sequence[str] = several(
        "folders or Hub ids of pipelines; of a StyleGAN2 generator, samples are judged; "
        f"{BUNDLED}: the bundled one for any photo",
        "[NAME=]PATH",
    )
    blend: Sequence[str] = several(
        f"blend the fills of the pipeline of that name: {', '.join(BLENDS)}", "NAME=KIND"
    )
    texture: Sequence[str] = several(
        f"texture of the fills of the pipeline of that name: {', '.join(TEXTURES)}", "NAME=KIND"
    )
    telea: bool = option(False, "also judge OpenCV's Telea (2004)", action="store_true")
    navier_stokes: bool = option(
        False, "also judge OpenCV's Navier-Stokes (2001)", action="store_true"
    )
    patchmatch: bool = option(
        False, "also judge copies of the picture's own patches", action="store_true"
    )
    predictions: Sequence[str] = several(
        "folders of pictures that other programs made of the exported pairs", "NAME=DIR"
    )
    export_pairs: str | None = option(
        None, "write the pairs for other programs into a new folder", metavar="DIR"
    )
    data_dir: str | None = option(None, "folder of pictures or of parquet files")
    dataset_name: str | None = option(
        None, "in its place: a data set of the Hub, or a folder, read by the datasets library"
    )
    dataset_config_name: str | None = option(None, "configuration of that data set")
    faces: str | None = option(
        None,
        "the pictures are aligned faces: put each into a photo of this folder (its split "
        "validation, or all), fill the photo, and judge the face",
        metavar="DIR",
    )
    image_column: str = option("image", "column of the data set that holds the pictures")
    split: str = option(
        "validation",
        f"{', '.join(SPLITS)}: sub-folder or parquet files of that name (val is validation); "
        "all: every picture of a folder that nothing was trained on; of --dataset_name its own "
        "names (default: validation)",
    )
    bands: Sequence[str] | None = option(
        None,
        "coverage in %, as 10-30; easy, hard, extreme, all; poster (0-10 to 50-60); one "
        f"kind of hole ({', '.join(MIXTURES)}), as strokes-10-30; outpaint-right-50 or outpaint "
        "for left, right, both at 25, 50, 75 %; mmt-50-60; files or files-10-30 from --mask_dir; "
        f"if not given, {' '.join(DEFAULT_BANDS)}, with --mask_dir files",
        nargs="+",
    )
    mask_dir: str | None = option(
        None, "folder of mask files (white = hole) for files bands", metavar="DIR"
    )
    perceptual_network: str | None = option(
        None, "JSON file of a feature network (cosine distance, FD, KID)"
    )
    resolution: int | str | None = option(
        None,
        "side in px; that of the first pipeline if not given; native: the pictures' own, the "
        "shortest side among those judged",
        type=side,
    )
    max_images: int | None = option(None, "judge only the first so many pictures", type=positive)
    batch_size: int = option(50, "pictures in one pass", type=positive)
    num_samples: int = option(
        1, "fills of each hole compared for diversity (2 or more)", type=positive
    )
    variation: float = option(0.0, "the pipelines' variation of these fills", type=float)
    num_grid_images: int = option(8, "first pictures shown in the grids", type=positive)
    seed: int = option(0, "draws the masks", type=int)
    device: str | None = option(
        None,
        "of the pipelines and the feature networks, as cuda; where not given, the pipelines' "
        "own, and the CPU",
    )
    output: str | None = option(
        None,
        "folder for report.html, table.md, results.json, grid-*.png, the filled pictures and "
        "per_image.jsonl, by which an interrupted run goes on",
    )

    def __post_init__(self) -> None:
        """Raises: ValueError for counts below 1, or one text where several are expected."""
        for name in ("max_images", "batch_size", "num_samples", "num_grid_images"):
            if (count := getattr(self, name)) is not None and count < 1:
                raise ValueError(f"{name} is {count}, expected at least 1")
        for name in ("pipelines", "blend", "texture", "predictions", "bands"):
            if isinstance(text := getattr(self, name), str):
                raise ValueError(f"{name} is the text {text!r}, expected a list: [{text!r}]")


def build_parser() -> argparse.ArgumentParser:
    """The command line, a flag for each field."""
    parser = argparse.ArgumentParser(
        prog="python -m inpaint_hub.evaluation",
        description="Judge methods on the same pairs, band by band.",
    )
    for f in fields(EvaluationConfig):
        text = f.metadata["help"].replace("%", "%%")
        parser.add_argument(f"--{f.name}", default=f.default, help=text, **f.metadata["flag"])
    return parser


def parse_config(argv: Sequence[str] | None = None) -> EvaluationConfig:
    """Command line -> EvaluationConfig."""
    return EvaluationConfig(**vars(build_parser().parse_args(argv)))
