"""Fixed image-mask pairs: every method is judged on the same ones, ours or another program's."""

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from inpaint_hub.masks import BANDS, coverage, mask_in_band, nominal_mask, outpainting

OUTPAINTING_SIDES = ("left", "right", "both")
OUTPAINTING_PERCENT = (25, 50, 75)  # of the width (SPEC A11.3)
POSTER = tuple(f"{low}-{low + 10}" for low in range(0, 60, 10))
GROUPS = {
    "poster": POSTER,
    "outpaint": tuple(f"outpaint-{s}-{p}" for s in OUTPAINTING_SIDES for p in OUTPAINTING_PERCENT),
}
NAMED = tuple(name for name in BANDS if name not in POSTER)


class Band(NamedTuple):
    """Free-form holes whose true coverage lies between low and high, shares of the picture in
    [0,1]; `title` is the name the field gives it, if any (SPEC A11.2)."""

    low: float
    high: float
    title: str = ""

    @property
    def name(self):
        percent = f"{self.low * 100:g}-{self.high * 100:g} %"
        return f"{self.title} ({percent})" if self.title else percent

    def mask(self, resolution, seed, index):
        key = (seed, round(self.low * 1000), round(self.high * 1000), index)
        rng = np.random.default_rng(key)
        return mask_in_band(resolution, self.low, self.high, rng)


class NominalBand(NamedTuple):
    """Strokes whose areas add up to between low and high where overlaps count twice: true coverage
    is smaller (SPEC A11.2, protocol mmt_nominal)."""

    low: float
    high: float

    @property
    def name(self):
        return f"mmt-{self.low * 100:g}-{self.high * 100:g} (nominal)"

    def mask(self, resolution, seed, index):
        key = (seed, round(self.low * 1000), round(self.high * 1000), index)
        return nominal_mask(resolution, self.low, self.high, np.random.default_rng(key))


class Outpainting(NamedTuple):
    """A border of `ratio` of the width to be made up; the same for every picture (SPEC A11.3)."""

    side: str
    ratio: float

    @property
    def name(self):
        return f"outpaint-{self.side}-{self.ratio * 100:g}"

    def mask(self, resolution, seed, index):
        return outpainting(resolution, self.side, self.ratio)


def slug(band):
    """A band's name as a folder: "10-30" of "10-30 %", "hard" of "hard (50-60 %)"."""
    return band.name.split()[0]


def parse_band(text):
    """Band(0.3, 0.6) of "30-60"; the named bands; "outpaint-right-50"; "mmt-50-60".

    Raises: ValueError for anything else.
    """
    kind, _, rest = text.partition("-")
    if text in NAMED:
        return Band(*BANDS[text], text)
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
        "mmt-LOW-HIGH"
    )


def parse_bands(texts):
    """Bands of the texts, groups (poster, outpaint) spelt out.

    Raises: ValueError for a text that is no band, or for one band named twice.
    """
    bands = [parse_band(one) for text in texts for one in GROUPS.get(text, (text,))]
    slugs = [slug(band) for band in bands]
    twice = sorted({s for s in slugs if slugs.count(s) > 1})
    if twice:
        raise ValueError(f"bands given twice: {', '.join(twice)}; name each once")
    return bands


class EvaluationPairs:
    """pairs[i] = (uint8 [s,s,3], bool [s,s]): picture i of a data set, a mask of a band.

    A mask, True = hole, depends on (seed, band, i) and the resolution alone, so the pairs do not
    depend on how many are judged.
    """

    def __init__(self, pictures, band, seed=0, num_images=None):
        self.pictures, self.band, self.seed = pictures, band, seed
        self.num_images = min(num_images or len(pictures), len(pictures))

    def __len__(self):
        return self.num_images

    def __getitem__(self, index):
        if not 0 <= index < self.num_images:
            raise IndexError(index)
        return self.pictures.load(index), self.band.mask(self.pictures.resolution, self.seed, index)


def pair_digest(picture, mask):
    """Hexadecimal digest of one pair: what a kept result is for."""
    return hashlib.sha256(picture.tobytes() + np.packbits(mask).tobytes()).hexdigest()[:16]


def file_name(index):
    """Name of picture `index` in exported pairs and in folders of predictions."""
    return f"{index:05d}.png"


def masked_picture(pixels, mask):
    """uint8 [H,W,3] with the hole, bool [H,W], in grey."""
    shown = pixels.copy()
    shown[mask] = 128
    return shown


def coverage_line(name, covered):
    """ "hard (50-60 %): 1000 pairs, measured coverage mean 54.8 %, from 50.0 to 60.0 %"."""
    covered = np.asarray(covered) * 100
    return (
        f"{name}: {len(covered)} pairs, measured coverage mean {covered.mean():.1f} %, from "
        f"{covered.min():.1f} to {covered.max():.1f} %"
    )


def export_pairs(folder, pair_sets):
    """Write pairs for other programs; returns one line about each band's measured coverage.

    folder/<band>/images/00000.png, masks/00000.png (mode L, 255 = hole), masked/00000.png (hole in
    grey), and folder/pairs.json. The folder appears when all is written.

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
                entry = {"file": name, "coverage": coverage(mask)}
                entries.append(entry | {"digest": pair_digest(picture, mask)})
            content[slug(pairs.band)] = {
                "name": pairs.band.name,
                "seed": pairs.seed,
                "resolution": pairs.pictures.resolution,
                "pairs": entries,
            }
            lines.append(coverage_line(pairs.band.name, [e["coverage"] for e in entries]))
        (whole / "pairs.json").write_text(json.dumps(content, indent=1) + "\n")
        if folder.exists():
            folder.rmdir()
        os.replace(whole, folder)
    return lines
