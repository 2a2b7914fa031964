"""python -m inpaint_hub.convert.feature_networks nets: the networks that losses and metrics read.

| written | of | for |
| --- | --- | --- |
| squeezenet1_1.safetensors | the authors' Caffe model of SqueezeNet 1.1 (BSD-2) | losses |
| mobilenet_v2_timm.json, .safetensors | timm's MobileNetV2, Hub (Apache-2.0) | metrics alone |

VGG-16 needs no command: `--perceptual_network vgg16` fetches it. A Caffe model is a protocol
buffer: numbers and names, of which only convolutions' weights are taken; nothing in it is executed.
"""

import argparse
import json
import re
import sys
import tempfile
import urllib.request
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from inpaint_hub import hub
from inpaint_hub.convert.errors import DamagedFileError, WrongKeysError

SQUEEZENET_URL = (
    "https://raw.githubusercontent.com/DeepScale/SqueezeNet/master/SqueezeNet_v1.1/"
    "squeezenet_v1.1.caffemodel"
)
MOBILENET_REPOSITORY = "timm/mobilenetv2_100.ra_in1k"
MAX_BYTES = 64 << 20
FIRES = {2: 3, 3: 4, 4: 6, 5: 7, 6: 9, 7: 10, 8: 11, 9: 12}  # Caffe's number: torchvision's place
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of [0,1], timm's
BATCH_NORM_EPS = 1e-5


def varint(data, at):
    """(number, place behind it) of a variable-length integer."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise DamagedFileError("the Caffe model ends inside a number; download it again")
        value |= (data[at] & 127) << shift
        at += 1
        if not data[at - 1] & 128:
            return value, at
    raise DamagedFileError("the Caffe model holds a number of more than ten bytes; is it one?")


def fields(data):
    """(number, value) of each field of a protocol buffer message: bytes, or an integer."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = varint(data, at)
        elif kind in (1, 2, 5):
            length, at = varint(data, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
            value, at = data[at : at + length], at + length
            if at > len(data):
                raise DamagedFileError("the Caffe model ends inside a field; download it again")
        else:
            raise DamagedFileError(f"the Caffe model holds a field of kind {kind}; is it one?")
        yield key >> 3, value


def blob(data):
    """A BlobProto as a float32 tensor of its shape (older ones have four numbers)."""
    values, shape, older = [], [], {}
    for number, value in fields(data):
        if number == 5:  # packed, or one float at a time
            values.append(np.frombuffer(value, "<f4"))
        elif number == 7:
            for _, dims in fields(value):
                if isinstance(dims, int):
                    shape.append(dims)
                    continue
                at = 0
                while at < len(dims):
                    length, at = varint(dims, at)
                    shape.append(length)
        elif number in (1, 2, 3, 4):
            older[number] = value
    numbers = np.concatenate(values) if values else np.zeros(0, np.float32)
    shape = shape or [older.get(i, 1) for i in (1, 2, 3, 4)]
    if int(np.prod(shape)) != len(numbers):
        raise DamagedFileError(
            f"a blob of shape {shape} holds {len(numbers)} numbers; download the Caffe model again"
        )
    return torch.from_numpy(numbers.copy()).reshape(shape)


def caffe_layers(data):
    """{layer's name: [its blobs]} of a Caffe model."""
    layers = {}
    for number, layer in fields(data):
        if number != 100:
            continue
        parts = list(fields(layer))
        name = next((value.decode() for field, value in parts if field == 1), "")
        layers[name] = [blob(value) for field, value in parts if field == 7]
    return layers


def squeezenet_state(data):
    """State dict of SqueezeNet 1.1's convolutions with torchvision's names, of a Caffe model.

    Raises: WrongKeysError where a layer is missing; DamagedFileError for a torn file.
    """
    layers = caffe_layers(data)
    names = {"conv1": "features.0"}
    for fire, place in FIRES.items():
        for part in ("squeeze1x1", "expand1x1", "expand3x3"):
            ours = "squeeze" if part == "squeeze1x1" else part
            names[f"fire{fire}/{part}"] = f"features.{place}.{ours}"
    if missing := sorted(name for name in names if len(layers.get(name, ())) != 2):
        raise WrongKeysError(
            f"the Caffe model has no weight and bias of {missing[:4]}; it has "
            f"{sorted(layers)[:8]}; expected SqueezeNet 1.1's"
        )
    state = {}
    for theirs, ours in names.items():
        weight, bias = layers[theirs]
        state |= {f"{ours}.weight": weight, f"{ours}.bias": bias.flatten()}
    return state


def folded(state, conv, norm):
    """(weight, bias) of a convolution without bias, then a batch norm in eval mode."""
    scale = state[f"{norm}.weight"] / (state[f"{norm}.running_var"] + BATCH_NORM_EPS).sqrt()
    bias = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale
    return state[f"{conv}.weight"] * scale[:, None, None, None], bias


def mobilenet_layers(state, size=224):
    """(description, weights) for evaluation.feature_network, of timm's MobileNetV2.

    Raises: WrongKeysError for a state dict that is not MobileNetV2's.
    """
    if "conv_stem.weight" not in state or "conv_head.weight" not in state:
        raise WrongKeysError(
            f"the file holds {sorted(state)[:3]}, expected timm's MobileNetV2 with conv_stem, "
            "blocks and conv_head"
        )
    layers, weights, last = [], {}, 0

    def add(op, inputs, **options):
        layers.append({"op": op, "inputs": inputs, "output": len(layers) + 1, **options})
        return len(layers)

    def conv(last, name, norm, stride=1, activation="relu6"):
        weight, bias = folded(state, name, norm)
        depthwise = weight.shape[1] == 1 and weight.shape[0] > 1
        place = f"layer{len(layers):02d}"
        weights.update({f"{place}.weight": weight.contiguous(), f"{place}.bias": bias})
        options = {"weights": place, "stride": stride, "same_padding": False}
        options |= {"padding": weight.shape[-1] // 2, "activation": activation}
        return add("depthwise_conv" if depthwise else "conv", [last], **options)

    last = conv(last, "conv_stem", "bn1", stride=2)
    places = {re.match(r"blocks\.(\d+)\.(\d+)\.", key) for key in state} - {None}
    strides = (1, 2, 2, 2, 1, 2, 1)  # of the first block of each stage
    for stage, number in sorted({(int(m[1]), int(m[2])) for m in places}):
        block, start = f"blocks.{stage}.{number}", last
        stride = strides[stage] if number == 0 else 1
        if f"{block}.conv_pwl.weight" in state:
            last = conv(last, f"{block}.conv_pw", f"{block}.bn1")
            last = conv(last, f"{block}.conv_dw", f"{block}.bn2", stride)
            last = conv(last, f"{block}.conv_pwl", f"{block}.bn3", activation="none")
        else:  # the first stage does not widen
            last = conv(last, f"{block}.conv_dw", f"{block}.bn1", stride)
            last = conv(last, f"{block}.conv_pw", f"{block}.bn2", activation="none")
        if number > 0:
            last = add("add", [start, last])
    last = conv(last, "conv_head", "bn2")
    add("global_mean", [last])
    mean = [2 * m - 1 for m in IMAGENET_MEAN]
    std = [2 * s for s in IMAGENET_STD]
    source = {"id": 0, "size": size, "mean": mean, "std": std}
    return {"input": source, "layers": layers}, weights


def downloaded(url, folder):
    """Path of the file behind `url`. Raises: FileNotFoundError where it cannot be had."""
    file = Path(folder) / url.rsplit("/", 1)[1]
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            file.write_bytes(answer.read(MAX_BYTES))
    except OSError as error:
        raise FileNotFoundError(
            f"{url} cannot be downloaded ({error}); connect, or download it by other means and "
            "give its path with --squeezenet"
        ) from error
    return file


def write_networks(folder, squeezenet=None, mobilenet=None):
    """Write both networks into `folder`, from the given files or else from their sources; returns
    the paths to give to --perceptual_network of training and of evaluation.

    Raises: FileNotFoundError, DamagedFileError, WrongKeysError.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as own:
        squeezenet = Path(squeezenet or downloaded(SQUEEZENET_URL, own))
        for_losses = folder / "squeezenet1_1.safetensors"
        save_file(squeezenet_state(squeezenet.read_bytes()), for_losses)
    mobilenet = mobilenet or hub.download_weights(MOBILENET_REPOSITORY, "model.safetensors")
    description, weights = mobilenet_layers(load_file(mobilenet))
    for_metrics = folder / "mobilenet_v2_timm.json"
    save_file(weights, for_metrics.with_suffix(".safetensors"))
    for_metrics.write_text(json.dumps(description), "utf-8")
    return for_losses, for_metrics


def main(argv=None):
    """Exit status 0 when both are written, 2 with a message otherwise."""
    parser = argparse.ArgumentParser(
        prog="python -m inpaint_hub.convert.feature_networks",
        description="Fetch and convert the networks that losses and metrics read.",
    )
    parser.add_argument("folder", type=Path, help="where to write them, as nets")
    parser.add_argument(
        "--squeezenet", type=Path, help="squeezenet_v1.1.caffemodel, if you have it"
    )
    parser.add_argument(
        "--mobilenet", type=Path, help=f"model.safetensors of {MOBILENET_REPOSITORY}"
    )
    arguments = parser.parse_args(argv)
    try:
        paths = write_networks(arguments.folder, arguments.squeezenet, arguments.mobilenet)
    except (OSError, DamagedFileError, WrongKeysError) as error:
        parser.error(str(error))
    for use, path in zip(("train_accelerate.py", "inpaint_hub.evaluation"), paths):
        print(f"{path}: --perceptual_network of {use}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
