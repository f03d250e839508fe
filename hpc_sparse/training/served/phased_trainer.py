"""WASAP-SGD and WASSP-SGD: training around a server, then workers on their own, then their average."""

from __future__ import annotations

from dataclasses import replace

from hpc_sparse.errors import DataError, HpcSparseError
from hpc_sparse.monitor.metrics import EpochMetrics
from hpc_sparse.network.optimizers.learning_rate import change
from hpc_sparse.network.optimizers.registry import make_optimizer
from hpc_sparse.parallel.collectives import on_root
from hpc_sparse.parallel.replication import broadcast_replica
from hpc_sparse.training.evolution_step import start_growth
from hpc_sparse.training.growth_pool import GrowthSource
from hpc_sparse.training.job import EpochsResult, MidEpochState, OnEpoch, TrainingJob
from hpc_sparse.training.rates import last_served_epoch, learning_rate, learning_rate_alone
from hpc_sparse.training.served.phase_two_trainer import PhaseTwoTrainer
from hpc_sparse.training.served.server import Server, n_updates_per_epoch
from hpc_sparse.training.served.worker import Worker


class PhasedTrainer:
    """Trainer in two phases (Curci, Mocanu, Pechenizkiy 2021).

    Phase 1: rank 0 serves, the other ranks compute gradients on their shards. Phase 2, the last epochs: every worker
    trains and evolves alone. At the end their networks are averaged over the union of their connections, then cut to
    the number of connections at the end of phase 1.

    Parameters
    ----------
    job : TrainingJob
        On rank 0 with no training samples and all samples of the other parts, on a worker with shards of all.
    growth : GrowthSource or None
        Source of gradients for strategies that grow by them, for phase 1.
    target_connections : tuple of int
        Connections of each layer at the end of phase 1, if a run is continued within phase 2.

    Attributes
    ----------
    n_steps : int
        Updates of an epoch of phase 1.
    """

    def __init__(self, job: TrainingJob, growth: GrowthSource | None, target_connections: tuple[int, ...] = ()) -> None:
        self._job, self._ctx, self._config, self._growth = job, job.ctx, job.config, growth
        self._n_workers = job.ctx.size - 1
        self._last_served = last_served_epoch(job.config)
        self.n_steps = n_updates_per_epoch(job)
        self._targets = target_connections
        self._phase_two: PhaseTwoTrainer | None = None

    @classmethod
    def start(cls, job: TrainingJob, target_connections: tuple[int, ...] = ()) -> PhasedTrainer:
        """The trainer of this rank (collective).

        Raises
        ------
        DataError
            On every rank: there are fewer training samples than workers.
        """
        n_workers = job.ctx.size - 1
        if job.dataset.n_train < n_workers:
            raise DataError(
                f"{job.dataset.info.path}: {job.dataset.n_train} training samples for {n_workers} workers: "
                "expected at least one for each; start fewer ranks"
            )
        return cls(job, start_growth(job, job.objective), target_connections)

    @property
    def replica_number(self) -> int | None:
        """Which of the networks that differ now is this rank's; None if they agree."""
        return None if self._phase_two is None else self._phase_two.replica_number

    @property
    def target_connections(self) -> tuple[int, ...]:
        """Connections of each layer of the average, once they are known."""
        return self._targets if self._phase_two is None else self._phase_two.target_connections

    def train_epochs(
        self, first: int, last: int, on_epoch: OnEpoch, mid_epoch: MidEpochState | None = None
    ) -> EpochsResult:
        """Train epochs ``first`` to ``last``, or until a stop is due (collective).

        Parameters and errors as of :meth:`hpc_sparse.training.replica_trainer.ReplicaTrainer.train_epochs`.
        """
        history: list[EpochMetrics] = []
        if first <= self._last_served:
            served = self._train_served(first, min(last, self._last_served), on_epoch, mid_epoch)
            if served.stop_reason or last <= self._last_served:
                return served
            history, first, mid_epoch = served.history, self._last_served + 1, None
        phase_two = self._phase_two or self._start_phase_two()
        if first == self._last_served + 1 and mid_epoch is None:
            self._change_rate(first)
        result = phase_two.train_epochs(first, last, on_epoch, mid_epoch)
        return replace(result, history=[*history, *result.history])

    def finish(self) -> None:
        """Complete what is under way between the ranks (collective)."""
        if self._phase_two is not None:
            self._phase_two.finish()

    def _train_served(self, first: int, last: int, on_epoch: OnEpoch, mid_epoch: MidEpochState | None) -> EpochsResult:
        """Phase 1; afterwards all ranks have the server's network and states (collective)."""
        if self._ctx.is_root:
            outcome = self._serve(first, last, on_epoch, mid_epoch)
        else:
            self._work(first, mid_epoch)
            outcome = EpochsResult([])
        result = on_root(self._ctx, lambda: _result_of(outcome))
        broadcast_replica(self._ctx, self._job.replica)
        return result

    def _serve(
        self, first: int, last: int, on_epoch: OnEpoch, mid_epoch: MidEpochState | None
    ) -> EpochsResult | HpcSparseError | OSError:
        """Serve; the result, or what ended it after the workers were sent home.

        Anything else is raised at once: the workers then wait for the result in vain, and the job has to be ended.
        """
        server = Server(self._job, learning_rate(self._config, self._n_workers), on_epoch, self._growth)
        try:
            return server.serve(first, last, mid_epoch)
        except (HpcSparseError, OSError) as error:
            return error

    def _work(self, first: int, mid_epoch: MidEpochState | None) -> None:
        """Compute gradients until the server grants no more."""
        n_updates = (first - 1) * self.n_steps + (0 if mid_epoch is None else mid_epoch.step)
        is_synchronous = self._config.parallel.algorithm == "wassp"
        n_under_way = 2 if self._config.parallel.overlap else 1
        Worker(self._job, n_under_way).work(n_updates if is_synchronous else n_updates // self._n_workers)

    def _start_phase_two(self) -> PhaseTwoTrainer:
        """The trainer of phase 2 (collective).

        The networks agree now unless the run is continued. Both are averaged in the same way, to the same bits.
        """
        places = self._job.replica.network.connections()
        targets = self._targets or tuple(connections.topology.n_connections for _, connections in places)
        self._phase_two = PhaseTwoTrainer.start(self._job, targets)
        return self._phase_two

    def _change_rate(self, epoch: int) -> None:
        """At the border of the phases the rate goes from one schedule to another: the trainer knows its own only."""
        served, alone = learning_rate(self._config, self._n_workers), learning_rate_alone(self._config)
        factor = change(served.at(epoch - 1), alone.at(epoch - 1))
        self._job.replica.change_rate(make_optimizer(self._config), factor)


def _result_of(outcome: EpochsResult | HpcSparseError | OSError) -> EpochsResult:
    """The result; an error is raised."""
    if isinstance(outcome, EpochsResult):
        return outcome
    raise outcome
