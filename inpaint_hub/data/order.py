"""The order of training: a permutation of the pictures for each epoch, by the seed."""

import itertools

import numpy as np
from torch.utils.data import Sampler


class EndlessSampler(Sampler):
    """Keys (epoch, index) without end: every epoch a new permutation drawn by (seed, epoch).

    Process `rank` of `num_processes` takes batches rank, rank + num_processes, ... of the one
    global order, starting `start_batch` batches into it: resuming needs no replay of what was
    consumed.
    """

    def __init__(self, num_images, batch_size, seed, rank=0, num_processes=1, start_batch=0):
        self.num_images, self.batch_size, self.seed = num_images, batch_size, seed
        self.rank, self.num_processes, self.start_batch = rank, num_processes, start_batch

    def position(self, k):
        """Key at place k of the global order."""
        epoch, place = divmod(k, self.num_images)
        return epoch, int(self._order(epoch)[place])

    def _order(self, epoch):
        if getattr(self, "_cached", (None,))[0] != epoch:
            rng = np.random.default_rng((self.seed, epoch))
            self._cached = (epoch, rng.permutation(self.num_images))
        return self._cached[1]

    def __iter__(self):
        for batch in itertools.count(
            self.start_batch * self.num_processes + self.rank, self.num_processes
        ):
            first = batch * self.batch_size
            yield [self.position(k) for k in range(first, first + self.batch_size)]
