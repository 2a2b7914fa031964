"""Training data: what is read, in which order, drawn by which key."""

import io
import itertools

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from inpaint_hub.data import EndlessSampler, ImageDataset, TrainingPairs


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


def test_another_column_can_be_named_and_a_missing_one_lists_the_present(tmp_path):
    write_parquet(tmp_path / "train-00000-of-00001.parquet", [picture(0)])
    with pytest.raises(ValueError, match=r"no column 'photo'; it has \['image'\].*--image_column"):
        ImageDataset(tmp_path, "train", 32, image_column="photo")


def test_decoded_pictures_may_be_kept(folder):
    kept, fresh = (ImageDataset(folder, resolution=16, keep_decoded=k) for k in (True, False))
    assert np.array_equal(kept.load(3), fresh.load(3))
    assert kept.load(3) is kept.load(3)


def test_missing_and_empty_folders_say_what_was_expected(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist.*--train_data_dir"):
        ImageDataset(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="holds no picture"):
        ImageDataset(tmp_path)
    with pytest.raises(ValueError, match="test"):
        ImageDataset(tmp_path, "test")


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
