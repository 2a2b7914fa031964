"""Fixed image-mask pairs: every method is judged on the same ones, ours or another program's."""

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from inpaint_hub.masks import (
    BANDS,
    KINDS,
    MIXTURES,
    MaskFiles,
    coverage,
    drawn_in_band,
    nominal_mask,
    outpainting,
)

OUTPAINTING_SIDES = ("left", "right", "both")
OUTPAINTING_PERCENT = (25, 50, 75)  # of the width (SPEC A11.3)
POSTER = tuple(f"{low}-{low + 10}" for low in range(0, 60, 10))
GROUPS = {
    "poster": POSTER,
    "outpaint": tuple(f"outpaint-{s}-{p}" for s in OUTPAINTING_SIDES for p in OUTPAINTING_PERCENT),
}
NAMED = tuple(name for name in BANDS if name not in POSTER)
FILES = "files"  # holes of --mask_dir


class Band(NamedTuple):
    """Holes whose true coverage lies between low and high, shares of the picture in [0,1].

    title: the name the field gives it, if any (SPEC A11.2). kind: a key of masks.MIXTURES, what
    holes are drawn, or "files": taken from `files`, a MaskFiles.
    """

    low: float
    high: float
    title: str = ""
    kind: str = "mixture"
    files: MaskFiles | None = None

    @property
    def name(self):
        percent = f"{self.low * 100:g}-{self.high * 100:g} %"
        prefix = "" if self.kind == "mixture" else f"{self.kind}-"
        return prefix + (f"{self.title} ({percent})" if self.title else percent)

    def draw(self, resolution, seed, index):
        """(mask, name of its kind)."""
        key = (seed, round(self.low * 1000), round(self.high * 1000), index)
        rng = np.random.default_rng(key)
        if self.kind == FILES:
            return self.files.in_band(resolution, self.low, self.high, rng), FILES
        return drawn_in_band(resolution, self.low, self.high, rng, self.kind)


class AllFiles(NamedTuple):
    """Every file of a MaskFiles in turn, whatever it covers."""

    files: MaskFiles

    name = FILES

    def draw(self, resolution, seed, index):
        """(mask, "files").

        Raises: ValueError for a file without white.
        """
        file = index % len(self.files)
        mask = self.files.fitted(file, resolution)
        if not mask.any():
            raise ValueError(
                f"mask file {str(self.files.files[file])!r} has no hole at {resolution} px; "
                "expected white = hole; remove it from --mask_dir"
            )
        return mask, FILES


class NominalBand(NamedTuple):
    """Strokes whose areas add up to between low and high where overlaps count twice: true coverage
    is smaller (SPEC A11.2, protocol mmt_nominal)."""

    low: float
    high: float

    @property
    def name(self):
        return f"mmt-{self.low * 100:g}-{self.high * 100:g} (nominal)"

    def draw(self, resolution, seed, index):
        """(mask, name of its kind)."""
        key = (seed, round(self.low * 1000), round(self.high * 1000), index)
        rng = np.random.default_rng(key)
        return nominal_mask(resolution, self.low, self.high, rng), "strokes"


class Outpainting(NamedTuple):
    """A border of `ratio` of the width to be made up; the same for every picture (SPEC A11.3)."""

    side: str
    ratio: float

    @property
    def name(self):
        return f"outpaint-{self.side}-{self.ratio * 100:g}"

    def draw(self, resolution, seed, index):
        """(mask, name of its kind)."""
        return outpainting(resolution, self.side, self.ratio), "borders"


def slug(band):
    """A band's name as a folder: "10-30" of "10-30 %", "hard" of "hard (50-60 %)"."""
    return band.name.split()[0]


def parse_band(text, files=None):
    """Band(0.3, 0.6) of "30-60"; the named bands; one kind of hole as "strokes-30-60" or
    "boxes-extreme"; "files" or "files-30-60" of `files`, a MaskFiles; "outpaint-right-50";
    "mmt-50-60".

    Raises: ValueError for anything else.
    """
    kind, _, rest = text.partition("-")
    if text in NAMED:
        return Band(*BANDS[text], text)
    if kind == FILES and files is None:
        raise ValueError(f"band is {text!r}, but there are no mask files; give --mask_dir")
    if text == FILES:
        return AllFiles(files)
    if kind == FILES or kind in MIXTURES:
        band = parse_band(rest)
        if isinstance(band, Band) and band.kind == "mixture":
            return band._replace(kind=kind, files=files if kind == FILES else None)
        rest = ""  # "strokes-outpaint-left-50" is none
    if kind == "outpaint":
        side, _, percent = rest.partition("-")
        if side in OUTPAINTING_SIDES and percent in map(str, OUTPAINTING_PERCENT):
            return Outpainting(side, int(percent) / 100)
    else:
        try:
            low, high = (float(part) / 100 for part in text.removeprefix("mmt-").split("-"))
        except ValueError:
            low, high = 0.0, 0.0
        if 0 <= low < high <= 1:
            return NominalBand(low, high) if kind == "mmt" else Band(low, high)
    raise ValueError(
        f"band is {text!r}, expected two percentages as 30-60, 0 <= low < high <= 100, or one of "
        f"{', '.join(NAMED)}, poster (six bands), outpaint (nine), outpaint-SIDE-PERCENT (SIDE "
        f"{' | '.join(OUTPAINTING_SIDES)}, PERCENT {' | '.join(map(str, OUTPAINTING_PERCENT))}), "
        f"mmt-LOW-HIGH; before coverages also a kind of hole ({', '.join(MIXTURES)}, or {FILES} "
        "with --mask_dir), as strokes-30-60 or strokes-poster"
    )


def spelled_out(text):
    """Names of the bands of a group ("poster", "strokes-poster"), or the text itself."""
    kind, _, rest = text.partition("-")
    if rest == "poster" and (kind in MIXTURES or kind == FILES):
        return [f"{kind}-{one}" for one in POSTER]
    return GROUPS.get(text, (text,))


def parse_bands(texts, files=None):
    """Bands of the texts, groups (poster, outpaint) spelled out; files: a MaskFiles or None.

    Raises: ValueError for a text that is no band, or for one band named twice.
    """
    bands = [parse_band(one, files) for text in texts for one in spelled_out(text)]
    slugs = [slug(band) for band in bands]
    twice = sorted({s for s in slugs if slugs.count(s) > 1})
    if twice:
        raise ValueError(f"bands given twice: {', '.join(twice)}; name each once")
    return bands


class EvaluationPairs:
    """pairs[i] = (uint8 [s,s,3], bool [s,s]): picture i of a data set, a mask of a band.

    A mask, True = hole, depends on (seed, band, i) and the resolution alone, so the pairs do not
    depend on how many are judged. `kinds` is {index: name of the hole's kind} of the pairs made so
    far.
    """

    def __init__(self, pictures, band, seed=0, num_images=None):
        self.pictures, self.band, self.seed = pictures, band, seed
        self.num_images = min(num_images or len(pictures), len(pictures))
        self.kinds = {}

    def __len__(self):
        return self.num_images

    def __getitem__(self, index):
        if not 0 <= index < self.num_images:
            raise IndexError(index)
        mask, self.kinds[index] = self.band.draw(self.pictures.resolution, self.seed, index)
        return self.pictures.load(index), mask

    @property
    def remark(self):
        """How often each kind of hole was drawn, and what mask files cover as they are stored."""
        names = [*KINDS, FILES]
        counts = {n: list(self.kinds.values()).count(n) for n in names}
        shares = [f"{n} {100 * c / len(self.kinds):.0f} %" for n, c in counts.items() if c]
        told = f"holes: {', '.join(shares)}"
        files = getattr(self.band, "files", None)
        if files is not None:
            told += f"; {files.coverage_line(self.pictures.resolution)}"
        return told


def pair_digest(picture, mask):
    """Hexadecimal digest of one pair: what a kept result is for."""
    return hashlib.sha256(picture.tobytes() + np.packbits(mask).tobytes()).hexdigest()[:16]


def file_name(index):
    """Name of picture `index` in exported pairs and in folders of predictions."""
    return f"{index:05d}.png"


def masked_picture(pixels, mask):
    """uint8 [H,W,3] with the hole, bool [H,W], in gray."""
    shown = pixels.copy()
    shown[mask] = 128
    return shown


def coverage_line(name, covered, remark=""):
    """ "hard (50-60 %): 1000 pairs, measured coverage mean 54.8 %, from 50.0 to 60.0 %; holes:
    strokes 26 %, ..."."""
    covered = np.asarray(covered) * 100
    return (
        f"{name}: {len(covered)} pairs, measured coverage mean {covered.mean():.1f} %, from "
        f"{covered.min():.1f} to {covered.max():.1f} %" + (f"; {remark}" if remark else "")
    )


def export_pairs(folder, pair_sets):
    """Write pairs for other programs; returns one line about each band's measured coverage.

    folder/<band>/images/00000.png, masks/00000.png (mode L, 255 = hole), masked/00000.png (hole in
    gray), and folder/pairs.json. The folder appears when all is written.

    Raises: FileExistsError when the folder holds something.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(
            f"{str(folder)!r} is there and not empty; expected a new folder for the pairs; give "
            "--export_pairs another name"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    lines, content = [], {}
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as work:
        whole = Path(work) / "pairs"
        for pairs in pair_sets:
            parts = {
                name: whole / slug(pairs.band) / name for name in ("images", "masks", "masked")
            }
            for part in parts.values():
                part.mkdir(parents=True)
            entries = []
            for index, (picture, mask) in enumerate(pairs):
                name = file_name(index)
                Image.fromarray(picture).save(parts["images"] / name)
                Image.fromarray(mask.astype(np.uint8) * 255).save(parts["masks"] / name)
                Image.fromarray(masked_picture(picture, mask)).save(parts["masked"] / name)
                entry = {"file": name, "coverage": coverage(mask), "kind": pairs.kinds[index]}
                entries.append(entry | {"digest": pair_digest(picture, mask)})
            content[slug(pairs.band)] = {
                "name": pairs.band.name,
                "seed": pairs.seed,
                "resolution": pairs.pictures.resolution,
                "pairs": entries,
            }
            covered = [e["coverage"] for e in entries]
            lines.append(coverage_line(pairs.band.name, covered, pairs.remark))
        (whole / "pairs.json").write_text(json.dumps(content, indent=1) + "\n", "utf-8")
        if folder.exists():
            folder.rmdir()
        os.replace(whole, folder)
    return lines
