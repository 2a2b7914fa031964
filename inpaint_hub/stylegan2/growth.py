"""Growing: a network of twice the resolution that begins as the smaller one it copies (SPEC G7).

Every network that can has a `grow_from`; what they share stands here.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from inpaint_hub.stylegan2.layers import LRELU_GAIN, LRELU_SLOPE


def check_growth(model: nn.Module, smaller: nn.Module, free: Iterable[str] = ()) -> None:
    """Raises: ValueError unless `smaller` is `model` at half the resolution, layer for layer; the
    settings `free` may differ."""
    wanted = {**model.config, "resolution": model.config["resolution"] // 2}
    wanted |= {name: smaller.config[name] for name in free}
    if different := {k: v for k, v in smaller.config.items() if wanted.get(k) != v}:
        expected = {k: wanted.get(k) for k in different}
        raise ValueError(
            f"cannot grow from a {type(smaller).__name__} of {different}, expected {expected}; "
            "start from a pipeline of half the resolution with the same widths"
        )


def with_more_rows(state: dict[str, Tensor], name: str, num_ws: int) -> dict[str, Tensor]:
    """State dict whose ModuleList `name`, one member for each row of ws, has num_ws of them: the
    new ones are copies of the last."""
    members = [key for key in state if key.startswith(f"{name}.")]
    last = max((int(key.removeprefix(f"{name}.").split(".")[0]) for key in members), default=-1)
    for key in members:
        if key.startswith(f"{name}.{last}."):
            for row in range(last + 1, num_ws):
                state[key.replace(f"{name}.{last}.", f"{name}.{row}.", 1)] = state[key].clone()
    return state


@torch.no_grad()
def begin_as(
    seen: nn.Module, from_rgb: nn.Module, conv: nn.Module, down_conv: nn.Module, gain: float = 1.0
) -> bool:
    """Let three activated EqualConv2d, the last of them strided, begin as `gain` times the 1x1
    convolution `seen` of the blurred and halved picture. Returns whether there was room: they need
    two channels for each of the picture's, and stay as they are with fewer.
    """
    identity = torch.eye(seen.weight.shape[1])
    split = torch.cat([identity, -identity])  # x -> x and -x: no leaky ReLU loses anything of both
    if len(split) > len(from_rgb.weight):
        return False
    joined = split.t() / ((1 + LRELU_SLOPE) * LRELU_GAIN)
    down_conv.weight.zero_()
    set_center(from_rgb, split)
    set_center(conv, split @ joined)
    set_center(down_conv, gain * seen.weight_gain * seen.weight[:, :, 0, 0].cpu() @ joined)
    down_conv.bias.copy_(gain * seen.bias)
    return True


def set_center(conv: nn.Module, matrix: Tensor) -> None:
    """Let the first outputs of an EqualConv2d be `matrix` [O,I] times the first inputs, pixel by
    pixel."""
    outputs, inputs = matrix.shape
    middle = conv.kernel_size // 2
    conv.weight[:outputs] = 0
    conv.weight[:outputs, :inputs, middle, middle] = (matrix / conv.weight_gain).to(conv.weight)
