"""InvertFill: Yu, Zhang, Fan, Luo, "High-Fidelity Image Inpainting with GAN Inversion", ECCV 2022.

| paper | code | shape |
| --- | --- | --- |
| I_m, M | masked_image, mask (1 = hole) | [N,3,s,s], [N,1,s,s] |
| E | InvertFillEncoder | |
| O_E^r | coarse | list of [N,3,r,r] |
| w'_r | level_codes | [N,3,w_dim] |
| S_r | structure | [N,3,w_dim] |
| gamma_l, beta_l (Eq. 1) | PreModulation.gamma, .beta | [N,w_dim] |
| w* (Eq. 1) | ws | [N,L,w_dim] |
| F (Eq. 3) | features, rgb_features | {r: [N,C_r,r,r]}, {r: [N,3,r,r]} |
| F&W+ | FWLatent | |
| w-bar (section 3.2) | SoftMeanLatent.w_bar_online, .w_bar_target | [w_dim] |
"""

from inpaint_hub.invertfill.encoder import InvertFillEncoder, InvertFillOutput
from inpaint_hub.invertfill.mean_latent import SoftMeanLatent
from inpaint_hub.stylegan2.latents import FWLatent

__all__ = ["FWLatent", "InvertFillEncoder", "InvertFillOutput", "SoftMeanLatent"]
