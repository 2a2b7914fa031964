"""Encoded pictures -> decoded squares of one size."""

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from torch.utils.data import Dataset, get_worker_info

from inpaint_hub.data.sources import (
    ALL,
    SPLIT_NAMES,
    folders_of,
    identities_of,
    joined,
    local_entries,
)
from inpaint_hub.images import read_images

SPLITS = (*SPLIT_NAMES, ALL)
UNREADABLE = (OSError,)  # what open_rgb raises
MAX_KEPT_BYTES = 2 << 30  # decoded pictures held in memory, by a process with its loading workers


def open_rgb(entry: bytes | str | Path) -> Image.Image:
    """Encoded bytes or a path -> the picture, upright, as RGB PIL.Image of its own size, read as
    `images` reads pictures: 16 bits by their high bytes, what is transparent over white.

    Raises: OSError for whatever cannot be read.
    """
    try:
        with Image.open(io.BytesIO(entry) if isinstance(entry, bytes) else entry) as image:
            if image.mode == "RGB" and "transparency" not in image.info:
                return ImageOps.exif_transpose(image)
            (picture,) = read_images(image)
            return Image.fromarray(picture.pixels)
    except Exception as error:  # Pillow's decoders raise nearly anything
        raise OSError(f"{type(error).__name__}: {error}") from error


def fitted(picture: Image.Image, side: int) -> np.ndarray:
    """PIL.Image -> uint8 [side,side,3]: the largest centered square, resized."""
    return np.asarray(ImageOps.fit(picture, (side, side), Image.Resampling.LANCZOS))


def covering(picture: Image.Image, side: int, scale_min: float = 1.0) -> np.ndarray:
    """PIL.Image -> uint8 [h,w,3] with the shorter side `side`, to be cropped; with scale_min below
    1 up to side / scale_min, as far as the picture goes."""
    shorter = min(picture.size)
    target = min(max(shorter, side), math.ceil(side / scale_min))
    if target == shorter:
        return np.asarray(picture)
    size = [max(target, round(length * target / shorter)) for length in picture.size]
    return np.asarray(picture.resize(size, Image.Resampling.LANCZOS))


def cropped(
    pixels: np.ndarray, side: int, rng: np.random.Generator | None = None, scale_min: float = 1.0
) -> np.ndarray:
    """uint8 [h,w,3] -> [side,side,3] at a place drawn by `rng`, or in the center.

    scale_min: smallest share of the shorter side that a square may have; its side is drawn evenly
    from there to the whole, and is never below `side`. Without rng, the whole.
    """
    shorter = min(pixels.shape[:2])
    length = shorter
    if rng is not None and scale_min < 1:
        length = round(rng.uniform(max(side, scale_min * shorter), shorter))
    spare = [extent - length for extent in pixels.shape[:2]]
    top, left = (extra // 2 if rng is None else int(rng.integers(extra + 1)) for extra in spare)
    square = pixels[top : top + length, left : left + length]
    if length == side:
        return square
    resized = Image.fromarray(square).resize((side, side), Image.Resampling.LANCZOS)
    return np.asarray(resized)


def held_back(count: int, fraction: float) -> np.ndarray:
    """bool [count]: which pictures are held back from training. Every 1/fraction-th, so that all
    parts of a sorted set are among them, and those of a shorter set are those of a longer one."""
    marks = np.floor(np.arange(count + 1) * fraction + 1e-9)
    return marks[1:] > marks[:-1]


class ImageDataset(Dataset):
    """Pictures of one split as squares of `resolution` px.

    Args:
        path: a folder with sub-folders named like the splits, searched recursively for pictures
            Pillow can open (one without any is all train), or a folder with `<split>-*.parquet`
            files whose column `image` holds {bytes, path}, as the Hub stores image data sets.
            Several folders, separated by commas, are one data set.
        split: "train", "validation" (or "val", which is the same), "test", or "all" of a folder.
        resolution: side of the squares in px.
        max_images: keep only the first so many.
        image_column: column that holds the pictures.
        keep_decoded: hold decoded pictures in memory after their first use, up to 2 GB.
        center_crop: cut the center; else a random place of the picture.
        crop_scale_min: below 1, the squares are cut at random places and their side is drawn
            between this share of the picture's shorter side and all of it; a square smaller than
            `resolution`, which would have to be enlarged, is never drawn.
        holdout_fraction: share of the pictures, evenly spread and always the same, that is held
            back.
        held_out: give those instead of the others.
        entries: encoded pictures (bytes or paths) to use instead of `path`, as hub_entries'.

    Raises: FileNotFoundError where there is no such folder or it holds no picture.
    """

    def __init__(
        self,
        path: str | Path | None,
        split: str = "train",
        resolution: int = 256,
        max_images: int | None = None,
        keep_decoded: bool = False,
        image_column: str = "image",
        center_crop: bool = True,
        crop_scale_min: float = 1.0,
        entries: Sequence | None = None,
        holdout_fraction: float = 0.0,
        held_out: bool = False,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"split is {split!r}, expected one of {SPLITS}")
        if entries is None:
            folders = folders_of(path)
            entries = joined([local_entries(f, split, image_column) for f in folders])
        self.entries = entries
        count = len(entries) if max_images is None else min(max_images, len(entries))
        held = held_back(count, holdout_fraction)
        self.indices = np.flatnonzero(held if held_out else ~held)
        self.resolution, self.crop_scale_min = resolution, crop_scale_min
        self.center_crop = center_crop and crop_scale_min == 1
        self.decoded = {} if keep_decoded else None
        self.kept_bytes = 0

    def __len__(self) -> int:
        return len(self.indices)

    def name(self, index: int) -> str:
        """What a message calls picture `index`: its path, or its row."""
        index = int(self.indices[index])
        if hasattr(self.entries, "name"):
            return self.entries.name(index)
        entry = self.entries[index]
        return f"row {index}" if isinstance(entry, bytes) else str(entry)

    def within(self) -> list[str]:
        """What tells these pictures from others without reading them: paths relative to the folder
        they share, or files and their numbers of rows; and which of them are used."""
        held = "" if len(self.indices) == len(self.entries) else f"{self.indices.tolist()}"
        return [*identities_of(self.entries), held]

    def open(self, index: int) -> Image.Image:
        """The stored picture, upright, as RGB PIL.Image of its own size."""
        return open_rgb(self.entries[int(self.indices[index])])

    def _resized(self, index: int) -> np.ndarray:
        if self.decoded is not None and index in self.decoded:
            return self.decoded[index]
        picture = self.open(index)
        if self.center_crop:
            pixels = fitted(picture, self.resolution)
        else:
            pixels = covering(picture, self.resolution, self.crop_scale_min)
        worker = get_worker_info()
        room = MAX_KEPT_BYTES // (worker.num_workers if worker else 1)
        if self.decoded is not None and self.kept_bytes + pixels.nbytes <= room:
            self.decoded[index] = pixels
            self.kept_bytes += pixels.nbytes
        return pixels

    def load(self, index: int, rng: np.random.Generator | None = None) -> np.ndarray:
        """uint8 [s,s,3]; rng: numpy Generator that draws the place and the scale of a random crop
        (else the largest centered square)."""
        return cropped(self._resized(index), self.resolution, rng, self.crop_scale_min)

    __getitem__ = load
