"""What a run is shown: pictures by its TrainConfig, batches from any step on, the sample grid's."""

import contextlib
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
    folders_of,
    held_out_split,
    hub_dataset,
)
from inpaint_hub.masks import MaskFiles

UNREADABLE_LIST = "unreadable.txt"


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


def training_batches(config, pictures, masks, rank, num_processes, first_step):
    """Iterator over this process's micro-batches from optimizer step `first_step` on."""
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
            rank,
            num_processes,
            start_batch,
            config.crop_scale_min,
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
    stream = StreamedPairs(pictures, column, config.resolution, size, config.seed, False, masks)
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
        for index in batch.pop("unreadable").tolist():
            if index < 0 or index in self.seen:
                continue
            self.seen.add(index)
            known = isinstance(self.pictures, ImageDataset)
            name = self.pictures.name(index) if known else f"row {index} of the stream"
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
