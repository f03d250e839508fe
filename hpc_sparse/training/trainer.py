"""Choice of the trainer that a configuration asks for."""

from __future__ import annotations

from typing import Protocol

from hpc_sparse.config import RunConfig
from hpc_sparse.parallel.collectives import collective_errors
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.partition import Share
from hpc_sparse.storage.dataset.validation import ValidationPart
from hpc_sparse.training.job import EpochsResult, MidEpochState, OnEpoch, TrainingJob
from hpc_sparse.training.local_trainer import LocalTrainer
from hpc_sparse.training.rank_totals import RankTotals
from hpc_sparse.training.served.phased_trainer import PhasedTrainer
from hpc_sparse.training.served.server_totals import ServerTotals
from hpc_sparse.training.shard_batches import ShardBatches
from hpc_sparse.training.target_size import initial_size


class Trainer(Protocol):
    """Trains the network of a :class:`TrainingJob`, which it changes in place."""

    n_steps: int
    """Steps of an epoch."""

    @property
    def replica_number(self) -> int | None:
        """Which of the networks that differ now is this rank's (maybe none: ``NO_REPLICA``); None if they agree."""

    @property
    def target_connections(self) -> tuple[int, ...]:
        """Connections of each layer after the next average, where networks may have different ones; else ()."""

    def finish(self) -> None:
        """Complete what is under way between the ranks, when no more is to be trained (collective)."""

    def train_epochs(
        self, first: int, last: int, on_epoch: OnEpoch, mid_epoch: MidEpochState | None = None
    ) -> EpochsResult:
        """Train epochs ``first``, which may have been begun, to ``last``, or until a stop is due (collective)."""


def make_trainer(job: TrainingJob, target_connections: tuple[int, ...] = ()) -> Trainer:
    """The trainer for the configured strategy and the number of ranks (collective).

    ``target_connections`` belong to a run that is continued where the ranks' networks differ.

    Raises
    ------
    DataError, MachineError
        On every rank: the samples cannot be trained on by so many ranks, or not with the augmentation asked for.
    ConfigError
        On every rank: the network cannot shrink to the density asked for.
    """
    with collective_errors(job.ctx, "looking at the samples"):
        # A rank without samples would not notice, and wait for the others.
        ShardBatches(job)
        _ = job.objective
        initial_size(job.config, job.replica.network.widths, job.replica.network.n_places)
    if is_served(job.ctx, job.config):
        return PhasedTrainer.start(job, target_connections)
    return LocalTrainer.start(job, targets=target_connections or None)


def is_served(ctx: ParallelContext, config: RunConfig) -> bool:
    """Whether rank 0 serves the others, instead of training itself."""
    return ctx.size > 1 and config.parallel.algorithm != "local_sgd"


def check_mid_epoch(ctx: ParallelContext, config: RunConfig, mid_epoch: MidEpochState, *, is_apart: bool) -> None:
    """Check that the sums of a mid-epoch state fit the trainer that continues: a server's, or a lone rank's.

    Raises
    ------
    ValueError
    """
    if is_served(ctx, config) and not is_apart:
        ServerTotals.from_sums(mid_epoch.sums)
    else:
        RankTotals.from_sums(mid_epoch.sums)


def shares(ctx: ParallelContext, config: RunConfig) -> tuple[Share, Share]:
    """Shares that this rank takes of the samples that are trained on and of the test samples."""
    if not is_served(ctx, config):
        return Share(ctx.data.rank, ctx.data.size), Share(ctx.data.rank, ctx.data.size)
    if ctx.is_root:
        return Share.none(), Share.all()
    return Share(ctx.rank - 1, ctx.size - 1), Share(ctx.rank - 1, ctx.size - 1)


def validation_part(ctx: ParallelContext, config: RunConfig) -> ValidationPart | None:
    """What a configuration holds out of the training samples; None if it is nothing."""
    fraction = config.data.validation_fraction
    if not fraction:
        return None
    return ValidationPart(fraction, config.training.seed, is_whole_on_root=is_served(ctx, config))
