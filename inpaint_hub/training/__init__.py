"""Training: TrainConfig -> a pipeline directory. `train` is the loop; `parse_config` makes the
flags."""

from pathlib import Path

from inpaint_hub.training.config import TrainConfig, parse_config
from inpaint_hub.training.presets import PRESETS

__all__ = ["PRESETS", "TrainConfig", "parse_config", "train"]


def train(config: TrainConfig) -> Path | None:
    """Run `config` to its end; returns the directory of the saved pipeline, or None where
    it was told to stop before."""
    from inpaint_hub.training.loop import train as run

    return run(config)
