"""Tables of a report, as text in cells."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from statistics import mean, median, stdev
from typing import Any

import numpy as np

from hpc_sparse.monitor.metrics import EpochMetrics, best_epoch
from hpc_sparse.report.groups import RunGroup, differing_settings
from hpc_sparse.report.stored_run import StoredRun
from hpc_sparse.report.strengths import Strengths

MISSING = "-"
MIB = 2**20
MOST_INPUTS = 20
"""Inputs that are named."""

BEST_ON_VALIDATION, BEST_ON_TEST = "best on the validation part", "best on the test part"
TEST_OF_BEST = "test accuracy of the best"

GROUP_HEADINGS = (
    *("experiment", "test accuracy, last", BEST_ON_VALIDATION, TEST_OF_BEST, BEST_ON_TEST),
    *("test loss, last", "training of the last epoch"),
)


@dataclass(frozen=True)
class Table:
    """Headings and rows of as many cells; the first cell of a row names it."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def summary_table(runs: Sequence[StoredRun]) -> Table:
    """A row per run: how far it came, what it reached, how large it is and how long it took."""
    columns: dict[str, Callable[[StoredRun], str]] = {
        "run": lambda run: run.name,
        "seed": lambda run: str(run.config.training.seed),
        "ranks": lambda run: _count(run.n_ranks),
        "epochs": _epochs,
        "test accuracy, last": lambda run: _of_last(run, lambda last: percent(last.test_accuracy)),
        **_best_columns(runs),
        "test loss, last": lambda run: _of_last(run, lambda last: _number(last.test_loss, ".4f")),
        "neurons": lambda run: _of_last(run, lambda last: _count(last.n_neurons or None)),
        "connections": lambda run: _of_last(run, lambda last: _count(last.n_connections)),
        "parameters": lambda run: _count(run.n_parameters),
        "training of an epoch, median": _epoch_seconds,
        "in all": _total_time,
        "memory, most of a rank": _memory,
    }
    return Table(tuple(columns), tuple(tuple(cell(run) for cell in columns.values()) for run in runs))


def group_table(groups: Sequence[RunGroup]) -> Table | None:
    """Mean and deviation of the runs that differ in the seed only; None if there are none."""
    rows = []
    for group in groups:
        lasts = [run.history[-1] for run in group.runs if run.history]
        if len(lasts) > 1:
            bests = [best_epoch(run.history) for run in group.runs if run.history]
            accuracies = [last.test_accuracy for last in lasts]
            losses = spread_of([last.test_loss for last in lasts], ".4f")
            times = spread_of([last.train_seconds for last in lasts], "#.3g", "#.2g")
            of_parts = _best_spreads(bests)
            row = {"experiment": group.legend, "test accuracy, last": percent_spread(accuracies), **of_parts}
            rows.append(row | {"test loss, last": losses, "training of the last epoch": f"{times} s"})
    headings = [name for name in GROUP_HEADINGS if any(name in row for row in rows)]
    cells = tuple(tuple(row.get(name, MISSING) for name in headings) for row in rows)
    return Table(tuple(headings), cells) if rows else None


def settings_table(groups: Sequence[RunGroup]) -> Table | None:
    """A row per setting in which runs differ, a column per experiment; None if they differ in none."""
    differing = differing_settings(groups)
    rows = tuple((key, *(_setting_cell(values) for values in by_group)) for key, by_group in differing.items())
    return Table(("setting", *(group.legend for group in groups)), rows) if rows else None


def inputs_table(run: StoredRun, strengths: Strengths, names: Sequence[str]) -> Table:
    """The strongest inputs of a network by the names of their features."""
    known = strengths.known_inputs
    order = known[np.argsort(-strengths.inputs[known], kind="stable")]
    total = float(strengths.inputs[known].sum())
    rows = [
        (names[number], str(number), f"{strengths.inputs[number]:.3g}", percent(strengths.inputs[number] / total))
        for number in order[:MOST_INPUTS].tolist()
        if strengths.inputs[number] > 0
    ]
    headings = (f"strongest inputs of {run.name}, epoch {strengths.epoch}", "number", "strength", "share of all inputs")
    return Table(headings, tuple(rows))


def percent(share: float) -> str:
    """A share in per cent, with two decimals."""
    return _number(100 * share, ".2f", " %")


def percent_spread(shares: Sequence[float]) -> str:
    """Mean and standard deviation of shares, in per cent."""
    return f"{spread_of([100 * share for share in shares], '.2f')} %"


def spread_of(values: Sequence[float], notation: str, of_deviation: str = "") -> str:
    """Mean and standard deviation (n - 1), which may have a notation of its own."""
    return f"{_number(mean(values), notation)} ± {_number(stdev(values), of_deviation or notation)}"


def _of_last(run: StoredRun, cell: Callable[[EpochMetrics], str]) -> str:
    return cell(run.history[-1]) if run.history else MISSING


def _epochs(run: StoredRun) -> str:
    n_done = run.history[-1].epoch if run.history else 0
    return str(n_done) if n_done == run.config.training.epochs else f"{n_done} of {run.config.training.epochs}"


def _best_columns(runs: Sequence[StoredRun]) -> dict[str, Callable[[StoredRun], str]]:
    """Columns of the best epochs: one for runs with a validation part, one for those without."""
    columns: dict[str, Callable[[StoredRun], str]] = {}
    if any(run.has_validation for run in runs):
        columns[f"{BEST_ON_VALIDATION} (epoch)"] = lambda run: _best(run, has_validation=True)
        columns[TEST_OF_BEST] = _test_of_best
    if not all(run.has_validation for run in runs):
        columns[f"{BEST_ON_TEST} (epoch)"] = lambda run: _best(run, has_validation=False)
    return columns


def _best(run: StoredRun, *, has_validation: bool) -> str:
    if not run.history or run.has_validation != has_validation:
        return MISSING
    best = best_epoch(run.history)
    return f"{percent(best.accuracy)} ({best.epoch})"


def _test_of_best(run: StoredRun) -> str:
    return percent(best_epoch(run.history).test_accuracy) if run.history and run.has_validation else MISSING


def _best_spreads(bests: Sequence[EpochMetrics]) -> dict[str, str]:
    """Spread of the best epochs' values over repeated runs of one experiment."""
    spread = percent_spread([best.accuracy for best in bests])
    if not bests[0].has_validation:
        return {BEST_ON_TEST: spread}
    return {BEST_ON_VALIDATION: spread, TEST_OF_BEST: percent_spread([best.test_accuracy for best in bests])}


def _epoch_seconds(run: StoredRun) -> str:
    return f"{median(metrics.train_seconds for metrics in run.history):#.3g} s" if run.history else MISSING


def _total_time(run: StoredRun) -> str:
    total = run.summary.get("total_seconds")
    return MISSING if total is None else str(timedelta(seconds=math.ceil(total)))


def _memory(run: StoredRun) -> str:
    peak = run.summary.get("peak_rss_bytes")
    return MISSING if peak is None else f"{peak / MIB:,.0f} MiB"


def _count(number: int | None) -> str:
    return MISSING if number is None else f"{number:,}"


def _number(value: float, notation: str, unit: str = "") -> str:
    return f"{value:{notation}}{unit}" if math.isfinite(value) else MISSING


def _setting_cell(values: Sequence[Any]) -> str:
    return ", ".join(MISSING if value is None else str(value) for value in values)
