"""Averaging replicas, against dense NumPy arithmetic in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hpc_sparse.errors import DivergedError
from hpc_sparse.evolution.strategies.set import replace_weakest
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.layers.sparse import SparseLayer
from hpc_sparse.network.network import Network
from hpc_sparse.network.optimizers.sgd import Velocity
from hpc_sparse.parallel.agreement import check_agreement
from hpc_sparse.parallel.collectives import gather_objects
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.parallel.local_sgd import LocalSgd
from hpc_sparse.training.replica import Replica, check_invariants

WIDTHS = (23, 37, 19, 3)
DENSITIES = (0.2, 0.3, 1.0)
N_BYTES = 4


def base_network() -> Network:
    """The same on every rank; its last layer is dense."""
    layers = []
    for number, density in enumerate(DENSITIES):
        topology = Topology.random((WIDTHS[number + 1], WIDTHS[number]), density, np.uint64(number))
        weight, bias = np.zeros(topology.n_connections, np.float32), np.zeros(topology.shape[0], np.float32)
        layers.append(SparseLayer(topology, weight, bias, 0.0))
    return Network(layers)


def train_apart(network: Network, rank: int, *, evolves: bool) -> list[Velocity]:
    """Give a replica values of its own, and hidden layers their own topologies."""
    rng = np.random.default_rng(rank)
    velocities = []
    for layer in network.layers:
        layer.weight = rng.normal(size=layer.weight.size).astype(np.float32)
        if evolves and layer is not network.layers[-1]:
            layer.follow(replace_weakest(layer.topology, layer.weight, 0.4, rng))
            is_grown = layer.weight == 0
            layer.weight[is_grown] = rng.normal(size=int(is_grown.sum())).astype(np.float32)
        layer.bias = rng.normal(size=layer.bias.size).astype(np.float32)
        velocities.append(
            Velocity(*(rng.normal(size=array.size).astype(np.float32) for array in (layer.weight, layer.bias)))
        )
    return velocities


def dense(topology: Topology, values: Any) -> Any:
    matrix = np.zeros(topology.shape)
    matrix.reshape(-1)[topology.keys()] = values
    return matrix


def dense_means(
    ctx: ParallelContext, network: Network, velocities: list[Velocity], *, contributors: int
) -> list[dict[str, Any]]:
    """Per layer, the means over the first ranks, in float64, and where any of them has a connection."""
    own = [
        {
            "weight": dense(layer.topology, layer.weight),
            "velocity": dense(layer.topology, velocity.weight),
            "bias": layer.bias.astype(np.float64),
            "bias_velocity": velocity.bias.astype(np.float64),
        }
        for layer, velocity in zip(network.layers, velocities, strict=True)
    ]
    ranks = gather_objects(ctx, own)[:contributors]
    return [
        {name: np.mean([rank[number][name] for rank in ranks], axis=0) for name in own[number]}
        for number in range(len(own))
    ]


def assert_replicas_agree(ctx: ParallelContext, network: Network, velocities: list[Velocity]) -> None:
    check_agreement(ctx, network)
    check_invariants(Replica(network, velocities))
    bits = b"".join(velocity.weight.tobytes() + velocity.bias.tobytes() for velocity in velocities)
    assert len(set(gather_objects(ctx, bits))) == 1


@pytest.mark.mpi(ranks=[1, 2, 3])
def test_replicas_of_one_topology_become_their_plain_mean(ctx: ParallelContext) -> None:
    network = base_network()
    velocities = train_apart(network, ctx.rank, evolves=False)
    means = dense_means(ctx, network, velocities, contributors=ctx.size)
    topologies = [layer.topology for layer in network.layers]
    averaging = LocalSgd(ctx, has_shared_topology=True, momentum="average")
    averaging.start(network)
    averaging.sync(network, velocities)
    assert_replicas_agree(ctx, network, velocities)
    for layer, velocity, mean, topology in zip(network.layers, velocities, means, topologies, strict=True):
        assert layer.topology is topology
        np.testing.assert_allclose(dense(topology, layer.weight), mean["weight"], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(dense(topology, velocity.weight), mean["velocity"], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(layer.bias, mean["bias"], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(velocity.bias, mean["bias_velocity"], rtol=1e-5, atol=1e-6)
    sent = 2 * N_BYTES * network.n_parameters if ctx.size > 1 else 0
    assert averaging.n_bytes_sent == sent


@pytest.mark.mpi(ranks=[2, 3, 4])
def test_replicas_of_different_topologies_become_the_strongest_of_the_mean_over_their_union(
    ctx: ParallelContext,
) -> None:
    network = base_network()
    averaging = LocalSgd(ctx, has_shared_topology=False, momentum="average")
    averaging.start(network)
    n_connections = [layer.topology.n_connections for layer in network.layers]
    velocities = train_apart(network, ctx.rank, evolves=True)
    means = dense_means(ctx, network, velocities, contributors=ctx.size)
    averaging.sync(network, velocities)
    assert_replicas_agree(ctx, network, velocities)
    for layer, velocity, mean, n_before in zip(network.layers, velocities, means, n_connections, strict=True):
        assert layer.topology.n_connections == n_before
        keys = layer.topology.keys()
        np.testing.assert_allclose(layer.weight, mean["weight"].reshape(-1)[keys], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(velocity.weight, mean["velocity"].reshape(-1)[keys], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(layer.bias, mean["bias"], rtol=1e-5, atol=1e-6)
        assert_strongest_of_each_sign_stayed(mean["weight"].reshape(-1), keys)


def assert_strongest_of_each_sign_stayed(mean: Any, kept_keys: Any) -> None:
    is_kept = np.zeros(mean.size, bool)
    is_kept[kept_keys] = True
    shares = []
    for sign in (1, -1):
        kept, dropped = sign * mean[is_kept & (sign * mean > 0)], sign * mean[~is_kept & (sign * mean > 0)]
        assert dropped.size == 0 or kept.min() >= dropped.max() - 1e-6
        shares.append(dropped.size / (kept.size + dropped.size))
    assert abs(shares[0] - shares[1]) < 0.03


@pytest.mark.mpi(ranks=[3])
def test_a_sync_can_bring_the_velocities_to_rest(ctx: ParallelContext) -> None:
    for is_shared in (True, False):
        network = base_network()
        averaging = LocalSgd(ctx, has_shared_topology=is_shared, momentum="reset")
        averaging.start(network)
        velocities = train_apart(network, ctx.rank, evolves=not is_shared)
        averaging.sync(network, velocities)
        assert_replicas_agree(ctx, network, velocities)
        assert not any(velocity.weight.any() or velocity.bias.any() for velocity in velocities)


@pytest.mark.mpi(ranks=[3])
def test_a_rank_without_samples_adds_nothing_but_takes_the_result(ctx: ParallelContext) -> None:
    for is_shared in (True, False):
        network = base_network()
        averaging = LocalSgd(ctx, is_shared, "average", is_contributor=ctx.rank < 2)
        averaging.start(network)
        velocities = train_apart(network, ctx.rank, evolves=not is_shared)
        means = dense_means(ctx, network, velocities, contributors=2)
        averaging.sync(network, velocities)
        assert averaging.n_contributors == 2
        assert_replicas_agree(ctx, network, velocities)
        for layer, mean in zip(network.layers, means, strict=True):
            kept = mean["weight"].reshape(-1)[layer.topology.keys()]
            np.testing.assert_allclose(layer.weight, kept, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(layer.bias, mean["bias"], rtol=1e-5, atol=1e-6)
            assert (kept != 0).all()


@pytest.mark.mpi(ranks=[2])
def test_only_grown_keys_travel_and_none_of_a_dense_layer(ctx: ParallelContext) -> None:
    network = base_network()
    averaging = LocalSgd(ctx, has_shared_topology=False, momentum="average")
    averaging.start(network)
    velocities = [Velocity.zeros(layer.weight.size, layer.bias.size) for layer in network.layers]
    averaging.sync(network, velocities)
    assert averaging.n_bytes_sent == 2 * N_BYTES * network.n_parameters
    before = averaging.n_bytes_sent
    train_apart(network, ctx.rank, evolves=True)
    unions = [
        set().union(*(keys.tolist() for keys in gather_objects(ctx, layer.topology.keys())), base.topology.keys())
        for layer, base in zip(network.layers, base_network().layers, strict=True)
    ]
    pairs = list(zip(network.layers, base_network().layers, strict=True))
    n_grown = sum(np.setdiff1d(layer.topology.keys(), base.topology.keys()).size for layer, base in pairs)
    averaging.sync(network, velocities)
    n_bias = sum(layer.bias.size for layer in network.layers)
    n_union = sum(map(len, unions))
    assert n_grown > 0
    assert averaging.n_bytes_sent - before == 2 * N_BYTES * (n_union + n_bias) + 8 * n_grown


@pytest.mark.mpi(ranks=[3])
def test_values_that_are_not_finite_end_the_sync_on_all_ranks(ctx: ParallelContext) -> None:
    network = base_network()
    averaging = LocalSgd(ctx, has_shared_topology=False, momentum="average")
    averaging.start(network)
    velocities = train_apart(network, ctx.rank, evolves=True)
    if ctx.rank == 1:
        network.layers[0].weight[:5] = np.nan
    with pytest.raises(DivergedError, match="finite"):
        averaging.sync(network, velocities)


@pytest.mark.mpi(ranks=[3])
def test_replicas_that_differ_are_noticed_on_all_ranks(ctx: ParallelContext) -> None:
    network = base_network()
    check_agreement(ctx, network)
    if ctx.rank == 2:
        network.layers[1].bias[3] = np.float32(1e-30)
    with pytest.raises(DivergedError, match=r"after a sync, first in the biases of layer 1: rank 0, 1: .* rank 2: "):
        check_agreement(ctx, network)


@pytest.mark.mpi(ranks=[1, 2, 3])
def test_a_delayed_average_moves_each_replica_by_what_the_mean_differed_from_it_then(ctx):
    network = base_network()
    velocities = train_apart(network, ctx.rank, evolves=False)
    averaging = LocalSgd(ctx, has_shared_topology=True, momentum="average")
    averaging.start(network)
    then = [array.astype(np.float64) for array in parameters(network, velocities)]
    means = [np.mean(gather_objects(ctx, array), axis=0) for array in then]
    averaging.sync_delayed(network, velocities)
    for array in parameters(network, velocities):
        np.add(array, np.float32(ctx.rank + 1), out=array)
        averaging.progress()
    averaging.sync_delayed(network, velocities)
    for array, mean, own in zip(parameters(network, velocities), means, then, strict=True):
        learnt_since = ctx.rank + 1
        assert np.allclose(array, (mean if ctx.size > 1 else own) + learnt_since, atol=1e-5)
    averaging.sync(network, velocities)
    check_agreement(ctx, network)


def parameters(network: Network, velocities: list[Velocity]) -> list[Any]:
    pairs = zip(network.layers, velocities, strict=True)
    return [array for layer, v in pairs for array in (layer.weight, layer.bias, v.weight, v.bias)]
