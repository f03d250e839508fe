"""Accuracy of samplings of images, and consistency of what they answer under shifts."""

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

from hpc_sparse.config import find_data, load_config
from hpc_sparse.network.optimizers.registry import make_optimizer
from hpc_sparse.network.replica import Replica
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.checkpoint.file import write_checkpoint
from hpc_sparse.storage.checkpoint.front_end import statistics_arrays
from hpc_sparse.storage.checkpoint.state import Checkpoint
from hpc_sparse.storage.dataset.file import read_info, read_statistics
from hpc_sparse.training.replica_states import initial_replica, replica_to_states
from studies.catalogue import Experiment
from studies.data_sets import make_data_set
from studies.run_log import RunLog
from studies.runs import HPC_SPARSE, ROOT, PlannedRun, result_of
from studies.strategies import with_deviation

DATA_SETS = {
    "fashion_mnist": Experiment(
        "fashion_mnist_32", "", ("fashion-mnist", "{target}", "--source", "{source}", "--padding", "2")
    ),
    "cifar10": Experiment("cifar10", "cifar10_jpegq75.npz", ("cifar10", "{source}", "{target}")),
}
"""By the name in the table; the configuration is ``jobs/polyphase_<name>.toml``."""

SAMPLINGS = ("stride", "blur", "polyphase", "polyphase_blur")

KEY = ("data", "sampling", "taps", "seed")

UNTRAINED = "untrained"
"""Value of the key ``state`` of networks before their first epoch."""

LEGEND = (
    "Test accuracy of the last epoch in %, mean ± standard deviation over the seeds, and the difference to `stride` of "
    "the same seed and share of taps. Consistency: share of pairs of shifts that give an image the same class; same "
    "bits: of outputs that are those of the image where it is. Circular: all shifts, around the edges; cropped: up to "
    "an eighth of a side, edges repeated. The worst of all seeds counts for circular shifts. Untrained: before the "
    "first epoch."
)


@dataclass(frozen=True)
class Study:
    """Runs to compare.

    Attributes
    ----------
    data_sets, samplings : sequence of str
    taps : sequence of float
    n_seeds, n_epochs, n_threads, n_images : int
        Threads of each run, 0 for all cores; images that are shifted.
    runs : Path
        Folder of the run folders.
    """

    data_sets: Sequence[str]
    samplings: Sequence[str]
    taps: Sequence[float]
    n_seeds: int
    n_epochs: int
    n_threads: int
    n_images: int
    runs: Path

    def open_log(self, path: Path) -> RunLog:
        """Results of runs with the same settings, finished before."""
        settings = {"epochs": self.n_epochs, "threads": self.n_threads, "images": self.n_images}
        return RunLog(path, settings, KEY)

    def trials(self) -> Iterator[dict[str, Any]]:
        """Keys of the runs in order, seed by seed, so that a table of the first seeds is fair."""
        for seed in range(self.n_seeds):
            for data in self.data_sets:
                for taps in self.taps:
                    for sampling in self.samplings:
                        yield dict(zip(KEY, (data, sampling, taps, seed), strict=True))

    def planned(self, trial: dict[str, Any]) -> PlannedRun:
        """The run of a trial."""
        place = self.runs / "-".join(str(trial[name]).replace(".", "_") for name in KEY)
        return PlannedRun(config_of(trial["data"]), self._settings(trial), 1, place, trial["seed"])

    def _settings(self, trial: dict[str, Any]) -> tuple[str, ...]:
        config = load_config(config_of(trial["data"]))
        layers = [layer.model_dump(exclude_none=True) for layer in config.network.layers or ()]
        for layer in layers:
            if layer.get("sampling", "none") != "none":
                layer["sampling"] = trial["sampling"]
        tables = ", ".join(
            "{" + ", ".join(f"{key} = {json.dumps(own)}" for key, own in layer.items()) + "}" for layer in layers
        )
        return (
            f"network.layers=[{tables}]",
            f"network.density={trial['taps']}",
            f"training.epochs={self.n_epochs}",
            f"training.seed={trial['seed']}",
            f"checkpoint.every_epochs={self.n_epochs}",
            "checkpoint.keep_last=1",
            f"runtime.threads={self.n_threads}",
        )


def config_of(data: str) -> Path:
    """The configuration of a data set."""
    return ROOT / "jobs" / f"polyphase_{data}.toml"


def do_missing(study: Study, log: RunLog) -> Iterator[bool]:
    """Do the runs that are not in the log, one at a time; says of each whether it succeeded."""
    for name in study.data_sets:
        make_data_set(DATA_SETS[name], config_of(name))
    missing = [trial for trial in study.trials() if trial not in log]
    for number, trial in enumerate(missing, 1):
        found = _measured(study, trial)
        if found is not None:
            log.add(trial | found)
            named = " ".join(str(value) for value in trial.values())
            print(f"{number}/{len(missing)} {named}: {100 * found['accuracy']:.2f} %", file=sys.stderr, flush=True)
        yield found is not None


def _measured(study: Study, trial: dict[str, Any]) -> dict[str, Any] | None:
    """Accuracy, time and consistency of a trial, trained and before; None if a run has failed."""
    run = study.planned(trial)
    result = result_of(run)
    if result is None:
        return None
    [checkpoint] = sorted((run.folder / "checkpoints").glob("*.h5"))[-1:]
    shifts = _shifts(study, trial, checkpoint)
    before = _shifts(study, trial, _untrained(run)) if trial["seed"] == 0 else []
    if shifts is None or before is None:
        return None
    return {
        "accuracy": result.summary["test_accuracy"],
        "parameters": result.summary["n_connections"],
        "seconds": result.seconds_per_epoch,
        "shifts": shifts,
        UNTRAINED: before,
    }


def _untrained(run: PlannedRun) -> Path:
    """A checkpoint of the network of a run before its first epoch."""
    target = run.folder.with_name(f"{run.folder.name}-{UNTRAINED}.h5")
    target.unlink(missing_ok=True)
    config = load_config(run.config, run.settings)
    data = find_data(config.data.path, run.config)
    replica = Replica.at_rest(initial_replica(config, read_info(data)).network, make_optimizer(config).state_types)
    state = Checkpoint(
        config_text=config.to_toml(),
        epoch=0,
        step=0,
        n_ranks=1,
        layers=replica_to_states(replica),
        metrics={},
        history_best=None,
        front_end=statistics_arrays(*(read_statistics(data) or (None, None))),
    )
    write_checkpoint(ParallelContext.serial(threads=1), target, state, "serial")
    return target


def _shifts(study: Study, trial: dict[str, Any], checkpoint: Path) -> list[dict[str, Any]] | None:
    """What ``hpc-sparse analyze shifts`` says; None if it failed."""
    data = find_data(load_config(config_of(trial["data"])).data.path, config_of(trial["data"]))
    command = [HPC_SPARSE, "analyze", "shifts", str(checkpoint), str(data), "--images", str(study.n_images), "--json"]
    done = subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.PIPE, text=True)
    return None if done.returncode else json.loads(done.stdout)["kinds"]


def report(study: Study, log: RunLog) -> list[str]:
    """The lines of the report, of as many runs as are finished."""
    lines = [f"# Samplings of images, {study.n_epochs} epochs", "", LEGEND, ""]
    lines += [", ".join(f"{name} {what}" for name, what in machine().items()), ""]
    head = (
        "sampling",
        "taps",
        "test accuracy",
        "minus `stride`",
        "circular, %",
        "same bits, %",
        "untrained: circular, %",
        "same bits, %",
        "cropped, %",
        "connections",
        "s per epoch",
        "seeds",
    )
    for data in study.data_sets:
        lines += [f"## {data}", "", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
        for taps in study.taps:
            own = [record for record in log if (record["data"], record["taps"]) == (data, taps)]
            by_sampling = {
                name: {record["seed"]: record for record in own if record["sampling"] == name}
                for name in study.samplings
            }
            stride = by_sampling.get("stride", {})
            lines += [_row(name, taps, found, stride) for name, found in by_sampling.items() if found]
        lines += [""]
    return lines


def _row(name: str, taps: float, found: dict[int, dict[str, Any]], stride: dict[int, dict[str, Any]]) -> str:
    shared = sorted(found.keys() & stride.keys()) if name != "stride" else []
    gains = [100 * (found[seed]["accuracy"] - stride[seed]["accuracy"]) for seed in shared]
    circular, cropped = zip(*(record["shifts"] for record in found.values()), strict=True)
    untrained = [record[UNTRAINED][0] for record in found.values() if record[UNTRAINED]]
    cells = (
        name.replace("_", " + "),
        f"{100 * taps:g} %",
        with_deviation([100 * found[seed]["accuracy"] for seed in sorted(found)]),
        with_deviation(gains, sign="+") if gains else "",
        *_least(circular),
        *_least(untrained),
        f"{100 * mean(each['consistency'] for each in cropped):.2f}",
        f"{mean(record['parameters'] for record in found.values()):,.0f}",
        f"{mean(record['seconds'] for record in found.values()):.3g}",
        ", ".join(str(seed) for seed in sorted(found)),
    )
    return "| " + " | ".join(cells) + " |"


def _least(records: Sequence[dict[str, Any]]) -> tuple[str, str]:
    """The least consistency and share of equal bits, in %."""
    if not records:
        return "", ""
    return tuple(f"{100 * min(each[name] for each in records):.3f}" for name in ("consistency", "same_bits"))
