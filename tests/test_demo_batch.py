"""Many photos at once: which mask is whose, what is left out, and what the files say."""

import zipfile

import numpy as np
import pytest
from demo_page import Recorded, photo_file, tiny_pipeline
from PIL import Image

from inpaint_hub import folders, provenance
from inpaint_hub.demo import batch
from inpaint_hub.demo.photos import Refusal


@pytest.fixture
def sent(tmp_path):
    """A function that puts files of such names into the folders of photos and masks."""

    def put(photos, masks):
        for folder, names in (("photos", photos), ("masks", masks)):
            (tmp_path / folder).mkdir()
            for seed, name in enumerate(names):
                photo_file(tmp_path / folder, (30, 20), name, seed)
        return tmp_path / "photos", tmp_path / "masks", tmp_path / "filled"

    return put


@pytest.mark.parametrize(
    "photos, masks, expected",
    [
        (["a.png", "b.png"], ["m.png"], {"a.png": "m.png", "b.png": "m.png"}),
        (["a.png", "b.png"], ["b.png", "a.png"], {"a.png": "a.png", "b.png": "b.png"}),
        (["a.png", "b.png"], ["a_mask.png", "b_mask.png"], {"a.png": "a.png", "b.png": "b.png"}),
        (["A.png", "b.png"], ["a.png", "b.bmp"], {"A.png": "a.png", "b.png": "b.bmp"}),
        (["a.png", "b.png"], ["a.png", "c.png"], {"a.png": "a.png", "b.png": None}),
        (["a.png", "b.png"], ["a.bmp", "a.gif", "b.png"], {"a.png": None, "b.png": "b.png"}),
        (["a.png", "a.b.png"], ["a.png", "a.b.png"], {"a.png": "a.png", "a.b.png": "a.b.png"}),
        (["a[1].png", "a1.png"], ["a1.png", "b.png"], {"a[1].png": None, "a1.png": "a1.png"}),
        (
            ["a_mask.png", "b.png"],
            ["a_mask.png", "c.png"],
            {"a_mask.png": "a_mask.png", "b.png": None},
        ),
    ],
)
def test_each_photo_gets_the_mask_of_its_name_as_on_the_command_line(sent, photos, masks, expected):
    jobs, notes = batch.jobs_of(*sent(photos, masks))
    assert {j.picture.name: j.mask and j.mask.name for j in jobs} == expected
    assert len({j.target for j in jobs}) == len(photos) and notes == []
    assert all(j.target.name.endswith("_filled.png") for j in jobs)


def test_a_mask_of_the_photos_own_name_is_not_put_aside_for_another(sent):
    photos, masks, target = sent(["a.png", "b.png"], ["a.png", "a_mask.png"])
    own = (masks / "a.png").read_bytes()
    jobs, _ = batch.jobs_of(photos, masks, target)
    assert jobs[0].mask.read_bytes() == own and jobs[1].mask is None


def test_what_is_no_picture_is_named_and_not_tried(sent):
    folders_sent = sent(["a.png"], ["m.png"])
    (folders_sent[0] / "notes.txt").write_text("no picture")
    jobs, notes = batch.jobs_of(*folders_sent)
    assert [j.picture.name for j in jobs] == ["a.png"] and notes == ["notes.txt: no picture"]


@pytest.mark.parametrize(
    "photos, masks, words", [([], ["m.png"], "photo"), (["a.png"], [], "mask")]
)
def test_without_photos_or_masks_it_says_what_to_add(sent, photos, masks, words):
    with pytest.raises(Refusal, match=f"There is no {words} yet") as refusal:
        batch.jobs_of(*sent(photos, masks))
    assert "/" not in str(refusal.value)


def test_two_of_one_name_in_zips_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("one/a.png", b"x")
        archive.writestr("two/a.png", b"y")
    with pytest.raises(Refusal, match="Two files are named “a.png”"):
        batch.gathered([tmp_path / "a.zip"], tmp_path / "photos")


@pytest.mark.parametrize("mode, ending", [("RGB", ".png"), ("CMYK", ".tif")])
def test_files_filled_by_folder_say_where_they_came_from(tmp_path, mode, ending):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(tmp_path / "a.tif")
    hole = np.zeros((20, 30), np.uint8)
    hole[5:15, 5:20] = 255
    Image.fromarray(hole).save(tmp_path / "mask.png")
    jobs, _ = folders.jobs_of(tmp_path / "a.tif", tmp_path / "mask.png", tmp_path / "filled.png")
    options = {"texture": "none"}
    report = folders.fill_files(
        tiny_pipeline(kind=Recorded), jobs, seed=5, options=options, revision="0123abc"
    )
    assert report.filled == 1, report
    notes = provenance.read(Image.open(tmp_path / f"filled{ending}"))
    assert notes["pipeline"] == "Recorded" and notes["seed"] == 5
    assert notes["revision"] == "0123abc" and notes["texture"] == "none"
    assert notes["coverage"] == pytest.approx((hole > 0).mean(), abs=1e-6)
    assert str(tmp_path) not in str(notes)
