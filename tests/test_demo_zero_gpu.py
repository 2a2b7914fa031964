"""Where GPUs are lent, every tab calls its pipeline inside a loan, and nowhere else."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from demo_page import tiny_pipeline
from PIL import Image

from inpaint_hub import InvertFillPipeline, folders, provenance
from inpaint_hub.demo import comparison, outside, zero_gpu
from inpaint_hub.demo.beyond import Batches
from inpaint_hub.demo.filling import Settings, fill
from inpaint_hub.demo.models import Models
from inpaint_hub.demo.photos import Visit


class Inside(InvertFillPipeline):
    """Refuses to be called without a loan."""

    loans = calls = 0

    def __call__(self, *given, **options):
        assert Inside.loans == 1, "called without a GPU"
        Inside.calls += 1
        return super().__call__(*given, **options)


@pytest.fixture
def pipe(monkeypatch):
    unlent = zero_gpu._called

    def lent(*given):
        Inside.loans += 1
        try:
            return unlent(*given)
        finally:
            Inside.loans -= 1

    monkeypatch.setattr(zero_gpu, "spaces", SimpleNamespace())
    monkeypatch.setattr(zero_gpu, "_called", lent)
    Inside.calls = 0
    return tiny_pipeline(kind=Inside)


PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8))
HOLE = np.zeros((40, 48), bool)
HOLE[10:22, 12:30] = True


def test_a_fill_and_the_map_of_guesses(pipe):
    next(fill(pipe, PHOTO, HOLE, Settings()))
    comparison.spread_map(pipe, PHOTO, HOLE, Settings())
    assert pipe.calls >= 3


def test_borders(pipe):
    picture, notes = outside.extended(pipe, PHOTO, (50, 0, 50, 0), Settings(), lambda *at: None)
    assert picture.size == (96, 40) and pipe.calls == 3  # strips
    assert np.array_equal(np.asarray(picture)[:, 24:72], np.asarray(PHOTO))
    assert notes["pipeline"] == "Inside"


def test_many_photos_get_their_own_seeds(pipe, tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(2)]
    for path in paths:
        PHOTO.save(path)
    Image.fromarray(HOLE).save(tmp_path / "mask.png")
    results = {}
    for name, one in (("lent", zero_gpu.lent_pipeline(pipe)), ("own", tiny_pipeline())):
        jobs = [folders.Job(p, tmp_path / "mask.png", tmp_path / name / p.name) for p in paths]
        report = folders.fill_files(one, jobs, seed=3, options={"variation": 0.5})
        assert report.filled == 2 and not report.failures
        results[name] = [Image.open(job.target) for job in jobs]
    for lent, own in zip(*results.values()):
        assert np.array_equal(lent, own)
    assert provenance.read(results["lent"][0])["pipeline"] == "Inside" and pipe.calls == 1


def test_the_tab_of_many_photos(pipe, tmp_path):
    PHOTO.save(tmp_path / "a.png")
    Image.fromarray(HOLE).save(tmp_path / "mask.png")
    parts = SimpleNamespace(many_told="told", many_file="file", visit="visit")
    tab = Batches(parts, Models({"tiny": pipe}), lambda visit: Visit(tmp_path / "visit"))
    given = [str(tmp_path / "a.png")], [str(tmp_path / "mask.png")], False, None, "tiny"
    settings = 3, False, 1, 0.5, "none", "gp", 0
    answers = list(tab.fill_many(*given, *settings, progress=lambda *at, **how: None))
    assert "1 of 1 filled" in answers[-1]["told"] and pipe.calls == 1


def test_without_loans_a_pipeline_stays_what_it_is(pipe, monkeypatch):
    assert isinstance(zero_gpu.lent_pipeline(pipe), Inside)
    assert zero_gpu.lent_pipeline(pipe) is not pipe
    assert zero_gpu.lent_pipeline(pipe).resolution == pipe.resolution
    generator = torch.Generator().manual_seed(5)
    made = zero_gpu.lent_pipeline(pipe)(PHOTO, HOLE, generator=generator)
    again = zero_gpu.call(pipe, PHOTO, HOLE, 5)[0]
    assert np.array_equal(made.images[0], again[0])
    monkeypatch.setattr(zero_gpu, "spaces", None)
    assert zero_gpu.lent_pipeline(pipe) is pipe
