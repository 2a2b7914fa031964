"""Any photo: what touches a face goes to the model of faces, in its frame; all else elsewhere."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_pipelines import channels_last, mask_of, seeded, tiny_pipeline

from inpaint_hub import (
    AutoInpaintPipeline,
    DualPathPipeline,
    FaceDetector,
    InvertFillPipeline,
    default_pipeline,
    load_pipeline,
)
from inpaint_hub.crops import inside, window_slices
from inpaint_hub.evaluation.methods import pipeline_digest
from inpaint_hub.faces import Face, find_faces
from inpaint_hub.images import read_images
from inpaint_hub.pipelines.routes import plan_of, with_textures

ROOT = Path(__file__).parent.parent
PHOTO = Image.open(ROOT / "examples" / "astronaut.png").convert("RGB").crop((100, 0, 400, 280))
EYE, BADGE, HEAD = (94, 90, 120, 116), (240, 200, 280, 240), (60, 40, 190, 190)
FACE_AND_BEYOND = (130, 100, 230, 150)


@pytest.fixture(scope="module")
def pipe():
    return AutoInpaintPipeline(
        faces=tiny_pipeline(DualPathPipeline),
        photos=tiny_pipeline(InvertFillPipeline),
        detector=FaceDetector.from_pretrained(ROOT / "weights" / "face-detector"),
    )


def hole(*boxes, size=PHOTO.size):
    mask = np.zeros(size[::-1], bool)
    for left, top, right, bottom in boxes:
        mask[top:bottom, left:right] = True
    return mask


def routes_of(pipe, mask, **options):
    return [route.route for route in pipe.route(PHOTO, mask, **options)]


def test_each_hole_has_its_route_box_and_reason(pipe):
    both = pipe(PHOTO, hole(EYE, BADGE)).routes
    told = [(0, EYE, "faces"), (0, BADGE, "texture")]  # the tiny models know nothing
    assert [(r.picture, r.box, r.route) for r in both] == told
    assert "touches a face" in both[0].reason and "touches no face; the model" in both[1].reason
    left, top, right, bottom = both[0].face
    assert left < EYE[0] and top < EYE[1] and right > EYE[2] and bottom > EYE[3]
    assert [r.route for r in pipe(PHOTO, hole(EYE, BADGE), texture="none").routes] == [
        "faces", "photos",
    ]  # fmt: skip
    planned = pipe.route(PHOTO, hole(EYE, BADGE))
    assert [r.route for r in planned] == ["faces", "photos"]
    assert planned[0] == pipe(PHOTO, hole(EYE, BADGE), texture="detail").routes[0]
    batch = pipe.route([PHOTO, PHOTO], [hole(BADGE), hole(EYE)])
    assert [(r.picture, r.route) for r in batch] == [(0, "photos"), (1, "faces")]
    cat = Image.open(ROOT / "examples" / "chelsea.png")
    (route,) = pipe.route(cat, hole((200, 100, 240, 130), size=cat.size))
    assert route.route == "photos" and route.reason == "no face in the picture"


def test_the_choice_of_faces_is_the_users(pipe):
    assert routes_of(pipe, hole(EYE, BADGE), faces="never") == ["photos", "photos"]
    assert routes_of(pipe, hole(EYE, BADGE), faces="always") == ["faces", "faces"]
    with pytest.raises(ValueError, match="faces is 'some'"):
        pipe(PHOTO, hole(EYE), faces="some")


def test_a_hole_over_a_whole_head_takes_the_person_away_unless_told_otherwise(pipe):
    (route,) = pipe.route(PHOTO, hole(HEAD))
    assert route.route == "photos" and "removal" in route.reason
    assert routes_of(pipe, hole(HEAD), faces="always") == ["faces"]


def test_faces_below_24_px_are_passed_over_and_that_is_said(pipe):
    small = PHOTO.resize((60, 56), Image.Resampling.BOX)
    (route,) = pipe.route(small, hole((18, 18, 24, 23), size=small.size))
    assert route.route == "photos" and "below 24 px" in route.reason


OPTIONS = [
    {},
    {"faces": "always", "texture": "none"},
    {"faces": "never", "padding_mask_crop": 8},
    {"blend": "none", "mask_blur": 3, "context": 0.5, "texture": "none"},
    {"num_images_per_prompt": 2, "variation": 0.5, "mask_dilate": 2, "texture": "none"},
]


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "CMYK", "I;16"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_known_pixels_come_back_bit_for_bit_in_every_mode(pipe, mode, options):
    if mode == "I;16":
        image = Image.fromarray(np.asarray(PHOTO.convert("L")).astype(np.uint16) * 257)
    else:
        image = PHOTO.convert(mode)
    mask = hole(EYE, BADGE, FACE_AND_BEYOND)
    for result in pipe(image, mask, **options).images:
        assert result.mode == image.mode and result.size == image.size
        before, after = np.array(image), np.array(result)
        grow = options.get("mask_dilate", 0)
        known = ~hole(*((a - grow, b - grow, c + grow, d + grow)
                        for a, b, c, d in (EYE, BADGE, FACE_AND_BEYOND)))  # fmt: skip
        assert np.array_equal(after[known], before[known])
        for left, top, right, bottom in (EYE, BADGE, FACE_AND_BEYOND):
            part = slice(top, bottom), slice(left, right)
            assert (after[part] != before[part]).mean() > 0.3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("output_type", ["np", "pt"])
def test_known_values_come_back_in_every_output_type_and_dtype(pipe, dtype, output_type):
    auto = AutoInpaintPipeline(
        faces=tiny_pipeline(DualPathPipeline).to(dtype),
        photos=tiny_pipeline().to(dtype),
        detector=pipe.detector,
    )
    mask = hole(EYE, BADGE)
    out = auto(PHOTO, mask, output_type=output_type).images[0]
    source = np.asarray(PHOTO).astype(np.float32) / 255
    assert np.array_equal(channels_last(out)[~mask], source[~mask])


def test_without_a_hole_no_network_runs(pipe, monkeypatch):
    for cls in (DualPathPipeline, InvertFillPipeline):
        monkeypatch.setattr(cls, "encode", lambda *a: pytest.fail("a network ran"))
    monkeypatch.setattr(FaceDetector, "forward", lambda *a: pytest.fail("a network ran"))
    out = pipe(PHOTO, hole())
    assert np.array_equal(np.array(out.images[0]), np.array(PHOTO)) and out.routes == []


def test_one_model_alone_fills_as_its_own_pipeline_does(pipe):
    mask = hole(BADGE)
    for texture in ("none", "auto"):
        ours = pipe(PHOTO, mask, faces="never", texture=texture).images[0]
        theirs = pipe.photos(PHOTO, mask, context=1, blend="gp", texture=texture).images[0]
        assert np.array_equal(ours, theirs)
    whole = pipe(PHOTO, mask, faces="always", texture="none").images[0]
    assert np.array_equal(whole, pipe.faces(PHOTO, mask, blend="gp").images[0])


def test_the_model_of_photos_never_sees_what_the_holes_held(pipe):
    mask = hole(BADGE)
    other = np.array(PHOTO)
    other[mask] = 255 - other[mask]
    assert np.array_equal(pipe(PHOTO, mask).images[0], pipe(other, mask).images[0])


def test_the_model_of_faces_sees_where_the_face_was_and_not_what_it_held(pipe, monkeypatch):
    mask, seen = hole(EYE), []
    encode = DualPathPipeline.encode
    monkeypatch.setattr(
        DualPathPipeline,
        "encode",
        lambda self, image, holes: seen.append((image, holes)) or encode(self, image, holes),
    )
    results, found = [], find_faces(pipe.detector, np.array(PHOTO), mask)
    monkeypatch.setattr("inpaint_hub.pipelines.routes.find_faces", lambda *a: found)
    for change in (0, 40):
        pixels = np.array(PHOTO).astype(int)
        pixels[mask] = np.clip(pixels[mask] + change, 0, 255)
        results.append(np.array(pipe(pixels.astype(np.uint8), mask).images[0]))
    assert np.array_equal(*results)
    assert torch.equal(seen[0][0], seen[1][0]) and 0 < seen[0][1].mean() < 0.5


def test_a_route_says_why_the_texture_was_taken():
    """Four holes: copied where the model was lost, copied where it knew the photo, not copied,
    copied from a period away."""
    boxes = [(10, 10, 20, 20), (50, 10, 60, 20), (90, 10, 100, 20), (130, 10, 140, 20)]
    mask = hole(*boxes)
    plan = plan_of(None, 0, None, mask, "never")
    part = (slice(0, mask.shape[0]), slice(0, mask.shape[1]))
    owns = [hole(box) for box in boxes]
    results = [("patches", {"unexplained": 0.9}), ("patches", {"unexplained": 0.01}), ("none", {})]
    results.append(("periodic", {"period_px": 8.0}))
    told = with_textures(plan, [((part, o), r) for o, r in zip(owns, results)], mask.shape).routes
    told = {route.box: (route.route, route.reason.split("; ")[-1]) for route in told}
    assert told[boxes[0]] == (
        "texture",
        "the model of photos misses too much of what lies around it",
    )
    assert told[boxes[1]] == ("texture", "sharper than the model of photos, which leads its colors")
    assert told[boxes[2]][0] == "photos"
    assert told[boxes[3]] == ("texture", "it repeats itself")


@pytest.mark.parametrize("texture", ["none", "auto"])
def test_a_batch_is_its_pictures_one_by_one(pipe, texture):
    turned = PHOTO.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    images, masks = [PHOTO, turned, PHOTO], [hole(EYE), hole(BADGE), hole(FACE_AND_BEYOND)]
    options = {
        "num_images_per_prompt": 2,
        "variation": 0.4,
        "output_type": "np",
        "texture": texture,
    }
    generators = [seeded(s) for s in range(6)]
    together = pipe(images, masks, generator=generators, **options).images
    for i in range(3):
        alone = pipe(
            images[i], masks[i], generator=[seeded(2 * i), seeded(2 * i + 1)], **options
        ).images
        np.testing.assert_allclose(
            together[2 * i : 2 * i + 2], alone, atol=1.01 / 255 if texture == "none" else 0
        )
        assert np.abs(alone[0] - alone[1])[masks[i]].mean() > 1e-3


def test_what_a_hole_has_beyond_a_face_is_filled_as_well(pipe):
    mask = hole(FACE_AND_BEYOND)
    out = pipe(PHOTO, mask)
    assert [r.route for r in out.routes] == ["faces"]
    changed = (np.array(out.images[0]) != np.array(PHOTO)).any(axis=2)
    assert changed[mask].mean() > 0.9 and not changed[~mask].any()


def test_textures_are_those_of_each_results_crops(pipe):
    out = pipe(PHOTO, hole(EYE, BADGE), num_images_per_prompt=2)
    assert [[choice for choice, _ in crops] for crops in out.textures] == [
        ["detail", "mirrored", "patches"],  # the other eye
        ["detail", "patches"],
    ]
    assert pipe(PHOTO, hole(EYE), texture="none").textures is None
    with pytest.raises(ValueError, match="texture is 'sharp'"):
        pipe(PHOTO, hole(EYE), texture="sharp")


def test_options_of_one_model_are_refused_with_the_way_on(pipe):
    for options in ({"composite": False}, {"output_type": "latent"}):
        with pytest.raises(ValueError, match="call pipe.faces or pipe.photos"):
            pipe(PHOTO, mask_of(hole(EYE)), **options)
    with pytest.raises(ValueError, match="give one of them"):
        pipe(PHOTO, hole(EYE), context=1, padding_mask_crop=8)
    with pytest.raises(TypeError, match="faces is a FaceDetector"):
        AutoInpaintPipeline(pipe.detector, pipe.photos, pipe.detector)
    with pytest.raises(TypeError, match="detector is a"):
        AutoInpaintPipeline(pipe.faces, pipe.photos, pipe.photos)


def test_it_is_saved_whole_and_loaded_by_every_way(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert index["faces"] == ["inpaint_hub", "DualPathPipeline"]
    assert "from_pretrained" in (tmp_path / "README.md").read_text()
    expected = np.array(pipe(PHOTO, hole(EYE, BADGE)).images[0])
    for load in (load_pipeline, AutoInpaintPipeline.from_pretrained):
        again = load(tmp_path)
        assert type(again) is AutoInpaintPipeline
        assert np.array_equal(again(PHOTO, hole(EYE, BADGE)).images[0], expected)
    half = AutoInpaintPipeline.from_pretrained(tmp_path, dtype=torch.bfloat16, photos=pipe.photos)
    assert half.faces.encoder.dtype == torch.bfloat16 and half.photos is pipe.photos
    with pytest.raises(TypeError, match="use load_pipeline"):
        AutoInpaintPipeline.from_pretrained(tmp_path / "faces")


def test_all_of_it_goes_to_the_device_of_device_map(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    loaded = AutoInpaintPipeline.from_pretrained(tmp_path, device_map="meta")
    places = {loaded.detector.device, loaded.faces.gan.device, loaded.photos.gan.device}
    assert places == {torch.device("meta")}
    with pytest.raises(ValueError, match="balanced"):
        AutoInpaintPipeline.from_pretrained(tmp_path, device_map="balanced")


def test_an_index_can_name_no_class_and_no_place_but_its_own(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    for kind in ("../faces", "AutoInpaintPipeline", "os.system", None):
        changed = index | {"faces": ["inpaint_hub", kind] if kind else "../elsewhere"}
        (tmp_path / "model_index.json").write_text(json.dumps(changed))
        with pytest.raises(ValueError, match="faces is a .* in model_index.json"):
            load_pipeline(tmp_path)


def test_its_digest_changes_with_the_weights_of_any_part(pipe):
    auto = AutoInpaintPipeline(
        faces=tiny_pipeline(DualPathPipeline), photos=tiny_pipeline(), detector=pipe.detector
    )
    before = pipeline_digest(auto)
    assert before == pipeline_digest(pipe)
    next(auto.photos.gan.parameters()).data += 1
    assert pipeline_digest(auto) != before


def test_the_bundled_one_paints_an_eye_into_the_hole_of_an_eye():
    pipe = default_pipeline()
    mask = hole(EYE)
    image = pipe(PHOTO, mask).images[0]
    error = np.abs(np.array(image).astype(int) - np.array(PHOTO))[mask].mean()
    flat = np.abs(np.array(PHOTO)[EYE[1] - 3].mean(axis=0) - np.array(PHOTO))[mask].mean()
    without = pipe.faces(PHOTO, mask, blend="gp").images[0]
    blurred = np.abs(np.array(without).astype(int) - np.array(PHOTO))[mask].mean()
    assert error < 0.8 * blurred and error < flat


def test_faces_are_not_copied_into_other_holes(pipe, monkeypatch):
    from inpaint_hub.pipelines import windows

    seen, made = [], windows.textured

    def recorded(*given):
        seen.append(given[-2])
        return made(*given)

    monkeypatch.setattr(windows, "textured", recorded)
    below = (60, 230, 130, 270)
    found = find_faces(pipe.detector, np.array(PHOTO), hole(below))[0].box
    pipe(PHOTO, hole(below))
    [unwanted] = seen
    share = unwanted.mean()
    assert 0.02 < share < 0.5  # a part of the crop, the face and a quarter of its side around it
    plan = plan_of(pipe.detector, 0, read_images(PHOTO)[0], hole(below), "auto")
    rows, columns = np.nonzero(plan.unwanted(PHOTO.size[::-1]))
    side = max(found[2] - found[0], found[3] - found[1])
    expected = found[0] - side / 4, found[1] - side / 4, found[2] + side / 4, found[3] + side / 4
    got = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    assert np.allclose(got, np.clip(expected, 0, None), atol=1)
    pipe(PHOTO, hole(below), faces="never")
    assert seen[1:] == [None]


def test_every_result_of_a_hole_half_in_a_face_leaves_the_face_alone(pipe, monkeypatch):
    from inpaint_hub.pipelines import windows

    seen, made = [], windows.textured
    monkeypatch.setattr(windows, "textured", lambda *a: seen.append(a[-2]) or made(*a))
    pipe(PHOTO, hole(FACE_AND_BEYOND), num_images_per_prompt=2)
    assert [one is not None and one.any() for one in seen].count(True) >= 2


def test_what_lies_beside_a_turned_frame_is_not_the_faces(monkeypatch):
    """A face turned by 45 degrees: of a hole that covers all of it, its model fills what its frame
    holds, not the upright square around that."""
    points = ((150, 120), (180, 150), (150, 150), (120, 150), (150, 180))
    face = Face((100, 100, 200, 200), points, 1.0)
    monkeypatch.setattr("inpaint_hub.pipelines.routes.find_faces", lambda *_: [face])
    (picture,) = read_images(np.zeros((300, 300, 3), np.uint8))
    own = np.zeros((300, 300), bool)
    own[150:152, 10:290] = own[20:280, 150:152] = own[90:96, 90:220] = True
    (window, filled) = plan_of(None, 0, picture, own, "always").frames[0]
    part = window_slices(window, own.shape)
    assert np.array_equal(filled, own[part] & inside(window, part)) and filled.any()
    assert (own[part] & ~inside(window, part)).any()
