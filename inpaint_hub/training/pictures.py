"""What a run is shown: pictures by its TrainConfig, batches from any step on, the sample grid's."""

import contextlib
import json
import multiprocessing
import os
from pathlib import Path

import torch
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from inpaint_hub.data import (
    EndlessSampler,
    HubEntries,
    ImageDataset,
    StreamedPairs,
    TrainingPairs,
    first_positions,
    folders_of,
    held_out_split,
    hub_dataset,
)
from inpaint_hub.masks import MaskFiles

UNREADABLE_LIST = "unreadable.txt"
STREAM_FILE = "stream-{}.json"  # of a checkpoint: a process's positions, by its rank


def training_pictures(config):
    """What is trained on: an ImageDataset, or a stream of the datasets library.

    Raises: FileNotFoundError, ValueError, ImportError for data that is not there.
    """
    if config.streaming:
        stream = open_hub_dataset(config, "train")
        return stream.take(config.max_train_samples) if config.max_train_samples else stream
    return opened(
        config,
        keep_decoded=True,
        center_crop=config.center_crop,
        crop_scale_min=config.crop_scale_min,
    )


def held_out_pictures(config, pictures):
    """Those of the training pictures that are never trained on, as centered squares."""
    return opened(config, pictures.entries, held_out=True)


def opened(config, entries=None, **options):
    """ImageDataset of the training pictures."""
    if entries is None and config.dataset_name:
        entries = HubEntries(open_hub_dataset(config, "train"), config.image_column)
    return ImageDataset(
        config.train_data_dir,
        "train",
        config.resolution,
        max_images=config.max_train_samples or None,
        image_column=config.image_column,
        entries=entries,
        holdout_fraction=config.holdout_fraction,
        **options,
    )


def open_hub_dataset(config, split):
    name, configuration = config.dataset_name, config.dataset_config_name or None
    column, streaming, cache = config.image_column, config.streaming, config.cache_dir or None
    return hub_dataset(name, configuration, split, column, streaming, cache_dir=cache)


def leave_process_group(worker):
    """Ctrl-C, and torchrun's way to end a run, signal a whole process group: loading goes on until
    the process that trains has finished its step."""
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)


def started(loader):
    """Iterator of a DataLoader whose workers have left this process group.

    They leave it themselves, too, but a signal may come before they have got that far.
    """
    others = set(multiprocessing.active_children())
    batches = iter(loader)
    if hasattr(os, "setpgid"):
        for worker in set(multiprocessing.active_children()) - others:
            with contextlib.suppress(OSError):  # it runs another program already, or has ended
                os.setpgid(worker.pid, worker.pid)
    return batches


class StreamPosition:
    """Where this process is in a stream: of each of its loading workers the position behind the
    last batch that was trained on, the one whose turn is next first."""

    def __init__(self, positions):
        self.positions = positions

    @classmethod
    def at_start(cls, config, rank, num_processes):
        return cls(first_positions(rank, num_processes, config.dataloader_num_workers))

    def note(self, batch):
        """Take note of a batch's position, which is removed from it."""
        if (position := batch.pop("position", None)) is not None:
            self.positions = [*self.positions[1:], position]

    def save(self, folder, rank):
        file = folder / STREAM_FILE.format(rank)
        file.write_text(json.dumps(self.positions), encoding="utf-8")

    def load(self, folder, rank, say):
        """Go on where the checkpoint in `folder` was. With another number of readers that cannot
        be: then the stream begins anew, in another order, which is said."""
        here = self.positions
        files = [folder / STREAM_FILE.format(r) for r in (rank, 0)]
        file = next((file for file in files if file.is_file()), None)
        there = json.loads(file.read_text(encoding="utf-8")) if file else []
        if [(p["nodes"], len(there)) for p in there] == [(p["nodes"], len(here)) for p in here]:
            self.positions = there
            return
        epoch = 1 + max((position["epoch"] for position in there), default=0)
        self.positions = [{**position, "epoch": epoch} for position in here]
        wrote = f"{there[0]['nodes']} readers" if there else "no positions in the stream"
        say(
            f"{folder} was written with {wrote} (processes times --dataloader_num_workers), this "
            f"run has {here[0]['nodes']}: the stream begins anew, in another order."
        )


def training_batches(config, pictures, masks, rank, num_processes, first_step, positions=None):
    """Iterator over this process's micro-batches from optimizer step `first_step` on; of a stream
    from `positions` on, those of a StreamPosition."""
    start_batch = first_step * config.gradient_accumulation_steps
    options = {
        "num_workers": config.dataloader_num_workers,
        "generator": torch.Generator(),  # its own, so that it does not advance the global stream
        "worker_init_fn": leave_process_group,
    }
    if config.streaming:
        pairs = StreamedPairs(
            pictures,
            config.image_column,
            config.resolution,
            config.train_batch_size,
            config.seed,
            config.random_flip,
            masks,
            config.center_crop,
            config.crop_scale_min,
            positions or StreamPosition.at_start(config, rank, num_processes).positions,
        )
        return started(DataLoader(pairs, batch_size=None, **options))
    pairs = TrainingPairs(pictures, config.seed, config.random_flip, masks)
    order = EndlessSampler(
        len(pictures), config.train_batch_size, config.seed, rank, num_processes, start_batch
    )
    return started(DataLoader(pairs, batch_sampler=order, **options))


def holes_of(config):
    """What draws the holes: a key of data.MASKS, or a function of (size, rng) -> mask.

    Raises: FileNotFoundError for a --mask_dir without mask files.
    """
    return MaskFiles(config.mask_dir).random if config.mask_dir else config.train_masks


def validation_batch(config, pictures, device):
    """(images, masks) of the sample grid: the first held-out pictures with fixed masks.

    Without a validation split the first training pictures serve, which the grid then shows.
    """
    options = {"resolution": config.resolution, "image_column": config.image_column}
    folder, count = config.validation_data_dir or config.train_data_dir, None
    if config.validation_images:
        pictures = chosen_pictures(config)
        folder, count = "", len(pictures)
    if folder:
        try:
            given = config.validation_data_dir
            split = held_out_split(given) if given else "validation"
            pictures = ImageDataset(folder, split, **options)
        except FileNotFoundError:
            if config.validation_data_dir:
                raise
    masks = holes_of(config)
    if isinstance(pictures, ImageDataset):
        pairs = TrainingPairs(pictures, seed=config.seed, random_flip=False, masks=masks)
        count = count or min(config.num_validation_images, len(pairs))
        spread = len(pairs) if len(folders_of(folder)) > 1 else count  # some of each folder
        shown = [pairs[(0, i * spread // count)] for i in range(count)]
        return (torch.stack([pair[k] for pair in shown]).to(device) for k in ("image", "mask"))
    size, column = config.num_validation_images, config.image_column
    first = pictures.take(size)
    stream = StreamedPairs(first, column, config.resolution, size, config.seed, False, masks)
    shown = next(iter(stream))
    return (shown[k].to(device) for k in ("image", "mask"))


def chosen_pictures(config):
    """ImageDataset of the files in --validation_images.

    Raises: FileNotFoundError that names those that are not there.
    """
    files = [Path(name.strip()) for name in config.validation_images.split(",") if name.strip()]
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        raise FileNotFoundError(
            f"--validation_images: {', '.join(missing)} not found; expected files of pictures, "
            "separated by commas"
        )
    return ImageDataset(None, "train", config.resolution, entries=files)


class UnreadablePictures:
    """Counts the pictures that could not be read, and lists them in a file, once each: also where a
    resumed run or another process meets them again."""

    def __init__(self, output_dir, pictures):
        self.file, self.pictures, self.seen = output_dir / UNREADABLE_LIST, pictures, set()

    def note(self, batch):
        part = batch.get("position", {}).get("node", 0)
        for index in batch.pop("unreadable").tolist():
            if index < 0 or (part, index) in self.seen:
                continue
            self.seen.add((part, index))
            known = isinstance(self.pictures, ImageDataset)
            name = (
                self.pictures.name(index) if known else f"row {index} of the stream's part {part}"
            )
            self.file.parent.mkdir(parents=True, exist_ok=True)
            # A name may hold bytes that are no text: they come back as they were.
            with self.file.open("a+", encoding="utf-8", errors="surrogateescape") as file:
                file.seek(0)
                listed = file.read().split("\n")[:-1]
                if name in listed:
                    continue
                file.write(f"{name}\n")
            shown = name.encode("utf-8", "backslashreplace").decode("utf-8")
            tqdm.write(
                f"{shown} cannot be read; another picture takes its place "
                f"({len(listed) + 1} in {self.file})."
            )
