"""Rates and dropout of strategies at low densities: chosen on a validation part, then tested once."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.report import machine

from studies.catalogue import EXPERIMENTS
from studies.data_sets import make_data_set
from studies.paper import config_of
from studies.run_log import RunLog
from studies.runs import PlannedRun, result_of
from studies.strategies import COMMON, STRATEGIES, with_deviation

DATA_SETS = ("fashion_mnist", "cifar10")
DENSITIES = (0.01, 0.002)
CANDIDATES = ("gse", "snfs", "rigl", "set_zero", "static")
KEY = ("data", "density", "strategy", "dropout", "rate", "schedule", "part", "seed")
PUBLISHED = (0.3, 0.01, "constant")
"""Dropout, rate and schedule of all strategies in strategies.md, those of the paper."""

CHOICES = (PUBLISHED, *product((0.3, 0.0), (0.01, 0.03, 0.1), ("cosine",)))

LEGEND = (
    "Learning rate, its schedule and dropout are chosen for each data set, density and strategy by the accuracy on a "
    "tenth of the training samples that is held out (one seed); the networks are then trained on all training samples "
    "with the chosen settings and tested after the last epoch: mean ± standard deviation over the seeds, in %. The "
    "settings of strategies.md are dropout 0.3 and a constant rate of 0.01, the paper's. Everything else is as there."
)


@dataclass(frozen=True)
class Study:
    """Runs to choose from and to test.

    Attributes
    ----------
    data_sets, strategies : sequence of str
    densities : sequence of float
    n_seeds, n_epochs, n_threads : int
        Seeds of the tests; threads of each run, 0 for all cores.
    runs : Path
        Folder of the run folders until they are finished.
    """

    data_sets: Sequence[str]
    densities: Sequence[float]
    strategies: Sequence[str]
    n_seeds: int
    n_epochs: int
    n_threads: int
    runs: Path

    def open_log(self, path: Path) -> RunLog:
        """Results of runs with the same settings, finished before."""
        return RunLog(path, {"epochs": self.n_epochs, "threads": self.n_threads, "common": list(COMMON)}, KEY)

    def cases(self) -> Iterator[tuple[str, float, str]]:
        """Data set, density and strategy of each row."""
        yield from product(self.data_sets, self.densities, self.strategies)

    def planned(self, trial: dict[str, Any]) -> PlannedRun:
        """The run of a trial."""
        settings = (
            *COMMON,
            *STRATEGIES[trial["strategy"]],
            f"network.density={trial['density']}",
            f"network.dropout={trial['dropout']}",
            f"optimizer.learning_rate={trial['rate']}",
            f"optimizer.schedule={trial['schedule']}",
            f"data.validation_fraction={0.1 if trial['part'] == 'validation' else 0}",
            f"training.epochs={self.n_epochs}",
            f"training.seed={trial['seed']}",
            f"checkpoint.every_epochs={self.n_epochs}",
            "checkpoint.keep_last=1",
            f"runtime.threads={self.n_threads}",
        )
        folder = self.runs / "-".join(str(trial[name]) for name in KEY)
        return PlannedRun(config_of(EXPERIMENTS[trial["data"]]), settings, 1, folder, trial["seed"])


def do_missing(study: Study, log: RunLog) -> Iterator[bool]:
    """Do the runs that are not in the log; says of each whether it succeeded. Tests come when the choice is made."""
    for name in study.data_sets:
        make_data_set(EXPERIMENTS[name], config_of(EXPERIMENTS[name]))
    for case in study.cases():
        for choice in CHOICES:
            yield from _do(study, log, _trial(case, *choice, "validation", 0))
        best = chosen(log, case)
        if best is None:
            continue
        for seed in range(study.n_seeds):
            yield from _do(study, log, _trial(case, best["dropout"], best["rate"], best["schedule"], "test", seed))


def _trial(case: tuple[str, float, str], *others: Any) -> dict[str, Any]:
    return dict(zip(KEY, (*case, *others), strict=True))


def _do(study: Study, log: RunLog, trial: dict[str, Any]) -> Iterator[bool]:
    if trial in log:
        return
    run = study.planned(trial)
    result = result_of(run)
    if result is not None:
        accuracy = result.epochs[-1][f"{trial['part']}_accuracy"]
        found = {
            "accuracy": accuracy,
            "seconds": result.seconds_per_epoch,
            "connections": result.summary["n_connections"],
        }
        log.add(trial | found)
        shutil.rmtree(run.folder)
        print(*trial.values(), f"{100 * accuracy:.2f} %", file=sys.stderr, flush=True)
    yield result is not None


def _of_case(log: RunLog, case: tuple[str, float, str], part: str) -> list[dict[str, Any]]:
    return [each for each in log if (each["data"], each["density"], each["strategy"], each["part"]) == (*case, part)]


def chosen(log: RunLog, case: tuple[str, float, str]) -> dict[str, Any] | None:
    """The run with the best accuracy on the validation part; None before there is any."""
    return max(_of_case(log, case, "validation"), key=lambda each: float(each["accuracy"]), default=None)


def report(study: Study, log: RunLog) -> list[str]:
    """The lines of the report, of as many runs as are finished."""
    lines = [f"# Settings of strategies at low densities, {study.n_epochs} epochs", "", LEGEND, ""]
    lines += [", ".join(f"{name} {what}" for name, what in machine().items()), ""]
    columns = (
        "density",
        "strategy",
        "dropout",
        "rate",
        "schedule",
        "validation",
        "of strategies.md",
        "test",
        "each seed",
    )
    for data in study.data_sets:
        lines += [f"## {data}", "", f"| {' | '.join(columns)} | connections |", "|---" * (len(columns) + 1) + "|"]
        lines += [row for case in study.cases() if case[0] == data and (row := _row(study, log, case))]
        lines += [""]
    return lines


def _row(study: Study, log: RunLog, case: tuple[str, float, str]) -> str | None:
    best = chosen(log, case)
    if best is None:
        return None
    published = [
        each["accuracy"]
        for each in _of_case(log, case, "validation")
        if (each["dropout"], each["rate"], each["schedule"]) == PUBLISHED
    ]
    tests = {
        each["seed"]: 100 * each["accuracy"] for each in _of_case(log, case, "test") if each["seed"] < study.n_seeds
    }
    cells = (
        f"{case[1]:g}",
        f"`{case[2]}`",
        f"{best['dropout']:g}",
        f"{best['rate']:g}",
        best["schedule"],
        f"{100 * best['accuracy']:.2f}",
        f"{100 * mean(published):.2f}" if published else "",
        with_deviation(list(tests.values())) if tests else "",
        ", ".join(f"{tests[seed]:.2f}" for seed in sorted(tests)),
        f"{best['connections']:,}",
    )
    return "| " + " | ".join(cells) + " |"
