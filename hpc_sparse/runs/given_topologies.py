"""First connections from files on every rank, of which root alone reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hpc_sparse.dtypes import INDEX, pointer_dtype
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.parallel.collectives import broadcast_array, collective_errors, on_root
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.planning.topology_files import read_files
from hpc_sparse.runs.plan import RunPlan


def given_topologies(ctx: ParallelContext, plan: RunPlan) -> dict[int, Topology]:
    """Connections of the layers whose files a plan names, by the number of the layer (collective).

    Raises
    ------
    InputError
        On every rank: a file is no longer what it was for the plan.
    """
    if not plan.topology_files:
        return {}
    read = dict[int, Topology]()

    def read_all() -> dict[int, tuple[tuple[int, int], int]]:
        found = read_files(plan.config, {each.layer: Path(each.path) for each in plan.topology_files}, plan.info)
        read.update({layer: each.topology for layer, each in found.items()})
        return {layer: (topology.shape, topology.n_connections) for layer, topology in read.items()}

    sizes = on_root(ctx, read_all)
    return {layer: _on_every_rank(ctx, read.get(layer), *size) for layer, size in sizes.items()}


def _on_every_rank(ctx: ParallelContext, own: Topology | None, shape: tuple[int, int], n_connections: int) -> Topology:
    """Root's topology on every rank (collective)."""
    with collective_errors(ctx, "making room for connections from a file"):
        if own is None:
            indptr, indices = np.empty(shape[0] + 1, pointer_dtype(n_connections)), np.empty(n_connections, INDEX)
        else:
            indptr, indices = own.rows
    broadcast_array(ctx, indptr)
    broadcast_array(ctx, indices)
    return Topology(shape, indptr, indices)
