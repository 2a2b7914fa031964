"""One-shot latent prediction as a pipeline."""

import torch

from inpaint_hub.inversion import LahiriEncoder
from inpaint_hub.pipelines.base import InpaintPipeline
from inpaint_hub.pipelines.repository import woken
from inpaint_hub.stylegan2 import FWLatent, StyleGAN2Generator


class LahiriPipeline(InpaintPipeline):
    """Fills holes with the picture of a z predicted in one pass (Lahiri et al., CVPR 2020)."""

    papers = ("Prior Guided GAN Based Semantic Inpainting", "StyleGAN2")

    def __init__(self, encoder: LahiriEncoder, gan: StyleGAN2Generator) -> None:
        super().__init__()
        self.register_networks(encoder=encoder, gan=gan)

    def encode(self, masked_image: torch.Tensor, mask: torch.Tensor) -> FWLatent:
        z = self.encoder(masked_image, mask)
        return self.encoder.latent_of(z, woken(self.gan))  # which is needed only now
