"""Perceptual and style losses on three feature maps of a frozen network.

InvertFill Eq. (4); SPEC A9.1.

A network is a module: pictures [N,3,H,W] in [0,1] -> list of three maps at strides 2, 4 and 8.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

VGG16_REPOSITORY = "timm/vgg16.tv_in1k"


class VGG16Features(nn.Module):
    """VGG-16 after its first three max-pools. The pictures are not normalized, as in RFR."""

    CONVS = {0: (3, 64), 2: (64, 64), 5: (64, 128), 7: (128, 128)}
    CONVS |= {10: (128, 256), 12: (256, 256), 14: (256, 256)}
    BLOCKS = [(0, 2), (5, 7), (10, 12, 14)]

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.ModuleDict(
            {str(i): nn.Conv2d(a, b, 3, padding=1) for i, (a, b) in self.CONVS.items()}
        )

    def forward(self, images01: Tensor) -> list[Tensor]:
        x, maps = images01, []
        for block in self.BLOCKS:
            for i in block:
                x = F.relu(self.features[str(i)](x))
            x = F.max_pool2d(x, 2)
            maps.append(x)
        return maps


class Fire(nn.Module):
    """SqueezeNet's block: a 1x1 squeeze, then 1x1 and 3x3 expansions side by side."""

    def __init__(self, in_channels: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(in_channels, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze(x))
        return torch.cat([F.relu(self.expand1x1(x)), F.relu(self.expand3x3(x))], dim=1)


class SqueezeNetFeatures(nn.Module):
    """SqueezeNet 1.1 before each of its max-pools, which round sizes up.

    The original weights see BGR in 0..255 minus a mean.
    """

    MEAN_BGR = (104.0, 117.0, 123.0)

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.ModuleDict(
            {
                "0": nn.Conv2d(3, 64, 3, stride=2),
                "3": Fire(64, 16, 64),
                "4": Fire(128, 16, 64),
                "6": Fire(128, 32, 128),
                "7": Fire(256, 32, 128),
            }
        )

    def forward(self, images01: Tensor) -> list[Tensor]:
        mean = images01.new_tensor(self.MEAN_BGR)[:, None, None]
        first = F.relu(self.features["0"](images01.flip(1) * 255 - mean))
        second = self.features["4"](self.features["3"](pool(first)))
        third = self.features["7"](self.features["6"](pool(second)))
        return [first, second, third]


class ProjectionFeatures(SqueezeNetFeatures):
    """SqueezeNet 1.1 after its first convolution and its 4th, 7th and 12th layer: four maps at
    strides 2, 4, 8 and 16, with 64, 128, 256 and 512 channels, for projected discriminators.

    Differs from SqueezeNetFeatures: the first convolution is padded, so that the maps' sides are
    the picture's divided by their strides.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features["0"].padding = (1, 1)
        deeper = {9: (256, 48, 192), 10: (384, 48, 192), 11: (384, 64, 256), 12: (512, 64, 256)}
        self.features.update({str(i): Fire(*sizes) for i, sizes in deeper.items()})

    def forward(self, images01: Tensor) -> list[Tensor]:
        maps = super().forward(images01)
        x = pool(maps[-1])
        for i in range(9, 13):
            x = self.features[str(i)](x)
        return [*maps, x]


def pool(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 3, stride=2, ceil_mode=True)


class NoFeatures(nn.Module):
    """What stands in where perceptual and style losses have no weight: no file, and maps of 0."""

    def forward(self, images01: Tensor) -> list[Tensor]:
        return [images01.new_zeros(len(images01), 1, 1, 1)]


NETWORKS = (SqueezeNetFeatures, VGG16Features)


def load_perceptual_network(name_or_path: str | Path, kinds: tuple = NETWORKS) -> nn.Module:
    """Network for the losses, frozen and in eval mode, recognized by its key names.

    name_or_path: "vgg16" (fetched from the Hub once) or the path of a safetensors file of VGG-16 or
    SqueezeNet 1.1 with torchvision's key names. kinds: the classes to choose among.

    Raises: FileNotFoundError when neither a file nor the Hub is there; ValueError for a file that
    holds something else.
    """
    if name_or_path == "vgg16":
        from inpaint_hub.hub import download_weights

        name_or_path = download_weights(VGG16_REPOSITORY, "model.safetensors")
    path = Path(name_or_path)
    if not path.is_file():
        raise FileNotFoundError(
            f"perceptual network {str(name_or_path)!r} is neither 'vgg16' nor a file; expected "
            "'vgg16' or the path of a .safetensors file of VGG-16 or SqueezeNet 1.1"
        )
    try:
        with safe_open(path, "pt") as file:
            present = set(file.keys())
            for network_class in kinds:
                network = network_class()
                shapes = {name: list(v.shape) for name, v in network.state_dict().items()}
                if all(n in present and file.get_slice(n).get_shape() == shapes[n] for n in shapes):
                    state = {name: file.get_tensor(name).float() for name in shapes}
                    network.load_state_dict(state)
                    return network.eval().requires_grad_(False)
    except SafetensorError as error:
        raise ValueError(
            f"{str(path)!r} is no safetensors file ({error}); expected VGG-16 or SqueezeNet 1.1 as "
            "safetensors; convert it"
        ) from error
    raise ValueError(
        f"{str(path)!r} holds neither VGG-16 nor SqueezeNet 1.1 (first keys: "
        f"{sorted(present)[:3]}); expected torchvision's key names and shapes, as "
        "features.0.weight; give another file"
    )


def load_projection_network(path: str | Path) -> ProjectionFeatures:
    """ProjectionFeatures from a safetensors file of SqueezeNet 1.1, frozen and in eval mode.

    Raises: as load_perceptual_network.
    """
    if path == "vgg16":
        raise ValueError(
            "projected heads read the maps of SqueezeNet 1.1, not of 'vgg16'; give its file with "
            "--projected_network"
        )
    return load_perceptual_network(path, (ProjectionFeatures,))


def perceptual_loss(maps: list[Tensor], target_maps: list[Tensor]) -> Tensor:
    """L_perc (InvertFill Eq. (4)): sum over the maps of mean |a - b|, over all N C H W."""
    return sum((a - b).abs().mean() for a, b in zip(maps, target_maps))


def gram(x: Tensor) -> Tensor:
    """Un-normalized Gram matrix [N,C,C] of a map [N,C,H,W].

    In fp32: sums of products overflow fp16. Its gradient is one product in the layout of x: those
    of both factors would be two, in two layouts, which took six times as long.
    """
    with torch.autocast(x.device.type, enabled=False):
        x = x.float().permute(0, 2, 3, 1).flatten(1, 2)  # no copy where x is channels-last
        half = x.detach().mT @ x  # has half of the gradient, and half.mT the other
        return half + half.mT - half.detach()


def style_loss(maps: list[Tensor], target_maps: list[Tensor]) -> Tensor:
    """L_style (InvertFill Eq. (4)): sum over the maps of mean |Gram(a) - Gram(b)| / (C H W).

    The mean is over N C C entries.
    """
    total = 0
    for a, b in zip(maps, target_maps):
        _, c, h, w = a.shape
        total = total + (gram(a) - gram(b)).abs().mean() / (c * h * w)
    return total
