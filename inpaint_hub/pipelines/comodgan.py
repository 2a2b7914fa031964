"""CoModGAN as a pipeline: one network, no inversion."""

import torch
import torch.nn.functional as F

from inpaint_hub.comodgan import CoModGANGenerator
from inpaint_hub.pipelines.base import InpaintPipeline
from inpaint_hub.pipelines.repository import woken
from inpaint_hub.pipelines.windows import Generators
from inpaint_hub.stylegan2 import FWLatent


class CoModGANPipeline(InpaintPipeline):
    """Fills holes with a co-modulated GAN (CoModGAN, ICLR 2021): several results for one hole come
    from several z.

    One result without a generator has the mean w; with random noise each draws its own.
    """

    model_cpu_offload_seq = "gan"

    papers = ("CoModGAN", "StyleGAN2")

    def __init__(self, gan: CoModGANGenerator) -> None:
        super().__init__()
        self.register_networks(gan=gan)

    @property
    def input_dtype(self) -> torch.dtype:
        return self.gan.dtype

    def encode(self, masked_image: torch.Tensor, mask: torch.Tensor) -> FWLatent:
        gan = woken(self.gan)
        global_code, features = gan.encoder(masked_image, mask)
        w = gan.w_avg.to(global_code.dtype).expand(mask.shape[0], -1)
        return FWLatent(gan.co_modulate(w, global_code), features)

    def random_offsets(self, count: int, generator: Generators = None) -> torch.Tensor:
        """Of w alone: the encoder's code says what the picture shows, and stays."""
        return F.pad(super().random_offsets(count, generator), (0, self.gan.global_dim))

    def drawn(self, latent: FWLatent, generator: Generators, truncation_psi: float) -> FWLatent:
        """Of a random z each."""
        return self.vary(latent, 1.0, generator, truncation_psi)
