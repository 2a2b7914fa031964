"""Training phases of Dual-path's feed-forward path alone (SPEC B3, B5)."""

from contextlib import contextmanager

import torch

from inpaint_hub.compositing import composite, mask_out
from inpaint_hub.dualpath import DualPathInpainter
from inpaint_hub.dualpath.widening import WIDENING_NOISE, widen
from inpaint_hub.losses.objective import InpaintingObjective
from inpaint_hub.pipelines.dualpath import DualPathPipeline
from inpaint_hub.pipelines.feed_forward import FeedForwardPipeline
from inpaint_hub.training.inpainting import InpaintingTraining
from inpaint_hub.training.rules import numbers_of


class FeedForwardTraining(InpaintingTraining):
    """L_ipt and discriminators on composites, as DualPathTraining's, without an inversion.

    A given pipeline is one to go on with, or a DualPathPipeline whose feed-forward path starts it;
    with `widen`, a path of more channels than that begins as its function.
    """

    def __init__(self, config, accelerator):
        super().__init__(config, accelerator)
        c = config
        fields = {"resolution": c.resolution, "channels": c.inpainter_channels}
        fields["dilations"] = numbers_of(c.dilations)
        start = None
        if c.pretrained_model_name_or_path:
            self.pipeline_of((FeedForwardPipeline, DualPathPipeline), "to start from")
            start = self.load_pretrained(DualPathInpainter, "inpainter")
            own = ("channels", "dilations", "outer_scales")
            fields |= {name: start.config[name] for name in own if name in start.config}
            fields["channels"] *= c.widen
            if start.resolution != c.resolution:
                raise ValueError(
                    f"--resolution is {c.resolution} but the inpainter in "
                    f"{c.pretrained_model_name_or_path!r} fills {start.resolution} px pictures; "
                    "use that"
                )
        inpainter = DualPathInpainter(**fields, fusion="none")
        if start is not None:
            noise = WIDENING_NOISE if c.widen > 1 else 0.0
            widen(inpainter.feed_forward, start.feed_forward, noise, c.seed)
        self.model, self.optimizer = self.prepare(inpainter, c.learning_rate)
        self.track_average(self.model)
        self.objective = InpaintingObjective(self.features, self.loss_weights())
        self.start_adversaries(c.resolution, c.channel_base, c.channel_max)

    def paint(self, image, mask, rng):
        return self.model(mask_out(image, mask), mask), None

    def loss(self, image, mask, generated, code):
        return self.objective(image, mask, generated)

    @torch.no_grad()
    def sample_rows(self, images, masks):
        masked = mask_out(images, masks)
        with self.average_weights() as inpainter:
            generated = inpainter(masked, masks)
        return [masked, generated, composite(images, generated, masks), images]

    @contextmanager
    def released(self):
        with self.average_weights() as inpainter:
            yield FeedForwardPipeline(inpainter=inpainter)
