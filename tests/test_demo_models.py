"""The demo's models: those of the Hub by name, and photos that are larger than a pipeline sees."""

import numpy as np
import pytest
from demo_page import Recorded, tiny_pipeline
from PIL import Image

from inpaint_hub import (
    AutoInpaintPipeline,
    InvertFillPipeline,
    default_pipeline,
    load_pipeline,
    provenance,
)
from inpaint_hub.demo import filling, models
from inpaint_hub.demo.filling import WHOLE_PIXELS, Settings
from inpaint_hub.demo.models import HUB_PIPELINES, Models
from inpaint_hub.demo.photos import SHOWN_PIXELS, Refusal, Visit, accept, opened, write_result
from inpaint_hub.pipelines.bundle import OUTPAINTING, PAINTINGS


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Repositories in the Hub's own cache, as if they had been downloaded; {id: times loaded}."""
    loaded = {}

    def snapshot(name):
        folder = tmp_path / f"models--{name.replace('/', '--')}" / "snapshots" / "0123abc"
        if "none" in name:
            raise FileNotFoundError(f"there is no repository {name}")
        if not folder.is_dir():
            tiny_pipeline(len(name), InvertFillPipeline).save_pretrained(folder)
        return folder

    def load(name):
        loaded[name] = loaded.get(name, 0) + 1
        return load_pipeline(snapshot(name))

    monkeypatch.setattr(models, "load_pipeline", load)
    monkeypatch.setattr(models, "find_file", lambda name, file: snapshot(name) / file)
    return loaded


def test_a_visitor_may_name_a_repository_of_the_hub_and_the_file_says_which(hub, tmp_path):
    here = Models({"Here": tiny_pipeline()})
    pipe = here.get("somebody/faces")
    assert here.get("somebody/faces") is pipe and hub == {"somebody/faces": 1}
    assert here.get() is here.get("Here") is not pipe
    image, hole = Image.new("RGB", (40, 30), (9, 99, 199)), np.zeros((30, 40), bool)
    hole[5:15, 5:20] = True
    revision = here.revision("somebody/faces")
    result = next(filling.fill(pipe, image, hole, Settings(texture="none"), revision))
    file, _ = write_result(result.image, Visit(tmp_path), "a", result.notes)
    notes = provenance.read(Image.open(file))
    assert notes["revision"] == "0123abc" and notes["pipeline"] == "InvertFillPipeline"
    assert str(tmp_path) not in str(notes)
    assert here.revision("Here") is None


def test_only_the_last_ones_named_are_kept(hub):
    here = Models({"Here": tiny_pipeline()})
    names = [f"somebody/number-{i}" for i in range(HUB_PIPELINES + 1)]
    for name in [*names, names[-1], names[0]]:
        here.get(name)
    assert hub == {name: 1 for name in names} | {names[0]: 2}


@pytest.mark.parametrize(
    "name, words",
    [
        ("somebody/none", "cannot be loaded"),
        ("nobody", "name a Hub repository as owner/name"),
        ("../somebody/faces", "There is no model"),
        ("somebody/faces/more", "There is no model"),
        ("/somebody/faces", "There is no model"),
        ("somebody/..", "There is no model|cannot be loaded"),
    ],
)
def test_names_that_are_none_are_refused_with_what_can_be_done(hub, name, words):
    with pytest.raises(Refusal, match=words):
        Models({"Here": tiny_pipeline()}).get(name)


def test_a_page_without_the_hub_loads_nothing_of_it(hub):
    with pytest.raises(Refusal, match="choose one of Here"):
        Models({"Here": tiny_pipeline()}, from_hub=False).get("somebody/faces")
    assert hub == {}


# --- sizes ----------------------------------------------------------------------------------------


def large_photo(size):
    """Every pixel another value than its neighbors, made fast."""
    rows, columns = np.ogrid[: size[1], : size[0]]
    values = (rows * 7 + columns * 13).astype(np.uint8)
    return Image.fromarray(np.stack([values, values + 85, values // 2], axis=2))


def filled_in_part(size, tmp_path):
    """(photo as it came from the upload, hole, result's file read again, what the pipeline saw)."""
    path = tmp_path / "phone.jpg"
    large_photo(size).save(path, quality=90)
    visit = Visit(tmp_path)
    photo, image = accept(visit, path, path.name)
    hole = np.zeros(size[::-1], bool)
    hole[size[1] // 3 : size[1] // 3 + 150, size[0] // 2 : size[0] // 2 + 200] = True
    result = next(filling.fill(tiny_pipeline(), image, hole, Settings(texture="none")))
    file, shown = write_result(result.image, visit, "phone_filled", result.notes)
    with Image.open(shown) as look:
        assert look.width * look.height <= SHOWN_PIXELS
    return photo, image, hole, opened(file), Recorded.calls[-1]


@pytest.mark.parametrize(
    "size", [(4200, 3000), pytest.param((8000, 6000), marks=pytest.mark.slow)], ids=str
)
def test_large_photos_are_filled_at_their_own_size_though_a_part_is_seen(size, tmp_path):
    assert size[0] * size[1] > WHOLE_PIXELS
    photo, image, hole, result, (seen, seen_hole, _) = filled_in_part(size, tmp_path)
    assert f"{size[0]} × {size[1]} px" in photo.note and "filled at this size" in photo.note
    assert result.size == size
    known, filled = np.asarray(image), np.asarray(result)
    assert np.array_equal(filled[~hole], known[~hole])
    assert not np.array_equal(filled[hole], known[hole])
    assert seen.width * seen.height < size[0] * size[1] / 2  # the part around the hole
    assert seen_hole.sum() == hole.sum()


def test_a_photo_of_more_pixels_than_the_page_takes_is_told_so_at_the_upload(tmp_path):
    path = tmp_path / "huge.png"
    Image.new("1", (9000, 6000)).save(path)
    with pytest.raises(Refusal, match=r"“huge.png” is 9000 x 6000 px \(54 megapixels\).* up to 50"):
        accept(Visit(tmp_path), path, path.name)


def test_borders_are_filled_by_the_weights_trained_for_them_and_faces_by_the_same():
    here = Models(models.bundled_models(), engine=None)
    automatic = here.outpainting()
    assert automatic is here.outpainting("Automatic") and isinstance(automatic, AutoInpaintPipeline)
    assert automatic.faces is here.get().faces and automatic.detector is here.get().detector
    assert automatic.photos is here.outpainting("Photos") is not here.get("Photos")
    assert automatic.photos.name_or_path.name == OUTPAINTING
    assert here.outpainting("Faces") is here.get("Faces")
    assert provenance.describe(automatic.photos)["model"] == OUTPAINTING


def test_paintings_are_filled_by_the_weights_adapted_to_them_where_these_are(monkeypatch):
    here = Models(models.bundled_models(), engine=None)
    assert here.names == ["Automatic", "Faces", "Photos", "Paintings"]
    pipe = here.get("Paintings")
    assert isinstance(pipe, AutoInpaintPipeline) and pipe is here.outpainting("Paintings")
    assert pipe.faces.name_or_path.name == PAINTINGS
    assert pipe.photos.name_or_path.name == "photos-128"

    def only_default(name):
        if name == PAINTINGS:
            raise FileNotFoundError(name)

    monkeypatch.setattr(models, "weights_folder", only_default)
    assert list(models.bundled_models()) == ["Automatic", "Faces", "Photos"]


def test_other_models_fill_their_borders_themselves(hub):
    here = Models({"Here": tiny_pipeline(), "Automatic": default_pipeline})
    assert here.outpainting() is here.get() is here.outpainting("Here")
    assert here.outpainting("somebody/faces") is here.get("somebody/faces")
    assert here.outpainting("Automatic").photos.name_or_path.name == OUTPAINTING
