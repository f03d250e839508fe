"""Accuracy of patterns N:M: of a dense network pruned once, trained again, with permutation, and of new networks."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.report import machine

from studies.catalogue import EXPERIMENTS
from studies.data_sets import make_data_set
from studies.run_log import RunLog
from studies.runs import HPC_SPARSE, ROOT, PlannedRun, result_of
from studies.strategies import with_deviation

CONFIGS = {"fashion_mnist": "fashion_mnist", "cifar10": "cifar10"}
"""Configuration in ``jobs/`` for each data set."""


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes
    ----------
    pattern : str
        "" for a dense network.
    start : {"new", "dense"}
        A new network, or the dense one after it has been pruned.
    search : str
        Order of neurons that is looked for before pruning, "" for none.
    is_trained : bool
        Whether it trains (again).
    is_csr : bool
        A new network of unstructured connections, as many as the pattern has.
    """

    pattern: str = ""
    start: str = "new"
    search: str = ""
    is_trained: bool = True
    is_csr: bool = False


ROWS = {
    "dense": Row(),
    "2:4 one-shot": Row("2:4", "dense", is_trained=False),
    "2:4 again": Row("2:4", "dense"),
    "2:4 swapped one-shot": Row("2:4", "dense", "channel_swap", is_trained=False),
    "2:4 swapped again": Row("2:4", "dense", "channel_swap"),
    **{f"{pattern} again": Row(pattern, "dense") for pattern in ("1:4", "2:8", "1:16", "26:256")},
    **{f"{pattern} new": Row(pattern) for pattern in ("2:4", "1:16", "26:256")},
    **{f"csr as {pattern}": Row(pattern, is_csr=True) for pattern in ("2:4", "1:16", "26:256")},
}
"""By the name in the table."""

KEY = ("data", "row", "seed")

COMMON = (
    "network.hidden=[1024, 1024, 1024]",
    "network.activation=relu",
    "network.initializer=he_fan_in",
    "data.augmentation=none",
    "evolution.strategy=static",
    "importance_pruning.mode=off",
)
"""The same for all rows."""

LEGEND = (
    "Test accuracy of the last epoch in %, mean ± standard deviation over the seeds, and the difference to `dense` of "
    "the same seed. one-shot: the dense network pruned by magnitude, not trained again; again: trained again from "
    "there with the same settings and as many epochs; swapped: with neurons in another order (channel swap); new: a "
    "new network with the pattern; csr: a new one of unstructured connections, as many in each layer."
)


@dataclass(frozen=True)
class Study:
    """Runs to compare.

    Attributes
    ----------
    data_sets, rows : sequence of str
    n_seeds, n_epochs, n_threads : int
        Threads of each run; 0 for all cores.
    runs : Path
        Folder of the run folders. Dense networks stay there, others until they are finished.
    """

    data_sets: Sequence[str]
    rows: Sequence[str]
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
                for row in self.rows:
                    yield dict(zip(KEY, (data, row, seed), strict=True))

    def planned(self, trial: dict[str, Any], start: Path | None = None) -> PlannedRun:
        """The run of a trial; ``start`` is the pruned checkpoint that it begins with."""
        row, seed = ROWS[trial["row"]], trial["seed"]
        settings = (
            *COMMON,
            *network_settings(row),
            f"training.epochs={self.n_epochs}",
            f"training.seed={seed}",
            f"checkpoint.every_epochs={self.n_epochs}",
            "checkpoint.keep_last=1",
            f"runtime.threads={self.n_threads}",
        )
        config = ROOT / "jobs" / f"{CONFIGS[trial['data']]}.toml"
        return PlannedRun(config, settings, 1, self._place(trial), seed, start)

    def pruned(self, trial: dict[str, Any]) -> Path:
        """Where the pruned dense network of a trial goes."""
        return self._place(trial).with_suffix(".h5")

    def _place(self, trial: dict[str, Any]) -> Path:
        name = trial["row"].replace(":", "-").replace(" ", "-")
        return self.runs / f"{trial['data']}-{name}-{self.n_epochs}-epochs-seed-{trial['seed']}"


def network_settings(row: Row) -> tuple[str, ...]:
    """Connections of a row; the output layer has all in each."""
    if not row.pattern:
        return ("network.connections=dense", "network.density=1.0")
    if not row.is_csr:
        return ("network.connections=n_of_m", f"network.pattern={row.pattern}", "network.density=1.0")
    n, m = (int(number) for number in row.pattern.split(":"))
    layers = ", ".join(f"{{n = 1024, density = {n / m}}}" for _ in range(3))
    return (f"network.layers=[{layers}]", "network.density=1.0")


def do_missing(study: Study, log: RunLog) -> Iterator[bool]:
    """Do the runs that are not in the log, one at a time; says of each whether it succeeded."""
    for name in study.data_sets:
        make_data_set(EXPERIMENTS[name], ROOT / "jobs" / f"{CONFIGS[name]}.toml")
    missing = [trial for trial in study.trials() if trial not in log]
    for number, trial in enumerate(missing, 1):
        found = _measured(study, trial)
        if found is not None:
            log.add(trial | found)
            named = " ".join(str(value) for value in trial.values())
            print(f"{number}/{len(missing)} {named}: {100 * found['accuracy']:.2f} %", file=sys.stderr, flush=True)
        yield found is not None


def _measured(study: Study, trial: dict[str, Any]) -> dict[str, Any] | None:
    """Accuracy, connections and time of a trial; None if a run has failed."""
    row, start = ROWS[trial["row"]], None
    if row.start == "dense":
        dense = study.planned({**trial, "row": "dense"})
        if result_of(dense) is None:
            return None
        pruned = _prune(study, trial, dense)
        if pruned is None or not row.is_trained:
            return pruned
        start = study.pruned(trial)
    result = result_of(study.planned(trial, start))
    if result is None:
        return None
    summary = result.summary
    found = {"accuracy": summary["test_accuracy"], "connections": summary["n_connections"]}
    return found | {"seconds": result.seconds_per_epoch}


def _prune(study: Study, trial: dict[str, Any], dense: PlannedRun) -> dict[str, Any] | None:
    """The dense network pruned to the pattern of a trial, and its accuracy; None if that failed."""
    row, target = ROWS[trial["row"]], study.pruned(trial)
    target.unlink(missing_ok=True)
    [checkpoint] = sorted((dense.folder / "checkpoints").glob("*.h5"))[-1:]
    command = [HPC_SPARSE, "model", "prune-pattern", str(checkpoint), row.pattern, "--output", str(target), "--json"]
    command += [
        "--data",
        str(ROOT / "data" / f"{trial['data']}.h5"),
        *(["--permute", row.search] if row.search else []),
    ]
    done = subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        return None
    after = json.loads(done.stdout)["sizes"][1]
    return {"accuracy": after["test_accuracy"], "connections": after["connections"], "seconds": 0.0}


def report(study: Study, log: RunLog) -> list[str]:
    """The lines of the report, of as many runs as are finished."""
    lines = [f"# Patterns, {study.n_epochs} epochs", "", LEGEND, ""]
    lines += [f"Common settings, beside those of the data set's file in `jobs/`: `{' '.join(COMMON)}`.", ""]
    lines += [", ".join(f"{name} {what}" for name, what in machine().items()), ""]
    for data in study.data_sets:
        lines += [f"## {data}", "", "| network | test accuracy | minus `dense` | connections | s per epoch | seeds |"]
        lines += ["|---" * 6 + "|"]
        by_row = {
            row: {record["seed"]: record for record in log if (record["data"], record["row"]) == (data, row)}
            for row in study.rows
        }
        lines += [_row(name, found, by_row.get("dense", {})) for name, found in by_row.items() if found]
        lines += [""]
    return lines


def _row(name: str, found: dict[int, dict[str, Any]], dense: dict[int, dict[str, Any]]) -> str:
    shared = sorted(found.keys() & dense.keys()) if name != "dense" else []
    gains = [100 * (found[seed]["accuracy"] - dense[seed]["accuracy"]) for seed in shared]
    seconds = mean(record["seconds"] for record in found.values())
    cells = (
        name,
        with_deviation([100 * found[seed]["accuracy"] for seed in sorted(found)]),
        with_deviation(gains, sign="+") if gains else "",
        f"{mean(record['connections'] for record in found.values()):,.0f}",
        f"{seconds:.3g}" if seconds else "",
        ", ".join(str(seed) for seed in sorted(found)),
    )
    return "| " + " | ".join(cells) + " |"
