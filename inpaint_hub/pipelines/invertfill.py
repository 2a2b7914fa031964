"""InvertFill as a pipeline."""

from inpaint_hub.invertfill import InvertFillEncoder
from inpaint_hub.pipelines.base import InpaintPipeline
from inpaint_hub.pipelines.windows import Generators
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

    def drawn(self, latent: FWLatent, generator: Generators, truncation_psi: float) -> FWLatent:
        """Co-modulated, where the encoder learned to be."""
        if self.encoder.noise_levels == "none":
            return latent
        offsets = truncation_psi * self.random_offsets(len(latent.ws), generator)
        return latent._replace(ws=self.encoder.co_modulate(latent.ws, offsets))
