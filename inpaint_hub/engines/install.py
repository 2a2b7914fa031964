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

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from inpaint_hub.allocator import tune_allocator
from inpaint_hub.dualpath import DualPathInpainter
from inpaint_hub.engines.encoder import InferenceEncoder
from inpaint_hub.engines.inpainter import InferenceInpainter, InferenceRefiner
from inpaint_hub.engines.openvino import (
    Converted,
    openvino_is_missing,
    openvino_precision,
    with_instance_norms,
)
from inpaint_hub.engines.precision import has_avx512
from inpaint_hub.engines.synthesis import InferenceSynthesis
from inpaint_hub.refinement import Refiner
from inpaint_hub.stylegan2.synthesis import SynthesisNetwork

ENGINES = ("eager", "compile", "openvino")
FORMS = {
    SynthesisNetwork: InferenceSynthesis,
    DualPathInpainter: InferenceInpainter,
    Refiner: InferenceRefiner,
}
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def install(pipeline: Any, engine: str | None, dtype: torch.dtype | None) -> None:
    """Let the networks of a pipeline run by `engine`; None: by their definitions again.

    On CPUs, glibc's malloc keeps large blocks from then on (see allocator.py).

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
    on_cpu = (p.device.type == "cpu" for model in models.values() for p in model.parameters())
    if engine is not None and any(on_cpu):
        tune_allocator()
    for name, model in models.items():
        for module in model.modules():
            kind = InferenceEncoder if name == "encoder" and module is model else None
            if kind := FORMS.get(type(module), kind):
                install_on(module, kind, engine, dtype)


def install_on(
    module: nn.Module, form: type, engine: str | None, dtype: torch.dtype | None
) -> None:
    vars(module).pop("forward", None)
    if engine is not None:
        module.forward = Substitute(module, form, engine, dtype).forward


def weights_version(module: nn.Module) -> list[tuple]:
    """What changes whenever a parameter or buffer is written to, replaced, moved or cast."""
    tensors = [*module.parameters(), *module.buffers()]
    return [
        (t.data_ptr(), 0 if t.is_inference() else t._version, t.dtype, t.device) for t in tensors
    ]


class Substitute:
    """Holds a module's inference form; its `forward` shadows the module's.

    A copy of the module gets its own: bound methods are copied together with their object.
    """

    def __init__(
        self, module: nn.Module, form: type, engine: str, dtype: torch.dtype | None
    ) -> None:
        self.module, self.form, self.engine, self.dtype = module, form, engine, dtype
        self.made, self.version = None, None

    def __getstate__(self) -> dict:
        return vars(self) | {"made": None, "version": None}

    def forward(self, *arguments: Any, **options: Any) -> Any:
        device = next(self.module.parameters()).device
        if (
            torch.is_grad_enabled()
            or self.module.training
            or any(a.device != device for a in arguments if isinstance(a, torch.Tensor))
        ):
            return type(self.module).forward(self.module, *arguments, **options)
        version = weights_version(self.module)
        if version != self.version:
            self.made = form_of(self.form, self.module, self.engine, self.dtype)
            self.version = version
        return self.made(*arguments, **options)


def compiled(function: Callable, device: torch.device) -> Callable:
    """torch.compile for fixed shapes; on a GPU as CUDA graphs, whose outputs are copied out."""
    if device.type != "cuda":
        return torch.compile(function, dynamic=False)
    graphed = torch.compile(function, dynamic=False, mode="reduce-overhead")

    def run(*arguments: Any) -> Any:
        torch.compiler.cudagraph_mark_step_begin()
        return pytree.tree_map_only(torch.Tensor, torch.clone, graphed(*arguments))

    return run


def form_of(kind: type, module: nn.Module, engine: str, dtype: torch.dtype | None) -> Any:
    """A module's inference form, a `kind`, whose `run` (tensors alone, no random numbers) is run by
    the engine."""
    if engine == "openvino" and issubclass(kind, InferenceInpainter) and not has_avx512():
        engine = "eager"  # compiling it for AVX2, OpenVINO 2026.0 and 2026.4 end the process
    if engine == "openvino":
        dtype, precision = torch.float32, openvino_precision(dtype)
    options = {}
    if kind is InferenceSynthesis:  # the others write nothing in place that a graph could not
        options["functional"] = engine != "eager"
    form = kind(module, dtype, **options)
    if engine == "compile":
        form.run = compiled(form.run, next(module.parameters()).device)
    elif engine == "openvino":
        if issubclass(kind, InferenceInpainter):
            module = with_instance_norms(form.network)
        form.run = Converted(form.run, module, precision)
    return form
