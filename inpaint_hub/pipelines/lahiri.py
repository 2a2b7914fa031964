"""One-shot latent prediction as a pipeline."""

from inpaint_hub.inversion import LahiriEncoder
from inpaint_hub.pipelines.base import InpaintPipeline, woken
from inpaint_hub.stylegan2 import FWLatent, StyleGAN2Generator


class LahiriPipeline(InpaintPipeline):
    """Fills holes with the picture of a z predicted in one pass (Lahiri et al., CVPR 2020)."""

    def __init__(self, encoder: LahiriEncoder, gan: StyleGAN2Generator):
        super().__init__()
        self.register_networks(encoder=encoder, gan=gan)

    def encode(self, masked_image, mask):
        z = self.encoder(masked_image, mask)
        gan = woken(self.gan)
        return FWLatent(gan.map(z.to(gan.dtype)))
