"""Fixed image-mask pairs: every method is judged on the same ones."""

from typing import NamedTuple

import numpy as np

from inpaint_hub.masks import mask_in_band


class Band(NamedTuple):
    """Coverage between low and high, shares of the picture in [0,1]."""

    low: float
    high: float

    @property
    def name(self):
        return f"{self.low * 100:g}-{self.high * 100:g} %"


def parse_band(text):
    """Band(0.3, 0.6) of "30-60".

    Raises: ValueError for anything that is not two percentages in order.
    """
    try:
        low, high = (float(part) / 100 for part in text.split("-"))
    except ValueError:
        low, high = 0.0, 0.0
    if not 0 <= low < high <= 1:
        raise ValueError(
            f"band is {text!r}, expected two percentages as 30-60; 0 <= low < high <= 100"
        )
    return Band(low, high)


class EvaluationPairs:
    """pairs[i] = (uint8 [s,s,3], bool [s,s]): picture i of a data set, a mask of a coverage band.

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
        key = (self.seed, round(self.band.low * 1000), round(self.band.high * 1000), index)
        mask = mask_in_band(self.pictures.resolution, *self.band, np.random.default_rng(key))
        return self.pictures.load(index), mask
