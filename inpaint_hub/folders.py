"""Many files through one pipeline: decoding, filling and writing overlap, nothing is done twice.

Every window has the network's size, so pictures of any sizes can share a pass. They are taken in
the order of their sizes, so that a batch holds like ones and its memory is bounded by its pixels.
"""

import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import torch
from PIL import Image

from inpaint_hub.images import read_images, read_masks

BATCH_PIXELS = 64_000_000  # of one pass's pictures together: about 0.2 GB as RGB
READERS = WRITERS = 4  # Pillow decodes and encodes outside the interpreter's lock


class Job(NamedTuple):
    """picture and mask: files to read (mask None: there is none); target: file to write."""

    picture: object
    mask: object
    target: object


class Report(NamedTuple):
    """filled: number of pictures; failures: what went wrong, by file; seconds it took."""

    filled: int
    failures: list
    seconds: float


def is_done(job):
    """Whether its result is there; files are put in place complete or not at all."""
    return job.target.is_file() or job.target.with_suffix(".tif").is_file()


def pixels_of(job):
    """Number of pixels by the file's header; 0 for what is no picture, which then fails alone."""
    try:
        with Image.open(job.picture) as image:
            return image.width * image.height
    except OSError:
        return 0


def batches_of(jobs, sizes, batch_size):
    """Lists of at most batch_size jobs and BATCH_PIXELS pixels, small pictures first."""
    batches, pixels = [], 0
    for size, job in sorted(zip(sizes, jobs), key=lambda pair: pair[0]):
        if not batches or len(batches[-1]) == batch_size or pixels + size > BATCH_PIXELS:
            batches.append([])
            pixels = 0
        batches[-1].append(job)
        pixels += size
    return batches


def read(job, invert_mask):
    """(decoded picture, its hole, bool [H,W]).

    Raises: FileNotFoundError without a mask; whatever Pillow and inpaint_hub.images raise.
    """
    if job.mask is None:
        raise FileNotFoundError(f"no mask named {job.picture.stem}.* in the folder of masks")
    with Image.open(job.picture) as image, Image.open(job.mask) as mask:
        image.load()
        return image.copy(), read_masks(mask, read_images(image), invert_mask)[0]


def write(job, result):
    """Write the result, without touching the inputs; never leaves half a file."""
    target = job.target
    if result.mode == "CMYK" and target.suffix.lower() == ".png":
        target = target.with_suffix(".tif")  # PNG has no CMYK
    if target.resolve() in (job.picture.resolve(), job.mask.resolve()):
        raise ValueError(
            f"its result {str(target)!r} would overwrite an input; give another folder"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.stem}.partial{target.suffix}")
    result.save(partial)
    partial.replace(target)


def fill(pipe, pictures, holes, seed, options):
    """Filled pictures; with a seed, each as if it were the only one."""
    generators = None
    if seed is not None:
        generators = [torch.Generator().manual_seed(seed) for _ in pictures]
    with torch.inference_mode():
        return pipe(pictures, holes, generator=generators, **options).images


def fill_files(pipe, jobs, *, batch_size=8, invert_mask=False, seed=None, options=None, done=None):
    """Fill the pictures of all jobs; files that fail are reported and do not stop the others.

    Args:
        batch_size: pictures in one pass at most.
        seed: of the generator's noise, the same for each picture.
        options: other arguments of the pipeline's call.
        done: called with a number of jobs whenever so many more are finished.

    Returns: Report.
    """
    start = time.perf_counter()
    failures, filled, writing = [], 0, deque()
    options, done = options or {}, done or (lambda count: None)

    def failed(job, error):
        failures.append(f"{job.picture}: {error or type(error).__name__}")
        done(1)

    def finish(pending):
        nonlocal filled
        while len(writing) > pending:
            job, future = writing.popleft()
            if error := future.exception():
                failed(job, error)
            else:
                filled += 1
                done(1)

    with ThreadPoolExecutor(READERS) as readers, ThreadPoolExecutor(WRITERS) as writers:
        batches = batches_of(jobs, readers.map(pixels_of, jobs), batch_size)
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
            for job, result in filled_or_failed(pipe, ready, seed, options, failed):
                writing.append((job, writers.submit(write, job, result)))
            finish(2 * batch_size)
        finish(0)
    return Report(filled, failures, time.perf_counter() - start)


def filled_or_failed(pipe, ready, seed, options, failed):
    """[(job, result)] of a batch; if it fails as one, picture by picture."""
    if not ready:
        return []
    try:
        _, pictures, holes = zip(*ready)
        results = fill(pipe, list(pictures), list(holes), seed, options)
        return list(zip([job for job, *_ in ready], results))
    except Exception as error:  # one picture's fault must not cost the others
        if len(ready) == 1:
            failed(ready[0][0], error)
            return []
        return [
            pair for one in ready for pair in filled_or_failed(pipe, [one], seed, options, failed)
        ]
