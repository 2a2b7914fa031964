"""A feature network described by a list of layers: used for judging only, never in a loss."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file


class FeatureNetwork:
    """Pictures -> pooled features [N,D] by the layers of a JSON file and the safetensors file
    beside it.

    The JSON has `input` {id, size}, and `layers`: conv, depthwise_conv (weights, stride,
    same_padding, activation none | relu6), add, global_mean; each with `inputs` and `output` ids.
    Pictures enter as RGB in [-1,1] at `size`, minus `mean` and over `std` where the input has them;
    padding is TensorFlow's SAME, or `padding` px at every side. device: where it runs.

    Raises: FileNotFoundError when one of the two files is missing.
    """

    def __init__(self, path: str | Path, device: str | torch.device = "cpu") -> None:
        path = Path(path)
        weights = path.with_suffix(".safetensors")
        for file in (path, weights):
            if not file.is_file():
                raise FileNotFoundError(
                    f"feature network file {str(file)!r} does not exist; expected a .json list of "
                    "layers and a .safetensors file of the same name; check --perceptual_network"
                )
        description = json.loads(path.read_text("utf-8"))
        self.name = path.stem
        files = path.read_bytes() + weights.read_bytes()
        self.digest = hashlib.sha256(files).hexdigest()[:16]
        self.input_id, self.size = description["input"]["id"], description["input"]["size"]
        self.layers = description["layers"]
        self.last_use = {i: n for n, layer in enumerate(self.layers) for i in layer["inputs"]}
        self.device = torch.device(device)
        self.mean, self.std = (
            torch.tensor(description["input"][name], device=self.device)[:, None, None]
            if name in description["input"]
            else None
            for name in ("mean", "std")
        )
        self.weights = {k: v.float().to(self.device) for k, v in load_file(weights).items()}

    @torch.no_grad()
    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 [N,H,W,3] -> float32 array [N,D]; resized bilinearly with antialiasing.

        One by one: the last bits of a convolution depend on its batch, and judged numbers must not.
        """
        return np.concatenate([self._features(pixels[i : i + 1]) for i in range(len(pixels))])

    def _features(self, pixels: np.ndarray) -> np.ndarray:
        x = torch.tensor(pixels, device=self.device).permute(0, 3, 1, 2).float() / 127.5 - 1
        size = (self.size, self.size)
        x = F.interpolate(x, size, mode="bilinear", antialias=True, align_corners=False)
        if self.mean is not None:
            x = (x - self.mean) / self.std
        values = {self.input_id: x.contiguous(memory_format=torch.channels_last)}
        for number, layer in enumerate(self.layers):
            inputs = [values[i] for i in layer["inputs"]]
            values[layer["output"]] = getattr(self, f"_{layer['op']}")(layer, *inputs)
            for i in layer["inputs"]:  # freed after the last reader: 0.6 GB for 50 pictures
                if self.last_use[i] == number:
                    del values[i]
        return values[self.layers[-1]["output"]].flatten(1).cpu().numpy()

    def _conv(self, layer: dict[str, Any], x: torch.Tensor, groups: int = 1) -> torch.Tensor:
        weight = self.weights[f"{layer['weights']}.weight"]
        bias = self.weights[f"{layer['weights']}.bias"]
        stride = layer["stride"]
        if layer["same_padding"]:
            (top, bottom), (left, right) = (
                same_padding(n, k, stride) for n, k in zip(x.shape[2:], weight.shape[2:])
            )
            x = F.pad(x, (left, right, top, bottom))
        x = F.conv2d(x, weight, bias, stride=stride, padding=layer.get("padding", 0), groups=groups)
        return F.relu6(x) if layer["activation"] == "relu6" else x

    def _depthwise_conv(self, layer: dict[str, Any], x: torch.Tensor) -> torch.Tensor:
        return self._conv(layer, x, groups=x.shape[1])

    def _add(self, layer: dict[str, Any], a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return a + b

    def _global_mean(self, layer: dict[str, Any], x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=(2, 3))


def same_padding(length: int, kernel: int, stride: int) -> tuple[int, int]:
    """(before, after): TensorFlow's SAME padding of one axis, in px."""
    total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
    return total // 2, total - total // 2
