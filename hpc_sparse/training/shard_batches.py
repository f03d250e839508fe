"""Batches of a trainer's samples: the shard as it is, or transformed anew by a front end in each epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from hpc_sparse.dtypes import OFFSET, Int64Array
from hpc_sparse.storage.dataset.samples import Samples
from hpc_sparse.training.job import TrainingJob


class ShardBatches:
    """Training samples of one rank, batch by batch.

    Raises
    ------
    DataError, MachineError
        The samples are to be transformed but cannot be, or a library for it is missing.
    """

    def __init__(self, job: TrainingJob) -> None:
        self._shard = job.dataset.train
        self._transformed = job.front_end.training_batches(self._shard, job.config.training.seed, job.ctx.replica)

    def batches(self, epoch: int, batches: Sequence[Int64Array]) -> Iterator[tuple[Samples, Int64Array]]:
        """For each batch (int64[n_batch], positions in the shard): samples, and which of them it consists of."""
        if self._transformed is None:
            yield from ((self._shard, chosen) for chosen in batches)
            return
        for samples in self._transformed.prepare(epoch, batches):
            yield samples, np.arange(samples.n_samples, dtype=OFFSET)
