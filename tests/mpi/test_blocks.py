"""Connections in blocks on several ranks: they evolve, are pruned, shrink, and go on to the same bits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpc_sparse.errors import ConfigError, HpcSparseError
from hpc_sparse.inference import load_model
from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.network.layers.protocol import Layer
from hpc_sparse.parallel.collectives import barrier, on_root
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.runs.plan import RunRequest
from hpc_sparse.runs.run import train_run
from hpc_sparse.storage.checkpoint.file import read_checkpoint
from hpc_sparse.storage.checkpoint.folder import checkpoint_path

N_EPOCHS = 4
CONFIG = f"""
[data]
path = "data.h5"
[network]
hidden = [37, 24]
density = 0.9
connections = "block"
block = [4, 8]
[training]
epochs = {N_EPOCHS}
batch_size = 20
[optimizer]
learning_rate = 0.05
[evolution]
strategy = "static"
[block_pruning]
every_steps = 2
after_epoch = 0
[checkpoint]
every_epochs = 1
keep_last = {N_EPOCHS}
[runtime]
threads = 1
oversubscribe = true
"""
PRUNED, LASSO = "block_pruning.threshold=0.45", "group_lasso.strength=0.5"
RECURRENT = ("data.path=sequences.h5", "network.layers=[{kind='recurrent', n=24}]", "network.block=[4, 4]")
OWN_LASSO = ("group_lasso.strength=0.1", "group_lasso.recurrent_strength=0.6")
RUNS: dict[str, tuple[str, ...]] = {
    "lasso": (LASSO, "evolution.strategy=set"),
    "both": (PRUNED, LASSO),
    "served": (PRUNED, LASSO, "parallel.algorithm=wassp", "parallel.phase2_share=0.2"),
    "recurrent pruned": (*RECURRENT, "block_pruning.recurrent_threshold=0.5", "network.density=1.0"),
    "recurrent both": (
        *RECURRENT,
        *("block_pruning.threshold=0.9", "block_pruning.recurrent_threshold=0.4"),
        *OWN_LASSO,
    ),
    "independent": ("evolution.strategy=rigl", "parallel.replica_topology=independent", "network.density=0.5"),
}


def train(ctx: ParallelContext, folder: Path, name: str, overrides: tuple[str, ...], resume: Path | None) -> list[int]:
    """Blocks of each map of hidden layers in the end."""
    request = RunRequest(folder / "run.toml", overrides, folder / name, resume=None if resume is None else str(resume))
    train_run(ctx, request, SilentReporter())
    barrier(ctx)
    return on_root(ctx, lambda: check_blocks(checkpoint_path(folder / name / "checkpoints", N_EPOCHS)))


def check_blocks(path: Path) -> list[int]:
    """Weights beyond the layer are 0, and no block that was kept is; the numbers of blocks of hidden layers."""
    numbers = []
    for connections in (each for layer in load_model(path, threads=1).network.layers[:-1] for each in maps_of(layer)):
        n_out, n_in = connections.shape
        dense = connections.to_bsr().toarray()
        assert not dense[n_out:].any()
        assert not dense[:, n_in:].any()
        assert np.isfinite(connections.weight).all()
        numbers.append(connections.topology.n_connections)
    return numbers


def maps_of(layer: Layer) -> Iterable[Any]:
    """The maps of a layer."""
    return layer.connections().values()


def check_same(one: Path, other: Path) -> None:
    serial = ParallelContext.serial(threads=1)
    for layer, again in zip(*(read_checkpoint(serial, path).layers for path in (one, other)), strict=True):
        for name, values in layer.arrays().items():
            np.testing.assert_array_equal(values, again.arrays()[name], err_msg=name)


@pytest.mark.mpi(ranks=[1, 2, 3])
def test_blocks_go_and_stay_away_and_runs_go_on_bitwise(
    ctx: ParallelContext,
    folder: Path,
    write_small_data: Callable[..., Path],
    same_error_everywhere: Callable[[type[HpcSparseError], Callable[[], object]], str],
) -> None:
    on_root(ctx, lambda: write_small_data(folder / "sequences.h5", time_steps=5))
    n_blocks = {}
    for name, overrides in RUNS.items():
        if ctx.size == 1 and "parallel" in " ".join(overrides):
            continue
        n_blocks[name] = train(ctx, folder, name, overrides, None)
        middle = checkpoint_path(folder / name / "checkpoints", 1)
        train(ctx, folder, f"{name}-again", overrides, middle)
        ends = [checkpoint_path(folder / each / "checkpoints", N_EPOCHS) for each in (name, f"{name}-again")]
        on_root(ctx, lambda ends=ends: check_same(*ends))
    firsts = {
        name: on_root(ctx, lambda name=name: check_blocks(checkpoint_path(folder / name / "checkpoints", 1)))
        for name in ("both", "recurrent both", "recurrent pruned")
    }
    assert all(0 < now < then for now, then in zip(n_blocks["both"], firsts["both"], strict=True)), n_blocks["both"]
    changes = list(zip(n_blocks["recurrent both"], firsts["recurrent both"], strict=True))
    assert all(0 < now <= then for now, then in changes), changes
    assert any(now < then for now, then in changes), changes
    input_blocks, recurrent_blocks = n_blocks["recurrent pruned"]
    assert (input_blocks, recurrent_blocks < firsts["recurrent pruned"][1]) == (firsts["recurrent pruned"][0], True)
    for overrides, key in (
        ((PRUNED, "evolution.strategy=set"), "block_pruning.threshold"),
        (("network.block=[32, 8]",), "network.block = [32, 8]: larger than the layer of"),
    ):
        request = RunRequest(folder / "run.toml", overrides, folder / "refused")
        message = same_error_everywhere(ConfigError, lambda request=request: train_run(ctx, request, SilentReporter()))
        assert key in message
        assert "\n" not in message
