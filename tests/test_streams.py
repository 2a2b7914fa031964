"""Data sets that are read as streams: every reader its own part, an exact place to go on from."""

import functools
import io
import itertools
import json
import signal
import tarfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch.utils.data import DataLoader
from training_runs import fields, finish, kill, start

from inpaint_hub.data import StreamedPairs, first_positions, hub_dataset, pairs
from inpaint_hub.data.sources import part_of_stream
from inpaint_hub.training import TrainConfig
from inpaint_hub.training.pictures import StreamPosition

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Blocks that tests can cross; the library without the seconds it sleeps at a stream's end."""
    monkeypatch.setattr(datasets.config, "SLEEP_TIME_ON_THREADS_SHUTDOWN", 0)
    monkeypatch.setattr(pairs, "SHUFFLE_BLOCK", 3)


def picture(number, side=16):
    """A PNG whose first value is the number."""
    pixels = np.full((side, side, 3), number, np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_parquet(folder, files, rows, side=16):
    folder.mkdir(exist_ok=True)
    for i in range(files):
        numbers = range(i * rows, (i + 1) * rows)
        images = [{"bytes": picture(n, side), "path": f"{n}.png"} for n in numbers]
        name = f"train-{i:05d}-of-{files:05d}.parquet"
        pq.write_table(pa.table({"image": images}), folder / name, row_group_size=2)
    return folder


def write_tars(folder, files, rows, side=16):
    folder.mkdir(exist_ok=True)
    for i in range(files):
        with tarfile.open(folder / f"train-{i:05d}.tar", "w") as tar:
            for n in range(i * rows, (i + 1) * rows):
                content = picture(n, side)
                member = tarfile.TarInfo(f"{n:06d}.png")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return folder


def stream(place, column="image", batch_size=2, **options):
    table = hub_dataset(str(place), None, "train", column, streaming=True)
    return StreamedPairs(table, column, 16, batch_size, seed=5, **options)


def numbers(batch):
    return ((batch["image"][:, 0, 0, 0] + 1) * 127.5).round().int().tolist()


def shown(batches, count):
    return [n for batch in itertools.islice(batches, count) for n in numbers(batch)]


def test_every_process_reads_whole_files_of_its_own(tmp_path):
    folder = write_parquet(tmp_path / "data", files=4, rows=5)
    own = []
    for rank in (0, 1):
        positions = first_positions(rank, 2)
        own.append(shown(stream(folder, positions=positions), 5))
    assert sorted(own[0] + own[1]) == list(range(20))  # an epoch: each picture once
    files = [{n // 5 for n in numbers} for numbers in own]
    assert [len(f) for f in files] == [2, 2] and not files[0] & files[1]
    again = stream(folder, positions=first_positions(0, 2))
    for i in files[1]:  # the first process never opens the second's
        (folder / f"train-{i:05d}-of-00004.parquet").write_bytes(b"torn")
    assert shown(again, 5) == own[0]


def test_an_epoch_is_shuffled_anew_by_files_and_by_rows(tmp_path):
    folder = write_parquet(tmp_path / "data", files=6, rows=3)
    seen = shown(stream(folder), 27)
    epochs = [seen[:18], seen[18:36], seen[36:54]]
    assert all(sorted(epoch) == list(range(18)) for epoch in epochs)
    orders = {tuple(dict.fromkeys(n // 3 for n in epoch)) for epoch in epochs}
    assert len(orders) == 3
    assert any(
        epoch[i : i + 3] != sorted(epoch[i : i + 3]) for epoch in epochs for i in range(0, 18, 3)
    )


def test_fewer_files_than_readers_are_shared_out_by_rows(tmp_path):
    folder = write_parquet(tmp_path / "data", files=1, rows=12)
    own = [shown(stream(folder, positions=first_positions(rank, 3)), 2) for rank in range(3)]
    assert sorted(itertools.chain(*own)) == list(range(12))


def test_files_that_do_not_divide_evenly_all_come_up(tmp_path):
    folder = write_parquet(tmp_path / "data", files=3, rows=4)
    table = hub_dataset(str(folder), None, "train", "image", streaming=True)
    assert [part_of_stream(table, i, 2).num_shards for i in (0, 1)] == [2, 1]
    own = [shown(stream(folder, positions=first_positions(rank, 2)), 24) for rank in (0, 1)]
    assert [set(seen) for seen in own] == [set(range(12))] * 2


@pytest.mark.parametrize("layout", ["parquet", "tar", "rows"])
def test_from_any_batch_on_a_stream_goes_on_bit_for_bit(tmp_path, layout):
    write = write_tars if layout == "tar" else write_parquet
    files = 1 if layout == "rows" else 4
    folder = write(tmp_path / "data", files=files, rows=20 // files)
    column = "png" if layout == "tar" else "image"
    options = {"positions": first_positions(1, 2)}
    whole = list(itertools.islice(stream(folder, column, **options), 14))  # nearly three epochs
    assert whole[-1]["position"]["epoch"] == 2
    for cut in range(1, 13):
        position = json.loads(json.dumps(whole[cut - 1]["position"]))
        later = itertools.islice(stream(folder, column, positions=[position]), 2)
        for batch, expected in zip(later, whole[cut:], strict=False):
            same(batch, expected)
    position, resumed = first_positions(1, 2)[0], []
    for _ in whole:  # each batch from a stream of its own, which goes on from the one before
        resumed.append(next(iter(stream(folder, column, positions=[position]))))
        position = resumed[-1]["position"]
    for batch, expected in zip(resumed, whole, strict=True):
        same(batch, expected)


def same(batch, expected):
    assert batch["image"].equal(expected["image"]) and batch["mask"].equal(expected["mask"])


def test_loading_workers_are_readers_and_go_on_in_turn(tmp_path):
    folder = write_parquet(tmp_path / "data", files=4, rows=5)
    config = TrainConfig(
        method="stylegan2", output_dir="out", dataset_name="data", dataloader_num_workers=2
    )

    def loaded(place, count):
        batches = DataLoader(stream(folder, positions=place.positions), None, num_workers=2)
        batches = list(itertools.islice(batches, count))
        seen = [numbers(batch) for batch in batches]
        for batch in batches:
            place.note(batch)
        return seen

    whole = loaded(StreamPosition.at_start(config, 0, 1), 13)
    assert sorted(itertools.chain(*whole[:10])) == list(range(20))
    place = StreamPosition.at_start(config, 0, 1)
    parts = [batch for count in (3, 4, 6) for batch in loaded(place, count)]
    assert parts == whole


def test_another_number_of_readers_is_said_and_begins_anew(tmp_path):
    config = TrainConfig(
        method="stylegan2", output_dir="out", dataset_name="data", dataloader_num_workers=2
    )
    place = StreamPosition.at_start(config, 0, 1)
    place.positions[0]["epoch"] = 4
    place.save(tmp_path, 0)
    said = []
    other = StreamPosition.at_start(config, 1, 2)
    other.load(tmp_path, 1, said.append)
    assert len(said) == 1 and "2 readers" in said[0] and "has 4" in said[0]
    assert [p["epoch"] for p in other.positions] == [5, 5]
    assert [p["node"] for p in other.positions] == [2, 3]
    same = StreamPosition.at_start(config, 0, 1)
    same.load(tmp_path, 0, said.append)
    assert same.positions == place.positions and len(said) == 1


def test_patterns_of_files_are_named_like_a_data_set(tmp_path):
    write_parquet(tmp_path / "data", files=2, rows=3)
    write_tars(tmp_path / "tars", files=2, rows=3)
    for pattern, column in (("data/*.parquet", "image"), ("tars/*.tar", "png")):
        assert sorted(shown(stream(tmp_path / pattern, column), 3)) == list(range(6))


# --- Whole runs, killed and resumed --------------------------------------------------------------


@pytest.fixture(scope="module")
def streams(tmp_path_factory):
    folder = tmp_path_factory.mktemp("streams")
    write_parquet(folder / "parquet", files=4, rows=3, side=32)
    write_tars(folder / "tar", files=4, rows=3, side=32)
    return folder


def run_of(place, streams, output_dir, layout, accumulation, workers):
    return fields(
        place,
        output_dir,
        train_data_dir="",
        dataset_name=str(streams / layout),
        image_column="png" if layout == "tar" else "image",
        streaming=True,
        gradient_accumulation_steps=accumulation,
        dataloader_num_workers=workers,
    )


@functools.cache
def undisturbed(place, streams, num_processes, *case):
    folder = streams / "-".join(map(str, (num_processes, *case)))
    folder.mkdir()
    run = run_of(place, streams, folder / "run", *case)
    assert set(finish(start(run, num_processes))) == {0}, (folder / "rank-0.log").read_text()
    log = (folder / "rank-0.log").read_text()
    assert "decoding, the rest reading" in log
    lines = [json.loads(line) for line in (folder / "run/logs/metrics.jsonl").open()]
    assert all(0 < line["decode_share"] <= 1 for line in lines)
    return load_file(folder / "run" / "gan" / "model.safetensors")


SLOW = [
    (processes, layout, accumulation, workers)
    for processes in (1, 2)
    for layout in ("parquet", "tar")
    for accumulation in (1, 2)
    for workers in (0, 2)
]
GATE = (2, "parquet", 2, 0)


@pytest.mark.parametrize(
    "num_processes, layout, accumulation, workers",
    [GATE, *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW if case != GATE)],
)
def test_killed_and_resumed_in_a_stream(
    place, streams, tmp_path, num_processes, layout, accumulation, workers
):
    run = run_of(place, streams, tmp_path / "run", layout, accumulation, workers)
    processes = start(run, num_processes)
    deadline = time.monotonic() + 240
    while not (tmp_path / "run" / "checkpoint-2").exists() and time.monotonic() < deadline:
        assert processes[0].is_alive(), (tmp_path / "rank-0.log").read_text()
        time.sleep(0.002)
    kill(processes)
    assert processes[0].exitcode == -signal.SIGKILL
    resumed = start({**run, "resume_from_checkpoint": "latest"}, num_processes)
    assert set(finish(resumed)) == {0}, (tmp_path / "rank-0.log").read_text()
    ours = load_file(tmp_path / "run" / "gan" / "model.safetensors")
    whole = undisturbed(place, streams, num_processes, layout, accumulation, workers)
    assert ours.keys() == whole.keys() and all(torch.equal(ours[k], whole[k]) for k in ours)
    assert len(list(Path(tmp_path / "run").glob("checkpoint-5/stream-*.json"))) == num_processes
