"""Coarse to fine: a network that sees another one's fill, enlarged, in the picture at its own
resolution, and adds what is missing there (the two stages of Yu et al., "Generative Image
Inpainting with Contextual Attention", CVPR 2018; ours beside both papers, SPEC G).

    I_m, M at s px --reduced--> the same at s/k px --a whole pipeline--> picture at s/k px
                     the picture, enlarged, in the hole --Refiner--> picture at s px
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inpaint_hub.compositing import composite
from inpaint_hub.dualpath.feed_forward import DILATIONS, FeedForward
from inpaint_hub.hub import HubModel

FACTOR = 2  # by which its features are coarser than its pictures


class Refiner(HubModel):
    """A picture [N,3,s,s] whose hole holds a coarse fill, and the mask [N,1,s,s], 1 = hole -> the
    picture with what that fill lacks, [N,3,s,s], around [-1,1].

    Dual-path's feed-forward path (SPEC B3) at s/2 px, which sees and makes the four pixels of each
    place as channels of it (Shi et al., "Real-Time Single Image and Video Super-Resolution", CVPR
    2016), and says what is to be added: nothing at first. What it makes is softened by a binomial
    filter, in which the pattern of period 2 that such channels leave is zero.

    Args:
        resolution: s in px, a power of two from 64 to 1024.
        channels: of the features at s/2 px; four times as many at s/16.
        dilations: of the blocks in the middle, one each; 1, 2, 4, 8 twice where not given.

    Raises: ValueError for a resolution that does not exist.
    """

    def __init__(
        self, *, resolution: int = 256, channels: int = 16, dilations: list[int] | None = None
    ) -> None:
        super().__init__()
        if resolution not in [2**k for k in range(6, 11)]:
            raise ValueError(
                f"resolution is {resolution}, expected 64, 128, 256, 512 or 1024: a multiple "
                "of the coarse pipeline's"
            )
        self.resolution = resolution
        self.feed_forward = FeedForward(
            resolution // FACTOR,
            channels,
            dilations or DILATIONS,
            in_channels=4 * FACTOR**2,
            out_channels=3 * FACTOR**2,
        )
        for parameter in self.feed_forward.to_rgb.parameters():
            nn.init.zeros_(parameter)

    def forward(self, coarse: Tensor, mask: Tensor) -> Tensor:
        """Raises: ValueError for a picture that is not s by s."""
        size = (self.resolution, self.resolution)
        if coarse.shape[-2:] != size:
            raise ValueError(
                f"coarse has shape {tuple(coarse.shape)}, expected [N,3,{size[0]},{size[0]}] for "
                "this refiner; use the pipeline, which takes pictures of any size"
            )
        return coarse + self.residual(coarse, mask)

    def residual(self, coarse: Tensor, mask: Tensor) -> Tensor:
        """What forward adds, [N,3,s,s]."""
        pixels, holes = (F.pixel_unshuffle(x, FACTOR) for x in (coarse, mask))
        return softened(F.pixel_shuffle(self.feed_forward(pixels, holes), FACTOR))

    @torch.no_grad()
    def start_from(self, path: FeedForward) -> None:
        """Copy the layers of a feed-forward path that fills pictures of s/2 px: the first one then
        sees the mean of four pixels where that saw one; the last stays as it is.

        Raises: RuntimeError for layers that do not fit.
        """
        state = path.state_dict()
        for name in ("encoder.0.feature.weight", "encoder.0.gate.weight"):
            state[name] = state[name].repeat_interleave(FACTOR**2, dim=1) / FACTOR**2
        own = self.feed_forward.to_rgb.state_dict(prefix="to_rgb.")
        self.feed_forward.load_state_dict({**state, **own})


def softened(x: Tensor) -> Tensor:
    """[N,C,s,s] filtered by 1, 2, 1 along both axes; the border goes on as it ends."""
    channels = x.shape[1]
    taps = x.new_tensor([0.25, 0.5, 0.25])
    kernel = (taps[:, None] * taps).expand(channels, 1, 3, 3)
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), kernel, groups=channels)


def with_coarse_fill(masked_image: Tensor, mask: Tensor, generated: Tensor) -> Tensor:
    """The picture [N,3,s,s] with `generated` [N,3,r,r], enlarged, in its hole."""
    enlarged = F.interpolate(
        generated, masked_image.shape[-2:], mode="bicubic", align_corners=False
    )
    return composite(masked_image, enlarged.clamp(-1, 1), mask)
