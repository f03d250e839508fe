"""Replicas that are not the same after a sync end the run on all ranks, at the next sync at the latest."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.errors import DivergedError
from hpc_sparse.evolution.selection import resparsify
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.network import Network
from hpc_sparse.network.replica import Replica
from hpc_sparse.parallel import local_sgd
from hpc_sparse.parallel.agreement import Agreement, check_agreement
from hpc_sparse.parallel.collectives import gather_objects
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.parallel.local_sgd import LocalSgd


def make_network() -> Network:
    options = {"activation": "relu", "alpha": 0.0, "initializer": "he_uniform", "seed": 3}
    return Network.random([13, 17, 5], [0.3, 1.0], **options)


def flip_bit(array: np.ndarray, position: int, bit: int) -> None:
    array.view(np.uint32)[position] ^= np.uint32(1 << bit)


@pytest.mark.mpi(ranks=[2, 3])
@pytest.mark.parametrize("is_shared", [True, False])
def test_a_bit_flipped_behind_a_sync_is_noticed_at_the_next_one(
    ctx: ParallelContext, monkeypatch: pytest.MonkeyPatch, is_shared: bool
) -> None:
    network = make_network()
    replica = Replica.at_rest(network)
    averaging = LocalSgd.start(ctx, network, has_shared_topology=is_shared, cut_back=resparsify)
    averaging.sync(replica)
    average = local_sgd.average_arrays

    def average_wrongly(ctx, arrays, *rest, **named):
        n_bytes = average(ctx, arrays, *rest, **named)
        if ctx.rank == 1:
            flip_bit(arrays[0], 4, 0)
        return n_bytes

    monkeypatch.setattr(local_sgd, "average_arrays", average_wrongly)
    averaging.sync(replica)
    monkeypatch.undo()
    others = "rank 0" if ctx.size == 2 else "rank 0, 2"
    with pytest.raises(DivergedError, match=rf"first in the weight of layer 0: {others}: \w+; rank 1: \w+; "):
        averaging.sync(replica)
    averaging.finish()


@pytest.mark.mpi(ranks=[2, 3])
def test_topologies_that_differ_are_noticed_without_another_sync(ctx: ParallelContext) -> None:
    network = make_network()
    averaging = LocalSgd.start(ctx, network, has_shared_topology=True, cut_back=resparsify)
    if ctx.rank == ctx.size - 1:
        topology = network.layers[0].topology
        row = int(np.argmax(topology.fan_in()))
        start, stop = topology.indptr[row], topology.indptr[row + 1]
        indices = topology.indices.copy()
        unused = np.setdiff1d(np.arange(topology.shape[1]), indices[start:stop])
        indices[start:stop] = np.sort(np.concatenate([indices[start : stop - 1], unused[:1]]))
        layer, other = network.layers[0], Topology(topology.shape, topology.indptr, indices)
        layer.rewire(layer.shape, {"input": other}, {"weight": layer.weight, "bias": layer.bias})
    averaging.sync(Replica.at_rest(network))
    with pytest.raises(DivergedError, match="first in the indices of layer 0"):
        averaging.confirm_agreement()


@pytest.mark.mpi(ranks=[1, 2, 3])
def test_replicas_that_agree_go_on(ctx: ParallelContext) -> None:
    network = make_network()
    replica = Replica.at_rest(network)
    averaging = LocalSgd.start(ctx, network, has_shared_topology=True, cut_back=resparsify)
    for _ in range(3):
        averaging.sync(replica)
        network.layers[0].weight += np.float32(ctx.rank)
        averaging.progress()
    averaging.sync_delayed(replica)
    averaging.sync(replica)
    averaging.confirm_agreement()
    averaging.confirm_agreement()
    averaging.sync(replica)
    averaging.finish()
    check_agreement(ctx, network)


@pytest.mark.mpi(ranks=[2, 3])
def test_training_that_diverged_is_called_so_although_bits_differ(ctx: ParallelContext) -> None:
    network = make_network()
    agreement = Agreement(ctx)
    network.layers[1].weight[2] = np.nan
    if ctx.rank == 0:
        flip_bit(network.layers[1].weight, 2, 31)
    agreement.start(network)
    with pytest.raises(DivergedError, match="no longer a finite number"):
        agreement.confirm()


@pytest.mark.mpi(ranks=[3])
@pytest.mark.parametrize(("position", "bit"), [(0, 0), (40, 31)])
def test_every_rank_raises_the_same_error(ctx: ParallelContext, position: int, bit: int) -> None:
    network = make_network()
    if ctx.rank == 2:
        flip_bit(network.layers[0].weight, position, bit)
    agreement = Agreement(ctx)
    agreement.start(network)
    with pytest.raises(DivergedError) as caught:
        agreement.confirm()
    assert len(set(gather_objects(ctx, str(caught.value)))) == 1
