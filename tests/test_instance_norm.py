"""Instance norm by hand, in both layouts and forward as back; and Gram matrices' gradients."""

import pytest
import torch
import torch.nn.functional as F

from inpaint_hub.dualpath.instance_norm import SMALL_PX, InstanceNorm2d
from inpaint_hub.losses.perceptual import gram

SIZES = [(4, 5), (32, 33)]  # on both sides of SMALL_PX
LAYOUTS = [torch.contiguous_format, torch.channels_last]


def norm_of(channels=3, **options):
    norm = InstanceNorm2d(channels)
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        norm.weight.copy_(torch.rand(channels, generator=random) + 0.5)
        norm.bias.copy_(torch.randn(channels, generator=random))
    return norm.to(**options)


def picture(size, layout, dtype=torch.float64):
    x = 2 * torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0)) + 1
    return x.to(dtype).to(memory_format=layout).requires_grad_()


def by_definition(norm, x):
    variance, mean = torch.var_mean(x, dim=(2, 3), correction=0, keepdim=True)
    normalized = (x - mean) / (variance + norm.eps).sqrt()
    return normalized * norm.weight[:, None, None] + norm.bias[:, None, None]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_it_and_its_gradients_are_the_definitions(size, layout):
    assert (size[0] * size[1] < SMALL_PX) == (size == SIZES[0])
    norm, x = norm_of(dtype=torch.float64), picture(size, layout)
    wanted = (x, norm.weight, norm.bias)
    towards = torch.randn(x.shape, generator=torch.Generator().manual_seed(2), dtype=x.dtype)
    found, expected = norm(x), by_definition(norm, x)
    torch.testing.assert_close(found, expected)
    found = torch.autograd.grad(found, wanted, towards)
    for one, other in zip(found, torch.autograd.grad(expected, wanted, towards)):
        torch.testing.assert_close(one, other)
    with torch.no_grad():
        torch.testing.assert_close(norm(x), expected)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_maps_and_gradients_keep_layout_and_precision(size, dtype):
    norm, x = norm_of(), picture(size, torch.channels_last, dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16):
        y = norm(x)
    towards = torch.randn(x.shape, generator=torch.Generator().manual_seed(2)).to(dtype)
    towards = towards.contiguous(memory_format=torch.channels_last)
    (gradient,) = torch.autograd.grad(y, x, towards)
    assert y.dtype == gradient.dtype == dtype
    assert y.is_contiguous(memory_format=torch.channels_last)
    if size == SIZES[1]:
        assert gradient.is_contiguous(memory_format=torch.channels_last)
    exact = picture(size, torch.contiguous_format, torch.float64)
    expected = by_definition(norm_of(dtype=torch.float64), exact.to(dtype).double())
    (exact_gradient,) = torch.autograd.grad(expected, exact, towards.double())
    scale = {torch.float32: 1e-4, torch.bfloat16: 0.03}[dtype]
    for one, other in ((y, expected), (gradient, exact_gradient)):
        assert (one.double() - other).abs().max() < scale * other.abs().max()


def test_its_weights_are_those_of_a_group_norm():
    norm = norm_of()
    group_norm = torch.nn.GroupNorm(3, 3)
    group_norm.load_state_dict(norm.state_dict())
    x = picture((6, 7), torch.contiguous_format, torch.float32)
    torch.testing.assert_close(norm(x), group_norm(x))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_gram_matrix_and_its_gradient_are_the_definitions(layout):
    x = picture((4, 5), layout, torch.float32)
    expected = torch.einsum("nchw,ndhw->ncd", x, x)
    torch.testing.assert_close(gram(x), expected)
    # Not symmetric: both factors' halves have to arrive.
    towards = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2))
    (found,) = torch.autograd.grad(gram(x), x, towards)
    torch.testing.assert_close(found, *torch.autograd.grad(expected, x, towards))
    if layout is torch.channels_last:
        assert found.is_contiguous(memory_format=layout)
    half = x.detach().half()
    assert gram(F.pad(half, (0, 200, 0, 200), value=300.0)).isfinite().all()
