"""Encoders from picture to latent: feature pyramids, style heads, and pSp built from them.

pSp: Richardson et al., "Encoding in Style: a StyleGAN Encoder for Image-to-Image Translation", CVPR
2021. Lahiri et al., "Prior Guided GAN Based Semantic Inpainting", CVPR 2020.
"""

from inpaint_hub.inversion.backbone import EncoderTrunk
from inpaint_hub.inversion.lahiri import LahiriEncoder
from inpaint_hub.inversion.psp import PSPEncoder

__all__ = ["EncoderTrunk", "LahiriEncoder", "PSPEncoder"]
