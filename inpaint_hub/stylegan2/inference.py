"""The synthesis network once more, arranged for speed: same function, no gradients (SPEC C3-C5).

`synthesis.SynthesisNetwork` is the definition; this is compared with it by tests. What differs is
only the order of sums: weights are scaled and folded once, all styles come from one batched matrix
product, activations are channels-last, element-wise steps work in place, and up-sampling
convolutions take the form that is quickest for their shape. Fewer large temporaries matter as much
as fewer multiplications: each is mapped, faulted in and unmapped again by the allocator.
"""

import time

import torch
import torch.nn.functional as F

from inpaint_hub.stylegan2.layers import LRELU_GAIN, LRELU_SLOPE
from inpaint_hub.stylegan2.resample import TAPS

UP_FORMS = ("transposed", "polyphase", "dense")
TUNING_REPEATS = 2
FOLDING_PX = 32


def has_fast_bf16(device):
    """Whether bf16 convolutions are quicker than fp32 ones there: AMX or AVX512-BF16 on a CPU."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("amx_bf16", "avx512_bf16"))


def best_dtype(device, dtype):
    """The dtype to compute in where the weights have `dtype`; never wider than theirs.

    On a GPU without bf16 (before Ampere) it is fp16.
    """
    if dtype != torch.float32:
        return dtype
    if has_fast_bf16(device):
        return torch.bfloat16
    return torch.float16 if device.type == "cuda" else torch.float32


def blur_kernel(gain=1.0):
    taps = torch.tensor(TAPS)
    kernel = torch.outer(taps, taps)
    return kernel * (gain / kernel.sum())


def polyphase_kernel(weight):
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


def dense_kernel(weight):
    """[O,I,3,3] -> [4*O,I,2,2]: the transposed convolution alone, rows as polyphase_kernel's.

    Along one axis, out[2q] = W[2] x[q-1] + W[0] x[q] and out[2q+1] = W[1] x[q].
    """
    padded = F.pad(weight, (0, 1, 0, 1))
    taps = [[2, 0], [3, 1]]  # 3: the zero
    return torch.cat([padded[:, :, rows][:, :, :, columns] for rows in taps for columns in taps])


def interleaved(y, scale=None, bias=None, border=0, in_place=True):
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

    def __init__(self, styled, dtype):
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

    def kernel(self, form):
        if form not in self.kernels:
            fold = {"polyphase": polyphase_kernel, "dense": dense_kernel}.get(form)
            folded = fold(self.weight) if fold else self.weight
            folded = folded.transpose(0, 1) if form == "transposed" else folded
            self.kernels[form] = folded.to(self.dtype).to(memory_format=torch.channels_last)
        return self.kernels[form]

    def candidates(self, x):
        """(form, whether the style goes into the kernel instead of scaling the activations).

        One sample alone allows the second, and only large maps can gain by it. In fp32 the
        polyphase form, with four times the arithmetic, never was the quickest.
        """
        forms = UP_FORMS if self.up else ("plain",)
        if self.dtype == torch.float32:
            forms = [form for form in forms if form != "polyphase"]
        folds = (False, True) if len(x) == 1 and x.shape[2] >= FOLDING_PX else (False,)
        return [(form, fold) for form in forms for fold in folds]

    def rule(self):
        """The candidate to take without timing, as compilers and converters like it best."""
        if not self.up:
            return "plain", False
        return ("transposed" if self.dtype == torch.float32 else "polyphase"), False

    def fastest(self, x, *arguments):
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
                    synchronise(x.device)
                    start = time.perf_counter()
                    self.apply(candidate, copy, *arguments)
                    synchronise(x.device)
                    runs.append(time.perf_counter() - start)
                seconds[candidate] = min(runs[1:])
            self.choices[shape] = min(seconds, key=seconds.get)
            used = {form for form, _ in self.choices.values()}
            self.kernels = {form: k for form, k in self.kernels.items() if form in used}
        return self.choices[shape]

    def apply(self, candidate, x, style, demodulation, noise, in_place):
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


def synchronise(device):
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class InferenceSynthesis:
    """A SynthesisNetwork's function, called as its forward is; fixed weights, no gradients.

    Args:
        network: the SynthesisNetwork, whose weights are copied.
        dtype: to compute in; best_dtype's choice where not given. Style vectors, styles and
            demodulation stay in fp32, the picture has the dtype of ws.
        tuned: time the forms of each convolution on its first call with a new shape and keep the
            quickest (processes may choose differently, and so differ by rounding); otherwise take
            them by rule.
        functional: write nothing in place, for tracing and compiling; implies not tuned.
    """

    def __init__(self, network, dtype=None, tuned=True, functional=False):
        weight = network.blocks["4"].const
        self.network = network  # for the checks and the drawing of noise
        self.dtype = dtype or best_dtype(weight.device, weight.dtype)
        self.tuned, self.functional = tuned and not functional, functional
        self.resolutions = network.resolutions
        self.const = (
            weight.detach().to(self.dtype)[None].contiguous(memory_format=torch.channels_last)
        )
        self.layers, self.rgb_kernels, self.rgb_biases = {}, {}, {}
        modulated, rows = {}, {}
        row = 0
        for r in self.resolutions:
            block = network.blocks[str(r)]
            for name in ("up_conv", "conv"):
                if hasattr(block, name):
                    styled = getattr(block, name)
                    self.layers[r, name] = InferenceConv(styled, self.dtype)
                    modulated[r, name], rows[r, name] = styled.conv, row
                    row += 1
            rgb = block.to_rgb
            modulated[r, "to_rgb"], rows[r, "to_rgb"] = rgb.conv, row
            weight = rgb.conv.weight.detach().float() * rgb.conv.weight_gain
            self.rgb_kernels[r] = weight[:, :, 0, 0]
            self.rgb_biases[r] = rgb.bias.detach().float()[None, :, None].to(self.dtype)
        self._stack_styles(modulated, rows)
        if not self.tuned:
            for layer in self.layers.values():
                layer.kernel(layer.rule()[0])  # a compiler must find it folded

    def _stack_styles(self, modulated, rows):
        """One padded matrix of affine layers, and one of demodulation energies, for all of them."""
        self.names, self.rows = list(modulated), list(rows.values())
        convs = list(modulated.values())
        self.in_channels = [conv.weight.shape[1] for conv in convs]
        widest = max(self.in_channels)
        affine = convs[0].affine.weight
        zeros = {"device": affine.device, "dtype": torch.float32}
        self.affine_weight = torch.zeros(len(convs), affine.shape[1], widest, **zeros)
        self.affine_bias = torch.zeros(len(convs), 1, widest, **zeros)
        self.energy = torch.zeros(len(convs), widest, widest, **zeros)
        for i, (name, conv) in enumerate(modulated.items()):
            linear, channels = conv.affine, self.in_channels[i]
            self.affine_weight[i, :, :channels] = (linear.weight.detach() * linear.weight_gain).t()
            self.affine_bias[i, 0, :channels] = linear.bias.detach() * linear.bias_gain
            if name in self.layers:
                energy = self.layers[name].weight.square().sum(dim=(2, 3))
                self.energy[i, :channels, : len(energy)] = energy.t()
        self.demodulated = [i for i, name in enumerate(self.names) if name in self.layers]
        self.energy = self.energy[self.demodulated]

    def styles(self, ws):
        """ws [N,L,w_dim] -> {layer: style [N,I]}, {layer: demodulation [N,O], times sqrt(2)}."""
        stacked = ws.float()[:, self.rows].transpose(0, 1)
        styles = torch.baddbmm(self.affine_bias, stacked, self.affine_weight)
        squares = styles[self.demodulated].square()
        norms = (torch.bmm(squares, self.energy) + 1e-8).rsqrt() * LRELU_GAIN
        if self.dtype == torch.float16:  # sums of large activations would overflow
            largest = styles.abs().amax(dim=2, keepdim=True)
            largest[[i for i in range(len(styles)) if i not in self.demodulated]] = 1
            styles, norms = styles / largest, norms * largest[self.demodulated]
        by_layer = {
            name: style[:, :channels]
            for name, style, channels in zip(self.names, styles, self.in_channels)
        }
        by_demodulated = {}
        for norm, i in zip(norms, self.demodulated):
            channels = len(self.layers[self.names[i]].bias)
            by_demodulated[self.names[i]] = norm[:, :channels]
        return by_layer, by_demodulated

    def noises(self, ws, mode, generator):
        """{layer: what is added before its leaky ReLU}, drawn in the definition's order."""
        if mode == "none":
            return {}
        noises = {}
        for (r, name), layer in self.layers.items():
            if mode == "const":
                noises[r, name] = layer.noise_const
                continue
            styled = getattr(self.network.blocks[str(r)], name)
            drawn = styled.noise(ws.new_empty(len(ws), 1, r, r), mode, generator)
            noises[r, name] = (drawn * layer.noise_gain).to(self.dtype)
        return noises

    def __call__(
        self,
        ws,
        features=None,
        rgb_features=None,
        noise_mode="const",
        generator=None,
        return_features=False,
    ):
        """Arguments, result and errors as SynthesisNetwork.forward's."""
        self.network.check_inputs(ws, noise_mode)
        with torch.no_grad(), torch.autocast(ws.device.type, enabled=False):
            noises = self.noises(ws, noise_mode, generator)
            rgb, activations = self.run(
                ws, features or {}, rgb_features or {}, noises, return_features
            )
        return (rgb, activations) if return_features else rgb

    def run(self, ws, features, rgb_features, noises, keep=False):
        """(picture, {r: activation} if `keep`, else {}): everything that draws no random number."""
        styles, demodulations = self.styles(ws)
        count, x, rgb, activations = len(ws), None, None, {}
        for r in self.resolutions:
            if r == 4:
                x = self.const.repeat(count, 1, 1, 1)
                x = x.contiguous(memory_format=torch.channels_last)
            else:
                x = self.convolve(x, r, "up_conv", styles, demodulations, noises, keep)
            if r in features:
                feature = features[r].to(x.dtype)
                x = x + feature if self.functional else x.add_(feature)
            x = self.convolve(x, r, "conv", styles, demodulations, noises)
            skip = self.to_rgb(x, r, styles[r, "to_rgb"])
            rgb = skip if rgb is None else upsampled(rgb) + skip
            if r in rgb_features:
                rgb = rgb + rgb_features[r].to(rgb.dtype)
            if keep:
                activations[r] = x.to(ws.dtype)
        return rgb.to(ws.dtype), activations

    def convolve(self, x, r, name, styles, demodulations, noises, keep=False):
        layer = self.layers[r, name]
        arguments = (
            x,
            styles[r, name].to(self.dtype),
            demodulations[r, name].to(self.dtype),
            noises.get((r, name)),
            not (self.functional or keep),
        )
        candidate = layer.fastest(*arguments) if self.tuned else layer.rule()
        return layer.apply(candidate, *arguments)

    def to_rgb(self, x, r, style):
        """x [N,C,r,r] -> [N,3,r,r] in fp32: the style scales the tiny kernel, not the pixels."""
        kernel = (self.rgb_kernels[r] * style[:, None]).to(self.dtype)
        pixels = x.permute(0, 2, 3, 1).reshape(len(x), r * r, x.shape[1]).transpose(1, 2)
        return torch.baddbmm(self.rgb_biases[r], kernel, pixels).float().reshape(len(x), 3, r, r)


def upsampled(rgb):
    """resample.upsample for few channels: inside a border of zeros it is bilinear interpolation."""
    padded = F.pad(rgb, (1, 1, 1, 1))
    doubled = F.interpolate(padded, scale_factor=2, mode="bilinear", align_corners=False)
    return doubled[:, :, 2:-2, 2:-2]
