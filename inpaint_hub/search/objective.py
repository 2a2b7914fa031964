"""What a search minimizes: one loss for each picture, from its known pixels alone.

Pictures [K,3,s,s] in [-1,1]; masked_image is 0 in the hole; mask [K,1,s,s], 1 = hole. Means are
over known values, so that the size of the hole does not weigh.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from inpaint_hub.compositing import mask_out
from inpaint_hub.stylegan2 import StyleGAN2Discriminator

NEIGHBORHOOD_PX = 7


def known_mean(values: Tensor, mask: Tensor) -> Tensor:
    """values [K,C,s,s] -> their means over the known pixels and all channels, [K]; 0 without
    any."""
    known = (mask < 0.5).expand_as(values)
    total = torch.where(known, values, torch.zeros_like(values)).sum(dim=(1, 2, 3))
    return total / known.sum(dim=(1, 2, 3)).clamp(min=1)


def squared_error(generated: Tensor, masked_image: Tensor, mask: Tensor) -> Tensor:
    """Mean squared difference on the known pixels, [K]."""
    return known_mean((generated.float() - masked_image.float()).square(), mask)


def seen_by(network: Callable, picture: Tensor, mask: Tensor) -> list[Tensor]:
    """The maps `network` makes of a picture whose hole is gray; it takes pictures in [0,1]."""
    return network(mask_out(picture.float(), mask).clamp(-1, 1) / 2 + 0.5)


def reconstruction(
    masked_image: Tensor, mask: Tensor, network: Callable | None = None, network_weight: float = 0.0
) -> Callable:
    """Function of generated pictures that gives squared_error and, where there is a network,
    network_weight times the sum over its maps of the mean |difference|, [K].

    network: pictures [K,3,s,s] in [0,1] -> list of maps.
    """
    wanted = [] if network is None else seen_by(network, masked_image, mask)

    def losses_of(generated: Tensor) -> Tensor:
        losses = squared_error(generated, masked_image, mask)
        maps = [] if network is None else seen_by(network, generated, mask)
        for ours, theirs in zip(maps, wanted):
            losses = losses + network_weight * (ours - theirs).abs().mean(dim=(1, 2, 3))
        return losses

    return losses_of


def known_averages(masked_image: Tensor, weights: Tensor, resolution: int) -> tuple[Tensor, Tensor]:
    """(averages [K,3,r,r] of the picture at r px, weighted by `weights` [K,1,s,s], which are 0 in
    the hole; the mean weight [K,1,r,r] of each); 0 where nothing weighs."""
    factor = weights.shape[-1] // resolution
    share = F.avg_pool2d(weights, factor)
    averages = F.avg_pool2d(masked_image.float() * weights, factor) / share.clamp(min=1e-6)
    return averages, share


def coarse_reconstruction(masked_image: Tensor, mask: Tensor, resolution: int) -> Callable:
    """Function of pictures [K,3,r,r] that gives the mean squared difference to the known pixels'
    averages at r px, each weighted by its share of known pixels, [K]."""
    target, share = known_averages(masked_image, (mask < 0.5).float(), resolution)
    total = 3 * share.sum(dim=(1, 2, 3)).clamp(min=1e-6)

    def losses_of(generated: Tensor) -> Tensor:
        return (share * (generated.float() - target).square()).sum(dim=(1, 2, 3)) / total

    return losses_of


def reconstruction_at(
    resolution: int,
    masked_image: Tensor,
    mask: Tensor,
    network: Callable | None = None,
    network_weight: float = 0.0,
) -> Callable:
    """`reconstruction` for pictures of the known ones' size, coarse_reconstruction for smaller
    ones, of which the network sees nothing."""
    if resolution < mask.shape[-1]:
        return coarse_reconstruction(masked_image, mask, resolution)
    return reconstruction(masked_image, mask, network, network_weight)


def context_weights(mask: Tensor, size_px: int = NEIGHBORHOOD_PX) -> Tensor:
    """W of Yeh et al. section 3.2: for a known pixel the share of hole among its neighbors, a
    square of size_px around it without itself; 0 in the hole. [K,1,s,s] in [0,1].

    Differs from the authors' published code, which weighs by the known neighbors (SPEC D).
    """
    kernel = mask.new_ones(1, 1, size_px, size_px).float()
    hole = F.conv2d(mask.float(), kernel, padding=size_px // 2)
    neighbors = F.conv2d(torch.ones_like(mask).float(), kernel, padding=size_px // 2) - 1
    return torch.where(mask > 0.5, torch.zeros_like(hole), hole / neighbors)


def weighted_context(generated: Tensor, masked_image: Tensor, weights: Tensor) -> Tensor:
    """Context loss of Yeh et al. section 3.2: mean |difference| weighted by `weights` [K,1,s,s],
    over the sum of the weights, [K]; 0 where no known pixel is near the hole."""
    difference = (generated.float() - masked_image.float()).abs().mean(dim=1, keepdim=True)
    total = (weights * difference).sum(dim=(1, 2, 3))
    return total / weights.sum(dim=(1, 2, 3)).clamp(min=1e-6)


def coarse_context(masked_image: Tensor, weights: Tensor, resolution: int) -> Callable:
    """Function of pictures [K,3,r,r] that gives weighted_context to the known pixels' averages at
    r px, [K]."""
    target, share = known_averages(masked_image, weights, resolution)
    return lambda generated: weighted_context(generated, target, share)


def realism(discriminator: StyleGAN2Discriminator, generated: Tensor, mask: Tensor) -> Tensor:
    """Prior loss of Yeh et al. section 3.3 with StyleGAN2's loss: softplus(-D), [K].

    Differs from the paper's log(1 - D), whose gradient vanishes where a picture looks worst. Each
    picture is judged alone: the minibatch's standard deviation would tie it to the others.
    """
    masks = mask.split(1) if discriminator.mask_channel else [None] * len(generated)
    logits = [discriminator(g, m) for g, m in zip(generated.split(1), masks)]
    return F.softplus(-torch.cat(logits).float()).flatten()
