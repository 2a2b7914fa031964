"""Pictures from noise: the generator that the inpainting pipelines build on, by itself."""

from dataclasses import dataclass

import torch
from diffusers.utils import BaseOutput
from PIL import Image

from inpaint_hub.images import to_pixels
from inpaint_hub.pipelines.repository import HubPipeline
from inpaint_hub.stylegan2 import StyleGAN2Generator


@dataclass
class StyleGAN2Output(BaseOutput):
    """images: list of PIL.Image."""

    images: list


class StyleGAN2Pipeline(HubPipeline):
    """z -> pictures. Trained by `train_accelerate.py --method stylegan2`."""

    pipeline_tag = "unconditional-image-generation"
    tags = ("stylegan2",)
    usage = 'pipe(num_images=1, truncation_psi=0.7).images[0].save("picture.png")\n'

    papers = ("StyleGAN2",)

    def __init__(self, gan: StyleGAN2Generator) -> None:
        super().__init__()
        self.register_networks(gan=gan)

    @torch.no_grad()
    def __call__(
        self,
        num_images: int = 1,
        truncation_psi: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> StyleGAN2Output:
        """`num_images` new pictures; truncation_psi in [0,1] pulls them toward the average
        picture.

        generator: torch.Generator that draws z and noise.
        """
        z = torch.randn(num_images, self.gan.z_dim, generator=generator).to(self.gan.device)
        pictures = self.gan(z, truncation_psi, noise_mode="random", generator=generator)
        return StyleGAN2Output(images=[Image.fromarray(p) for p in to_pixels(pictures)])
