"""A path of more channels that begins as a given one's function.

Chen, Goodfellow, Shlens, "Net2Net: Accelerating Learning via Knowledge Transfer", ICLR 2016.
"""

import torch
from torch import Tensor, nn

from inpaint_hub.dualpath.deformable_fusion import NUM_TAPS, DeformableAlignment

WIDENING_NOISE = 0.1


@torch.no_grad()
def widen(wide: nn.Module, narrow: nn.Module, noise: float = 0.0, seed: int = 0) -> None:
    """Let a path, or an inpainter, of some times the channels begin as `narrow`'s function: each
    channel is there so many times, and read with a share of its weight.

    noise: of so many times its standard deviation is added to each kernel, so that the copies of a
        channel come to differ.
    """
    random, state = torch.Generator().manual_seed(seed), narrow.state_dict()
    own_state = wide.state_dict()
    first = next(iter(own_state))
    factor = own_state[first].shape[0] // state[first].shape[0]
    for name, own in own_state.items():
        value = state[name]
        if value.dim() == 4 and factor > 1:
            # What is no feature, a mask or the generator's, comes last and is as wide as before.
            features = (own.shape[1] - value.shape[1]) // (factor - 1)
            read, others = value.tensor_split([features], dim=1)
            value = torch.cat([read.repeat_interleave(factor, dim=1) / factor, others], dim=1)
        module, _, layer = name.rpartition(".")[0].rpartition(".")
        if layer == "to_offset":
            value = _of_more_groups(value, *(x.get_submodule(module) for x in (wide, narrow)))
        else:
            value = value.repeat_interleave(own.shape[0] // value.shape[0], dim=0)
        if value.dim() == 4:
            value = value + noise * value.std() * torch.randn(value.shape, generator=random)
        own.copy_(value)


def _of_more_groups(
    value: Tensor, wide: DeformableAlignment, narrow: DeformableAlignment
) -> Tensor:
    """What predicts each group's offsets, and what modulates them, for the groups it became."""
    groups = narrow.num_offsets // (2 * NUM_TAPS)
    times = wide.num_offsets // narrow.num_offsets
    parts = value.tensor_split([narrow.num_offsets])
    return torch.cat([x for part in parts for x in part.tensor_split(groups) for _ in range(times)])
