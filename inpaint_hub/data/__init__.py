"""Pictures for training and evaluation: a folder, or a data set in the Hub's parquet layout."""

from inpaint_hub.data.dataset import EndlessSampler, ImageDataset, TrainingPairs

__all__ = ["EndlessSampler", "ImageDataset", "TrainingPairs"]
