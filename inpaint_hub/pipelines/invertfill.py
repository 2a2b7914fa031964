"""InvertFill as a pipeline."""

from inpaint_hub.invertfill import InvertFillEncoder
from inpaint_hub.pipelines.base import InpaintPipeline
from inpaint_hub.stylegan2 import StyleGAN2Generator


class InvertFillPipeline(InpaintPipeline):
    """Fills holes in one forward pass: a GAN-inversion encoder and a frozen StyleGAN2 (InvertFill,
    ECCV 2022)."""

    def __init__(self, encoder: InvertFillEncoder, gan: StyleGAN2Generator):
        super().__init__()
        self.register_networks(encoder=encoder, gan=gan)

    def encode(self, masked_image, mask):
        return self.encoder(masked_image, mask).latent
