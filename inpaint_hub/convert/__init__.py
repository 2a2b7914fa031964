"""Other programs' checkpoints, read without running anything they hold, and written back.

file --files, restricted_pickle--> plain data --rosinality, nvlabs, psp--> networks --> folder

python -m inpaint_hub.convert SOURCE DEST
"""

from inpaint_hub.convert.conversion import Conversion, convert, convert_to_folder
from inpaint_hub.convert.errors import (
    ConversionError,
    DamagedFileError,
    UnknownLayoutError,
    UnsafeFileError,
    WrongKeysError,
)
from inpaint_hub.convert.export_rosinality import export_rosinality

__all__ = [
    "Conversion",
    "ConversionError",
    "DamagedFileError",
    "UnknownLayoutError",
    "UnsafeFileError",
    "WrongKeysError",
    "convert",
    "convert_to_folder",
    "export_rosinality",
]
