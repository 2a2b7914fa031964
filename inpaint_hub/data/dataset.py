"""Folder, Hub-layout parquet or Hub data set -> square pictures; every random choice is keyed by
(seed, epoch, index)."""

import io
import itertools
import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch.utils.data import Dataset, IterableDataset, Sampler, default_collate, get_worker_info

from inpaint_hub.images import to_tensor
from inpaint_hub.masks.difficulty import outpainting_mask, training_mask

SPLITS = ("train", "validation")
MASKS = {"mixture": training_mask, "outpainting": outpainting_mask}
# What Pillow raises for files that are cut off, damaged or no pictures at all.
UNREADABLE = (OSError, SyntaxError, ValueError, RuntimeError, Image.DecompressionBombError)
MAX_KEPT_BYTES = 2 << 30  # decoded pictures held in memory, by a process with its loading workers
SHUFFLE_BUFFER = 1000  # examples among which a stream is shuffled


def open_rgb(entry):
    """Encoded bytes or a path -> the picture, upright, as RGB PIL.Image of its own size."""
    with Image.open(io.BytesIO(entry) if isinstance(entry, bytes) else entry) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


def fitted(picture, side):
    """PIL.Image -> uint8 [side,side,3]: the largest centred square, resized."""
    return np.asarray(ImageOps.fit(picture, (side, side), Image.Resampling.LANCZOS))


def covering(picture, side, scale_min=1.0):
    """PIL.Image -> uint8 [h,w,3] with the shorter side `side`, to be cropped; with scale_min below
    1 up to side / scale_min, as far as the picture goes."""
    shorter = min(picture.size)
    target = min(max(shorter, side), math.ceil(side / scale_min))
    if target == shorter:
        return np.asarray(picture)
    size = [max(target, round(length * target / shorter)) for length in picture.size]
    return np.asarray(picture.resize(size, Image.Resampling.LANCZOS))


class ImageDataset(Dataset):
    """Pictures of one split as squares of `resolution` px.

    Args:
        path: a folder searched recursively for pictures Pillow can open (its sub-folder named like
            the split is used when there is one), or a folder with `<split>-*.parquet` files whose
            column `image` holds {bytes, path}, as the Hub stores image data sets. Several folders,
            separated by commas, are one data set.
        split: "train" or "validation".
        resolution: side of the squares in px.
        max_images: keep only the first so many.
        image_column: column that holds the pictures.
        keep_decoded: hold decoded pictures in memory after their first use, up to 2 GB.
        center_crop: cut the centre; else a random place of the picture.
        crop_scale_min: below 1, the squares are cut at random places and their side is drawn
            between this share of the picture's shorter side and all of it; a square smaller than
            `resolution`, which would have to be enlarged, is never drawn.
        entries: encoded pictures (bytes or paths) to use instead of `path`, as hub_entries'.

    Raises: FileNotFoundError where there is no such folder or it holds no picture.
    """

    def __init__(
        self,
        path,
        split="train",
        resolution=256,
        max_images=None,
        keep_decoded=False,
        image_column="image",
        center_crop=True,
        crop_scale_min=1.0,
        entries=None,
    ):
        if split not in SPLITS:
            raise ValueError(f"split is {split!r}, expected one of {SPLITS}")
        if entries is None:
            folders = folders_of(path)
            found = [local_entries(folder, split, image_column) for folder in folders]
            entries = list(itertools.chain.from_iterable(found))
        self.entries = entries
        self.num_images = len(entries) if max_images is None else min(max_images, len(entries))
        self.resolution, self.crop_scale_min = resolution, crop_scale_min
        self.center_crop = center_crop and crop_scale_min == 1
        self.decoded = {} if keep_decoded else None
        self.kept_bytes = 0

    def __len__(self):
        return self.num_images

    def name(self, index):
        """What a message calls picture `index`: its path, or its row."""
        entry = self.entries[index]
        return f"row {index}" if isinstance(entry, bytes) else str(entry)

    def open(self, index):
        """The stored picture, upright, as RGB PIL.Image of its own size."""
        return open_rgb(self.entries[index])

    def _resized(self, index):
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

    def load(self, index, rng=None):
        """uint8 [s,s,3]; rng: numpy Generator that draws the place and the scale of a random crop
        (else the largest centred square)."""
        return cropped(self._resized(index), self.resolution, rng, self.crop_scale_min)

    __getitem__ = load


def cropped(pixels, side, rng=None, scale_min=1.0):
    """uint8 [h,w,3] -> [side,side,3] at a place drawn by `rng`, or in the centre.

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


def folders_of(text):
    """Paths of "DATA", or of "DATA,MORE"; a folder whose name has a comma is one."""
    if Path(text).is_dir():
        return [text]
    return [part.strip() for part in str(text).split(",") if part.strip()] or [text]


def local_entries(path, split, image_column="image"):
    """Paths of a folder's pictures, or the encoded pictures of its <split>-*.parquet files.

    Raises: FileNotFoundError where there are none; ValueError for a missing column.
    """
    root = Path(path)
    if not root.is_dir():
        raise FileNotFoundError(
            f"data folder {str(path)!r} does not exist; expected a folder of pictures or of "
            f"{split}-*.parquet files; check --train_data_dir"
        )
    parquet = sorted(root.glob(f"{split}-*.parquet")) or sorted(
        root.glob(f"data/{split}-*.parquet")
    )
    if parquet:
        entries = list(
            itertools.chain.from_iterable(_parquet_bytes(f, image_column) for f in parquet)
        )
    else:
        folder = root / split if (root / split).is_dir() else root
        endings = Image.registered_extensions()
        entries = sorted(
            p for p in folder.rglob("*") if p.suffix.lower() in endings and p.is_file()
        )
    if not entries:
        raise FileNotFoundError(
            f"data folder {str(path)!r} holds no picture for split {split!r}; expected pictures or "
            f"{split}-*.parquet files in it; point --train_data_dir at them"
        )
    return entries


def _parquet_bytes(file, column):
    """Encoded pictures of one parquet file; only `column` is read."""
    import pyarrow.parquet as pq

    present = pq.read_schema(file).names
    if column not in present:
        raise ValueError(
            f"{str(file)!r} has no column {column!r}; it has {present}; "
            "name one with --image_column"
        )
    return [encoded(entry) for entry in pq.read_table(file, columns=[column])[column].to_pylist()]


class HubEntries:
    """Column of a map-style data set of the `datasets` library as encoded pictures."""

    def __init__(self, table, column):
        self.table, self.column = table, column

    def __len__(self):
        return len(self.table)

    def __getitem__(self, index):
        return encoded(self.table[index][self.column])


def encoded(value):
    """{bytes, path} -> bytes, or the path where a data set refers to files; of a row without a
    picture, b"", which cannot be read."""
    if value is None or value["bytes"] is value["path"] is None:
        return b""
    return value["bytes"] if value["bytes"] is not None else value["path"]


def hub_dataset(name, config_name, split, column, streaming, **options):
    """A data set of the Hub (or a local one, by its folder), its pictures left encoded.

    options: of datasets.load_dataset, as cache_dir. Raises: ImportError without the `datasets`
        library; FileNotFoundError when there is no such data set; ValueError for a missing column.
    """
    try:
        import datasets
    except ImportError as error:
        raise ImportError(
            "--dataset_name needs the datasets library: pip install datasets; or give "
            "--train_data_dir a folder"
        ) from error
    try:
        table = datasets.load_dataset(
            name, config_name, split=split, streaming=streaming, **options
        )
    except (OSError, ValueError) as error:
        raise FileNotFoundError(
            f"data set {name!r} (configuration {config_name}, split {split}) cannot be loaded: "
            f"{error}"
        ) from error
    present = list(table.features or {})
    if column not in present:
        raise ValueError(
            f"data set {name!r} has no column {column!r}; it has {present}; name one with "
            "--image_column"
        )
    return table.select_columns([column]).cast_column(column, datasets.Image(decode=False))


def draw_pair(pixels, rng, random_flip, masks):
    """uint8 [s,s,3] -> {"image", "mask"}, drawn by `rng`.

    Picture and mask are flipped independently (SPEC A10). masks: a key of MASKS, a function of
    (size, rng) -> mask, or None.
    """
    if random_flip and rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    pair = {"image": to_tensor([pixels])[0]}
    if masks is not None:
        mask = MASKS.get(masks, masks)(len(pixels), rng)
        if random_flip and rng.random() < 0.5:
            mask = mask[:, ::-1]
        pair["mask"] = torch.from_numpy(np.ascontiguousarray(mask)).float()[None]
    return pair


class TrainingPairs(Dataset):
    """(epoch, index) -> {"image": [3,s,s] in [-1,1], "mask": [1,s,s] in {0,1}, "unreadable": int}
    drawn by (seed, epoch, index).

    A picture that cannot be read is replaced by the next one that can; `unreadable` is then its
    index, else -1. masks: a key of MASKS, a function of (size, rng) -> mask, or None for pictures
    alone.

    Raises: ValueError when no picture of the data set can be read.
    """

    def __init__(self, pictures, seed, random_flip=True, masks="mixture"):
        self.pictures, self.seed = pictures, seed
        self.random_flip, self.masks = random_flip, masks

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, key):
        epoch, index = key
        rng = np.random.default_rng((self.seed, epoch, index))
        pictures, unreadable = self.pictures, -1
        for step in range(len(pictures)):
            try:
                pixels = pictures.load((index + step) % len(pictures), rng)
            except UNREADABLE:
                unreadable = index
                continue
            pair = draw_pair(pixels, rng, self.random_flip, self.masks)
            return pair | {"unreadable": unreadable}
        raise ValueError(
            f"none of the {len(pictures)} pictures can be read, as {pictures.name(index)}; "
            "expected files that Pillow opens; check --train_data_dir"
        )


class EndlessSampler(Sampler):
    """Keys (epoch, index) without end: every epoch a new permutation drawn by (seed, epoch).

    Process `rank` of `num_processes` takes batches rank, rank + num_processes, ... of the one
    global order, starting `start_batch` batches into it: resuming needs no replay of what was
    consumed.
    """

    def __init__(self, num_images, batch_size, seed, rank=0, num_processes=1, start_batch=0):
        self.num_images, self.batch_size, self.seed = num_images, batch_size, seed
        self.rank, self.num_processes, self.start_batch = rank, num_processes, start_batch

    def position(self, k):
        """Key at place k of the global order."""
        epoch, place = divmod(k, self.num_images)
        return epoch, int(self._order(epoch)[place])

    def _order(self, epoch):
        if getattr(self, "_cached", (None,))[0] != epoch:
            rng = np.random.default_rng((self.seed, epoch))
            self._cached = (epoch, rng.permutation(self.num_images))
        return self._cached[1]

    def __iter__(self):
        for batch in itertools.count(
            self.start_batch * self.num_processes + self.rank, self.num_processes
        ):
            first = batch * self.batch_size
            yield [self.position(k) for k in range(first, first + self.batch_size)]


class StreamedPairs(IterableDataset):
    """Batches of pairs, as TrainingPairs', from a data set that is read from front to back.

    table: a streaming data set of the `datasets` library, with `column` encoded. Every process and
    worker reads the whole stream, but decodes only its own batches: rank, rank + num_processes, ...
    of the one order, the first `start_batch` of them skipped. The stream is shuffled among
    SHUFFLE_BUFFER neighbours by (seed, epoch).
    """

    def __init__(
        self,
        table,
        column,
        resolution,
        batch_size,
        seed,
        random_flip=True,
        masks="mixture",
        center_crop=True,
        rank=0,
        num_processes=1,
        start_batch=0,
        crop_scale_min=1.0,
    ):
        self.table = table.shuffle(seed=seed, buffer_size=SHUFFLE_BUFFER)
        self.column, self.resolution = column, resolution
        self.batch_size, self.seed = batch_size, seed
        self.random_flip, self.masks = random_flip, masks
        self.crop_scale_min = crop_scale_min
        self.center_crop = center_crop and crop_scale_min == 1
        self.rank, self.num_processes, self.start_batch = rank, num_processes, start_batch

    def entries(self):
        """(epoch, index, encoded picture) without end."""
        for epoch in itertools.count():
            self.table.set_epoch(epoch)
            # In batches: read row by row, the library would share the rows out among the workers.
            batches = self.table.iter(batch_size=self.batch_size)
            values = itertools.chain.from_iterable(rows[self.column] for rows in batches)
            index = -1
            for index, value in enumerate(values):
                yield epoch, index, encoded(value)
            if index < 0:
                raise ValueError("the data set's stream is empty; expected pictures")

    def pair(self, epoch, index, entry):
        """The pair of one entry, or None where it cannot be read."""
        rng = np.random.default_rng((self.seed, epoch, index))
        try:
            picture = open_rgb(entry)
            if self.center_crop:
                pixels = fitted(picture, self.resolution)
            else:
                pixels = covering(picture, self.resolution, self.crop_scale_min)
        except UNREADABLE:
            return None
        pixels = cropped(pixels, self.resolution, rng, self.crop_scale_min)
        return draw_pair(pixels, rng, self.random_flip, self.masks)

    def __iter__(self):
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        entries = self.entries()
        for batch in itertools.count():
            rows = list(itertools.islice(entries, self.batch_size))
            local, owner = divmod(batch, self.num_processes)
            local -= self.start_batch
            if owner != self.rank or local < 0 or local % workers != number:
                continue
            pairs = [(index, self.pair(epoch, index, entry)) for epoch, index, entry in rows]
            readable = [pair for _, pair in pairs if pair is not None]
            if not readable:
                raise ValueError(
                    f"none of the {len(rows)} pictures of batch {batch} can be read; expected "
                    "files that Pillow opens; check --dataset_name and --image_column"
                )
            spare = itertools.cycle(readable)
            yield default_collate(
                [
                    (next(spare) if pair is None else pair)
                    | {"unreadable": index if pair is None else -1}
                    for index, pair in pairs
                ]
            )
