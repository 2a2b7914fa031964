"""Coarse to fine as a pipeline: any pipeline of one model, and a refiner of what it fills."""

from typing import Any, Self

import torch

from inpaint_hub import engines
from inpaint_hub.compositing import reduced
from inpaint_hub.pipelines.base import InpaintPipeline
from inpaint_hub.pipelines.kinds import KINDS
from inpaint_hub.pipelines.nested import NestedPipeline
from inpaint_hub.pipelines.windows import Generators
from inpaint_hub.refinement import Refiner, with_coarse_fill
from inpaint_hub.stylegan2 import FWLatent


class CoarseToFinePipeline(NestedPipeline):
    """Fills holes by the pipeline `coarse`, and refines what it filled at a higher resolution.

    Called like the others; latents, noise and variation are those of `coarse`.
    """

    part_kinds = KINDS
    papers = ("Generative Image Inpainting with Contextual Attention",)

    def __init__(self, coarse: InpaintPipeline, refiner: Refiner) -> None:
        super().__init__()
        self.register_parts(coarse=coarse, refiner=refiner)
        fine, small = refiner.resolution, coarse.resolution
        if fine <= small:
            raise ValueError(
                f"the refiner's pictures have {fine} px and those of coarse {small}, expected "
                "fewer there; use the refiner that was trained with it"
            )

    def optimize(self, engine: str | None = "eager", dtype: torch.dtype | None = None) -> Self:
        super().optimize(engine, dtype)
        engines.install(self, engine, dtype)
        return self

    def enable_model_cpu_offload(self, *arguments: Any, **options: Any) -> None:
        """The networks of `coarse` are; the refiner, which is small, stays on the device."""
        super().enable_model_cpu_offload(*arguments, **options)
        self.refiner.to(self.coarse._execution_device)

    @property
    def resolution(self) -> int:
        return self.refiner.resolution

    @property
    def input_dtype(self) -> torch.dtype:
        return self.refiner.dtype

    def small(self, masked_image: torch.Tensor, mask: torch.Tensor) -> tuple:
        """(I_m, M) as `coarse` sees them."""
        dtype = self.coarse.input_dtype
        return tuple(x.to(dtype) for x in reduced(masked_image, mask, self.coarse.resolution))

    def encode(self, masked_image: torch.Tensor, mask: torch.Tensor, **options: Any) -> FWLatent:
        return self.coarse.encode(*self.small(masked_image, mask), **options)

    def vary(
        self,
        latent: FWLatent,
        variation: float,
        generator: Generators = None,
        truncation_psi: float = 1.0,
    ) -> FWLatent:
        return self.coarse.vary(latent, variation, generator, truncation_psi)

    def render(
        self,
        latent: FWLatent,
        masked_image: torch.Tensor,
        mask: torch.Tensor,
        noise_mode: str = "const",
        generator: Generators = None,
        truncation_psi: float = 1.0,
    ) -> dict:
        small = self.small(masked_image, mask)
        made = self.coarse.render(latent, *small, noise_mode, generator, truncation_psi)
        generated = made["generated"].to(self.refiner.dtype)
        return {"generated": self.refiner(with_coarse_fill(masked_image, mask, generated), mask)}
