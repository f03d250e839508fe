"""Starting the real command and reading what it measured of itself."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class RealRun:
    """A finished run of ``hpc-sparse train``.

    Attributes
    ----------
    epochs : list of dict
        The lines of ``metrics.jsonl``.
    process_seconds : float
        From starting the command to its end.
    recorded_seconds : float
        From starting the command to the end of the last epoch.
    """

    epochs: list[dict[str, float]]
    process_seconds: float
    recorded_seconds: float

    @property
    def epoch_seconds(self) -> float:
        """Seconds in epochs."""
        names = ("train_seconds", "sync_seconds", "evolve_seconds", "evaluate_seconds")
        return sum(epoch[name] for epoch in self.epochs for name in names)

    @property
    def first_step_seconds(self) -> float:
        """From starting the command to the first training step."""
        return self.recorded_seconds - self.epoch_seconds

    @property
    def other_seconds(self) -> float:
        """Seconds outside epochs: starting, loading, compiling, the checkpoint, leaving."""
        return self.process_seconds - self.epoch_seconds


def run_training(n_ranks: int, overrides: Sequence[str], cache: Path | None = None, root: Path = ROOT) -> RealRun:
    """Train jobs/fashion_mnist.toml with ``overrides``.

    With another kernel cache if one is named; ``root`` is the tree whose command runs.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [f"{root}/.venv/bin/hpc-sparse", "train", "jobs/fashion_mnist.toml"]
        command += [word for override in overrides for word in ("--set", override)]
        command += ["--output", f"{folder}/run", "--progress", "none"]
        if n_ranks > 1:
            command = ["bash", "-c", f'. jobs/openmpi.sh && exec mpirun -n {n_ranks} "$@"', "bash", *command]
        environment = os.environ | ({"XDG_CACHE_HOME": str(cache)} if cache else {})
        started = time.time()  # the clock that files carry
        subprocess.run(command, cwd=root, check=True, env=environment)
        seconds = time.time() - started
        metrics = Path(folder, "run", "metrics.jsonl")
        epochs = [json.loads(line) for line in metrics.read_text().splitlines()]
        return RealRun(epochs, seconds, metrics.stat().st_mtime - started)
