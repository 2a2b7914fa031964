"""The training loop: the only place that knows accelerate.

Order of a run: data -> method -> (resume) -> step, log, sample, checkpoint ... -> pipeline
directory.
"""

import dataclasses
import json
import math
import shutil
import signal
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.tracking import GeneralTracker, on_main_process
from accelerate.utils import ProjectConfiguration, set_seed
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from inpaint_hub.data import EndlessSampler, ImageDataset, TrainingPairs
from inpaint_hub.training.checkpoint import latest_checkpoint, prune_checkpoints
from inpaint_hub.training.samples import sample_grid


class JSONLinesTracker(GeneralTracker):
    """One JSON object per logged step in <logging_dir>/metrics.jsonl; a resumed run appends."""

    name = "jsonl"
    requires_logging_directory = True

    @on_main_process
    def __init__(self, run_name, logging_dir):
        super().__init__()
        self.file = Path(logging_dir) / "metrics.jsonl"
        self.file.parent.mkdir(parents=True, exist_ok=True)

    @property
    def tracker(self):
        return self.file

    @on_main_process
    def store_init_configuration(self, values):
        (self.file.parent / "config.json").write_text(json.dumps(values, indent=1))

    @on_main_process
    def log(self, values, step=None, **kwargs):
        with self.file.open("a") as lines:
            lines.write(json.dumps({"step": step, **values}) + "\n")


def make_trackers(names, run_name, logging_dir):
    """Comma-separated names -> what Accelerator(log_with=...) takes."""
    ours = {"jsonl": lambda: JSONLinesTracker(run_name, logging_dir)}
    return [ours[n]() if n in ours else n for n in names.split(",") if n]


def make_method(config, accelerator):
    """The networks of one method are imported only where it is trained."""
    if config.method == "stylegan2":
        from inpaint_hub.training.stylegan2 import StyleGAN2Training

        return StyleGAN2Training(config, accelerator)
    from inpaint_hub.training.inversion import InvertFillTraining, PSPTraining

    return {"invertfill": InvertFillTraining, "psp": PSPTraining}[config.method](
        config, accelerator
    )


class Progress:
    """The number of finished optimiser steps, as accelerate checkpoints it."""

    def __init__(self):
        self.step = 0

    def state_dict(self):
        return {"step": self.step}

    def load_state_dict(self, state):
        self.step = state["step"]


def save_checkpoint(accelerator, output_dir, step, keep):
    """checkpoint-<step>, written under another name and renamed when complete; every rank takes
    part."""
    final = output_dir / f"checkpoint-{step}"
    partial = output_dir / f"checkpoint-{step}.partial"
    accelerator.wait_for_everyone()
    accelerator.save_state(str(partial))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
        prune_checkpoints(output_dir, keep)


def check_finite(values, step, output_dir):
    """Raises: FloatingPointError that names the term, the step and the last good checkpoint."""
    broken = [name for name, value in values.items() if not math.isfinite(value)]
    if broken:
        raise FloatingPointError(
            f"{', '.join(broken)} is not finite at step {step}; last good checkpoint: "
            f"{latest_checkpoint(output_dir, 'latest')}; resume with a lower --learning_rate"
        )


class StopSignal:
    """`with StopSignal() as stop:` turns SIGTERM and the first Ctrl-C into stop.requested."""

    def __init__(self):
        self.requested = False

    def __enter__(self):
        self.previous = {s: signal.signal(s, self.request) for s in (signal.SIGTERM, signal.SIGINT)}
        return self

    def request(self, number, frame):
        self.requested = True
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a second Ctrl-C stops at once

    def __exit__(self, *error):
        for number, handler in self.previous.items():
            signal.signal(number, handler)


def step_generator(config, step, micro_batch, rank):
    """torch.Generator for one micro-batch, keyed by where in the run it is."""
    words = np.random.SeedSequence((config.seed, step, micro_batch, rank)).generate_state(2)
    return torch.Generator().manual_seed(int(words[0]) << 32 | int(words[1]))


def validation_batch(config, device):
    """(images, masks) of the sample grid: the first held-out pictures with fixed masks.

    Without a validation split the first training pictures serve, which the grid then shows.
    """
    folder = config.validation_data_dir or config.train_data_dir
    options = {"resolution": config.resolution, "image_column": config.image_column}
    try:
        pictures = ImageDataset(folder, "validation", **options)
    except FileNotFoundError:
        pictures = ImageDataset(config.train_data_dir, "train", **options)
    pairs = TrainingPairs(pictures, seed=config.seed, random_flip=False)
    shown = [pairs[(0, i)] for i in range(min(config.num_validation_images, len(pairs)))]
    return (torch.stack([pair[k] for pair in shown]).to(device) for k in ("image", "mask"))


def train(config):
    """Run `config` to its end; returns the directory of the saved pipeline.

    SIGTERM or Ctrl-C ends the step, writes a checkpoint and returns without a pipeline.

    Raises: ValueError, FileNotFoundError for data, models or checkpoints that do not fit, before
        any step; FloatingPointError when a loss is not finite.
    """
    output_dir = Path(config.output_dir)
    logging_dir = output_dir / config.logging_dir
    accelerator = Accelerator(
        mixed_precision=config.mixed_precision,
        gradient_accumulation_steps=config.gradient_accumulation_steps,
        log_with=make_trackers(config.report_to, config.tracker_project_name, logging_dir),
        project_config=ProjectConfiguration(str(output_dir), str(logging_dir)),
    )
    set_seed(config.seed)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = config.allow_tf32
    pictures = ImageDataset(
        config.train_data_dir,
        "train",
        config.resolution,
        max_images=config.max_train_samples or None,
        keep_decoded=True,
        image_column=config.image_column,
    )
    if config.num_train_epochs:
        per_step = config.train_batch_size * config.gradient_accumulation_steps
        steps = math.ceil(len(pictures) / (per_step * accelerator.num_processes))
        steps *= config.num_train_epochs
        config = dataclasses.replace(config, max_train_steps=steps)
    method = make_method(config, accelerator)
    progress = Progress()
    accelerator.register_for_checkpointing(progress)
    if config.resume_from_checkpoint:
        checkpoint = latest_checkpoint(output_dir, config.resume_from_checkpoint)
        if checkpoint is None:
            accelerator.print(f"No checkpoint in {output_dir}: starting at step 0.")
        else:
            accelerator.load_state(str(checkpoint))
            accelerator.print(f"Resumed from {checkpoint}.")

    accumulation = config.gradient_accumulation_steps
    loader = DataLoader(
        TrainingPairs(pictures, config.seed, config.random_flip, method.needs_masks),
        batch_sampler=EndlessSampler(
            len(pictures),
            config.train_batch_size,
            config.seed,
            accelerator.process_index,
            accelerator.num_processes,
            start_batch=progress.step * accumulation,
        ),
        num_workers=config.dataloader_num_workers,
        generator=torch.Generator(),  # its own, so that it does not advance the global stream
    )
    images, masks = validation_batch(config, accelerator.device)
    settings = {name: value for name, value in vars(config).items() if name != "hub_token"}
    accelerator.init_trackers(config.tracker_project_name, config=settings)
    batches = iter(loader)
    bar = tqdm(
        total=config.max_train_steps,
        initial=progress.step,
        disable=not accelerator.is_local_main_process,
        mininterval=5,
    )
    with StopSignal() as stop:
        while progress.step < config.max_train_steps and not stop.requested:
            for micro_batch in range(accumulation):
                rng = step_generator(config, progress.step, micro_batch, accelerator.process_index)
                batch = {k: v.to(accelerator.device) for k, v in next(batches).items()}
                with accelerator.accumulate(*method.models):
                    logs = method.step(batch, progress.step, rng)
            method.after_step()
            progress.step += 1
            bar.update()
            saving = progress.step % config.checkpointing_steps == 0 or stop.requested
            if saving or progress.step % config.logging_steps == 0 or progress.step == 1:
                values = {name: float(value) for name, value in logs.items()}
                check_finite(values, progress.step, output_dir)
                accelerator.log(values, step=progress.step)
                bar.set_postfix({k: f"{v:.3g}" for k, v in list(values.items())[:4]})
            if progress.step % config.validation_steps == 0 and accelerator.is_main_process:
                grid = sample_grid(method.sample_rows(images, masks))
                (output_dir / "samples").mkdir(parents=True, exist_ok=True)
                grid.save(output_dir / "samples" / f"step-{progress.step:07d}.png")
            if saving:
                keep = config.checkpoints_total_limit
                save_checkpoint(accelerator, output_dir, progress.step, keep)
    bar.close()
    if progress.step < config.max_train_steps:
        accelerator.print(
            f"Stopped at step {progress.step}; --resume_from_checkpoint latest goes on from there."
        )
        accelerator.end_training()
        return output_dir
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        with method.released() as pipeline:
            pipeline.save_pretrained(output_dir)
            if config.push_to_hub:
                pipeline.push_to_hub(
                    config.hub_model_id or output_dir.name,
                    private=config.hub_private_repo or None,
                    token=config.hub_token or None,
                )
    accelerator.end_training()
    return output_dir
