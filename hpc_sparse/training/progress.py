"""What a person sees of a run: a live display on a terminal, plain lines in a log, or nothing."""

from __future__ import annotations

import time
from typing import Literal, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from hpc_sparse.training.metrics import EpochMetrics

ProgressStyle = Literal["auto", "live", "lines", "none"]

MIN_COLUMNS = 100
SECONDS_BETWEEN_UPDATES = 0.1


class Reporter(Protocol):
    """Is told how the run goes."""

    def start(self, headline: str, first_epoch: int, n_epochs: int, n_steps: int) -> None:
        """The run begins; ``n_steps`` per epoch."""

    def step(self, n_done: int) -> None:
        """So many steps of the epoch are done."""

    def epoch(self, metrics: EpochMetrics) -> None:
        """An epoch is complete."""

    def stop(self) -> None:
        """The run is over, for whatever reason."""


class SilentReporter:
    """Shows nothing: ranks other than root, and quiet runs."""

    def start(self, headline: str, first_epoch: int, n_epochs: int, n_steps: int) -> None:
        """Nothing."""

    def step(self, n_done: int) -> None:
        """Nothing."""

    def epoch(self, metrics: EpochMetrics) -> None:
        """Nothing."""

    def stop(self) -> None:
        """Nothing."""


class LineReporter(SilentReporter):
    """One plain line per epoch: for job logs."""

    def __init__(self) -> None:
        self._n_epochs = 0

    def start(self, headline: str, first_epoch: int, n_epochs: int, n_steps: int) -> None:  # noqa: ARG002
        """Print the headline."""
        self._n_epochs = n_epochs
        print(headline, flush=True)

    def epoch(self, metrics: EpochMetrics) -> None:
        """Print the epoch's line."""
        print(epoch_line(metrics, self._n_epochs), flush=True)


class LiveReporter(SilentReporter):
    """A progress bar over the whole run below the lines of the epochs."""

    def __init__(self) -> None:
        console = Console(force_terminal=True)
        if console.width < MIN_COLUMNS and not console.size.height:
            console = Console(force_terminal=True, width=MIN_COLUMNS, height=25)
        self._progress = Progress(
            TextColumn("[bold]epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps · {task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            auto_refresh=False,
        )
        self._task = self._progress.add_task("train", epoch="", rate="", total=None)
        self._n_epochs = self._n_steps = self._epoch = self._first = 0
        self._last_update = self._epoch_start = time.monotonic()

    def start(self, headline: str, first_epoch: int, n_epochs: int, n_steps: int) -> None:
        """Begin the display."""
        self._n_epochs, self._n_steps = n_epochs, n_steps
        self._epoch = self._first = first_epoch
        self._progress.console.print(headline, highlight=False)
        total = n_steps * (n_epochs - first_epoch + 1)
        self._progress.update(self._task, total=total, epoch=self._epoch_label())
        self._progress.start()

    def step(self, n_done: int) -> None:
        """Move the bar, a few times a second at most."""
        now = time.monotonic()
        if now - self._last_update < SECONDS_BETWEEN_UPDATES:
            return
        self._last_update = now
        rate = n_done / max(now - self._epoch_start, 1e-9)
        completed = (self._epoch - self._first) * self._n_steps + n_done
        self._progress.update(
            self._task, completed=completed, rate=f"{rate:,.0f} steps/s", epoch=self._epoch_label(), refresh=True
        )

    def epoch(self, metrics: EpochMetrics) -> None:
        """Print the epoch's line above the bar."""
        self._progress.console.print(epoch_line(metrics, self._n_epochs), highlight=False)
        self._epoch = metrics.epoch + 1
        self._epoch_start = time.monotonic()
        completed = (metrics.epoch - self._first + 1) * self._n_steps
        self._progress.update(self._task, completed=completed, refresh=True)

    def stop(self) -> None:
        """Leave the display as it stands."""
        self._progress.stop()

    def _epoch_label(self) -> str:
        return f"{self._epoch}/{self._n_epochs}"


def make_reporter(style: ProgressStyle, *, is_root: bool, is_terminal: bool) -> Reporter:
    """The reporter for a style; ``auto`` is live on a terminal, else lines."""
    if not is_root or style == "none":
        return SilentReporter()
    if style == "live" or (style == "auto" and is_terminal):
        return LiveReporter()
    return LineReporter()


def epoch_line(metrics: EpochMetrics, n_epochs: int) -> str:
    """An epoch in one line of less than 80 columns: losses, accuracies, seconds of training."""
    return (
        f"epoch {metrics.epoch:>{len(str(n_epochs))}}/{n_epochs}"
        f"  train loss {metrics.train_loss:.4f}, {metrics.train_accuracy:.2%}"
        f"  test loss {metrics.test_loss:.4f}, {metrics.test_accuracy:.2%}"
        f"  {metrics.train_seconds:.2f} s"
    )
