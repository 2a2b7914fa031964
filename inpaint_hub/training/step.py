"""The parts of an optimiser step that every method shares; the loop around it knows nothing of
networks.

A method has `models` (trained, in the order their gradients are accumulated), `step(batch, number,
rng)` -> log scalars, `sample_rows(images, masks)` -> rows of the sample grid, and `released()` ->
the pipeline that is saved at the end. Randomness comes from `rng` alone, a torch.Generator that the
loop seeds by (seed, step, rank): a resumed run continues the same stream.
"""

from contextlib import contextmanager

import torch
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel


class TrainingMethod:
    """Parts every method shares: preparation, moving average, schedule."""

    def __init__(self, config, accelerator):
        self.config, self.accelerator = config, accelerator
        self.device = accelerator.device
        self.models, self.optimizers, self.schedulers = [], [], []

    def prepare(self, model, learning_rate, beta1=None, beta2=None, schedule=None):
        """Give `model` an Adam and a schedule, hand all three to accelerate, return the wrapped
        model."""
        c = self.config
        model.to(self.device, memory_format=torch.channels_last)
        betas = (c.adam_beta1 if beta1 is None else beta1, c.adam_beta2 if beta2 is None else beta2)
        optimizer = torch.optim.AdamW(
            model.parameters(),
            lr=learning_rate,
            betas=betas,
            eps=c.adam_epsilon,
            weight_decay=c.adam_weight_decay,
        )
        processes = self.accelerator.num_processes  # accelerate steps the schedule once per process
        scheduler = get_scheduler(
            schedule or c.lr_scheduler,
            optimizer,
            num_warmup_steps=c.lr_warmup_steps * processes,
            num_training_steps=c.max_train_steps * processes,
        )
        model, optimizer, scheduler = self.accelerator.prepare(model, optimizer, scheduler)
        self.models.append(model)
        self.optimizers.append(optimizer)
        self.schedulers.append(scheduler)
        return model

    def track_average(self, model, decay):
        self.averaged = self.accelerator.unwrap_model(model)
        self.ema = None
        if self.config.use_ema:
            self.ema = EMAModel(self.averaged.parameters(), decay=decay)
            self.accelerator.register_for_checkpointing(self.ema)

    def after_step(self):
        """Called once per optimiser step."""
        for scheduler in self.schedulers:
            scheduler.step()
        if self.ema is not None:
            self.ema.step(self.averaged.parameters())

    @contextmanager
    def average_weights(self):
        """Inside, the trained network holds its averaged weights (without use_ema: its own)."""
        parameters = list(self.averaged.parameters())
        if self.ema is not None:
            self.ema.store(parameters)
            self.ema.copy_to(parameters)
        self.averaged.eval()
        try:
            yield self.averaged
        finally:
            if self.ema is not None:
                self.ema.restore(parameters)
            self.averaged.train()

    def load_pretrained(self, model_class, subfolder):
        """Component `subfolder` of the pipeline that pretrained_model_name_or_path names."""
        c = self.config
        return model_class.from_pretrained(
            c.pretrained_model_name_or_path,
            subfolder=subfolder,
            revision=c.revision or None,
            variant=c.variant or None,
            cache_dir=c.cache_dir or None,
        )

    def minimise(self, loss, model, optimizer):
        self.accelerator.backward(loss)
        if self.config.max_grad_norm and self.accelerator.sync_gradients:
            self.accelerator.clip_grad_norm_(model.parameters(), self.config.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
