"""The serving rank of WASAP-SGD and WASSP-SGD in phase 1: holds the network and applies the workers' gradients."""

from __future__ import annotations

import logging
import math
import time
from collections import deque

import numpy as np

from hpc_sparse.dtypes import VALUE, Float32Array
from hpc_sparse.errors import DivergedError, HpcSparseError
from hpc_sparse.kernels.sparse.descent import add_scaled
from hpc_sparse.monitor.metrics import EpochMetrics
from hpc_sparse.monitor.position import Phase
from hpc_sparse.network.network import Network
from hpc_sparse.network.objectives.registry import make_objective
from hpc_sparse.network.optimizers.learning_rate import LearningRate
from hpc_sparse.network.optimizers.registry import make_optimizer
from hpc_sparse.network.parameters import ParameterLayout, gather_network, gather_states
from hpc_sparse.parallel.gradient_exchange import GradientHeader, ReplyHeader, ServerEnd
from hpc_sparse.parallel.replication import topology_arrays
from hpc_sparse.training.evaluation import EpochEvaluation
from hpc_sparse.training.evolution_step import Evolution, EvolutionStep
from hpc_sparse.training.growth_pool import GrowthSource
from hpc_sparse.training.job import EpochsResult, MidEpochState, OnEpoch, TrainingJob
from hpc_sparse.training.served.history import TopologyHistory
from hpc_sparse.training.served.server_totals import ServerTotals

LOG = logging.getLogger(__name__)


class Server:
    """Server of the workers for some epochs at a time.

    Updates per epoch: ``n_samples // (batch * workers)`` if the workers' gradients are applied together (WASSP-SGD),
    else ``n_samples // batch`` (WASAP-SGD), at least 1. Between two epochs the network is pruned and evolves, if due;
    gradients computed before are carried over. Evaluation uses a copy of the parameters, a batch whenever no gradient
    is waiting.

    Parameters
    ----------
    job : TrainingJob
        Has no training samples, but all samples of the test and validation parts.
    rate : LearningRate
    growth : GrowthSource or None
        Source of gradients for strategies that grow by them.
    """

    def __init__(self, job: TrainingJob, rate: LearningRate, growth: GrowthSource | None = None) -> None:
        parallel = job.config.parallel
        self._job, self._rate, self._optimizer = job, rate, make_optimizer(job.config)
        # With one worker both strategies are the same; waiting would only round each gradient once more.
        self._waits = parallel.algorithm == "wassp" and job.ctx.size > 2
        self._max_staleness, self._is_staleness_aware = parallel.max_staleness, parallel.staleness_aware
        self._n_under_way = 2 if parallel.overlap else 1
        self._workers = list(range(1, job.ctx.size))
        self._end = ServerEnd(job.ctx, self._workers, lets_workers_overlap=parallel.overlap)
        self._objective = make_objective(job.config)
        self._scratch = np.empty(0, VALUE)
        self.n_steps = n_updates_per_epoch(job)
        self._evolution = Evolution(job.config, n_steps=self.n_steps, growth=growth)

    def serve(self, first: int, last: int, on_epoch: OnEpoch, mid_epoch: MidEpochState | None = None) -> EpochsResult:
        """Serve until epoch ``last`` is over and evaluated, or a stop is due.

        Afterwards no worker has a gradient under way; one that was when a stop came has been thrown away.

        Parameters
        ----------
        first, last : int
            Counted from 1.
        on_epoch : OnEpoch
            Called for every complete epoch.
        mid_epoch : MidEpochState or None
            Where ``first`` was left, if it was begun before.

        Raises
        ------
        DivergedError
            The loss or a weight is no longer a finite number.
        HpcSparseError, OSError
            What ``on_epoch`` raised. The workers have been sent home and wait for nothing.
        Exception
            Anything else, at once: who knows in the middle of which message. The job has to be ended.
        """
        self._begin(first, last, on_epoch, mid_epoch)
        try:
            if mid_epoch is None:
                self._start_epoch(first)
            else:
                self._continue_epoch(mid_epoch)
            for worker in self._workers:
                self._reply(worker)
            while self._n_applied < self._n_planned and not self._is_to_stop:
                self._update()
            self._send_home()
            self._finish_evaluation()
        except (HpcSparseError, OSError):
            self._send_home()
            self._end.close()
            raise
        self._end.close()
        return EpochsResult(self._history, self._mid_epoch(), self._stop_reason)

    def _mid_epoch(self) -> MidEpochState | None:
        step = self._n_applied % self.n_steps
        if not step:
            return None
        self._totals.train += time.perf_counter() - self._epoch_started
        self._totals.n_bytes += self._end.n_bytes - self._n_bytes_before
        return MidEpochState(step, self._totals.to_sums())

    def _begin(self, first: int, last: int, on_epoch: OnEpoch, mid_epoch: MidEpochState | None) -> None:
        network = self._job.replica.network
        self._last, self._on_epoch, self._history = last, on_epoch, list[EpochMetrics]()
        self._evaluation: tuple[ServerTotals, Network, EpochEvaluation] | None = None
        self._n_applied = 0 if mid_epoch is None else mid_epoch.step
        self._n_planned, self._stop_reason = (last - first + 1) * self.n_steps, 0
        self._n_owed = dict.fromkeys(self._workers, 0)
        self._unanswered = set(self._workers)
        self._held = {worker: deque([0], maxlen=self._n_under_way) for worker in self._workers}
        self._topology_history = TopologyHistory(network)
        self._is_over = False
        self._gather()
        self._end.open()

    def _gather(self) -> None:
        """Have all parameters in one vector, each state array in another, and room for a gradient."""
        replica = self._job.replica
        self._values = gather_network(replica.network)
        self._states = gather_states(replica)
        self._layout = ParameterLayout.of(replica.network)
        if self._scratch.size < self._values.size:
            self._scratch = self._layout.new_vector()

    # Updates

    def _update(self) -> None:
        """Apply one gradient, or one from each worker, and answer."""
        self._job.tracker.at(Phase.SERVING, self._totals.epoch, self._n_applied % self.n_steps + 1)
        gradient = self._mean_gradient() if self._waits else self._next_gradient()
        if gradient is not None:
            self._apply(gradient)
            self._n_applied += 1
            self._job.reporter.step((self._n_applied - 1) % self.n_steps + 1)
            if self._n_applied % self.n_steps == 0:
                self._finish_epoch()
            else:
                self._evolve_within()
        self._stop_reason = self._stop_reason or self._job.stop_request.reason
        if self._is_to_stop:
            return
        if self._is_between_epochs and self._totals.epoch < self._last:
            self._start_epoch(self._totals.epoch + 1)
        for worker in sorted(self._unanswered):
            self._reply(worker)

    @property
    def _is_to_stop(self) -> bool:
        """Whether a stop is due here and now: between two epochs, or once an epoch that has begun has an update."""
        # An epoch without updates cannot be taken up again: its network would be pruned and evolve a second time.
        is_resumable = self._is_between_epochs or self._n_applied % self.n_steps > 0
        return self._stop_reason != 0 and is_resumable

    def _next_gradient(self) -> Float32Array | None:
        """The next gradient that comes, as it applies now; None if it comes too late."""
        worker = self._end.next_worker(self._do_idle_work)
        header, gradient = self._receive(worker)
        staleness = self._n_applied - header.base_update
        if staleness > self._max_staleness:
            self._totals.n_discarded += 1
            return None
        self._totals.add(header, staleness, worker)
        self._rate_factor = 1.0 / (1.0 + staleness) if self._is_staleness_aware else 1.0
        return self._topology_history.carry(header.version, gradient)

    def _mean_gradient(self) -> Float32Array:
        """The gradient over the batches of all workers, added up in the order of their ranks."""
        total, n_samples = np.zeros_like(self._values), 0
        for worker in self._workers:
            self._end.wait_for(worker, self._do_idle_work)
            header, gradient = self._receive(worker)
            self._totals.add(header, 0, worker)
            add_scaled(gradient, VALUE(header.n_samples), total)
            n_samples += header.n_samples
        total /= VALUE(n_samples)
        self._rate_factor = 1.0
        return total

    def _receive(self, worker: int) -> tuple[GradientHeader, Float32Array]:
        header = self._end.header(worker)
        gradient = self._scratch[: self._topology_history.layout(header.version).n_parameters]
        self._end.receive(worker, gradient)
        self._stop_reason = self._stop_reason or header.stop_reason
        self._n_owed[worker] -= 1
        self._unanswered.add(worker)
        return header, gradient

    def _apply(self, gradient: Float32Array) -> None:
        rate = self._totals.rate * self._rate_factor
        self._optimizer.descend(rate, self._values, gradient, self._layout.n_decayed, self._states)

    def _reply(self, worker: int) -> None:
        """Send what is new, and grant as many gradients as are still needed and the worker may have under way."""
        gradients_per_update = len(self._workers) if self._waits else 1
        n_needed = (self._n_planned - self._n_applied) * gradients_per_update - sum(self._n_owed.values())
        n_grants = 0 if self._is_over else max(0, min(n_needed, self._n_under_way - self._n_owed[worker]))
        self._n_owed[worker] += n_grants
        history, held = self._topology_history, self._held[worker]
        is_new = held[-1] != history.version
        topology = topology_arrays(self._job.replica.network) if is_new else []
        self._end.reply(worker, ReplyHeader(n_grants, history.version, self._n_applied), topology, self._values)
        self._unanswered.discard(worker)
        held.append(history.version)
        history.forget_before(min(min(versions) for versions in self._held.values()))

    def _send_home(self) -> None:
        """Grant no more, and take the gradients that are still under way without applying them."""
        self._is_over = True
        self._job.tracker.at(Phase.SERVING)
        for worker in sorted(self._unanswered):
            self._reply(worker)
        while any(self._n_owed.values()):
            worker = self._end.next_worker(lambda: False)
            self._receive(worker)
            self._reply(worker)

    # Epochs

    def _start_epoch(self, epoch: int) -> None:
        started = time.perf_counter()
        self._job.tracker.at(Phase.EVOLVING, epoch)
        replica = self._job.replica
        step = self._evolution.step(replica, epoch)
        if step is not None:
            if step.pruning is not None:
                LOG.info("epoch %d: pruned to %d connections", epoch, step.pruning.n_connections)
            self._take_note(step)
        self._optimizer.change_rate(self._states, self._rate.change_before(epoch))
        if self._job.is_debug:
            replica.check_invariants()
        self._is_between_epochs = False
        self._totals = ServerTotals(epoch, self._rate.at(epoch), 0 if step is None else step.n_grown)
        self._totals.evolve = time.perf_counter() - started
        self._n_bytes_before, self._epoch_started = self._end.n_bytes, time.perf_counter()

    def _evolve_within(self) -> None:
        started = time.perf_counter()
        step = self._evolution.step_within(self._job.replica, self._totals.epoch, self._n_applied % self.n_steps)
        if step is not None:
            self._take_note(step)
            self._totals.n_changed += step.n_grown
            self._totals.evolve += time.perf_counter() - started
            if self._job.is_debug:
                self._job.replica.check_invariants()

    def _take_note(self, step: EvolutionStep) -> None:
        """Go on with a network that has changed."""
        self._gather()
        self._topology_history.advance(self._job.replica.network, step.composed())

    def _continue_epoch(self, mid_epoch: MidEpochState) -> None:
        self._is_between_epochs = False
        self._totals = ServerTotals.from_sums(mid_epoch.sums)
        self._n_bytes_before, self._epoch_started = self._end.n_bytes, time.perf_counter()

    def _finish_epoch(self) -> None:
        totals = self._totals
        totals.train += time.perf_counter() - self._epoch_started
        self._finish_evaluation()
        if not (math.isfinite(totals.mean_loss) and self._job.replica.is_finite()):
            raise DivergedError.in_epoch(totals.epoch, totals.mean_loss, self._job.config.optimizer.learning_rate)
        totals.n_bytes += self._end.n_bytes - self._n_bytes_before
        self._start_evaluation(totals)
        self._is_between_epochs = True

    def _start_evaluation(self, totals: ServerTotals) -> None:
        network = self._snapshot()
        job = self._job
        evaluation = EpochEvaluation(
            network,
            self._objective,
            job.dataset,
            job.make_assembler(),
            job.make_workspace(),
            job.config.training.batch_size,
        )
        self._evaluation = (totals, network, evaluation)

    def _snapshot(self) -> Network:
        """The network as it is now, with copies of what updates change."""
        network = self._job.replica.network
        snapshot = network.copy()
        for layer, values in zip(snapshot.layers, self._layout.views(self._values.copy()), strict=True):
            layer.bind(values)
        return snapshot

    def _do_idle_work(self) -> bool:
        if self._evaluation is None:
            return False
        started = time.perf_counter()
        totals, _, evaluation = self._evaluation
        is_going_on = evaluation.advance()
        totals.evaluate += time.perf_counter() - started
        if not is_going_on:
            self._finish_evaluation()
        return True

    def _finish_evaluation(self) -> None:
        """Complete the evaluation that is under way, if any, and with it its epoch."""
        if self._evaluation is None:
            return
        started = time.perf_counter()
        totals, network, evaluation = self._evaluation
        self._evaluation = None
        self._job.tracker.at(Phase.EVALUATING, totals.epoch)
        scores = evaluation.finish()
        totals.evaluate += time.perf_counter() - started
        files = self._job.tracker.take_file_seconds()
        metrics = totals.to_metrics(network, scores, n_workers=len(self._workers), file_seconds=files)
        self._history.append(metrics)
        self._on_epoch(metrics)


def n_updates_per_epoch(job: TrainingJob) -> int:
    """Updates that make an epoch: samples by batch size, and by workers where each update takes a batch of each."""
    n_samples, batch_size = job.dataset.n_train, job.config.training.batch_size
    n_workers = job.ctx.size - 1 if job.config.parallel.algorithm == "wassp" else 1
    return max(1, n_samples // (batch_size * n_workers))
