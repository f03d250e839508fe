"""Results as rows of a Markdown table."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from statistics import mean, stdev

from benchmarks.report import machine

from studies.runs import Result

COLUMNS = (
    "variant",
    "test accuracy, last epoch",
    "each {group}",
    "best on test",
    "connections, start",
    "connections, end",
    "neurons, end",
    "s per epoch",
    "s in all",
    "ranks x threads",
)
LEGEND = (
    "Accuracies in %, mean ± standard deviation over {units}. Best on test is the best epoch as seen on the test "
    "samples: not a result. Seconds per epoch: median of training, syncs and evolution, without evaluation unless a "
    "server does it meanwhile; seconds in all: with evaluation. Ranks x threads: of all ranks, a server included."
)


def head(group: str) -> list[str]:
    """The first two lines; ``group`` says what the column of single accuracies has one of each for."""
    return ["| " + " | ".join(COLUMNS).format(group=group) + " |", "|---" * len(COLUMNS) + "|"]


def row(name: str, results: Sequence[Result | None]) -> str:
    """One variant's line; failed runs are counted, the others averaged."""
    done = [result for result in results if result is not None]
    n_failed = len(results) - len(done)
    failed = f"{n_failed} of {len(results)} runs failed" if n_failed else ""
    if not done:
        return f"| {name} | {failed} |" + " |" * (len(COLUMNS) - 2)
    cells = (
        f"{name} ({failed})" if failed else name,
        _accuracy([result.summary["test_accuracy"] for result in done]),
        ", ".join(_by_group(done)),
        _accuracy([result.summary["best_test_accuracy"] for result in done]),
        _count([result.epochs[0]["n_connections"] for result in done]),
        _count([result.summary["n_connections"] for result in done]),
        _count([result.summary["n_neurons"] for result in done]),
        f"{mean(result.seconds_per_epoch for result in done):.3g}",
        f"{mean(result.seconds_in_all for result in done):,.0f}",
        ", ".join(sorted({f"{result.summary['n_ranks']} x {result.summary['n_threads']}" for result in done})),
    )
    return "| " + " | ".join(cells) + " |"


def foot(units: str) -> list[str]:
    """Explanation of the columns, and the machine; ``units`` names the runs that are averaged."""
    versions = ", ".join(f"{name} {version}" for name, version in machine().items())
    return ["", LEGEND.format(units=units), "", versions]


def _by_group(results: Sequence[Result]) -> list[str]:
    """Mean accuracy of each seed or repetition."""
    groups = groupby(sorted(results, key=lambda result: result.group), key=lambda result: result.group)
    return [f"{100 * mean(result.summary['test_accuracy'] for result in members):.2f}" for _, members in groups]


def _accuracy(values: Sequence[float]) -> str:
    percent = [100 * value for value in values]
    deviation = f" ± {stdev(percent):.2f}" if len(percent) > 1 else ""
    return f"{mean(percent):.2f}{deviation}"


def _count(values: Sequence[int]) -> str:
    return f"{mean(values):,.0f}"
