"""Many files through one pipeline: decoding, filling and writing overlap, nothing is done twice.

Every window has the network's size, so pictures of any sizes can share a pass. They are taken in
the order of their sizes, so that a batch holds like ones and its memory is bounded by its pixels.
"""

import os
import time
import unicodedata
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np
import torch
from PIL import Image

from inpaint_hub.formats import (
    LOSSLESS,
    not_held,
    open_picture,
    openable_endings,
    pixels_in,
    save_picture,
    target_for,
)
from inpaint_hub.images import Picture, UnreadableImageError, read_images, read_masks
from inpaint_hub.provenance import among_texts, describe

BATCH_PIXELS = 64_000_000  # of one pass's pictures together: about 0.2 GB as RGB
Filled = Image.Image | np.ndarray  # as Picture.fill returns it for a file
READERS = WRITERS = 4  # Pillow decodes and encodes outside the interpreter's lock


class EmptyMaskError(ValueError):
    """A mask that selects nothing of its picture."""


class Job(NamedTuple):
    """picture and mask: files to read; target: file to write; problem: why there is no mask."""

    picture: Path
    mask: Path | None
    target: Path
    problem: str = "no mask of its name"


class Report(NamedTuple):
    """filled: number of pictures; failures: what went wrong, by file; seconds it took; empty: the
    pictures whose masks select nothing; notes: what was done but not as might be thought."""

    filled: int
    failures: list[str]
    seconds: float
    empty: list[str]
    notes: list[str]


Ready = tuple[Job, Picture, np.ndarray]  # a job, its picture and its hole


def is_done(job: Job) -> bool:
    """Whether its result is there; files are put in place complete or not at all."""
    return any(job.target.with_suffix(ending).is_file() for ending in (job.target.suffix, ".tif"))


def is_picture(path: Path) -> bool:
    """Whether the name is that of a picture file; those that begin with a dot are other programs'
    notes."""
    return path.suffix.lower() in openable_endings() and path.name[0] != "." and path.is_file()


def jobs_of(image: Path, mask: Path, output: Path) -> tuple[list[Job], list[str]]:
    """([Job], names of what is left out of the folder), from files or folders.

    A mask belongs to the picture of the same file name, else to the one of the same stem; spelling
    that cannot be seen (composed accents) and case do not count.

    Raises: FileNotFoundError, ValueError for paths that make no job.
    """
    for name, path in (("--image", image), ("--mask", mask)):
        if not path.exists():
            raise FileNotFoundError(f"{name} {str(path)!r} does not exist; check the path")
    looks_like_a_file = output.suffix.lower() in Image.registered_extensions()
    left_out = []
    if image.is_file():
        pictures = [image]
        into_folder = output.is_dir() or not looks_like_a_file
        targets = [output / f"{image.stem}.png" if into_folder else output]
    else:
        if looks_like_a_file and not output.is_dir():
            raise ValueError(
                f"--image is a folder but --output {str(output)!r} looks like a file; give a folder"
            )
        for folder in (image, mask):
            if folder.is_dir() and output.is_dir() and os.path.samefile(folder, output):
                raise ValueError(
                    f"--output {str(output)!r} is a folder of inputs: a result would overwrite an "
                    "input, or be taken for one at the next run; give another folder"
                )
        pictures, left_out = pictures_of(image, output)
        targets = [output / f"{name}.png" for name in result_names(pictures)]
    if mask.is_dir():
        masks = masks_for(pictures, [path for path in sorted(mask.iterdir()) if is_picture(path)])
    else:
        masks = [(mask, "")] * len(pictures)
    jobs = [Job(p, m, t, problem) for p, t, (m, problem) in zip(pictures, targets, masks)]
    inputs = {path.resolve() for job in jobs for path in job[:2] if path}
    for job in jobs:
        if job.target.suffix.lower() not in LOSSLESS:
            raise ValueError(
                f"--output {str(job.target)!r} would lose known pixels; expected one of "
                f"{sorted(LOSSLESS)}"
            )
        if job.target.resolve() in inputs:
            raise ValueError(
                f"--output {str(job.target)!r} would overwrite an input; give another file or "
                "folder"
            )
    return jobs, left_out


def pictures_of(folder: Path, output: Path) -> tuple[list[Path], list[str]]:
    """(picture files, names of everything else but the output folder and names with a dot).

    Raises: FileNotFoundError where there is no picture.
    """
    pictures, others = [], []
    for path in sorted(folder.iterdir()):
        if is_picture(path):
            pictures.append(path)
        elif path.name[0] != "." and path.resolve() != output.resolve():
            others.append(f"{path.name}/" if path.is_dir() else path.name)
    if not pictures:
        seen = f"; it holds {', '.join(others)}" if others else ""
        raise FileNotFoundError(
            f"--image {str(folder)!r} holds no picture{seen}; give a folder with picture files in "
            "it, such as .jpg or .png"
        )
    return pictures, others


def result_names(pictures: list[Path]) -> list[str]:
    """What each result is called, without ending: the picture's stem where that is one picture's
    alone, else its whole name, "a.jpg" and "a.png"."""
    names = [path.stem for path in pictures]
    while True:
        number = Counter(names)
        clashing = [n != p.name and number[n] > 1 for n, p in zip(names, pictures)]
        if not any(clashing):
            return names
        names = [p.name if clash else n for n, p, clash in zip(names, pictures, clashing)]


def as_read(name: str) -> str:
    """Equal for names that a person would call equal."""
    return unicodedata.normalize("NFC", name).casefold()


def masks_for(pictures: list[Path], masks: list[Path]) -> list[tuple[Path | None, str]]:
    """[(mask, "") or (None, why there is none)], one for each picture."""
    by_name, by_stem = defaultdict(list), defaultdict(list)
    for mask in masks:
        by_name[as_read(mask.name)].append(mask)
        by_stem[as_read(mask.stem)].append(mask)
    taken = {as_read(picture.name) for picture in pictures}
    fitting = []
    for picture in pictures:
        named = by_name[as_read(picture.name)]
        found = [m for m in named if m.name == picture.name] or named
        if not found:
            alike = by_stem[as_read(picture.stem)]
            found = [m for m in alike if m.stem == picture.stem] or alike
            found = [m for m in found if as_read(m.name) not in taken] or found[:1]
        fitting.append(found)
    return [_one_mask(picture, fitting, i) for i, picture in enumerate(pictures)]


def _one_mask(picture: Path, fitting: list[list[Path]], index: int) -> tuple[Path | None, str]:
    found = fitting[index]
    if not found:
        return None, f"no mask named {picture.stem}.* in the folder of masks"
    if len(found) > 1:
        names = " and ".join(mask.name for mask in found)
        return None, f"{len(found)} masks fit: {names}; keep one, or name it {picture.name}"
    if as_read(found[0].name) != as_read(picture.name) and fitting.count(found) > 1:
        return None, (
            f"the mask {found[0].name} fits other pictures, too; name a mask {picture.name}"
        )
    return found[0], ""


def batches_of(jobs: list[Job], sizes: Iterable[int], batch_size: int) -> list[list[Job]]:
    """Lists of at most batch_size jobs and BATCH_PIXELS pixels, small pictures first."""
    batches, pixels = [], 0
    for size, job in sorted(zip(sizes, jobs), key=lambda pair: pair[0]):
        if not batches or len(batches[-1]) == batch_size or pixels + size > BATCH_PIXELS:
            batches.append([])
            pixels = 0
        batches[-1].append(job)
        pixels += size
    return batches


def read(job: Job, invert_mask: bool) -> tuple[Picture, np.ndarray]:
    """(Picture, its hole, bool [H,W]).

    Raises: FileNotFoundError without a mask; EmptyMaskError; ValueError for what inpaint_hub.images
        refuses.
    """
    if job.mask is None:
        raise FileNotFoundError(job.problem)
    picture = open_picture(job.picture)
    try:
        mask = open_picture(job.mask)
    except UnreadableImageError as error:
        raise UnreadableImageError(f"mask {job.mask}: {error}") from error
    hole = read_masks(mask, [picture], invert_mask)[0]
    if not hole.any():
        raise EmptyMaskError(
            f"the mask {job.mask} selects nothing: {mask.described()}; expected "
            f"{'black' if invert_mask else 'white'} where to fill (of two values the "
            f"{'darker' if invert_mask else 'brighter'}); paint it so"
        )
    return picture, hole


def write(
    job: Job,
    result: Filled,
    picture: Picture,
    hole: np.ndarray,
    concat: bool = False,
    provenance: dict[str, Any] | None = None,
) -> list[str]:
    """Write the result, without touching the inputs; never leaves half a file. Returns notes.

    provenance: see inpaint_hub.provenance; written into the file.
    """
    notes = [*picture.notes]
    if hidden := picture.hidden_share(hole):
        notes.append(
            f"{hidden:.0%} of the hole is fully transparent: the fill is there, but not to be seen"
        )
    if concat:
        result = side_by_side(picture, hole, result)
    target = target_for(job.target, result)
    if target.resolve() in (job.picture.resolve(), job.mask.resolve()):
        raise ValueError(
            f"its result {str(target)!r} would overwrite an input; give another folder"
        )
    if target != job.target:
        kind = getattr(result, "mode", "16-bit color")
        notes.append(f"written to {target.name}, since {job.target.suffix} does not hold {kind}")
    if lost := not_held(target, picture.metadata):
        notes.append(f"{target.suffix} holds no {', '.join(lost)}: left out")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{uuid4().hex}.partial{target.suffix}")
    try:
        metadata = picture.metadata
        if provenance:
            texts = among_texts(provenance, metadata.get("text", {}))
            metadata = {**metadata, "text": texts}
        save_picture(result, partial, metadata)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return notes


def side_by_side(picture: Picture, hole: np.ndarray, result: Filled) -> Image.Image:
    """PIL.Image, RGB: picture, mask and result beside each other."""
    shown = np.repeat((hole * np.uint8(255))[..., None], 3, axis=2)
    return Image.fromarray(
        np.concatenate([picture.pixels, shown, read_images(result)[0].pixels], axis=1)
    )


def fill(
    pipe: Callable[..., Any],
    pictures: list[Picture],
    holes: list[np.ndarray],
    seed: int | None,
    options: dict[str, Any],
) -> list[tuple[Filled, list[Any]]]:
    """[(filled picture of its own kind, its Routes)]; with a seed, each as if it were the only
    one."""
    generators = None
    if seed is not None:
        generators = [torch.Generator().manual_seed(seed) for _ in pictures]
    with torch.inference_mode():
        output = pipe(pictures, holes, generator=generators, output_type="native", **options)
    routes = getattr(output, "routes", None) or []
    return [
        (image, [route for route in routes if route.picture == index])
        for index, image in enumerate(output.images)
    ]


def fill_files(
    pipe: Callable[..., Any],
    jobs: list[Job],
    *,
    batch_size: int = 8,
    invert_mask: bool = False,
    seed: int | None = None,
    options: dict[str, Any] | None = None,
    concat: bool = False,
    done: Callable[[int], object] | None = None,
    revision: str | None = None,
) -> Report:
    """Fill the pictures of all jobs; files that fail are reported and do not stop the others.

    Args:
        batch_size: pictures in one pass at most.
        seed: of the generator's noise, the same for each picture.
        options: other arguments of the pipeline's call.
        concat: write picture, mask and result beside each other.
        done: called with a number of jobs whenever so many more are finished.
        revision: commit of the pipeline's repository, for the files' provenance.

    Returns: Report.
    """
    start = time.perf_counter()
    failures, empty, notes, filled, writing = [], [], [], 0, deque()
    options, done = options or {}, done or (lambda count: None)

    def failed(job: Job, error: BaseException) -> None:
        told = empty if isinstance(error, EmptyMaskError) else failures
        told.append(f"{job.picture}: {error if str(error) else type(error).__name__}")
        done(1)

    def finish(pending: int) -> None:
        nonlocal filled
        while len(writing) > pending:
            job, future = writing.popleft()
            if error := future.exception():
                failed(job, error)
            else:
                notes.extend(f"{job.picture}: {note}" for note in future.result())
                filled += 1
                done(1)

    with ThreadPoolExecutor(READERS) as readers, ThreadPoolExecutor(WRITERS) as writers:
        sizes = readers.map(pixels_in, [job.picture for job in jobs])
        batches = batches_of(jobs, sizes, batch_size)
        reading = deque()
        for index in range(len(batches)):
            for batch in batches[index + len(reading) : index + 2]:  # one ahead
                reading.append([(job, readers.submit(read, job, invert_mask)) for job in batch])
            ready = []
            for job, future in reading.popleft():
                if error := future.exception():
                    failed(job, error)
                else:
                    ready.append((job, *future.result()))
            for entry, (result, routes) in filled_or_failed(pipe, ready, seed, options, failed):
                job, picture, hole = entry
                made = describe(
                    pipe,
                    revision=revision,
                    seed=seed,
                    coverage=hole.mean(),
                    routes=[f"{route.route}: {route.reason}" for route in routes] or None,
                    **options,
                )
                writing.append(
                    (job, writers.submit(write, job, result, picture, hole, concat, made))
                )
            finish(2 * batch_size)
        finish(0)
    return Report(filled, failures, time.perf_counter() - start, empty, notes)


def filled_or_failed(
    pipe: Callable[..., Any],
    ready: list[Ready],
    seed: int | None,
    options: dict[str, Any],
    failed: Callable[[Job, BaseException], None],
) -> list[tuple[Ready, tuple[Filled, list[Any]]]]:
    """[((job, Picture, hole), result)] of a batch; if it fails as one, picture by picture."""
    if not ready:
        return []
    try:
        _, pictures, holes = zip(*ready)
        results = fill(pipe, list(pictures), list(holes), seed, options)
        return list(zip(ready, results))
    except Exception as error:  # one picture's fault must not cost the others
        if len(ready) == 1:
            failed(ready[0][0], error)
            return []
        return [
            pair for one in ready for pair in filled_or_failed(pipe, [one], seed, options, failed)
        ]
