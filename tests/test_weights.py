"""The bundled weights: complete, small, licensed, and worth using."""

import re
import shutil
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from inpaint_hub import load_pipeline
from inpaint_hub.masks import mask_in_band
from inpaint_hub.pipelines.stylegan2 import StyleGAN2Pipeline
from inpaint_hub.stylegan2 import StyleGAN2Discriminator

ROOT = Path(__file__).parent.parent
LARGEST_BYTES = {
    "invertfill-faces-64": 20e6,
    "dualpath-faces-64": 25e6,
    "invertfill-faces-128": 20e6,
    "dualpath-faces-128": 28e6,
    "dualpath-photos-128": 25e6,
    "dualpath-portraits-128": 28e6,
    "invertfill-paper-faces-128": 20e6,
    "psp-faces-128": 25e6,
    "invertfill-scenes-128": 20e6,
    "outpainting-128": 2e6,
    "photos-128": 9e6,
    "stylegan2-faces-128": 6e6,
}
# Of the error of a hole filled with the mean color of the rest.
LARGEST_ERROR = {
    "invertfill-faces-64": 0.85,
    "dualpath-faces-64": 0.95,
    "invertfill-faces-128": 0.98,
    "invertfill-paper-faces-128": 0.98,
    "psp-faces-128": 0.98,
    "dualpath-faces-128": 0.98,
    "dualpath-portraits-128": 0.98,
}


def bundled(name):
    return load_pipeline(ROOT / "weights" / name)


def face(side):
    photo = Image.open(ROOT / "examples" / "face.png").convert("RGB")
    return np.asarray(photo.resize((side, side), Image.Resampling.LANCZOS))


def test_all_are_looked_at():
    assert {path.name for path in (ROOT / "weights").iterdir()} == {*LARGEST_BYTES, "face-detector"}


def test_the_face_detector_is_small_and_carries_its_notice():
    folder = ROOT / "weights" / "face-detector"
    assert sum(p.stat().st_size for p in folder.iterdir()) <= 2.1e6
    card = (folder / "README.md").read_text()
    assert "Copyright (c) 2019 Timothy Esler" in card and "license: mit" in card


@pytest.mark.parametrize("name", sorted(LARGEST_BYTES))
def test_they_are_small_and_state_their_terms(name):
    folder = ROOT / "weights" / name
    files = [p for p in folder.rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in files) <= LARGEST_BYTES[folder.name]
    assert {p.suffix for p in files} == {".json", ".md", ".safetensors", ".jpg"}
    assert "_name_or_path" not in (folder / "model_index.json").read_text()
    card = (folder / "README.md").read_text()
    assert "non-commercial" in card and "license_name" in card


@pytest.mark.parametrize("name", sorted(LARGEST_BYTES))
def test_their_cards_show_a_picture_papers_and_figures_of_the_results(name):
    folder = ROOT / "weights" / name
    card = (folder / "README.md").read_text(encoding="utf-8")
    with Image.open(folder / re.search(r"!\[.+\]\((.+)\)", card)[1]) as picture:
        assert picture.height == 192 and picture.width in (3 * 192, 6 * 192)
    rows = re.findall(r"^\| (.*%\)?) \| (\d.*) \|$", card, re.MULTILINE)
    assert rows or name == "stylegan2-faces-128"
    linked = set(re.findall(r"\[([^]]+)\]\(https://", card))
    assert linked == set(load_pipeline(folder).papers if rows else StyleGAN2Pipeline.papers)
    results = "".join(p.read_text() for p in (ROOT / "docs" / "results").glob("*.md"))
    results = results.replace("**", "")  # the best of a column
    for _, cells in rows:
        assert all(cell in results for cell in cells.split(" | "))


@pytest.mark.parametrize("name", sorted(LARGEST_BYTES))
def test_their_cards_examples_run(name, tmp_path, monkeypatch):
    (code,) = re.findall(
        r"```python\n(.*?)```", (ROOT / "weights" / name / "README.md").read_text(), re.DOTALL
    )
    shutil.copy(ROOT / "examples" / "face.png", tmp_path / "photo.png")
    shutil.copy(ROOT / "examples" / "face_mask.png", tmp_path / "mask.png")
    (tmp_path / "weights").symlink_to(ROOT / "weights")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, name, "exec"), {})
    made = {p.name for p in tmp_path.iterdir()} - {"photo.png", "mask.png", "weights"}
    assert made >= ({"picture.png"} if name == "stylegan2-faces-128" else {"filled.png"})


@pytest.mark.parametrize("name", sorted(LARGEST_ERROR))
def test_large_holes_in_a_face_they_never_saw_get_a_face_again(name):
    pipe = bundled(name)
    photo = face(pipe.resolution)
    flat = np.full(photo.shape, 0.0)
    for seed in range(4):
        mask = mask_in_band(pipe.resolution, 0.5, 0.8, np.random.default_rng(seed))
        ours = np.asarray(pipe(Image.fromarray(photo), mask).images[0]).astype(int)
        assert np.array_equal(ours[~mask], photo[~mask])
        flat[:] = photo[~mask].mean(axis=0)
        error, flat_error = (np.abs(result - photo)[mask].mean() for result in (ours, flat))
        assert error < LARGEST_ERROR[name] * flat_error, seed


def test_four_answers_to_one_hole_differ_visibly():
    photo, hole = face(128), np.zeros((128, 128), bool)
    hole[32:112, 32:96] = True
    options = {"num_images_per_prompt": 4, "variation": 0.5}
    generator = torch.Generator().manual_seed(0)
    answers = bundled("invertfill-faces-128")(
        Image.fromarray(photo), hole, generator=generator, **options
    )
    answers = [np.asarray(image).astype(int) for image in answers.images]
    assert all(np.array_equal(answer[~hole], photo[~hole]) for answer in answers)
    gaps = [np.abs(a - b)[hole].mean() for a, b in combinations(answers, 2)]
    assert min(gaps) > 3  # gray levels of 255


@pytest.mark.parametrize(
    "name", ["invertfill-scenes-128", "photos-128", "dualpath-photos-128", "outpainting-128"]
)
def test_the_weights_for_photos_fill_and_keep_what_is_known(name):
    photo = np.asarray(Image.open(ROOT / "examples" / "astronaut.png").convert("RGB"))
    hole = np.zeros(photo.shape[:2], bool)
    hole[:150] = True
    filled = np.asarray(bundled(name)(Image.fromarray(photo), hole).images[0])
    assert np.array_equal(filled[~hole], photo[~hole]) and filled[hole].std() > 1


def test_the_generator_comes_with_its_discriminator():
    folder = ROOT / "weights" / "stylegan2-faces-128"
    gan = StyleGAN2Pipeline.from_pretrained(folder).gan
    judge = StyleGAN2Discriminator.from_pretrained(folder, subfolder="discriminator")
    z = torch.randn(4, gan.z_dim, generator=torch.Generator().manual_seed(0))
    assert judge(gan(z).clamp(-1, 1)).shape == (4, 1)


@pytest.mark.parametrize("name", ["invertfill-faces-64", "invertfill-faces-128"])
def test_the_coarse_pictures_resemble_the_face(name):
    pipe = bundled(name)
    photo = face(pipe.resolution)
    prepared = pipe.preprocess(Image.fromarray(photo), np.eye(pipe.resolution, dtype=bool))
    output = pipe.encoder(prepared.image * (1 - prepared.mask), prepared.mask)
    small = np.asarray(Image.fromarray(photo).resize((16, 16), Image.Resampling.BOX))
    coarse = (output.coarse[-1][0].detach().permute(1, 2, 0).numpy() + 1) * 127.5
    assert np.abs(coarse - small).mean() < 25
