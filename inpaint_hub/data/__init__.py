"""Pictures for training and evaluation: a folder, or a data set in the Hub's parquet layout."""

from inpaint_hub.data.dataset import (
    EndlessSampler,
    HubEntries,
    ImageDataset,
    StreamedPairs,
    TrainingPairs,
    folders_of,
    hub_dataset,
)

__all__ = [
    "EndlessSampler",
    "HubEntries",
    "ImageDataset",
    "StreamedPairs",
    "TrainingPairs",
    "folders_of",
    "hub_dataset",
]
