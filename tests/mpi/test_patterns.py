"""Groups of inputs over ranks: none ever has more than its number, whatever brings replicas together."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.network.connections.group_pattern import GroupPattern
from hpc_sparse.network.connections.grouped_index import GroupedIndex
from hpc_sparse.network.connections.protocol import INPUT
from hpc_sparse.network.connections.registry import connections_from_state
from hpc_sparse.parallel.collectives import on_root
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
connections = "n_of_m"
pattern = "2:5"
[training]
epochs = 3
batch_size = 20
[evolution]
strategy = "set"
[checkpoint]
every_epochs = 1
keep_last = 3
[runtime]
threads = 1
oversubscribe = true
"""


def check_groups(folder: Path, n_epochs: int) -> None:
    """Every replica in every checkpoint; and something has changed."""
    seen = set()
    for epoch in range(1, n_epochs + 1):
        for checkpoint in read_replicas(checkpoint_path(folder / "checkpoints", epoch)):
            for layer in checkpoint.layers[:-1]:
                state = layer.connections[INPUT]
                assert state.kind == "n_of_m"
                topology = connections_from_state(state, layer.parameters["weight"]).topology
                assert GroupedIndex.of(topology, GroupPattern(2, 5)) is not None
                seen.add(topology.indices.tobytes())
    assert len(seen) > 2


@pytest.mark.mpi(ranks=[3])
def test_no_group_ever_has_more_than_its_number(ctx: ParallelContext, folder: Path) -> None:
    for number, overrides in enumerate(
        (
            (),
            ("parallel.replica_topology=independent", "evolution.strategy=gse"),
            ("parallel.replica_topology=independent", "parallel.sync_every_steps=2"),
            ("parallel.algorithm=wasap", "parallel.phase2_share=0.4", "evolution.strategy=rigl"),
        )
    ):
        output = folder / str(number)
        train_run(ctx, RunRequest(folder / "run.toml", overrides, output), SilentReporter())
        on_root(ctx, lambda output=output: check_groups(output, 3))
