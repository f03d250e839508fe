"""The union of the replicas' connections."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.evolution.strategies.set import replace_weakest
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.parallel import collectives
from hpc_sparse.parallel.collectives import gather_objects
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.parallel.shared_index import SharedIndex

SHAPE = (41, 67)


def evolved(base: Topology, rank: int) -> Topology:
    rng = np.random.default_rng(rank)
    weight = rng.normal(size=base.n_connections).astype(np.float32)
    return replace_weakest(base, weight, 0.3, rng).topology


@pytest.mark.mpi(ranks=[1, 2, 3, 4])
def test_the_index_holds_every_connection_of_the_base_and_of_any_replica(
    ctx: ParallelContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = Topology.random(SHAPE, 0.2, np.uint64(5))
    # The last rank has not evolved, so it has nothing to tell.
    own = base if ctx.rank == ctx.size - 1 else evolved(base, ctx.rank)
    for chunk_bytes in (16, 1 << 20):
        monkeypatch.setattr(collectives, "CHUNK_BYTES", chunk_bytes)
        index = SharedIndex.build(ctx, base, own)
        expected = sorted(set(base.keys().tolist()).union(*(keys.tolist() for keys in gather_objects(ctx, own.keys()))))
        assert index.keys.tolist() == expected
        np.testing.assert_array_equal(index.keys[index.position], own.keys())

        values = np.arange(1, own.n_connections + 1, dtype=np.float32)
        placed = index.scatter(values)
        np.testing.assert_array_equal(placed[index.position], values)
        assert np.count_nonzero(placed) == values.size


@pytest.mark.mpi(ranks=[3])
def test_layers_without_connections_have_an_empty_index(ctx: ParallelContext) -> None:
    empty = Topology.from_keys(SHAPE, np.empty(0, np.int64))
    index = SharedIndex.build(ctx, empty, empty)
    assert index.keys.size == 0
    assert index.scatter(np.empty(0, np.float32)).size == 0
