"""Pairs of picture and mask to train on; every random choice is keyed by (seed, epoch, index)."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, default_collate, get_worker_info

from inpaint_hub.data.pictures import UNREADABLE, ImageDataset, covering, cropped, fitted, open_rgb
from inpaint_hub.data.sources import encoded
from inpaint_hub.images import to_tensor
from inpaint_hub.masks.difficulty import outpainting_mask, training_mask

MASKS = {"mixture": training_mask, "outpainting": outpainting_mask}
SHUFFLE_BUFFER = 1000  # examples among which a stream is shuffled


def draw_pair(
    pixels: np.ndarray, rng: np.random.Generator, random_flip: bool, masks: str | Callable | None
) -> dict:
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

    def __init__(
        self,
        pictures: ImageDataset,
        seed: int,
        random_flip: bool = True,
        masks: str | Callable | None = "mixture",
    ) -> None:
        self.pictures, self.seed = pictures, seed
        self.random_flip, self.masks = random_flip, masks

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, key: tuple[int, int]) -> dict:
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


class StreamedPairs(IterableDataset):
    """Batches of pairs, as TrainingPairs', from a data set that is read from front to back.

    table: a streaming data set of the `datasets` library, with `column` encoded. Every process and
    worker reads the whole stream, but decodes only its own batches: rank, rank + num_processes, ...
    of the one order, the first `start_batch` of them skipped. The stream is shuffled among
    SHUFFLE_BUFFER neighbors by (seed, epoch).
    """

    def __init__(
        self,
        table: Iterable,
        column: str,
        resolution: int,
        batch_size: int,
        seed: int,
        random_flip: bool = True,
        masks: str | Callable | None = "mixture",
        center_crop: bool = True,
        rank: int = 0,
        num_processes: int = 1,
        start_batch: int = 0,
        crop_scale_min: float = 1.0,
    ) -> None:
        self.table = table.shuffle(seed=seed, buffer_size=SHUFFLE_BUFFER)
        self.column, self.resolution = column, resolution
        self.batch_size, self.seed = batch_size, seed
        self.random_flip, self.masks = random_flip, masks
        self.crop_scale_min = crop_scale_min
        self.center_crop = center_crop and crop_scale_min == 1
        self.rank, self.num_processes, self.start_batch = rank, num_processes, start_batch

    def entries(self) -> Iterator[tuple[int, int, bytes | str]]:
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

    def pair(self, epoch: int, index: int, entry: bytes | str | Path) -> dict | None:
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

    def __iter__(self) -> Iterator:
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
