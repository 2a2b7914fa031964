"""Where pictures come from: folders, parquet in the Hub's layout, data sets of the Hub; encoded."""

import itertools
from pathlib import Path

from PIL import Image


def folders_of(text):
    """Paths of "DATA", or of "DATA,MORE"; a folder whose name has a comma is one."""
    if Path(text).is_dir():
        return [text]
    return [part.strip() for part in str(text).split(",") if part.strip()] or [text]


def local_entries(path, split, image_column="image"):
    """Paths of a folder's pictures, or the encoded pictures of its <split>-*.parquet files.

    Raises: FileNotFoundError where there are none; ValueError for a missing column.
    """
    root = Path(path)
    if not root.is_dir():
        raise FileNotFoundError(
            f"data folder {str(path)!r} does not exist; expected a folder of pictures or of "
            f"{split}-*.parquet files; check --train_data_dir"
        )
    parquet = sorted(root.glob(f"{split}-*.parquet")) or sorted(
        root.glob(f"data/{split}-*.parquet")
    )
    if parquet:
        entries = list(
            itertools.chain.from_iterable(_parquet_bytes(f, image_column) for f in parquet)
        )
    else:
        folder = root / split if (root / split).is_dir() else root
        endings = Image.registered_extensions()
        entries = sorted(
            p for p in folder.rglob("*") if p.suffix.lower() in endings and p.is_file()
        )
    if not entries:
        raise FileNotFoundError(
            f"data folder {str(path)!r} holds no picture for split {split!r}; expected pictures or "
            f"{split}-*.parquet files in it; point --train_data_dir at them"
        )
    return entries


def _parquet_bytes(file, column):
    """Encoded pictures of one parquet file; only `column` is read."""
    import pyarrow.parquet as pq

    present = pq.read_schema(file).names
    if column not in present:
        raise ValueError(
            f"{str(file)!r} has no column {column!r}; it has {present}; "
            "name one with --image_column"
        )
    return [encoded(entry) for entry in pq.read_table(file, columns=[column])[column].to_pylist()]


class HubEntries:
    """Column of a map-style data set of the `datasets` library as encoded pictures."""

    def __init__(self, table, column):
        self.table, self.column = table, column

    def __len__(self):
        return len(self.table)

    def __getitem__(self, index):
        return encoded(self.table[index][self.column])


def encoded(value):
    """{bytes, path} -> bytes, or the path where a data set refers to files; of a row without a
    picture, b"", which cannot be read."""
    if value is None or value["bytes"] is value["path"] is None:
        return b""
    return value["bytes"] if value["bytes"] is not None else value["path"]


def hub_dataset(name, config_name, split, column, streaming, **options):
    """A data set of the Hub (or a local one, by its folder), its pictures left encoded.

    options: of datasets.load_dataset, as cache_dir. Raises: ImportError without the `datasets`
        library; FileNotFoundError when there is no such data set; ValueError for a missing column.
    """
    try:
        import datasets
    except ImportError as error:
        raise ImportError(
            "--dataset_name needs the datasets library: pip install datasets; or give "
            "--train_data_dir a folder"
        ) from error
    try:
        table = datasets.load_dataset(
            name, config_name, split=split, streaming=streaming, **options
        )
    except (OSError, ValueError) as error:
        raise FileNotFoundError(
            f"data set {name!r} (configuration {config_name}, split {split}) cannot be loaded: "
            f"{error}"
        ) from error
    present = list(table.features or {})
    if column not in present:
        raise ValueError(
            f"data set {name!r} has no column {column!r}; it has {present}; name one with "
            "--image_column"
        )
    return table.select_columns([column]).cast_column(column, datasets.Image(decode=False))
