"""python -m inpaint_hub.evaluation: judge methods on the same pairs, band by band."""

import argparse
import sys
from pathlib import Path

import numpy as np

from inpaint_hub.data import SPLITS, HubEntries, ImageDataset, held_out_split, hub_dataset
from inpaint_hub.evaluation.arena import Arena
from inpaint_hub.evaluation.classical import navier_stokes, patchmatch, telea
from inpaint_hub.evaluation.faces_in_photos import in_photos
from inpaint_hub.evaluation.feature_network import FeatureNetwork
from inpaint_hub.evaluation.methods import (
    ClassicalMethod,
    PipelineMethod,
    PredictionFolder,
    name_problems,
    named_paths,
    split_name,
)
from inpaint_hub.evaluation.page import html_page
from inpaint_hub.evaluation.pairs import (
    FILES,
    EvaluationPairs,
    coverage_line,
    export_pairs,
    masked_picture,
    parse_bands,
    slug,
)
from inpaint_hub.evaluation.report import paired_differences, picture_grid, write_report
from inpaint_hub.evaluation.samples import BAND as SAMPLES
from inpaint_hub.evaluation.samples import GeneratorMethod, judge_samples
from inpaint_hub.evaluation.scoring import Scorer
from inpaint_hub.masks import MIXTURES, MaskFiles
from inpaint_hub.pipelines import default_pipeline, load_pipeline
from inpaint_hub.pipelines.arguments import BLENDS
from inpaint_hub.pipelines.auto import class_name
from inpaint_hub.pipelines.stylegan2 import StyleGAN2Pipeline
from inpaint_hub.texture import TEXTURES

CLASSICAL = {"telea": telea, "navier_stokes": navier_stokes, "patchmatch": patchmatch}
NATIVE = "native"
MAX_PROBLEMS = 40
BUNDLED = "bundled"
PHOTO_PX = 320  # side of the photos that --faces puts faces into
DEFAULT_BANDS = ("10-30", "30-60", "60-90")


def positive(text):
    """Positive int of a flag's text."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} given, expected at least 1")
    return number


def side(text):
    """Positive int of a flag's text, or NATIVE."""
    return NATIVE if text == NATIVE else positive(text)


def build_parser():
    parser = argparse.ArgumentParser(prog="python -m inpaint_hub.evaluation", description=__doc__)
    parser.add_argument(
        "--pipelines",
        nargs="*",
        default=[],
        metavar="[NAME=]PATH",
        help="folders or Hub ids of pipelines; of a StyleGAN2 generator, samples are judged; "
        f"{BUNDLED}: the bundled one for any photo",
    )
    parser.add_argument(
        "--blend",
        nargs="*",
        default=[],
        metavar="NAME=KIND",
        help=f"blend the fills of the pipeline of that name: {', '.join(BLENDS)}",
    )
    parser.add_argument(
        "--texture",
        nargs="*",
        default=[],
        metavar="NAME=KIND",
        help=f"texture of the fills of the pipeline of that name: {', '.join(TEXTURES)}",
    )
    parser.add_argument("--telea", action="store_true", help="also judge OpenCV's Telea (2004)")
    parser.add_argument(
        "--navier_stokes", action="store_true", help="also judge OpenCV's Navier-Stokes (2001)"
    )
    parser.add_argument(
        "--patchmatch", action="store_true", help="also judge copies of the picture's own patches"
    )
    parser.add_argument(
        "--predictions",
        nargs="*",
        default=[],
        metavar="NAME=DIR",
        help="folders of pictures that other programs made of the exported pairs",
    )
    parser.add_argument(
        "--export_pairs", metavar="DIR", help="write the pairs for other programs into a new folder"
    )
    parser.add_argument("--data_dir", help="folder of pictures or of parquet files")
    parser.add_argument(
        "--dataset_name",
        help="in its place: a data set of the Hub, or a folder, read by the datasets library",
    )
    parser.add_argument("--dataset_config_name", help="configuration of that data set")
    parser.add_argument(
        "--faces",
        metavar="DIR",
        help="the pictures are aligned faces: put each into a photo of this folder (its split "
        "validation, or all), fill the photo, and judge the face",
    )
    parser.add_argument(
        "--image_column", default="image", help="column of the data set that holds the pictures"
    )
    parser.add_argument(
        "--split",
        default="validation",
        help=f"{', '.join(SPLITS)}: sub-folder or parquet files of that name (val is validation); "
        "all: every picture of a folder that nothing was trained on; of --dataset_name its own "
        "names (default: validation)",
    )
    parser.add_argument(
        "--bands",
        nargs="+",
        help="coverage in %%, as 10-30; easy, hard, extreme, all; poster (0-10 to 50-60); one "
        f"kind of hole ({', '.join(MIXTURES)}), as strokes-10-30; outpaint-right-50 or outpaint "
        "for left, right, both at 25, 50, 75 %%; mmt-50-60; files or files-10-30 from --mask_dir; "
        f"if not given, {' '.join(DEFAULT_BANDS)}, with --mask_dir files",
    )
    parser.add_argument(
        "--mask_dir", metavar="DIR", help="folder of mask files (white = hole) for files bands"
    )
    parser.add_argument(
        "--perceptual_network", help="JSON file of a feature network (cosine distance, FD, KID)"
    )
    parser.add_argument(
        "--resolution",
        type=side,
        help="side in px; that of the first pipeline if not given; native: the pictures' own, the "
        "shortest side among those judged",
    )
    parser.add_argument("--max_images", type=positive, help="judge only the first so many pictures")
    parser.add_argument("--batch_size", type=positive, default=50)
    parser.add_argument(
        "--num_samples",
        type=positive,
        default=1,
        help="fills of each hole compared for diversity (2 or more)",
    )
    parser.add_argument(
        "--variation", type=float, default=0.0, help="the pipelines' variation of these fills"
    )
    parser.add_argument(
        "--num_grid_images", type=positive, default=8, help="first pictures shown in the grids"
    )
    parser.add_argument("--seed", type=int, default=0, help="draws the masks")
    parser.add_argument(
        "--device",
        help="of the pipelines and the feature networks, as cuda; where not given, the pipelines' "
        "own, and the CPU",
    )
    parser.add_argument(
        "--output",
        help="folder for report.html, table.md, results.json, grid-*.png, the filled pictures and "
        "per_image.jsonl, by which an interrupted run goes on",
    )
    return parser


def methods_of(arguments):
    """(methods, resolution); the names are given or the folders', as results carry them.

    Raises: ValueError when there is nothing to judge, or not at which resolution, or for methods of
        one name.
    """
    pipelines = named_paths(arguments.pipelines)
    folders = [split_name(text) for text in arguments.predictions]
    classical = [name for name in CLASSICAL if getattr(arguments, name)]
    nameless = [f"--predictions {path!r} has no name; NAME=DIR" for n, path in folders if n is None]
    names = [name for name, _ in pipelines + folders if name is not None] + classical
    raise_problems(nameless + name_problems(names))
    blends = choices_of("blend", arguments.blend, BLENDS, pipelines)
    textures = choices_of("texture", arguments.texture, TEXTURES, pipelines)
    methods, resolution = [], arguments.resolution
    for name, path in pipelines:
        generator = path != BUNDLED and class_name(path) == StyleGAN2Pipeline.__name__
        if path == BUNDLED:
            pipe = default_pipeline()
        else:
            pipe = StyleGAN2Pipeline.from_pretrained(path) if generator else load_pipeline(path)
        if arguments.device:
            pipe = pipe.to(arguments.device)
        resolution = resolution or getattr(pipe, "resolution", None) or pipe.gan.resolution
        pipe.set_progress_bar_config(disable=True)
        if generator:
            methods.append(GeneratorMethod(name, pipe, arguments.seed))
            continue
        chosen = blends.get(name), textures.get(name)
        methods.append(PipelineMethod(name, pipe, arguments.seed, arguments.variation, *chosen))
    methods += [ClassicalMethod(name, CLASSICAL[name]) for name in classical]
    methods += [PredictionFolder(name, path) for name, path in folders]
    if not methods and not arguments.export_pairs:
        raise ValueError(
            "nothing to judge: give --pipelines DIR ..., --predictions NAME=DIR ..., --telea, "
            "--navier_stokes or --patchmatch, or --export_pairs DIR"
        )
    if resolution is None:
        raise ValueError("--resolution is missing; without a pipeline it has to be given")
    if methods and not arguments.output:
        raise ValueError("--output is missing; expected a folder for the report")
    return methods, resolution


def choices_of(flag, texts, kinds, pipelines):
    """{pipeline's name: kind} of the NAME=KIND texts of a flag.

    Raises: ValueError for other names or kinds.
    """
    chosen = dict(split_name(text) for text in texts)
    names = [name for name, _ in pipelines]
    if not {*chosen} <= {*names} or not {*chosen.values()} <= {*kinds}:
        raise ValueError(
            f"--{flag} is {texts}, expected NAME=KIND with a pipeline's name ({names}) and one of "
            f"{kinds}"
        )
    return chosen


def native_side(arguments):
    """The shortest side among the pictures to be judged, so that none is enlarged."""
    pictures = pictures_of(arguments, 1)
    count = min(arguments.max_images or len(pictures), len(pictures))
    return min(min(pictures.open(i).size) for i in range(count))


def pictures_of(arguments, resolution):
    """The ImageDataset to judge on.

    Raises: ValueError, FileNotFoundError, ImportError for data that is not there.
    """
    if bool(arguments.data_dir) == bool(arguments.dataset_name):
        given = "both" if arguments.data_dir else "neither"
        raise ValueError(f"--data_dir and --dataset_name: {given} given, expected one of them")
    column, entries = arguments.image_column, None
    if arguments.dataset_name:
        name, configuration = arguments.dataset_name, arguments.dataset_config_name
        table = hub_dataset(name, configuration, arguments.split, column, streaming=False)
        entries = HubEntries(table, column)
    return ImageDataset(
        arguments.data_dir,
        arguments.split if entries is None else "validation",
        resolution,
        keep_decoded=True,
        image_column=column,
        entries=entries,
    )


def bands_of(arguments):
    """The bands asked for.

    Raises: ValueError for what is none, or for mask files that no band takes its holes from.
    """
    files = MaskFiles(arguments.mask_dir) if arguments.mask_dir else None
    bands = parse_bands(arguments.bands or ([FILES] if files else DEFAULT_BANDS), files)
    if files and not any(getattr(band, "files", None) for band in bands):
        raise ValueError(
            f"--mask_dir is given, but --bands {' '.join(arguments.bands)} take nothing from it; "
            "name files or files-LOW-HIGH among them"
        )
    return bands


def raise_problems(lines):
    """Raises: ValueError that lists all lines, if there is any."""
    if lines:
        more = [f"... and {len(lines) - MAX_PROBLEMS} more"] if len(lines) > MAX_PROBLEMS else []
        listed = "\n  ".join(lines[:MAX_PROBLEMS] + more)
        raise ValueError(f"{len(lines)} problems; nothing was judged:\n  {listed}")


def evaluate(arguments):
    """Judge and write the report; returns {band: {method: {metric: summary}}}, None when pairs were
    only exported.

    Raises: ValueError that lists everything wrong with the predictions, before anything is written.
    """
    bands = bands_of(arguments)
    methods, resolution = methods_of(arguments)
    generators = [method for method in methods if isinstance(method, GeneratorMethod)]
    methods = [method for method in methods if method not in generators]
    network, device = None, arguments.device or "cpu"
    if arguments.perceptual_network:
        network = FeatureNetwork(arguments.perceptual_network, device)
    if arguments.num_samples > 1 and network is None:
        raise ValueError(
            f"--num_samples is {arguments.num_samples}, but diversity is a distance of features; "
            "give --perceptual_network"
        )
    if resolution == NATIVE:
        resolution = native_side(arguments)
    pictures = pictures_of(arguments, resolution)
    if arguments.faces:
        photos = ImageDataset(arguments.faces, held_out_split(arguments.faces), PHOTO_PX)
        methods = in_photos(methods, photos, arguments.seed)
    sets = [EvaluationPairs(pictures, b, arguments.seed, arguments.max_images) for b in bands]
    raise_problems(
        [
            line
            for method in methods
            for pairs in sets
            for line in method.problems(slug(pairs.band), pairs, arguments.num_samples)
        ]
    )
    if arguments.export_pairs:
        for line in export_pairs(arguments.export_pairs, sets):
            print(line)
    if not methods + generators:
        return None
    scorer = Scorer(network, arguments.num_samples, device)
    arena = Arena(methods, scorer, Path(arguments.output), arguments.batch_size)
    judged = [arena.judge(pairs) for pairs in sets] if methods else []
    results = {j.band: j.results for j in judged}
    count = min(arguments.max_images or len(pictures), len(pictures))
    if generators:
        results[SAMPLES] = judge_samples(
            generators, pictures, count, scorer, Path(arguments.output)
        )
    settings = settings_of(arguments, methods + generators, resolution, network, judged)
    report = {
        "settings": settings | {"num_images": count},
        "results": results,
        "unavailable": scorer.unavailable,
        "notes": [note for j in judged for note in j.notes],
        "paired_differences": {j.band: paired_differences(j.values) for j in judged},
    }
    names = [method.name for method in methods]
    count = arguments.num_grid_images
    grids = {slug(j.pairs.band): first_pictures(j, names, count) for j in judged}
    page = html_page(report, judged, names)
    write_report(Path(arguments.output), report, page, grids)
    return results


def settings_of(arguments, methods, resolution, network, judged):
    """What was run, without where on this machine."""
    private = ("output", "data_dir", "faces", "export_pairs", "predictions", "mask_dir")
    settings = {k: v for k, v in vars(arguments).items() if k not in private}
    settings |= {
        "resolution": resolution,
        "mean_coverage": {j.band: float(np.mean(j.coverage)) for j in judged},
        "coverage": [coverage_line(j.band, j.coverage, j.pairs.remark) for j in judged],
        "grid_columns": ["original", "masked", *(m.name for m in methods if m.kind != "generator")],
        "methods": {method.name: method.kind for method in methods},
        "pipelines": [m.name for m in methods if isinstance(m, PipelineMethod)],
        "faces_in_photos_px": PHOTO_PX if arguments.faces else None,
    }
    if network:
        settings["perceptual_network"] = network.name
    return settings


def first_pictures(judged, names, count):
    """PIL grid of the first pairs of a band: original, masked, every method."""
    rows = []
    for index in range(min(count, len(judged.pairs))):
        original, mask = judged.pairs[index]
        fills = [judged.picture(name, index) for name in names]
        rows.append([original, masked_picture(original, mask), *fills])
    return picture_grid(rows)


def main(argv=None):
    arguments = build_parser().parse_args(argv)
    try:
        results = evaluate(arguments)
    except (OSError, ModuleNotFoundError, ValueError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    if results is not None:
        print((Path(arguments.output) / "table.md").read_text("utf-8"))


if __name__ == "__main__":
    main()
