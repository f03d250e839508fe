"""The samples whose gradients tell where connections should grow: the same on every rank."""

from __future__ import annotations

import numpy as np

from hpc_sparse.dtypes import OFFSET, AnyArray
from hpc_sparse.network.distinct_numbers import distinct_numbers
from hpc_sparse.network.layer_signals import Signals, layer_signals
from hpc_sparse.network.network import Network
from hpc_sparse.network.objectives.protocol import Objective
from hpc_sparse.network.tokens import Batch
from hpc_sparse.parallel.collectives import all_gather_counts, all_gather_parts
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.rng import Purpose, stream
from hpc_sparse.storage.dataset.samples import CsrFeatures, DenseFeatures, Features, Samples, take_rows
from hpc_sparse.training.job import TrainingJob


class GrowthSource:
    """Growth batches from a fixed pool of training samples.

    The samples of the pool are drawn by their numbers in the whole training part, so they do not depend on the number
    of ranks. Every rank gets them all, once; after that, ranks with equal networks compute equal signals without a
    message. Samples are used as they are, without augmentation.

    Parameters
    ----------
    job : TrainingJob
    objective : Objective
    pool : Samples
        The same on every rank.
    """

    def __init__(self, job: TrainingJob, objective: Objective, pool: Samples) -> None:
        self._job, self._objective, self._pool = job, objective, pool

    @classmethod
    def start(cls, job: TrainingJob, objective: Objective) -> GrowthSource:
        """The source, with its pool drawn (collective).

        The training shards of all ranks, in their order, are the training part; a shard may be empty.
        """
        settings, seed = job.config.evolution, job.config.training.seed
        return cls(job, objective, gather_pool(job.ctx.data, job.dataset.train, settings.growth_pool, seed))

    def signals(self, network: Network, rng: np.random.Generator) -> list[dict[str, Signals]]:
        """The signals of every layer's connections for a batch drawn by ``rng``."""
        return layer_signals(network, *self.batch(rng), self._objective)

    def batch(self, rng: np.random.Generator) -> tuple[Batch, AnyArray]:
        """A batch drawn by ``rng``, and its labels."""
        n = min(self._job.config.evolution.growth_samples, self._pool.n_samples)
        return self._job.make_assembler(n).assemble(self._pool, distinct_numbers(self._pool.n_samples, n, rng))


def gather_pool(ctx: ParallelContext, shard: Samples, n_wanted: int, seed: int) -> Samples:
    """Up to ``n_wanted`` samples from all ranks' shards, in order, on every rank (collective)."""
    counts = all_gather_counts(ctx, shard.n_samples)
    first, n_all = int(counts[: ctx.rank].sum()), int(counts.sum())
    numbers = distinct_numbers(n_all, min(n_wanted, n_all), stream(seed, Purpose.GROWTH_POOL))
    own = numbers[(numbers >= first) & (numbers < first + shard.n_samples)] - first
    features = _gather_features(ctx, take_rows(shard.features, own), numbers.size)
    labels, lengths = _gather_rows(ctx, shard.labels[own], numbers.size), None
    if shard.lengths is not None:
        lengths = _gather_rows(ctx, shard.lengths[own], numbers.size)
    return Samples(features, labels, lengths)


def _gather_features(ctx: ParallelContext, own: Features, n_rows: int) -> Features:
    if isinstance(own, DenseFeatures):
        return DenseFeatures(_gather_rows(ctx, own.values, n_rows))
    lengths = _gather_rows(ctx, np.diff(own.indptr), n_rows)
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(OFFSET)
    n_stored = int(indptr[-1])
    return CsrFeatures(
        indptr, _gather_rows(ctx, own.indices, n_stored), _gather_rows(ctx, own.values, n_stored), own.n_features
    )


def _gather_rows(ctx: ParallelContext, own: AnyArray, n_rows: int) -> AnyArray:
    """All ranks' rows, one rank's after the other's (collective)."""
    parts = all_gather_parts(ctx, np.ascontiguousarray(own).reshape(-1))
    return np.concatenate(parts).reshape(n_rows, *own.shape[1:])
