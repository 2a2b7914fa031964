"""InvertFill's objective: L = L_ipt + lambda_msr L_msr + lambda_fid L_fid.

InvertFill Eq. (4)-(7); SPEC A9.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from inpaint_hub.compositing import composite
from inpaint_hub.losses.fidelity import fidelity_loss
from inpaint_hub.losses.perceptual import perceptual_loss, style_loss
from inpaint_hub.losses.reconstruction import hole_loss, tv_loss, valid_loss


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms: RFR's, for VGG-16; multi_scale and fidelity are our choice (SPEC A9.4).

    perceptual and style depend on the network; `squeezenet()` has them for SqueezeNet 1.1.
    """

    valid: float = 1.0
    hole: float = 6.0
    perceptual: float = 0.05
    style: float = 120.0
    tv: float = 0.1
    multi_scale: float = 0.5
    fidelity: float = 0.1

    @classmethod
    def squeezenet(cls) -> Self:
        """RFR's pixel weights, and perceptual and style weights for SqueezeNet's larger maps.

        Measured on 96 faces at 64 px with the training masks (46 % hole), over 6 * hole_loss:
        perceptual 1.0 and style 0.25 where Telea filled the hole, 0.9 and 0.2 for another face,
        2.5 and 0.8 for the picture blurred to a quarter of its resolution.
        """
        return cls(perceptual=0.004, style=0.006)


class InpaintingObjective:
    """Computes L_ipt (InvertFill Eq. (4)).

    network: see losses.perceptual; weights: LossWeights.
    """

    def __init__(self, network: Callable, weights: LossWeights = LossWeights()) -> None:
        self.network, self.weights = network, weights

    def __call__(
        self, image: Tensor, mask: Tensor, generated: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """(scalar, {"<term>_loss": unweighted scalar}).

        image [N,3,s,s] in [-1,1]; generated [N,3,s,s], unbounded around it; mask [N,1,s,s],
        1 = hole.
        """
        composited = composite(image, generated, mask)
        image, generated, composited = ((x + 1) / 2 for x in (image, generated, composited))
        target_maps = self.network(image)
        maps, comp_maps = self._pair(generated, composited)
        logs = {
            "valid_loss": valid_loss(generated, image, mask),
            "hole_loss": hole_loss(generated, image, mask),
            "perceptual_loss": perceptual_loss(maps, target_maps)
            + perceptual_loss(comp_maps, target_maps),
            "style_loss": style_loss(maps, target_maps) + style_loss(comp_maps, target_maps),
            "tv_loss": tv_loss(composited, mask),
        }
        w = self.weights
        total = (
            w.valid * logs["valid_loss"]
            + w.hole * logs["hole_loss"]
            + w.perceptual * logs["perceptual_loss"]
            + w.style * logs["style_loss"]
            + w.tv * logs["tv_loss"]
        )
        return total, logs | {"inpainting_loss": total}

    def _pair(self, a: Tensor, b: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Maps of two batches [N,3,H,W] in [0,1] from one pass of the network."""
        maps = self.network(torch.cat([a, b]))
        return [m[: len(a)] for m in maps], [m[len(a) :] for m in maps]


class InvertFillObjective(InpaintingObjective):
    """Computes InvertFill Eq. (7).

    msr_min_size: O_E^r smaller than so many px are enlarged before the network, whose deepest maps
    would vanish (SPEC A3); network, weights: as InpaintingObjective's.
    """

    def __init__(
        self, network: Callable, weights: LossWeights = LossWeights(), msr_min_size: int = 64
    ) -> None:
        super().__init__(network, weights)
        self.msr_min_size = msr_min_size

    def __call__(
        self,
        image: Tensor,
        mask: Tensor,
        generated: Tensor,
        coarse: list[Tensor],
        ws: Tensor,
        w_bar: Tensor,
        w_std: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """As InpaintingObjective's, with coarse: list of [N,3,r,r] in [-1,1]; ws [N,L,w_dim];
        w_bar, w_std [w_dim].
        """
        inpainting, logs = super().__call__(image, mask, generated)
        image01, w = (image + 1) / 2, self.weights
        logs["multi_scale_loss"] = sum(self.multi_scale((o + 1) / 2, image01) for o in coarse)
        logs["fidelity_loss"] = fidelity_loss(ws, w_bar, w_std)
        total = (
            inpainting
            + w.multi_scale * logs["multi_scale_loss"]
            + w.fidelity * logs["fidelity_loss"]
        )
        return total, logs

    def multi_scale(self, small: Tensor, image: Tensor) -> Tensor:
        """One level of L_msr (InvertFill Eq. (5)): O_E^r against the picture averaged down to r px.

        Both in [0,1]; perceptual and style as in L_ipt, without the composite (SPEC A9.2).
        """
        target = F.interpolate(image, small.shape[-2:], mode="area")
        maps, target_maps = self._pair(self.enlarged(small), self.enlarged(target))
        return (
            F.mse_loss(small, target)
            + self.weights.perceptual * perceptual_loss(maps, target_maps)
            + self.weights.style * style_loss(maps, target_maps)
        )

    def enlarged(self, x: Tensor) -> Tensor:
        """x [N,3,r,r], bilinearly brought to msr_min_size where it is smaller."""
        if min(x.shape[-2:]) >= self.msr_min_size:
            return x
        return F.interpolate(x, self.msr_min_size, mode="bilinear")
