"""What InpaintPipeline.optimize installs: networks run by their inference forms.

A module's `forward` is shadowed on the instance, which no state dict, config or saved file sees.
The definition still answers whenever gradients are wanted or the module is being trained; a form is
made when first called, and made anew when weights have changed or moved.

| engine | what runs |
| --- | --- |
| eager | the inference forms, each convolution in the form that is quickest for its shape |
| compile | the same through torch.compile (on a GPU with CUDA graphs); slow to start |
| openvino | on a CPU, converted once and cached on disk; samples one by one |
"""

import hashlib
import importlib.util
import json
import os
import warnings
from pathlib import Path

import torch
from torch import nn
from torch.utils import _pytree as pytree

from inpaint_hub import __version__
from inpaint_hub.dualpath import DualPathInpainter
from inpaint_hub.dualpath.inference import InferenceInpainter
from inpaint_hub.inversion.inference import InferenceEncoder
from inpaint_hub.stylegan2.inference import InferenceSynthesis, has_fast_bf16
from inpaint_hub.stylegan2.synthesis import SynthesisNetwork

ENGINES = ("eager", "compile", "openvino")
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def install(pipeline, engine, dtype):
    """Let the networks of a pipeline run by `engine`; None: by their definitions again.

    Raises: ValueError for an unknown engine or dtype, or for networks that are wrapped already.
    """
    if engine is not None and engine not in ENGINES:
        raise ValueError(f"engine is {engine!r}, expected one of {ENGINES} or None")
    if dtype is not None and dtype not in DTYPES:
        raise ValueError(f"dtype is {dtype!r}, expected one of {DTYPES} or None to choose")
    models = {k: m for k, m in pipeline.components.items() if isinstance(m, nn.Module)}
    for name, model in models.items():
        if hasattr(model, "_orig_mod") or hasattr(model, "_hf_hook"):
            raise ValueError(
                f"{name} is compiled or offloaded already, expected it as loaded; call optimize "
                "first"
            )
    if engine == "openvino" and (reason := openvino_is_missing(models)):
        warnings.warn(f"{reason}; the engine is 'eager' instead", stacklevel=3)
        engine = "eager"
    for name, model in models.items():
        for module in model.modules():
            if name == "encoder" and module is model:
                install_on(module, EncoderForm, engine, dtype)
            elif isinstance(module, SynthesisNetwork):
                install_on(module, SynthesisForm, engine, dtype)
            elif isinstance(module, DualPathInpainter):
                install_on(module, InpainterForm, engine, dtype)


def openvino_is_missing(models):
    """Why OpenVINO cannot be used, or None."""
    if importlib.util.find_spec("openvino") is None:
        return "openvino is not installed (pip install .[cpu])"
    if any(next(model.parameters()).device.type != "cpu" for model in models.values()):
        return "openvino runs on CPUs and the pipeline is elsewhere"
    return None


def install_on(module, form, engine, dtype):
    vars(module).pop("forward", None)
    if engine is not None:
        module.forward = Substitute(module, form, engine, dtype).forward


def weights_version(module):
    """What changes whenever a parameter or buffer is written to, replaced, moved or cast."""
    tensors = [*module.parameters(), *module.buffers()]
    return [
        (t.data_ptr(), 0 if t.is_inference() else t._version, t.dtype, t.device) for t in tensors
    ]


class Substitute:
    """Holds a module's inference form; its `forward` shadows the module's.

    A copy of the module gets its own: bound methods are copied together with their object.
    """

    def __init__(self, module, form, engine, dtype):
        self.module, self.form, self.engine, self.dtype = module, form, engine, dtype
        self.made, self.version = None, None

    def __getstate__(self):
        return vars(self) | {"made": None, "version": None}

    def forward(self, *arguments, **options):
        device = next(self.module.parameters()).device
        if (
            torch.is_grad_enabled()
            or self.module.training
            or any(a.device != device for a in arguments if isinstance(a, torch.Tensor))
        ):
            return type(self.module).forward(self.module, *arguments, **options)
        version = weights_version(self.module)
        if version != self.version:
            self.made = self.form(self.module, self.engine, self.dtype)
            self.version = version
        return self.made(*arguments, **options)


def compiled(function, device):
    """torch.compile for fixed shapes; on a GPU as CUDA graphs, whose outputs are copied out."""
    if device.type != "cuda":
        return torch.compile(function, dynamic=False)
    graphed = torch.compile(function, dynamic=False, mode="reduce-overhead")

    def run(*arguments):
        torch.compiler.cudagraph_mark_step_begin()
        return pytree.tree_map_only(torch.Tensor, torch.clone, graphed(*arguments))

    return run


class SynthesisForm(InferenceSynthesis):
    """InferenceSynthesis, run by an engine."""

    def __init__(self, network, engine, dtype):
        device = network.blocks["4"].const.device
        if engine == "openvino":
            dtype, precision = torch.float32, openvino_precision(dtype)
        super().__init__(network, dtype, functional=engine != "eager")
        if engine == "compile":
            self.run = compiled(self.run, device)
        elif engine == "openvino":
            converted = Converted(network, precision)
            plain = self.run

            def picture(*arguments):
                return plain(*arguments)[0]

            def picture_and_features(*arguments):
                return plain(*arguments, keep=True)

            def run(*arguments):
                *arguments, keep = arguments
                if keep:
                    return converted(picture_and_features, *arguments)
                return converted(picture, *arguments), {}

            self.run = run


class EncoderForm(InferenceEncoder):
    """InferenceEncoder, run by an engine."""

    def __init__(self, encoder, engine, dtype):
        if engine == "openvino":
            dtype, precision = torch.float32, openvino_precision(dtype)
        super().__init__(encoder, dtype)
        if engine == "compile":
            self.run = compiled(self.network, next(encoder.parameters()).device)
        elif engine == "openvino":
            converted, network = Converted(encoder, precision), self.network
            self.run = lambda *inputs: converted(network, *inputs)


class InpainterForm(InferenceInpainter):
    """InferenceInpainter, run by an engine."""

    def __init__(self, inpainter, engine, dtype):
        if engine == "openvino":
            dtype, precision = torch.float32, openvino_precision(dtype)
        super().__init__(inpainter, dtype)
        if engine == "compile":
            self.run = compiled(self.run, next(inpainter.parameters()).device)
        elif engine == "openvino":
            converted, network_run = Converted(inpainter, precision), self.run
            self.run = lambda *inputs: converted(network_run, *inputs)


def openvino_precision(dtype):
    """OpenVINO's name of the dtype that its kernels compute in."""
    if dtype is None:
        dtype = torch.bfloat16 if has_fast_bf16(torch.device("cpu")) else torch.float32
    return {torch.float32: "f32", torch.bfloat16: "bf16", torch.float16: "f16"}[dtype]


def cache_folder():
    """Where converted networks are kept: $XDG_CACHE_HOME, or ~/.cache, /inpaint_hub/openvino."""
    return (
        Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "inpaint_hub/openvino"
    )


class Flat(nn.Module):
    """A function of nested tensors as one of a tuple of tensors, as converters want it."""

    def __init__(self, function, structure):
        super().__init__()
        self.function, self.structure = function, structure

    def forward(self, *tensors):
        result = self.function(*pytree.tree_unflatten(list(tensors), self.structure))
        leaves, self.result_structure = pytree.tree_flatten(result)
        return tuple(leaves)


class Converted:
    """Functions of a module's weights, converted to OpenVINO for each shape they are called with.

    Samples run one by one: a batch gains nothing on a CPU, and each of its sizes would have to be
    converted, at several times the memory. Tensors of three and more dimensions hold samples.
    Files are named by a hash of the weights, the shapes and the versions, so that nothing stale is
    ever read.
    """

    def __init__(self, module, precision):
        self.precision = precision
        self.weights = hashlib.sha256(f"{__version__} {module}".encode())
        for name, tensor in module.state_dict().items():
            self.weights.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            self.weights.update(tensor.detach().cpu().flatten().view(torch.uint8).numpy())
        self.networks = {}

    def __call__(self, function, *arguments):
        tensors, structure = pytree.tree_flatten(arguments)
        results = [
            self.one(function, [t[i : i + 1] if t.ndim > 2 else t for t in tensors], structure)
            for i in range(len(tensors[0]))
        ]
        leaves = [torch.cat(samples) for samples in zip(*(leaves for leaves, _ in results))]
        return pytree.tree_unflatten(leaves, results[0][1])

    def one(self, function, tensors, structure):
        """(tensors of one sample's result, their structure)."""
        name = getattr(function, "__name__", type(function).__name__)
        key = (name, str(structure), *(tuple(t.shape) for t in tensors))
        if key not in self.networks:
            self.networks[key] = self.load(function, tensors, structure, key)
        network, result_structure = self.networks[key]
        results = network([t.float().contiguous().numpy() for t in tensors])
        leaves = [torch.from_numpy(results[i].copy()) for i in range(len(network.outputs))]
        return leaves, result_structure

    def load(self, function, tensors, structure, key):
        import openvino

        flat = Flat(function, structure)
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
