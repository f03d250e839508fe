"""Accuracy and time of every evolution strategy and of the static topology, at several densities."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

from benchmarks.report import machine

from studies.catalogue import EXPERIMENTS
from studies.data_sets import make_data_set
from studies.paper import config_of
from studies.run_log import RunLog
from studies.runs import PlannedRun, Result, result_of

DATA_SETS = ("madelon", "fashion_mnist", "cifar10")
DENSITIES = (0.05, 0.01, 0.002)

STRATEGIES: dict[str, tuple[str, ...]] = {
    "static": ("evolution.strategy=static",),
    "set": ("evolution.strategy=set", "network.initializer=he_uniform"),
    "set_fan_in": ("evolution.strategy=set",),
    "set_zero": ("evolution.strategy=set", "evolution.grown_weights=zero"),
    "rigl": ("evolution.strategy=rigl",),
    "srigl": ("evolution.strategy=srigl",),
    "gse": ("evolution.strategy=gse",),
    "snfs": ("evolution.strategy=snfs",),
    "deep_r": ("evolution.strategy=deep_r",),
    "top_kast": ("evolution.strategy=top_kast", "evolution.top_kast.acting_share=0.5"),
    "cht": ("evolution.strategy=cht",),
}
"""Settings of each strategy, by its name in the tables."""

BESIDE = {
    "dense": ("evolution.strategy=static", "network.connections=dense"),
    "pruned": (
        "evolution.strategy=set",
        "evolution.drop_fraction=0",
        "network.density=1",
        "evolution.final_density={density}",
        "evolution.end_epoch={three_quarters}",
    ),
}
"""Rows for comparison: a dense network, and one that begins dense and is pruned by magnitude to the same size."""

COMMON = (
    "network.budget=erdos_renyi",
    "network.initializer=he_fan_in",
    "data.augmentation=none",
    "importance_pruning.mode=off",
)
"""The same for all but `set`: at these densities, weights drawn for dense fan-ins vanish."""

ROWS = STRATEGIES | BESIDE
KEY = ("data", "density", "strategy", "seed")
REFERENCE = "set"

LEGEND = (
    "Test accuracy of the last epoch in %, mean ± standard deviation over the seeds; difference to `set` with the same "
    "seed, likewise; seconds per epoch: median of training and evolution, without evaluation, mean over the seeds; "
    "times `set`: median of the ratios to `set` with the same seed, which ran minutes before or after. The density is "
    "that of the whole network, larger in smaller layers (`erdos_renyi`). `top_kast` stores as many connections as the "
    "others, of which half act; `set_zero` is `set` whose grown connections begin with 0, as those of gradient-guided "
    "strategies do, instead of a weight as large as an initial one. `set` has the initial weights of its authors "
    "(`he_uniform`), drawn for dense layers, all others those of `he_fan_in`, which are 4 to 22 times larger here; "
    "`set_fan_in` is `set` with these. Schedules of the dropped share are those of each strategy's authors (`auto`). "
    "`pruned` begins dense and is pruned by magnitude to the same connections until three quarters of the epochs; "
    "`dense` has all connections. Nothing was tuned for a strategy: all have the defaults of the program."
)


@dataclass(frozen=True)
class Study:
    """Runs to compare.

    Attributes
    ----------
    data_sets, strategies : sequence of str
    densities : sequence of float
    n_seeds, n_epochs, n_threads : int
        Threads of each run; 0 for all cores.
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
        settings = {"epochs": self.n_epochs, "threads": self.n_threads, "common": list(COMMON)}
        return RunLog(path, settings, KEY)

    def trials(self) -> Iterator[dict[str, Any]]:
        """Keys of the runs in order, seed by seed, so that a table of the first seeds is fair."""
        for seed in range(self.n_seeds):
            for data in self.data_sets:
                for density in self.densities:
                    for strategy in self.strategies:
                        if strategy != "dense" or density == self.densities[0]:
                            yield dict(zip(KEY, (data, density, strategy, seed), strict=True))

    def planned(self, trial: dict[str, Any]) -> PlannedRun:
        """The run of a trial."""
        data, strategy, seed = trial["data"], trial["strategy"], trial["seed"]
        own = [
            each.format(density=trial["density"], three_quarters=max(1, 3 * self.n_epochs // 4))
            for each in ROWS[strategy]
        ]
        settings = (
            *COMMON,
            f"network.density={trial['density']}",
            *own,
            f"training.epochs={self.n_epochs}",
            f"training.seed={seed}",
            f"checkpoint.every_epochs={self.n_epochs}",
            "checkpoint.keep_last=1",
            f"runtime.threads={self.n_threads}",
        )
        folder = self.runs / f"{data}-{trial['density']}-{strategy}-{self.n_epochs}-epochs-seed-{seed}"
        return PlannedRun(config_of(EXPERIMENTS[data]), settings, 1, folder, seed)


def measured(result: Result) -> dict[str, Any]:
    """Measurements kept of a run."""
    return {
        "accuracy": result.summary["test_accuracy"],
        "seconds": result.seconds_per_epoch,
        "connections": result.summary["n_connections"],
        "threads": result.summary["n_threads"],
    }


def do_missing(study: Study, log: RunLog) -> Iterator[bool]:
    """Do the runs that are not in the log, one at a time; says of each whether it succeeded."""
    for name in study.data_sets:
        make_data_set(EXPERIMENTS[name], config_of(EXPERIMENTS[name]))
    missing = [trial for trial in study.trials() if trial not in log]
    for number, trial in enumerate(missing, 1):
        run = study.planned(trial)
        result = result_of(run)
        if result is not None:
            found = measured(result)
            log.add(trial | found)
            shutil.rmtree(run.folder)
            named = " ".join(str(value) for value in trial.values())
            print(f"{number}/{len(missing)} {named}: {100 * found['accuracy']:.2f} %", file=sys.stderr, flush=True)
        yield result is not None


def report(study: Study, log: RunLog) -> list[str]:
    """The lines of the report, of as many runs as are finished."""
    lines = [f"# Evolution strategies, {study.n_epochs} epochs", "", LEGEND, ""]
    lines += [f"Common settings, beside those of the data set's file in `jobs/`: `{' '.join(COMMON)}`.", ""]
    lines += [", ".join(f"{name} {what}" for name, what in machine().items()), ""]
    for data in study.data_sets:
        records = [record for record in log if record["data"] == data and record["seed"] < study.n_seeds]
        lines += _section(study, data, records)
    return lines


def _section(study: Study, data: str, records: Sequence[dict[str, Any]]) -> list[str]:
    columns = ("density", "strategy", "test accuracy", "each seed", "minus `set`", "s per epoch", "times `set`")
    lines = [f"## {data}", "", f"| {' | '.join(columns)} | connections |", "|---" * (len(columns) + 1) + "|"]
    for density in study.densities:
        by_strategy = {
            strategy: {
                record["seed"]: record
                for record in records
                if (record["density"], record["strategy"]) == (density, strategy)
            }
            for strategy in study.strategies
        }
        reference = by_strategy.get(REFERENCE, {})
        lines += [_row(density, name, found, reference) for name, found in by_strategy.items() if found]
    return [*lines, ""]


def _row(density: float, name: str, found: dict[int, dict[str, Any]], reference: dict[int, dict[str, Any]]) -> str:
    accuracies = [100 * found[seed]["accuracy"] for seed in sorted(found)]
    shared = sorted(found.keys() & reference.keys()) if name != REFERENCE else []
    gains = [100 * (found[seed]["accuracy"] - reference[seed]["accuracy"]) for seed in shared]
    ratios = [found[seed]["seconds"] / reference[seed]["seconds"] for seed in shared]
    cells = (
        f"{density:g}",
        f"`{name}`",
        with_deviation(accuracies),
        ", ".join(f"{accuracy:.2f}" for accuracy in accuracies),
        with_deviation(gains, sign="+") if gains else "",
        f"{mean(record['seconds'] for record in found.values()):.3g}",
        f"{median(ratios):.2f}" if ratios else "",
        f"{mean(record['connections'] for record in found.values()):,.0f}",
    )
    return "| " + " | ".join(cells) + " |"


def with_deviation(values: Sequence[float], sign: str = "") -> str:
    """Mean, and standard deviation if there are several values."""
    deviation = f" ± {stdev(values):.2f}" if len(values) > 1 else ""
    return f"{mean(values):{sign}.2f}{deviation}"
