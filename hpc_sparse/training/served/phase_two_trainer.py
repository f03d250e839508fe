"""Phase 2 of WASAP-SGD and WASSP-SGD: every worker trains and evolves alone, then their networks are averaged."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from hpc_sparse.evolution.selection import resparsify
from hpc_sparse.monitor.metrics import EpochMetrics
from hpc_sparse.network.network import Network
from hpc_sparse.network.optimizers.registry import make_optimizer
from hpc_sparse.parallel.collectives import gather_objects, on_root, patient_barrier
from hpc_sparse.parallel.local_sgd import LocalSgd
from hpc_sparse.parallel.replication import receive_network, send_network
from hpc_sparse.storage.checkpoint.replicas import NO_REPLICA
from hpc_sparse.training.evaluation import Evaluation
from hpc_sparse.training.evolution_step import Evolution, EvolutionStep, Mode, start_growth
from hpc_sparse.training.job import MidEpochState, TrainingJob
from hpc_sparse.training.rank_totals import RankTotals
from hpc_sparse.training.rates import learning_rate_alone
from hpc_sparse.training.replica_trainer import ReplicaTrainer, steps_per_epoch

LOG = logging.getLogger(__name__)


class PhaseTwoTrainer(ReplicaTrainer):
    """Trains one replica without syncs, until the average after the last epoch of the run; root looks on.

    Parameters
    ----------
    job : TrainingJob
        On root with no training samples and all samples of the other parts, on a worker with shards of all.
    averaging, evolution, n_steps
        As of :class:`ReplicaTrainer`; root's network does not evolve.
    """

    def __init__(self, job: TrainingJob, averaging: LocalSgd, evolution: Evolution | None, n_steps: int) -> None:
        own = _without_tests(job) if job.ctx.is_root else job
        super().__init__(
            own,
            averaging,
            evolution,
            n_steps,
            learning_rate_alone(job.config),
            job.objective,
        )
        self._tests = job.dataset.test
        self._is_averaged = False

    @classmethod
    def start(cls, job: TrainingJob, targets: Sequence[int]) -> PhaseTwoTrainer:
        """The trainer of this rank (collective).

        Parameters
        ----------
        job : TrainingJob
            As of the class.
        targets : sequence of int
            Connections of each layer of the average.
        """
        averaging = LocalSgd.start(
            job.ctx,
            job.replica.network,
            has_shared_topology=False,
            cut_back=resparsify,
            resets=make_optimizer(job.config).reset_at_sync(job.config.parallel),
            is_contributor=not job.ctx.is_root,
            targets=targets,
        )
        n_steps, growth = steps_per_epoch(job), start_growth(job, job.objective)
        if job.ctx.is_root:
            return cls(job, averaging, None, n_steps)
        mode = Mode.FIXED_SIZES
        evolution = Evolution(
            job.config,
            job.ctx.replica,
            mode=mode,
            n_steps=n_steps,
            growth=growth,
            keeps_changes=False,
            n_inputs=job.dataset.info.n_features,
            n_steps_alone=-(-job.dataset.n_train // job.config.training.batch_size),
        )
        return cls(job, averaging, evolution, n_steps)

    @property
    def replica_number(self) -> int | None:
        """Which of the workers' networks is this rank's (root has none: ``NO_REPLICA``); None once they agree."""
        if self._is_averaged:
            return None
        return NO_REPLICA if self._ctx.is_root else self._ctx.rank - 1

    @property
    def target_connections(self) -> tuple[int, ...]:
        """Connections of each layer of the average."""
        return self._averaging.targets

    def train_epoch(self, epoch: int, mid_epoch: MidEpochState | None = None) -> EpochMetrics | None:
        """Train one epoch, or the rest of it, with the average after the last one of the run (collective).

        Returns and errors as of :meth:`ReplicaTrainer.train_epoch`.
        """
        metrics = super().train_epoch(epoch, mid_epoch)
        if metrics is None:
            return None
        metrics = replace(metrics, phase=2)
        return metrics if epoch < self._config.training.epochs else self._average_networks(metrics)

    @property
    def _can_stop_within_epoch(self) -> bool:
        return True

    def _communicate(self, epoch: int, step: int, sums: RankTotals) -> None:
        """Nothing: the workers are alone."""

    def _follow(self, epoch: int, step: EvolutionStep) -> None:
        """Nothing: no layer changes its size."""

    def _train(self, epoch: int, first_step: int, sums: RankTotals) -> int:
        n_steps_done = super()._train(epoch, first_step, sums)
        if n_steps_done == self.n_steps:
            patient_barrier(self._ctx)
        return n_steps_done

    def _is_finite(self, train_loss: float) -> bool:
        return all(gather_objects(self._ctx, super()._is_finite(train_loss)))

    def _average_networks(self, metrics: EpochMetrics) -> EpochMetrics:
        """One network from those of the workers, and the metrics of the last epoch with its scores (collective)."""
        parts = self._evaluate_parts()
        self.average()
        self._is_averaged = True
        scores = self.evaluate()
        self.confirm_agreement()
        LOG.info(
            "test accuracy of the workers' networks: %s; of their average: %.2f %%",
            ", ".join(f"{100 * part:.2f} %" for part in parts),
            100 * scores.test_accuracy,
        )
        return replace(
            metrics,
            **scores.as_metrics(),
            parts_test_accuracy=parts,
            n_connections=self._job.replica.network.n_connections,
        )

    def _evaluate_parts(self) -> tuple[float, ...]:
        """Test accuracy of each worker's network, on all test samples, before they are averaged (collective)."""
        return tuple(self._evaluate_part(rank) for rank in range(1, self._ctx.size))

    def _evaluate_part(self, rank: int) -> float:
        """Have the network of one worker tested by root; one at a time, so that an error leaves nobody sending."""
        network = self._job.replica.network
        if self._ctx.rank == rank:
            send_network(self._ctx, network, 0)
        if self._ctx.is_root:
            network = receive_network(self._ctx, network, rank)
        return on_root(self._ctx, lambda: self._test_accuracy(network))

    def _test_accuracy(self, network: Network) -> float:
        job = self._job
        return Evaluation(
            network,
            self._objective,
            self._tests,
            job.make_assembler(),
            job.make_workspace(),
            job.config.training.batch_size,
        ).finish()[1]


def _without_tests(job: TrainingJob) -> TrainingJob:
    """Root's job, whose samples are those of the workers: together their shards are all samples of either part."""
    none = job.dataset.train
    validation = None if job.dataset.validation is None else none
    return replace(job, dataset=replace(job.dataset, test=none, validation=validation))
