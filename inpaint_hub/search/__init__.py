"""Latent search: per picture, the code whose picture agrees best with the known pixels.

w_plus      Abdal et al., "Image2StyleGAN", ICCV 2019: one style vector per layer.
yeh         Yeh et al., "Semantic Image Inpainting with Deep Generative Models", CVPR 2017:
            weighted context and the discriminator's opinion; the baseline of the Dual-path poster.
mganprior   Gu et al., "Image Processing Using Multi-Code GAN Prior", CVPR 2020: several codes,
            their features mixed channel by channel; the baseline of InvertFill Table 2.
"""

from inpaint_hub.search.descent import Limits
from inpaint_hub.search.mganprior import multi_code_search
from inpaint_hub.search.schedule import Schedule
from inpaint_hub.search.w_plus import w_plus_search
from inpaint_hub.search.yeh import yeh_search

__all__ = ["Limits", "Schedule", "multi_code_search", "w_plus_search", "yeh_search"]
