"""Judging while training: Frechet distances on pictures that are held back from the training set,
by a network that no loss knows; the best weights are kept.

Generators are judged by samples against held-out pictures; what fills holes by its composites in
several bands of coverage. The only part of training that knows evaluation.
"""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from inpaint_hub.evaluation.feature_network import FeatureNetwork
from inpaint_hub.evaluation.frechet import frechet_of_features
from inpaint_hub.evaluation.pairs import parse_bands, slug
from inpaint_hub.images import LUMA, to_pixels, to_tensor

BEST = "best"  # the folder of the best weights so far, a whole pipeline
RECORD = "judged.json"  # in it: {"step", "score", "values"}


def load_judge(config):
    """The feature network of --validation_network.

    Raises: FileNotFoundError; ValueError where a loss uses the same file.
    """
    network = FeatureNetwork(Path(config.validation_network).with_suffix(".json"))
    weights = Path(config.validation_network).with_suffix(".safetensors")
    for name in ("perceptual_network", "projected_network"):
        path = Path(getattr(config, name))
        if path.is_file() and path.samefile(weights):
            raise ValueError(
                f"--validation_network and --{name} are both {str(weights)!r}; expected a judge "
                "that no loss knows; give another network"
            )
    return network


def statistics_of(pixels, holes):
    """{name: number} of uint8 [N,s,s,3] where holes, bool [N,s,s], are True: `contrast` (mean over
    pictures of the standard deviation of luma) and `edges` (mean difference of neighbors) in
    [0,1], `clipped_share` (values at 0 or 255), `mean` [3] (in 1/255)."""
    luma = (pixels.astype(np.float32) / 255) @ LUMA
    inner = holes[:, :, 1:] & holes[:, :, :-1]
    selected = pixels[holes]
    return {
        "contrast": float(np.mean([one[hole].std() for one, hole in zip(luma, holes)])),
        "edges": float(np.abs(np.diff(luma, axis=2))[inner].mean()),
        "clipped_share": float(np.mean((selected == 0) | (selected == 255))),
        "mean": selected.mean(axis=0, dtype=np.float64),
    }


def compare(made, real, holes):
    """{name: number} that tell what a distance does not: contrast and edges as ratios to those of
    the real pictures, clipped shares of both, and the signed color shift in 1/255."""
    ours, theirs = statistics_of(made, holes), statistics_of(real, holes)
    values = {
        "contrast_ratio": ours["contrast"] / max(theirs["contrast"], 1e-6),
        "edge_ratio": ours["edges"] / max(theirs["edges"], 1e-6),
        "clipped_share": ours["clipped_share"],
        "clipped_share_real": theirs["clipped_share"],
    }
    shifts = zip(("red", "green", "blue"), ours["mean"] - theirs["mean"])
    return values | {f"shift_{color}": float(shift) for color, shift in shifts}


class Judge:
    """Judges a method on held-out pictures.

    method: a TrainingMethod, whose `samples(count)` or `fill(images, masks)` make pictures in
    [-1,1] with the averaged weights; held_out: an ImageDataset of squares that are not trained on.
    """

    def __init__(self, config, method, held_out, device):
        self.network, self.method, self.device = load_judge(config), method, device
        count = min(config.num_judged_images, len(held_out))
        if count < 2:
            raise ValueError(
                f"--holdout_fraction {config.holdout_fraction} holds back {len(held_out)} "
                "pictures, expected at least 2 to judge on; give a larger share"
            )
        self.indices = [i * len(held_out) // count for i in range(count)]
        self.held_out, self.batch = held_out, config.eval_batch_size
        self.name = f"fd_{self.network.name}"
        self.bands = parse_bands(config.judged_bands.split(",")) if method.needs_masks else []
        bands = ",".join(map(slug, self.bands))
        shares = f"{count} of {len(held_out)} pictures at {held_out.resolution} px"
        self.identity = f"{self.name} {self.network.digest}, {shares} {bands}".strip()
        self.real = self.features = None

    def load(self):
        """Once: the held-out pictures and their features."""
        if self.real is None:
            self.real = np.stack([self.held_out.load(i) for i in self.indices])
            self.features = self.network(self.real)

    def read(self):
        """{name: number}; `self.name` is the score: the distance, or the bands' geometric mean."""
        self.load()
        if not self.bands:
            made = self.pictures(lambda start, stop: self.method.samples(start, stop))
            everywhere = np.ones(self.real.shape[:3], bool)
            values = {self.name: frechet_of_features(self.network(made), self.features)}
            return values | compare(made, self.real, everywhere)
        values, distances = {}, []
        for band in self.bands:
            size = self.real.shape[1]
            holes = np.stack([band.draw(size, 0, i)[0] for i in self.indices])
            made = self.pictures(lambda start, stop, holes=holes: self.fills(start, stop, holes))
            distance = frechet_of_features(self.network(made), self.features)
            distances.append(max(distance, 1e-12))
            numbers = {self.name: distance} | compare(made, self.real, holes)
            values |= {f"{name}_{slug(band)}": number for name, number in numbers.items()}
        return {self.name: math.exp(np.mean(np.log(distances)))} | values

    def fills(self, start, stop, holes):
        images = to_tensor(self.real[start:stop]).to(self.device)
        masks = torch.from_numpy(holes[start:stop]).float()[:, None].to(self.device)
        return self.method.fill(images, masks)

    def pictures(self, make):
        """uint8 [N,s,s,3] of make(start, stop), batch by batch."""
        starts = range(0, len(self.indices), self.batch)
        bar = tqdm(starts, desc="judging", leave=False, mininterval=5)
        made = [to_pixels(make(i, min(i + self.batch, len(self.indices)))) for i in bar]
        return np.concatenate(made)


class Best:
    """The best weights of a run, as a whole pipeline in output_dir/best, and their record.

    identity: of the judge; what another one kept is not compared with.
    """

    def __init__(self, output_dir, identity):
        self.folder, self.identity = Path(output_dir) / BEST, identity
        self.replaced = self.folder.with_suffix(".replaced")
        if self.replaced.is_dir() and not self.folder.exists():  # killed between two renames
            self.replaced.rename(self.folder)
        self.record = self.read()

    def read(self):
        try:
            record = json.loads((self.folder / RECORD).read_text(encoding="utf-8"))
            return record if record["identity"] == self.identity else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def forget_after(self, step):
        """Drop what a killed run judged after the checkpoint it is resumed from; -1: all."""
        if self.record is not None and self.record["step"] > step:
            shutil.rmtree(self.folder)
            self.record = None

    def offer(self, step, score, values, write):
        """Keep what write(folder) saves, where `score` is below all before; returns whether it
        was."""
        if self.record is not None and score >= self.record["score"]:
            return False
        partial = self.folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        write(partial)
        record = {"step": step, "score": score, "identity": self.identity, "values": values}
        (partial / RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")
        shutil.rmtree(self.replaced, ignore_errors=True)
        if self.folder.exists():
            self.folder.rename(self.replaced)
        partial.rename(self.folder)
        shutil.rmtree(self.replaced, ignore_errors=True)
        self.record = record
        return True

    def release(self, output_dir):
        """Put the best weights in the place of the last ones."""
        for part in self.folder.iterdir():
            if part.is_dir():
                shutil.copytree(part, Path(output_dir) / part.name, dirs_exist_ok=True)
