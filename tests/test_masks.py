"""Holes: true coverage, polarity, determinism, and what a drawing widget sends."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from inpaint_hub.masks import (
    BANDS,
    KINDS,
    MIXTURES,
    MaskFiles,
    box,
    coverage,
    difficulty,
    drawn_in_band,
    from_editor,
    mask_in_band,
    outpainting,
    random_box,
    strokes,
    training_mask,
)
from inpaint_hub.masks.difficulty import center_square, outpainting_mask
from inpaint_hub.masks.files import turned
from inpaint_hub.masks.strokes import _cut, draw_stroke


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("name", sorted(BANDS))
def test_measured_coverage_lies_in_the_band(name):
    low, high = BANDS[name]
    for seed in range(3):
        mask = mask_in_band(64, low, high, rng(seed))
        assert mask.dtype == bool and mask.shape == (64, 64)
        assert low <= mask.sum() / mask.size <= high


def one_filled_box(mask):
    rows, columns = mask.any(axis=1).nonzero()[0], mask.any(axis=0).nonzero()[0]
    return mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()


@pytest.mark.parametrize("name", ["0-10", "10-20", "20-30", "50-60", "extreme"])
def test_the_band_does_not_choose_the_kind_of_hole(name):
    drawn = [drawn_in_band(64, *BANDS[name], rng((7, k))) for k in range(220)]
    for kind, share in MIXTURES["mixture"].items():
        assert abs(np.mean([k == kind for _, k in drawn]) - share) < 0.1  # 3 sigma
    boxes = np.mean([one_filled_box(mask) for mask, _ in drawn])
    assert 0.2 < boxes < 0.45  # squares, boxes, and borders of one side


def test_the_shares_of_the_mixture_are_whole_and_near_the_training_masks():
    for shares in MIXTURES.values():
        assert sum(shares.values()) == pytest.approx(1) and set(shares) <= set(KINDS)
    boxes = np.mean([one_filled_box(training_mask(64, rng((3, k)))) for k in range(200)])
    whole = [drawn_in_band(64, 0.05, 0.95, rng((3, k)))[0] for k in range(200)]
    assert abs(np.mean([one_filled_box(mask) for mask in whole]) - boxes) < 0.1


def test_coverages_are_spread_over_the_band():
    for kind in MIXTURES:
        covered = [coverage(mask_in_band(64, 0.1, 0.5, rng((1, k)), kind)) for k in range(80)]
        quarters = np.histogram(covered, 4, (0.1, 0.5))[0] / 80
        assert min(quarters) > 0.12


@pytest.mark.parametrize("low, high", [(0.02, 0.1), (0.3, 0.4), (0.7, 0.9)])
def test_a_kind_of_hole_can_be_asked_for(low, high):
    draws = {
        kind: [mask_in_band(64, low, high, rng((5, k)), kind) for k in range(40)]
        for kind in ("strokes", "boxes")
    }
    assert np.mean([one_filled_box(mask) for mask in draws["boxes"]]) > 0.95  # one row may lack
    assert not any(one_filled_box(mask) for mask in draws["strokes"])
    with pytest.raises(ValueError, match="'circles', expected one of mixture, strokes"):
        mask_in_band(64, 0.1, 0.2, rng(), "circles")


def test_bands_without_masks_are_errors():
    with pytest.raises(ValueError, match="between 50.1% and 50.2%; the nearest covers 50.0%"):
        mask_in_band(4, 0.501, 0.502, rng(), "boxes")
    with pytest.raises(TypeError, match="numpy.random.default_rng"):
        mask_in_band(64, 0.1, 0.5, 7)
    for low, high in [(0.5, 0.4), (-1, 0.5), (0, 2)]:
        with pytest.raises(ValueError, match="band is"):
            mask_in_band(64, low, high, rng())


def test_training_limits_that_no_mask_meets_are_an_error(monkeypatch):
    monkeypatch.setattr(difficulty, "MAX_TRIES", 20)
    with pytest.raises(ValueError, match="none of 20 masks.*use mask_in_band"):
        training_mask(8, rng(), 0.501, 0.502)


def test_a_kind_that_cannot_reach_a_band_leaves_it_to_the_others():
    # A border of a 64 px mask covers 1.6 % at least.
    drawn = [drawn_in_band(64, 0.002, 0.01, rng((2, k))) for k in range(200)]
    assert all(0.002 <= mask.mean() <= 0.01 for mask, _ in drawn)
    kinds = {kind for _, kind in drawn}
    assert "borders" not in kinds and {"squares", "boxes", "strokes"} <= kinds


@pytest.fixture
def mask_files(tmp_path):
    (tmp_path / "more").mkdir()
    half = np.zeros((40, 40), np.uint8)
    half[:, :20] = 255
    tenth = np.zeros((40, 80), np.uint8)  # its center: columns 20 to 59
    tenth[:4, 20:60] = 200
    tenth[:, :5] = 255  # cut off with the rest
    Image.fromarray(half).save(tmp_path / "half.png")
    Image.fromarray(tenth).save(tmp_path / "more" / "tenth.png")
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(tmp_path / "nothing.png")
    (tmp_path / "notes.txt").write_text("no mask")
    return MaskFiles(tmp_path)


def test_mask_files_are_fitted_and_white_is_hole(mask_files):
    assert [f.name for f in mask_files.files] == ["half.png", "tenth.png", "nothing.png"]
    half = mask_files.fitted(0, 20)
    assert half.dtype == bool and half[:, :10].all() and not half[:, 10:].any()
    tenth = mask_files.fitted(1, 20)
    assert tenth[:2].all() and not tenth[2:].any()
    nominal, true = mask_files.coverages(20)
    assert nominal.tolist() == pytest.approx([0.5, (4 * 40 + 36 * 5 + 4 * 5) / 3200, 0])
    assert true.tolist() == [0.5, 0.1, 0]
    line = mask_files.coverage_line(20)
    assert "mask files: 3, hole 20.4 % (mean; 0.0 to 50.0 %) as stored, 20.0 %" in line


def test_a_band_of_mask_files_holds_those_that_cover_so_much(mask_files):
    for seed in range(8):
        assert mask_files.in_band(20, 0.05, 0.2, rng(seed)).sum() == 40
        assert mask_files.random(20, rng(seed)).sum() in (40, 200)  # never the one without a hole
    turns = {mask_files.in_band(20, 0.4, 0.6, rng(seed)).tobytes() for seed in range(20)}
    assert len(turns) == 4  # left, right, top, bottom half
    with pytest.raises(ValueError, match="none of 3 mask files covers.*0.0% to 50.0%"):
        mask_files.in_band(20, 0.6, 0.9, rng())


def test_mask_folders_that_hold_none_and_broken_files_are_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist.*--mask_dir"):
        MaskFiles(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="holds no picture; expected mask files, white"):
        MaskFiles(tmp_path)
    (tmp_path / "a.png").write_bytes(b"no")
    with pytest.raises(ValueError, match="a.png.*cannot be read"):
        MaskFiles(tmp_path).fitted(0, 16)


def test_training_masks_spread_over_the_difficulties():
    covered = [coverage(training_mask(64, r)) for r in [rng()] for _ in range(300)]
    assert 0.05 <= min(covered) and max(covered) <= 0.95
    assert np.percentile(covered, 10) < 0.25 and np.percentile(covered, 90) > 0.7


@pytest.mark.parametrize("draw", [strokes, random_box, training_mask])
def test_the_generator_alone_decides(draw):
    assert np.array_equal(draw((40, 30), rng(1)), draw((40, 30), rng(1)))
    assert draw((40, 30), rng(1)).shape == (30, 40)
    assert any(not np.array_equal(draw(64, rng(1)), draw(64, rng(s))) for s in range(2, 6))


def test_strokes_scale_with_the_mask():
    means = [
        np.mean([coverage(strokes(side, rng(seed))) for seed in range(60)]) for side in (64, 256)
    ]
    assert abs(means[0] - means[1]) < 0.08


def test_strokes_have_no_favored_direction():
    mean = np.mean(
        [strokes(64, r, num_strokes=(1, 3)) for r in [rng()] for _ in range(300)], axis=0
    )
    halves = [mean[:32].mean(), mean[32:].mean(), mean[:, :32].mean(), mean[:, 32:].mean()]
    assert max(halves) < 1.3 * min(halves)


def test_boxes_are_where_they_are_said_to_be():
    mask = box((10, 8), left=2, top=3, width=4, height=20)
    assert mask.sum() == 4 * 5 and mask[3:, 2:6].all()
    assert not box(8, -5, -5, 2, 2).any()


@pytest.mark.parametrize(
    "side, known",
    [
        ("left", np.s_[:, 5:]),
        ("right", np.s_[:, :15]),
        ("top", np.s_[2:, :]),
        ("bottom", np.s_[:6, :]),
        ("both", np.s_[:, 2:17]),
        ("all", np.s_[1:7, 2:17]),
    ],
)
def test_outpainting_leaves_the_rest_known(side, known):
    mask = outpainting((20, 8), side, 0.25)
    assert not mask[known].any()
    mask[known] = True
    assert mask.all()


def test_impossible_requests_name_what_they_were_given():
    with pytest.raises(ValueError, match="diagonal"):
        outpainting(64, "diagonal", 0.5)
    with pytest.raises(ValueError, match="ratio=1.5"):
        outpainting(64, "left", 1.5)
    with pytest.raises(ValueError, match="0"):
        strokes(0, rng())


def editor_value(*layers, size=(6, 4)):
    return {"background": Image.new("RGB", size, "red"), "layers": list(layers), "composite": None}


def layer(opaque, size=(6, 4)):
    pixels = np.zeros((size[1], size[0], 4), np.uint8)
    pixels[opaque] = (255, 255, 255, 40)  # barely visible counts
    return Image.fromarray(pixels)


def test_painted_layers_join_into_the_mask():
    photo, mask = from_editor(editor_value(layer(np.s_[0, 0]), layer(np.s_[3, 5]), None))
    expected = np.zeros((4, 6), np.uint8)
    expected[0, 0] = expected[3, 5] = 255
    assert mask.mode == "L" and np.array_equal(np.array(mask), expected)
    assert photo.size == (6, 4)


def test_layers_of_another_size_are_fitted_and_opaque_ones_read_by_brightness():
    _, mask = from_editor(editor_value(layer(np.s_[:, :6], size=(12, 8))))
    assert np.array(mask)[0].tolist() == [255, 255, 255, 0, 0, 0]
    black_and_white = Image.new("L", (6, 4))
    black_and_white.putpixel((1, 2), 255)
    _, mask = from_editor(editor_value(black_and_white))
    assert np.flatnonzero(np.array(mask)).tolist() == [2 * 6 + 1]


def test_a_picture_painted_over_in_color_is_all_hole_and_a_black_layer_is_none():
    _, mask = from_editor(editor_value(Image.new("RGBA", (6, 4), (255, 0, 0, 255))))
    assert np.array(mask).min() == 255
    with pytest.raises(ValueError, match="Nothing is painted"):
        from_editor(editor_value(Image.new("L", (6, 4))))


def test_rotated_photos_are_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    value = editor_value(layer(np.s_[0, 0], size=(4, 6)))
    value["background"].info["exif"] = exif.tobytes()
    value["background"].getexif()[0x0112] = 6
    photo, mask = from_editor(value)
    assert photo.size == mask.size == (4, 6)


@pytest.mark.parametrize(
    "value, message",
    [
        (None, "no picture"),
        ({}, "no picture"),
        (Image.new("RGB", (4, 4)), "no picture"),
        (np.zeros((4, 4)), "no picture"),
        ({"background": None, "layers": []}, "no picture"),
        (editor_value(), "Nothing is painted"),
        ({"background": Image.new("RGB", (4, 4)), "layers": None}, "Nothing is painted"),
        (editor_value(layer(np.s_[0:0])), "Nothing is painted"),
    ],
)
def test_missing_pictures_and_strokes_get_friendly_words(value, message):
    with pytest.raises(ValueError, match=message):
        from_editor(value)


def test_the_square_is_whole_of_a_third_to_a_half_around_the_middle_half():
    lefts, tops = [], []
    for seed in range(200):
        mask = center_square((60, 40), np.random.default_rng(seed))
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        side = len(rows)
        assert 13 <= side <= 20 and len(columns) == side and mask.sum() == side**2
        lefts.append(columns[0])
        tops.append(rows[0])
    assert min(lefts) == 15 and 30 <= max(lefts) < 45
    assert min(tops) == 10 and 20 <= max(tops) < 30
    assert center_square((1, 1), np.random.default_rng(0)).all()


def test_a_border_to_train_on_is_on_one_side_of_a_quarter_to_three_quarters():
    seen = set()
    for seed in range(60):
        mask = outpainting_mask((64, 64), np.random.default_rng(seed))
        assert 0.24 <= mask.mean() <= 0.76
        full = [edge.all() for edge in (mask[:, 0], mask[0], mask[:, -1], mask[-1])]
        assert sum(full) == 1
        assert mask.all(axis=0).any() or mask.all(axis=1).any()
        seen.add(full.index(True))
    assert seen == {0, 1, 2, 3}


def test_a_mask_that_is_no_square_is_flipped_either_way_and_never_turned_a_quarter():
    mask = np.arange(6).reshape(2, 3) % 4 == 1
    wanted = {m.tobytes() for m in (mask, mask[::-1], mask[:, ::-1], mask[::-1, ::-1])}
    seen = [turned(mask, np.random.default_rng(seed)) for seed in range(60)]
    assert {one.shape for one in seen} == {(2, 3)}
    assert {one.tobytes() for one in seen} == wanted


def test_a_dot_is_as_wide_and_high_as_the_brush():
    canvas = Image.new("L", (60, 60))
    draw_stroke(ImageDraw.Draw(canvas), [np.array([20.0, 31.0])] * 2, 9)
    left, top, right, bottom = canvas.getbbox()
    assert abs(right - left - 9) <= 1 and abs(bottom - top - 9) <= 1
    assert np.count_nonzero(np.asarray(canvas)) == pytest.approx(np.pi * 4.5**2, rel=0.25)


def test_a_segment_is_cut_where_the_limit_is_reached():
    canvas, ends = Image.new("L", (100, 20)), (np.array([10.0, 10.0]), np.array([90.0, 10.0]))
    cut = np.asarray(_cut(canvas, *ends, 3, 100)) > 0
    assert 90 <= cut.sum() <= 100
    assert cut[10, 10:30].all()
