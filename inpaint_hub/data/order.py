"""The order of training: a permutation of the pictures for each epoch, by the seed."""

import itertools
from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


class EndlessSampler(Sampler):
    """Keys (epoch, index) without end: every epoch a new permutation drawn by (seed, epoch).

    Process `rank` of `num_processes` takes batches rank, rank + num_processes, ... of the one
    global order, starting `start_batch` batches into it: resuming needs no replay of what was
    consumed.
    """

    def __init__(
        self,
        num_images: int,
        batch_size: int,
        seed: int,
        rank: int = 0,
        num_processes: int = 1,
        start_batch: int = 0,
    ) -> None:
        self.num_images, self.batch_size, self.seed = num_images, batch_size, seed
        self.rank, self.num_processes, self.start_batch = rank, num_processes, start_batch

    def position(self, k: int) -> tuple[int, int]:
        """Key at place k of the global order."""
        epoch, place = divmod(k, self.num_images)
        return epoch, int(self._order(epoch)[place])

    def _order(self, epoch: int) -> np.ndarray:
        if getattr(self, "_cached", (None,))[0] != epoch:
            rng = np.random.default_rng((self.seed, epoch))
            self._cached = (epoch, rng.permutation(self.num_images))
        return self._cached[1]

    def __iter__(self) -> Iterator:
        for batch in itertools.count(
            self.start_batch * self.num_processes + self.rank, self.num_processes
        ):
            first = batch * self.batch_size
            yield [self.position(k) for k in range(first, first + self.batch_size)]
