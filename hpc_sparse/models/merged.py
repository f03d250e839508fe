"""The average of the replicas in a checkpoint, as one network."""

from __future__ import annotations

from pathlib import Path

from hpc_sparse.config import RunConfig
from hpc_sparse.evolution.selection import resparsify
from hpc_sparse.network.replica import Replica
from hpc_sparse.parallel.merging import merge_replicas
from hpc_sparse.storage.checkpoint.file import read_replicas
from hpc_sparse.storage.checkpoint.state import Checkpoint
from hpc_sparse.training.replica_states import (
    replica_from_states,
)


def read_merged(path: Path, config: RunConfig) -> tuple[Checkpoint, Replica]:
    """A checkpoint of several replicas, and their average, cut back to its number of connections.

    Layers of the checkpoint are those of the first replica: use the average instead. Reads alone, without other ranks.
    """
    checkpoints = read_replicas(path)
    parts = [replica_from_states(config, each.layers, each.neuron_ids, str(path)) for each in checkpoints]
    own = tuple(connections.topology.n_connections for _, connections in parts[0].network.connections())
    return checkpoints[0], merge_replicas(parts, checkpoints[0].target_connections or own, resparsify)
