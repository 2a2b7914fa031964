"""Pairs of picture and mask to train on; every random choice is keyed by (seed, epoch, index)."""

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, default_collate, get_worker_info

from inpaint_hub.data.pictures import UNREADABLE, ImageDataset, covering, cropped, fitted, open_rgb
from inpaint_hub.data.sources import Table, encoded, part_of_stream
from inpaint_hub.images import to_tensor
from inpaint_hub.masks.difficulty import outpainting_mask, training_mask

MASKS = {"mixture": training_mask, "outpainting": outpainting_mask}
SHUFFLE_BLOCK = 1000  # neighboring rows of a stream that are shuffled among each other
EMPTY_EPOCHS = 100  # after so many without a row: a reader may be given empty files by chance


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


def first_positions(rank: int = 0, num_processes: int = 1, num_workers: int = 0) -> list[dict]:
    """Where the readers of process `rank` begin: each of its loading workers is one, or the process
    itself where it has none."""
    each = max(1, num_workers)
    nodes = num_processes * each
    start = {"nodes": nodes, "epoch": 0, "block": 0, "offset": 0, "table": None}
    return [{"node": rank * each + worker, **start} for worker in range(each)]


class StreamedPairs(IterableDataset):
    """Batches of pairs, as TrainingPairs', from a data set that is read from front to back, without
    end.

    table: a streaming data set of the `datasets` library, with `column` encoded. Every reader (a
    process, or each of its loading workers) reads a part of its own: so many whole files, or, where
    there are fewer files than readers, every so-manieth row of all of them. Files are shuffled by
    (seed, epoch), and rows among SHUFFLE_BLOCK neighbors; pairs are drawn by (seed, epoch, reader,
    index). Where files do not divide evenly, an epoch is a reader's own.

    positions: where each reader of this process begins, as first_positions gives them. A batch
    holds, under "position", the one behind it: a run that goes on from there gets, bit for bit, the
    batches that would have come, having read again at most SHUFFLE_BLOCK rows. Also under "seconds"
    what reading and decoding took.
    """

    def __init__(
        self,
        table: Table,
        column: str,
        resolution: int,
        batch_size: int,
        seed: int,
        random_flip: bool = True,
        masks: str | Callable | None = "mixture",
        center_crop: bool = True,
        crop_scale_min: float = 1.0,
        positions: list[dict] | None = None,
    ) -> None:
        self.table, self.column, self.resolution = table, column, resolution
        self.batch_size, self.seed = batch_size, seed
        self.random_flip, self.masks = random_flip, masks
        self.crop_scale_min = crop_scale_min
        self.center_crop = center_crop and crop_scale_min == 1
        self.positions = positions or first_positions()

    def blocks(self, position: dict) -> Iterator[tuple[dict, list]]:
        """(the position it begins at, encoded pictures of up to SHUFFLE_BLOCK rows) without end."""
        part = part_of_stream(self.table, position["node"], position["nodes"])
        epoch, block, state = position["epoch"], position["block"], position["table"]
        found = False
        while True:
            # The library shuffles its files by the number of the epoch, but for number 0.
            key = int(np.random.SeedSequence((self.seed, epoch)).generate_state(1)[0])
            part.set_epoch(1 + key % (2**31 - 1))
            if state is not None:
                part.load_state_dict(state)
            # In batches: read row by row, the library would share the rows out among the workers.
            for rows in part.iter(batch_size=SHUFFLE_BLOCK):
                found = True
                yield (
                    {**position, "epoch": epoch, "block": block, "table": state},
                    [encoded(value) for value in rows[self.column]],
                )
                block, state = block + 1, part.state_dict()
            if not found and epoch - position["epoch"] == EMPTY_EPOCHS:
                raise ValueError("the data set's stream is empty; expected pictures")
            epoch, block, state = epoch + 1, 0, None

    def entries(self, position: dict) -> Iterator[tuple[int, int, bytes | str, dict]]:
        """(epoch, index, encoded picture, position behind it) without end."""
        first = position["offset"]
        for place, values in self.blocks(position):
            epoch, block = place["epoch"], place["block"]
            rng = np.random.default_rng((self.seed, epoch, position["node"], block))
            order = rng.permutation(len(values)).tolist()
            for offset, row in list(enumerate(order, 1))[first:]:
                index = block * SHUFFLE_BLOCK + row
                yield epoch, index, values[row], {**place, "offset": offset}
            first = 0

    def pair(self, epoch: int, node: int, index: int, entry: bytes | str | Path) -> dict | None:
        """The pair of one entry, or None where it cannot be read."""
        rng = np.random.default_rng((self.seed, epoch, node, index))
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
        position = self.positions[worker.id if worker else 0]
        node, entries = position["node"], self.entries(position)
        while True:
            start = time.perf_counter()
            rows = list(itertools.islice(entries, self.batch_size))
            read = time.perf_counter()
            pairs = [(i, self.pair(epoch, node, i, entry)) for epoch, i, entry, _ in rows]
            readable = [pair for _, pair in pairs if pair is not None]
            if not readable:
                raise ValueError(
                    f"none of the {len(rows)} pictures of a batch (epoch {rows[0][0]}, part {node} "
                    "of the stream) can be read; expected files that Pillow opens; check "
                    "--dataset_name and --image_column"
                )
            spare = itertools.cycle(readable)
            batch = default_collate(
                [
                    (next(spare) if pair is None else pair)
                    | {"unreadable": index if pair is None else -1}
                    for index, pair in pairs
                ]
            )
            seconds = {"read": read - start, "decode": time.perf_counter() - read}
            yield batch | {"position": rows[-1][-1], "seconds": seconds}
