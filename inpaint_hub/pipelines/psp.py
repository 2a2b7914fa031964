"""pSp, shown masked pictures, as a pipeline: the inversion InvertFill is compared with."""

from inpaint_hub.inversion import PSPEncoder
from inpaint_hub.pipelines.base import InpaintPipeline
from inpaint_hub.stylegan2 import StyleGAN2Generator


class PSPPipeline(InpaintPipeline):
    """Fills holes with pSp's inversion into W+ (pixel2style2pixel, CVPR 2021) of the masked
    picture."""

    papers = ("pSp", "StyleGAN2")

    def __init__(self, encoder: PSPEncoder, gan: StyleGAN2Generator) -> None:
        super().__init__()
        self.register_networks(encoder=encoder, gan=gan)


class PSPBlendPipeline(PSPPipeline):
    """PSPPipeline whose fills are blended in by the Gaussian-Poisson equation of GP-GAN (pSp +
    Blend of InvertFill section 4.3) unless the call says blend="none" or another name."""

    default_blend = "gp"
