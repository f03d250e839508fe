"""The serving rank where a stop comes at an awkward moment, with an exchange that follows a script."""

from __future__ import annotations

import dataclasses
import signal
from collections import deque

import pytest

from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.parallel.gradient_exchange import GradientHeader
from hpc_sparse.training.job import TrainingJob
from hpc_sparse.training.rates import learning_rate
from hpc_sparse.training.replica_states import (
    initial_replica,
)
from hpc_sparse.training.served.server import Server
from hpc_sparse.training.served.server_totals import ServerTotals

TOO_LATE = -1000


class ScriptedEnd:
    """Two workers that send, one gradient for each that is granted, zeros with what the script says of them."""

    def __init__(self, script):
        self._script, self._granted, self._replied = deque(script), deque(), {}
        self.n_bytes = 0

    def open(self):
        pass

    def close(self):
        assert not self._granted

    def next_worker(self, do_idle_work):
        return self._granted.popleft()

    def header(self, worker):
        is_late, stop_reason = self._script.popleft() if self._script else (False, 0)
        reply = self._replied[worker]
        base_update = TOO_LATE if is_late else reply.base_update
        return GradientHeader(reply.version, base_update, 20, 3, stop_reason, 1.0, 0.0, 0.0)

    def receive(self, worker, gradient):
        gradient[:] = 0
        self.n_bytes += gradient.nbytes

    def reply(self, worker, header, topology, values):
        self._replied[worker] = header
        self._granted.extend([worker] * header.n_grants)


@pytest.fixture
def serve(make_config, make_dataset):
    """Serve epoch 2 of WASAP-SGD by a script of (comes too late, asks to stop); the result."""

    def serve_script(*script):
        config, dataset = make_config("parallel.algorithm=wasap"), make_dataset()
        ctx = dataclasses.replace(ParallelContext.serial(threads=1), size=3)
        job = TrainingJob(ctx, config, dataset, initial_replica(config, dataset.info), SilentReporter())
        server = Server(job, learning_rate(config, 2), lambda metrics: None, end=ScriptedEnd(script))
        return server.serve(2, 2)

    return serve_script


def test_an_epoch_that_has_evolved_is_not_left_before_its_first_update(serve):
    result = serve((True, signal.SIGTERM), (True, 0), (False, 0))
    assert result.stop_reason == signal.SIGTERM
    assert result.history == []
    assert result.mid_epoch is not None
    assert result.mid_epoch.step == 1
    totals = ServerTotals.from_sums(result.mid_epoch.sums)
    assert totals.n_changed > 0
    assert totals.n_discarded == 2


def test_what_was_sent_before_a_stop_is_counted(serve):
    early, late = (serve(*[(False, 0)] * n, (False, signal.SIGTERM)).mid_epoch for n in (1, 4))
    assert (early.step, late.step) == (2, 5)
    assert 0 < ServerTotals.from_sums(early.sums).n_bytes < ServerTotals.from_sums(late.sums).n_bytes


def test_an_epoch_ends_without_a_pause_although_a_stop_is_asked_for_at_its_last_update(serve):
    result = serve(*[(False, 0)] * (230 // 20 - 1), (False, signal.SIGTERM))
    assert result.mid_epoch is None
    assert result.stop_reason == signal.SIGTERM
    assert [metrics.epoch for metrics in result.history] == [2]
    assert sum(result.history[0].staleness_counts) == 230 // 20
