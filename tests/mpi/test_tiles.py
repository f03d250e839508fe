"""Runs whose batches have several tiles: their width changes rounding alone, and a pruned network goes on as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from hpc_sparse.kernels.simd.machine import WIDTHS, tile_width
from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.parallel.collectives import barrier
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.runs.plan import RunRequest
from hpc_sparse.runs.run import train_run
from hpc_sparse.storage.checkpoint.file import read_checkpoint
from hpc_sparse.storage.checkpoint.folder import checkpoint_path
from hpc_sparse.storage.checkpoint.state import Checkpoint

CONFIG = """
[data]
path = "data.h5"
[network]
hidden = [40, 17]
epsilon = 4
dropout = 0.1
[training]
epochs = 4
batch_size = 64
[optimizer]
learning_rate = 0.02
[importance_pruning]
percentile = 20
every_epochs = 1
[checkpoint]
every_epochs = 1
keep_last = 4
[runtime]
threads = 1
oversubscribe = true
"""
PARALLEL = (
    ("parallel.replica_topology=shared",),
    ("parallel.replica_topology=independent",),
    ("parallel.algorithm=wassp",),
)


def run(ctx: ParallelContext, folder: Path, name: str, *overrides: str, resume: Path | None = None) -> Path:
    """Train, and give the folder of checkpoints."""
    start = None if resume is None else str(resume)
    request = RunRequest(folder / "run.toml", overrides, folder / name, resume=start, is_debug=True)
    train_run(ctx, request, SilentReporter())
    barrier(ctx)
    return folder / name / "checkpoints"


def after(folder: Path, epoch: int) -> Checkpoint:
    """What a checkpoint in a folder holds."""
    return read_checkpoint(ParallelContext.serial(threads=1), checkpoint_path(folder, epoch))


@pytest.mark.mpi(ranks=[2])
def test_the_width_of_tiles_changes_rounding_alone(
    ctx: ParallelContext, folder: Path, use_tile_width: Callable[[Callable[[Iterable[int]], int]], None]
) -> None:
    # 83 samples a rank: a batch of 64 columns, and one of 19 samples in 32.
    static = ("evolution.strategy=static", "parallel.sync_every_steps=1", "training.epochs=2")
    for number, parallel in enumerate(PARALLEL):
        ends = []
        for width in WIDTHS:
            use_tile_width(lambda _, width=width: width)
            ends.append(after(run(ctx, folder, f"{number}-{width}", *static, *parallel), 2))
        for one, other in pairwise(ends):
            assert one.metrics["train_loss"] == pytest.approx(other.metrics["train_loss"], rel=1e-5)
            for layer, same in zip(one.layers, other.layers, strict=True):
                for name, values in layer.arrays().items():
                    np.testing.assert_allclose(values, same.arrays()[name], rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.mpi(ranks=[1, 2])
def test_a_pruned_network_goes_on_bit_by_bit_where_a_narrower_one_has_wider_tiles(
    ctx: ParallelContext, folder: Path, use_tile_width: Callable[[Callable[[Iterable[int]], int]], None]
) -> None:
    chosen = partial(tile_width, lanes=8, l2_bytes=2 * 4 * 64 * 36)
    use_tile_width(chosen)
    pruning = ("importance_pruning.mode=compact", "importance_pruning.after_epoch=1")
    for number, parallel in enumerate(PARALLEL):
        whole = run(ctx, folder, f"{number}-whole", *pruning, *parallel)
        parts = run(ctx, folder, f"{number}-parts", *pruning, *parallel, resume=checkpoint_path(whole, 3))
        before, at_last = ([layer.shape[0] for layer in after(whole, epoch).layers] for epoch in (1, 3))
        assert chosen([30, *before]) < chosen([30, *at_last])
        for layer, same in zip(after(whole, 4).layers, after(parts, 4).layers, strict=True):
            for name, values in layer.arrays().items():
                np.testing.assert_array_equal(values, same.arrays()[name], err_msg=name)
