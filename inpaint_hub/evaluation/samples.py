"""Generators by themselves: how far their samples are from real pictures, as a set."""

import numpy as np
import torch
from tqdm.auto import tqdm

from inpaint_hub.evaluation.ledger import Indexed, KeptPictures

BAND = "samples"  # where the results carry them, beside the bands of holes


class GeneratorMethod:
    """A StyleGAN2Pipeline. Sample k has its own z and noise, drawn by (seed, k)."""

    kind = "generator"

    def __init__(self, name, pipe, seed=0):
        self.name, self.pipe, self.seed = name, pipe, seed

    def sample(self, index):
        """uint8 [s,s,3]."""
        seed = int(np.random.SeedSequence((self.seed, index)).generate_state(1)[0])
        generator = torch.Generator().manual_seed(seed)
        return np.asarray(self.pipe(num_images=1, generator=generator).images[0])


def judge_samples(methods, pictures, num_images, scorer, output):
    """{name: {metric: summary}} of GeneratorMethods: distances of `num_images` samples (without
    truncation) to as many pictures; the samples are kept as PNG.

    Raises: ValueError for a generator of another resolution than the pictures.
    """
    for method in methods:
        if method.pipe.gan.resolution != pictures.resolution:
            raise ValueError(
                f"{method.name} makes pictures of {method.pipe.gan.resolution} px, judged are "
                f"{pictures.resolution} px; give --resolution {method.pipe.gan.resolution}"
            )
    kept, results = KeptPictures(output / "pictures"), {}
    indices = range(num_images)
    originals = []
    if scorer.network is not None:
        originals = np.stack([scorer.features_of(pictures.load(i)) for i in indices])
    for method in methods:
        features = []
        for index in tqdm(indices, desc=method.name, unit="sample"):
            picture = method.sample(index)
            kept.write(picture, method.name, BAND, index)
            if scorer.network is not None:
                features.append(scorer.network(picture[None])[0])
        summary = {}
        if scorer.network is not None:
            summary |= scorer.set_distances(np.stack(features), originals)
        name = method.name
        samples = Indexed(lambda i, name=name: kept.load(name, BAND, i), num_images)
        summary |= scorer.inception_distances(samples, Indexed(pictures.load, num_images))
        results[method.name] = summary
    return results
