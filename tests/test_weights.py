"""The bundled weights: complete, small, licensed, and worth using."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inpaint_hub import load_pipeline
from inpaint_hub.masks import mask_in_band

ROOT = Path(__file__).parent.parent
LARGEST_BYTES = {"invertfill-faces-64": 20e6, "dualpath-faces-64": 25e6}
# Of the error of a hole filled with the mean colour of the rest.
LARGEST_ERROR = {"invertfill-faces-64": 0.85, "dualpath-faces-64": 0.95}


@pytest.fixture(scope="module", params=sorted(LARGEST_BYTES))
def folder(request):
    return ROOT / "weights" / request.param


@pytest.fixture(scope="module")
def pipe(folder):
    return load_pipeline(folder)


@pytest.fixture(scope="module")
def face():
    photo = Image.open(ROOT / "examples" / "face.png").convert("RGB")
    return np.asarray(photo.resize((64, 64), Image.Resampling.LANCZOS))


def test_they_are_small_and_state_their_terms(folder):
    files = [p for p in folder.rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in files) <= LARGEST_BYTES[folder.name]
    assert {p.suffix for p in files} <= {".json", ".md", ".safetensors"}
    card = (folder / "README.md").read_text()
    assert "non-commercial" in card and "license_name" in card


@pytest.mark.parametrize("seed", range(4))
def test_large_holes_in_a_face_they_never_saw_get_a_face_again(pipe, folder, face, seed):
    mask = mask_in_band(64, 0.5, 0.8, np.random.default_rng(seed))
    ours = np.asarray(pipe(Image.fromarray(face), mask).images[0]).astype(int)
    assert np.array_equal(ours[~mask], face[~mask])
    flat = face[~mask].mean(axis=0)
    error, flat_error = (np.abs(r - face)[mask].mean() for r in (ours, np.full(face.shape, flat)))
    assert error < LARGEST_ERROR[folder.name] * flat_error


def test_the_coarse_pictures_resemble_the_face(face):
    pipe = load_pipeline(ROOT / "weights" / "invertfill-faces-64")
    prepared = pipe.preprocess(Image.fromarray(face), np.eye(64, dtype=bool))
    output = pipe.encoder(prepared.image * (1 - prepared.mask), prepared.mask)
    small = np.asarray(Image.fromarray(face).resize((16, 16), Image.Resampling.BOX))
    coarse = (output.coarse[-1][0].detach().permute(1, 2, 0).numpy() + 1) * 127.5
    assert np.abs(coarse - small).mean() < 25
