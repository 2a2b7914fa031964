"""Training data: what is read, in which order, drawn by which key."""

import io
import itertools

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from inpaint_hub.data import (
    SPLITS,
    EndlessSampler,
    HubEntries,
    ImageDataset,
    StreamedPairs,
    TrainingPairs,
    held_out_split,
    hub_dataset,
    sources,
)


def picture(seed, size=(40, 32)):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture
def folder(tmp_path):
    for i in range(6):
        path = tmp_path / ("a" if i % 2 else "b/c") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(i).save(path)
    (tmp_path / "notes.txt").write_text("not a picture")
    return tmp_path


def write_parquet(path, pictures):
    rows = []
    for image in pictures:
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        rows.append({"bytes": buffer.getvalue(), "path": None})
    pq.write_table(pa.table({"image": rows}), path)


def test_a_folder_is_read_recursively_and_cropped_square(folder):
    dataset = ImageDataset(folder, resolution=32)
    assert len(dataset) == 6
    first = np.asarray(picture(1))  # a/1.png comes first
    assert np.array_equal(dataset.load(0), first[:, 4:36])


def test_parquet_splits_hold_their_own_pictures(tmp_path):
    write_parquet(tmp_path / "train-00000-of-00002.parquet", [picture(0), picture(1)])
    write_parquet(tmp_path / "train-00001-of-00002.parquet", [picture(2)])
    write_parquet(tmp_path / "validation-00000-of-00001.parquet", [picture(3)])
    train = ImageDataset(tmp_path, "train", 32)
    held_out = ImageDataset(tmp_path, "validation", 32)
    assert (len(train), len(held_out)) == (3, 1)
    assert np.array_equal(train.load(2), np.asarray(picture(2))[:, 4:36])
    assert np.array_equal(held_out.load(0), np.asarray(picture(3))[:, 4:36])


def write_pictures(folder, seeds):
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        picture(seed).save(folder / f"{seed}.png")


def seeds_of(folder, split):
    return sorted(int(path.stem) for path in ImageDataset(folder, split, 32).entries)


def test_every_split_of_a_folder_is_its_own(tmp_path):
    write_pictures(tmp_path / "train" / "cats", [0, 1])
    write_pictures(tmp_path / "val", [2])
    write_pictures(tmp_path / "test", [3, 4])
    found = {split: seeds_of(tmp_path, split) for split in SPLITS}
    assert found == {
        "train": [0, 1],
        "validation": [2],
        "val": [2],
        "test": [3, 4],
        "all": [0, 1, 2, 3, 4],
    }


def test_training_pictures_never_stand_in_for_held_out_ones(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="'validation'.*it has no splits.*--split all"):
        ImageDataset(folder, "validation", 32)
    assert len(ImageDataset(folder, "all", 32)) == len(ImageDataset(folder, "train", 32)) == 6
    data = tmp_path / "data set"
    write_pictures(data / "train", [0])
    write_pictures(data / "test", [1])
    with pytest.raises(FileNotFoundError, match="it has train, test.*validation or val"):
        ImageDataset(data, "val", 32)


def test_held_out_pictures_beside_the_others_are_not_trained_on(tmp_path):
    write_pictures(tmp_path / "cats", [0, 1])
    write_pictures(tmp_path / "validation", [2])
    write_pictures(tmp_path / "test" / "cats", [3])
    assert seeds_of(tmp_path, "train") == [0, 1]


def test_parquet_splits_have_the_same_names(tmp_path):
    (tmp_path / "data").mkdir()
    write_parquet(tmp_path / "data" / "train-00000-of-00001.parquet", [picture(0), picture(1)])
    write_parquet(tmp_path / "data" / "val-00000-of-00001.parquet", [picture(2)])
    write_parquet(tmp_path / "test.parquet", [picture(3)] * 3)
    sizes = {split: len(ImageDataset(tmp_path, split, 32)) for split in SPLITS}
    assert sizes == {"train": 2, "validation": 1, "val": 1, "test": 3, "all": 6}
    (tmp_path / "data" / "val-00000-of-00001.parquet").unlink()
    with pytest.raises(FileNotFoundError, match="it has train, test"):
        ImageDataset(tmp_path, "validation", 32)


def test_a_folder_given_as_held_out_is_judged_whole_or_by_its_own_split(folder, tmp_path):
    assert held_out_split(folder) == "all"
    write_pictures(tmp_path / "more" / "val", [1])
    assert held_out_split(tmp_path / "more") == "validation"


def grouped(folder, rows, per_group, name="train-0.parquet"):
    pictures = [{"bytes": bytes([i % 251]) * 1000, "path": None} for i in range(rows)]
    pq.write_table(pa.table({"image": pictures}), folder / name, row_group_size=per_group)


def test_parquet_is_read_by_row_group_when_asked_for(tmp_path, monkeypatch):
    grouped(tmp_path, 50, 8)
    grouped(tmp_path, 5, 8, "train-1.parquet")
    monkeypatch.setattr(sources, "KEPT_GROUP_BYTES", 20_000)
    read, open_file = [], pq.ParquetFile.read_row_group
    monkeypatch.setattr(
        pq.ParquetFile,
        "read_row_group",
        lambda self, group, **options: read.append(group) or open_file(self, group, **options),
    )
    entries = sources.local_entries(tmp_path, "train")
    assert len(entries) == 55 and read == []
    order = [0, 7, 8, 0, 49, 50, 54, 1]
    assert [entries[i][0] for i in order] == [0, 7, 8, 0, 49, 0, 4, 1]
    assert read == [0, 1, 6, 0]  # 0 was used again, 1 had to go
    for i in range(0, 55):
        assert entries[i] == bytes([i % 50 % 251]) * 1000
        assert sum(map(sources.size_of, entries.kept.values())) == entries.kept_bytes <= 20_000
    assert entries.name(51).endswith("train-1.parquet, row 1")
    assert entries.name(9).endswith("train-0.parquet, row 9")
    with pytest.raises(IndexError):
        entries[55]


def test_memory_does_not_grow_with_the_rows_of_a_parquet_file(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "KEPT_GROUP_BYTES", 1 << 20)
    for rows in (1_000, 10_000):
        grouped(tmp_path, rows, 100)
        entries = sources.local_entries(tmp_path, "train")
        for index in range(0, rows, 37):
            entries[index]
        assert entries.kept_bytes <= 1 << 20


def test_what_tells_data_apart_does_not_depend_on_where_it_lies(folder, tmp_path_factory):
    import shutil

    moved = tmp_path_factory.mktemp("moved") / "elsewhere"
    shutil.copytree(folder, moved)
    one, other = (ImageDataset(f, resolution=16).within() for f in (folder, moved))
    assert one == other and "a/1.png" in one
    assert ImageDataset(folder, resolution=16, holdout_fraction=0.5).within() != one


def test_another_column_can_be_named_and_a_missing_one_lists_the_present(tmp_path):
    write_parquet(tmp_path / "train-00000-of-00001.parquet", [picture(0)])
    with pytest.raises(ValueError, match=r"no column 'photo'; it has \['image'\].*--image_column"):
        ImageDataset(tmp_path, "train", 32, image_column="photo")


def test_decoded_pictures_may_be_kept(folder):
    kept, fresh = (ImageDataset(folder, resolution=16, keep_decoded=k) for k in (True, False))
    assert np.array_equal(kept.load(3), fresh.load(3))
    assert np.shares_memory(kept.load(3), kept.load(3))


def gradient(width, height):
    """A picture whose red and green tell the column and the row, 0 to 255."""
    rows, columns = np.mgrid[:height, :width]
    pixels = np.stack([columns * 255 / (width - 1), rows * 255 / (height - 1), 0 * rows], axis=2)
    return Image.fromarray(np.rint(pixels).astype(np.uint8))


@pytest.mark.parametrize("native", [160, 96, 40])
def test_random_squares_have_many_scales_and_are_never_enlarged(tmp_path, native):
    gradient(native + 40, native).save(tmp_path / "a.png")
    pictures = ImageDataset(tmp_path, resolution=32, crop_scale_min=0.25, keep_decoded=True)
    pairs = TrainingPairs(pictures, 0, random_flip=False, masks=None)
    sides, lefts = [], []
    for epoch in range(60):
        image = (pairs[(epoch, 0)]["image"] + 1) * 127.5
        assert image.shape == (3, 32, 32)
        red, green = image[0].mean(dim=0), image[1].mean(dim=1)
        side = (green[-1] - green[0]) / 255 * (native - 1) * 32 / 31
        across = (red[-1] - red[0]) / 255 * (native + 39) * 32 / 31
        assert across == pytest.approx(float(side), abs=3)  # a square stays one
        sides.append(float(side))
        lefts.append(float(red[0]))
    smallest = max(32, 0.25 * native)  # a quarter, or what 32 px can be cut from
    assert min(sides) == pytest.approx(smallest, abs=0.1 * native)
    assert min(sides) > smallest - 2.5
    assert max(sides) == pytest.approx(native, abs=0.1 * native)
    assert max(lefts) - min(lefts) > 30
    stored = pictures.decoded[0]
    assert stored.dtype == np.uint8 and min(stored.shape[:2]) == min(native, 128)
    assert pictures.load(0).shape == (32, 32, 3)


def test_several_folders_are_one_data_set(tmp_path):
    for name, count in (("a, b", 3), ("c", 2)):
        (tmp_path / name).mkdir()
        for i in range(count):
            picture(10 * count + i, (32, 32)).save(tmp_path / name / f"{i}.png")
    write_parquet(tmp_path / "train-0.parquet", [picture(7, (32, 32))])
    both = ImageDataset(f"{tmp_path / 'c'},{tmp_path}", resolution=32)
    assert len(both) == 3
    for index, seed in enumerate((20, 21, 7)):
        assert np.array_equal(both.load(index), np.asarray(picture(seed, (32, 32))))
    assert len(ImageDataset(str(tmp_path / "a, b"))) == 3  # a comma in a folder's own name
    with pytest.raises(FileNotFoundError, match="nowhere.*does not exist"):
        ImageDataset(f"{tmp_path / 'c'}, {tmp_path / 'nowhere'}")


def test_missing_and_empty_folders_say_what_was_expected(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist.*--train_data_dir"):
        ImageDataset(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="holds no picture"):
        ImageDataset(tmp_path)
    with pytest.raises(ValueError, match="'tests', expected one of"):
        ImageDataset(tmp_path, "tests")


def test_a_pair_depends_on_seed_epoch_and_index_alone(folder):
    pictures = ImageDataset(folder, resolution=32)
    pairs, again = TrainingPairs(pictures, seed=1), TrainingPairs(pictures, seed=1)
    pairs[(0, 3)], pairs[(5, 1)]  # what was drawn before does not matter
    for key in ("image", "mask"):
        assert pairs[(2, 4)][key].equal(again[(2, 4)][key])
    masks = [pairs[(epoch, 4)]["mask"] for epoch in range(4)]
    assert any(not a.equal(b) for a, b in itertools.combinations(masks, 2))
    other = TrainingPairs(pictures, seed=2)
    assert not all(pairs[(e, 0)]["mask"].equal(other[(e, 0)]["mask"]) for e in range(4))


def test_a_pair_has_the_contracts_shapes_and_ranges(folder):
    pair = TrainingPairs(ImageDataset(folder, resolution=32), seed=0)[(0, 0)]
    assert pair["image"].shape == (3, 32, 32) and pair["mask"].shape == (1, 32, 32)
    assert -1 <= pair["image"].min() and pair["image"].max() <= 1
    assert set(pair["mask"].unique().tolist()) <= {0.0, 1.0}


def keys(sampler, batches):
    return list(itertools.islice(sampler, batches))


def test_every_epoch_holds_every_picture_once():
    drawn = sum(keys(EndlessSampler(10, 4, seed=0), 5), [])
    for epoch in (0, 1):
        assert sorted(i for e, i in drawn if e == epoch) == list(range(10))
    assert [i for e, i in drawn if e == 0] != [i for e, i in drawn if e == 1]


def test_two_processes_share_the_order_of_one():
    one = keys(EndlessSampler(10, 4, seed=0), 6)
    ranks = [keys(EndlessSampler(10, 4, 0, rank, 2), 3) for rank in (0, 1)]
    assert [batch for pair in zip(*ranks) for batch in pair] == one


def test_the_order_continues_where_it_was_left():
    whole = keys(EndlessSampler(7, 3, seed=4), 9)
    assert keys(EndlessSampler(7, 3, seed=4, start_batch=5), 4) == whole[5:]


def test_a_random_crop_moves_with_the_epoch_and_the_center_crop_does_not(folder):
    free = TrainingPairs(ImageDataset(folder, resolution=32, center_crop=False), 0, False, None)
    drawn = [free[(epoch, 0)]["image"] for epoch in range(6)]
    columns = {tuple(image[0, 0, :4].tolist()) for image in drawn}
    assert len(columns) > 1
    stored = np.asarray(picture(1)).astype(np.float32)  # 40 x 32: crops differ by their left edge
    for image in drawn:
        pixels = (image.permute(1, 2, 0).numpy() + 1) * 127.5
        assert any(np.allclose(pixels, stored[:, x : x + 32], atol=0.01) for x in range(9))
    fixed = TrainingPairs(ImageDataset(folder, resolution=32), 0, False, None)
    assert fixed[(0, 0)]["image"].equal(fixed[(1, 0)]["image"])


def test_memory_for_decoded_pictures_is_bounded(folder, monkeypatch):
    monkeypatch.setattr("inpaint_hub.data.pictures.MAX_KEPT_BYTES", 2 * 16 * 16 * 3)
    dataset = ImageDataset(folder, resolution=16, keep_decoded=True)
    for i in range(6):
        dataset.load(i)
    assert len(dataset.decoded) == 2


class Kept(torch.utils.data.Dataset):
    """Of every picture loaded: how many the worker then holds."""

    def __init__(self, pictures):
        self.pictures = pictures

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, index):
        self.pictures.load(index)
        return len(self.pictures.decoded)


def test_workers_share_the_memory_for_decoded_pictures(folder, monkeypatch):
    monkeypatch.setattr("inpaint_hub.data.pictures.MAX_KEPT_BYTES", 4 * 16 * 16 * 3)
    pictures = ImageDataset(folder, resolution=16, keep_decoded=True)
    assert max(DataLoader(Kept(pictures), batch_size=None, num_workers=2)) == 2
    assert max(DataLoader(Kept(pictures), batch_size=None)) == 4


def test_an_unreadable_picture_is_replaced_by_the_next_and_named(folder):
    whole = (folder / "a" / "3.png").read_bytes()
    (folder / "a" / "3.png").write_bytes(whole[: len(whole) // 2])  # entry 1
    (folder / "a" / "5.png").write_bytes(b"not a picture")  # entry 2
    pictures = ImageDataset(folder, resolution=32)
    assert pictures.name(1).endswith("3.png")
    pairs = TrainingPairs(pictures, 0, random_flip=False, masks=None)
    assert [pairs[(0, i)]["unreadable"] for i in range(6)] == [-1, 1, 2, -1, -1, -1]
    for i in (1, 2):
        assert pairs[(0, i)]["image"].equal(pairs[(0, 3)]["image"])


def test_rows_without_a_picture_and_undecodable_ones_are_unreadable(tmp_path, datasets):
    buffer = io.BytesIO()
    picture(0, (32, 32)).save(buffer, "PNG")
    dds = io.BytesIO()
    picture(0, (32, 32)).save(dds, "DDS")
    broken = bytearray(dds.getvalue())
    broken[80:84] = bytes(4)  # no pixel format: Pillow raises NotImplementedError
    rows = [{"bytes": buffer.getvalue(), "path": None}, None, {"bytes": None, "path": None}]
    rows.append({"bytes": bytes(broken), "path": None})
    pq.write_table(pa.table({"image": rows}), tmp_path / "train-00000-of-00001.parquet")
    named = HubEntries(hub_dataset(str(tmp_path), None, "train", "image", False), "image")
    for entries in (None, named):
        pictures = ImageDataset(tmp_path, resolution=32, entries=entries)
        pairs = TrainingPairs(pictures, 0, masks=None)
        assert [pairs[(0, i)]["unreadable"] for i in range(4)] == [-1, 1, 2, 3]


def test_a_data_set_without_one_readable_picture_is_an_error(tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"no")
    with pytest.raises(ValueError, match="none of the 2 pictures.*a.png.*--train_data_dir"):
        TrainingPairs(ImageDataset(tmp_path, resolution=32), 0)[(0, 0)]


def test_masks_may_be_drawn_by_a_function(folder):
    def top_row(size, rng):
        mask = np.zeros((size, size), bool)
        mask[0] = True
        return mask

    pairs = TrainingPairs(ImageDataset(folder, resolution=32), 0, masks=top_row)
    mask = pairs[(0, 1)]["mask"]
    assert mask[0, 0].all() and mask.sum() == 32


def test_outpainting_masks_are_borders(folder):
    pairs = TrainingPairs(ImageDataset(folder, resolution=32), 0, masks="outpainting")
    for epoch in range(8):
        mask = pairs[(epoch, 0)]["mask"][0].bool()
        kept = (~mask).nonzero()
        (top, left), (bottom, right) = kept.amin(dim=0), kept.amax(dim=0)
        assert not mask[top : bottom + 1, left : right + 1].any()  # what is kept is a rectangle
        assert 0.2 <= mask.float().mean() <= 0.8
        assert mask.all(dim=0).any() or mask.all(dim=1).any()


@pytest.fixture
def datasets(monkeypatch):
    """The library, without the seconds it sleeps whenever a stream is closed."""
    library = pytest.importorskip("datasets")
    monkeypatch.setattr(library.config, "SLEEP_TIME_ON_THREADS_SHUTDOWN", 0)
    return library


@pytest.fixture
def hub_layout(tmp_path, datasets):
    pictures = [picture(i, (16, 16)) for i in range(7)]
    write_parquet(tmp_path / "train-00000-of-00001.parquet", pictures)
    return tmp_path


def test_the_datasets_library_gives_the_same_pictures(hub_layout):
    table = hub_dataset(str(hub_layout), None, "train", "image", streaming=False)
    entries = HubEntries(table, "image")
    named, local = ImageDataset(None, resolution=16, entries=entries), ImageDataset(hub_layout)
    assert len(named) == len(local) == 7
    assert all(np.array_equal(named.load(i), np.asarray(local.open(i))) for i in range(7))
    with pytest.raises(ValueError, match=r"no column 'photo'; it has \['image'\]"):
        hub_dataset(str(hub_layout), None, "train", "photo", streaming=False)
    with pytest.raises(FileNotFoundError, match="cannot be loaded"):
        hub_dataset(str(hub_layout / "nowhere"), None, "train", "image", streaming=False)


def streamed(folder, **options):
    table = hub_dataset(str(folder), None, "train", "image", streaming=True)
    return StreamedPairs(table, "image", 16, batch_size=2, seed=5, **options)


def test_unreadable_entries_of_a_stream_are_replaced_within_their_batch(tmp_path, datasets):
    buffer = io.BytesIO()
    picture(0, (16, 16)).save(buffer, "PNG")
    rows = [{"bytes": b, "path": None} for b in (buffer.getvalue(), b"no")]
    pq.write_table(pa.table({"image": rows}), tmp_path / "train-00000-of-00001.parquet")
    batch = next(iter(streamed(tmp_path, random_flip=False)))
    assert sorted(batch["unreadable"].tolist())[0] == -1 and batch["unreadable"].max() >= 0
    assert batch["image"][0].equal(batch["image"][1])
