"""Pictures for training and evaluation.

sources     a folder, parquet in the Hub's layout, or a data set of the Hub -> encoded pictures
pictures    encoded pictures -> decoded squares of one size
pairs       a square and a hole mask, drawn by (seed, epoch, index)
order       which picture comes next
"""

from inpaint_hub.data.order import EndlessSampler
from inpaint_hub.data.pairs import StreamedPairs, TrainingPairs, first_positions
from inpaint_hub.data.pictures import SPLITS, ImageDataset
from inpaint_hub.data.sources import HubEntries, folders_of, held_out_split, hub_dataset

__all__ = [
    "SPLITS",
    "EndlessSampler",
    "HubEntries",
    "ImageDataset",
    "StreamedPairs",
    "TrainingPairs",
    "first_positions",
    "folders_of",
    "held_out_split",
    "hub_dataset",
]
