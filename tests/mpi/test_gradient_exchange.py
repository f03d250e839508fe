"""Gradients to a serving rank and parameters back, networks from rank to rank; in pieces of any size."""

from __future__ import annotations

import time
from itertools import product

import numpy as np
import pytest

from hpc_sparse.evolution.importance import ImportancePruner
from hpc_sparse.network.network import Network
from hpc_sparse.network.optimizers.sgd import Velocity
from hpc_sparse.parallel import collectives
from hpc_sparse.parallel.agreement import network_digest
from hpc_sparse.parallel.collectives import broadcast_object, gather_objects
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.parallel.gradient_exchange import GradientHeader, ReplyHeader, ServerEnd, WorkerEnd
from hpc_sparse.parallel.local_sgd import LocalSgd
from hpc_sparse.parallel.merging import merge_replicas
from hpc_sparse.parallel.replication import (
    broadcast_network,
    receive_network,
    send_network,
    take_topology,
    topology_arrays,
)

N_VALUES = 101
N_ROUNDS = 5


CHUNKS = (4, 10, 1 << 20)


def make_network(seed: int, *, is_pruned: bool = False, density: float = 0.4) -> tuple[Network, list[Velocity]]:
    """With random biases and velocities; pruned, some neurons and inputs are missing."""
    names = {"activation": "all_relu", "alpha": 0.5, "initializer": "normal"}
    network = Network.random([11, 14, 9, 3], [density, density, 1.0], **names, seed=seed)  # type: ignore[arg-type]
    rng = np.random.default_rng(seed)
    velocities = network.resting_velocities()
    for layer, velocity in zip(network.layers, velocities, strict=True):
        layer.bias = rng.standard_normal(layer.bias.size).astype(np.float32)
        velocity.weight = rng.standard_normal(layer.weight.size).astype(np.float32)
        velocity.bias = rng.standard_normal(layer.bias.size).astype(np.float32)
    if is_pruned:
        change = ImportancePruner("compact", 30, 20).prune(network)
        assert change is not None
        network.apply(change, velocities)
    return network, velocities


def facts(network: Network, velocities: list[Velocity]) -> tuple[object, ...]:
    """Everything that must be the same."""
    ids = [None if each is None else each.tolist() for each in network.neuron_ids]
    speeds = [(velocity.weight.tobytes(), velocity.bias.tobytes()) for velocity in velocities]
    return network_digest(network), network.widths, ids, speeds, [layer.slope for layer in network.layers]


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
        topology = topology_arrays(make_network(number, is_pruned=True)[0]) if number == 2 else []
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
            network, _ = make_network(9)
            take_topology(network, topology)
            expected, _ = make_network(2, is_pruned=True)
            assert [layer.topology.keys().tolist() for layer in network.layers] == [
                layer.topology.keys().tolist() for layer in expected.layers
            ]
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
        network, velocities = make_network(ctx.rank, is_pruned=is_pruned, density=0.2 + 0.1 * ctx.rank)
        layer_list, expected = network.layers, facts(*make_network(0, is_pruned=is_pruned, density=0.2))
        broadcast_network(ctx, network, velocities)
        assert facts(network, velocities) == expected
        assert network.layers is layer_list


@pytest.mark.mpi(ranks=[3])
def test_a_network_is_sent_to_one_rank(ctx: ParallelContext, monkeypatch: pytest.MonkeyPatch) -> None:
    for chunk_bytes, is_pruned in product(CHUNKS, (False, True)):
        monkeypatch.setattr(collectives, "CHUNK_BYTES", chunk_bytes)
        own, _ = make_network(ctx.rank, is_pruned=is_pruned)
        before = network_digest(own)
        if ctx.rank == 2:
            send_network(ctx, own, 0)
        if ctx.is_root:
            received = receive_network(ctx, own, 2)
            expected, _ = make_network(2, is_pruned=is_pruned)
            assert network_digest(received) == network_digest(expected)
            assert [layer.slope for layer in received.layers] == [layer.slope for layer in expected.layers]
            inputs = [network.neuron_ids[0] for network in (received, expected)]
            assert (inputs[0] is None) == (inputs[1] is None) == (not is_pruned)
            assert not is_pruned or np.array_equal(inputs[0], inputs[1])  # type: ignore[arg-type]
        assert network_digest(own) == before


@pytest.mark.mpi(ranks=[4])
def test_replicas_apart_are_averaged_as_in_one_process_and_a_rank_that_looks_on_adds_no_connection(
    ctx: ParallelContext,
) -> None:
    workers = [make_network(rank) for rank in range(1, ctx.size)]
    targets = [layer.topology.n_connections - 2 for layer in workers[0][0].layers]
    expected, expected_velocities = merge_replicas(
        [network for network, _ in workers], [velocities for _, velocities in workers], targets
    )
    # What the rank that looks on has must not matter, not even for the order in which the others are added up.
    digests = []
    for density in (0.1, 0.9):
        network, velocities = make_network(ctx.rank, density=density if ctx.is_root else 0.4)
        averaging = LocalSgd(ctx, has_shared_topology=False, momentum="average", is_contributor=not ctx.is_root)
        averaging.start_apart(network, targets)
        averaging.sync(network, velocities)
        assert [layer.topology.n_connections for layer in network.layers] == targets
        for own, other in zip(network.layers, expected.layers, strict=True):
            np.testing.assert_array_equal(own.topology.keys(), other.topology.keys())
            np.testing.assert_allclose(own.weight, other.weight, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(own.bias, other.bias, rtol=1e-5, atol=1e-6)
        for speed, other_speed in zip(velocities, expected_velocities, strict=True):
            np.testing.assert_allclose(speed.weight, other_speed.weight, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(speed.bias, other_speed.bias, rtol=1e-5, atol=1e-6)
        digests.append(network_digest(network))
        n_own_keys = sum(layer.weight.size for layer in make_network(ctx.rank)[0].layers)
        n_averaged = averaging.n_bytes_sent - (0 if ctx.is_root else 8 * n_own_keys)
        assert n_averaged % 8 == 0
        digests.append(str(n_averaged))
    assert digests[:2] == digests[2:]
    assert len(set(gather_objects(ctx, tuple(digests)))) == 1


@pytest.mark.mpi(ranks=[2])
def test_replicas_that_were_pruned_alike_before_they_evolved_apart_are_averaged_to_the_pruned_size(
    ctx: ParallelContext,
) -> None:
    network, velocities = make_network(0)
    averaging = LocalSgd(ctx, has_shared_topology=False, momentum="average")
    averaging.start(network)
    change = ImportancePruner("compact", 30, 20).prune(network)
    assert change is not None
    network.apply(change, velocities)
    averaging.start_from(change)
    for layer in network.layers:
        layer.weight += np.float32(ctx.rank)
    averaging.sync(network, velocities)
    assert [layer.topology.shape for layer in network.layers] == [each.topology.shape for each in change.layers]
    assert network.n_connections == change.n_connections
    assert len(set(gather_objects(ctx, network_digest(network)))) == 1
