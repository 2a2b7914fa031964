"""Dual-path: Wang, Niu, Zhang, Yang, Zhang, "Dual-path Image Inpainting with Auxiliary GAN
Inversion", CVPR 2022.

Written from the poster; its text gives neither layers nor losses. What it leaves open is decided in
SPEC B2-B6, and every such choice is an argument of DualPathInpainter.

    inversion path      I_m, M --encoder--> w+ --frozen generator--> G(w+), F_s
    feed-forward path   I_m, M --gated encoder--> dilated middle --decoder--> O_ff
                                                                    ^ F_s, aligned, at each scale

| poster | code | shape |
| --- | --- | --- |
| I_m, M | masked_image, mask (1 = hole) | [N,3,s,s], [N,1,s,s] |
| w+ | ws | [N,L,w_dim] |
| G(w+) | inverted | [N,3,s,s] |
| F_s | semantic_features | {r: [N,C_r,r,r]} |
| decoder features (x in SPEC B4) | x | [N,C,r,r] |
| offsets of the deformable fusion | offset, offsets | [N,2Kg,r,r] px, {r: ...} |
| DCNv2's mask | modulation | [N,Kg,r,r] in [0,2] |
| K, g | taps of a kernel (9), groups of channels that share an offset | |
| result of the feed-forward path | generated | [N,3,s,s] in [-1,1] |
"""

from inpaint_hub.dualpath.model import DualPathInpainter
from inpaint_hub.dualpath.patch_discriminator import PatchDiscriminator

__all__ = ["DualPathInpainter", "PatchDiscriminator"]
