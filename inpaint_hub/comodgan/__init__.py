"""CoModGAN: Zhao et al., "Large Scale Image Completion via Co-Modulated Generative Adversarial
Networks", ICLR 2021; the baseline of the Dual-path poster's table.

| paper | code | shape |
| --- | --- | --- |
| E(y) | CoModulationEncoder's global code | [N,global_dim] |
| M(z) | StyleGAN2's mapping, w | [N,w_dim] |
| A(E(y), M(z)) | ws = w and E(y) joined, for each layer's affine | [N,L,w_dim + global_dim] |
| skips | features | {r: [N,C_r,r,r]} |
"""

from inpaint_hub.comodgan.model import CoModGANGenerator, CoModulationEncoder

__all__ = ["CoModGANGenerator", "CoModulationEncoder"]
