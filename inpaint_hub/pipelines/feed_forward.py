"""Dual-path's feed-forward path alone, as a pipeline: no generator, no inversion (SPEC B3)."""

import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from inpaint_hub.dualpath import DualPathInpainter
from inpaint_hub.pipelines.base import InpaintPipeline
from inpaint_hub.pipelines.windows import Generators, fills_of
from inpaint_hub.stylegan2 import FWLatent
from inpaint_hub.texture import FillMixer


class FeedForwardPipeline(InpaintPipeline):
    """Fills holes by the auto-encoder of Dual-path (CVPR 2022) alone, without the inversion that
    advises it there: its ablation arm, and a model for pictures no generator knows.

    mixer: what mixes these fills with copies of the photo where texture is "patches" or "auto";
    without one copies are shown as they are.

    It has one answer to a hole: `variation` and `noise_mode` change nothing. texture="auto" is
    "patches": it was shown what lies around the hole, so that its being right there tells nothing.
    """

    model_cpu_offload_seq = "inpainter"
    _optional_components = ["mixer"]

    papers = ("Dual-path",)

    def __init__(self, inpainter: DualPathInpainter, mixer: FillMixer | None = None) -> None:
        super().__init__()
        if inpainter.fusion_resolutions:
            raise ValueError(
                f"the inpainter fuses a generator's features at {inpainter.fusion_resolutions} px, "
                "expected one of fusion='none'; use DualPathPipeline"
            )
        self.register_networks(inpainter=inpainter, mixer=mixer)

    @property
    def resolution(self) -> int:
        return self.inpainter.resolution

    @property
    def input_dtype(self) -> torch.dtype:
        return self.inpainter.dtype

    def encode(self, masked_image: torch.Tensor, mask: torch.Tensor) -> FWLatent:
        """An FWLatent of no style vectors."""
        return FWLatent(masked_image.new_zeros(mask.shape[0], 0, 0))

    def vary(
        self,
        latent: FWLatent,
        variation: float,
        generator: Generators = None,
        truncation_psi: float = 1.0,
    ) -> FWLatent:
        return latent

    def render(
        self,
        latent: FWLatent,
        masked_image: torch.Tensor,
        mask: torch.Tensor,
        noise_mode: str = "const",
        generator: Generators = None,
        truncation_psi: float = 1.0,
    ) -> dict:
        return {"generated": self.inpainter(masked_image, mask)}

    def fills(
        self, *arguments: Any, **options: Any
    ) -> Iterator[tuple[np.ndarray | None, np.ndarray]]:
        """As InpaintPipeline's; texture, mixer: see the class."""
        given = inspect.signature(fills_of).bind(*arguments, **options)
        if given.arguments.get("texture") == "auto":
            given.arguments["texture"] = "patches"
        given.arguments.setdefault("mixer", self.mixer)
        return fills_of(*given.args, **given.kwargs)
