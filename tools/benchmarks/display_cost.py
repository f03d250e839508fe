"""Cost to a run of the live display and of the lines of a log."""

from __future__ import annotations

import os
import threading
import time
from contextlib import redirect_stdout, suppress

from rich.console import Console

from benchmarks import report
from hpc_sparse.monitor.live_reporter import LiveReporter
from hpc_sparse.monitor.metrics import EpochMetrics
from hpc_sparse.monitor.reporter import LineReporter, Reporter, SilentReporter

EPOCH_SECONDS = 2.0
"""Short: each has a line of its own."""

N_EPOCHS = 100_000


def measure_display(seconds: float, step_milliseconds: float, *, as_json: bool) -> None:
    """Print each reporter's CPU time as a share of a run of so short steps, on a pseudo-terminal.

    The cost of ``none`` is that of measuring, which the others contain too.
    """
    controller, terminal = os.openpty()
    threading.Thread(target=_read_all, args=(controller,), daemon=True).start()
    rows: list[dict[str, object]] = []
    with os.fdopen(terminal, "w") as screen, redirect_stdout(screen):
        live = LiveReporter(Console(file=screen, force_terminal=True, width=120, height=40))
        for name, reporter in (("none", SilentReporter()), ("lines", LineReporter()), ("live", live)):
            n_steps, cost, elapsed = _run(reporter, seconds, step_milliseconds / 1000)
            share = 100 * cost / elapsed
            rows.append({"progress": name, "steps": n_steps, "us per step": 1e6 * cost / n_steps, "% of run": share})
    report.show(f"display, steps of {step_milliseconds:g} ms, {seconds:g} s", rows, [], as_json=as_json)


def _run(reporter: Reporter, seconds: float, step_seconds: float) -> tuple[int, float, float]:
    """Steps, CPU seconds of the reporter, and seconds in all; what a step would compute is slept through."""
    per_epoch = round(EPOCH_SECONDS / step_seconds)
    started, n_steps, cost = time.perf_counter(), 0, 0.0
    reporter.start("display", 1, N_EPOCHS, per_epoch, 128 * per_epoch)
    while time.perf_counter() - started < seconds:
        time.sleep(step_seconds)
        before = time.thread_time()
        reporter.step(n_steps % per_epoch + 1)
        n_steps += 1
        if n_steps % per_epoch == 0:
            reporter.epoch(_metrics(n_steps // per_epoch))
        cost += time.thread_time() - before
    reporter.stop()
    return n_steps, cost, time.perf_counter() - started


def _metrics(epoch: int) -> EpochMetrics:
    return EpochMetrics(epoch, 0.5, 0.8, 0.5, 0.8, 100_000, 30_000, EPOCH_SECONDS, 0.1, 0.1, 0, 0.1, 0.01)


def _read_all(controller: int) -> None:
    with suppress(OSError):  # the terminal has been closed
        while os.read(controller, 4096):
            pass
