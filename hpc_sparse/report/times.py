"""Pictures of where the time of runs went: by rank, and by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hpc_sparse.dtypes import Float64Array
from hpc_sparse.monitor.metrics import RANK_PARTS, EpochMetrics
from hpc_sparse.report.groups import RunGroup
from hpc_sparse.report.panels import legend_below, make_panels, over_epochs
from hpc_sparse.report.stored_run import StoredRun

MOST_RANKS = 8
"""Most ranks of a run that are shown one by one; evenly spaced ones if there are more."""

MOST_PANELS = 6
"""Experiments whose epochs are shown one by one."""

NAMES = dict(zip(RANK_PARTS, ("compute", "sync", "evolve", "evaluate", "I/O"), strict=True))


@dataclass(frozen=True)
class TimeBar:
    """Mean seconds of an epoch, by what they were spent on.

    Attributes
    ----------
    label : str
        Run and rank.
    seconds : float64[5]
        One per part of ``RANK_PARTS``.
    """

    label: str
    seconds: Float64Array


def time_bars(run: StoredRun) -> list[TimeBar]:
    """A bar per rank; one for the slowest if the run has not stored the seconds of each."""
    of_epochs = [seconds_by_rank(metrics) for metrics in run.history]
    # A run may go on with another number of ranks.
    means = np.mean([each for each in of_epochs if each.shape == of_epochs[-1].shape], axis=0)
    if not run.history[-1].rank_seconds:
        return [TimeBar(f"{run.name}, slowest rank", means[0])]
    shown = np.unique(np.linspace(0, len(means) - 1, MOST_RANKS).round().astype(int))
    return [TimeBar(f"{run.name}, rank {rank}", means[rank]) for rank in shown]


def seconds_by_rank(metrics: EpochMetrics) -> Float64Array:
    """float64[n_ranks, 5]: of one epoch; of the slowest rank alone if nothing else is stored, without files."""
    if metrics.rank_seconds:
        return np.array([metrics.rank_seconds[part] for part in RANK_PARTS], np.float64).T
    # Where a rank served, the time from the first update to the last contains that of waiting.
    compute = max(0.0, metrics.train_seconds - (metrics.sync_seconds if metrics.staleness_counts else 0.0))
    slowest = (compute, metrics.sync_seconds, metrics.evolve_seconds, metrics.evaluate_seconds, 0.0)
    return np.array([slowest], np.float64)


def draw_rank_times(runs: Sequence[StoredRun]) -> Figure:
    """Mean time of an epoch on every rank of every run that has one."""
    bars = [bar for run in runs if run.history for bar in time_bars(run)]
    figure, (axes,) = make_panels(1, 1, width=2, height=0.4 + 0.085 * len(bars))
    start = np.zeros(len(bars))
    for number, name in enumerate(NAMES.values()):
        lengths = np.array([bar.seconds[number] for bar in bars])
        axes.barh([bar.label for bar in bars], lengths, left=start, height=0.7, color=f"C{number}", label=name)
        start += lengths
    axes.invert_yaxis()
    axes.set_title("Mean time of an epoch, by rank")
    axes.set_xlabel("seconds per epoch")
    axes.grid(visible=False, axis="y")
    legend_below(figure, axes)
    return figure


def draw_epoch_times(groups: Sequence[RunGroup]) -> Figure:
    """Seconds of each epoch, stacked: of the first run of each experiment, mean over its ranks."""
    runs = [run for group in groups if (run := next((run for run in group.runs if run.history), None))][:MOST_PANELS]
    n_columns = min(2, len(runs))
    figure, panels = make_panels(-(-len(runs) // n_columns), n_columns, width=2 if n_columns == 1 else 1)
    for axes, run in zip(panels, runs, strict=False):
        _draw_stack(axes, run)
    for axes in panels[len(runs) :]:
        axes.set_visible(False)
    legend_below(figure, panels[0])
    return figure


def _draw_stack(axes: Axes, run: StoredRun) -> None:
    epochs = np.array([metrics.epoch for metrics in run.history])
    means = np.array([seconds_by_rank(metrics).mean(axis=0) for metrics in run.history])
    base = np.zeros(epochs.size)
    for number, name in enumerate(NAMES.values()):
        axes.bar(epochs, means[:, number], 1.0, bottom=base, color=f"C{number}", label=name, linewidth=0)
        base += means[:, number]
    axes.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
    axes.grid(visible=False, axis="x")
    over_epochs(axes, run.name, "seconds per epoch")
