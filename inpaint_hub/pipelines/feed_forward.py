"""Dual-path's feed-forward path alone, as a pipeline: no generator, no inversion (SPEC B3)."""

from inpaint_hub.dualpath import DualPathInpainter
from inpaint_hub.pipelines.base import InpaintPipeline
from inpaint_hub.stylegan2 import FWLatent


class FeedForwardPipeline(InpaintPipeline):
    """Fills holes by the auto-encoder of Dual-path (CVPR 2022) alone, without the inversion that
    advises it there: its ablation arm, and a model for pictures no generator knows.

    It has one answer to a hole: `variation` and `noise_mode` change nothing.
    """

    model_cpu_offload_seq = "inpainter"

    papers = ("Dual-path",)

    def __init__(self, inpainter: DualPathInpainter):
        super().__init__()
        if inpainter.fusion_resolutions:
            raise ValueError(
                f"the inpainter fuses a generator's features at {inpainter.fusion_resolutions} px, "
                "expected one of fusion='none'; use DualPathPipeline"
            )
        self.register_networks(inpainter=inpainter)

    @property
    def resolution(self):
        return self.inpainter.resolution

    @property
    def input_dtype(self):
        return self.inpainter.dtype

    def encode(self, masked_image, mask):
        """An FWLatent of no style vectors."""
        return FWLatent(masked_image.new_zeros(len(mask), 0, 0))

    def vary(self, latent, variation, generator=None, truncation_psi=1.0):
        return latent

    def render(
        self, latent, masked_image, mask, noise_mode="const", generator=None, truncation_psi=1.0
    ):
        return {"generated": self.inpainter(masked_image, mask)}
