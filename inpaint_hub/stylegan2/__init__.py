"""StyleGAN2 in plain PyTorch, written from the published description (SPEC C).

Karras, Laine, Aittala, Hellsten, Lehtinen, Aila: "Analyzing and Improving the Image Quality of
StyleGAN", CVPR 2020.

    z [N,z_dim] --mapping--> w [N,w_dim] --repeat--> ws [N,L,w_dim] --synthesis--> picture [N,3,s,s]
    picture --discriminator--> logit [N,1]
"""

from inpaint_hub.stylegan2.discriminator import StyleGAN2Discriminator
from inpaint_hub.stylegan2.generator import StyleGAN2Generator
from inpaint_hub.stylegan2.latents import FWLatent

__all__ = ["FWLatent", "StyleGAN2Discriminator", "StyleGAN2Generator"]
