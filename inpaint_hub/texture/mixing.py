"""Several fills of one hole made one: of each octave of them a weighted mean, by weights that a
small network chooses place by place.

Copies are sharp and each wrong in its own way, a network's fill is nearer to the truth and a blur:
what they agree on is kept, and of what they do not the likelier, or a mean.

Burt, Adelson, "A Multiresolution Spline With Application to Image Mosaics", ACM TOG 1983 (octaves).
Zhang, Barnes, Hampp, Paris, Shechtman, Shi, "Inpainting at Modern Camera Resolution by Guided
PatchMatch with Auto-Curation", ECCV 2022 (a judge of candidates; there it chooses one of them).
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor, nn

from inpaint_hub import crops
from inpaint_hub.hub import HubModel

WIDTHS = (16, 24, 32, 48, 64, 64)
SLOPE = 0.2
REACH_PX = 64  # so much around a hole is shown to the network
AGREED_PX = 3  # a fill is kept between what copies show in such a square


def octaves(pictures: Tensor, count: int) -> list[Tensor]:
    """[N,C,H,W] -> Laplacian pyramid, fine to coarse: `count` differences of means of 2x2 px, and
    the coarsest means. H, W: multiples of 2**count."""
    bands = []
    for _ in range(count):
        coarse = F.avg_pool2d(pictures, 2)
        bands.append(pictures - _doubled(coarse))
        pictures = coarse
    return [*bands, pictures]


def sum_of_octaves(bands: Sequence[Tensor]) -> Tensor:
    """What `octaves` was made of."""
    *bands, picture = bands
    for band in reversed(bands):
        picture = band + _doubled(picture)
    return picture


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class TwoConvs(nn.Sequential):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
            nn.LeakyReLU(SLOPE),
        )


class FillMixer(HubModel):
    """Candidates [N,K,3,H,W] in [0,1] and hole [N,1,H,W], 1 = hole -> their mixture [N,3,H,W].

    A U-Net looks at the candidates' mean and at what sets each apart from it; at every scale it
    gives K weights for each place, which add up to 1. At first they are equal. Nothing is in the
    mixture that no candidate shows: no octave of it leaves the range of theirs.

    Args:
        candidates: K, in an order that is kept.
        widths: channels of each scale, fine to coarse; there are one octave less.
    """

    def __init__(self, *, candidates: int = 3, widths: list[int] | None = None) -> None:
        super().__init__()
        widths = widths or list(WIDTHS)
        if candidates < 2 or len(widths) < 2:
            raise ValueError(
                f"candidates is {candidates} and widths {widths}, expected at least 2 candidates "
                "and the channels of at least 2 scales"
            )
        self.candidates = candidates
        # The last one's difference from the mean follows from the others'.
        seen = 1 + 3 + 3 * (candidates - 1) + candidates
        self.down = nn.ModuleList(
            TwoConvs(before, after) for before, after in zip([seen, *widths], widths)
        )
        self.up = nn.ModuleList(
            TwoConvs(fine + coarse, fine) for fine, coarse in zip(widths, widths[1:])
        )
        self.to_logits = nn.ModuleList(nn.Conv2d(width, candidates, 1) for width in widths)
        for conv in self.to_logits:
            nn.init.zeros_(conv.weight)
            nn.init.zeros_(conv.bias)

    @property
    def multiple(self) -> int:
        """Of what H and W have to be multiples."""
        return 2 ** len(self.up)

    def weights(self, candidates: Tensor, mask: Tensor) -> list[Tensor]:
        """[N,K,h,w] of each octave, fine to coarse, at its own resolution."""
        mean = candidates.mean(dim=1, keepdim=True)
        apart = candidates - mean
        x = [mask - 0.5, 2 * mean[:, 0] - 1, 4 * apart[:, :-1].flatten(1, 2)]
        x = torch.cat([*x, 16 * apart.square().mean(dim=2)], dim=1).to(self.dtype)
        skips = []
        for convs in self.down:
            x = convs(F.avg_pool2d(x, 2) if skips else x)
            skips.append(x)
        logits = [self.to_logits[-1](skips.pop())]
        for convs, to_logits in zip(reversed(self.up), reversed(self.to_logits[:-1])):
            x = convs(torch.cat([skips.pop(), F.interpolate(x, scale_factor=2)], dim=1))
            logits.append(to_logits(x))
        return [x.float().softmax(dim=1) for x in reversed(logits)]

    def forward(self, candidates: Tensor, mask: Tensor) -> Tensor:
        """H, W: multiples of `multiple`. Where mask is 0 the candidates should be equal."""
        bands = octaves(candidates.flatten(0, 1).float(), len(self.up))
        weights = self.weights(candidates, mask)
        return sum_of_octaves(
            [
                (band.unflatten(0, candidates.shape[:2]) * weight[:, :, None]).sum(dim=1)
                for band, weight in zip(bands, weights)
            ]
        )


def surroundings(own: np.ndarray) -> tuple[slice, slice]:
    """What a mixer is shown around `own`, bool [H,W]."""
    left, top, right, bottom = crops.bounding_box(own)
    return np.s_[max(top - REACH_PX, 0) : bottom + REACH_PX,
                 max(left - REACH_PX, 0) : right + REACH_PX]  # fmt: skip


def kept_between(fill: np.ndarray, copies: Sequence[np.ndarray]) -> np.ndarray:
    """float32 [H,W,3]: the fill, nowhere outside of what the copies show in the square of AGREED_PX
    around a place: where they agree, as on a clear sky, it has no say. All float32 [H,W,3]."""
    size = (AGREED_PX, AGREED_PX, 1)
    least = ndimage.minimum_filter(np.min(copies, axis=0), size=size)
    most = ndimage.maximum_filter(np.max(copies, axis=0), size=size)
    return np.clip(fill, least, most).astype(np.float32)


@torch.no_grad()
def mixed(mixer: FillMixer, fills: Sequence[np.ndarray], own: np.ndarray) -> np.ndarray:
    """float32 [H,W,3]: the fills of `own`, bool [H,W], mixed there, and what else is in the first.

    fills: of float32 [H,W,3] in [0,1], as many as the mixer's candidates, in their order.
    """
    part = surroundings(own)
    near = own[part]
    shown = np.stack([np.where(near[..., None], fill[part], fills[0][part]) for fill in fills])
    padding = [(0, -n % mixer.multiple) for n in near.shape]
    shown = np.pad(shown, [(0, 0), *padding, (0, 0)], mode="edge")
    mask = np.pad(near, padding).astype(np.float32)
    seen = torch.from_numpy(shown).permute(0, 3, 1, 2)[None].to(mixer.device)
    picture = mixer(seen, torch.from_numpy(mask)[None, None].to(mixer.device))
    picture = picture[0, :, : near.shape[0], : near.shape[1]].permute(1, 2, 0).cpu().numpy()
    result = fills[0].copy()
    np.copyto(result[part], np.clip(picture, 0, 1), where=near[..., None])
    return result
