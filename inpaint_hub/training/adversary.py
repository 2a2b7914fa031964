"""The discriminator's side of a training: its phases and its optimizer (SPEC C6, G2)."""

from contextlib import contextmanager

import torch
import torch.nn.functional as F

from inpaint_hub.losses.adversarial import (
    discriminator_loss,
    generator_loss,
    hinge_discriminator_loss,
    hinge_generator_loss,
    r1_penalty,
    share,
)
from inpaint_hub.training.augment import AdaptiveProbability, augment, differentiable_augment

LOSSES = {
    "logistic": (generator_loss, discriminator_loss),
    "hinge": (hinge_generator_loss, hinge_discriminator_loss),
}


class Adversary:
    """A discriminator that tells `fake` from `real` pictures, with lazy R1 and, if asked for,
    augmentation.

    method: the TrainingMethod it belongs to. Where the discriminator has a mask channel, pictures
    are judged together with their masks.
    """

    prefix = ""  # of its log keys
    subfolder = "discriminator"

    def __init__(self, method, discriminator):
        self.method, config = method, method.config
        self.penalized = config.r1_gamma > 0
        self.generator_loss, self.discriminator_loss = LOSSES[config.adversarial_loss]
        # Lazy regularization: one more gradient step per r1_interval steps.
        lazy = config.r1_interval / (config.r1_interval + 1) if config.r1_gamma else 1.0
        self.prepare(discriminator, config.discr_learning_rate, lazy)
        self.adaptive = None
        if config.augment == "ada":
            self.adaptive = AdaptiveProbability(
                config.ada_target, config.ada_interval, config.ada_images
            )
            method.states["augmentation"] = self.adaptive

    def prepare(self, discriminator, learning_rate, lazy=1.0):
        config = self.method.config
        self.discriminator, self.optimizer = self.method.prepare(
            discriminator,
            learning_rate * lazy,
            config.discr_adam_beta1**lazy,
            config.discr_adam_beta2**lazy,
            schedule=config.discr_lr_scheduler,
        )

    def shown(self, pictures, mask, rng):
        """What the discriminator is given: (pictures,) or (pictures, mask), augmented alike."""
        if self.method.config.augment == "diffaugment":
            return differentiable_augment(pictures, rng, mask)
        p = self.adaptive.p if self.adaptive is not None else 0.0
        return (augment(pictures, p, rng),) if mask is None else augment(pictures, p, rng, mask)

    def logits(self, discriminator, pictures, *mask):
        """The discriminator's answers, a list of [N,1] or [N,1,h,w]."""
        return [discriminator(pictures, *mask)]

    def scores(self, discriminator, pictures, mask, rng):
        """List of (logits, hole): hole [N,1,h,w], which of them are of a hole where known places
        count as real, else None."""
        pictures, *mask = self.shown(pictures, mask, rng)
        logits = self.logits(discriminator, pictures, *mask)
        if not self.method.config.known_is_real or not mask:
            return [(x, None) for x in logits]
        # A logit that sees any of the hole is the hole's.
        return [
            (x, F.adaptive_max_pool2d(mask[0], x.shape[-2:]) if x.dim() == 4 else None)
            for x in logits
        ]

    def minimize(self, loss):
        # Unclipped: R1 comes with the weight of r1_interval steps, of which nothing would be left.
        self.method.minimize(loss, self.discriminator, self.optimizer, clip=False)

    def judge(self, real, fake, mask, rng):
        """Phase: one step of the discriminator's loss, the mean over its answers; fake without
        gradient; mask [N,1,s,s] or None."""
        reals = [x for x, _ in self.scores(self.discriminator, real, mask, rng)]
        fakes = self.scores(self.discriminator, fake.detach(), mask, rng)
        losses = [self.discriminator_loss(r, *f) for r, f in zip(reals, fakes)]
        loss = torch.stack(losses).mean()
        self.minimize(loss)
        logs = {
            f"{self.prefix}discriminator_loss": loss,
            f"{self.prefix}real_score": torch.stack([x.mean() for x in reals]).mean(),
            f"{self.prefix}fake_score": torch.stack([share(*f) for f in fakes]).mean(),
        }
        if self.adaptive is not None:
            sign = self.method.mean_over_processes(reals[0].sign().mean())
            self.adaptive.update(float(sign), len(real) * self.method.accelerator.num_processes)
            logs["augment_probability"] = torch.tensor(self.adaptive.p)
        return logs

    def penalize(self, real, mask, rng):
        """Phase: one step of R1, weighted for the steps it stands for."""
        c = self.method.config
        real, *mask = self.shown(real, mask, rng)
        real = real.detach().requires_grad_()
        scores = self.discriminator(real, *mask)
        r1 = r1_penalty(scores, real)
        # The last bias does not enter the gradient; distributed training waits for every parameter.
        loss = c.r1_gamma / 2 * c.r1_interval * r1 + 0 * scores.sum()
        self.minimize(loss)
        return {"r1_penalty": r1}

    def fooled(self, fake, mask, rng):
        """The generator's loss of `fake`; gradients reach the pictures alone."""
        with self.frozen() as discriminator:
            scores = self.scores(discriminator, fake, mask, rng)
        return torch.stack([self.generator_loss(*score) for score in scores]).mean()

    @contextmanager
    def frozen(self):
        # Without the wrapper: nothing of it is trained here, so no process waits for gradients.
        discriminator = self.method.unwrapped(self.discriminator)
        trained = [p for p in discriminator.parameters() if p.requires_grad]
        for parameter in trained:
            parameter.requires_grad_(False)
        try:
            yield discriminator
        finally:
            for parameter in trained:
                parameter.requires_grad_(True)

    def after_step(self):
        """Keep the spectral norms of a discriminator that has them up with its weights."""
        discriminator = self.method.unwrapped(self.discriminator)
        if hasattr(discriminator, "power_iteration"):
            discriminator.power_iteration()

    def save(self, output_dir):
        """Write the discriminator as a model folder: for growth, fine-tuning and searches."""
        self.method.unwrapped(self.discriminator).save_pretrained(output_dir / self.subfolder)


class Adversaries:
    """The discriminators of a run, each with its weight in the generator's loss; may be none."""

    def __init__(self, method):
        self.method, self.members = method, []  # (weight, Adversary)

    def add(self, weight, adversary):
        self.members.append((weight, adversary))

    def __bool__(self):
        return bool(self.members)

    def __iter__(self):
        return (adversary for _, adversary in self.members)

    def judge(self, real, fake, mask, rng):
        """Phase: a step of each."""
        logs = {}
        for adversary in self:
            logs |= adversary.judge(real, fake, mask, rng)
        return logs

    def fooled(self, fake, mask, rng):
        """(weighted sum of the generator's losses, {name: unweighted loss})."""
        total, logs = 0, {}
        for weight, adversary in self.members:
            loss = adversary.fooled(fake, mask, rng)
            logs[f"{adversary.prefix}adversarial_loss"] = loss
            total = total + weight * loss
        return total, logs

    def penalize(self, real, mask, rng):
        """Phase: R1 of those that have it."""
        logs = {}
        for adversary in self:
            if adversary.penalized:
                logs |= adversary.penalize(real, mask, rng)
        return logs

    def is_penalized(self, step):
        c = self.method.config
        return step % c.r1_interval == 0 and any(adversary.penalized for adversary in self)

    def after_step(self):
        for adversary in self:
            adversary.after_step()

    def save(self, output_dir):
        for adversary in self:
            adversary.save(output_dir)
