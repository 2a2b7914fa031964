"""What every encoder of the package is: a network whose code is a latent of the generator."""

from typing import Any

from torch import Tensor, nn

from inpaint_hub.hub import HubModel
from inpaint_hub.stylegan2.latents import FWLatent


class InversionEncoder(HubModel):
    """Masked picture [N,3,H,H] in [-1,1], hole 0, and mask [N,1,H,H], 1 = hole -> a code, whose
    FWLatent `latent_of` tells.

    Training needs what else a code holds, filling the latent alone: `invert` is both in one.
    """

    def latent_of(self, code: Any, gan: nn.Module | None = None) -> FWLatent:
        """The latent of what forward returned; gan: the generator, where a code is no w yet."""
        raise NotImplementedError

    def invert(
        self,
        masked_image: Tensor,
        mask: Tensor,
        gan: nn.Module | None = None,
        **options: Tensor | None,
    ) -> FWLatent:
        """The latent whose picture goes on from what is known; options: forward's."""
        return self.latent_of(self(masked_image, mask, **options), gan)
