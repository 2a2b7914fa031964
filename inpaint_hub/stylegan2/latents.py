"""F&W+: the latent that every encoder and search inverts to, and the generator reads
(InvertFill Eq. (3))."""

from typing import NamedTuple

import torch


class FWLatent(NamedTuple):
    """Style vectors and, for the F part, what is added inside the generator.

    ws [N,L,w_dim]; features {r: [N,C_r,r,r]} for the feature maps; rgb_features {r: [N,3,r,r]} for
    the RGB skip. W+ alone is FWLatent(ws).
    """

    ws: torch.Tensor
    features: dict = {}
    rgb_features: dict = {}

    def repeat(self, count: int) -> "FWLatent":
        """Each of the N latents `count` times in a row: [N * count, ...]."""
        return FWLatent(
            self.ws.repeat_interleave(count, dim=0),
            {r: f.repeat_interleave(count, dim=0) for r, f in self.features.items()},
            {r: f.repeat_interleave(count, dim=0) for r, f in self.rgb_features.items()},
        )
