"""The discriminator's side of a training: its phases and its optimiser (SPEC C6, G2)."""

from contextlib import contextmanager

import torch

from inpaint_hub.dualpath import PatchDiscriminator
from inpaint_hub.losses.adversarial import discriminator_loss, generator_loss, r1_penalty
from inpaint_hub.training.augment import AdaptiveProbability, augment


class Adversary:
    """A discriminator that tells `fake` from `real` pictures, with lazy R1 and, if asked for, ADA.

    method: the TrainingMethod it belongs to. Where the discriminator has a mask channel, pictures
    are judged together with their masks.
    """

    def __init__(self, method, discriminator):
        self.method, config = method, method.config
        # Lazy regularisation: one more gradient step per r1_interval steps.
        lazy = config.r1_interval / (config.r1_interval + 1) if config.r1_gamma else 1.0
        self.discriminator, self.optimizer = method.prepare(
            discriminator,
            config.discr_learning_rate * lazy,
            config.discr_adam_beta1**lazy,
            config.discr_adam_beta2**lazy,
            schedule=config.discr_lr_scheduler,
        )
        self.augmentation = None
        if config.augment == "ada":
            self.augmentation = AdaptiveProbability(
                config.ada_target, config.ada_interval, config.ada_images
            )
            method.states["augmentation"] = self.augmentation

    def shown(self, pictures, mask, rng):
        """What the discriminator is given: (pictures,) or (pictures, mask), augmented alike."""
        p = self.augmentation.p if self.augmentation is not None else 0.0
        return (augment(pictures, p, rng),) if mask is None else augment(pictures, p, rng, mask)

    def scores(self, discriminator, pictures, mask, rng):
        return discriminator(*self.shown(pictures, mask, rng))

    def minimise(self, loss):
        # Unclipped: R1 comes with the weight of r1_interval steps, of which nothing would be left.
        self.method.minimise(loss, self.discriminator, self.optimizer, clip=False)

    def judge(self, real, fake, mask, rng):
        """Phase: one step of the logistic loss; fake without gradient; mask [N,1,s,s] or None."""
        real_scores = self.scores(self.discriminator, real, mask, rng)
        fake_scores = self.scores(self.discriminator, fake.detach(), mask, rng)
        loss = discriminator_loss(real_scores, fake_scores)
        self.minimise(loss)
        logs = {
            "discriminator_loss": loss,
            "real_score": real_scores.mean(),
            "fake_score": fake_scores.mean(),
        }
        if self.augmentation is not None:
            sign = self.method.mean_over_processes(real_scores.sign().mean())
            self.augmentation.update(float(sign), len(real) * self.method.accelerator.num_processes)
            logs["augment_probability"] = torch.tensor(self.augmentation.p)
        return logs

    def penalise(self, real, mask, rng):
        """Phase: one step of R1, weighted for the steps it stands for."""
        c = self.method.config
        real, *mask = self.shown(real, mask, rng)
        real = real.detach().requires_grad_()
        scores = self.discriminator(real, *mask)
        r1 = r1_penalty(scores, real)
        # The last bias does not enter the gradient; distributed training waits for every parameter.
        loss = c.r1_gamma / 2 * c.r1_interval * r1 + 0 * scores.sum()
        self.minimise(loss)
        return {"r1_penalty": r1}

    def fooled(self, fake, mask, rng):
        """Non-saturating loss of `fake`; gradients reach the pictures alone."""
        with self.frozen() as discriminator:
            return generator_loss(self.scores(discriminator, fake, mask, rng))

    @contextmanager
    def frozen(self):
        # Without the wrapper: nothing of it is trained here, so no process waits for gradients.
        discriminator = self.method.unwrapped(self.discriminator)
        discriminator.requires_grad_(False)
        try:
            yield discriminator
        finally:
            discriminator.requires_grad_(True)

    def after_step(self):
        """Keep the spectral norms of a patch discriminator up with its weights."""
        discriminator = self.method.unwrapped(self.discriminator)
        if isinstance(discriminator, PatchDiscriminator):
            discriminator.power_iteration()

    def save(self, output_dir):
        """Write the discriminator as a model folder: for growth, fine-tuning and searches."""
        self.method.unwrapped(self.discriminator).save_pretrained(output_dir / "discriminator")
