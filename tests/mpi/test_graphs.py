"""Graphs on several ranks: the same bytes, and a model on a graph that trains and goes on to the same bits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hpc_sparse.errors import DataError, HpcSparseError, OutputError
from hpc_sparse.importers.graphs.importing import import_graph
from hpc_sparse.importers.graphs.npz import NpzGraph
from hpc_sparse.importers.graphs.options import Cut, Diffusion, GraphOptions
from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.parallel.collectives import barrier, on_root
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.parallel.row_exchange import fetch_rows
from hpc_sparse.partition import even_bounds
from hpc_sparse.runs.plan import RunRequest
from hpc_sparse.runs.run import train_run
from hpc_sparse.storage.checkpoint.file import read_checkpoint
from hpc_sparse.storage.checkpoint.folder import checkpoint_path

N, N_FEATURES, N_EPOCHS = 97, 6, 3
CUTS: tuple[tuple[Cut, bool], ...] = (("pre", False), ("pre", True), ("post", False), ("each", True))
CONFIG = f"""
[data]
path = "graph.h5"
[[network.layers]]
n = {3 * N_FEATURES}
kind = "tanh"
connections = "diagonal"
dropout = 0.2
[[network.layers]]
n = 11
[training]
epochs = {N_EPOCHS}
batch_size = 8
optimizer = "adagrad"
loss = "hinge"
[checkpoint]
every_epochs = 1
keep_last = {N_EPOCHS}
[runtime]
threads = 1
oversubscribe = true
"""


def write_graph(path: Path, *, is_sparse: bool, **changed: np.ndarray) -> None:
    """A weighted graph with a hub and nodes without edges."""
    rng = np.random.default_rng(3)
    ends = rng.integers(0, N - 5, (4 * N, 2))
    ends[::9, 0] = 2
    _, first = np.unique(np.sort(ends, axis=1), axis=0, return_index=True)
    ends = ends[np.sort(first)]
    x = rng.random((N, N_FEATURES), np.float32) * (rng.random((N, N_FEATURES)) < 0.5)
    arrays = {"edges": ends, "edge_weight": rng.random(len(ends)), "y": np.arange(N) % 3}
    if is_sparse:
        rows, columns = np.nonzero(x)
        indptr = np.searchsorted(rows, np.arange(N + 1))
        arrays |= {"feat_indptr": indptr, "feat_indices": columns, "feat_data": x[rows, columns]}
        arrays["feat_shape"] = np.array(x.shape)
    else:
        arrays["x"] = x.astype(np.float32)
    np.savez(path, **(arrays | changed))


def imported(ctx: ParallelContext, source: Path, target: Path, diffusion: Diffusion, *, is_directed: bool) -> bytes:
    options = GraphOptions(diffusion, is_directed=is_directed, overwrite=True)
    import_graph(ctx, NpzGraph(source), target, "graph", options)
    return on_root(ctx, target.read_bytes)


@pytest.mark.mpi(ranks=[1, 2, 3])
def test_ranks_change_no_byte_of_the_file_and_runs_go_on_bitwise(
    ctx: ParallelContext,
    folder: Path,
    same_error_everywhere: Callable[[type[HpcSparseError], Callable[[], object]], str],
) -> None:
    check_rows_arrive(ctx)
    alone = ParallelContext.serial(threads=1)
    for is_sparse in (False, True):
        source = folder / f"graph-{is_sparse}.npz"
        on_root(ctx, lambda source=source, is_sparse=is_sparse: write_graph(source, is_sparse=is_sparse))
        for cut, unit_length in CUTS:
            diffusion = Diffusion(2, 0.02, cut, unit_length)
            together = imported(ctx, source, folder / "graph.h5", diffusion, is_directed=cut == "pre")
            if ctx.is_root:
                name = folder / "alone" / "graph.h5"
                name.parent.mkdir(exist_ok=True)
                assert imported(alone, source, name, diffusion, is_directed=cut == "pre") == together
            barrier(ctx)
    check_refusals(ctx, folder, same_error_everywhere)
    check_training(ctx, folder)


def check_rows_arrive(ctx: ParallelContext) -> None:
    """Any rows, in any order and several times."""
    table = np.arange(70, dtype=np.float32).reshape(14, 5)
    bounds = even_bounds(14, ctx.size)
    own = table[bounds[ctx.rank] : bounds[ctx.rank + 1]]
    for wanted in (np.array([13, 0, 5, 5, 13]), np.empty(0, np.int64), np.arange(14)):
        mine = wanted if ctx.rank != 1 else wanted[::-1]
        np.testing.assert_array_equal(fetch_rows(ctx, bounds, own, mine), table[mine])


def check_refusals(
    ctx: ParallelContext,
    folder: Path,
    same_error_everywhere: Callable[[type[HpcSparseError], Callable[[], object]], str],
) -> None:
    wrong = folder / "wrong.npz"
    options = GraphOptions(Diffusion(1), overwrite=True)
    for changed, expected in (
        ({"edges": np.array([[0, 1], [N, 2]]), "edge_weight": np.ones(2)}, f"there is no node {N}"),
        ({"edges": np.array([[0, 1]]), "edge_weight": np.array([-1.0])}, "weight -1: must be >= 0"),
        ({"edges": np.array([[0, 1], [1, 0]]), "edge_weight": np.array([1.0, 2.0])}, "listed with two weights"),
        ({"x": np.full((N, 2), np.nan)}, "must be finite"),
    ):
        on_root(ctx, lambda changed=changed: write_graph(wrong, is_sparse=False, **changed))
        message = same_error_everywhere(
            DataError, lambda: import_graph(ctx, NpzGraph(wrong), folder / "no.h5", "", options)
        )
        assert expected in message
    source = folder / "graph-False.npz"
    message = same_error_everywhere(
        OutputError, lambda: import_graph(ctx, NpzGraph(source), folder / "graph.h5", "", GraphOptions(Diffusion(1)))
    )
    assert "exists already" in message


def check_training(ctx: ParallelContext, folder: Path) -> None:
    def write() -> None:
        (folder / "run.toml").write_text(CONFIG)

    on_root(ctx, write)
    for name, resume in (("run", None), ("again", "run")):
        start = None if resume is None else str(checkpoint_path(folder / resume / "checkpoints", 1))
        train_run(
            ctx, RunRequest(folder / "run.toml", (), folder / name, resume=start, is_debug=True), SilentReporter()
        )
        barrier(ctx)

    def compare() -> None:
        serial = ParallelContext.serial(threads=1)
        ends = [checkpoint_path(folder / name / "checkpoints", N_EPOCHS) for name in ("run", "again")]
        for layer, other in zip(*(read_checkpoint(serial, path).layers for path in ends), strict=True):
            for name, values in layer.arrays().items():
                np.testing.assert_array_equal(values, other.arrays()[name], err_msg=name)

    on_root(ctx, compare)
