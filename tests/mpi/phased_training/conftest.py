"""Whole runs of WASAP-SGD and WASSP-SGD on all ranks of a test, with the checks of the debug mode on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpc_sparse.monitor.metrics import CLOCK_FIELDS
from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.parallel.collectives import barrier, on_root
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.runs.plan import RunRequest
from hpc_sparse.runs.run import train_run
from hpc_sparse.storage.checkpoint.file import read_replicas
from hpc_sparse.storage.checkpoint.folder import checkpoint_path

CONFIG = """
[data]
path = "data.h5"
[network]
hidden = [24, 17]
epsilon = 4
dropout = 0.1
[training]
epochs = 4
batch_size = 16
[optimizer]
learning_rate = 0.02
[parallel]
algorithm = "wasap"
phase2_share = 0
[checkpoint]
every_epochs = 9
keep_last = 9
[runtime]
threads = 1
oversubscribe = true
"""


class Runs:
    """Trains in folders ``run-1``, ``run-2`` and so on, the same on all ranks."""

    def __init__(self, ctx: ParallelContext, folder: Path, write_data: Callable[..., Path]) -> None:
        self._ctx, self._write_data, self.folder = ctx, write_data, folder
        self._n_runs = 0
        on_root(ctx, lambda: (folder / "run.toml").write_text(CONFIG))
        self.data()

    def data(self, **options: Any) -> None:
        """Replace the data set."""

        def write() -> None:
            (self.folder / "data.h5").unlink(missing_ok=True)
            self._write_data(self.folder / "data.h5", **options)

        on_root(self._ctx, write)

    def __call__(
        self,
        *overrides: str,
        context: ParallelContext | None = None,
        resume: Path | None = None,
        reporter: Any = None,
        name: str | None = None,
    ) -> tuple[list[dict[str, Any]], Path]:
        """The metrics without times, and the folder of the run."""
        self._n_runs += 1
        output = self.folder / (name or f"run-{self._n_runs}")
        context = context or self._ctx
        request = RunRequest(
            self.folder / "run.toml", overrides, output, None if resume is None else str(resume), is_debug=True
        )
        train_run(context, request, reporter or SilentReporter())
        barrier(context)
        return _metrics_of(output), output

    @staticmethod
    def checkpoint(folder: Path, epoch: int) -> Path:
        """Path of a run's checkpoint after an epoch."""
        return checkpoint_path(folder / "checkpoints", epoch)

    def state(self, folder: Path, epoch: int) -> list[bytes]:
        """Every array of every network in such a checkpoint."""
        return [
            array.tobytes()
            for checkpoint in read_replicas(self.checkpoint(folder, epoch))
            for layer in checkpoint.layers
            for array in layer.arrays().values()
        ]

    def layer_sizes(self, folder: Path, epoch: int) -> list[int]:
        """Connections of each layer in such a checkpoint."""
        return [layer.connections["input"].n_units for layer in read_replicas(self.checkpoint(folder, epoch))[0].layers]


@pytest.fixture
def run(ctx: ParallelContext, mpi_tmp_path: Path, write_small_data: Callable[..., Path]) -> Runs:
    """Train in the folder of the test."""
    return Runs(ctx, mpi_tmp_path, write_small_data)


def _metrics_of(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in CLOCK_FIELDS} for line in lines]
