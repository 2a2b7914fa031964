"""The base of every training method: the parts of an optimizer step that all share; the loop around
it knows nothing of networks.

A method has `models` (trained), `phases(step)` -> functions phase(batch, rng) -> log scalars, each
of which ends with an optimizer step of its own, `sample_rows(images, masks)` -> rows of the sample
grid, and `released()` -> the pipeline that is saved at the end. Randomness comes from `rng` alone,
one torch.Generator for each picture of the batch, which the loop seeds by the picture's place in
the run: a resumed run continues the same stream, and two processes draw what one with twice the
batch would.
"""

import math
from contextlib import contextmanager

import torch
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from torch.optim.lr_scheduler import LambdaLR

from inpaint_hub.training.augment import draw
from inpaint_hub.training.given import GivenPipelines
from inpaint_hub.training.recompute import recompute_blocks


def adam_class(use_8bit):
    """torch's AdamW, or bitsandbytes'.

    Raises: ImportError where that is not installed.
    """
    if not use_8bit:
        return torch.optim.AdamW
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError as error:
        raise ImportError(
            "--use_8bit_adam needs bitsandbytes and a GPU it supports: pip install bitsandbytes; "
            "or leave the flag out"
        ) from error
    return AdamW8bit


def cosine_tail(config, step):
    """Share of the learning rate in `step`: warm-up, then 1, then from tail_start on a cosine down
    to tail_lr_scale at the last step."""
    if step < config.lr_warmup_steps:
        return step / config.lr_warmup_steps
    length = max(config.max_train_steps - config.tail_start, 1)
    done = min(max((step - config.tail_start) / length, 0.0), 1.0)
    return config.tail_lr_scale + (1 - config.tail_lr_scale) * (1 + math.cos(math.pi * done)) / 2


class MovingAverage(EMAModel):
    """diffusers' EMAModel, which accelerate hands a checkpoint on the CPU, kept on its device."""

    def load_state_dict(self, state_dict):
        devices = [average.device for average in self.shadow_params]
        super().load_state_dict(state_dict)
        self.shadow_params = [p.to(d) for p, d in zip(self.shadow_params, devices, strict=True)]


class TrainingMethod(GivenPipelines):
    """Parts every method shares: preparation, moving average, schedule."""

    needs_masks = True

    def __init__(self, config, accelerator):
        self.config, self.accelerator = config, accelerator
        self.device = accelerator.device
        self.models, self.optimizers, self.schedulers = [], [], []
        self.states = {}  # what else a checkpoint holds: {name: object with a state_dict}
        self.images_per_step = (
            config.train_batch_size * config.gradient_accumulation_steps * accelerator.num_processes
        )

    def prepare(self, model, learning_rate, beta1=None, beta2=None, schedule=None, groups=None):
        """Give `model` an Adam and a schedule, hand all three to accelerate, return the wrapped
        model and the optimizer. groups: Adam's parameter groups; all that is trained if not
        given."""
        c = self.config
        model.to(self.device, memory_format=torch.channels_last)
        trained = [p for p in model.parameters() if p.requires_grad]
        if c.gradient_checkpointing:
            recompute_blocks(model)
        optimizer = adam_class(c.use_8bit_adam)(
            groups or [{"params": trained}],
            lr=self.scaled(learning_rate),
            betas=(
                c.adam_beta1 if beta1 is None else beta1,
                c.adam_beta2 if beta2 is None else beta2,
            ),
            eps=c.adam_epsilon,
            weight_decay=c.adam_weight_decay,
        )
        scheduler = self.schedule(optimizer, schedule or c.lr_scheduler, main=schedule is None)
        model, optimizer, scheduler = self.accelerator.prepare(model, optimizer, scheduler)
        self.models.append(model)
        self.optimizers.append(optimizer)
        self.schedulers.append(scheduler)
        return model, optimizer

    def schedule(self, optimizer, name, main):
        """The learning rate's schedule; main: of what is released, to which the tail belongs."""
        c = self.config
        processes = self.accelerator.num_processes  # accelerate steps the schedule once per process
        rules = None
        if c.tail_fraction and (main or name == "tail"):
            if c.tail_shape == "cosine":
                return LambdaLR(optimizer, lambda step: cosine_tail(c, step / processes))
            name, rules = "piecewise_constant", f"1:{c.tail_start * processes},{c.tail_lr_scale}"
        return get_scheduler(
            name,
            optimizer,
            step_rules=rules,
            num_warmup_steps=c.lr_warmup_steps * processes,
            num_training_steps=c.max_train_steps * processes,
        )

    def warnings(self, values):
        """What to tell the user about logged values, {name: float}; each is said once."""
        return ()

    def scaled(self, learning_rate):
        """With scale_lr: for the pictures of a step (Goyal et al., 2017)."""
        return learning_rate * (self.images_per_step if self.config.scale_lr else 1)

    def unwrapped(self, model):
        return self.accelerator.unwrap_model(model)

    def track_average(self, model):
        """Keep the moving average of what is trained in `model`."""
        self.averaged = self.unwrapped(model)
        self.averaged_parameters = [p for p in self.averaged.parameters() if p.requires_grad]
        self.ema = None
        if self.config.use_ema:
            self.ema = MovingAverage(self.averaged_parameters, decay=self.config.ema_decay)
            self.states["average"] = self.ema

    def average_decay(self, images_seen):
        """Decay of one step: ema_decay, or the half-life in pictures, at first shortened to
        ema_ramp_up of those seen (Karras et al., NeurIPS 2020)."""
        c = self.config
        if not c.ema_half_life_images:
            return c.ema_decay
        half_life = c.ema_half_life_images
        if c.ema_ramp_up:
            half_life = min(half_life, images_seen * c.ema_ramp_up)
        return 0.5 ** (self.images_per_step / max(half_life, 1e-8))

    def after_step(self, step):
        """Called once per optimizer step, with the number of finished ones."""
        for scheduler in self.schedulers:
            scheduler.step()
        if self.ema is not None:
            self.ema.decay = self.average_decay(step * self.images_per_step)
            if self.config.ema_half_life_images:
                self.ema.min_decay = self.ema.decay  # else EMAModel adds a ramp-up of its own
            self.ema.step(self.averaged_parameters)

    @contextmanager
    def average_weights(self):
        """Inside, the trained network holds its averaged weights (without use_ema: its own)."""
        if self.ema is not None:
            self.ema.store(self.averaged_parameters)
            self.ema.copy_to(self.averaged_parameters)
        modes = [(module, module.training) for module in self.averaged.modules()]
        self.averaged.eval()
        try:
            yield self.averaged
        finally:
            if self.ema is not None:
                self.ema.restore(self.averaged_parameters)
            for module, mode in modes:  # frozen parts were and stay in eval mode
                module.training = mode

    def normal(self, rng, count):
        """[N,count] standard normal numbers, row n from rng[n]."""
        return draw(torch.randn, rng, count).to(self.device)

    def mean_over_processes(self, value):
        return self.accelerator.reduce(value.detach().float(), "mean")

    def minimize(self, loss, model, optimizer, clip=True):
        self.accelerator.backward(loss)
        if clip and self.config.max_grad_norm and self.accelerator.sync_gradients:
            self.accelerator.clip_grad_norm_(model.parameters(), self.config.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()

    def save_beside(self, output_dir):
        """Write what belongs to the run but not to its pipeline."""
