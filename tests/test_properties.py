"""The hard constraint on pictures, masks and options that nobody thought of."""

import io
import tempfile
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from test_pipelines import grown, tiny_pipeline

from inpaint_hub import DualPathPipeline, InvertFillPipeline, PSPPipeline
from inpaint_hub.blending import BLENDS
from inpaint_hub.formats import open_picture, save_picture, target_for
from inpaint_hub.images import read_images, read_masks

PIPELINES = {c.__name__: tiny_pipeline(c) for c in (InvertFillPipeline, PSPPipeline)}
PIPELINES["DualPathPipeline"] = tiny_pipeline(DualPathPipeline)
for pipe in PIPELINES.values():
    pipe.set_progress_bar_config(disable=True)
PIL_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I;16", "I", "F")
ARRAYS = (np.uint8, np.uint16, np.float16, np.float32, np.float64, np.bool_)
TENSORS = (torch.uint8, torch.float32, torch.float16, torch.bfloat16)
GATE, SLOW = 200, 2000
COMMON = {
    "deadline": None,  # no test depends on an idle machine
    "derandomize": True,
    "suppress_health_check": list(HealthCheck),
    "database": None,
}


def pil_picture(mode, size, rng):
    width, height = size
    if mode in ("I;16", "I", "F"):
        kinds = {"I;16": (np.uint16, 65536), "I": (np.int32, 2**31 - 1), "F": (np.float32, 256)}
        dtype, top = kinds[mode]
        return Image.fromarray(rng.integers(0, top, (height, width)).astype(dtype))
    if mode == "1":
        return Image.fromarray(rng.random((height, width)) < 0.5)
    if mode == "P":
        return Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).quantize(7)
    channels = len(Image.new(mode, (1, 1)).getbands())
    values = rng.integers(0, 256, (height, width, channels), np.uint8)
    return Image.frombytes(mode, size, values.tobytes())


@st.composite
def pictures(draw):
    """A picture of any kind that users may give."""
    size = draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["pil", "array", "tensor"]))
    if kind == "pil":
        return pil_picture(draw(st.sampled_from(PIL_MODES)), size, rng)
    channels = draw(st.sampled_from([None, 1, 3, 4]))
    shape = (size[1], size[0]) + ((channels,) if channels else ())
    if kind == "array":
        dtype = draw(st.sampled_from(ARRAYS))
        if np.dtype(dtype).kind == "f":
            return rng.random(shape).astype(dtype)
        top = 2 if dtype is np.bool_ else np.iinfo(dtype).max + 1
        return rng.integers(0, top, shape).astype(dtype)
    values = torch.from_numpy(rng.integers(0, 256, shape, np.uint8))
    values = values.permute(2, 0, 1) if channels else values
    dtype = draw(st.sampled_from(TENSORS))
    return values if dtype == torch.uint8 else (values.float() / 255).to(dtype)


@st.composite
def holes(draw, size):
    """A hole of any shape: none, all, a box, specks, a line, or a random half."""
    width, height = size
    hole = np.zeros((height, width), bool)
    kind = draw(st.sampled_from(["none", "all", "box", "pixel", "row", "column", "specks", "half"]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x, y = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    if kind == "all":
        hole[:] = True
    elif kind == "box":
        hole[y : y + draw(st.integers(1, 40)), x : x + draw(st.integers(1, 40))] = True
    elif kind == "pixel":
        hole[y, x] = True
    elif kind == "row":
        hole[y] = True
    elif kind == "column":
        hole[:, x] = True
    elif kind != "none":
        hole = rng.random((height, width)) < (0.03 if kind == "specks" else 0.5)
    return hole


OPTIONS = st.fixed_dictionaries(
    {
        "padding_mask_crop": st.sampled_from([None, 0, 3, 10**6]),
        "mask_dilate": st.sampled_from([0, 0, 1, 3, 10**8]),
        "mask_blur": st.sampled_from([0, 0, 2, 50]),
        "blend": st.sampled_from(BLENDS),
        "variation": st.sampled_from([0.0, 0.7]),
        "noise_mode": st.sampled_from(["const", "random", "none"]),
    }
)


def known_values(image, mode):
    """The values of a picture in the kind that its result has."""
    if isinstance(image, torch.Tensor):
        image = image.movedim(0, -1) if image.ndim == 3 else image
        return image.float().numpy()
    if isinstance(image, Image.Image):
        image = image if mode.startswith("I") else image.convert(mode)
    return np.asarray(image)


def size_of(image):
    if isinstance(image, Image.Image):
        return image.size
    shape = tuple(image.shape)
    if isinstance(image, torch.Tensor):
        shape = shape[-2:]
    return shape[1], shape[0]


def check_known_pixels(data, networks):
    """networks: let them answer; else any values stand for their answer, which is quicker, and no
    answer may reach what is known."""
    image = data.draw(pictures())
    size = size_of(image)
    hole = data.draw(holes(size))
    options = data.draw(OPTIONS)
    pipe = PIPELINES[data.draw(st.sampled_from(sorted(PIPELINES)))]
    before = known_values(image, getattr(image, "mode", ""))
    if networks:
        (result,) = pipe(image, hole, output_type="native", **options).images
    else:
        given = {name: options[name] for name in ("padding_mask_crop", "mask_dilate")}
        prepared = pipe.preprocess(image, hole, **given)
        answer = torch.randn(len(prepared.windows), 3, pipe.resolution, pipe.resolution)
        answer *= data.draw(st.sampled_from([0.5, 1.0, 1e6, float("nan"), float("inf")]))
        seams = {name: options[name] for name in ("mask_blur", "blend")}
        (result,) = pipe.composite(prepared, answer, **seams)
    assert type(result) is type(image) or isinstance(result, Image.Image)
    assert size_of(result) == size
    mode = getattr(result, "mode", "")
    repainted = grown(hole, min(options["mask_dilate"], 64))
    after, expected = known_values(result, mode), known_values(image, mode)
    assert np.array_equal(after[~repainted], expected[~repainted])
    assert np.array_equal(before, known_values(image, getattr(image, "mode", "")))  # untouched
    if mode in ("LA", "RGBA"):
        assert np.array_equal(after[..., -1], expected[..., -1])


@pytest.mark.filterwarnings("ignore")  # of casts from what is no number
@settings(max_examples=GATE, **COMMON)
@given(st.data())
def test_known_values_come_back_whatever_is_given(data):
    check_known_pixels(data, networks=False)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@hypothesis.seed(1)
@settings(max_examples=SLOW, **{**COMMON, "derandomize": False})
@given(st.data())
def test_known_values_come_back_in_thousands_of_cases(data):
    check_known_pixels(data, networks=False)


@pytest.mark.slow
@hypothesis.seed(2)
@settings(max_examples=GATE, **{**COMMON, "derandomize": False})
@given(st.data())
def test_known_values_come_back_with_what_the_networks_say(data):
    check_known_pixels(data, networks=True)


@settings(max_examples=100, **COMMON)
@given(st.data())
def test_files_give_back_what_was_written(data):
    mode = data.draw(
        st.sampled_from(["1", "L", "LA", "RGB", "RGBA", "CMYK", "LAB", "I;16", "I", "F"])
    )
    size = data.draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    image = pil_picture(mode, size, np.random.default_rng(data.draw(st.integers(0, 10**6))))
    buffer = io.BytesIO()
    image.save(buffer, "TIFF")
    picture = open_picture(buffer.getvalue())
    hole = data.draw(holes(size))
    result = picture.fill(np.full((size[1], size[0], 3), 0.3, np.float32), hole)
    with tempfile.TemporaryDirectory() as folder:
        path = target_for(Path(folder) / "out.png", result)
        save_picture(result, path, picture.metadata)
        again = open_picture(path)
    assert np.array_equal(again.native[~hole], picture.native[~hole].astype(again.native.dtype))


@settings(max_examples=100, **COMMON)
@given(st.data())
def test_every_mask_is_read_alike_whatever_it_is(data):
    size = data.draw(st.tuples(st.integers(2, 20), st.integers(2, 20)))
    hole = data.draw(holes(size))
    picture = read_images(np.zeros((size[1], size[0], 3), np.uint8))
    low, high = sorted(data.draw(st.sets(st.integers(0, 255), min_size=2, max_size=2)))
    values = np.where(hole, high, low).astype(np.uint8)
    (read,) = read_masks(Image.fromarray(values), picture)
    if hole.any() and not hole.all():
        assert np.array_equal(read, hole)
    else:  # one value alone: white is white
        white = (high if hole.all() else low) >= (1 if values.max() <= 1 else 128)
        assert read.all() == read.any() == white
