"""Averaging replicas, against dense NumPy arithmetic in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hpc_sparse.errors import DivergedError
from hpc_sparse.evolution.selection import resparsify
from hpc_sparse.evolution.strategies.set import replace_weakest
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.layers.protocol import Layer
from hpc_sparse.network.layers.sparse import SparseLayer, sparse_layers
from hpc_sparse.network.network import Network
from hpc_sparse.network.optimizers.state import OptimizerState
from hpc_sparse.network.replica import Replica
from hpc_sparse.parallel.agreement import check_agreement
from hpc_sparse.parallel.collectives import gather_objects
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.parallel.local_sgd import LocalSgd

WIDTHS = (23, 37, 19, 3)
DENSITIES = (0.2, 0.3, 1.0)
N_BYTES = 4


def base_network() -> Network:
    """The same on every rank; its last layer is dense."""
    layers: list[Layer] = []
    for number, density in enumerate(DENSITIES):
        topology = Topology.random((WIDTHS[number + 1], WIDTHS[number]), density, np.uint64(number))
        weight, bias = np.zeros(topology.n_connections, np.float32), np.zeros(topology.shape[0], np.float32)
        layers.append(SparseLayer.of(topology, weight, bias, 0.0))
    return Network(layers)


def train_apart(network: Network, rank: int, *, evolves: bool) -> Replica:
    """Give a network values of its own, and hidden layers their own topologies; with velocities of its own."""
    rng = np.random.default_rng(rank)
    replica = Replica.at_rest(network)
    for number, layer in enumerate(sparse_layers(network)):
        layer.weight = rng.normal(size=layer.weight.size).astype(np.float32)
        if evolves and layer is not network.layers[-1]:
            replica.follow(number, {"input": replace_weakest(layer.topology, layer.weight, 0.4, rng)})
            is_grown = layer.weight == 0
            layer.weight[is_grown] = rng.normal(size=int(is_grown.sum())).astype(np.float32)
        layer.bias = rng.normal(size=layer.bias.size).astype(np.float32)
        for name, parameter in layer.parameters().items():
            replica.states[number]["velocity"][name] = rng.normal(size=parameter.values.size).astype(np.float32)
    return replica


def dense(topology: Topology, values: Any) -> Any:
    matrix = np.zeros(topology.shape)
    matrix.reshape(-1)[topology.keys()] = values
    return matrix


def dense_means(ctx: ParallelContext, replica: Replica, *, contributors: int) -> list[dict[str, Any]]:
    """Per layer, the means over the first ranks, in float64, and where any of them has a connection."""
    own = [
        {
            "weight": dense(layer.topology, layer.weight),
            "velocity": dense(layer.topology, state["velocity"]["weight"]),
            "bias": layer.bias.astype(np.float64),
            "bias_velocity": state["velocity"]["bias"].astype(np.float64),
        }
        for layer, state in layers_with_states(replica)
    ]
    ranks = gather_objects(ctx, own)[:contributors]
    return [
        {name: np.mean([rank[number][name] for rank in ranks], axis=0) for name in own[number]}
        for number in range(len(own))
    ]


def layers_with_states(replica: Replica) -> list[tuple[SparseLayer, OptimizerState]]:
    return list(zip(sparse_layers(replica.network), replica.states, strict=True))


def assert_replicas_agree(ctx: ParallelContext, replica: Replica) -> None:
    check_agreement(ctx, replica.network)
    replica.check_invariants()
    bits = b"".join(values.tobytes() for state in replica.states for values in state["velocity"].values())
    assert len(set(gather_objects(ctx, bits))) == 1


@pytest.mark.mpi(ranks=[1, 2, 3])
def test_replicas_of_one_topology_become_their_plain_mean(ctx: ParallelContext) -> None:
    network = base_network()
    replica = train_apart(network, ctx.rank, evolves=False)
    means = dense_means(ctx, replica, contributors=ctx.size)
    topologies = [layer.topology for layer in sparse_layers(network)]
    averaging = LocalSgd.start(ctx, network, has_shared_topology=True, cut_back=resparsify)
    averaging.sync(replica)
    assert_replicas_agree(ctx, replica)
    for (layer, state), mean, topology in zip(layers_with_states(replica), means, topologies, strict=True):
        assert layer.topology is topology
        np.testing.assert_allclose(dense(topology, layer.weight), mean["weight"], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(dense(topology, state["velocity"]["weight"]), mean["velocity"], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(layer.bias, mean["bias"], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(state["velocity"]["bias"], mean["bias_velocity"], rtol=1e-5, atol=1e-6)
    sent = 2 * N_BYTES * network.n_parameters if ctx.size > 1 else 0
    assert averaging.n_bytes_sent == sent


@pytest.mark.mpi(ranks=[2, 3, 4])
def test_replicas_of_different_topologies_become_the_strongest_of_the_mean_over_their_union(
    ctx: ParallelContext,
) -> None:
    network = base_network()
    averaging = LocalSgd.start(ctx, network, has_shared_topology=False, cut_back=resparsify)
    n_connections = [layer.topology.n_connections for layer in sparse_layers(network)]
    replica = train_apart(network, ctx.rank, evolves=True)
    means = dense_means(ctx, replica, contributors=ctx.size)
    averaging.sync(replica)
    assert_replicas_agree(ctx, replica)
    for (layer, state), mean, n_before in zip(layers_with_states(replica), means, n_connections, strict=True):
        assert layer.topology.n_connections == n_before
        keys = layer.topology.keys()
        np.testing.assert_allclose(layer.weight, mean["weight"].reshape(-1)[keys], rtol=1e-5, atol=1e-6)
        velocity = mean["velocity"].reshape(-1)[keys]
        np.testing.assert_allclose(state["velocity"]["weight"], velocity, rtol=1e-5, atol=1e-6)
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
        averaging = LocalSgd.start(
            ctx, network, has_shared_topology=is_shared, cut_back=resparsify, resets={"velocity"}
        )
        replica = train_apart(network, ctx.rank, evolves=not is_shared)
        averaging.sync(replica)
        assert_replicas_agree(ctx, replica)
        assert not any(values.any() for state in replica.states for values in state["velocity"].values())


@pytest.mark.mpi(ranks=[3])
def test_a_rank_without_samples_adds_nothing_but_takes_the_result(ctx: ParallelContext) -> None:
    for is_shared in (True, False):
        network = base_network()
        averaging = LocalSgd.start(
            ctx, network, has_shared_topology=is_shared, cut_back=resparsify, is_contributor=ctx.rank < 2
        )
        replica = train_apart(network, ctx.rank, evolves=not is_shared)
        means = dense_means(ctx, replica, contributors=2)
        averaging.sync(replica)
        assert averaging.n_contributors == 2
        assert_replicas_agree(ctx, replica)
        for layer, mean in zip(sparse_layers(network), means, strict=True):
            kept = mean["weight"].reshape(-1)[layer.topology.keys()]
            np.testing.assert_allclose(layer.weight, kept, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(layer.bias, mean["bias"], rtol=1e-5, atol=1e-6)
            assert (kept != 0).all()


@pytest.mark.mpi(ranks=[2])
def test_only_grown_keys_travel_and_none_of_a_dense_layer(ctx: ParallelContext) -> None:
    network = base_network()
    averaging = LocalSgd.start(ctx, network, has_shared_topology=False, cut_back=resparsify)
    replica = Replica.at_rest(network)
    averaging.sync(replica)
    assert averaging.n_bytes_sent == 2 * N_BYTES * network.n_parameters
    before = averaging.n_bytes_sent
    replica = train_apart(network, ctx.rank, evolves=True)
    unions = [
        set().union(*(keys.tolist() for keys in gather_objects(ctx, layer.topology.keys())), base.topology.keys())
        for layer, base in zip(sparse_layers(network), sparse_layers(base_network()), strict=True)
    ]
    pairs = list(zip(sparse_layers(network), sparse_layers(base_network()), strict=True))
    n_grown = sum(np.setdiff1d(layer.topology.keys(), base.topology.keys()).size for layer, base in pairs)
    averaging.sync(replica)
    n_bias = sum(layer.shape[0] for layer in network.layers)
    n_union = sum(map(len, unions))
    assert n_grown > 0
    assert averaging.n_bytes_sent - before == 2 * N_BYTES * (n_union + n_bias) + 8 * n_grown


@pytest.mark.mpi(ranks=[3])
def test_values_that_are_not_finite_end_the_sync_on_all_ranks(ctx: ParallelContext) -> None:
    network = base_network()
    averaging = LocalSgd.start(ctx, network, has_shared_topology=False, cut_back=resparsify)
    replica = train_apart(network, ctx.rank, evolves=True)
    if ctx.rank == 1:
        network.incoming()[0].weight[:5] = np.nan
    with pytest.raises(DivergedError, match="finite"):
        averaging.sync(replica)


@pytest.mark.mpi(ranks=[3])
def test_replicas_that_differ_are_noticed_on_all_ranks(ctx: ParallelContext) -> None:
    network = base_network()
    check_agreement(ctx, network)
    if ctx.rank == 2:
        sparse_layers(network)[1].bias[3] = np.float32(1e-30)
    with pytest.raises(DivergedError, match=r"after a sync, first in the bias of layer 1: rank 0, 1: .* rank 2: "):
        check_agreement(ctx, network)


@pytest.mark.mpi(ranks=[1, 2, 3])
def test_a_delayed_average_moves_each_replica_by_what_the_mean_differed_from_it_then(ctx):
    network = base_network()
    replica = train_apart(network, ctx.rank, evolves=False)
    averaging = LocalSgd.start(ctx, network, has_shared_topology=True, cut_back=resparsify)
    then = [array.astype(np.float64) for array in parameters(replica)]
    means = [np.mean(gather_objects(ctx, array), axis=0) for array in then]
    averaging.sync_delayed(replica)
    for array in parameters(replica):
        np.add(array, np.float32(ctx.rank + 1), out=array)
        averaging.progress()
    averaging.sync_delayed(replica)
    for array, mean, own in zip(parameters(replica), means, then, strict=True):
        learnt_since = ctx.rank + 1
        assert np.allclose(array, (mean if ctx.size > 1 else own) + learnt_since, atol=1e-5)
    averaging.sync(replica)
    check_agreement(ctx, network)


def parameters(replica: Replica) -> list[Any]:
    pairs = layers_with_states(replica)
    return [array for layer, s in pairs for array in (layer.weight, layer.bias, *s["velocity"].values())]
