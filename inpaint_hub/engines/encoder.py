"""An encoder once more, arranged for speed: same function, no gradients.

Batch norms behind a convolution and equalized-learning-rate gains are folded into weights,
convolutions are channels-last and may be bf16. Style codes, all small vectors, stay in fp32.
"""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from inpaint_hub.engines.precision import best_dtype
from inpaint_hub.engines.up_convolution import blur_kernel
from inpaint_hub.stylegan2.layers import LRELU_GAIN, LRELU_SLOPE, EqualConv2d, EqualLinear


def fold_batch_norm(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """The nn.Conv2d that equals `conv`, then `norm` with its running statistics (eval mode)."""
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    bias = norm.bias - norm.running_mean * scale
    folded = copy.deepcopy(conv)
    with torch.no_grad():
        folded.weight.copy_(conv.weight * scale[:, None, None, None])
        if conv.bias is not None:
            bias = bias + conv.bias * scale
    folded.bias = nn.Parameter(bias.detach().clone())
    return folded


class FoldedConv(nn.Module):
    """An EqualConv2d with its gains in its weights.

    one_step: blur and strided convolution as one 6x6 convolution: four times the arithmetic, which
    pays where that is cheap and memory is not.
    """

    def __init__(self, equal: EqualConv2d, one_step: bool) -> None:
        super().__init__()
        self.activated = equal.activation == "lrelu"
        gain = LRELU_GAIN if self.activated else 1.0
        weight = equal.weight.detach() * (equal.weight_gain * gain)
        out_channels, channels, size = weight.shape[:3]
        self.stride, self.padding, blurs = 1, size // 2, None
        blur = blur_kernel().to(weight)
        if equal.down and one_step:
            full = F.conv2d(weight.reshape(-1, 1, size, size), blur[None, None], padding=3)
            weight = full.reshape(out_channels, channels, *full.shape[2:])
        if equal.down:
            self.stride, self.padding = 2, (2 if size == 3 else 1) if one_step else 0
        if equal.down and not one_step:
            blurs = blur.expand(channels, 1, 4, 4).contiguous()
            self.blur_padding = 2 if size == 3 else 1
        self.register_buffer("blur", blurs)
        self.register_buffer("weight", weight)
        bias = None if equal.bias is None else equal.bias.detach() * gain
        self.register_buffer("bias", bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.blur is not None:
            x = F.conv2d(x, self.blur, padding=self.blur_padding, groups=len(self.blur))
        y = F.conv2d(x, self.weight, self.bias, stride=self.stride, padding=self.padding)
        return F.leaky_relu(y, LRELU_SLOPE) if self.activated else y


class FoldedLinear(nn.Linear):
    """A linear layer in fp32, whatever it is shown."""

    def __init__(
        self, weight: torch.Tensor, bias: torch.Tensor | None, activated: bool = False
    ) -> None:
        super().__init__(weight.shape[1], weight.shape[0], bias is not None, device="meta")
        self.weight = nn.Parameter(weight.detach().float())
        self.bias = None if bias is None else nn.Parameter(bias.detach().float())
        self.activated = activated

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = super().forward(x.float())
        return F.leaky_relu(y, LRELU_SLOPE) if self.activated else y


def folded(module: nn.Module, one_step: bool) -> nn.Module | None:
    """What stands in for one module, or None to look inside it."""
    if isinstance(module, EqualConv2d):
        return FoldedConv(module, one_step)
    if isinstance(module, EqualLinear):
        gain = LRELU_GAIN if module.activation == "lrelu" else 1.0
        weight = module.weight * (module.weight_gain * gain)
        return FoldedLinear(weight, module.bias * (module.bias_gain * gain), gain != 1.0)
    if isinstance(module, nn.Linear):
        return FoldedLinear(module.weight, module.bias)
    if isinstance(module, nn.MaxPool2d) and (module.kernel_size, module.stride) == (1, 1):
        return nn.Identity()  # it would copy its input
    return None


def fold_inside(module: nn.Module, one_step: bool) -> None:
    """Replace, below `module`, whatever has a folded form."""
    if isinstance(module, nn.Sequential):
        for i in range(len(module) - 1):
            if isinstance(module[i], nn.Conv2d) and isinstance(module[i + 1], nn.BatchNorm2d):
                module[i] = fold_batch_norm(module[i], module[i + 1])
                module[i + 1] = nn.Identity()
            if isinstance(module[i + 1], (nn.ReLU, nn.LeakyReLU)):
                module[i + 1].inplace = True
    for name, child in module.named_children():
        replacement = folded(child, one_step)
        if replacement is not None:
            setattr(module, name, replacement)
        else:
            fold_inside(child, one_step)


class InferenceEncoder:
    """An encoder's function, called as its forward is; for fixed weights, without gradients.

    Args:
        encoder: the network, which is copied; in eval mode.
        dtype: of the convolutions; best_dtype's choice where not given. Feature maps, which come in
            dictionaries, stay in it; all else is returned in the encoder's own dtype.
    """

    def __init__(self, encoder: nn.Module, dtype: torch.dtype | None = None) -> None:
        self.weights_dtype = next(encoder.parameters()).dtype
        device = next(encoder.parameters()).device
        self.dtype = dtype or best_dtype(device, self.weights_dtype)
        network = copy.deepcopy(encoder)
        vars(network).pop("forward", None)  # where the encoder's own runs this
        network = network.float().eval()
        fold_inside(network, one_step=self.dtype != torch.float32)
        network.requires_grad_(False)
        for module in network.modules():
            if not isinstance(module, nn.Linear) and not list(module.children()):
                module.to(self.dtype)
        self.network = network.to(memory_format=torch.channels_last)

    def __call__(self, *inputs: torch.Tensor) -> Any:
        with torch.no_grad(), torch.autocast(inputs[0].device.type, enabled=False):
            return self.returned(self.run(*(x.to(self.dtype) for x in inputs)))

    def run(self, *inputs: torch.Tensor) -> Any:
        return self.network(*inputs)

    def returned(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return value.to(self.weights_dtype)
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return type(value)(*map(self.returned, value))
        if isinstance(value, (list, tuple)):
            return type(value)(map(self.returned, value))
        return value
