"""What has been filled and judged already: JSON lines, appended to as a run goes on, and PNGs."""

import base64
import hashlib
import json
from pathlib import Path
from urllib.parse import quote

import numpy as np
from PIL import Image

from inpaint_hub.evaluation.pairs import file_name


class Indexed:
    """A function of an index, with a length."""

    def __init__(self, function, length):
        self.function, self.length = function, length

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        return self.function(index)


class KeptPictures:
    """PNG files folder/<method>/<band>/00000.png and samples/00000_0.png beside them: each
    method's folder is one that --predictions reads."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def path(self, method, band, index, sample=None):
        where = self.folder / quote(method, safe="") / band
        if sample is None:
            return where / file_name(index)
        return where / "samples" / f"{Path(file_name(index)).stem}_{sample}.png"

    def write(self, picture, *place):
        """Keep uint8 [s,s,3]; returns the digest by which `read` knows it."""
        path = self.path(*place)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path, compress_level=1)
        return digest(picture.tobytes())

    def load(self, *place):
        """uint8 [s,s,3]."""
        with Image.open(self.path(*place)) as image:
            return np.asarray(image.convert("RGB"))

    def read(self, expected, *place):
        """uint8 [s,s,3], or None where there is no such picture or not the one of that digest."""
        try:
            picture = self.load(*place)
        except OSError:
            return None
        return picture if digest(picture.tobytes()) == expected else None


def digest(*parts):
    """Hexadecimal digest of strings or bytes."""
    joined = b"\n".join(part.encode() if isinstance(part, str) else part for part in parts)
    return hashlib.sha256(joined).hexdigest()[:24]


class Ledger:
    """Records by key in a file of JSON lines; of two with one key the later counts.

    A last line without an end is what an interrupted run leaves: it is cut off and that picture is
    judged again.

    Raises: ValueError for a broken line elsewhere.
    """

    def __init__(self, path):
        self.path, self.records = Path(path), {}
        if self.path.exists():
            self._read()

    def _read(self):
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                record = json.loads(line)
                self.records[record["key"]] = record
            except (ValueError, TypeError, KeyError) as error:
                raise ValueError(
                    f"line {number} of {str(self.path)!r} is no record of a judged picture; delete "
                    "the file to judge all anew, or give another --output"
                ) from error
        if len(whole) < len(content):
            with self.path.open("r+b") as file:
                file.truncate(len(whole))

    def get(self, key):
        """The record of that key, or None."""
        return self.records.get(key)

    def append(self, records):
        """Keep the records, each with its `key`, here and on the disk."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            for record in records:
                self.records[record["key"]] = record
                file.write(json.dumps(record) + "\n")


def packed(features):
    """float32 [D] as text, exactly; None stays None."""
    if features is None:
        return None
    return base64.b64encode(np.asarray(features, "<f4").tobytes()).decode()


def unpacked(text):
    """float32 [D] of `packed`."""
    return None if text is None else np.frombuffer(base64.b64decode(text), "<f4")
