"""The contract: every kind of picture comes back as it came, with equal values outside the mask."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from inpaint_hub.images import (
    read_images,
    read_masks,
    to_pixels,
    to_tensor,
    to_unit,
    write_pictures,
)

SIZE = (9, 6)  # width, height


def noise(*shape, top=256, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, top, shape, dtype=dtype)


def hole():
    mask = np.zeros(SIZE[::-1], bool)
    mask[1:4, 2:7] = True
    return mask


def paint(picture, mask=None):
    """Red everywhere in the hole."""
    red = np.zeros((*picture.size[::-1], 3), np.float32)
    red[..., 0] = 1
    return picture.fill(red, hole() if mask is None else mask)


def pil_pictures():
    rgb = Image.fromarray(noise(6, 9, 3))
    palette = rgb.quantize(16)
    transparent = palette.copy()
    transparent.info["transparency"] = 3
    return {
        "RGB": rgb,
        "RGBA": Image.fromarray(noise(6, 9, 4), "RGBA"),
        "L": Image.fromarray(noise(6, 9)),
        "LA": Image.fromarray(noise(6, 9, 2), "LA"),
        "P": palette,
        "P transparent": transparent,
        "1": Image.fromarray(noise(6, 9, top=2).astype(bool)),
        "CMYK": Image.frombytes("CMYK", SIZE, noise(6, 9, 4).tobytes()),
        "YCbCr": Image.frombytes("YCbCr", SIZE, noise(6, 9, 3).tobytes()),
        "HSV": Image.frombytes("HSV", SIZE, noise(6, 9, 3).tobytes()),
        "LAB": Image.frombytes("LAB", SIZE, noise(6, 9, 3).tobytes()),
        "I;16": Image.fromarray(noise(6, 9, top=65536, dtype=np.uint16)),
        "I;16B": Image.frombytes("I;16B", SIZE, noise(6, 9, 2).tobytes()),
        "I": Image.fromarray(noise(6, 9, top=65536, dtype=np.int32)),
        "I to 255": Image.fromarray(noise(6, 9, dtype=np.int32)),
        "I beyond 16 bit": Image.fromarray(noise(6, 9, top=2**31 - 1, dtype=np.int32)),
        "F": Image.fromarray(np.random.default_rng(0).random((6, 9), np.float32)),
        "F to 255": Image.fromarray(noise(6, 9)).convert("F"),
    }


def values_of(source, mode):
    """The picture's values in the mode its filled form has."""
    return np.array(source) if source.mode.startswith("I") else np.array(source.convert(mode))


KEPT_MODE = {"I;16B": "I;16", "P": "RGB", "P transparent": "RGBA", "1": "L"}


@pytest.mark.parametrize("kind", sorted(pil_pictures()))
def test_pil_pictures_keep_mode_and_known_values(kind):
    source = pil_pictures()[kind]
    mode = KEPT_MODE.get(kind, source.mode)
    filled = paint(read_images(source)[0])
    assert filled.mode == mode and filled.size == SIZE
    before, after = values_of(source, mode), np.array(filled)
    assert np.array_equal(before[~hole()], after[~hole()])
    assert not np.array_equal(before[hole()], after[hole()])
    if mode in ("RGBA", "LA"):
        assert np.array_equal(before[..., -1], after[..., -1])


@pytest.mark.parametrize("kind", sorted(pil_pictures()))
def test_without_a_hole_nothing_changes(kind):
    source = pil_pictures()[kind]
    same = paint(read_images(source)[0], np.zeros(SIZE[::-1], bool))
    assert np.array_equal(values_of(source, same.mode), np.array(same))


ARRAYS = {
    "uint8 rgb": noise(6, 9, 3),
    "uint8 rgba": noise(6, 9, 4),
    "uint8 gray": noise(6, 9),
    "uint8 gray 1": noise(6, 9, 1),
    "uint16 rgb": noise(6, 9, 3, top=65536, dtype=np.uint16),
    "float32": np.random.default_rng(0).random((6, 9, 3), np.float32),
    "float64": np.random.default_rng(0).random((6, 9, 3)),
    "float16": np.random.default_rng(0).random((6, 9, 3)).astype(np.float16),
    "bool": noise(6, 9, top=2).astype(bool),
    "bool rgb": noise(6, 9, 3, top=2).astype(bool),
    "not contiguous": noise(9, 6, 3).transpose(1, 0, 2)[:, ::-1],
}


@pytest.mark.parametrize("kind", sorted(ARRAYS))
def test_arrays_keep_shape_dtype_and_known_values(kind):
    source = ARRAYS[kind]
    filled = paint(read_images(source)[0])
    assert filled.shape == source.shape and filled.dtype == source.dtype
    assert np.array_equal(filled[~hole()], source[~hole()])
    assert not np.array_equal(filled[hole()], source[hole()])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_tensors_keep_shape_dtype_and_known_values(dtype, channels):
    source = torch.from_numpy(noise(channels, 6, 9))
    source = source if dtype == torch.uint8 else (source.float() / 255).to(dtype)
    filled = paint(read_images(source)[0])
    assert filled.shape == source.shape and filled.dtype == dtype
    known = torch.from_numpy(~hole())
    assert torch.equal(filled[:, known], source[:, known])
    assert not torch.equal(filled, source)


@pytest.mark.parametrize("kind", sorted(pil_pictures()))
def test_a_single_pixel_is_a_picture(kind):
    source = pil_pictures()[kind].crop((0, 0, 1, 1))
    picture = read_images(source)[0]
    assert picture.size == (1, 1)
    same = paint(picture, np.zeros((1, 1), bool))
    assert np.array_equal(values_of(source, same.mode), np.array(same))
    assert paint(picture, np.ones((1, 1), bool)).size == (1, 1)


@pytest.mark.parametrize("kind", sorted(pil_pictures()))
def test_white_fills_are_read_as_white_again(kind):
    picture = read_images(pil_pictures()[kind])[0]
    filled = picture.fill(np.ones((6, 9, 3), np.float32), hole())
    again = read_images(filled)[0]
    assert again.pixels[hole()].min() >= 254  # LAB rounds


def stored(picture, **kwargs):
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", **kwargs)
    return Image.open(buffer)


def test_transparent_colors_stay_transparent():
    rgba_palette = Image.frombytes("P", (2, 1), bytes([0, 1]))
    rgba_palette.putpalette([1, 2, 3, 4, 5, 6, 7, 255], "RGBA")
    gray = Image.fromarray(np.array([[5, 200]], np.uint8))
    black_and_white = Image.fromarray(np.array([[False, True]]))
    rgb = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
    for source, mode, alpha in (
        (rgba_palette, "RGBA", [4, 255]),
        (stored(gray, transparency=5), "LA", [0, 255]),
        (stored(black_and_white, transparency=0), "LA", [0, 255]),
        (stored(rgb, transparency=(1, 2, 3)), "RGBA", [0, 255]),
    ):
        same = paint(read_images(source)[0], np.zeros((1, 2), bool))
        assert same.mode == mode and np.array(same)[0, :, -1].tolist() == alpha
        assert np.array_equal(values_of(source, mode), np.array(same))


def test_16_bit_gray_with_a_transparent_value_stays_16_bit():
    values = np.array([[300, 40000, 0]], np.uint16)
    source = stored(Image.fromarray(values), transparency=300)
    picture = read_images(source)[0]
    assert picture.pixels[0, :, 0].tolist() == [255, 156, 0]  # the first is seen as white
    same = stored(paint(picture, np.zeros((1, 3), bool)))
    assert same.mode == "I;16" and np.array_equal(np.array(same), values)
    assert same.info["transparency"] == 300


def test_batches_and_lists_are_pictures_in_order():
    array, tensor = noise(4, 6, 9, 3), torch.from_numpy(noise(2, 3, 5, 7))
    pictures = read_images([Image.fromarray(array[0]), array, tensor])
    assert [p.size for p in pictures] == [SIZE] * 5 + [(7, 5)] * 2
    assert np.array_equal(pictures[3].pixels, array[2])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation):
    upright = Image.fromarray(noise(6, 9, 3))
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    upright.save(buffer, "PNG", exif=exif)
    from PIL import ImageOps

    stored = Image.open(buffer)
    expected = np.array(ImageOps.exif_transpose(stored))
    assert np.array_equal(read_images(stored)[0].pixels, expected)


def test_fills_are_rounded_and_gray_takes_the_luma():
    levels = np.linspace(0, 1, 54, dtype=np.float32).reshape(6, 9)
    rgb = np.stack([levels, levels[::-1], levels[:, ::-1]], axis=2)
    everywhere = np.ones((6, 9), bool)
    color = read_images(noise(6, 9, 3))[0].fill(rgb, everywhere)
    assert np.array_equal(color, np.floor(rgb * 255 + 0.5).astype(np.uint8))
    gray = read_images(noise(6, 9))[0].fill(rgb, everywhere)
    expected = np.array(Image.fromarray(color).convert("L"))
    assert np.abs(gray.astype(int) - expected).max() <= 1
    assert read_images(noise(6, 9).astype(bool))[0].fill(rgb, everywhere).dtype == bool


def test_half_transparent_black_is_seen_as_rounded_gray():
    pixels = np.zeros((1, 256, 4), np.uint8)
    pixels[0, :, 3] = np.arange(256)
    pixels[0, :, :3] = 77
    alpha = np.arange(256) / 255
    expected = np.floor(77 * alpha + 255 * (1 - alpha) + 0.5)
    assert np.array_equal(read_images(pixels)[0].pixels[0, :, 0], expected)


def test_transparent_pixels_are_seen_over_white():
    pixels = np.zeros((1, 2, 4), np.uint8)
    pixels[0, 1, 3] = 255  # the second pixel is opaque black
    seen = read_images(Image.fromarray(pixels, "RGBA"))[0].pixels
    assert seen[0].tolist() == [[255, 255, 255], [0, 0, 0]]


def test_color_profile_is_attached_again():
    source = Image.fromarray(noise(6, 9, 3))
    source.info["icc_profile"] = b"profile"
    assert paint(read_images(source)[0]).info["icc_profile"] == b"profile"


@pytest.mark.parametrize(
    "bad, error, message",
    [
        ("photo.png", TypeError, "PIL.Image.open"),
        ([], ValueError, "empty list"),
        (np.zeros((3, 64, 64)), ValueError, "64 channels"),
        (np.zeros((0, 4, 3), np.uint8), ValueError, "1x1"),
        (np.full((4, 4, 3), 255.0), ValueError, "divide by 255"),
        (np.full((4, 4, 3), -1.0), ValueError, "map \\[-1,1\\]"),
        (np.full((4, 4, 3), np.nan), ValueError, "NaN"),
        (np.zeros((4, 4, 3), np.int64), ValueError, "int64"),
        (torch.zeros(64, 64, 3), ValueError, "channels first"),
        (np.zeros(5), ValueError, r"\(5,\)"),
        (np.zeros((4, 4, 3), np.int32), ValueError, "int32"),
        (torch.zeros(1, 2, 3, 4, 5), ValueError, "1, 2, 3, 4, 5"),
        (Image.new("RGB", (0, 0)), ValueError, "1x1"),
        (Image.new("F", (2, 2), -3), ValueError, "-3 to -3"),
        ([None], TypeError, "NoneType"),
    ],
)
def test_bad_pictures_are_errors_that_say_what_to_do(bad, error, message):
    with pytest.raises(error, match=message):
        read_images(bad)


def test_a_truncated_file_is_an_error_of_its_own(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(noise(60, 90, 3)).save(buffer, "PNG")
    (tmp_path / "cut.png").write_bytes(buffer.getvalue()[:4000])
    with pytest.raises(ValueError, match="cannot be decoded"):
        read_images(Image.open(tmp_path / "cut.png"))


MASKS = {
    "L": lambda m: Image.fromarray(m.astype(np.uint8) * 255),
    "1": lambda m: Image.fromarray(m),
    "RGB": lambda m: Image.fromarray(m.astype(np.uint8) * 255).convert("RGB"),
    "alpha only": lambda m: Image.merge(
        "RGBA", [*[Image.new("L", SIZE, 7)] * 3, Image.fromarray(m.astype(np.uint8) * 255)]
    ),
    "16 bit": lambda m: Image.fromarray(m.astype(np.uint16) * 65535),
    "bool": lambda m: m,
    "0 and 1": lambda m: m.astype(np.uint8),
    "int64": lambda m: m.astype(np.int64),
    "0 and 255": lambda m: m.astype(np.uint8) * 255,
    "float": lambda m: m.astype(np.float32),
    "I": lambda m: Image.fromarray(m.astype(np.int32) * 255),
    "F": lambda m: Image.fromarray(m.astype(np.float32) * 255),
    "CMYK": lambda m: Image.fromarray(m.astype(np.uint8) * 255).convert("RGB").convert("CMYK"),
    "tensor": lambda m: torch.from_numpy(m).float(),
    "tensor 1HW": lambda m: torch.from_numpy(m)[None],
    "batch": lambda m: m[None, ..., None],
    "list": lambda m: [m],
}


@pytest.mark.parametrize("kind", sorted(MASKS))
def test_every_kind_of_mask_means_the_same(kind):
    picture = read_images(noise(6, 9, 3))
    assert np.array_equal(read_masks(MASKS[kind](hole()), picture)[0], hole())
    assert np.array_equal(read_masks(MASKS[kind](hole()), picture, invert=True)[0], ~hole())


@pytest.mark.parametrize("size", [(9, 6), (1, 1), (3, 2), (4, 3)])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_a_stack_holds_one_mask_for_each_picture(size, count):
    pictures = read_images([np.zeros((*size[::-1], 3), np.uint8)] * count)
    stack = np.zeros((count, *size[::-1]), np.uint8)
    stack[-1] = 1
    kinds = [torch.from_numpy(stack)]
    if size != (1, 1) or count > 4:  # else an array could as well be [H,W,C]
        kinds.append(stack)
    for masks in kinds:
        assert [m.mean() for m in read_masks(masks, pictures)] == [0] * (count - 1) + [1]


@pytest.mark.parametrize(
    "bad, error, message",
    [
        (np.array([[0, -1]]), ValueError, "from -1 to 0"),
        (np.array([[0, 70000]]), ValueError, "to 70000"),
        (np.full((6, 9), np.nan), ValueError, "NaN"),
        (np.full((6, 9), 255.0), ValueError, "divide by 255"),
        (torch.zeros(1, 2, 3, 4, 5), ValueError, "shape"),
        (np.zeros((0, 9)), ValueError, "1x1"),
        ([], ValueError, "at least one"),
        (None, TypeError, "NoneType"),
    ],
)
def test_bad_masks_are_errors_that_say_what_to_do(bad, error, message):
    with pytest.raises(error, match=message):
        read_masks(bad, read_images(noise(6, 9, 3)))


def test_a_mask_white_under_full_transparency_is_no_hole():
    mask = np.zeros((6, 9, 4), np.uint8)
    mask[:3] = 255  # opaque white
    mask[3:, :, :3] = noise(3, 9, 1) | 128  # bright, not one color, but not to be seen
    expected = np.zeros((6, 9), bool)
    expected[:3] = True
    assert np.array_equal(read_masks(mask, read_images(noise(6, 9, 3)))[0], expected)


def test_a_color_mask_of_three_by_three_pixels_is_one_mask():
    mask = np.zeros((3, 3, 3), np.uint8)
    mask[0] = 255
    (hole_read,) = read_masks(mask, read_images(noise(3, 3, 3)))
    assert hole_read.tolist() == [[True] * 3, [False] * 3, [False] * 3]


def test_gray_is_cut_at_one_half_and_other_sizes_are_resized():
    pictures = read_images(np.zeros((4, 4, 3), np.uint8))
    gray = np.array([[127, 128], [0, 255]], np.uint8)
    assert read_masks(gray.repeat(2, 0).repeat(2, 1), pictures)[0][::2, ::2].tolist() == [
        [False, True],
        [False, True],
    ]
    unit = np.array([[0.4999, 0.5], [0, 1]]).repeat(2, 0).repeat(2, 1)
    assert read_masks(unit, pictures)[0][0, ::2].tolist() == [False, True]
    half = np.zeros((40, 40), bool)
    half[:, 20:] = True
    assert read_masks(half, pictures)[0].tolist() == [[False, False, True, True]] * 4


def test_one_mask_serves_all_pictures_and_other_counts_are_refused():
    pictures = read_images(noise(3, 6, 9, 3))
    assert len(read_masks(hole(), pictures)) == 3
    with pytest.raises(ValueError, match="2 masks for 3 pictures"):
        read_masks([hole(), hole()], pictures)
    with pytest.raises(TypeError, match="str"):
        read_masks("mask.png", pictures)


def test_all_gray_levels_survive_the_network_range():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    tensor = to_tensor([levels])
    assert tensor.min() == -1 and tensor.max() == 1
    assert np.array_equal(to_pixels(tensor)[0], levels)
    assert to_unit(tensor * 3).min() == 0 and to_unit(tensor * 3).max() == 1


def test_output_types_hold_the_same_picture():
    pictures = read_images(noise(2, 6, 9, 3))
    filled = [paint(p) for p in pictures]
    as_pil, as_np, as_pt = (write_pictures(filled, k, pictures) for k in ("pil", "np", "pt"))
    assert as_np.shape == (2, 6, 9, 3) and as_pt.shape == (2, 3, 6, 9)
    assert as_np.dtype == np.float32 and as_pt.dtype == torch.float32
    assert np.array_equal(np.array(as_pil[1]), filled[1])
    assert np.array_equal(as_np, np.stack(filled).astype(np.float32) / 255)
    assert torch.equal(as_pt, torch.from_numpy(as_np).permute(0, 3, 1, 2))
    with pytest.raises(ValueError, match="jpeg"):
        write_pictures(filled, "jpeg", pictures)


def test_pictures_of_different_sizes_come_as_a_list():
    pictures = read_images([noise(6, 9, 3), noise(4, 4, 3)])
    filled = [p.fill(np.zeros((*p.size[::-1], 3)), np.zeros(p.size[::-1], bool)) for p in pictures]
    assert [a.shape for a in write_pictures(filled, "np", pictures)] == [(6, 9, 3), (4, 4, 3)]


@pytest.mark.parametrize(("mode", "bright", "white"), [("I", 1000, 65535), ("F", 2.0, 255)])
def test_a_pictures_white_is_what_it_was_when_read(mode, bright, white):
    """Even where its only bright value was in the hole, which is black now."""
    values = np.full((4, 5), 0.5 if mode == "F" else 200, np.float32 if mode == "F" else np.int32)
    values[1, 2] = bright
    (picture,) = read_images(Image.fromarray(values))
    hole = values == bright
    filled = picture.fill(np.zeros((4, 5, 3), np.float32), hole)
    unit = write_pictures([filled], "np", [picture])[0]
    assert unit[0, 0, 0] == np.float32(values[0, 0]) / white and unit[1, 2, 0] == 0


def resized_mask(hole, size):
    picture = read_images(Image.new("RGB", size))
    return read_masks(Image.fromarray(np.asarray(hole, np.uint8) * 255), picture)[0]


def test_a_mask_is_enlarged_smoothly_and_loses_no_pixel():
    corner = resized_mask([[1, 1], [1, 0]], (8, 8))
    assert corner[4, 4] and not corner[5:, 5:].any()  # rounded: 61 % of it is hole
    assert np.array_equal(resized_mask([[1, 0], [1, 0]], (3, 3))[0], [True, True, False])
    dot = resized_mask([[0, 0, 0], [0, 1, 0], [0, 0, 0]], (12, 12))
    assert dot[4:8, 4:8].all() and not dot[:3].any() and not dot[9:].any()


def test_a_mask_made_smaller_keeps_the_middle_of_each_of_its_pixels():
    for large in range(2, 30):
        for small in range(1, large):
            for row in range(large):
                hole = np.zeros((large, large), bool)
                hole[row, row] = True
                place = (2 * row + 1) * small // (2 * large)
                assert resized_mask(hole, (small, small))[place, place], (large, small, row)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_masks_of_more_than_two_values_are_cut_at_one_half(dtype):
    values = np.array([[0, 60, 127, 128, 200, 255]], np.uint8).repeat(4, axis=0)
    given = values if dtype == np.uint8 else values.astype(np.float32) / 255
    pictures = read_images(np.zeros((4, 6, 3), np.uint8))
    for mask in (given, given[..., None].repeat(3, axis=2)):
        (hole,) = read_masks(mask, pictures)
        assert np.array_equal(hole, values >= 128)
    if dtype == np.uint8:
        assert np.array_equal(read_masks(Image.fromarray(values), pictures)[0], values >= 128)
