"""Job of a trainer: one rank's share of a run, and the results of training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from hpc_sparse.config import RunConfig
from hpc_sparse.inputs.batches import BatchAssembler
from hpc_sparse.inputs.chain import FrontEndChain
from hpc_sparse.monitor.metrics import EpochMetrics
from hpc_sparse.monitor.position import Phase, PositionTracker
from hpc_sparse.monitor.reporter import Reporter
from hpc_sparse.monitor.stopping import StopAgreement, StopRequest
from hpc_sparse.network.dropout import Dropout
from hpc_sparse.network.objectives.protocol import Objective
from hpc_sparse.network.replica import Replica
from hpc_sparse.network.workspace import Workspace
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.rng import Purpose, step_key, stream_key
from hpc_sparse.storage.dataset.samples import Dataset
from hpc_sparse.training.objective import run_objective

OnEpoch = Callable[[EpochMetrics], bool | None]
"""Called by root alone when an epoch is over; may fail, which then ends the run on every rank. True: train no more."""


BeforeEpoch = Callable[["TrainingJob", int], None]
"""Called by every rank that trains in epochs, before one begins or goes on: all but the workers of a server."""


@dataclass(frozen=True)
class TrainingJob:
    """One rank's share of a run.

    Attributes
    ----------
    ctx : ParallelContext
    config : RunConfig
    dataset : Dataset
        This rank's shards.
    replica : Replica
        Changed in place.
    reporter : Reporter
    is_debug : bool
        Check invariants and the replicas' agreement as the run goes.
    stop_request : StopRequest
        Whether this process has been asked to stop.
    tracker : PositionTracker
        Where this rank is, noted for the watch over stalls.
    fitted : FrontEndChain or None
        Front ends fitted to the samples; by default those of the data set's stored statistics.
    before_epoch : BeforeEpoch or None
        For programs that train runs of their own: called with the job and the number of the epoch.
    """

    ctx: ParallelContext
    config: RunConfig
    dataset: Dataset
    replica: Replica
    reporter: Reporter
    is_debug: bool = False
    stop_request: StopRequest = field(default_factory=StopRequest)
    tracker: PositionTracker = field(default_factory=PositionTracker)
    fitted: FrontEndChain | None = None
    before_epoch: BeforeEpoch | None = None

    @property
    def objective(self) -> Objective:
        """By whose losses the run is trained and evaluated.

        Raises
        ------
        ConfigError
            Weights of classes do not fit the classes.
        """
        return run_objective(self.config, self.dataset.info)

    @property
    def front_end(self) -> FrontEndChain:
        """The front ends of networks with all inputs."""
        return self.fitted or FrontEndChain.known(self.config, self.dataset)

    def begin_epoch(self, epoch: int) -> None:
        """Note that an epoch begins or goes on, which the network may change for, and tell who wants to know."""
        if self.before_epoch is not None:
            self.before_epoch(self, epoch)
        self.tracker.at(Phase.EVOLVING, epoch)

    def make_assembler(self, max_batch: int | None = None) -> BatchAssembler:
        """Assembles batches, by default of the configured size, for the inputs that the network has now."""
        network, n_features = self.replica.network, self.dataset.info.n_features
        front_end = self.front_end.choosing(network.neuron_ids[0])
        n_most = max_batch or self.config.training.batch_size
        return BatchAssembler(front_end, n_features, n_most, network.tile_width, network.n_places, network.n_tokens)

    def make_stop_agreement(self) -> StopAgreement:
        """Lets all ranks stop together."""
        return StopAgreement(self.ctx, self.stop_request, self.config.runtime.stop_within)

    def make_workspace(self) -> Workspace:
        """Buffers for the widths that the network has now."""
        training = self.config.training
        return self.replica.network.make_workspace(training.batch_size, activations=training.activations)

    def dropouts(self, epoch: int, step: int) -> list[Dropout]:
        """Dropout of one step on this rank, one per hidden layer."""
        n_hidden = len(self.replica.network.layers) - 1
        keys = _dropout_keys(self.config.training.seed, epoch, n_hidden, self.ctx.replica)
        dropout_of = self.config.network.dropout_of
        return [Dropout(dropout_of(number), step_key(key, step)) for number, key in enumerate(keys)]


@lru_cache(maxsize=8)  # asked for in every step
def _dropout_keys(seed: int, epoch: int, n_hidden: int, replica: int) -> tuple[np.uint64, ...]:
    """The streams of an epoch, one per hidden layer."""
    return tuple(stream_key(seed, Purpose.DROPOUT, epoch=epoch, layer=n, replica=replica) for n in range(n_hidden))


@dataclass(frozen=True)
class MidEpochState:
    """State of a trainer in the middle of an epoch.

    Attributes
    ----------
    step : int
        Steps of the epoch that are done.
    sums : dict of str to float
        This rank's sums over those steps, by name.
    """

    step: int
    sums: Mapping[str, float]


@dataclass(frozen=True)
class EpochsResult:
    """Result of one call of ``train_epochs``.

    Attributes
    ----------
    history : list of EpochMetrics
        Metrics of the complete epochs.
    mid_epoch : MidEpochState or None
        State of the next epoch, if training stopped in its middle.
    stop_reason : int
        Reason to stop before the last epoch (see :mod:`hpc_sparse.monitor.stopping`); 0 if there was none.
    """

    history: list[EpochMetrics]
    mid_epoch: MidEpochState | None = None
    stop_reason: int = 0
