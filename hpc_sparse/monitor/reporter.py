"""Displays of a run: live on a terminal, plain lines in a log, or none."""

from __future__ import annotations

import time
from typing import Literal, Protocol

from hpc_sparse.monitor.metrics import EpochMetrics, peak_rss_bytes
from hpc_sparse.monitor.throughput import Throughput, shown_duration, shown_rate

ProgressStyle = Literal["auto", "live", "lines", "none"]

SECONDS_BETWEEN_LINES = 60.0
"""Within an epoch; one that is shorter has one line."""

MIB = 2**20


class Reporter(Protocol):
    """Is told how the run goes."""

    def start(self, headline: str, first_epoch: int, n_epochs: int, n_steps: int, n_samples: int) -> None:
        """The run begins; ``n_steps`` and ``n_samples`` (of all ranks) per epoch."""

    def step(self, n_done: int) -> None:
        """``n_done`` steps of the epoch are done."""

    def epoch(self, metrics: EpochMetrics) -> None:
        """An epoch is complete."""

    def stop(self) -> None:
        """The run is over, for whatever reason."""


class SilentReporter:
    """Shows nothing: ranks other than root, and quiet runs."""

    def start(self, headline: str, first_epoch: int, n_epochs: int, n_steps: int, n_samples: int) -> None:
        """No output."""

    def step(self, n_done: int) -> None:
        """No output."""

    def epoch(self, metrics: EpochMetrics) -> None:
        """No output."""

    def stop(self) -> None:
        """No output."""


class LineReporter(SilentReporter):
    """One plain line per epoch, and one a minute within it: for job logs."""

    def __init__(self) -> None:
        self._throughput = Throughput(1, 1, 1, 1)
        self._last_line = 0.0

    def start(self, headline: str, first_epoch: int, n_epochs: int, n_steps: int, n_samples: int) -> None:
        """Print the headline."""
        self._throughput = Throughput(first_epoch, n_epochs, n_steps, n_samples)
        self._print(headline)

    def step(self, n_done: int) -> None:
        """Print a line if the last one is long ago."""
        now = time.monotonic()
        self._throughput.advance(n_done, now)
        if now - self._last_line >= SECONDS_BETWEEN_LINES:
            throughput = self._throughput
            where = (
                f"epoch {throughput.epoch}/{throughput.n_epochs}  step {throughput.step:,} of {throughput.n_steps:,}"
            )
            self._print(f"{where}  {throughput_text(throughput, now)}")

    def epoch(self, metrics: EpochMetrics) -> None:
        """Print the epoch's line."""
        self._print(
            f"{epoch_line(metrics, self._throughput.n_epochs)}  {throughput_text(self._throughput, time.monotonic())}"
        )

    def _print(self, line: str) -> None:
        self._last_line = time.monotonic()
        print(line, flush=True)


def make_reporter(style: ProgressStyle, *, is_root: bool, is_terminal: bool) -> Reporter:
    """The reporter for a style; ``auto`` is live on a terminal, else lines."""
    if not is_root or style == "none":
        return SilentReporter()
    if style == "live" or (style == "auto" and is_terminal):
        from hpc_sparse.monitor.live_reporter import LiveReporter  # noqa: PLC0415 - only those who look need it

        return LiveReporter()
    return LineReporter()


def epoch_line(metrics: EpochMetrics, n_epochs: int) -> str:
    """An epoch in one line: losses, accuracies, seconds of training; without a validation part less than 80 columns."""
    validation = ""
    if metrics.validation_loss is not None and metrics.validation_accuracy is not None:
        validation = f"  validation loss {metrics.validation_loss:.4f}, {metrics.validation_accuracy:.2%}"
    return (
        f"epoch {metrics.epoch:>{len(str(n_epochs))}}/{n_epochs}"
        f"  train loss {metrics.train_loss:.4f}, {metrics.train_accuracy:.2%}"
        f"{validation}"
        f"  test loss {metrics.test_loss:.4f}, {metrics.test_accuracy:.2%}"
        f"{_of_tokens(metrics)}"
        f"  {metrics.train_seconds:.2f} s"
    )


def _of_tokens(metrics: EpochMetrics) -> str:
    """Bits of each token and perplexity on the test part, of texts."""
    if metrics.test_bits_per_token is None or metrics.test_perplexity is None:
        return ""
    return f", {metrics.test_bits_per_token:.3f} bits/token, perplexity {metrics.test_perplexity:.4g}"


def throughput_text(throughput: Throughput, now: float) -> str:
    """Samples per second, time left, and the most memory that this rank has had."""
    return (
        f"{shown_rate(throughput.samples_per_second(now), 'samples')}"
        f"  left {shown_duration(throughput.seconds_left(now))}  memory {peak_rss_bytes() / MIB:,.0f} MiB"
    )
