"""Holes from mask files, as the irregular masks other projects publish: white = hole."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from inpaint_hub.masks.strokes import Size, width_height

WHITE = 128  # gray level from which a pixel is hole
MAX_TRIES = 2000


class MaskFiles:
    """The mask files of a folder and its sub-folders, in the order of their names.

    Args:
        folder: searched for pictures Pillow can open; white (128 and up) = hole.

    Raises: FileNotFoundError where there is no such folder or it holds no picture.
    """

    def __init__(self, folder: str | Path) -> None:
        root = Path(folder)
        endings = Image.registered_extensions()
        self.files = (
            sorted(p for p in root.rglob("*") if p.suffix.lower() in endings and p.is_file())
            if root.is_dir()
            else []
        )
        if not self.files:
            told = "holds no picture" if root.is_dir() else "does not exist"
            raise FileNotFoundError(
                f"mask folder {str(folder)!r} {told}; expected mask files, white = hole; check "
                "--mask_dir"
            )
        self.packed, self.stored_coverage = {}, {}

    def __len__(self) -> int:
        return len(self.files)

    def fitted(self, index: int, size: Size) -> np.ndarray:
        """bool [H,W] of file `index`, True = hole: its largest centered part of that shape, shrunk
        (or enlarged) by area, at least half white = hole.

        Raises: ValueError for a file that cannot be read.
        """
        shape = width_height(size)[::-1]
        if (index, shape) not in self.packed:
            mask = self._read(index, shape)
            self.packed[index, shape] = np.packbits(mask)  # an eighth of what it is
        bits = np.unpackbits(self.packed[index, shape], count=shape[0] * shape[1])
        return bits.reshape(shape).astype(bool)

    def _read(self, index: int, shape: tuple[int, int]) -> np.ndarray:
        file = self.files[index]
        try:
            with Image.open(file) as image:
                gray = np.asarray(image.convert("L"))
        except Exception as error:  # Pillow's decoders raise nearly anything
            raise ValueError(
                f"mask file {str(file)!r} cannot be read ({error}); save it again or remove it"
            ) from error
        stored = gray >= WHITE
        self.stored_coverage[index] = float(stored.mean())
        whole = Image.fromarray(stored.astype(np.uint8) * 255)
        return np.asarray(ImageOps.fit(whole, shape[::-1], Image.Resampling.BOX)) >= WHITE

    def coverages(self, size: Size) -> tuple[np.ndarray, np.ndarray]:
        """(nominal, true) share of hole of every file, float64 [N] each: as it is stored, and
        fitted to `size`."""
        true = [self.fitted(index, size).mean() for index in range(len(self))]
        return np.array([self.stored_coverage[i] for i in range(len(self))]), np.array(true)

    def coverage_line(self, size: Size) -> str:
        """What the files cover: "mask files: 54, hole 31.0 % (mean; ...) as stored, 30.9 % ..."."""
        nominal, true = (
            f"{100 * c.mean():.1f} % (mean; {100 * c.min():.1f} to {100 * c.max():.1f} %)"
            for c in self.coverages(size)
        )
        return f"mask files: {len(self)}, hole {nominal} as stored, {true} at {size} px"

    def random(self, size: Size, rng: np.random.Generator) -> np.ndarray:
        """A mask of a file drawn by `rng`, flipped and (a square) turned at random; files without
        hole, or of nothing else, are left out.

        Raises: ValueError where no file has both at that size.
        """
        for _ in range(MAX_TRIES):
            mask = self.fitted(int(rng.integers(len(self))), size)
            if mask.any() and not mask.all():
                return turned(mask, rng)
        raise ValueError(
            f"none of {MAX_TRIES} draws from {len(self)} mask files has white and black at {size} "
            "px; expected holes in white"
        )

    def in_band(self, size: Size, low: float, high: float, rng: np.random.Generator) -> np.ndarray:
        """A mask whose true coverage lies in [low, high]: of a file drawn from those, flipped and
        (a square) turned at random.

        Raises: ValueError where no file covers so much.
        """
        _, true = self.coverages(size)
        fitting = np.flatnonzero((true >= low) & (true <= high) & (true > 0))
        if not len(fitting):
            raise ValueError(
                f"none of {len(self)} mask files covers between {low:.1%} and {high:.1%} at "
                f"{size} px; they cover {true.min():.1%} to {true.max():.1%}"
            )
        return turned(self.fitted(int(rng.choice(fitting)), size), rng)


def turned(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One of the flips and quarter turns that keep the shape of bool [H,W]."""
    if mask.shape[0] == mask.shape[1]:
        mask = np.rot90(mask, rng.integers(4))
    elif rng.random() < 0.5:
        mask = mask[::-1, ::-1]
    return np.ascontiguousarray(mask[:, ::-1] if rng.random() < 0.5 else mask)
