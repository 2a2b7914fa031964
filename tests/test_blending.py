"""Seams: what softening may touch."""

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from scipy.linalg import expm
from test_pipelines import mask_of, middle_hole, photo, tiny_pipeline

from inpaint_hub import PSPBlendPipeline, PSPPipeline, blending, load_pipeline
from inpaint_hub.blending import BLENDS, blend_fill, dilate, feather, feathered
from inpaint_hub.evaluation.metrics import seam_ratio, seam_step

PSP = tiny_pipeline(PSPPipeline)


def disc(side=41, radius=12):
    y, x = np.mgrid[:side, :side] - side // 2
    return x**2 + y**2 <= radius**2


def test_weights_are_zero_outside_rise_from_the_rim_and_reach_one():
    weight = feather(disc(), 5)
    assert (weight[~disc()] == 0).all() and (weight[disc()] > 0).all()
    assert weight[20, 20] == 1
    profile = weight[20, 8:14]
    assert (np.diff(profile) >= 0).all() and profile[0] < 0.3


def test_no_radius_is_the_mask_and_a_full_mask_stays_full():
    assert np.array_equal(feather(disc(), 0), disc().astype(np.float32))
    assert (feather(np.ones((5, 5), bool), 3) == 1).all()


def test_the_rim_takes_the_nearest_known_color_and_the_center_the_fill():
    fill = np.ones((41, 41, 3), np.float32)
    known = np.zeros((41, 41, 3), np.float32)
    soft = feathered(fill, known, disc(), 6)
    assert soft[20, 20, 0] == 1
    assert soft[20, 8, 0] < 0.2
    same = feathered(fill, fill, disc(), 6)
    np.testing.assert_allclose(same[disc()], 1, rtol=1e-6)


@pytest.mark.parametrize("many_holes", [0, 1000])
def test_holes_fade_into_the_nearest_known_color(many_holes, monkeypatch):
    monkeypatch.setattr(blending, "MANY_HOLES", many_holes)
    rng = np.random.default_rng(0)
    mask = np.zeros((60, 80), bool)
    mask[:14, 55:] = rng.random((14, 25)) < 0.8
    mask[30:40, 10:30] = mask[45:50, 25:60] = mask[::20, 0] = True
    rgb, known = rng.random((2, 60, 80, 3), np.float32)
    y, x = np.mgrid[:60, :80]
    soft, weights = feathered(rgb, known, mask, 3), feather(mask, 3)
    for row, column in np.argwhere(mask):
        distance = np.where(mask, np.inf, np.hypot(y - row, x - column))
        weight = min(distance.min() / 4, 1)
        assert abs(weights[row, column] - weight) < 1e-6
        nearest = known[distance == distance.min()]
        fades = weight * rgb[row, column] + (1 - weight) * nearest
        assert np.abs(fades - soft[row, column]).max(axis=1).min() < 1e-6


def test_nothing_is_softened_without_a_hole_or_without_a_known_pixel():
    rgb = np.random.default_rng(0).random((5, 7, 3), np.float32)
    for mask in (np.zeros((5, 7), bool), np.ones((5, 7), bool)):
        assert np.array_equal(feathered(rgb, rgb * 0, mask, 2), rgb)
        assert np.array_equal(feather(mask, 2), mask.astype(np.float32))


def test_dilation_grows_by_its_radius_in_all_directions():
    point = np.zeros((9, 9), bool)
    point[4, 4] = True
    assert np.array_equal(np.argwhere(dilate(point, 2)), np.argwhere(np.pad(np.ones((5, 5)), 2)))
    assert dilate(point, 0) is point


def waves(side=64, shift=0.0):
    """float32 [side,side,3] in [0,1]: a ramp and waves."""
    y, x = np.mgrid[:side, :side] / side
    planes = [0.2 + 0.3 * x, 0.4 + 0.1 * np.sin(9 * y), 0.5 - 0.3 * x * y]
    return (np.stack(planes, axis=2) + shift).astype(np.float32)


SHAPES = {
    "disc": disc(64, 20),
    "half": np.arange(64)[None] + np.zeros((64, 1)) > 31,
    "specks": np.random.default_rng(0).random((64, 64)) < 0.3,
}


@pytest.mark.parametrize("solver_side", [256, 16])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("blend", BLENDS)
def test_a_blend_keeps_constants_and_fills_that_fit_and_never_reads_the_hole(
    blend, shape, solver_side, monkeypatch
):
    monkeypatch.setattr(blending, "SOLVER_SIDE_PX", solver_side)
    mask = SHAPES[shape]
    gray = np.full((64, 64, 3), 0.3, np.float32)
    np.testing.assert_allclose(blend_fill(gray, gray, mask, blend)[mask], 0.3, atol=1e-6)
    fill, known = waves(), waves(shift=0.2)
    hidden = np.where(mask[..., None], np.float32("nan"), known)
    result = blend_fill(fill, hidden, mask, blend)
    assert np.array_equal(result[mask], blend_fill(fill, known, mask, blend)[mask])
    if blend not in ("none", "feather"):  # a feather fades into one color: details at the rim go
        fits = blend_fill(known, known, mask, blend)[mask]
        np.testing.assert_allclose(fits, known[mask], atol=0.05 if blend == "laplacian" else 2e-3)


@pytest.mark.parametrize("solver_side", [256, 16])
@pytest.mark.parametrize("shape", SHAPES)
def test_poisson_removes_an_offset_whole(shape, solver_side, monkeypatch):
    monkeypatch.setattr(blending, "SOLVER_SIDE_PX", solver_side)
    mask = SHAPES[shape]
    result = blend_fill(waves(shift=0.2), waves(), mask, "poisson")
    np.testing.assert_allclose(result[mask], waves()[mask], atol=2e-3)


def dense_harmonic(mask, values):
    """The reference: one linear equation for each hole pixel, its neighbors' mean, solved at
    once."""
    index = {tuple(p): k for k, p in enumerate(np.argwhere(mask))}
    matrix, right = np.zeros((len(index), len(index))), np.zeros((len(index), values.shape[2]))
    for (y, x), k in index.items():
        for near in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if not (0 <= near[0] < mask.shape[0] and 0 <= near[1] < mask.shape[1]):
                continue
            matrix[k, k] += 1
            if near in index:
                matrix[k, index[near]] -= 1
            else:
                right[k] += values[near]
    return np.linalg.solve(matrix, right)


@pytest.mark.parametrize("many_holes", [0, 1000])
def test_poisson_solves_the_equation_of_each_pixel(many_holes, monkeypatch):
    monkeypatch.setattr(blending, "MANY_HOLES", many_holes)
    rng = np.random.default_rng(0)
    mask = disc(31, 8) | (rng.random((31, 31)) < 0.1)
    mask[24:, 10:20] = mask[:4, 27:] = True  # at the picture's edge the gradient is the fill's own
    fill, known = rng.random((2, 31, 31, 3), np.float32)
    expected = fill[mask] + dense_harmonic(mask, (known - fill).astype(np.float64))
    result = blend_fill(fill, known, mask, "poisson")
    np.testing.assert_allclose(result[mask], expected, atol=4e-3)


@pytest.mark.parametrize("blend", ["poisson", "gp"])
def test_a_long_side_solved_on_cells_meets_the_border_as_closely_as_pixel_by_pixel(
    blend, monkeypatch
):
    side, rng = 300, np.random.default_rng(0)
    mask = disc(side, 90)
    mask[:20, 250:] = mask[130:135, 10:40] = True
    known = waves(side) + 0.05 * rng.standard_normal((side, side, 3)).astype(np.float32)
    fill = waves(side, 0.2) + 0.1 * np.sin(np.arange(side) / 9, dtype=np.float32)[:, None, None]
    results = {}
    for solver_side in (side, 50):
        monkeypatch.setattr(blending, "SOLVER_SIDE_PX", solver_side)
        results[solver_side] = blend_fill(fill, known, mask, blend)
    exact, coarse = results.values()
    assert 0 < np.abs(coarse - exact)[mask].mean() < 0.08 * np.abs(exact - fill)[mask].mean()
    rim = mask & ~ndimage.binary_erosion(mask, border_value=1)
    jumps = [np.abs(r - waves(side))[rim].mean() for r in (coarse, exact, fill)]
    assert jumps[0] < 1.2 * jumps[1] < 0.5 * jumps[2]
    detail = [(r - waves(side))[rim].ravel() for r in (coarse, exact)]  # the border's, carried on
    assert np.corrcoef(*detail)[0, 1] > 0.85


def laplacian_of(length):
    """The negative second difference with reflected ends, as a matrix."""
    matrix = 2 * np.eye(length) - np.eye(length, k=1) - np.eye(length, k=-1)
    matrix[0, 0] = matrix[-1, -1] = 1
    return matrix


@pytest.mark.parametrize("weight, sigma", [(0.4, 0.5), (0.05, 2.0), (0.0, 1.0)])
def test_gp_solves_its_equation_as_a_dense_linear_system(weight, sigma):
    """|grad u|^2 + weight |G_sigma * u|^2 of the rectangle, least for given values on the border;
    the Gaussian of width sigma is the heat kernel at time sigma^2 / 2."""
    height, width = 12, 10
    rows, columns = np.eye(height), np.eye(width)
    energy = np.kron(laplacian_of(height), columns) + np.kron(rows, laplacian_of(width))
    blur = expm(-(sigma**2) / 2 * energy)
    system = energy + weight * blur.T @ blur
    border = np.zeros((height, width), bool)
    border[3, 2:8] = border[9, 2:8] = border[3:10, 2] = border[3:10, 7] = True
    values = np.random.default_rng(0).standard_normal((border.sum(), 3)).astype(np.float32)
    fixed = border.ravel()
    u = np.zeros((height * width, 3))
    u[fixed] = values
    u[~fixed] = np.linalg.solve(system[~fixed][:, ~fixed], -system[~fixed][:, fixed] @ values)
    found = blending.correction(values, border, weight, sigma)
    np.testing.assert_allclose(found, u.reshape(height, width, 3), atol=5e-3)


def test_the_heat_kernel_is_a_gaussian_of_that_width():
    kernel = expm(-(1.5**2) / 2 * laplacian_of(41))[20]
    places = np.arange(41) - 20
    assert kernel.sum() == pytest.approx(1) and kernel @ places**2 == pytest.approx(1.5**2)


def test_gp_in_a_picture_is_that_system_at_its_side():
    mask = disc(31, 9)
    fill, known = np.random.default_rng(0).random((2, 31, 31, 3), np.float32)
    found = blend_fill(fill, known, mask, "gp")
    (part, hole), *more = blending._holes_with_rims(mask)
    assert not more
    border, scale = ndimage.binary_dilation(hole) & ~hole, 31 / 16
    missing = (known - fill)[part][border]
    height, width = hole.shape
    energy = np.kron(laplacian_of(height), np.eye(width))
    energy = energy + np.kron(np.eye(height), laplacian_of(width))
    blur = expm(-((0.5 * scale) ** 2) / 2 * energy)
    system = energy + 1.0 / scale**2 * blur.T @ blur
    fixed = border.ravel()
    right = -system[~fixed][:, fixed] @ missing
    u = np.zeros((height * width, 3))
    u[~fixed] = np.linalg.solve(system[~fixed][:, ~fixed], right)
    u = u.reshape(height, width, 3)
    np.testing.assert_allclose(found[part][hole], (fill[part] + u)[hole], atol=0.02)


def test_gp_corrects_the_rim_and_keeps_the_fills_colors_inside():
    mask = disc(128, 50)
    fill, known = waves(128, 0.2), waves(128)
    gp, poisson = (blend_fill(fill, known, mask, name) for name in ("gp", "poisson"))
    rim = mask & ~ndimage.binary_erosion(mask)
    assert np.abs(gp - known)[rim].mean() < 0.4 * 0.2
    np.testing.assert_allclose(gp[64, 64], fill[64, 64], atol=0.01)
    np.testing.assert_allclose(poisson[64, 64], known[64, 64], atol=0.01)


def test_gp_reaches_as_far_in_a_large_picture_as_in_a_small_one():
    profiles = []
    for side in (64, 256):
        mask = disc(side, side // 3)
        u = blend_fill(waves(side, 0.2), waves(side), mask, "gp") - waves(side, 0.2)
        distance = ndimage.distance_transform_edt(mask) / side
        profiles.append([-u[(distance > d) & (distance < d + 0.03)].mean() for d in (0.01, 0.04)])
    np.testing.assert_allclose(profiles[0], profiles[1], rtol=0.25)


@pytest.mark.parametrize("blend", [b for b in BLENDS if b != "none"])
def test_every_blend_shrinks_the_jump_at_the_seam(blend):
    mask = disc(64, 20)
    original = np.rint(waves() * 255).astype(np.uint8)

    def ratio(rgb):
        filled = np.where(mask[..., None], np.rint(rgb * 255).astype(np.uint8), original)
        return seam_ratio(filled, original, mask)

    fill = waves(shift=0.2)
    jump = ratio(fill)
    assert jump > 10
    assert ratio(blend_fill(fill, waves(), mask, blend)) < 1 + 0.4 * (jump - 1)


def test_laplacian_keeps_the_fills_detail_and_middle():
    mask, rng = disc(128, 50), np.random.default_rng(0)
    detail = 0.1 * rng.standard_normal((128, 128, 3)).astype(np.float32)
    fill = waves(128, 0.2) + detail
    result = blend_fill(fill, waves(128), mask, "laplacian")
    near = mask & (ndimage.distance_transform_edt(mask) > 4)
    fine = [x - ndimage.gaussian_filter(x, (1, 1, 0)) for x in (result, fill)]
    assert np.corrcoef(fine[0][near].ravel(), fine[1][near].ravel())[0, 1] > 0.97
    assert np.abs(result - fill)[mask].max() > 0.1


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 5), (40, 40)])
@pytest.mark.parametrize("blend", BLENDS)
def test_blends_take_any_size(blend, size):
    rng = np.random.default_rng(0)
    fill, known = rng.random((2, *size, 3), np.float32)
    for mask in (rng.random(size) < 0.5, np.ones(size, bool), np.zeros(size, bool)):
        result = blend_fill(fill, known, mask, blend)
        assert result.shape == fill.shape and np.isfinite(result[mask]).all()
        if mask.all() or not mask.any():
            assert np.array_equal(result, fill)


def test_the_seam_is_the_mean_jump_over_the_pairs_across_the_border():
    picture = np.zeros((3, 4, 3), np.uint8)
    mask = np.zeros((3, 4), bool)
    mask[0, 0] = mask[1, 1] = mask[1, 2] = True
    picture[1, 1], picture[1, 2], picture[2, 2] = 10, 30, (60, 0, 0)
    # pairs: (0,0) has two of 0; (1,1) up, down, left: 10 each; (1,2) up, right: 30; down: 30
    assert seam_step(picture, mask) == pytest.approx((0 + 0 + 30 + 30 + 30 + 30) / 8)
    assert seam_ratio(picture, picture, mask) == 1
    flat = np.full((3, 4, 3), 7, np.uint8)
    assert seam_ratio(picture, flat, mask) == pytest.approx(16)
    assert seam_step(flat, mask) == 0
    for border_free in (np.zeros((3, 4), bool), np.ones((3, 4), bool)):
        assert np.isnan(seam_step(picture, border_free))


@pytest.mark.parametrize("blend", [b for b in BLENDS if b != "none"])
@pytest.mark.parametrize("options", [{}, {"padding_mask_crop": 6}, {"mask_blur": 4}], ids=str)
def test_pipelines_blend_inside_the_hole_alone(blend, options):
    image, hole = photo((90, 60)), middle_hole((90, 60))
    hole[2:5, 2:4] = True
    plain, blended = (
        np.array(PSP(image, mask_of(hole), blend=name, **options).images[0])
        for name in ("none", blend)
    )
    assert np.array_equal(blended[~hole], np.array(image)[~hole])
    if not (blend == "feather" and options.get("mask_blur")):  # that is mask_blur's own feather
        assert not np.array_equal(blended, plain)
    other = np.array(image)
    other[hole] = 255 - other[hole]
    again = PSP(Image.fromarray(other), mask_of(hole), blend=blend, **options).images[0]
    assert np.array_equal(np.array(again), blended)


def test_blur_alone_is_a_feather_and_unknown_blends_are_errors():
    call = (photo(), mask_of(middle_hole()))
    blurred = PSP(*call, mask_blur=5, blend="none").images[0]
    assert np.array_equal(blurred, PSP(*call, mask_blur=5, blend="feather").images[0])
    assert np.array_equal(
        PSP(*call, blend="feather").images[0], PSP(*call, mask_blur=blending.FEATHER_PX).images[0]
    )
    with pytest.raises(ValueError, match="blend is 'glue', expected one of.*'gp'"):
        PSP(*call, blend="glue")


def test_psp_blend_blends_unless_told_otherwise(tmp_path):
    call = (photo(), mask_of(middle_hole()))
    pipe = PSPBlendPipeline(PSP.encoder, PSP.gan)
    pipe.save_pretrained(tmp_path)
    loaded = load_pipeline(tmp_path)
    assert type(loaded) is PSPBlendPipeline
    for mine, blend in ((loaded(*call), "gp"), (loaded(*call, blend="none"), "none")):
        assert np.array_equal(mine.images[0], PSP(*call, blend=blend).images[0])


def test_a_feather_of_one_pixel_halves_the_rim_alone():
    mask = np.zeros((9, 9), bool)
    mask[2:7, 2:7] = True
    rgb, known = np.ones((9, 9, 3), np.float32), np.zeros((9, 9, 3), np.float32)
    soft = feathered(rgb, known, mask, 1)
    assert (soft[3:6, 3:6] == 1).all()
    assert (soft[2, 2:7] == 0.5).all() and (soft[2:7, 6] == 0.5).all()
    assert np.array_equal(feathered(rgb, known, mask, 0), rgb)
