"""Gradients to a serving rank and parameters back, networks from rank to rank; in pieces of any size."""

from __future__ import annotations

import time
from itertools import product

import numpy as np
import pytest

from hpc_sparse.evolution.importance import ImportancePruner
from hpc_sparse.evolution.selection import resparsify
from hpc_sparse.network.layers.sparse import sparse_layers
from hpc_sparse.network.network import Network
from hpc_sparse.network.replica import Replica
from hpc_sparse.parallel import collectives
from hpc_sparse.parallel.agreement import network_digest
from hpc_sparse.parallel.collectives import broadcast_object, gather_objects
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.parallel.gradient_exchange import GradientHeader, ReplyHeader, ServerEnd, WorkerEnd
from hpc_sparse.parallel.local_sgd import LocalSgd
from hpc_sparse.parallel.merging import merge_replicas
from hpc_sparse.parallel.replication import (
    broadcast_replica,
    receive_network,
    send_network,
    take_topology,
    topology_arrays,
)

N_VALUES = 101
N_ROUNDS = 5


CHUNKS = (4, 10, 1 << 20)


def make_replica(seed: int, *, is_pruned: bool = False, density: float = 0.4) -> Replica:
    """With random biases and velocities; pruned, some neurons and inputs are missing."""
    names = {"activation": "all_relu", "alpha": 0.5, "initializer": "normal"}
    network = Network.random([11, 14, 9, 3], [density, density, 1.0], **names, seed=seed)  # type: ignore[arg-type]
    rng = np.random.default_rng(seed)
    replica = Replica.at_rest(network)
    for layer, state in zip(network.layers, replica.states, strict=True):
        layer.bind({"bias": rng.standard_normal(layer.shape[0]).astype(np.float32)})
        for name, parameter in layer.parameters().items():
            state["velocity"][name] = rng.standard_normal(parameter.values.size).astype(np.float32)
    if is_pruned:
        change = ImportancePruner("compact", 30, 20).prune(network)
        assert change is not None
        replica.apply(change)
    return replica


def facts(replica: Replica) -> tuple[object, ...]:
    """Everything that must be the same."""
    network = replica.network
    ids = [None if each is None else each.tolist() for each in network.neuron_ids]
    speeds = [{name: values.tobytes() for name, values in state["velocity"].items()} for state in replica.states]
    return network_digest(network), network.widths, ids, speeds, slopes(network)


def slopes(network: Network) -> list[float]:
    return [layer.slope for layer in sparse_layers(network)]


def keys(network: Network) -> list[list[int]]:
    return [connections.topology.keys().tolist() for connections in network.incoming()]


def sizes(network: Network) -> list[int]:
    return [connections.topology.n_connections for connections in network.incoming()]


def gradient_of(worker: int, number: int) -> np.ndarray:
    return np.random.default_rng([worker, number]).standard_normal(N_VALUES).astype(np.float32)


@pytest.mark.mpi(ranks=[3])
def test_every_gradient_and_every_reply_arrives_whole_and_in_order(
    ctx: ParallelContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each exchange would stumble over what one before it had left.
    for chunk_bytes, overlaps in product(CHUNKS, (False, True)):
        monkeypatch.setattr(collectives, "CHUNK_BYTES", chunk_bytes)
        if ctx.is_root:
            serve(ctx, overlaps=overlaps)
        else:
            work(ctx, n_under_way=2 if overlaps else 1)
        assert broadcast_object(ctx, chunk_bytes) == chunk_bytes


def serve(ctx: ParallelContext, *, overlaps: bool) -> None:
    """Answers each gradient with its own values and the number of gradients so far, the third with a topology."""
    end = ServerEnd(ctx, range(1, ctx.size), lets_workers_overlap=overlaps)
    end.open()
    n_done = dict.fromkeys(range(1, ctx.size), 0)
    n_idle_calls = 0
    values = np.empty(N_VALUES, np.float32)

    def do_idle_work() -> bool:
        nonlocal n_idle_calls
        n_idle_calls += 1
        return n_idle_calls % 2 == 0

    while any(n < N_ROUNDS for n in n_done.values()):
        worker = end.next_worker(do_idle_work)
        header, gradient = end.header(worker), np.empty(N_VALUES, np.float32)
        end.receive(worker, gradient)
        number = n_done[worker]
        assert header == GradientHeader(number, 2 * number, 10, 3, 15, 0.5 + worker, 0.25, 0.125)
        np.testing.assert_array_equal(gradient, gradient_of(worker, number))
        n_done[worker] += 1
        topology = topology_arrays(make_replica(number, is_pruned=True).network) if number == 2 else []
        np.negative(gradient, out=values)
        end.reply(worker, ReplyHeader(worker, number, 7 * number), topology, values)
        # An overlapping worker may not have taken it yet: what is sent must be a copy.
        values[:] = 0 if overlaps else values
    end.close()
    assert n_idle_calls > 0
    assert end.n_bytes > 2 * 4 * N_VALUES * N_ROUNDS * (ctx.size - 1)


def work(ctx: ParallelContext, n_under_way: int) -> None:
    end = WorkerEnd(ctx, server=0)
    sent = [gradient_of(ctx.rank, number) for number in range(N_ROUNDS)]
    received = np.empty(N_VALUES, np.float32)
    n_sent = 0
    for number in range(N_ROUNDS):
        while n_sent < min(N_ROUNDS, number + n_under_way):
            end.send(GradientHeader(n_sent, 2 * n_sent, 10, 3, 15, 0.5 + ctx.rank, 0.25, 0.125), sent[n_sent])
            n_sent += 1
        time.sleep(0.002)
        header, topology = end.receive_header()
        assert header == ReplyHeader(ctx.rank, number, 7 * number)
        assert bool(topology) == (number == 2)
        if topology:
            network = make_replica(9).network
            take_topology(network, topology)
            expected = make_replica(2, is_pruned=True).network
            assert keys(network) == keys(expected)
            assert expected.neuron_ids[0] is not None
            np.testing.assert_array_equal(network.neuron_ids[0], expected.neuron_ids[0])
        end.receive_values(received)
        np.testing.assert_array_equal(received, -sent[number])


@pytest.mark.mpi(ranks=[3])
def test_a_server_can_wait_for_one_worker_while_others_have_come_first(ctx: ParallelContext) -> None:
    if ctx.is_root:
        end = ServerEnd(ctx, [1, 2], lets_workers_overlap=False)
        end.open()
        gradient = np.empty(N_VALUES, np.float32)
        for number in range(N_ROUNDS):
            for worker in (2, 1):
                end.wait_for(worker, lambda: False)
                end.receive(worker, gradient)
                np.testing.assert_array_equal(gradient, gradient_of(worker, number))
            for worker in (1, 2):
                end.reply(worker, ReplyHeader(1, 0, 0), [], gradient)
        end.close()
        return
    worker_end = WorkerEnd(ctx, server=0)
    received = np.empty(N_VALUES, np.float32)
    for number in range(N_ROUNDS):
        time.sleep(0.003 if ctx.rank == 2 else 0)
        worker_end.send(GradientHeader(0, 0, 1, 0, 0, 0.0, 0.0, 0.0), gradient_of(ctx.rank, number))
        worker_end.receive_header()
        worker_end.receive_values(received)
        np.testing.assert_array_equal(received, gradient_of(1, number))


@pytest.mark.mpi(ranks=[1, 3])
def test_roots_network_replaces_every_other_whatever_its_widths(
    ctx: ParallelContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    for chunk_bytes, is_pruned in product(CHUNKS, (False, True)):
        monkeypatch.setattr(collectives, "CHUNK_BYTES", chunk_bytes)
        replica = make_replica(ctx.rank, is_pruned=is_pruned, density=0.2 + 0.1 * ctx.rank)
        layer_list, expected = replica.network.layers, facts(make_replica(0, is_pruned=is_pruned, density=0.2))
        broadcast_replica(ctx, replica)
        assert facts(replica) == expected
        assert replica.network.layers is layer_list


@pytest.mark.mpi(ranks=[3])
def test_a_network_is_sent_to_one_rank(ctx: ParallelContext, monkeypatch: pytest.MonkeyPatch) -> None:
    for chunk_bytes, is_pruned in product(CHUNKS, (False, True)):
        monkeypatch.setattr(collectives, "CHUNK_BYTES", chunk_bytes)
        own = make_replica(ctx.rank, is_pruned=is_pruned).network
        before = network_digest(own)
        if ctx.rank == 2:
            send_network(ctx, own, 0)
        if ctx.is_root:
            received = receive_network(ctx, own, 2)
            expected = make_replica(2, is_pruned=is_pruned).network
            assert network_digest(received) == network_digest(expected)
            assert slopes(received) == slopes(expected)
            inputs = [network.neuron_ids[0] for network in (received, expected)]
            assert (inputs[0] is None) == (inputs[1] is None) == (not is_pruned)
            assert not is_pruned or np.array_equal(inputs[0], inputs[1])  # type: ignore[arg-type]
        assert network_digest(own) == before


@pytest.mark.mpi(ranks=[4])
def test_replicas_apart_are_averaged_as_in_one_process_and_a_rank_that_looks_on_adds_no_connection(
    ctx: ParallelContext,
) -> None:
    workers = [make_replica(rank) for rank in range(1, ctx.size)]
    targets = [n_connections - 2 for n_connections in sizes(workers[0].network)]
    expected = merge_replicas(workers, targets, resparsify)
    # What the rank that looks on has must not matter, not even for the order in which the others are added up.
    digests = []
    for density in (0.1, 0.9):
        replica = make_replica(ctx.rank, density=density if ctx.is_root else 0.4)
        network = replica.network
        averaging = LocalSgd.start(
            ctx,
            network,
            has_shared_topology=False,
            cut_back=resparsify,
            is_contributor=not ctx.is_root,
            targets=targets,
        )
        averaging.sync(replica)
        assert sizes(network) == targets
        for own, other in zip(sparse_layers(network), sparse_layers(expected.network), strict=True):
            np.testing.assert_array_equal(own.topology.keys(), other.topology.keys())
            np.testing.assert_allclose(own.weight, other.weight, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(own.bias, other.bias, rtol=1e-5, atol=1e-6)
        for state, other_state in zip(replica.states, expected.states, strict=True):
            assert state["velocity"].keys() == other_state["velocity"].keys() == {"weight", "bias"}
            for name, speed in state["velocity"].items():
                np.testing.assert_allclose(speed, other_state["velocity"][name], rtol=1e-5, atol=1e-6)
        digests.append(network_digest(network))
        n_own_keys = make_replica(ctx.rank).network.n_connections
        n_averaged = averaging.n_bytes_sent - (0 if ctx.is_root else 8 * n_own_keys)
        assert n_averaged % 8 == 0
        digests.append(str(n_averaged))
    assert digests[:2] == digests[2:]
    assert len(set(gather_objects(ctx, tuple(digests)))) == 1


@pytest.mark.mpi(ranks=[2])
def test_replicas_that_were_pruned_alike_before_they_evolved_apart_are_averaged_to_the_pruned_size(
    ctx: ParallelContext,
) -> None:
    replica = make_replica(0)
    network = replica.network
    averaging = LocalSgd.start(ctx, network, has_shared_topology=False, cut_back=resparsify)
    change = ImportancePruner("compact", 30, 20).prune(network)
    assert change is not None
    replica.apply(change)
    averaging.follow(change)
    for connections in network.incoming():
        connections.weight += np.float32(ctx.rank)
    averaging.sync(replica)
    assert [layer.shape for layer in network.layers] == [each.topology.shape for each in change.layers]
    assert network.n_connections == change.n_connections
    assert len(set(gather_objects(ctx, network_digest(network)))) == 1
