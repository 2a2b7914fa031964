"""The inpainter and the refiner once more, arranged for speed: same functions, no gradients."""

import copy

import torch

from inpaint_hub.dualpath import DualPathInpainter
from inpaint_hub.engines.precision import best_dtype
from inpaint_hub.refinement import Refiner


class InferenceInpainter:
    """A DualPathInpainter's function, called as its forward is; for fixed weights, without
    gradients, channels-last.

    Args:
        inpainter: the network, which is copied.
        dtype: to compute in; best_dtype's choice where not given. What is returned has the
            inpainter's own dtype.
    """

    def __init__(
        self, inpainter: DualPathInpainter | Refiner, dtype: torch.dtype | None = None
    ) -> None:
        weights = next(inpainter.parameters())
        self.weights_dtype = weights.dtype
        self.dtype = dtype or best_dtype(weights.device, weights.dtype)
        network = copy.deepcopy(inpainter)
        vars(network).pop("forward", None)  # where the inpainter's own runs this
        network.eval().requires_grad_(False)
        self.network = network.to(self.dtype, memory_format=torch.channels_last)

    def __call__(
        self,
        masked_image: torch.Tensor,
        mask: torch.Tensor,
        semantic_features: dict[int, torch.Tensor] | None = None,
        return_offsets: bool = False,
    ) -> torch.Tensor | tuple[torch.Tensor, dict[int, torch.Tensor]]:
        resolutions = self.network.fusion_resolutions  # of no others are features converted
        features = {r: f for r, f in (semantic_features or {}).items() if r in resolutions}
        features = {r: self.cast(f) for r, f in features.items()}
        with torch.no_grad(), torch.autocast(masked_image.device.type, enabled=False):
            generated, offsets = self.run(self.cast(masked_image), self.cast(mask), features)
        generated = generated.to(self.weights_dtype)
        offsets = {r: offset.to(self.weights_dtype) for r, offset in offsets.items()}
        return (generated, offsets) if return_offsets else generated

    def cast(self, x: torch.Tensor) -> torch.Tensor:
        return x.to(self.dtype, memory_format=torch.channels_last)

    def run(
        self,
        masked_image: torch.Tensor,
        mask: torch.Tensor,
        semantic_features: dict[int, torch.Tensor],
    ) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
        """(picture, {r: offset}) in the form's own dtype."""
        return self.network(masked_image, mask, semantic_features, return_offsets=True)


class InferenceRefiner(InferenceInpainter):
    """A Refiner's function, likewise; what it adds to is not rounded."""

    def __call__(self, coarse: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        with torch.no_grad(), torch.autocast(coarse.device.type, enabled=False):
            residual = self.run(self.cast(coarse), self.cast(mask))
        return coarse + residual.to(self.weights_dtype)

    def run(self, coarse: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The residual in the form's own dtype."""
        return self.network.residual(coarse, mask)
