"""Distances of replicas are the same on any number of ranks."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from hpc_sparse.analysis import pairwise_distances, topology_distance
from hpc_sparse.analysis.checkpoints import read_all_topologies
from hpc_sparse.analysis.reports import report_distances
from hpc_sparse.errors import InputError
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.layers.state import LayerState
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.checkpoint.file import write_checkpoint
from hpc_sparse.storage.checkpoint.state import Checkpoint


def network(seed: int, widths: tuple[int, ...] = (31, 29, 13)) -> list[Topology]:
    return [
        Topology.random((n_out, n_in), 0.2, np.uint64(10 * seed + layer))
        for layer, (n_in, n_out) in enumerate(pairwise(widths))
    ]


@pytest.mark.mpi(ranks=[1, 2, 3])
def test_every_rank_gets_all_distances(ctx: ParallelContext) -> None:
    networks = [network(seed) for seed in range(4)]
    found = pairwise_distances(ctx, networks)
    assert list(found) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    for (first, second), distance in found.items():
        assert distance == topology_distance(networks[first], networks[second])


@pytest.mark.mpi(ranks=[3])
def test_networks_that_cannot_be_compared_are_refused_on_every_rank(ctx: ParallelContext) -> None:
    with pytest.raises(InputError, match="31-29-13 and 31-28-13"):
        pairwise_distances(ctx, [network(0), network(1), network(2, (31, 28, 13))])


@pytest.mark.mpi(ranks=[2, 3])
def test_the_replicas_of_a_checkpoint_are_compared(ctx: ParallelContext, mpi_tmp_path: Path) -> None:
    layers = tuple(
        LayerState.sparse(
            topology.shape,
            "relu",
            topology.indptr,
            topology.indices,
            *(np.ones(n, np.float32) for n in (topology.n_connections, topology.shape[0]) * 2),
        )
        for topology in network(ctx.rank)
    )
    path = mpi_tmp_path / "replicas.h5"
    write_checkpoint(ctx, path, Checkpoint("", 1, 1, ctx.size, layers, {}, None, replica=ctx.rank))
    found = read_all_topologies(ctx, [path])
    assert [each.name for each in found] == [f"{path} replica {number}" for number in range(ctx.size)]
    np.testing.assert_array_equal(found[ctx.rank].topologies[0].keys(), network(ctx.rank)[0].keys())
    report = report_distances(ctx, [path], None, 2048)
    assert len(report["distances"]) == ctx.size * (ctx.size - 1) // 2
    assert report["distances"][0]["mean"] == topology_distance(network(0), network(1)).mean
    with pytest.raises(InputError, match="at least two"):
        report_distances(ctx, [path], 1, 2048)
