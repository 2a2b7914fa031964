"""One half of a face from the other: where it is read, how alike the halves are, who is asked."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from inpaint_hub import default_pipeline
from inpaint_hub.crops import TurnedWindow
from inpaint_hub.faces import TEMPLATE, other_half
from inpaint_hub.faces.symmetry import ALIKE, ALIKE_EYE, ALIKE_PATCH, AXIS, OtherHalf, eyes_in
from inpaint_hub.pipelines import router

ROOT = Path(__file__).parent.parent
SIDE = 100.0
# Mirrored places are places of pixels: the axis lies between two of them.
FRAME = TurnedWindow(60.0 - (AXIS - 0.5) * SIDE, 50.0, SIDE)


def symmetric(height=100, width=120, seed=0):
    half = np.random.default_rng(seed).integers(0, 256, (height, width // 2, 3), dtype=np.uint8)
    return np.concatenate([half, half[:, ::-1]], axis=1)


def box(left, top, right, bottom, shape=(100, 120)):
    hole = np.zeros(shape, bool)
    hole[top:bottom, left:right] = True
    return hole


EYE = box(30, 20, 54, 40)


def test_what_is_mirrored_comes_back_exactly_and_the_hole_is_not_read():
    picture = symmetric()
    given = np.where(EYE[..., None], 255 - picture, picture)
    half = other_half(given, EYE, EYE, FRAME)
    own = EYE[half.part]
    assert np.abs(half.rgb * 255 - picture[half.part])[own].max() < 0.01
    assert half.asymmetry < 1e-6 and half.alike
    assert half.eye == pytest.approx(eyes_in(EYE, FRAME)[0].sum() / EYE.sum()) and half.eye > 0.4
    assert (half.part[0].start, half.part[1].stop) == (20 - 9, 54 + 9)  # RING of the side


def test_a_shift_of_color_is_no_asymmetry_and_noise_is_its_share_of_the_variance():
    picture = symmetric().astype(float) / 2 + 40
    picture[:, :60] += (30, 0, -20)
    hole = box(20, 20, 44, 40)  # a ring that does not cross the axis
    assert other_half(picture.astype(np.uint8), hole, hole, FRAME).asymmetry < 1e-3
    unrelated = np.concatenate([symmetric(seed=1)[:, :60], symmetric(seed=2)[:, 60:]], axis=1)
    assert other_half(unrelated, EYE, EYE, FRAME).asymmetry == pytest.approx(2, abs=0.15)


@pytest.mark.parametrize(
    "other",
    [box(66, 20, 70, 24), box(89, 39, 90, 40)],  # both lie in the mirror image of EYE
)
def test_what_is_hidden_on_both_sides_cannot_be_read(other):
    picture = symmetric()
    assert other_half(picture, EYE | other, EYE, FRAME) is None
    beside = np.roll(other, 26, axis=1)
    assert other_half(picture, EYE | beside, EYE, FRAME) is not None


def test_a_half_outside_the_photo_cannot_be_read():
    cut = symmetric()[:, :80]
    assert other_half(cut, EYE[:, :80], EYE[:, :80], FRAME) is None
    seen = box(41, 20, 54, 40)[:, :80]
    assert other_half(cut, seen, seen, FRAME) is not None


def test_without_anything_around_to_compare_by_there_is_no_answer():
    hole = ~box(66, 20, 90, 40)
    assert other_half(symmetric(), hole, EYE, FRAME) is None


@pytest.mark.parametrize("degrees", [-40, 15])
def test_a_turned_face_is_mirrored_about_its_own_axis(degrees):
    frame = TurnedWindow(80.0, 70.0, 90.0, math.radians(degrees))
    y, x = np.mgrid[:140, :160]
    places = frame.from_picture(np.stack([x, y], axis=-1) + 0.5)
    across, down = abs(places[..., 0] - AXIS), places[..., 1]
    picture = np.stack([across * 300, down * 100 + 80, across * down * 200 + 30], axis=-1)
    picture = picture.clip(0, 255).astype(np.uint8)
    left, top = np.round(frame.to_picture(TEMPLATE[0])).astype(int) - 8
    hole = box(left, top, left + 16, top + 16, picture.shape[:2])
    half = other_half(np.where(hole[..., None], 0, picture), hole, hole, frame)
    assert np.abs(half.rgb * 255 - picture[half.part])[hole[half.part]].max() < 2
    assert half.eye > 0.5


def test_holes_that_are_little_more_than_an_eye_ask_for_less_likeness():
    part, rgb = (slice(0, 1), slice(0, 1)), np.zeros((1, 1, 3), np.float32)
    for eye, limit in ((1.0, ALIKE_EYE), (0.5, ALIKE_EYE), (0.49, ALIKE), (0.0, ALIKE)):
        assert OtherHalf(part, rgb, limit - 0.01, eye).alike
        assert not OtherHalf(part, rgb, limit + 0.01, eye).alike
    assert other_half(symmetric(), box(36, 60, 50, 70), box(36, 60, 50, 70), FRAME).eye == 0


PHOTO = Image.open(ROOT / "examples" / "face.png").convert("RGB")
LEFT, BOTH = box(58, 66, 112, 106, (256, 256)), box(50, 66, 206, 106, (256, 256))


def error_of(image, hole):
    return np.abs(np.asarray(image).astype(int) - np.asarray(PHOTO))[hole].mean()


@pytest.fixture(scope="module")
def pipe():
    return default_pipeline()


def test_an_eye_comes_from_the_other_one_and_the_second_result_from_the_model(pipe):
    output = pipe(PHOTO, LEFT, num_images_per_prompt=2)
    mirrored, model = output.images
    assert output.textures[0][-1][0] == "mirrored"
    assert output.routes[0].sentence.endswith("px high; its other half is mirrored.")
    assert 0 < output.textures[0][-1][1]["asymmetry"] < ALIKE_EYE
    assert [choice for choice, _ in output.textures[1]] == ["detail"]
    assert error_of(mirrored, LEFT) < 0.8 * error_of(model, LEFT)
    for image in output.images:
        assert np.array_equal(np.asarray(image)[~LEFT], np.asarray(PHOTO)[~LEFT])
    assert np.array_equal(mirrored, pipe(PHOTO, LEFT).images[0])
    assert pipe(PHOTO, LEFT, texture="detail").textures[0][-1][0] == "detail"


def test_what_the_hole_held_is_not_read(pipe, monkeypatch):
    """Faces are found by it, and nothing else: here they are found once."""
    plan = pipe._plans
    plans = []

    def once(*given):
        plans.append(plan(*given))
        return plans[0]

    monkeypatch.setattr(pipe, "_plans", once)
    other = np.asarray(PHOTO).copy()
    other[LEFT] = 255 - other[LEFT]
    assert np.array_equal(pipe(PHOTO, LEFT).images[0], pipe(other, LEFT).images[0])
    assert len(plans) == 2


def test_both_eyes_are_the_models_and_a_batch_is_its_pictures_one_by_one(pipe):
    both = pipe(PHOTO, BOTH)
    assert [choice for choice, _ in both.textures[0]] == ["detail"]
    assert "mirrored" not in both.routes[0].reason
    flipped = PHOTO.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    pictures, holes = [PHOTO, flipped, PHOTO], [LEFT, LEFT, BOTH]
    options = {"num_images_per_prompt": 2, "mask_blur": 3}

    def seeds(i):
        return [torch.Generator().manual_seed(seed) for seed in (2 * i, 2 * i + 1)]

    rngs = [rng for i in range(3) for rng in seeds(i)]
    together = pipe(pictures, holes, generator=rngs, **options).images
    for i, (picture, hole) in enumerate(zip(pictures, holes)):
        alone = pipe(picture, hole, generator=seeds(i), **options).images
        assert all(np.array_equal(a, b) for a, b in zip(alone, together[2 * i :]))


def test_eyes_are_ellipses_about_their_middles_in_what_is_hidden():
    [eye] = eyes_in(EYE, FRAME)
    x, y = FRAME.to_picture(TEMPLATE[0])
    rows, columns = np.nonzero(eye)
    assert np.ptp(columns) + 1 == pytest.approx(2 * 12, abs=1.5)  # EYE_SIZE of the side
    assert np.ptp(rows) + 1 == pytest.approx(2 * 7.5, abs=1.5)
    assert abs(rows.mean() + 0.5 - y) < 0.5 and abs(columns.mean() + 0.5 - x) < 0.5
    assert not (eye & ~EYE).any()
    assert len(eyes_in(np.ones((100, 120), bool), FRAME)) == 2
    assert eyes_in(box(30, 60, 54, 90), FRAME) == []
    half_outside = eyes_in(np.ones((100, 120), bool), TurnedWindow(10.0, 20.0, SIDE))
    assert [region.any() for region in half_outside] == [True]


def test_a_fill_is_compared_with_and_not_copied():
    picture, whole = symmetric(), box(20, 10, 56, 50)
    [eye] = eyes_in(whole, FRAME)
    assert other_half(picture, whole, eye, FRAME).asymmetry < 1e-6  # by what lies beyond the hole
    other = np.where(whole[..., None], symmetric(seed=5), picture)
    unlike = other_half(other, whole, eye, FRAME, filled=whole)
    assert unlike.asymmetry > 1
    assert np.abs(unlike.rgb * 255 - picture[unlike.part])[eye[unlike.part]].max() < 0.01


def test_an_eye_in_a_larger_hole_is_put_into_what_the_model_fills(pipe, monkeypatch):
    hole = box(20, 30, 130, 150, (256, 256))
    output = pipe(PHOTO, hole)
    (part, own), (choice, scores) = written(pipe, monkeypatch, hole)
    model = pipe(PHOTO, hole, texture="detail").images[0]
    assert [c for c, _ in output.textures[0]] == ["detail", "mirrored"] and choice == "mirrored"
    assert scores["asymmetry"] < ALIKE_PATCH
    changed = (np.asarray(model) != np.asarray(output.images[0])).any(axis=2)
    inside = np.zeros_like(hole)
    inside[part] = own
    assert changed.any() and not (changed & ~inside).any() and inside.sum() < hole.sum() / 4
    assert error_of(output.images[0], inside) < 0.9 * error_of(model, inside)


def written(pipe, monkeypatch, hole):
    """((slices, own), (choice, scores)) of the one place that is mirrored."""
    made, found = router._write_other_halves, []
    monkeypatch.setattr(
        router, "_write_other_halves", lambda *given: found.append(made(*given)) or found[-1]
    )
    pipe(PHOTO, hole)
    monkeypatch.undo()
    return found[0][0]
