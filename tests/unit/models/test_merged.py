"""Checkpoints of several networks taken as one."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.models.merged import read_merged
from hpc_sparse.parallel.agreement import network_digest
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.checkpoint.file import write_checkpoint
from hpc_sparse.storage.checkpoint.state import Checkpoint
from hpc_sparse.training.replica_states import (
    initial_replica,
    replica_to_states,
)

CTX = ParallelContext.serial(threads=1)


@pytest.mark.parametrize("targets", [(), (50, 60, 54)])
def test_a_checkpoint_of_one_replica_is_that_replica_cut_back_to_the_targets_if_there_are_any(
    make_config, make_dataset, tmp_path, targets
):
    config, dataset = make_config(), make_dataset()
    replica = initial_replica(config, dataset.info)
    for state in replica.states:
        state["velocity"]["weight"][:], state["velocity"]["bias"][:] = 2, 3
    layers = replica_to_states(replica)
    options = {"replica": 0, "target_connections": targets}
    checkpoint = Checkpoint(config.to_toml(), 1, 12, 2, layers, {"epoch": 1.0}, None, **options)
    write_checkpoint(CTX, tmp_path / "a.h5", checkpoint)
    read, merged = read_merged(tmp_path / "a.h5", config)
    assert (read.epoch, read.step, read.target_connections) == (1, 12, targets)
    own = [layer.topology.n_connections for layer in replica.network.layers]
    assert [layer.topology.n_connections for layer in merged.network.layers] == list(targets or own)
    assert (network_digest(merged.network) == network_digest(replica.network)) == (not targets)
    assert [layer.slope for layer in merged.network.layers] == [layer.slope for layer in replica.network.layers]
    assert all((state["velocity"]["weight"] == 2).all() for state in merged.states)
    assert all((state["velocity"]["bias"] == 3).all() for state in merged.states)
    assert np.isfinite(merged.network.layers[0].weight).all()
