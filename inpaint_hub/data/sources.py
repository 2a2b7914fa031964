"""Where pictures come from: folders, parquet in the Hub's layout, data sets of the Hub; encoded."""

import bisect
import itertools
import os
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

SPLIT_NAMES = ("train", "validation", "val", "test")
ALIASES = {"val": "validation"}
KEPT_GROUP_BYTES = 256 << 20  # of encoded pictures, by a process or a loading worker
BUILDERS = {".parquet": "parquet", ".tar": "webdataset"}  # of the datasets library, by ending
ALL = "all"  # every picture of a folder
Table = Any  # datasets.Dataset or IterableDataset: that library is imported where it is needed


def folders_of(text: str | Path) -> list:
    """Paths of "DATA", or of "DATA,MORE"; a folder whose name has a comma is one."""
    if Path(text).is_dir():
        return [text]
    return [part.strip() for part in str(text).split(",") if part.strip()] or [text]


def local_entries(path: str | Path, split: str, image_column: str = "image") -> Sequence:
    """Paths of a folder's pictures, or the encoded pictures of its parquet files.

    A split is a sub-folder of its name (pictures or parquet in it) or <split>-*.parquet, in the
    folder or in its sub-folder data; "validation" and "val" are one. A folder without any split is
    all "train". "all" is everything, whatever its split.

    Raises: FileNotFoundError where there are none: pictures of another split, which may have been
        trained on, never stand in; ValueError for a missing column.
    """
    root = Path(path)
    if not root.is_dir():
        raise FileNotFoundError(
            f"data folder {str(path)!r} does not exist; expected a folder of pictures or of "
            f"{split}-*.parquet files; check --train_data_dir"
        )
    present = splits_of(root)
    if split == ALL or (split == "train" and not present):
        files = pictures_in(root) or sorted(root.rglob("*.parquet"))
    elif split == "train" and "train" not in present:  # beside the other splits' folders
        others = {root / name for name in SPLIT_NAMES}
        files = [p for p in pictures_in(root) if others.isdisjoint(p.parents)]
    else:
        files = present.get(same_split(split), [])
    if not files:
        found = f"it has {', '.join(present)}" if present else "it has no splits"
        raise FileNotFoundError(
            f"data folder {str(path)!r} holds no picture for split {split!r} ({found}); expected "
            f"pictures in a sub-folder {' or '.join(names_of(split))}, or {split}-*.parquet; name "
            "another split or folder (to judge every picture of a folder that was not trained on: "
            "--split all)"
        )
    if files[0].suffix == ".parquet":
        return ParquetEntries(files, image_column)
    return files


def same_split(name: str) -> str:
    """ "validation" for "val"; other names as they are."""
    return ALIASES.get(name, name)


def names_of(split: str) -> list[str]:
    """What a split may be called in a folder."""
    return [n for n in SPLIT_NAMES if same_split(n) == same_split(split)]


def splits_of(root: Path) -> dict[str, list[Path]]:
    """{split: its files} of those that a folder has, parquet before pictures."""
    files = {}
    for name in SPLIT_NAMES:
        parquet = [*root.glob(f"{name}-*.parquet"), *root.glob(f"data/{name}-*.parquet")]
        parquet += [*root.glob(f"{name}.parquet"), *(root / name).glob("*.parquet")]
        files.setdefault(same_split(name), []).extend(sorted(parquet) or pictures_in(root / name))
    return {split: found for split, found in files.items() if found}


def held_out_split(path: str | Path) -> str:
    """Name of the split that holds a folder's held-out pictures: "validation" of one with splits,
    "all" of one that is given as held-out pictures and has none."""
    has_splits = any(splits_of(Path(folder)) for folder in folders_of(path))
    return "validation" if has_splits else ALL


def pictures_in(folder: Path) -> list[Path]:
    """Paths of all files below with an ending of pictures, sorted."""
    endings = Image.registered_extensions()
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in endings and p.is_file())


class ParquetEntries:
    """Encoded pictures of the rows of parquet files, in their order, read by row group when they
    are asked for: memory does not grow with the number of pictures.

    Groups read last are kept, up to KEPT_GROUP_BYTES of encoded pictures. Small row groups (the
    Hub writes 100 rows) are quick to draw from at random.

    Raises: ValueError for a missing column.
    """

    def __init__(self, files: list[Path], column: str) -> None:
        import pyarrow.parquet as pq

        self.files, self.column, self.groups = list(files), column, []  # (file, group, rows)
        self.metadata = []  # of each file: parsed once, for it grows with the row groups
        for number, file in enumerate(self.files):
            metadata = pq.read_metadata(file)
            self.metadata.append(metadata)
            present = metadata.schema.to_arrow_schema().names
            if column not in present:
                raise ValueError(
                    f"{str(file)!r} has no column {column!r}; it has {present}; "
                    "name one with --image_column"
                )
            for group in range(metadata.num_row_groups):
                self.groups.append((number, group, metadata.row_group(group).num_rows))
        self.ends = list(itertools.accumulate(rows for _, _, rows in self.groups))
        self.kept, self.kept_bytes = OrderedDict(), 0  # {number: encoded pictures}, oldest first

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def place(self, index: int) -> tuple[int, int]:
        """(number of the row group, row in it)"""
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = bisect.bisect_right(self.ends, index)
        return number, index - (self.ends[number] - self.groups[number][2])

    def __getitem__(self, index: int) -> bytes | str | Path:
        number, row = self.place(index)
        return self.group(number)[row]

    def group(self, number: int) -> list:
        """Encoded pictures of one row group."""
        if number in self.kept:
            self.kept.move_to_end(number)
            return self.kept[number]
        import pyarrow.parquet as pq

        file, group, _ = self.groups[number]
        with pq.ParquetFile(self.files[file], metadata=self.metadata[file]) as opened:
            column = opened.read_row_group(group, columns=[self.column])[self.column]
        rows = [encoded(value) for value in column.to_pylist()]
        self.kept[number] = rows
        self.kept_bytes += size_of(rows)
        while self.kept_bytes > KEPT_GROUP_BYTES and len(self.kept) > 1:
            self.kept_bytes -= size_of(self.kept.popitem(last=False)[1])
        return rows

    def name(self, index: int) -> str:
        """File and row of one picture, for messages."""
        number, row = self.place(index)
        file = self.groups[number][0]
        first = sum(rows for f, _, rows in self.groups[:number] if f == file)
        return f"{self.files[file]}, row {first + row}"

    def identities(self) -> list[str]:
        return [f"{self.files[f].name} {group} {rows}" for f, group, rows in self.groups]


def size_of(rows: Iterable) -> int:
    return sum(len(row) for row in rows if isinstance(row, bytes))


class Joined:
    """Several sequences of encoded pictures as one."""

    def __init__(self, parts: list) -> None:
        self.parts = parts
        self.ends = list(itertools.accumulate(map(len, parts)))

    def __len__(self) -> int:
        return self.ends[-1]

    def at(self, index: int) -> tuple:
        number = bisect.bisect_right(self.ends, index)
        return self.parts[number], index - (self.ends[number] - len(self.parts[number]))

    def __getitem__(self, index: int) -> bytes | str | Path:
        part, index = self.at(index)
        return part[index]

    def name(self, index: int) -> str:
        part, index = self.at(index)
        return part.name(index) if hasattr(part, "name") else str(part[index])

    def identities(self) -> list[str]:
        return [identity for part in self.parts for identity in identities_of(part)]


def joined(parts: list) -> "Sequence | Joined":
    return parts[0] if len(parts) == 1 else Joined(parts)


def identities_of(entries: Sequence) -> list[str]:
    """What tells a sequence of encoded pictures from another without reading it, wherever it lies:
    its paths within the folder they share, or its files and their rows."""
    if hasattr(entries, "identities"):
        return entries.identities()
    paths = [str(entry) for entry in entries]
    shared = os.path.commonpath([os.path.dirname(path) for path in paths]) if paths else ""
    return [os.path.relpath(path, shared or ".") for path in paths]


class HubEntries:
    """Column of a map-style data set of the `datasets` library as encoded pictures."""

    def __init__(self, table: Table, column: str) -> None:
        self.table, self.column = table, column

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> bytes | str | Path:
        return encoded(self.table[index][self.column])

    def name(self, index: int) -> str:
        return f"row {index}"

    def identities(self) -> list[str]:
        return [f"{self.column} {len(self)}"]


def encoded(value: dict | None) -> bytes | str:
    """{bytes, path} -> bytes, or the path where a data set refers to files; of a row without a
    picture, b"", which cannot be read."""
    if value is None or value["bytes"] is value["path"] is None:
        return b""
    return value["bytes"] if value["bytes"] is not None else value["path"]


def hub_dataset(
    name: str, config_name: str | None, split: str, column: str, streaming: bool, **options: Any
) -> Table:
    """A data set of the Hub, or a local one by its folder, or files by a pattern or URL that ends
    in .parquet or .tar (WebDataset), as "s3://bucket/train-*.tar"; its pictures left encoded.

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
    source = name
    for ending, builder in BUILDERS.items():
        if name.endswith(ending):
            source, options = builder, options | {"data_files": {split: name}}
    try:
        table = datasets.load_dataset(
            source, config_name, split=split, streaming=streaming, **options
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


def part_of_stream(table: Table, node: int, nodes: int) -> Table:
    """What reader `node` of `nodes` reads of a streaming data set: whole files where there are as
    many as readers, else every so-manieth row."""
    from datasets.distributed import split_dataset_by_node

    strategy = "shards" if table.num_shards >= nodes else "examples"
    return split_dataset_by_node(table, node, nodes, strategy)
