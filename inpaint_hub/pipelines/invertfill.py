"""InvertFill as a pipeline."""

from typing import Any

import torch

from inpaint_hub.invertfill import InvertFillEncoder
from inpaint_hub.pipelines.base import InpaintPipeline
from inpaint_hub.stylegan2 import FWLatent, StyleGAN2Generator


class InvertFillPipeline(InpaintPipeline):
    """Fills holes in one forward pass: a GAN-inversion encoder and a frozen StyleGAN2 (InvertFill,
    ECCV 2022).

    With an encoder of other noise_levels than "none", random noise co-modulates its style vectors:
    several results for one hole then differ visibly.
    """

    papers = ("InvertFill", "StyleGAN2")

    def __init__(self, encoder: InvertFillEncoder, gan: StyleGAN2Generator) -> None:
        super().__init__()
        self.register_networks(encoder=encoder, gan=gan)

    def generate(
        self,
        latent: FWLatent,
        noise_mode: str = "const",
        generator: torch.Generator | list[torch.Generator] | None = None,
        truncation_psi: float = 1.0,
        **options: Any,
    ) -> torch.Tensor | tuple[torch.Tensor, dict[int, torch.Tensor]]:
        """As InpaintPipeline's; noise_mode "random" draws what co-modulates, too."""
        if noise_mode == "random" and self.encoder.noise_levels != "none":
            offsets = truncation_psi * self.random_offsets(len(latent.ws), generator)
            latent = latent._replace(ws=self.encoder.co_modulate(latent.ws, offsets))
        return super().generate(latent, noise_mode, generator, **options)
