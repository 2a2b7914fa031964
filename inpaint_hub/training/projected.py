"""Projected discriminators: small heads that judge pictures by a frozen network's feature maps
(Sauer et al., "Projected GANs Converge Faster", NeurIPS 2021).

Beside a discriminator that learns from pixels they are vision-aided training (Kumari et al., CVPR
2022). On composites, known places can count as real (LaMa; Suvorov et al., WACV 2022).
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from inpaint_hub.dualpath.patch_discriminator import SpectralConv2d
from inpaint_hub.hub import HubModel
from inpaint_hub.losses.perceptual import load_projection_network
from inpaint_hub.training.adversary import LOSSES, Adversary
from inpaint_hub.training.method import TrainingMethod

SLOPE = 0.2
STRIDES = (2, 4, 8, 16)  # of the network's maps
MAP_CHANNELS = {2: 64, 4: 128, 8: 256, 16: 512}  # SqueezeNet 1.1's
MIXED_CHANNELS = {2: 64, 4: 64, 8: 128, 16: 256}
HEAD_CHANNELS = 64
LOGITS_FROM_PX = 8
PIXEL_CHANNELS = (32, 64, 64)


def fixed_conv1x1(in_channels: int, out_channels: int) -> nn.Conv2d:
    """A random 1x1 convolution that is never trained (Kaiming normal, no bias)."""
    conv = nn.Conv2d(in_channels, out_channels, 1, bias=False).requires_grad_(False)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="linear")
    return conv


class Downward(nn.Sequential):
    """4x4 convolution of stride 2, batch norm by the batch at hand, leaky ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            SpectralConv2d(in_channels, out_channels, 2),
            nn.BatchNorm2d(out_channels, track_running_stats=False),
            nn.LeakyReLU(SLOPE),
        )


def head(in_channels: int, size: int) -> nn.Sequential:
    """Map [N,I,size,size] -> logits [N,1,h,w], from at most 8 px, through at least one layer."""
    layers, channels = [Downward(in_channels, HEAD_CHANNELS)], HEAD_CHANNELS
    size //= 2
    while size > LOGITS_FROM_PX:
        layers.append(Downward(channels, channels))
        size //= 2
    return nn.Sequential(*layers, nn.Conv2d(channels, 1, 3, padding=1))


class ProjectedDiscriminator(HubModel):
    """Feature maps of a frozen network, the picture they are of and its mask -> logits, a list of
    [N,1,h,w], one for each head.

    The maps are divided by their root mean square over the first real pictures (`calibrate`), mixed
    by random 1x1 convolutions across channels and, from coarse to fine, across scales. Those are
    part of the state, but never trained.

    Args:
        resolution: of the pictures in px.
        strides: of the maps that have a head; some of 2, 4, 8, 16.
        pixel_head: add a head that sees the picture itself.
        mask_channel: show the heads the mask.

    Raises: ValueError for strides that do not exist.
    """

    def __init__(
        self,
        *,
        resolution: int,
        strides: list[int] | None = None,
        pixel_head: bool = False,
        mask_channel: bool = False,
    ) -> None:
        super().__init__()
        strides = sorted(strides or STRIDES)
        if not set(strides) <= set(STRIDES) or len(set(strides)) < len(strides):
            raise ValueError(
                f"strides is {strides}, expected some of {STRIDES}, each once: those of the maps"
            )
        self.strides, self.mask_channel = strides, mask_channel
        self.register_buffer("map_rms", torch.zeros(len(STRIDES)))
        mixed, extra = MIXED_CHANNELS, int(mask_channel)
        self.lateral = nn.ModuleDict(
            {str(s): fixed_conv1x1(MAP_CHANNELS[s], mixed[s]) for s in STRIDES if s >= strides[0]}
        )
        self.downward = nn.ModuleDict(
            {str(s): fixed_conv1x1(mixed[2 * s], mixed[s]) for s in STRIDES[:-1] if s >= strides[0]}
        )
        self.out = nn.ModuleDict({str(s): fixed_conv1x1(mixed[s], mixed[s]) for s in strides})
        self.heads = nn.ModuleDict(
            {str(s): head(mixed[s] + extra, resolution // s) for s in strides}
        )
        self.pixel_head = None
        if pixel_head:
            widths = [3 + extra, *PIXEL_CHANNELS]
            self.pixel_head = nn.Sequential(
                *(Downward(before, after) for before, after in zip(widths, widths[1:])),
                nn.Conv2d(widths[-1], 1, 3, padding=1),
            )

    @property
    def calibrated(self) -> bool:
        return bool(self.map_rms.any())

    @torch.no_grad()
    def calibrate(self, mean_squares: torch.Tensor) -> None:
        """mean_squares [4]: of the maps of real pictures, fine to coarse."""
        self.map_rms = mean_squares.float().sqrt().clamp(min=1e-6)

    @torch.no_grad()
    def power_iteration(self) -> None:
        """One step for every layer's largest singular value; the weights stay as they are."""
        for module in self.modules():
            if isinstance(module, SpectralConv2d):
                module.power_iteration()

    def mix(self, maps: list[torch.Tensor]) -> dict[int, torch.Tensor]:
        """Four maps, fine to coarse -> {stride: mixed map} of the strides that have a head."""
        mixed, x = {}, None
        for i, stride in reversed(list(enumerate(STRIDES))):
            name = str(stride)
            if name not in self.lateral:
                break
            here = self.lateral[name](maps[i] / self.map_rms[i])
            if x is None:
                x = here
            else:
                coarser = F.interpolate(self.downward[name](x), here.shape[-2:], mode="nearest")
                x = (here + coarser) / math.sqrt(2)
            if name in self.out:
                mixed[stride] = self.out[name](x)
        return mixed

    def forward(
        self, maps: list[torch.Tensor], picture: torch.Tensor, mask: torch.Tensor | None = None
    ) -> list[torch.Tensor]:
        """maps: four of [N,C,r,r], fine to coarse; picture [N,3,s,s] in [-1,1]; mask [N,1,s,s],
        1 = hole, where the heads have a channel for it.

        Raises: ValueError where calibrate was not called before.
        """
        if not self.calibrated:
            raise ValueError("the maps' root mean square is not known; call calibrate first")
        mixed = self.mix(maps)
        logits = [self.heads[str(s)](self.with_mask(mixed[s], mask)) for s in self.strides]
        if self.pixel_head is not None:
            logits.append(self.pixel_head(self.with_mask(picture, mask)))
        return logits

    def with_mask(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """x, and where the heads see it the share of hole at each place."""
        if not self.mask_channel:
            return x
        return torch.cat([x, F.adaptive_avg_pool2d(mask.to(x.dtype), x.shape[-2:])], dim=1)


class ProjectedAdversary(Adversary):
    """Heads on a frozen network's maps: hinge loss, no R1.

    With projected_resolution all is seen reduced to that: heads then leave what is finer to the
    discriminator beside them.
    """

    prefix, subfolder = "projected_", "projected"

    def __init__(self, method: TrainingMethod, resolution: int, with_mask: bool) -> None:
        """Heads that lie beside the given pipeline are trained further, if they are alike."""
        self.method, config = method, method.config
        self.penalized = False
        self.generator_loss, self.discriminator_loss = LOSSES["hinge"]
        network = load_projection_network(config.projected_network or config.perceptual_network)
        self.network = network.to(method.device, memory_format=torch.channels_last)
        self.adaptive = None
        self.reduction = resolution // (config.projected_resolution or resolution)
        heads = ProjectedDiscriminator(
            resolution=resolution // self.reduction,
            strides=[int(s) for s in config.projected_strides.split(",")],
            pixel_head=config.projected_pixel_head,
            mask_channel=with_mask,
        )
        beside = method.beside(ProjectedDiscriminator, self.subfolder, heads.config)
        self.prepare(beside or heads, config.projected_learning_rate)

    def logits(
        self, discriminator: nn.Module, pictures: torch.Tensor, *mask: torch.Tensor
    ) -> list[torch.Tensor]:
        if self.reduction > 1:
            pictures = F.avg_pool2d(pictures, self.reduction)
        with self.method.accelerator.autocast():
            maps = self.network((pictures + 1) / 2)
        heads = self.method.unwrapped(discriminator)
        if not heads.calibrated:
            squares = torch.stack([m.detach().float().square().mean() for m in maps])
            heads.calibrate(self.method.mean_over_processes(squares))
        return discriminator(maps, pictures, *mask)
