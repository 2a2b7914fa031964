"""A convolution of the synthesis network in the form quickest for its shape (SPEC C3, C4).

An up-sampling convolution is a transposed convolution and a blur. The two can also be one
convolution for each of the four phases of the doubled picture (polyphase), or the transposed
convolution alone can be taken by phases (dense); a style may scale activations or the kernel.
"""

import time
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from inpaint_hub.stylegan2.layers import LRELU_GAIN, LRELU_SLOPE
from inpaint_hub.stylegan2.resample import TAPS

UP_FORMS = ("transposed", "polyphase", "dense")
TUNING_REPEATS = 2
FOLDING_PX = 32


def blur_kernel(gain: float = 1.0) -> torch.Tensor:
    taps = torch.tensor(TAPS)
    kernel = torch.outer(taps, taps)
    return kernel * (gain / kernel.sum())


def polyphase_kernel(weight: torch.Tensor) -> torch.Tensor:
    """[O,I,3,3] -> [4*O,I,3,3]: transposed convolution by two and blur as one convolution.

    Row p*O + o holds output channel o at phase p = 2*(row parity) + (column parity). Along one
    axis, out[2q + p] is the sum over taps j in (-1, 0, 1) of G[p - 2j + 2] x[q + j], where G, six
    taps long, is the weight convolved with the blur.
    """
    out_channels, in_channels = weight.shape[:2]
    kernel = blur_kernel(gain=4.0).to(weight)[None, None]
    full = F.conv2d(weight.reshape(-1, 1, 3, 3), kernel, padding=3)
    full = full.reshape(out_channels, in_channels, 6, 6)
    taps = [[4 + p, 2 + p, p] for p in (0, 1)]
    return torch.cat([full[:, :, rows][:, :, :, columns] for rows in taps for columns in taps])


def dense_kernel(weight: torch.Tensor) -> torch.Tensor:
    """[O,I,3,3] -> [4*O,I,2,2]: the transposed convolution alone, rows as polyphase_kernel's.

    Along one axis, out[2q] = W[2] x[q-1] + W[0] x[q] and out[2q+1] = W[1] x[q].
    """
    padded = F.pad(weight, (0, 1, 0, 1))
    taps = [[2, 0], [3, 1]]  # 3: the zero
    return torch.cat([padded[:, :, rows][:, :, :, columns] for rows in taps for columns in taps])


def interleaved(
    y: torch.Tensor,
    scale: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    border: int = 0,
    in_place: bool = True,
) -> torch.Tensor:
    """Phases [N,4*O,h,w], rows as polyphase_kernel's -> [N,O,2h,2w] * scale [N,O] + bias [O].

    border: so many rows above and columns to the left are added, of zeros. One pass over memory:
    the pixel shuffle is the way in which the multiplication reads.
    """
    n, channels, height, width = y.shape
    channels //= 4
    phases = y.permute(0, 2, 3, 1).reshape(n, height, width, 2, 2, channels)
    phases = phases.permute(0, 1, 3, 2, 4, 5)
    if scale is not None:
        scale = scale[:, None, None, None, None]
    if not in_place:
        result = (
            phases if bias is None else phases + bias if scale is None else phases * scale + bias
        )
        result = result.reshape(n, 2 * height, 2 * width, channels).permute(0, 3, 1, 2)
        return F.pad(result, (border, 0, border, 0))
    result = y.new_empty(n, 2 * height + border, 2 * width + border, channels)
    inner = result[:, border:, border:].unflatten(1, (height, 2)).unflatten(3, (width, 2))
    if bias is None:
        inner.copy_(phases)
    elif scale is None:
        torch.add(phases, bias, out=inner)
    else:
        torch.addcmul(bias, phases, scale, out=inner)
    if border:
        result[:, :border] = 0
        result[:, :, :border] = 0
    return result.permute(0, 3, 1, 2)


class InferenceConv:
    """One StyledConv (or, with `up`, its form that doubles the resolution) without its style.

    Every form of its kernel is folded when it is first used. dtype: of activations and kernels.
    """

    def __init__(self, styled: nn.Module, dtype: torch.dtype) -> None:
        conv = styled.conv
        self.weight = conv.weight.detach().float() * conv.weight_gain
        self.dtype, self.up = dtype, conv.up
        # The leaky ReLU's gain is positive, so it may as well come before it.
        self.bias = (styled.bias.detach().float() * LRELU_GAIN).to(dtype)
        self.noise_gain = styled.noise_strength.detach().float() * LRELU_GAIN
        self.noise_const = (styled.noise_const.detach().float() * self.noise_gain).to(dtype)
        channels = len(self.bias)
        blur = blur_kernel(gain=4.0).to(self.bias).expand(channels, 1, 4, 4)
        self.blur = blur.contiguous() if self.up else None
        self.kernels, self.choices = {}, {}

    def kernel(self, form: str) -> torch.Tensor:
        if form not in self.kernels:
            fold = {"polyphase": polyphase_kernel, "dense": dense_kernel}.get(form)
            folded = fold(self.weight) if fold else self.weight
            folded = folded.transpose(0, 1) if form == "transposed" else folded
            self.kernels[form] = folded.to(self.dtype).to(memory_format=torch.channels_last)
        return self.kernels[form]

    def candidates(self, x: torch.Tensor) -> list[tuple[str, bool]]:
        """(form, whether the style goes into the kernel instead of scaling the activations).

        One sample alone allows the second, and only large maps can gain by it. In fp32 the
        polyphase form, with four times the arithmetic, never was the quickest.
        """
        forms = UP_FORMS if self.up else ("plain",)
        if self.dtype == torch.float32:
            forms = [form for form in forms if form != "polyphase"]
        folds = (False, True) if len(x) == 1 and x.shape[2] >= FOLDING_PX else (False,)
        return [(form, fold) for form in forms for fold in folds]

    def rule(self) -> tuple[str, bool]:
        """The candidate to take without timing, as compilers and converters like it best."""
        if not self.up:
            return "plain", False
        return ("transposed" if self.dtype == torch.float32 else "polyphase"), False

    def fastest(self, x: torch.Tensor, *arguments: Any) -> tuple[str, bool]:
        """The candidate that ran quickest on these arguments, looked for once.

        Numbers of samples share a choice up to the next power of two.
        """
        shape = (1 << (len(x) - 1).bit_length(), *x.shape[1:])
        if shape not in self.choices:
            seconds = {}
            for candidate in self.candidates(x):
                runs = []
                for _ in range(1 + TUNING_REPEATS):  # the first builds the library's primitives
                    copy = x.clone()
                    synchronize(x.device)
                    start = time.perf_counter()
                    self.apply(candidate, copy, *arguments)
                    synchronize(x.device)
                    runs.append(time.perf_counter() - start)
                seconds[candidate] = min(runs[1:])
            self.choices[shape] = min(seconds, key=seconds.get)
            used = {form for form, _ in self.choices.values()}
            self.kernels = {form: k for form, k in self.kernels.items() if form in used}
        return self.choices[shape]

    def apply(
        self,
        candidate: tuple[str, bool],
        x: torch.Tensor,
        style: torch.Tensor,
        demodulation: torch.Tensor,
        noise: torch.Tensor | None,
        in_place: bool,
    ) -> torch.Tensor:
        """x [N,I,r,r], style [N,I], demodulation [N,O] with the leaky ReLU's gain in it, noise None
        or what is added to [N,O,R,R] -> [N,O,R,R]. in_place: x may be overwritten."""
        form, fold = candidate
        kernel = self.kernel(form)
        if fold:
            rows = demodulation[0]
            if form == "transposed":
                kernel = kernel * (style[0][:, None] * rows)[:, :, None, None]
            else:
                rows = rows.repeat(len(kernel) // len(rows))
                kernel = kernel * (rows[:, None] * style[0])[:, :, None, None]
            scale = None
        else:
            x = x.mul_(style[:, :, None, None]) if in_place else x * style[:, :, None, None]
            scale = demodulation
        if form == "transposed":
            y = F.conv_transpose2d(x, kernel, stride=2)
        elif form == "plain" and fold:
            y = F.conv2d(x, kernel, self.bias, padding=1)
        else:
            y = F.conv2d(x, kernel, padding=1)
        if form == "polyphase":
            y = interleaved(y, scale, self.bias, in_place=in_place)
        elif form == "dense":
            y = interleaved(y, border=1, in_place=in_place)
        if form in ("transposed", "dense"):
            bias = self.bias if fold else None
            padding = 1 if form == "transposed" else 0
            y = F.conv2d(y, self.blur, bias, padding=padding, groups=len(self.blur))
        if form != "polyphase" and not fold:
            bias, scale = self.bias[None, :, None, None], scale[:, :, None, None]
            y = torch.addcmul(bias, y, scale, out=y) if in_place else y * scale + bias
        if noise is not None:
            y = y.add_(noise) if in_place else y + noise
        return F.leaky_relu(y, LRELU_SLOPE, inplace=in_place)


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
