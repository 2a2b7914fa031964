"""The training loop: the only place that knows accelerate.

Order of a run: method -> data -> (resume) -> step, log, sample, checkpoint ... -> pipeline
directory.
"""

import dataclasses
import math
import signal
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import ProjectConfiguration, set_seed
from tqdm.auto import tqdm

from inpaint_hub.allocator import tune_allocator
from inpaint_hub.training.checkpoint import (
    check_continues,
    check_manifest,
    checkpoints,
    load_states,
    usable_checkpoint,
    write_checkpoint,
)
from inpaint_hub.training.given import component_config, pipeline_index
from inpaint_hub.training.logs import Clock, JSONLinesTracker, TermLogs, make_trackers
from inpaint_hub.training.pictures import (
    StreamPosition,
    UnreadablePictures,
    held_out_pictures,
    holes_of,
    training_batches,
    training_pictures,
    validation_batch,
)
from inpaint_hub.training.release import prepare_upload, release
from inpaint_hub.training.resuming import apply_settings, check_flags, facts_of, settings_of
from inpaint_hub.training.samples import sample_grid

UNSET_SEED = 20_240_229  # of a state that no run leaves behind


METHODS = {
    "stylegan2": "stylegan2.StyleGAN2Training",
    "invertfill": "inversion.InvertFillTraining",
    "psp": "inversion.PSPTraining",
    "lahiri": "inversion.LahiriTraining",
    "dualpath": "dualpath.DualPathTraining",
    "feedforward": "feed_forward.FeedForwardTraining",
    "refinement": "refinement.RefinementTraining",
    "comodgan": "comodgan.CoModGANTraining",
}


def make_method(config, accelerator):
    """The networks of one method are imported only where it is trained."""
    module, name = METHODS[config.method].split(".")
    module = import_module(f"inpaint_hub.training.{module}")
    return getattr(module, name)(config, accelerator)


class Progress:
    """The number of finished optimizer steps, as checkpoints hold it."""

    def __init__(self):
        self.step = 0

    def state_dict(self):
        return {"step": self.step}

    def load_state_dict(self, state):
        self.step = state["step"]


def check_finite(values, step, output_dir):
    """Raises: FloatingPointError that names the terms, the step and the last good checkpoint."""
    broken = [name for name, value in values.items() if not math.isfinite(value)]
    if broken:
        good = next(reversed(checkpoints(output_dir)), None)
        raise FloatingPointError(
            f"{', '.join(broken)} is not finite at step {step}; last good checkpoint: {good}; "
            "resume with a lower --learning_rate"
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


def picture_generators(config, step, micro_batch, rank, device="cpu"):
    """One torch.Generator for each picture of a micro-batch, keyed by its place in the run."""
    first = rank * config.train_batch_size
    generators = []
    for place in range(first, first + config.train_batch_size):
        key = np.random.SeedSequence((config.seed, step, micro_batch, place)).generate_state(2)
        seed = int(key[0]) << 32 | int(key[1])
        generators.append(torch.Generator(device).manual_seed(seed))
    return generators


def with_resolution(config):
    """The config with the given generator's resolution where none is asked for."""
    if config.resolution:
        return config
    resolution = 64
    if config.grow_from:
        network = "inpainter" if config.method == "dualpath" else "gan"
        resolution = 2 * component_config(config, network, config.grow_from)["resolution"]
    elif config.pretrained_model_name_or_path:
        if config.method == "refinement":
            return dataclasses.replace(config, resolution=refined_resolution(config))
        fills = config.method in ("dualpath", "feedforward")
        network = "inpainter" if fills and "inpainter" in pipeline_index(config) else "gan"
        resolution = component_config(config, network)["resolution"]
        if network == "gan":
            resolution <<= config.outer_scales
    return dataclasses.replace(config, resolution=resolution)


def refined_resolution(config):
    """Of the refiner in the given pipeline, or one of twice the given pipeline's resolution."""
    networks = pipeline_index(config)
    if "refiner" in networks:
        return component_config(config, "refiner")["resolution"]
    return 2 * component_config(config, "gan" if "gan" in networks else "inpainter")["resolution"]


class Run:
    """One training run: what `train` sets up, and its stages."""

    def __init__(self, config):
        self.config = config = with_resolution(config)
        self.output_dir = Path(config.output_dir)
        logging_dir = self.output_dir / config.logging_dir
        self.trackers = make_trackers(config.report_to, config.tracker_project_name, logging_dir)
        self.accelerator = Accelerator(
            mixed_precision=None if config.mixed_precision == "auto" else config.mixed_precision,
            gradient_accumulation_steps=config.gradient_accumulation_steps,
            log_with=self.trackers,
            project_config=ProjectConfiguration(str(self.output_dir), str(logging_dir)),
            # Buffers are constants here, the same in every process.
            kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
        )
        used = self.accelerator.mixed_precision
        self.config = config = dataclasses.replace(config, mixed_precision=used)
        if config.push_to_hub and self.accelerator.is_main_process:
            prepare_upload(config, self.output_dir)  # now rather than after hours of training
        set_seed(config.seed)
        torch.backends.cuda.matmul.allow_tf32 = config.allow_tf32
        torch.backends.cudnn.allow_tf32 = config.allow_tf32
        self.pictures = training_pictures(config)
        if config.num_train_epochs:
            self.config = config = self.with_steps_of_epochs(config)
        self.facts = facts_of(config, self.pictures)
        resumed = self.checkpoint_to_resume()
        self.method = make_method(config, self.accelerator)
        self.progress = Progress()
        self.states = {"progress": self.progress, **self.method.states}
        accelerator = self.accelerator
        place = (accelerator.process_index, accelerator.num_processes)
        self.position = StreamPosition.at_start(config, *place) if config.streaming else None
        if resumed is not None:
            self.resume(resumed)
        self.judge, self.best, self.quality = None, None, {}
        if config.validation_network and self.accelerator.is_main_process:
            self.appoint_judge(resumed is not None)

    def appoint_judge(self, resumed):
        from inpaint_hub.training.judging import Best, Judge

        config = self.config
        held_out = held_out_pictures(config, self.pictures)
        self.judge = Judge(config, self.method, held_out, self.accelerator.device)
        if config.keep_best:
            self.best = Best(self.output_dir, self.judge.identity)
            self.best.forget_after(self.progress.step if resumed else -1)

    def with_steps_of_epochs(self, config):
        per_step = config.train_batch_size * config.gradient_accumulation_steps
        per_step *= self.accelerator.num_processes
        steps = config.num_train_epochs * math.ceil(len(self.pictures) / per_step)
        return dataclasses.replace(config, max_train_steps=steps)

    def checkpoint_to_resume(self):
        """Folder of the checkpoint that the config asks for, or None.

        Raises: ValueError for one that does not fit the run, or where processes see different ones.
        """
        folder, step = self.find_checkpoint()
        check_continues(self.output_dir, folder)
        seen = self.accelerator.gather(torch.tensor([step], device=self.accelerator.device))
        if len(set(seen.tolist())) > 1:
            raise ValueError(
                f"the processes find the checkpoints of steps {seen.tolist()} (-1: none) in "
                f"{str(self.output_dir)!r}, expected one for all; give an --output_dir on a file "
                "system that all machines share"
            )
        return folder

    def find_checkpoint(self):
        """(folder, step) as this process sees it; (None, -1) for none."""
        config, say = self.config, self.accelerator.print
        if not config.resume_from_checkpoint:
            return None, -1
        found = usable_checkpoint(self.output_dir, config.resume_from_checkpoint, say)
        if found is None:
            say(f"No checkpoint in {self.output_dir}: starting at step 0.")
            return None, -1
        folder, manifest = found
        check_manifest(folder, manifest, config.method, self.accelerator.num_processes, say)
        check_flags(folder, manifest, self.facts, say)
        return folder, manifest["step"]

    def resume(self, folder):
        method = self.method
        settings = settings_of(method.optimizers)
        unset = torch.Generator().manual_seed(UNSET_SEED).get_state()
        torch.set_rng_state(unset)
        try:
            self.accelerator.load_state(str(folder))
            load_states(folder, self.states)
        except Exception as error:  # whatever another run's files, or forged ones, raise
            raise ValueError(
                f"{str(folder)!r} does not fit these networks ({error}); give the flags of the run "
                "that wrote it, or another --output_dir"
            ) from error
        if torch.get_rng_state().equal(unset):  # accelerate passes over what it cannot read
            raise ValueError(
                f"{str(folder)!r}: its random_states files hold no states of random generators; "
                "remove that checkpoint to go on from the one before"
            )
        apply_settings(settings, method.optimizers, method.schedulers)
        if self.position is not None:
            self.position.load(folder, self.accelerator.process_index, self.accelerator.print)
        for tracker in self.trackers:
            if isinstance(tracker, JSONLinesTracker) and self.accelerator.is_main_process:
                tracker.forget_after(self.progress.step)
        self.accelerator.print(f"Resumed from {folder}.")

    def take_step(self, batches, clock, unreadable, logs):
        """One optimizer step of every phase, its terms added to `logs`."""
        accelerator, config, step = self.accelerator, self.config, self.progress.step
        held, generators = [], []
        for micro_batch in range(config.gradient_accumulation_steps):
            batch = clock.next(batches)
            unreadable.note(batch)
            if self.position is not None:
                self.position.note(batch)
            held.append({k: v.to(accelerator.device) for k, v in batch.items()})
            place = (config, step, micro_batch, accelerator.process_index, accelerator.device)
            generators.append(picture_generators(*place))
        for phase in self.method.phases(step):
            for batch, rng in zip(held, generators):
                with accelerator.accumulate(*self.method.models):
                    logs.add(phase(batch, rng))
        self.progress.step += 1
        self.method.after_step(self.progress.step)

    def save_samples(self, images, masks):
        grid = sample_grid(self.method.sample_rows(images, masks))
        (self.output_dir / "samples").mkdir(parents=True, exist_ok=True)
        grid.save(self.output_dir / "samples" / f"step-{self.progress.step:07d}.png")

    def judged(self):
        """{name: number} of the averaged weights, on the held-out pictures; the best are kept."""
        step, values = self.progress.step, self.judge.read()
        if self.best is not None:
            score = values[self.judge.name]
            if self.best.offer(step, score, values, self.write_released):
                tqdm.write(f"Best so far: {self.judge.name} {score:.4g} at step {step}.")
        return values

    def write_released(self, folder):
        """A whole pipeline of the averaged weights, with what belongs to the run beside it."""
        with self.method.released() as pipeline:
            pipeline.save_pretrained(folder)
            self.method.save_beside(folder)

    def save_state(self, folder):
        """What every process writes into a checkpoint."""
        self.accelerator.save_state(folder)
        if self.position is not None:
            self.position.save(Path(folder), self.accelerator.process_index)

    def save_checkpoint(self):
        """Raises: FloatingPointError instead of keeping broken weights; OSError for a full disk."""
        for model in self.method.models:
            norms = torch.stack([p.detach().norm() for p in model.parameters()])
            check_finite({"a weight": float(norms.sum())}, self.progress.step, self.output_dir)
        write_checkpoint(
            self.output_dir,
            self.progress.step,
            self.config.checkpoints_total_limit,
            self.save_state,
            self.states,
            self.accelerator.is_main_process,
            self.accelerator.wait_for_everyone,
            method=self.config.method,
            num_processes=self.accelerator.num_processes,
            **self.facts,
        )

    def stop_requested(self, stop):
        """Whether any process was asked to stop: all must leave the loop at the same step."""
        if self.accelerator.num_processes == 1:
            return stop.requested
        asked = torch.tensor([float(stop.requested)], device=self.accelerator.device)
        return bool(self.accelerator.reduce(asked, "sum") > 0)

    def batches(self, masks):
        """This process's micro-batches from here on."""
        place = (self.accelerator.process_index, self.accelerator.num_processes)
        positions = self.position.positions if self.position else None
        step = self.progress.step
        return training_batches(self.config, self.pictures, masks, *place, step, positions)

    def loop(self):
        """Steps until the last one, or until a signal asks to stop."""
        accelerator, config, progress = self.accelerator, self.config, self.progress
        masks = holes_of(config) if self.method.needs_masks else None
        if config.mask_dir and masks:
            accelerator.print(masks.__self__.coverage_line(config.resolution))
        batches = self.batches(masks)
        images, masks = validation_batch(config, self.pictures, accelerator.device)
        unreadable = UnreadablePictures(self.output_dir, self.pictures)
        per_step = self.method.images_per_step
        clock = Clock(per_step)
        bar = tqdm(
            total=config.max_train_steps * per_step,
            initial=progress.step * per_step,
            unit="img",
            disable=not accelerator.is_local_main_process,
            mininterval=5,
        )
        logs, last_values, warned = TermLogs(), {}, False
        judging_steps = config.judging_steps or config.validation_steps
        if self.judge is not None and progress.step == 0:  # what the run has to improve on
            with clock.stopped():
                accelerator.log(self.judged(), step=0)
        with StopSignal() as stop:
            stopping = False
            while progress.step < config.max_train_steps and not stopping:
                self.take_step(batches, clock, unreadable, logs)
                clock.steps += 1
                bar.update(per_step)
                stopping = self.stop_requested(stop)
                last = progress.step == config.max_train_steps
                saving = progress.step % config.checkpointing_steps == 0 or stopping or last
                judging = bool(config.validation_network) and (
                    last or progress.step % judging_steps == 0
                )
                logging = progress.step % config.logging_steps == 0 or progress.step == 1
                if saving or judging or logging:
                    last_values, logs = logs.means(accelerator), TermLogs()
                    check_finite(last_values, progress.step, self.output_dir)
                    if judging and self.judge is not None:  # before a checkpoint of this step
                        with clock.stopped():
                            self.quality = self.judged()
                        last_values |= self.quality
                    accelerator.log({**last_values, **clock.read()}, step=progress.step)
                    for warning in self.method.warnings(last_values):
                        if not warned:
                            accelerator.print(warning)
                        warned = True
                    bar.set_description(f"step {progress.step}")
                    bar.set_postfix({k: f"{v:.3g}" for k, v in list(last_values.items())[:4]})
                if progress.step % config.validation_steps == 0 and accelerator.is_main_process:
                    self.save_samples(images, masks)
                if saving:
                    self.save_checkpoint()
        bar.close()
        if told := clock.told():
            accelerator.print(told)
        return last_values


def train(config):
    """Run `config` to its end; returns the directory of the saved pipeline.

    SIGTERM or Ctrl-C ends the step, writes a checkpoint and returns without a pipeline.

    Raises: ValueError, FileNotFoundError, ImportError for data, models or checkpoints that do not
        fit, before any step; FloatingPointError when a loss is not finite; OSError when a
        checkpoint cannot be written.
    """
    if config.tune_allocator:
        tune_allocator()
    if config.threads:
        torch.set_num_threads(config.threads)
    run = Run(config)
    config, accelerator, output_dir = run.config, run.accelerator, run.output_dir
    settings = {name: value for name, value in vars(config).items() if name != "hub_token"}
    accelerator.init_trackers(config.tracker_project_name, config=settings)
    values = run.loop()
    if run.progress.step < config.max_train_steps:
        accelerator.print(
            f"Stopped at step {run.progress.step}; --resume_from_checkpoint latest goes on from "
            "there."
        )
        accelerator.end_training()
        return output_dir
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        quality = (run.judge.identity, run.quality) if run.quality else None
        release(run.method, config, output_dir, run.progress.step, values, run.best, quality)
    accelerator.end_training()
    return output_dir
