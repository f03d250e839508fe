"""The live display: a bar over the whole run and the throughput it goes at, below the lines of the epochs."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from hpc_sparse.monitor.metrics import EpochMetrics
from hpc_sparse.monitor.reporter import SilentReporter, epoch_line, throughput_text
from hpc_sparse.monitor.throughput import Throughput, shown_rate

MIN_COLUMNS = 100
SECONDS_BETWEEN_UPDATES = 0.5


class LiveReporter(SilentReporter):
    """A progress bar over the whole run below the lines of the epochs.

    Parameters
    ----------
    console : Console, optional
        By default one on standard output, which is taken for a terminal.
    """

    def __init__(self, console: Console | None = None) -> None:
        console = console or Console(force_terminal=True)
        if console.width < MIN_COLUMNS and not console.size.height:
            console = Console(force_terminal=True, width=MIN_COLUMNS, height=25)
        self._progress = Progress(
            TextColumn("[bold]epoch {task.fields[epoch]}"),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TextColumn("{task.fields[throughput]}", markup=False),
            console=console,
            auto_refresh=False,
            expand=True,
        )
        self._task = self._progress.add_task("train", epoch="", throughput="", total=None)
        self._throughput = Throughput(1, 1, 1, 1)
        self._last_update, self._accuracy = time.monotonic(), ""

    def start(self, headline: str, first_epoch: int, n_epochs: int, n_steps: int, n_samples: int) -> None:
        """Begin the display."""
        self._throughput = Throughput(first_epoch, n_epochs, n_steps, n_samples)
        self._progress.console.print(headline, highlight=False)
        self._progress.update(self._task, total=self._throughput.n_total, epoch=f"{first_epoch}/{n_epochs}")
        self._progress.start()

    def step(self, n_done: int) -> None:
        """Move the bar, twice a second at most."""
        now = time.monotonic()
        self._throughput.advance(n_done, now)
        if now - self._last_update >= SECONDS_BETWEEN_UPDATES:
            self._show(now)

    def epoch(self, metrics: EpochMetrics) -> None:
        """Print the epoch's line above the bar."""
        self._progress.console.print(epoch_line(metrics, self._throughput.n_epochs), highlight=False)
        part = "validation" if metrics.has_validation else "test"
        self._accuracy = f"{part} {metrics.accuracy:.2%}  "
        self._show(time.monotonic())

    def stop(self) -> None:
        """Leave the display as it stands."""
        self._progress.stop()

    def _show(self, now: float) -> None:
        self._last_update = now
        throughput = self._throughput
        rate = shown_rate(throughput.steps_per_second(now), "steps")
        text = f"{self._accuracy}{rate}  {throughput_text(throughput, now)}"
        epoch = f"{throughput.epoch}/{throughput.n_epochs}"
        self._progress.update(self._task, completed=throughput.n_done, epoch=epoch, throughput=text, refresh=True)
