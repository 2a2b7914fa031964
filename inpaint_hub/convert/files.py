"""What a checkpoint file holds, by its content and not by its name.

| first bytes | format |
| --- | --- |
| PK | torch.save since 1.6: a zip of data.pkl and one stored entry for each storage |
| pickle of a magic number | torch.save before 1.6, and the storages inside NVIDIA's pickles |
| any other pickle | NVIDIA's .pkl (SPEC C8.2) |
| a length and `{` | safetensors |

Differs from PyTorch's own reader, with weights_only, in what it refuses: that one allocates a
storage before it knows whether the file has its bytes, inflates compressed entries of a zip, and
cannot read NVIDIA's pickles; here all formats go through one reader (restricted_pickle) and one set
of limits.
"""

import hashlib
import io
import json
import zipfile
import zlib
from pathlib import Path

import torch

from inpaint_hub.convert.errors import (
    ConversionError,
    DamagedFileError,
    UnknownLayoutError,
    UnsafeFileError,
    shown,
)
from inpaint_hub.convert.plain_data import DTYPES, Name, Storage, StoredTensor, plain
from inpaint_hub.convert.restricted_pickle import Budget, Reader, check_nesting

MAX_FILE_BYTES = 8 * 1024**3  # NVIDIA's largest, three networks at 1024 px: 0.4 GB
MAX_ENTRIES = 50_000
MAX_PICKLE_BYTES = 64 * 1024**2  # data.pkl of a training checkpoint: 0.2 MB
MAX_HEADER_BYTES = 16 * 1024**2
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_START = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
LEGACY_PROTOCOL = 1001
SAFETENSORS_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
FORMATS = (
    "expected a PyTorch checkpoint (.pt, .pth), an NVIDIA network pickle (.pkl) or a safetensors "
    "file"
)


class Stream:
    """A part of a file as pickletools reads it; never asks for more than there is."""

    def __init__(self, file, size):
        self.file, self.size = file, size

    def left(self):
        return self.size - self.file.tell()

    def read(self, count):
        return self.file.read(min(count, max(self.left(), 0)))

    def readline(self):
        return self.file.readline(max(self.left(), 0))

    def tell(self):
        return self.file.tell()

    def exactly(self, count):
        if count > self.left():
            raise DamagedFileError(
                f"the file ends where {count} more bytes should be; was the download complete?"
            )
        return self.file.read(count)


def sha256_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_checkpoint(path):
    """(what the file holds as plain data, name of its format).

    Data: dictionaries, lists and numbers, with plain_data's StoredTensor and
    PersistentObject. Tensors are read from the file when they are loaded; it must stay there.

    Raises: FileNotFoundError; UnsafeFileError, DamagedFileError, UnknownLayoutError.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{str(path)!r} is not a file; check the path")
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise UnsafeFileError(
            f"{str(path)!r} has {size} bytes, expected at most {MAX_FILE_BYTES}: no known network "
            "is so large"
        )
    with open(path, "rb") as file:
        start = file.read(64)
    for is_it, read, name in READERS:
        if is_it(start, size):
            try:
                value = read(path, size)
                check_nesting(value)
            except ConversionError as error:
                raise type(error)(f"{str(path)!r} ({name}): {error}") from error
            return value, name
    known = next((text for begin, text in OTHERS if start.startswith(begin)), None)
    found = f"it is {known}" if known else f"it begins with {shown(start[:16])}"
    raise UnknownLayoutError(f"{str(path)!r} is of no known format: {found}; {FORMATS}")


def dtype_of(kind):
    """torch.dtype of a storage's class. torch.storage.UntypedStorage counts bytes."""
    if isinstance(kind, Name):
        if kind.name == "UntypedStorage":
            return torch.uint8
        if kind.name in DTYPES:
            return DTYPES[kind.name]
    raise DamagedFileError(f"a storage is of kind {shown(str(kind))}, expected a torch storage")


def storage_identity(identity):
    """(dtype, key, numel) of a persistent id ("storage", class, key, device, numel, ...)."""
    identity = plain(identity, tuple, "a storage's identity")
    if len(identity) < 5 or identity[0] != "storage":
        raise DamagedFileError("a persistent id is none of a storage; expected 'storage' first")
    _, kind, key, _, numel = identity[:5]
    numel = plain(numel, int, "a storage's length")
    if numel < 0:
        raise DamagedFileError(f"a storage's length is {numel}")
    return dtype_of(kind), str(plain(key, (str, int), "a storage's key")), numel


# ---- zip ---------------------------------------------------------------------------------------


def read_zip(path, size):
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError, EOFError) as error:
        raise DamagedFileError(
            f"the zip cannot be opened ({shown(str(error))}); was the download complete?"
        ) from error
    with archive:
        entries = checked_entries(archive, size)
        pickles = [name for name in entries if name.rpartition("/")[2] == "data.pkl"]
        if len(pickles) != 1:
            raise UnknownLayoutError(
                f"a zip with {len(pickles)} entries data.pkl, expected one, as torch.save writes; "
                f"it holds {[shown(name) for name in list(entries)[:4]]}"
            )
        folder = pickles[0].removesuffix("data.pkl")
        if any(name.startswith((f"{folder}code/", f"{folder}constants.pkl")) for name in entries):
            raise UnsafeFileError(
                "this is a TorchScript program; save its weights alone: "
                "torch.save(model.state_dict(), 'weights.pt')"
            )
        byteorder = entries.get(f"{folder}byteorder")
        if byteorder and bounded(archive, byteorder, 16) != b"little":
            raise UnknownLayoutError("the file's numbers are not little-endian; save it again")
        pickle = bounded(archive, entries[pickles[0]], MAX_PICKLE_BYTES)

        def persistent(identity):
            dtype, key, numel = storage_identity(identity)
            entry = entries.get(f"{folder}data/{key}")
            if entry is None:
                raise DamagedFileError(f"the storage {shown(key)} is not in the file")
            if entry.file_size != numel * dtype.itemsize:
                raise DamagedFileError(
                    f"the storage {shown(key)} has {entry.file_size} bytes, expected "
                    f"{numel * dtype.itemsize}"
                )
            return Storage(dtype, numel, ZipEntry(path, entry.filename, entry.file_size))

        return Reader(Stream(io.BytesIO(pickle), len(pickle)), persistent).read()


class ZipEntry:
    """Reads one entry of a zip again when asked."""

    def __init__(self, path, name, size):
        self.path, self.name, self.size = path, name, size

    def __call__(self):
        with zipfile.ZipFile(self.path) as archive:
            return bounded(archive, archive.getinfo(self.name), self.size)


def checked_entries(archive, size):
    """{name: ZipInfo}. torch.save compresses nothing: whatever is compressed, or claims more bytes
    than the file has, is refused before it is read.

    Raises: UnsafeFileError.
    """
    infos = archive.infolist()
    if len(infos) > MAX_ENTRIES:
        raise UnsafeFileError(f"the zip has {len(infos)} entries, expected at most {MAX_ENTRIES}")
    for info in infos:
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise UnsafeFileError(
                f"the zip's entry {shown(info.filename)} is compressed ({info.compress_size} to "
                f"{info.file_size} bytes), which torch.save never does; load the file with the "
                "program it is from and save it again with torch.save"
            )
        if info.flag_bits & 0x1:
            raise UnsafeFileError(f"the zip's entry {shown(info.filename)} is encrypted")
    total = sum(info.file_size for info in infos)
    if total > size:
        raise UnsafeFileError(
            f"the zip's entries have {total} bytes, more than the file's {size}: they overlap"
        )
    names = {info.filename: info for info in infos}
    if len(names) != len(infos):
        raise UnsafeFileError("the zip has several entries of one name")
    return names


def bounded(archive, info, limit):
    """The bytes of an entry of at most `limit`."""
    if info.file_size > limit:
        raise UnsafeFileError(
            f"the zip's entry {shown(info.filename)} has {info.file_size} bytes, expected at most "
            f"{limit}"
        )
    try:
        return archive.read(info)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        ValueError,
        NotImplementedError,
        RuntimeError,
        OSError,
    ) as error:
        raise DamagedFileError(
            f"the zip's entry {shown(info.filename)} cannot be read ({shown(str(error))}); was the "
            "download complete?"
        ) from error


# ---- torch.save before 1.6 ---------------------------------------------------------------------


class Span:
    """Reads a part of a file again when asked."""

    def __init__(self, path, start, size):
        self.path, self.start, self.size = path, start, size

    def __call__(self):
        with open(self.path, "rb") as file:
            file.seek(self.start)
            return file.read(self.size)


class Later:
    """A storage whose bytes follow behind the pickle that refers to it."""

    def __init__(self):
        self.read = None

    def __call__(self):
        if self.read is None:
            raise DamagedFileError("a storage has no bytes in the file")
        return self.read()


def read_legacy(path, size):
    with open(path, "rb") as file:
        return legacy_stream(Stream(file, size), lambda start, count: Span(path, start, count))


def legacy_stream(stream, spans, budget=None):
    """spans: (start, number of bytes) in the stream -> function that gives the bytes."""
    budget = budget or Budget()
    if Reader(stream, budget=budget).read() != LEGACY_MAGIC:
        raise UnknownLayoutError("the pickle does not begin as torch.save's do")
    protocol = Reader(stream, budget=budget).read()
    if protocol != LEGACY_PROTOCOL:
        raise UnknownLayoutError(
            f"torch.save's protocol is {shown(protocol)}, expected {LEGACY_PROTOCOL}"
        )
    system = Reader(stream, budget=budget).read()
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise UnknownLayoutError("the file's numbers are not little-endian; save it again")
    storages = {}

    def persistent(identity):
        dtype, key, numel = storage_identity(identity)
        if len(identity) > 5 and identity[5] is not None:
            raise UnknownLayoutError(
                "the file holds views of storages, as torch.save wrote before 1.0; load it with "
                "PyTorch and save it again"
            )
        if key not in storages:
            if numel * dtype.itemsize > stream.size:
                raise DamagedFileError(
                    f"a storage of {numel * dtype.itemsize} bytes is named in a file of "
                    f"{stream.size}; was the download complete?"
                )
            storages[key] = Storage(dtype, numel, Later())
        known = storages[key]
        if (known.dtype, known.numel) != (dtype, numel):
            raise DamagedFileError(f"the storage {shown(key)} is described in two ways")
        return known

    value = Reader(stream, persistent, budget=budget).read()
    keys = plain(Reader(stream, budget=budget).read(), list, "the list of storages")
    for key in keys:
        storage = storages.get(str(plain(key, (str, int), "a storage's key")))
        if storage is None:
            raise DamagedFileError(f"the storage {shown(key)} belongs to no tensor")
        numel = int.from_bytes(stream.exactly(8), "little", signed=True)
        if numel != storage.numel:
            raise DamagedFileError(
                f"the storage {shown(key)} has {numel} numbers, expected {storage.numel}"
            )
        start = stream.tell()
        if storage.nbytes > stream.left():
            raise DamagedFileError(
                f"the file ends inside the storage {shown(key)}; was the download complete?"
            )
        storage.read.read = spans(start, storage.nbytes)
        stream.file.seek(start + storage.nbytes)
    if missing := [key for key, storage in storages.items() if storage.read.read is None]:
        raise DamagedFileError(f"the storages {missing[:4]} have no bytes in the file")
    return value


# ---- plain pickles -----------------------------------------------------------------------------


def read_pickle(path, size):
    budget = Budget()

    def from_bytes(data):
        """A storage that was pickled by itself: torch.save's old format inside a string."""
        view = memoryview(data)
        spans = lambda start, count: lambda: view[start : start + count]  # noqa: E731
        storage = legacy_stream(Stream(io.BytesIO(data), len(data)), spans, budget)
        return plain(storage, Storage, "a pickled storage")

    with open(path, "rb") as file:
        return Reader(Stream(file, size), from_bytes=from_bytes, budget=budget).read()


# ---- safetensors -------------------------------------------------------------------------------


def read_safetensors(path, size):
    """{name: StoredTensor}; the header says where each lies, and all must lie one after another."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > MAX_HEADER_BYTES:
            raise UnsafeFileError(
                f"the header has {length} bytes, expected at most {MAX_HEADER_BYTES}"
            )
        header = file.read(length)
    try:
        described = json.loads(header)
        described.pop("__metadata__", None)
        items = sorted(described.items(), key=lambda item: item[1]["data_offsets"])
        state, position = {}, 0
        for name, entry in items:
            begin, end = entry["data_offsets"]
            dtype, shape = SAFETENSORS_DTYPES[entry["dtype"]], tuple(entry["shape"])
            numel = 1
            for n in shape:
                if not isinstance(n, int) or n < 0:
                    raise ValueError(f"shape {shown(n)}")
                numel *= n
            if begin != position or end - begin != numel * dtype.itemsize:
                raise ValueError(f"{shown(name)} does not follow the tensor before it")
            position = end
            stride = tuple(torch.empty(shape, device="meta").stride())
            storage = Storage(dtype, numel, Span(path, 8 + length + begin, end - begin))
            state[name] = StoredTensor(storage, 0, shape, stride)
        if 8 + length + position != size:
            raise ValueError(f"{8 + length + position} bytes expected, {size} found")
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, RecursionError) as error:
        raise DamagedFileError(
            f"the header cannot be followed ({type(error).__name__}: {shown(str(error))}); was the "
            "download complete?"
        ) from error
    return state


def is_safetensors(start, size):
    length = int.from_bytes(start[:8], "little")
    return len(start) > 8 and 2 <= length <= size - 8 and start[8:9] == b"{"


READERS = (
    (lambda start, size: start.startswith(b"PK\x03\x04"), read_zip, "zip of torch.save"),
    (lambda start, size: start.startswith(LEGACY_START), read_legacy, "torch.save before 1.6"),
    (is_safetensors, read_safetensors, "safetensors"),
    (lambda start, size: start[:1] == b"\x80" and start[1:2] <= b"\x05", read_pickle, "pickle"),
    (lambda start, size: start[:1] in (b"(", b"}", b"c", b"]"), read_pickle, "pickle, protocol 0"),
)
OTHERS = (
    (b"\x1f\x8b", "compressed with gzip; decompress it first"),
    (b"BZh", "compressed with bzip2; decompress it first"),
    (b"\xfd7zXZ", "compressed with xz; decompress it first"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd; decompress it first"),
    (b"7z", "a 7z archive; unpack it first"),
    (b"\x89HDF", "an HDF5 file (Keras)"),
    (b"<", "a web page: the download needs a browser or a login"),
    (b"version https://git-lfs", "a pointer of Git LFS; run git lfs pull"),
    (b"\x08", "an ONNX or TensorFlow graph"),
    (b"", "empty or unknown"),
)
