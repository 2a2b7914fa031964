"""Inference forms: the same functions as the definitions, installed and removed without a trace."""

import copy
import functools
import importlib.util

import numpy as np
import pytest
import torch
from test_pipelines import mask_of, middle_hole, photo, seeded, tiny_gan, tiny_pipeline

from inpaint_hub import (
    DualPathPipeline,
    InvertFillEncoder,
    InvertFillPipeline,
    PSPEncoder,
    PSPPipeline,
)
from inpaint_hub.engines.encoder import InferenceEncoder, fold_batch_norm, fold_inside
from inpaint_hub.engines.install import Substitute, form_of
from inpaint_hub.engines.openvino import with_instance_norms
from inpaint_hub.engines.precision import best_dtype, has_avx512
from inpaint_hub.engines.synthesis import InferenceSynthesis
from inpaint_hub.engines.up_convolution import UP_FORMS

ARGUMENTS = (photo(), mask_of(middle_hole()))


def relative_error(value, expected):
    return ((value.float() - expected).abs().max() / expected.abs().max()).item()


def psnr(value, expected, peak):
    return 10 * np.log10(peak**2 / np.mean((np.asarray(value, float) - expected) ** 2))


@pytest.fixture(scope="module")
def gan():
    torch.manual_seed(0)
    gan = tiny_gan().eval()
    for name, parameter in gan.named_parameters():
        if name.endswith("bias"):
            parameter.data.normal_(mean=float(name.endswith("affine.bias")), std=0.5)
    return gan


def synthesis_inputs(gan, count):
    random = seeded(count)
    features = {
        r: torch.randn(count, gan.channels_at(r), r, r, generator=random) for r in (4, 16, 32)
    }
    rgb_features = {8: torch.randn(count, 3, 8, 8, generator=random)}
    return torch.randn(count, gan.num_ws, gan.w_dim, generator=random), features, rgb_features


@pytest.mark.parametrize("noise_mode", ["const", "random", "none"])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("options", [{}, {"tuned": False}, {"functional": True}], ids=str)
@torch.no_grad()
def test_the_generators_inference_form_is_the_generator(gan, noise_mode, count, options):
    inputs = synthesis_inputs(gan, count)
    generators = [[seeded(s) for s in range(count)] for _ in range(2)]
    expected, activations = gan.synthesis(*inputs, noise_mode, generators[0], True)
    form = InferenceSynthesis(gan.synthesis, torch.float32, **options)
    picture = form(*inputs, noise_mode, generators[1])
    assert relative_error(picture, expected) < 1e-4
    again, kept = form(*inputs, noise_mode, [seeded(s) for s in range(count)], True)
    assert relative_error(again, expected) < 1e-4
    for r in activations:
        assert relative_error(kept[r], activations[r]) < 1e-4


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("up_form", UP_FORMS)
@torch.no_grad()
def test_every_form_of_every_convolution_gives_the_same(gan, up_form, fold, in_place):
    ws, *_ = synthesis_inputs(gan, 1)
    form = InferenceSynthesis(gan.synthesis, torch.float32)
    styles, demodulations = form.styles(ws)
    for (r, name), layer in form.layers.items():
        styled = getattr(gan.synthesis.blocks[str(r)], name)
        size = r // 2 if layer.up else r
        x = torch.randn(1, styled.conv.weight.shape[1], size, size, generator=seeded(r))
        row = form.rows[form.names.index((r, name))]
        candidate = (up_form if layer.up else "plain", fold)
        noise = layer.noise_const
        result = layer.apply(
            candidate,
            x.clone().contiguous(memory_format=torch.channels_last),
            styles[r, name],
            demodulations[r, name],
            noise,
            in_place,
        )
        assert relative_error(result, styled(x, ws[:, row])) < 1e-4
        assert result.is_contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def test_the_quickest_form_is_looked_for_once_for_sizes_up_to_a_power_of_two(gan):
    form = InferenceSynthesis(gan.synthesis, torch.float32)
    for count in (1, 3, 4, 1):
        form(*synthesis_inputs(gan, count))
    layer = form.layers[32, "up_conv"]
    assert set(layer.choices) == {(1, 16, 16, 16), (4, 16, 16, 16)}
    assert set(layer.kernels) == {name for name, _ in layer.choices.values()}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.no_grad()
def test_half_precision_pictures_are_close(gan, dtype):
    inputs = synthesis_inputs(gan, 3)
    expected = gan.synthesis(*inputs)
    picture = InferenceSynthesis(gan.synthesis, dtype)(*inputs)
    assert picture.dtype == torch.float32
    assert psnr(picture, expected.numpy(), peak=2 * expected.abs().max().item()) > 45


@torch.no_grad()
def test_large_styles_do_not_overflow_in_fp16(gan):
    gan = copy.deepcopy(gan)
    for block in gan.synthesis.blocks.values():
        block.conv.conv.affine.bias.fill_(3e4)
    ws, *_ = synthesis_inputs(gan, 2)
    picture = InferenceSynthesis(gan.synthesis, torch.float16)(ws)
    assert relative_error(picture, gan.synthesis(ws)) < 0.02


def test_wrong_inputs_are_the_definitions_errors(gan):
    form = InferenceSynthesis(gan.synthesis)
    with pytest.raises(ValueError, match="noise_mode is 'loud'"):
        form(torch.zeros(1, gan.num_ws, 16), noise_mode="loud")
    with pytest.raises(ValueError, match="ws has shape"):
        form(torch.zeros(1, 3, 16))


def encoder_of(cls, backbone):
    torch.manual_seed(0)
    sizes = {"backbone": backbone, "backbone_width": 16, "style_channels": 16}
    if cls is PSPEncoder:
        encoder = PSPEncoder(resolution=32, w_dim=16, **sizes)
    else:
        tiny = {"resolution": 32, "w_dim": 16, "channel_base": 256, "channel_max": 16}
        encoder = InvertFillEncoder(**tiny, **sizes, structure_channels=16)
        for conv in encoder.image_branch.to_features.values():
            torch.nn.init.normal_(conv.weight, std=0.1)
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 2)
            module.bias.data.normal_()
    return encoder.eval()


def tensors_of(value):
    if isinstance(value, torch.Tensor):
        return [value]
    value = value.values() if isinstance(value, dict) else value
    return [tensor for item in value for tensor in tensors_of(item)]


@pytest.mark.parametrize(
    "cls, backbone",
    [(PSPEncoder, "irse50"), (InvertFillEncoder, "resnet34"), (InvertFillEncoder, "small")],
)
@torch.no_grad()
def test_an_encoders_inference_form_is_the_encoder(cls, backbone):
    encoder = encoder_of(cls, backbone)
    inputs = torch.randn(2, 3, 32, 32), (torch.rand(2, 1, 32, 32) > 0.5).float()
    expected = tensors_of(encoder(*inputs))
    form = InferenceEncoder(encoder, torch.float32)
    results = tensors_of(form(*inputs))
    assert len(results) == len(expected)
    assert all(relative_error(a, b) < 1e-4 for a, b in zip(results, expected))
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in form.network.modules()) or (
        backbone == "irse50"  # its units begin with one, before a padded convolution
    )
    if backbone == "irse50":
        return  # slow in bf16 on most test machines
    halves = tensors_of(InferenceEncoder(encoder, torch.bfloat16)(*inputs))
    assert all(relative_error(a, b) < 0.05 for a, b in zip(halves, expected))


@torch.no_grad()
def test_blur_and_strided_convolution_may_be_one():
    encoder = encoder_of(InvertFillEncoder, "small")
    branch = copy.deepcopy(encoder.image_branch)
    fold_inside(branch, one_step=True)
    inputs = torch.randn(2, 3, 32, 32), torch.rand(2, 1, 32, 32)
    expected = encoder.image_branch(*inputs)
    assert all(relative_error(f, expected[r]) < 1e-4 for r, f in branch(*inputs).items())


@torch.no_grad()
def test_a_batch_norm_folds_into_a_convolution_with_a_bias():
    conv, norm = torch.nn.Conv2d(3, 5, 3), torch.nn.BatchNorm2d(5).eval()
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    x = torch.randn(2, 3, 8, 8)
    assert relative_error(fold_batch_norm(conv, norm)(x), norm(conv(x))) < 1e-5


@pytest.fixture(
    params=[InvertFillPipeline, PSPPipeline, DualPathPipeline], ids=lambda cls: cls.__name__
)
def pipe(request):
    return tiny_pipeline(request.param)


OPTIONS = [
    {},
    {"noise_mode": "none"},
    {"num_images_per_prompt": 2, "variation": 0.3, "generator": [1, 2]},
]


def called(pipe, options, **more):
    options = dict(options)
    if "generator" in options:
        options["generator"] = [seeded(s) for s in options["generator"]]
    return pipe(*ARGUMENTS, **options, **more)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_an_optimized_pipeline_fills_alike(pipe, options):
    expected = called(pipe, options)
    pipe.optimize(dtype=torch.float32)
    result = called(pipe, options)
    assert relative_error(result.generated, expected.generated) < 1e-4
    plain = pipe.optimize(engine=None)
    assert torch.equal(called(plain, options).generated, expected.generated)


def test_every_network_of_a_pipeline_has_a_form(pipe):
    pipe.optimize(dtype=torch.float32)
    called(pipe, {})
    networks = [pipe.gan.synthesis, *(n for k, n in pipe.components.items() if k != "gan")]
    for network in networks:
        assert isinstance(network.forward.__self__, Substitute), type(network).__name__
        assert network.forward.__self__.made is not None, type(network).__name__


def test_bf16_keeps_known_pixels_and_comes_close_in_the_hole(pipe):
    expected = np.array(called(pipe, {}).images[0], float)
    result = np.array(called(pipe.optimize(dtype=torch.bfloat16), {}).images[0], float)
    known = ~middle_hole()
    assert np.array_equal(result[known], np.array(photo(), float)[known])
    assert psnr(result, expected, peak=255) >= 45


def test_optimizing_changes_nothing_that_is_saved(pipe, tmp_path):
    pipe.save_pretrained(tmp_path / "before")
    keys = list(pipe.gan.state_dict()), list(pipe.encoder.state_dict())
    pipe.optimize(dtype=torch.bfloat16)
    called(pipe, {})
    pipe.save_pretrained(tmp_path / "after")
    assert (list(pipe.gan.state_dict()), list(pipe.encoder.state_dict())) == keys
    files = {
        p.relative_to(tmp_path / "before"): p.read_bytes()
        for p in (tmp_path / "before").rglob("*")
        if p.is_file()
    }
    assert len(files) >= 7
    for name, content in files.items():
        assert (tmp_path / "after" / name).read_bytes() == content, name
    assert type(pipe).from_pretrained(tmp_path / "after").dtype == torch.float32


def test_the_forms_follow_the_weights(pipe):
    def inverted(result):
        return getattr(result, "inverted", result.generated)

    pipe.optimize(dtype=torch.float32)
    first = inverted(called(pipe, {}))
    with torch.no_grad():
        pipe.gan.synthesis.blocks["32"].to_rgb.bias.add_(1)
    assert relative_error(inverted(called(pipe, {})), first + 1) < 1e-4
    for name in set(pipe.components) - {"gan"}:
        before = called(pipe, {}).generated
        with torch.no_grad():
            for parameter in getattr(pipe, name).parameters():
                parameter.mul_(1.2)
        changed = called(pipe, {}).generated
        assert relative_error(changed, before) > 1e-4
        assert relative_error(called(pipe.optimize(None), {}).generated, changed) < 1e-4
        pipe.optimize(dtype=torch.float32)


def test_gradients_come_from_the_definition(pipe):
    pipe.optimize(dtype=torch.bfloat16)
    ws = torch.randn(1, pipe.gan.num_ws, 16, requires_grad=True)
    picture = pipe.gan.synthesis(ws)
    picture.sum().backward()
    assert ws.grad.abs().max() > 0
    assert torch.equal(picture, type(pipe.gan.synthesis).forward(pipe.gan.synthesis, ws))


def test_a_copy_of_an_optimized_network_is_its_own(pipe):
    pipe.optimize(dtype=torch.float32)
    called(pipe, {})
    twin = copy.deepcopy(pipe.gan)
    with torch.no_grad():
        twin.synthesis.blocks["32"].to_rgb.bias.add_(1)
        ws = torch.randn(1, twin.num_ws, 16)
        assert relative_error(twin.synthesis(ws), pipe.gan.synthesis(ws) + 1) < 1e-4


def test_results_may_be_modified_and_latents_optimized(pipe):
    pipe.optimize(dtype=torch.float32)
    called(pipe, {}).generated.add_(1)
    latent = called(pipe, {}, output_type="latent").images
    ws = latent.ws.requires_grad_()
    pipe.generate(latent._replace(ws=ws)).sum().backward()
    assert ws.grad is not None


def test_bf16_is_chosen_where_the_cpu_multiplies_in_it(monkeypatch):
    cpu, capabilities = torch.device("cpu"), {}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert best_dtype(cpu, torch.float32) == torch.float32
    for name in ("amx_bf16", "avx512_bf16"):
        capabilities = {name: True}
        assert best_dtype(cpu, torch.float32) == torch.bfloat16
    assert best_dtype(cpu, torch.float16) == torch.float16


@pytest.mark.parametrize("options", [{"engine": "tensorrt"}, {"dtype": torch.int8}], ids=str)
def test_unknown_engines_and_dtypes_are_errors(pipe, options):
    with pytest.raises(ValueError, match="expected one of"):
        pipe.optimize(**options)


def test_offloaded_networks_are_optimized_before(pipe):
    pipe.enable_model_cpu_offload(device="cpu")
    with pytest.raises(ValueError, match="call optimize first"):
        pipe.optimize()
    pipe.remove_all_hooks()
    expected = called(pipe, {}).generated
    pipe.optimize(dtype=torch.float32).enable_model_cpu_offload(device="cpu")
    assert relative_error(called(pipe, {}).generated, expected) < 1e-4


def test_without_openvino_the_engine_is_eager(pipe, monkeypatch):
    expected = called(pipe, {}).generated
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "openvino" else find(name)
    )
    with pytest.warns(UserWarning, match="pip install .*the engine is 'eager'"):
        pipe.optimize("openvino", dtype=torch.float32)
    assert relative_error(called(pipe, {}).generated, expected) < 1e-4


@torch.no_grad()
def test_instance_norms_do_what_group_norms_of_one_channel_do():
    pipe = tiny_pipeline(DualPathPipeline)
    torch.manual_seed(1)
    for norm in (m for m in pipe.inpainter.modules() if isinstance(m, torch.nn.GroupNorm)):
        torch.nn.init.normal_(norm.weight, 1, 0.2)
        torch.nn.init.normal_(norm.bias, std=0.2)
    expected = called(pipe, {}).generated
    with_instance_norms(pipe.inpainter)
    assert not any(isinstance(m, torch.nn.GroupNorm) for m in pipe.inpainter.modules())
    assert relative_error(called(pipe, {}).generated, expected) < 1e-5


@pytest.mark.skipif(not importlib.util.find_spec("openvino"), reason="an optional extra")
@pytest.mark.parametrize("avx512", [False, True])
def test_openvino_runs_dual_path_and_its_inpainter_on_avx512(tmp_path, monkeypatch, avx512):
    if avx512 and not has_avx512():
        pytest.skip("this processor has no AVX-512")
    install = importlib.import_module("inpaint_hub.engines.install")  # not its function
    monkeypatch.setattr(install, "has_avx512", lambda: avx512)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    pipe = tiny_pipeline(DualPathPipeline)
    expected = called(pipe, OPTIONS[2])
    result = called(pipe.optimize("openvino", dtype=torch.float32), OPTIONS[2])
    assert relative_error(result.generated, expected.generated) < 1e-4
    assert relative_error(result.inverted, expected.inverted) < 1e-4
    for r, offset in expected.offsets.items():
        assert relative_error(result.offsets[r], offset) < 1e-3
    assert len(list(tmp_path.rglob("*.xml"))) == (3 if avx512 else 2)


@pytest.mark.skipif(not importlib.util.find_spec("openvino"), reason="an optional extra")
def test_openvino_converts_once_and_fills_alike(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    pipe = tiny_pipeline(PSPPipeline)
    expected = called(pipe, OPTIONS[2]).generated
    pipe.optimize("openvino", dtype=torch.float32)
    assert relative_error(called(pipe, OPTIONS[2]).generated, expected) < 1e-4
    files = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.xml")}
    assert len(files) == 2
    pipe.optimize("openvino", dtype=torch.float32)
    assert relative_error(called(pipe, OPTIONS[2]).generated, expected) < 1e-4
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.xml")} == files
    with torch.no_grad():
        pipe.gan.synthesis.blocks["32"].to_rgb.bias.add_(1)
    assert relative_error(called(pipe, OPTIONS[2]).generated, expected + 1) < 1e-4


@torch.no_grad()
def test_a_generator_is_compiled_as_one_graph(gan, monkeypatch):
    compile = functools.partial(torch.compile, backend="eager", fullgraph=True)
    monkeypatch.setattr(torch, "compile", compile)  # the real back end takes a minute
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    form = form_of(InferenceSynthesis, gan.synthesis, "compile", torch.float32)
    for count in (2, 1, 2, 1):
        inputs = synthesis_inputs(gan, count)
        assert relative_error(form(*inputs), gan.synthesis(*inputs)) < 1e-4
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2  # one for each batch size
