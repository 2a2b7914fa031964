"""Training phases of a refiner of what a trained pipeline fills."""

from contextlib import contextmanager

import torch

from inpaint_hub.compositing import composite, mask_out, reduced
from inpaint_hub.dualpath import DualPathInpainter
from inpaint_hub.losses.objective import InpaintingObjective
from inpaint_hub.pipelines.auto import load_pipeline
from inpaint_hub.pipelines.refinement import CoarseToFinePipeline
from inpaint_hub.refinement import Refiner, with_coarse_fill
from inpaint_hub.training.given import hub_options
from inpaint_hub.training.inpainting import InpaintingTraining
from inpaint_hub.training.rules import numbers_of


class RefinementTraining(InpaintingTraining):
    """L_ipt and discriminators on composites, as DualPathTraining's; `coarse` is frozen.

    The given pipeline is the coarse one, or a CoarseToFinePipeline to train further. With
    grow_from, the refiner's layers start from that Dual-path inpainter's.
    """

    def __init__(self, config, accelerator):
        super().__init__(config, accelerator)
        c = config
        given = load_pipeline(
            c.pretrained_model_name_or_path, variant=c.variant or None, **hub_options(c)
        )
        if isinstance(given, CoarseToFinePipeline):
            coarse, refiner = given.coarse, given.refiner.train()
        else:
            coarse = given
            refiner = Refiner(
                resolution=c.resolution,
                channels=c.inpainter_channels,
                dilations=numbers_of(c.dilations),
            )
            if c.grow_from:
                given = self.load_pretrained(DualPathInpainter, "inpainter", c.grow_from)
                refiner.start_from(given.feed_forward)
        CoarseToFinePipeline(coarse=coarse, refiner=refiner)  # do they fit?
        self.coarse = coarse.to(self.device)
        self.model, self.optimizer = self.prepare(refiner, c.learning_rate)
        self.track_average(self.model)
        self.objective = InpaintingObjective(self.features, self.loss_weights())
        self.start_adversaries(c.resolution, c.channel_base, c.channel_max)

    @torch.no_grad()
    def coarse_fill(self, masked_image, mask, **options):
        """The picture with the coarse pipeline's fill, as the refiner is given it."""
        small = reduced(masked_image, mask, self.coarse.resolution)
        with self.accelerator.autocast():
            latent = self.coarse.encode(*small)
            generated = self.coarse.render(latent, *small, **options)["generated"]
        return with_coarse_fill(masked_image, mask, generated.to(masked_image.dtype))

    def paint(self, image, mask, rng):
        coarse = self.coarse_fill(mask_out(image, mask), mask, noise_mode="random", generator=rng)
        return self.model(coarse, mask), None

    def loss(self, image, mask, generated, code):
        return self.objective(image, mask, generated)

    @torch.no_grad()
    def sample_rows(self, images, masks):
        masked = mask_out(images, masks)
        coarse = self.coarse_fill(masked, masks)
        with self.average_weights() as refiner:
            generated = refiner(coarse, masks)
        return [masked, coarse, generated, composite(images, generated, masks), images]

    @contextmanager
    def released(self):
        with self.average_weights() as refiner:
            yield CoarseToFinePipeline(coarse=self.coarse, refiner=refiner)
