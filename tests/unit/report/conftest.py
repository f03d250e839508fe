"""Run folders as training leaves them, written by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from hpc_sparse.config import RunConfig
from hpc_sparse.monitor.metrics import EpochMetrics, by_rank
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.layers.state import LayerState
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.report import sections
from hpc_sparse.runs.folder import RunFolder
from hpc_sparse.storage.checkpoint.file import write_checkpoint
from hpc_sparse.storage.checkpoint.folder import checkpoint_path
from hpc_sparse.storage.checkpoint.state import Checkpoint

MakeRun = Callable[..., Path]
PNG_START = b"\x89PNG\r\n\x1a\n"


def make_metrics(epoch: int, **changes: object) -> EpochMetrics:
    values = {
        "epoch": epoch,
        "train_loss": 2.0 / epoch,
        "train_accuracy": 0.5,
        "test_loss": 1.0 / epoch,
        "test_accuracy": 0.5 + 0.01 * epoch,
        "n_connections": 100,
        "connections_changed": 30,
        "train_seconds": 2.0,
        "evolve_seconds": 0.25,
        "sync_seconds": 0.5,
        "sync_bytes": 0,
        "evaluate_seconds": 0.125,
        "learning_rate": 0.1,
        "n_neurons": 40,
        "rank_seconds": by_rank([(2, 0.5, 0.25, 0.125, 1)]),
    }
    return EpochMetrics(**(values | changes))


@pytest.fixture
def make_run(tmp_path: Path, make_config: Callable[..., RunConfig]) -> MakeRun:
    """Make the folder of a run with so many epochs, by default without checkpoints."""

    def make(name: str = "run", n_epochs: int = 3, *overrides: str, **changes: object) -> Path:
        folder = RunFolder(tmp_path / name)
        folder.create(make_config(*overrides).to_toml())
        for epoch in range(1, n_epochs + 1):
            folder.append(make_metrics(epoch, **changes))
        return folder.path

    return make


@pytest.fixture
def quick_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let figures be made, but not laid out and turned into pixels, which is what takes time."""

    def make(draw: Callable[[], Figure]) -> bytes:
        assert draw().axes
        return PNG_START

    monkeypatch.setattr(sections, "to_png", make)


@pytest.fixture
def add_checkpoint(make_topology: Callable[..., Topology], make_config: Callable[..., RunConfig]) -> MakeRun:
    """Add the checkpoint of a network of 100-24-18-3 neurons to a run."""

    def add(run: Path, epoch: int) -> Path:
        rng, layers = np.random.default_rng(epoch), []
        for n_out, n_in in ((24, 100), (18, 24), (3, 18)):
            topology = make_topology(n_out, n_in, seed=epoch)
            weight = rng.standard_normal(topology.n_connections).astype(np.float32)
            bias = np.zeros(n_out, np.float32)
            layers.append(
                LayerState.sparse((n_out, n_in), "relu", topology.indptr, topology.indices, weight, bias, weight, bias)
            )
        checkpoint = Checkpoint(make_config().to_toml(), epoch, epoch * 10, 1, tuple(layers), {}, None)
        path = checkpoint_path(RunFolder(run).checkpoints, epoch)
        write_checkpoint(ParallelContext.serial(threads=1), path, checkpoint, "serial")
        return path

    return add
