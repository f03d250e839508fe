"""Local SGD: each rank trains its replica on its shard, and the replicas are averaged at syncs."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from hpc_sparse.evolution.selection import resparsify
from hpc_sparse.network.objectives.protocol import Objective
from hpc_sparse.network.optimizers.registry import make_optimizer
from hpc_sparse.parallel.local_sgd import LocalSgd
from hpc_sparse.training.clock import Clock
from hpc_sparse.training.evolution_step import Evolution, EvolutionStep, Mode, start_growth
from hpc_sparse.training.job import TrainingJob
from hpc_sparse.training.rank_totals import RankTotals
from hpc_sparse.training.rates import learning_rate
from hpc_sparse.training.replica_trainer import ReplicaTrainer, steps_per_epoch

LOG = logging.getLogger(__name__)


class LocalTrainer(ReplicaTrainer):
    """Trains one replica in step with the other ranks, with a sync every so many steps and at the end of each epoch.

    So after an epoch all replicas are the same, and a run can be stopped there and continued, on any number of ranks.
    """

    @classmethod
    def start(
        cls, job: TrainingJob, *, objective: Objective | None = None, targets: Sequence[int] | None = None
    ) -> LocalTrainer:
        """The trainer of this rank (collective).

        Parameters
        ----------
        job : TrainingJob
        objective : Objective, optional
            By default the configured one.
        targets : sequence of int, optional
            Connections of each layer once replicas that differ now are averaged; by default the replicas agree now.
        """
        config, objective = job.config, objective or job.objective
        is_shared = config.parallel.replica_topology == "shared"
        averaging = LocalSgd.start(
            job.ctx.data,
            job.replica.network,
            has_shared_topology=is_shared,
            cut_back=resparsify,
            resets=make_optimizer(config).reset_at_sync(config.parallel),
            is_contributor=job.dataset.train.n_samples > 0,
            targets=targets,
        )
        n_steps = steps_per_epoch(job)
        evolution = Evolution(
            config,
            0 if is_shared else job.ctx.replica,
            mode=Mode.SHARED if is_shared else Mode.INDEPENDENT,
            n_steps=n_steps,
            growth=start_growth(job, objective),
            keeps_changes=False,
            n_inputs=job.dataset.info.n_features,
            n_steps_alone=-(-job.dataset.n_train // config.training.batch_size),
        )
        return cls(job, averaging, evolution, n_steps, learning_rate(config, averaging.n_contributors), objective)

    @property
    def replica_number(self) -> int | None:
        """Which of the networks that differ now, within an epoch, is this rank's; None if they agree."""
        return self._ctx.replica if self._ctx.data.size > 1 and self.mid_epoch is not None else None

    @property
    def target_connections(self) -> tuple[int, ...]:
        """Connections of each layer after the next sync, where the networks may have different ones; else ()."""
        return () if self._has_shared_topology else self._averaging.targets

    @property
    def _has_shared_topology(self) -> bool:
        return self._config.parallel.replica_topology == "shared"

    @property
    def _can_stop_within_epoch(self) -> bool:
        """Not while an average is under way, which is finished first."""
        return not self._config.parallel.overlap

    def _follow(self, epoch: int, step: EvolutionStep) -> None:
        assert self._evolution is not None
        if step.pruning is not None:
            # The replicas agreed then: they were synced, and pruning draws no random numbers. Growth may, after it.
            self._averaging.follow(step.pruning)
            self._workspace, self._assembler = self._job.make_workspace(), self._job.make_assembler()
            LOG.info("epoch %d: pruned to %d connections", epoch, step.pruning.n_connections)
        if not self._has_shared_topology and self._evolution.changes_sizes:
            self._averaging.aim_at(self._job.replica.network)

    def _communicate(self, epoch: int, step: int, sums: RankTotals) -> None:
        """The sync that is due, or a moment for the average that is under way (collective)."""
        n_bytes_before, every = self._averaging.n_bytes_sent, self._config.parallel.sync_every_steps
        # Replicas that share a topology must agree before it changes.
        evolves = self._has_shared_topology and self._evolves_within(epoch, step + 1)
        with Clock(sums, "sync"):
            if step + 1 == self.n_steps or evolves:
                self.average()
            elif every == "epoch" or (step + 1) % every:
                self._averaging.progress()
            elif self._config.parallel.overlap:
                self._averaging.sync_delayed(self._job.replica)
            else:
                self.average()
        sums.n_bytes += self._averaging.n_bytes_sent - n_bytes_before
