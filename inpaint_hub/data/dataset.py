"""Folder or Hub-layout parquet -> square pictures; every random choice is keyed by (seed, epoch,
index)."""

import io
import itertools
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch.utils.data import Dataset, Sampler

from inpaint_hub.images import to_tensor
from inpaint_hub.masks.difficulty import training_mask

SPLITS = ("train", "validation")


class ImageDataset(Dataset):
    """Pictures of one split, centre-cropped to a square and resized to `resolution`.

    Args:
        path: a folder searched recursively for pictures Pillow can open (its sub-folder named like
            the split is used when there is one), or a folder with `<split>-*.parquet` files whose
            column `image` holds {bytes, path}, as the Hub stores image data sets.
        split: "train" or "validation".
        resolution: side of the squares in px.
        max_images: keep only the first so many.
        image_column: column of the parquet files that holds {bytes, path}.
        keep_decoded: hold decoded squares in memory (3 s^2 bytes each) after their first use.

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
    ):
        if split not in SPLITS:
            raise ValueError(f"split is {split!r}, expected one of {SPLITS}")
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
            self.entries = list(
                itertools.chain.from_iterable(_parquet_bytes(f, image_column) for f in parquet)
            )
        else:
            folder = root / split if (root / split).is_dir() else root
            endings = Image.registered_extensions()
            self.entries = sorted(
                p for p in folder.rglob("*") if p.suffix.lower() in endings and p.is_file()
            )
        self.entries = self.entries[:max_images]
        if not self.entries:
            raise FileNotFoundError(
                f"data folder {str(path)!r} holds no picture for split {split!r}; expected "
                f"pictures or "
                f"{split}-*.parquet files in it; point --train_data_dir at them"
            )
        self.resolution = resolution
        self.decoded = {} if keep_decoded else None

    def __len__(self):
        return len(self.entries)

    def open(self, index):
        """The stored picture, upright, as RGB PIL.Image of its own size."""
        entry = self.entries[index]
        with Image.open(io.BytesIO(entry) if isinstance(entry, bytes) else entry) as image:
            return ImageOps.exif_transpose(image).convert("RGB")

    def load(self, index):
        """uint8 [s,s,3]."""
        if self.decoded is not None and index in self.decoded:
            return self.decoded[index]
        side = (self.resolution, self.resolution)
        pixels = np.asarray(ImageOps.fit(self.open(index), side, Image.Resampling.LANCZOS))
        if self.decoded is not None:
            self.decoded[index] = pixels
        return pixels

    __getitem__ = load


def _parquet_bytes(file, column):
    """Encoded pictures of one parquet file; only `column` is read."""
    import pyarrow.parquet as pq

    present = pq.read_schema(file).names
    if column not in present:
        raise ValueError(
            f"{str(file)!r} has no column {column!r}; it has {present}; "
            "name one with --image_column"
        )
    return [entry["bytes"] for entry in pq.read_table(file, columns=[column])[column].to_pylist()]


class TrainingPairs(Dataset):
    """(epoch, index) -> {"image": [3,s,s] in [-1,1], "mask": [1,s,s] in {0,1}} drawn by (seed,
    epoch, index).

    Picture and mask are flipped independently (SPEC A10).
    """

    def __init__(self, pictures, seed, random_flip=True, with_masks=True):
        self.pictures, self.seed = pictures, seed
        self.random_flip, self.with_masks = random_flip, with_masks

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, key):
        epoch, index = key
        rng = np.random.default_rng((self.seed, epoch, index))
        pixels = self.pictures.load(index)
        if self.random_flip and rng.random() < 0.5:
            pixels = pixels[:, ::-1]
        pair = {"image": to_tensor([pixels])[0]}
        if self.with_masks:
            mask = training_mask(self.pictures.resolution, rng)
            if self.random_flip and rng.random() < 0.5:
                mask = mask[:, ::-1]
            pair["mask"] = torch.from_numpy(np.ascontiguousarray(mask)).float()[None]
        return pair


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
