"""examples/fill_with_ray.py: shards in, shards out, each row as the command line fills it."""

import importlib.util
import io
import json
import os
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from test_pipelines import tiny_pipeline

from inpaint_hub import load_pipeline, provenance
from inpaint_hub.__main__ import main as command_line

ROOT = Path(__file__).parent.parent
SIZE = (40, 30)  # width, height
PIPELINE = tiny_pipeline()


def example():
    """The example as a module."""
    path = ROOT / "examples" / "fill_with_ray.py"
    specification = importlib.util.spec_from_file_location("fill_with_ray", path)
    module = importlib.util.module_from_spec(specification)
    sys.modules["fill_with_ray"] = module
    specification.loader.exec_module(module)
    return module


ray_fill = example()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tiny_pipeline().save_pretrained(folder)
    return str(folder)


@pytest.fixture
def tiny(monkeypatch):
    """A name under which a tiny pipeline is found without being read each time."""
    monkeypatch.setattr("inpaint_hub.__main__.load_pipeline", lambda *given, **options: PIPELINE)
    return "tiny"


def encoded(pixels, file_format="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, file_format)
    return buffer.getvalue()


def photo(seed, file_format="PNG"):
    pixels = np.random.default_rng(seed).integers(0, 256, (*SIZE[::-1], 3), dtype=np.uint8)
    return encoded(pixels, file_format)


def hole(left):
    mask = np.zeros(SIZE[::-1], np.uint8)
    mask[8:20, left : left + 9] = 255
    return encoded(mask)


def samples(count, first=0):
    """[(picture, mask)], one in three a JPEG."""
    kinds = ["JPEG" if i % 3 == 0 else "PNG" for i in range(first, first + count)]
    return [(photo(i, kind), hole(i % 20)) for i, kind in enumerate(kinds, first)]


def write_parquet(file, rows, **columns):
    image, mask = ([{"bytes": r[i], "path": None} for r in rows] for i in (0, 1))
    pq.write_table(pa.table({"image": image, "mask": mask, **columns}), file, row_group_size=2)


def write_tar(file, rows):
    with tarfile.open(file, "w") as tar:
        for i, (picture, mask) in enumerate(rows):
            ending = "jpg" if picture[:2] == b"\xff\xd8" else "png"
            for name, data in ((f"{i:04d}.{ending}", picture), (f"{i:04d}.mask.png", mask)):
                if data is not None:
                    member = tarfile.TarInfo(name)
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))


def by_command_line(folder, rows, model, *flags):
    """The files that `python -m inpaint_hub` writes for these rows, None where it writes none."""
    for name in ("photos", "masks"):
        (folder / name).mkdir(parents=True)
    for i, (picture, mask) in enumerate(rows):
        if picture:
            (folder / "photos" / f"{i:04d}.png").write_bytes(picture)
        if mask:
            (folder / "masks" / f"{i:04d}.png").write_bytes(mask)
    paths = [f"--{k}={folder / v}" for k, v in zip(("image", "mask"), ("photos", "masks"))]
    command_line([*paths, f"--output={folder / 'out'}", "--model", model, *flags])
    files = [folder / "out" / f"{i:04d}.png" for i in range(len(rows))]
    return [f.read_bytes() if f.is_file() else None for f in files]


EXACT = ("--engine", "none", "--seed", "3")  # an eager form is chosen by timing


def here(folder, output, model, *flags, shards=None):
    """Fill without Ray, as its actors do; returns their reports."""
    own, given = ray_fill.parsed(
        ["--input", str(folder), "--output", str(output), "--model", model, *EXACT, *flags]
    )
    ray_fill.check_settings(own, given)
    filler = ray_fill.Filler(own, given)
    return [filler.fill(shard) for shard in shards or ray_fill.shards_of(own)]


def results(output):
    """[row] of all shards, in the order of their names."""
    files = sorted(Path(output).rglob("*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def images(rows):
    return [row["image"] and row["image"]["bytes"] for row in rows]


def test_rows_of_parquet_are_filled_as_the_command_line_fills_files(tmp_path, model):
    rows = samples(5)
    (tmp_path / "data").mkdir()
    label = {"label": ["a", "b", "c", "d", "e"]}
    write_parquet(tmp_path / "data" / "train-00000-of-00001.parquet", rows, **label)
    done = here(tmp_path / "data", tmp_path / "out", model)
    assert [d["filled"] for d in done] == [5]
    written = results(tmp_path / "out")
    assert images(written) == by_command_line(tmp_path / "cli", rows, model, *EXACT)
    assert [row["label"] for row in written] == label["label"]
    notes = json.loads(written[0]["provenance"])
    assert notes["pipeline"] == "InvertFillPipeline" and notes["seed"] == 3
    assert notes == provenance.describe(load_pipeline(model), **{k: notes[k] for k in OF_A_RUN})


OF_A_RUN = ("seed", "engine", "blend", "texture")


def test_bad_rows_are_kept_with_a_sentence(tmp_path, tiny):
    good = samples(1)[0]
    empty = encoded(np.zeros(SIZE[::-1], np.uint8))
    rows = [good, (b"no picture", good[1]), (good[0], None), (None, good[1]), (good[0], empty)]
    rows += [(good[0], b"no mask"), good]
    (tmp_path / "data").mkdir()
    write_parquet(tmp_path / "data" / "train.parquet", rows)
    (done,) = here(tmp_path / "data", tmp_path / "out", tiny)
    assert (done["filled"], done["failed"], done["problem"]) == (2, 5, "")
    written = results(tmp_path / "out")
    assert [row["error"] is None for row in written] == [
        image is not None for image in images(written)
    ]
    expected = by_command_line(tmp_path / "cli", rows, tiny, *EXACT)
    assert images(written) == expected and sum(image is not None for image in expected) == 2
    said = [row["error"] for row in written if row["error"]]
    for words, sentence in zip(
        ("cannot be", "'mask' is empty", "no picture", "selects nothing", "mask"), said, strict=True
    ):
        assert words in sentence and str(tmp_path) not in sentence and "/tmp" not in sentence


def test_webdataset_shards_and_folders_give_the_same_results(tmp_path, tiny):
    rows = samples(5)
    expected = by_command_line(tmp_path / "cli", rows, tiny, *EXACT)
    (tmp_path / "tars").mkdir()
    write_tar(tmp_path / "tars" / "a-0.tar", [*rows[:2], (rows[0][0], None)])
    write_tar(tmp_path / "tars" / "a-1.tar", rows[2:])
    here(tmp_path / "tars", tmp_path / "from_tars", tiny)
    written = results(tmp_path / "from_tars")
    assert images(written) == [*expected[:2], None, *expected[2:]]
    assert "no file 0002.mask.png" in written[2]["error"]
    masks = ("--mask", str(tmp_path / "cli" / "masks"), "--shard_size", "2")
    done = here(tmp_path / "cli" / "photos", tmp_path / "from_folder", tiny, *masks)
    assert [d["filled"] for d in done] == [2, 2, 1]
    written = results(tmp_path / "from_folder")
    assert images(written) == expected
    assert [row["key"] for row in written] == [f"{i:04d}.png" for i in range(5)]


def test_a_rule_draws_the_same_hole_however_rows_are_divided(tmp_path, tiny):
    rows = samples(4)
    (tmp_path / "data").mkdir()
    write_parquet(tmp_path / "data" / "train.parquet", rows)
    rule = ("--mask_rule", "boxes:10-30")
    here(tmp_path / "data", tmp_path / "whole", tiny, *rule)
    done = here(tmp_path / "data", tmp_path / "parts", tiny, *rule, "--row_groups_per_shard", "1")
    assert [d["filled"] for d in done] == [2, 2]
    whole, parts = results(tmp_path / "whole"), results(tmp_path / "parts")
    assert whole == parts
    holes = [np.asarray(Image.open(io.BytesIO(row["mask"]["bytes"]))) for row in whole]
    assert all(0.1 <= mask.mean() <= 0.3 for mask in holes)
    assert len({mask.tobytes() for mask in holes}) == 4
    drawn = [(picture, row["mask"]["bytes"]) for (picture, _), row in zip(rows, whole)]
    assert images(whole) == by_command_line(tmp_path / "cli", drawn, tiny, *EXACT)


def test_a_stopped_shard_leaves_nothing_and_done_ones_are_skipped(tmp_path, tiny, monkeypatch):
    (tmp_path / "data").mkdir()
    for i in range(2):
        write_parquet(tmp_path / "data" / f"train-{i}.parquet", samples(3, 3 * i))
    monkeypatch.setattr(ray_fill, "CHUNK", 2)
    write_chunk, calls = ray_fill.write_chunk, []

    def dies(*arguments):
        calls.append(1)
        if len(calls) == 4:  # in the middle of the second shard
            raise KeyboardInterrupt
        return write_chunk(*arguments)

    monkeypatch.setattr(ray_fill, "write_chunk", dies)
    with pytest.raises(KeyboardInterrupt):
        here(tmp_path / "data", tmp_path / "out", tiny)
    there = [p.name for p in (tmp_path / "out").iterdir()]
    assert sorted(there) == [ray_fill.SETTINGS, "train-0.parquet"]
    (tmp_path / "out" / ".x.partial").write_bytes(b"of a worker that was killed")
    kept = (tmp_path / "out" / "train-0.parquet").stat().st_mtime_ns
    done = here(tmp_path / "data", tmp_path / "out", tiny)
    assert [d["filled"] for d in done] == [0, 3]
    assert (tmp_path / "out" / "train-0.parquet").stat().st_mtime_ns == kept
    assert not list((tmp_path / "out").glob("*.partial"))
    assert len(results(tmp_path / "out")) == 6
    with pytest.raises(ValueError, match="other settings.*seed 3 -> 4"):
        here(tmp_path / "data", tmp_path / "out", tiny, "--seed", "4")


def test_a_shard_that_cannot_be_read_is_named_and_tried_again(tmp_path, tiny):
    (tmp_path / "data").mkdir()
    write_parquet(tmp_path / "data" / "a.parquet", samples(1))
    (tmp_path / "data" / "b.parquet").write_bytes(b"PAR1 torn")
    done = here(tmp_path / "data", tmp_path / "out", tiny)
    assert [bool(d["problem"]) for d in done] == [False, True]
    assert [p.name for p in (tmp_path / "out").glob("*.parquet")] == ["a.parquet"]
    write_parquet(tmp_path / "data" / "b.parquet", samples(2))
    assert [d["filled"] for d in here(tmp_path / "data", tmp_path / "out", tiny)] == [0, 2]


def test_a_changed_folder_is_not_taken_for_a_done_one(tmp_path):
    (tmp_path / "photos").mkdir()
    flags = ["--input", str(tmp_path / "photos"), "--output", str(tmp_path / "out")]
    own, _ = ray_fill.parsed([*flags, "--mask_rule", "boxes:10-30", "--shard_size", "2"])
    with pytest.raises(FileNotFoundError, match="no picture"):
        ray_fill.shards_of(own)
    for i in (0, 1, 3):
        (tmp_path / "photos" / f"{i}.png").write_bytes(photo(i))
    before = [shard["name"] for shard in ray_fill.shards_of(own)]
    (tmp_path / "photos" / "2.png").write_bytes(photo(2))
    after = [shard["name"] for shard in ray_fill.shards_of(own)]
    assert len(before) == len(after) == 2 and before[0] == after[0] and before[1] != after[1]


def test_results_lie_where_fsspec_says(tmp_path, tiny):
    import fsspec

    store = fsspec.filesystem("memory")
    (tmp_path / "train.parquet").parent.mkdir(exist_ok=True)
    write_parquet(tmp_path / "train.parquet", samples(2))
    store.pipe_file("/bucket/in/train.parquet", (tmp_path / "train.parquet").read_bytes())
    here("memory://bucket/in", "memory://bucket/out", tiny)
    assert [p for p in store.find("/bucket/out") if p.endswith(".parquet")] == [
        "/bucket/out/train.parquet"
    ]
    written = pq.read_table(io.BytesIO(store.cat_file("/bucket/out/train.parquet"))).to_pylist()
    assert images(written) == by_command_line(tmp_path / "cli", samples(2), tiny, *EXACT)


def test_the_datasets_library_shows_the_results(tmp_path, tiny, monkeypatch):
    datasets = pytest.importorskip("datasets")
    (tmp_path / "data").mkdir()
    write_parquet(tmp_path / "data" / "train.parquet", [*samples(1), (b"x", hole(3))])
    here(tmp_path / "data", tmp_path / "out", tiny)
    (tmp_path / "out" / ray_fill.SETTINGS).unlink()
    table = datasets.load_dataset(
        "parquet",
        data_files=str(tmp_path / "out" / "*.parquet"),
        split="train",
        cache_dir=str(tmp_path / "cache"),
    )
    assert table[0]["image"].size == SIZE and table[1]["image"] is None


# --- With Ray itself: pip install .[ray] ---------------------------------------------------------


@pytest.fixture
def with_ray(monkeypatch):
    # A busy machine may need minutes for what Ray gives up after 30 or 60 s; its workers are nice,
    # so that they wait for whoever is not.
    monkeypatch.setenv("RAY_worker_niceness", "0")
    for limit in ("DASHBOARD_STARTUP_TIMEOUT_S", "GCS_SERVER_REQUEST_TIMEOUT_SECONDS"):
        monkeypatch.setenv(f"RAY_{limit}", "900")
    monkeypatch.setenv("RAY_health_check_failure_threshold", "100")
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "900")
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "examples")]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("RAY_prestart_worker_first_driver", "0")  # more processes than are needed
    monkeypatch.setenv("RAY_worker_register_timeout_seconds", "900")
    registered = ray._private.services.get_node

    def get_node(*arguments):
        """When the node is there."""
        deadline = time.monotonic() + 900
        while True:
            try:
                return registered(*arguments)
            except RuntimeError:
                if time.monotonic() > deadline:
                    raise

    monkeypatch.setattr(ray._private.services, "get_node", get_node)
    yield ray
    ray.shutdown()


def run_with_ray(folder, output, model, *flags):
    return ray_fill.main(
        ["--input", str(folder), "--output", str(output), "--model", model, *EXACT, *flags]
    )


@pytest.mark.slow
def test_two_workers_of_ray_give_what_the_command_line_gives(tmp_path, model, with_ray):
    (tmp_path / "data").mkdir()
    rows = samples(12)
    for i in range(4):
        write_parquet(tmp_path / "data" / f"train-{i}.parquet", rows[3 * i : 3 * i + 3])
    assert run_with_ray(tmp_path / "data", tmp_path / "out", model) == 0
    written = results(tmp_path / "out")
    assert images(written) == by_command_line(tmp_path / "cli", rows, model, *EXACT)
    assert run_with_ray(tmp_path / "data", tmp_path / "out", model) == 0  # nothing left to do


@pytest.mark.slow
def test_everything_arrives_once_when_a_worker_is_killed(tmp_path, model, with_ray):
    import threading

    (tmp_path / "data").mkdir()
    rows = samples(120)
    for i in range(12):
        write_parquet(tmp_path / "data" / f"train-{i:02d}.parquet", rows[10 * i : 10 * i + 10])
    killed = []

    def kill_one():
        """SIGKILL to an actor that is in the middle of a shard, where others are done."""
        deadline = time.monotonic() + 900
        while not killed and time.monotonic() < deadline:
            for process in psutil.Process().children(recursive=True):
                try:
                    filling = any("Filler" in word for word in process.cmdline())
                    if not filling or not list((tmp_path / "out").glob("train-*.parquet")):
                        continue
                    process.suspend()
                    while process.status() != psutil.STATUS_STOPPED:
                        time.sleep(0.001)
                    if any(f.path.endswith(ray_fill.PARTIAL) for f in process.open_files()):
                        process.kill()
                        killed.append(process.pid)
                        return
                    process.resume()
                except psutil.Error:
                    continue
            time.sleep(0.01)

    killer = threading.Thread(target=kill_one)
    killer.start()
    code = run_with_ray(tmp_path / "data", tmp_path / "out", model)
    killer.join()
    assert killed and code == 0
    assert len(list((tmp_path / "out").glob(f".*{ray_fill.PARTIAL}"))) == 1  # its half shard
    names = sorted(p.name for p in (tmp_path / "out").glob("*.parquet"))
    assert names == [f"train-{i:02d}.parquet" for i in range(12)]
    written = results(tmp_path / "out")
    assert len({row["key"] for row in written}) == len(written) == 120
    assert images(written) == by_command_line(tmp_path / "cli", rows, model, *EXACT)
