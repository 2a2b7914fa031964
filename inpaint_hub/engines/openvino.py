"""Functions of networks converted to OpenVINO, for CPUs: once for each shape, cached on disk."""

import hashlib
import importlib.util
import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from inpaint_hub import __version__
from inpaint_hub.engines.precision import has_fast_bf16


def openvino_is_missing(models: dict[str, nn.Module]) -> str | None:
    """Why OpenVINO cannot be used, or None."""
    if importlib.util.find_spec("openvino") is None:
        return "openvino is not installed (pip install .[cpu])"
    if any(next(model.parameters()).device.type != "cpu" for model in models.values()):
        return "openvino runs on CPUs and the pipeline is elsewhere"
    return None


def openvino_precision(dtype: torch.dtype | None) -> str:
    """OpenVINO's name of the dtype that its kernels compute in."""
    if dtype is None:
        dtype = torch.bfloat16 if has_fast_bf16(torch.device("cpu")) else torch.float32
    return {torch.float32: "f32", torch.bfloat16: "bf16", torch.float16: "f16"}[dtype]


def cache_folder() -> Path:
    """Where converted networks are kept: $XDG_CACHE_HOME, or ~/.cache, /inpaint_hub/openvino."""
    return (
        Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "inpaint_hub/openvino"
    )


def with_instance_norms(network: nn.Module) -> nn.Module:
    """The network itself, its group norms of one channel a group now the same as instance norms.

    Of group norms with sums behind them, two in a row, OpenVINO 2026.0 and 2026.4 make a kernel in
    fp32 that ends the process while it is compiled.
    """
    for module in list(network.modules()):
        for name, norm in module.named_children():
            if isinstance(norm, nn.GroupNorm) and norm.num_groups == norm.num_channels:
                same = nn.InstanceNorm2d(norm.num_channels, norm.eps, affine=True)
                same.weight, same.bias = norm.weight, norm.bias
                setattr(module, name, same.eval())
    return network


class Flat(nn.Module):
    """A function of nested tensors as one of a tuple of tensors, as converters want it.

    leaves: of one call's arguments; those that are no tensors (flags) are constants of the graph.
    """

    def __init__(self, function: Callable, leaves: list, structure: pytree.TreeSpec) -> None:
        super().__init__()
        self.function, self.structure = function, structure
        self.leaves = [None if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
        self.places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        leaves = list(self.leaves)
        for place, tensor in zip(self.places, tensors):
            leaves[place] = tensor
        result = self.function(*pytree.tree_unflatten(leaves, self.structure))
        leaves, self.result_structure = pytree.tree_flatten(result)
        return tuple(leaves)


class Converted:
    """A function of a module's weights, converted to OpenVINO for each shape it is called with.

    Samples run one by one: a batch gains nothing on a CPU, and each of its sizes would have to be
    converted, at several times the memory. Tensors of three and more dimensions hold samples.
    Files are named by a hash of the weights, the shapes and the versions, so that nothing stale is
    ever read.
    """

    def __init__(self, function: Callable, module: nn.Module, precision: str) -> None:
        self.function, self.precision = function, precision
        self.weights = hashlib.sha256(f"{__version__} {module}".encode())
        for name, tensor in module.state_dict().items():
            self.weights.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            self.weights.update(tensor.detach().cpu().flatten().view(torch.uint8).numpy())
        self.networks = {}

    def __call__(self, *arguments: Any) -> Any:
        leaves, structure = pytree.tree_flatten(arguments)
        results = [
            self.one([of_sample(leaf, i) for leaf in leaves], structure)
            for i in range(len(leaves[0]))
        ]
        leaves = [torch.cat(samples) for samples in zip(*(leaves for leaves, _ in results))]
        return pytree.tree_unflatten(leaves, results[0][1])

    def one(
        self, leaves: list, structure: pytree.TreeSpec
    ) -> tuple[list[torch.Tensor], pytree.TreeSpec]:
        """(tensors of one sample's result, their structure)."""
        tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        shapes = [tuple(x.shape) if isinstance(x, torch.Tensor) else x for x in leaves]
        key = (type(self.function.__self__).__name__, str(structure), *shapes)
        if key not in self.networks:
            self.networks[key] = self.load(Flat(self.function, leaves, structure), tensors, key)
        network, result_structure = self.networks[key]
        results = network([t.float().contiguous().numpy() for t in tensors])
        leaves = [torch.from_numpy(results[i].copy()) for i in range(len(network.outputs))]
        return leaves, result_structure

    def load(
        self, flat: Flat, tensors: list[torch.Tensor], key: tuple
    ) -> tuple[Any, pytree.TreeSpec]:
        import openvino

        flat(*tensors)  # tells the result's structure
        name = self.weights.copy()
        name.update(json.dumps([openvino.__version__, torch.__version__, str(key)]).encode())
        file = cache_folder() / f"{name.hexdigest()[:32]}.xml"
        core = openvino.Core()
        if not file.is_file():
            with warnings.catch_warnings():  # shapes are constants here, and are meant to be
                warnings.simplefilter("ignore", torch.jit.TracerWarning)
                warnings.simplefilter("ignore", DeprecationWarning)
                graph = openvino.convert_model(flat, example_input=tuple(tensors))
            for port, tensor in zip(graph.inputs, tensors):
                port.get_node().set_partial_shape(openvino.PartialShape(list(tensor.shape)))
            graph.validate_nodes_and_infer_types()
            file.parent.mkdir(parents=True, exist_ok=True)
            partial = file.with_name(f"{file.stem}-{os.getpid()}.xml")
            openvino.save_model(graph, partial, compress_to_fp16=False)
            partial.with_suffix(".bin").replace(file.with_suffix(".bin"))
            partial.replace(file)
        options = {"INFERENCE_PRECISION_HINT": self.precision, "PERFORMANCE_HINT": "LATENCY"}
        network = core.compile_model(core.read_model(file), "CPU", options)
        return network, flat.result_structure


def of_sample(leaf: Any, i: int) -> Any:
    """What belongs to sample i of an argument."""
    return leaf[i : i + 1] if isinstance(leaf, torch.Tensor) and leaf.ndim > 2 else leaf
