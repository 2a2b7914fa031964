"""InvertFill's objective: L = L_ipt + lambda_msr L_msr + lambda_fid L_fid (Eq. (4)-(7); SPEC
A9)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from inpaint_hub.compositing import composite
from inpaint_hub.losses.fidelity import fidelity_loss
from inpaint_hub.losses.perceptual import perceptual_loss, style_loss
from inpaint_hub.losses.reconstruction import hole_loss, tv_loss, valid_loss

MIN_NETWORK_PX = (
    64  # smaller pictures are enlarged before the perceptual network, whose maps would vanish
)


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms. RFR's for VGG-16; multi_scale and fidelity are our choice (SPEC
    A9.4)."""

    valid: float = 1.0
    hole: float = 6.0
    perceptual: float = 0.05
    style: float = 120.0
    tv: float = 0.1
    multi_scale: float = 0.5
    fidelity: float = 0.1


class InvertFillObjective:
    """Computes Eq. (7).

    network: see losses.perceptual; weights: LossWeights; msr_min_size: smaller O_E^r are enlarged
    to so many px before the network, whose maps would vanish.
    """

    def __init__(self, network, weights=LossWeights(), msr_min_size=64):
        self.network, self.weights, self.msr_min_size = network, weights, msr_min_size

    def __call__(self, image, mask, generated, coarse, ws, w_bar, w_std=None):
        """image, generated [N,3,s,s] in [-1,1] (generated unbounded); mask [N,1,s,s], 1 = hole;
        coarse: list of [N,3,r,r]; ws [N,L,w_dim]; w_bar, w_std [w_dim] -> (scalar, {"<term>_loss":
        unweighted scalar})."""
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
        inpainting = (
            w.valid * logs["valid_loss"]
            + w.hole * logs["hole_loss"]
            + w.perceptual * logs["perceptual_loss"]
            + w.style * logs["style_loss"]
            + w.tv * logs["tv_loss"]
        )
        logs["inpainting_loss"] = inpainting
        logs["multi_scale_loss"] = sum(self.multi_scale((o + 1) / 2, image) for o in coarse)
        logs["fidelity_loss"] = fidelity_loss(ws, w_bar, w_std)
        total = (
            inpainting
            + w.multi_scale * logs["multi_scale_loss"]
            + w.fidelity * logs["fidelity_loss"]
        )
        return total, logs

    def _pair(self, a, b):
        """The maps of two batches from one pass of the network."""
        maps = self.network(torch.cat([a, b]))
        return [m[: len(a)] for m in maps], [m[len(a) :] for m in maps]

    def multi_scale(self, small, image):
        """One level of L_msr (Eq. (5)): O_E^r against the picture averaged down, both [0,1]."""
        target = F.interpolate(image, small.shape[-2:], mode="area")
        maps, target_maps = self._pair(self.enlarged(small), self.enlarged(target))
        return (
            F.mse_loss(small, target)
            + self.weights.perceptual * perceptual_loss(maps, target_maps)
            + self.weights.style * style_loss(maps, target_maps)
        )

    def enlarged(self, x):
        if min(x.shape[-2:]) >= self.msr_min_size:
            return x
        return F.interpolate(x, self.msr_min_size, mode="bilinear")
