"""Starting one run, unless it is finished already, and reading its result."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import typer

from hpc_sparse.config import RunConfig, load_config

ROOT = Path(__file__).resolve().parents[2]
HPC_SPARSE = str(Path(sys.executable).with_name("hpc-sparse"))
EPOCH_TIMES = ("train_seconds", "sync_seconds", "evolve_seconds")
SERVED_TIMES = ("train_seconds", "evolve_seconds")


@dataclass(frozen=True)
class PlannedRun:
    """A run that may or may not have been done.

    Attributes
    ----------
    config : Path
    settings : tuple of str
        ``section.key=value`` each.
    n_ranks : int
    folder : Path
        Run folder.
    group : int
        Its seed, or the repetition that its fold belongs to.
    start : Path or None
        Checkpoint that it begins with; None for a new network.
    """

    config: Path
    settings: tuple[str, ...]
    n_ranks: int
    folder: Path
    group: int
    start: Path | None = None

    @property
    def command(self) -> list[str]:
        """The words that start it, from the repository's root."""
        command = [HPC_SPARSE, "train", str(self.config), "--output", str(self.folder)]
        command += [word for setting in self.settings for word in ("--set", setting)]
        is_begun = self.start is None or (self.folder / "checkpoints").exists()
        command += ["--resume", "auto" if is_begun else str(self.start), "--progress", "none"]
        if self.n_ranks == 1:
            return command
        return ["bash", "-c", f'. jobs/openmpi.sh && exec mpirun -n {self.n_ranks} "$@"', "bash", *command]

    def __str__(self) -> str:
        start = f"mpirun -n {self.n_ranks} " if self.n_ranks > 1 else ""
        return start + shlex.join(["hpc-sparse", *self.command[self.command.index(HPC_SPARSE) + 1 :]])


@dataclass(frozen=True)
class Result:
    """Result of a finished run: ``summary.json`` and the lines of ``metrics.jsonl``."""

    group: int
    summary: dict[str, Any]
    epochs: list[dict[str, Any]]

    @property
    def seconds_per_epoch(self) -> float:
        """Median of training, syncs and evolution; evaluation is left out, unless a server does it meanwhile."""
        return median(_seconds(epoch) for epoch in self.epochs)

    @property
    def seconds_in_all(self) -> float:
        """Seconds of all epochs with their evaluation, also of those before the run was resumed."""
        return sum(_seconds(epoch) + (0.0 if _is_served(epoch) else epoch["evaluate_seconds"]) for epoch in self.epochs)


def _seconds(epoch: dict[str, Any]) -> float:
    """Seconds of an epoch; those of a server include the workers' waiting and the evaluation."""
    return sum(epoch[name] for name in (SERVED_TIMES if _is_served(epoch) else EPOCH_TIMES))


def _is_served(epoch: dict[str, Any]) -> bool:
    return bool(epoch.get("staleness_counts"))


def result_of(run: PlannedRun) -> Result | None:
    """Do a run that is not finished, and read its result; None if it failed."""
    if not is_finished(run):
        finished = subprocess.run(run.command, cwd=ROOT, check=False)
        if finished.returncode:
            print(f"experiments: failed with exit code {finished.returncode}: {run}", file=sys.stderr, flush=True)
            return None
    summary = json.loads((run.folder / "summary.json").read_text())
    lines = (run.folder / "metrics.jsonl").read_text().splitlines()
    return Result(run.group, summary, [json.loads(line) for line in lines])


def is_finished(run: PlannedRun) -> bool:
    """Whether the run folder has a result of this very run; a folder of another run ends the program."""
    stored = run.folder / "config.toml"
    if not stored.exists():
        return False
    if _what_counts(load_config(stored)) != _what_counts(load_config(run.config, run.settings)):
        print(
            f"experiments: error: {run.folder} holds a run with other settings; choose another --runs", file=sys.stderr
        )
        raise typer.Exit(2)
    summary = run.folder / "summary.json"
    if not summary.exists():
        return False
    n_ranks = json.loads(summary.read_text())["n_ranks"]
    if n_ranks != run.n_ranks:
        print(f"experiments: error: {run.folder} holds a run on {n_ranks} ranks, not {run.n_ranks}", file=sys.stderr)
        raise typer.Exit(2)
    return True


def _what_counts(config: RunConfig) -> dict[str, Any]:
    return config.model_dump(exclude={"runtime", "checkpoint"})
