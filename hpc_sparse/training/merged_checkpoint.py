"""The one network that a checkpoint of several comes to."""

from __future__ import annotations

from pathlib import Path

from hpc_sparse.config import NetworkSection
from hpc_sparse.parallel.merging import merge_replicas
from hpc_sparse.storage.checkpoint import Checkpoint, read_replicas
from hpc_sparse.training.replica import Replica


def read_merged(path: Path, config: NetworkSection) -> tuple[Checkpoint, Replica]:
    """A checkpoint that one network per worker was stored in, and their average, cut back to size.

    Of the layers only the average is to be used. Reads alone, without the other ranks.
    """
    checkpoints = read_replicas(path)
    parts = [Replica.from_states(config, each.layers, each.neuron_ids) for each in checkpoints]
    network, velocities = merge_replicas(
        [part.network for part in parts], [part.velocities for part in parts], checkpoints[0].target_connections
    )
    return checkpoints[0], Replica(network, velocities)
