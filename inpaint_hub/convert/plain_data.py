"""What a checkpoint is read as: names that stay names, numbers still in the file; and checks of
what they claim to be."""

import math
from dataclasses import dataclass, field

import torch

from inpaint_hub.convert.errors import DamagedFileError, UnsafeFileError, shown

MAX_TENSORS = 20_000
MAX_DIMENSIONS = 8
MAX_INTEGER = 2**63

DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


@dataclass(frozen=True)
class Name:
    """A name the pickle asked for: inert."""

    module: str
    name: str

    def __str__(self):
        return f"{self.module}.{self.name}"


@dataclass(frozen=True)
class Storage:
    """Numbers in the file: `read()` gives their bytes."""

    dtype: torch.dtype
    numel: int
    read: object = field(repr=False)

    @property
    def nbytes(self):
        return self.numel * self.dtype.itemsize


@dataclass(frozen=True)
class StoredTensor:
    """A tensor that is still in the file; checked to lie inside its storage."""

    storage: Storage
    offset: int
    shape: tuple
    stride: tuple

    @property
    def numel(self):
        return math.prod(self.shape)

    @property
    def nbytes(self):
        return self.numel * self.storage.dtype.itemsize

    @property
    def is_floating_point(self):
        return self.storage.dtype.is_floating_point

    def load(self):
        """torch.Tensor of the file's dtype, with memory of its own."""
        data = self.storage.read()
        if len(data) != self.storage.nbytes:
            raise DamagedFileError(
                f"a storage has {len(data)} bytes, expected {self.storage.nbytes}; was the "
                "download complete?"
            )
        if not self.numel:
            return torch.empty(self.shape, dtype=self.storage.dtype)
        flat = torch.frombuffer(bytearray(data), dtype=self.storage.dtype)
        return flat.as_strided(self.shape, self.stride, self.offset).clone(
            memory_format=torch.contiguous_format
        )


@dataclass(frozen=True)
class PersistentObject:
    """NVIDIA's persistent object (a network or a layer) as data: its class's name and its
    attributes. The source code that came with it was not kept."""

    class_name: str
    state: dict


class Attributes(dict):
    """An object that is nothing but its attributes: argparse's Namespace."""


@dataclass(frozen=True)
class Array:
    """A numpy dtype, array or scalar, which no weight is: not read further."""

    what: str


def plain(value, kinds, what):
    if not isinstance(value, kinds) or isinstance(value, bool) and bool not in _tuple(kinds):
        raise DamagedFileError(f"{what} is {shown(value)}, expected another kind of value")
    return value


def _tuple(kinds):
    return kinds if isinstance(kinds, tuple) else (kinds,)


def sizes(values, what):
    """A tuple of a few sizes or strides, checked."""
    values = plain(values, (tuple, list), what)
    if len(values) > MAX_DIMENSIONS:
        raise UnsafeFileError(
            f"{what} has {len(values)} dimensions, expected at most {MAX_DIMENSIONS}"
        )
    for value in values:
        if plain(value, int, what) < 0 or value >= MAX_INTEGER:
            raise DamagedFileError(f"{what} holds {shown(value)}, expected a size")
    return tuple(values)
