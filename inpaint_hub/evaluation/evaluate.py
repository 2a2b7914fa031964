"""One evaluation, from its EvaluationConfig: methods, pictures, bands -> judged, and reported."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image

from inpaint_hub.data import HubEntries, ImageDataset, held_out_split, hub_dataset
from inpaint_hub.evaluation.arena import Arena, JudgedBand
from inpaint_hub.evaluation.classical import navier_stokes, patchmatch, telea
from inpaint_hub.evaluation.config import BUNDLED, DEFAULT_BANDS, NATIVE, EvaluationConfig
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
from inpaint_hub.masks import MaskFiles
from inpaint_hub.pipelines import default_pipeline, load_pipeline
from inpaint_hub.pipelines.arguments import BLENDS
from inpaint_hub.pipelines.auto import class_name
from inpaint_hub.pipelines.stylegan2 import StyleGAN2Pipeline
from inpaint_hub.texture import TEXTURES

CLASSICAL = {"telea": telea, "navier_stokes": navier_stokes, "patchmatch": patchmatch}
MAX_PROBLEMS = 40
PHOTO_PX = 320  # side of the photos that --faces puts faces into


def methods_of(config: EvaluationConfig) -> tuple[list, int | str]:
    """(methods, resolution); the names are given or the folders', as results carry them.

    Raises: ValueError when there is nothing to judge, or not at which resolution, or for methods of
        one name.
    """
    pipelines = named_paths(config.pipelines)
    folders = [split_name(text) for text in config.predictions]
    classical = [name for name in CLASSICAL if getattr(config, name)]
    nameless = [f"--predictions {path!r} has no name; NAME=DIR" for n, path in folders if n is None]
    names = [name for name, _ in pipelines + folders if name is not None] + classical
    raise_problems(nameless + name_problems(names))
    blends = choices_of("blend", config.blend, BLENDS, pipelines)
    textures = choices_of("texture", config.texture, TEXTURES, pipelines)
    methods, resolution = [], config.resolution
    for name, path in pipelines:
        generator = path != BUNDLED and class_name(path) == StyleGAN2Pipeline.__name__
        if path == BUNDLED:
            pipe = default_pipeline()
        else:
            pipe = StyleGAN2Pipeline.from_pretrained(path) if generator else load_pipeline(path)
        if config.device:
            pipe = pipe.to(config.device)
        resolution = resolution or getattr(pipe, "resolution", None) or pipe.gan.resolution
        pipe.set_progress_bar_config(disable=True)
        if generator:
            methods.append(GeneratorMethod(name, pipe, config.seed))
            continue
        chosen = blends.get(name), textures.get(name)
        methods.append(PipelineMethod(name, pipe, config.seed, config.variation, *chosen))
    methods += [ClassicalMethod(name, CLASSICAL[name]) for name in classical]
    methods += [PredictionFolder(name, path) for name, path in folders]
    if not methods and not config.export_pairs:
        raise ValueError(
            "nothing to judge: give --pipelines DIR ..., --predictions NAME=DIR ..., --telea, "
            "--navier_stokes or --patchmatch, or --export_pairs DIR"
        )
    if resolution is None:
        raise ValueError("--resolution is missing; without a pipeline it has to be given")
    if methods and not config.output:
        raise ValueError("--output is missing; expected a folder for the report")
    return methods, resolution


def choices_of(
    flag: str, texts: Sequence[str], kinds: Sequence[str], pipelines: list[tuple[str, str]]
) -> dict[str, str]:
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


def native_side(config: EvaluationConfig) -> int:
    """The shortest side among the pictures to be judged, so that none is enlarged."""
    pictures = pictures_of(config, 1)
    count = min(config.max_images or len(pictures), len(pictures))
    return min(min(pictures.open(i).size) for i in range(count))


def pictures_of(config: EvaluationConfig, resolution: int) -> ImageDataset:
    """The ImageDataset to judge on.

    Raises: ValueError, FileNotFoundError, ImportError for data that is not there.
    """
    if bool(config.data_dir) == bool(config.dataset_name):
        given = "both" if config.data_dir else "neither"
        raise ValueError(f"--data_dir and --dataset_name: {given} given, expected one of them")
    column, entries = config.image_column, None
    if config.dataset_name:
        name, configuration = config.dataset_name, config.dataset_config_name
        table = hub_dataset(name, configuration, config.split, column, streaming=False)
        entries = HubEntries(table, column)
    return ImageDataset(
        config.data_dir,
        config.split if entries is None else "validation",
        resolution,
        keep_decoded=True,
        image_column=column,
        entries=entries,
    )


def bands_of(config: EvaluationConfig) -> list:
    """The bands asked for.

    Raises: ValueError for what is none, or for mask files that no band takes its holes from.
    """
    files = MaskFiles(config.mask_dir) if config.mask_dir else None
    bands = parse_bands(config.bands or ([FILES] if files else DEFAULT_BANDS), files)
    if files and not any(getattr(band, "files", None) for band in bands):
        raise ValueError(
            f"--mask_dir is given, but --bands {' '.join(config.bands)} take nothing from it; "
            "name files or files-LOW-HIGH among them"
        )
    return bands


def raise_problems(lines: list[str]) -> None:
    """Raises: ValueError that lists all lines, if there is any."""
    if lines:
        more = [f"... and {len(lines) - MAX_PROBLEMS} more"] if len(lines) > MAX_PROBLEMS else []
        listed = "\n  ".join(lines[:MAX_PROBLEMS] + more)
        raise ValueError(f"{len(lines)} problems; nothing was judged:\n  {listed}")


def evaluate(config: EvaluationConfig) -> dict | None:
    """Judge and write the report; returns {band: {method: {metric: summary}}}, None when pairs were
    only exported.

    Raises: ValueError that lists everything wrong with the predictions, before anything is written.
    """
    bands = bands_of(config)
    methods, resolution = methods_of(config)
    generators = [method for method in methods if isinstance(method, GeneratorMethod)]
    methods = [method for method in methods if method not in generators]
    network, device = None, config.device or "cpu"
    if config.perceptual_network:
        network = FeatureNetwork(config.perceptual_network, device)
    if config.num_samples > 1 and network is None:
        raise ValueError(
            f"--num_samples is {config.num_samples}, but diversity is a distance of features; "
            "give --perceptual_network"
        )
    if resolution == NATIVE:
        resolution = native_side(config)
    pictures = pictures_of(config, resolution)
    if config.faces:
        photos = ImageDataset(config.faces, held_out_split(config.faces), PHOTO_PX)
        methods = in_photos(methods, photos, config.seed)
    sets = [EvaluationPairs(pictures, b, config.seed, config.max_images) for b in bands]
    raise_problems(
        [
            line
            for method in methods
            for pairs in sets
            for line in method.problems(slug(pairs.band), pairs, config.num_samples)
        ]
    )
    if config.export_pairs:
        for line in export_pairs(config.export_pairs, sets):
            print(line)
    if not methods + generators:
        return None
    scorer = Scorer(network, config.num_samples, device)
    arena = Arena(methods, scorer, Path(config.output), config.batch_size)
    judged = [arena.judge(pairs) for pairs in sets] if methods else []
    results = {j.band: j.results for j in judged}
    count = min(config.max_images or len(pictures), len(pictures))
    if generators:
        results[SAMPLES] = judge_samples(generators, pictures, count, scorer, Path(config.output))
    settings = settings_of(config, methods + generators, resolution, network, judged)
    report = {
        "settings": settings | {"num_images": count},
        "results": results,
        "unavailable": scorer.unavailable,
        "notes": [note for j in judged for note in j.notes],
        "paired_differences": {j.band: paired_differences(j.values) for j in judged},
    }
    names = [method.name for method in methods]
    count = config.num_grid_images
    grids = {slug(j.pairs.band): first_pictures(j, names, count) for j in judged}
    page = html_page(report, judged, names)
    write_report(Path(config.output), report, page, grids)
    return results


def settings_of(
    config: EvaluationConfig,
    methods: list,
    resolution: int,
    network: FeatureNetwork | None,
    judged: list[JudgedBand],
) -> dict:
    """What was run, without where on this machine."""
    private = ("output", "data_dir", "faces", "export_pairs", "predictions", "mask_dir")
    settings = {k: v for k, v in asdict(config).items() if k not in private}
    settings |= {
        "resolution": resolution,
        "mean_coverage": {j.band: float(np.mean(j.coverage)) for j in judged},
        "coverage": [coverage_line(j.band, j.coverage, j.pairs.remark) for j in judged],
        "grid_columns": ["original", "masked", *(m.name for m in methods if m.kind != "generator")],
        "methods": {method.name: method.kind for method in methods},
        "pipelines": [m.name for m in methods if isinstance(m, PipelineMethod)],
        "faces_in_photos_px": PHOTO_PX if config.faces else None,
    }
    if network:
        settings["perceptual_network"] = network.name
    return settings


def first_pictures(judged: JudgedBand, names: list[str], count: int) -> Image.Image:
    """PIL grid of the first pairs of a band: original, masked, every method."""
    rows = []
    for index in range(min(count, len(judged.pairs))):
        original, mask = judged.pairs[index]
        fills = [judged.picture(name, index) for name in names]
        rows.append([original, masked_picture(original, mask), *fills])
    return picture_grid(rows)
