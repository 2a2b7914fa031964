"""The hard constraint on tensors."""

import pytest
import torch

from inpaint_hub.compositing import composite, mask_out


@pytest.fixture
def parts():
    generator = torch.Generator().manual_seed(0)
    image, generated = torch.randn(2, 2, 3, 8, 8, generator=generator)
    mask = (torch.rand(2, 1, 8, 8, generator=generator) > 0.5).float()
    return image, generated, mask


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_known_values_are_equal_and_hole_values_generated(parts, dtype):
    image, generated, mask = (x.to(dtype) for x in parts)
    result = composite(image, generated, mask)
    hole = (mask > 0.5).expand_as(image)
    assert torch.equal(result[~hole], image[~hole])
    assert torch.equal(result[hole], generated[hole])


def test_nan_neither_enters_the_network_nor_leaves_the_hole(parts):
    image, generated, mask = parts
    hole = (mask > 0.5).expand_as(image)
    broken = torch.where(hole, torch.nan, image)
    assert torch.equal(mask_out(broken, mask), mask_out(image, mask))
    unknown = torch.where(hole, generated, torch.nan)
    assert torch.isfinite(composite(image, unknown, mask)).all()


def test_swapped_polarity_would_be_seen(parts):
    image, _, mask = parts
    assert (mask_out(image, mask)[(mask > 0.5).expand_as(image)] == 0).all()
    assert not torch.equal(mask_out(image, 1 - mask), mask_out(image, mask))


def test_a_full_mask_takes_everything_and_an_empty_one_nothing(parts):
    image, generated, mask = parts
    assert torch.equal(composite(image, generated, torch.ones_like(mask)), generated)
    assert torch.equal(composite(image, generated, torch.zeros_like(mask)), image)
