"""Faces are found where they are, and lie in their frame as in the training pictures."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from inpaint_hub.crops import TurnedWindow, enlarge, inside, window_slices
from inpaint_hub.faces import MIN_FACE_PX, TEMPLATE, FaceDetector, find_faces, frame_of
from inpaint_hub.faces.alignment import similarity
from inpaint_hub.faces.detector import moved, squared, suppressed

ROOT = Path(__file__).parent.parent
FACE = np.asarray(Image.open(ROOT / "examples" / "face.png").convert("RGB"))
PHOTOS = ("astronaut.png", "chelsea.png")


@pytest.fixture(scope="module")
def detector():
    return FaceDetector.from_pretrained(ROOT / "weights" / "face-detector")


def photo(name):
    return np.asarray(Image.open(ROOT / "examples" / name).convert("RGB"))


def with_face(size, *windows):
    """A gray photo with the example's face, which fills its picture, in each TurnedWindow."""
    shade = np.linspace(90, 160, size[0], dtype=np.float32)[None, :, None]
    pixels = np.broadcast_to(shade, (size[1], size[0], 3)).copy()
    for window in windows:
        part = window_slices(window, pixels.shape)
        shown = enlarge(FACE.astype(np.float32), window, part)
        np.copyto(pixels[part], shown, where=inside(window, part)[..., None])
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def differences(frame, window):
    """(distance of the middles, of the sizes: in shares of the side; of the angles in degrees)."""
    distance = math.hypot(frame.center_x - window.center_x, frame.center_y - window.center_y)
    angle = abs(math.degrees(frame.angle - window.angle))
    return distance / window.side, abs(frame.side / window.side - 1), angle


def test_a_similarity_is_found_again():
    rng = np.random.default_rng(0)
    for _ in range(20):
        source, angle, scale = rng.normal(size=(4, 2)), rng.uniform(-3, 3), rng.uniform(0.1, 9)
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        shift = rng.normal(size=2)
        found = similarity(source, scale * source @ turn.T + shift)
        np.testing.assert_allclose(found[0], scale)
        np.testing.assert_allclose(found[1], angle)
        np.testing.assert_allclose(found[2], shift, atol=1e-9)


@pytest.mark.parametrize("angle", [0.0, 0.5, -0.7])
def test_points_that_lie_as_in_the_template_give_their_frame(angle):
    window = TurnedWindow(140.0, 90.0, 77.0, angle)
    np.testing.assert_allclose(frame_of(window.to_picture(TEMPLATE)), window, atol=1e-9)


def test_of_boxes_that_overlap_the_surest_stays():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10], [22, 2, 26, 6]], float)
    scores = np.array([0.7, 0.9, 0.8, 0.6])
    assert suppressed(boxes, scores, 0.5) == [1, 2, 3]
    assert suppressed(boxes, scores, 0.5, of_the_smaller=True) == [1, 2]
    assert suppressed(boxes, scores, 0.9) == [1, 2, 0, 3]


def test_boxes_are_squared_about_their_middle_and_moved_by_shares_of_their_size():
    box = np.array([[10, 20, 20, 60]], float)
    assert squared(box).tolist() == [[-5, 20, 35, 60]]
    assert moved(box, np.array([[0.1, 0, -0.1, 0.5]])).tolist() == [[11, 20, 19, 80]]


def test_the_face_of_a_photo_is_found_and_none_in_a_cat(detector):
    (face,) = find_faces(detector, photo("astronaut.png"))
    left, top, right, bottom = face.box
    assert 170 < left < 200 and 50 < top < 80 and 250 < right < 280 and 160 < bottom < 185
    eye, other, nose, _, corner = np.array(face.points)
    assert left < eye[0] < nose[0] < other[0] < right and eye[1] < nose[1] < corner[1] < bottom
    assert find_faces(detector, photo("chelsea.png")) == []


def test_an_aligned_face_is_found_in_the_frame_it_fills(detector):
    (face,) = find_faces(detector, FACE)
    distance, size, angle = differences(frame_of(face.points), TurnedWindow(128, 128, 256, 0))
    assert distance < 0.02 and size < 0.05 and angle < 2


@pytest.mark.parametrize("side", [48, 120, 260])
@pytest.mark.parametrize("degrees", [0, 20, -45])
def test_turned_faces_of_any_size_are_found_in_their_frames(detector, side, degrees):
    window = TurnedWindow(210.4, 190.7, float(side), math.radians(degrees))
    (face,) = find_faces(detector, with_face((420, 380), window))
    distance, size, angle = differences(frame_of(face.points), window)
    assert distance < 0.03 and size < 0.08 and angle < 4


def test_several_faces_are_told_apart_and_one_may_reach_past_the_border(detector):
    windows = [TurnedWindow(120, 150, 150.0, 0.2), TurnedWindow(425, 200, 180.0, -0.1)]
    faces = find_faces(detector, with_face((480, 360), *windows))
    assert len(faces) == 2
    frames = sorted(frame_of(face.points) for face in faces)
    for frame, window in zip(frames, windows):
        assert differences(frame, window)[0] < 0.05
    assert max(face.box[2] for face in faces) > 470


def test_a_small_face_in_a_large_photo_is_found_where_a_hole_touches_it(detector):
    window = TurnedWindow(2500, 1200, 60.0, 0.0)
    pixels = with_face((3000, 2000), window)
    assert find_faces(detector, pixels) == []
    hole = np.zeros((2000, 3000), bool)
    hole[1190:1200, 2490:2500] = True
    (face,) = find_faces(detector, pixels, hole)
    assert differences(frame_of(face.points), window)[0] < 0.05
    assert MIN_FACE_PX < face.side < 70


@pytest.mark.parametrize("size", [(1, 1), (5, 40), (16, 16), (11, 300)])
def test_pictures_too_small_for_a_face_hold_none(detector, size):
    rng = np.random.default_rng(0)
    assert find_faces(detector, rng.integers(0, 256, (*size, 3), dtype=np.uint8)) == []


def test_what_is_flat_or_noise_holds_no_face(detector):
    rng = np.random.default_rng(0)
    for pixels in (np.full((200, 300, 3), 255), rng.integers(0, 256, (200, 300, 3))):
        assert find_faces(detector, pixels.astype(np.uint8)) == []


def test_a_detector_is_saved_and_loaded(detector, tmp_path):
    detector.save_pretrained(tmp_path)
    again = FaceDetector.from_pretrained(tmp_path)
    assert find_faces(again, FACE) == find_faces(detector, FACE)
    assert not any(isinstance(module, torch.nn.Dropout) for module in again.modules())


def test_the_cropper_makes_a_training_set_of_a_folder_of_photos(tmp_path, capsys):
    from inpaint_hub.data import ImageDataset
    from inpaint_hub.faces.__main__ import main

    source, made = tmp_path / "photos", tmp_path / "made"
    (source / "more").mkdir(parents=True)
    window = TurnedWindow(200, 150, 180.0, 0.4)
    cut_off = TurnedWindow(395, 150, 180.0, 0.0)
    small = TurnedWindow(200, 150, 60.0, 0.0)
    for name, *windows in (("a.png", window), ("more/a.png", window), ("cut.png", cut_off),
                           ("small.jpg", small), ("none.png",)):  # fmt: skip
        Image.fromarray(with_face((420, 300), *windows)).save(source / name)
    (source / "broken.png").write_text("not a picture")
    arguments = [str(source), str(made), "--size", "128", "--validation_fraction", "0"]
    assert main(arguments) == 1
    told = capsys.readouterr().err
    assert "2 faces for training, 0 for validation, from 6 photos" in told and "broken.png" in told
    assert "1 smaller than 64 px, 1 cut off by the border; 1 photos without a face" in told
    assert sorted(path.name for path in made.rglob("*.png")) == ["a-png-0.png", "more-a-png-0.png"]
    crop = ImageDataset(made, "train", 128).load(0).astype(int)
    expected = np.asarray(Image.fromarray(FACE).resize((128, 128), Image.Resampling.BOX)).astype(
        int
    )
    assert np.abs(crop - expected)[16:112, 16:112].mean() < 12
    assert main([*arguments[:-1], "0.999"]) == 1
    assert len(list((made / "validation").iterdir())) == 2


def test_the_cropper_names_what_is_wrong(tmp_path, capsys):
    from inpaint_hub.faces.__main__ import main

    for arguments, message in (
        ((tmp_path / "no", tmp_path), "expected a folder of photos"),
        ((tmp_path, tmp_path), "holds no picture"),
        ((tmp_path, tmp_path, "--size", "3"), "--size 3"),
        ((tmp_path, tmp_path, "--validation_fraction", "1"), "--validation_fraction 1.0"),
    ):
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        assert stop.value.code == 2 and message in " ".join(capsys.readouterr().err.split())
