"""The synthesis network once more, arranged for speed: same function, no gradients (SPEC C3-C5).

`stylegan2.synthesis.SynthesisNetwork` is the definition; this is compared with it by tests. What
differs is only the order of sums: weights are scaled and folded once, all styles come from one
batched matrix product, activations are channels-last, element-wise steps work in place, and
up-sampling convolutions take the form that is quickest for their shape. Fewer large temporaries
matter as much as fewer multiplications: each is mapped, faulted in and unmapped again by the
allocator.
"""

import torch
import torch.nn.functional as F
from torch import nn

from inpaint_hub.engines.precision import best_dtype
from inpaint_hub.engines.up_convolution import InferenceConv
from inpaint_hub.stylegan2.layers import LRELU_GAIN
from inpaint_hub.stylegan2.synthesis import SynthesisNetwork, rows_of


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

    def __init__(
        self,
        network: SynthesisNetwork,
        dtype: torch.dtype | None = None,
        tuned: bool = True,
        functional: bool = False,
    ) -> None:
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
        for r in self.resolutions:
            block = network.blocks[str(r)]
            names = [name for name in ("up_conv", "conv", "to_rgb") if hasattr(block, name)]
            for name, row in zip(names, range(network.num_ws)[rows_of(r)]):
                layer = getattr(block, name)
                modulated[r, name], rows[r, name] = layer.conv, row
                if name != "to_rgb":
                    self.layers[r, name] = InferenceConv(layer, self.dtype)
            rgb = block.to_rgb
            weight = rgb.conv.weight.detach().float() * rgb.conv.weight_gain
            self.rgb_kernels[r] = weight[:, :, 0, 0]
            self.rgb_biases[r] = rgb.bias.detach().float()[None, :, None].to(self.dtype)
        self._stack_styles(modulated, rows)
        if not self.tuned:
            for layer in self.layers.values():
                layer.kernel(layer.rule()[0])  # a compiler must find it folded

    def _stack_styles(
        self, modulated: dict[tuple[int, str], nn.Module], rows: dict[tuple[int, str], int]
    ) -> None:
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

    def styles(
        self, ws: torch.Tensor
    ) -> tuple[dict[tuple[int, str], torch.Tensor], dict[tuple[int, str], torch.Tensor]]:
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

    def noises(
        self, ws: torch.Tensor, mode: str, generator: torch.Generator | list[torch.Generator] | None
    ) -> dict[tuple[int, str], torch.Tensor]:
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
        ws: torch.Tensor,
        features: dict[int, torch.Tensor] | None = None,
        rgb_features: dict[int, torch.Tensor] | None = None,
        noise_mode: str = "const",
        generator: torch.Generator | list[torch.Generator] | None = None,
        return_features: bool = False,
    ) -> torch.Tensor | tuple[torch.Tensor, dict[int, torch.Tensor]]:
        """Arguments, result and errors as SynthesisNetwork.forward's."""
        self.network.check_inputs(ws, noise_mode)
        with torch.no_grad(), torch.autocast(ws.device.type, enabled=False):
            noises = self.noises(ws, noise_mode, generator)
            rgb, activations = self.run(
                ws, features or {}, rgb_features or {}, noises, return_features
            )
        return (rgb, activations) if return_features else rgb

    def run(
        self,
        ws: torch.Tensor,
        features: dict[int, torch.Tensor],
        rgb_features: dict[int, torch.Tensor],
        noises: dict[tuple[int, str], torch.Tensor],
        keep: bool = False,
    ) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
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

    def convolve(
        self,
        x: torch.Tensor,
        r: int,
        name: str,
        styles: dict[tuple[int, str], torch.Tensor],
        demodulations: dict[tuple[int, str], torch.Tensor],
        noises: dict[tuple[int, str], torch.Tensor],
        keep: bool = False,
    ) -> torch.Tensor:
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

    def to_rgb(self, x: torch.Tensor, r: int, style: torch.Tensor) -> torch.Tensor:
        """x [N,C,r,r] -> [N,3,r,r] in fp32: the style scales the tiny kernel, not the pixels."""
        kernel = (self.rgb_kernels[r] * style[:, None]).to(self.dtype)
        pixels = x.permute(0, 2, 3, 1).reshape(len(x), r * r, x.shape[1]).transpose(1, 2)
        return torch.baddbmm(self.rgb_biases[r], kernel, pixels).float().reshape(len(x), 3, r, r)


def upsampled(rgb: torch.Tensor) -> torch.Tensor:
    """resample.upsample for few channels: inside a border of zeros it is bilinear interpolation."""
    padded = F.pad(rgb, (1, 1, 1, 1))
    doubled = F.interpolate(padded, scale_factor=2, mode="bilinear", align_corners=False)
    return doubled[:, :, 2:-2, 2:-2]
