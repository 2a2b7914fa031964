"""The losses' and the metrics' networks, converted from files as their sources publish them."""

import struct

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from inpaint_hub.convert.errors import DamagedFileError, WrongKeysError
from inpaint_hub.convert.feature_networks import (
    FIRES,
    IMAGENET_MEAN,
    IMAGENET_STD,
    main,
    squeezenet_state,
)
from inpaint_hub.evaluation.feature_network import FeatureNetwork
from inpaint_hub.losses.perceptual import ProjectionFeatures, load_perceptual_network


def number(value):
    low, rest = value & 127, value >> 7
    return bytes([low | 128]) + number(rest) if rest else bytes([low])


def field(place, content):
    """A length-delimited field of a protocol buffer."""
    return number(place << 3 | 2) + number(len(content)) + content


def caffe_model(state, older_shapes=False):
    """The bytes of a Caffe model with the convolutions of a SqueezeNet's state dict."""
    names = {"features.0": "conv1"}
    for fire, place in FIRES.items():
        for part in ("squeeze1x1", "expand1x1", "expand3x3"):
            ours = "squeeze" if part == "squeeze1x1" else part
            names[f"features.{place}.{ours}"] = f"fire{fire}/{part}"
    model = field(1, b"squeezenet")
    for ours, theirs in names.items():
        layer = field(1, theirs.encode()) + field(2, b"Convolution")
        for tensor in (state[f"{ours}.weight"], state[f"{ours}.bias"]):
            shape = tuple(tensor.shape)
            if older_shapes:
                four = (1,) * (4 - len(shape)) + shape
                blob = b"".join(number(i << 3) + number(n) for i, n in enumerate(four, 1))
            else:
                blob = field(7, field(1, b"".join(map(number, shape))))
            values = tensor.flatten().tolist()
            layer += field(7, blob + field(5, struct.pack(f"<{len(values)}f", *values)))
        model += field(100, layer)
    return model


@pytest.fixture(scope="module")
def squeezenet():
    torch.manual_seed(0)
    return ProjectionFeatures().state_dict()


@pytest.mark.parametrize("older_shapes", [False, True])
def test_a_caffe_models_convolutions_are_squeezenets(squeezenet, older_shapes):
    found = squeezenet_state(caffe_model(squeezenet, older_shapes))
    assert found.keys() == squeezenet.keys()
    assert all(torch.equal(found[name], value) for name, value in squeezenet.items())


def test_torn_and_foreign_files_are_errors(squeezenet):
    whole = caffe_model(squeezenet)
    with pytest.raises(DamagedFileError, match="download it again"):
        squeezenet_state(whole[: len(whole) // 2])
    with pytest.raises(WrongKeysError, match="conv1"):
        squeezenet_state(field(100, field(1, b"fc6")))


class Block(nn.Module):
    """MobileNetV2's inverted residual, with timm's names."""

    def __init__(self, channels, out_channels, expansion, stride):
        super().__init__()
        wide = channels * expansion
        if expansion > 1:
            self.conv_pw, self.bn1 = nn.Conv2d(channels, wide, 1, bias=False), nn.BatchNorm2d(wide)
        depthwise = nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False)
        narrow = nn.Conv2d(wide, out_channels, 1, bias=False)
        norms = nn.BatchNorm2d(wide), nn.BatchNorm2d(out_channels)
        self.conv_dw = depthwise
        if expansion > 1:
            self.bn2, self.conv_pwl, self.bn3 = norms[0], narrow, norms[1]
        else:
            self.bn1, self.conv_pw, self.bn2 = norms[0], narrow, norms[1]

    def forward(self, x):
        if not hasattr(self, "conv_pwl"):
            return self.bn2(self.conv_pw(F.relu6(self.bn1(self.conv_dw(x)))))
        y = F.relu6(self.bn1(self.conv_pw(x)))
        return self.bn3(self.conv_pwl(F.relu6(self.bn2(self.conv_dw(y)))))


class MobileNet(nn.Module):
    """MobileNetV2 with timm's names and few channels: two blocks a stage, the second residual."""

    def __init__(self):
        super().__init__()
        self.conv_stem, self.bn1 = nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8)
        self.blocks = nn.Sequential(nn.Sequential(Block(8, 4, 1, 1)))
        channels = 4
        for width, stride in ((6, 2), (8, 2), (10, 2), (12, 1), (14, 2)):
            pair = Block(channels, width, 6, stride), Block(width, width, 6, 1)
            self.blocks.append(nn.Sequential(*pair))
            channels = width
        self.conv_head, self.bn2 = nn.Conv2d(channels, 32, 1, bias=False), nn.BatchNorm2d(32)

    def forward(self, x):
        x = F.relu6(self.bn1(self.conv_stem(x)))
        for stage in self.blocks:
            for i, block in enumerate(stage):
                x = block(x) + x if i else block(x)
        return F.relu6(self.bn2(self.conv_head(x))).mean(dim=(2, 3))


def test_one_command_writes_what_training_and_evaluation_name(squeezenet, tmp_path, capsys):
    torch.manual_seed(0)
    network = MobileNet().eval()
    for name, buffer in network.named_buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5) if name.endswith("var") else buffer.normal_(std=0.2)
    (tmp_path / "model.caffemodel").write_bytes(caffe_model(squeezenet))
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    nets = tmp_path / "nets"
    given = ["--squeezenet", str(tmp_path / "model.caffemodel")]
    given += ["--mobilenet", str(tmp_path / "model.safetensors")]
    assert main([str(nets), *given]) == 0
    assert str(nets / "squeezenet1_1.safetensors") in capsys.readouterr().out
    assert load_file(nets / "squeezenet1_1.safetensors").keys() == squeezenet.keys()
    maps = load_perceptual_network(nets / "squeezenet1_1.safetensors")(torch.rand(1, 3, 32, 32))
    assert len(maps) == 3

    pixels = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), np.uint8)
    features = FeatureNetwork(nets / "mobilenet_v2_timm.json")(pixels)
    pictures = torch.tensor(pixels).permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(v)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
    with torch.no_grad():
        expected = network((pictures - mean) / std).numpy()
    assert expected.std() > 0.01
    assert np.abs(features - expected).max() < 1e-4 * np.abs(expected).max()


def test_a_source_that_cannot_be_reached_is_named(tmp_path, monkeypatch, capsys):
    def unreachable(*arguments, **options):
        raise OSError("no route")

    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    assert "--squeezenet" in capsys.readouterr().err
