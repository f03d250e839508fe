"""Averaging the replicas: the parts that need no second rank."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_sparse.evolution.selection import resparsify
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.network import Network
from hpc_sparse.network.replica import Replica
from hpc_sparse.parallel.agreement import check_agreement, network_digest
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.parallel.local_sgd import LocalSgd
from hpc_sparse.parallel.shared_index import SharedIndex

CTX = ParallelContext.serial(threads=1)

values = st.lists(st.sampled_from([-2.0, -0.5, -0.0, 0.0, 0.0, 0.5, 1.0]) | st.floats(-3, 3, width=32), max_size=30)


def make_network(seed=1):
    return Network.random([9, 12, 4], [0.4, 1.0], activation="relu", alpha=0.0, initializer="he_uniform", seed=seed)


@given(values, st.data())
def test_resparsifying_leaves_exactly_the_target(drawn, data):
    weight = np.array(drawn, np.float32)
    n_target = data.draw(st.integers(0, weight.size))
    is_kept = resparsify(weight, n_target)
    assert is_kept.sum() == n_target
    for own in (weight > 0, weight < 0):
        kept, dropped = np.abs(weight[own & is_kept]), np.abs(weight[own & ~is_kept])
        assert kept.size == 0 or dropped.size == 0 or kept.min() >= dropped.max()
    if (is_kept & (weight == 0)).any():
        assert (weight[~is_kept] == 0).all()


@pytest.mark.parametrize(("n_positive", "n_negative"), [(100, 300), (300, 100), (200, 0), (0, 200), (7, 9)])
def test_both_signs_lose_the_same_share(n_positive, n_negative):
    rng = np.random.default_rng(1)
    weight = np.concatenate([rng.random(n_positive) + 0.1, -rng.random(n_negative) - 0.1, np.zeros(11)])
    weight = rng.permutation(weight).astype(np.float32)
    n_target = (n_positive + n_negative) * 3 // 4
    is_kept = resparsify(weight, n_target)
    assert abs((is_kept & (weight > 0)).sum() - n_positive * 0.75) <= 1
    assert abs((is_kept & (weight < 0)).sum() - n_negative * 0.75) <= 1
    assert not is_kept[weight == 0].any()


@pytest.mark.parametrize("has_shared_topology", [True, False])
def test_one_rank_keeps_no_topology_alive_that_the_network_has_left(has_shared_topology):
    network = make_network()
    averaging = LocalSgd.start(CTX, network, has_shared_topology=has_shared_topology, cut_back=resparsify)
    left = weakref.ref(network.layers[0].topology)
    network.layers[0].incoming = make_network(seed=2).layers[0].incoming
    assert left() is None
    assert averaging.targets[1] == 48


def test_a_digest_sees_every_change():
    digests = {network_digest(make_network())}
    changes = [
        lambda layer: layer.weight.__setitem__(3, np.nextafter(layer.weight[3], np.float32(9))),
        lambda layer: layer.bias.__setitem__(0, -0.0),
        lambda layer: layer.topology.indices.__setitem__(0, 8 - layer.topology.indices[0]),
        lambda layer: layer.topology.indptr.__setitem__(1, layer.topology.indptr[1] + 1),
    ]
    for change in changes:
        network = make_network()
        change(network.layers[0])
        digests.add(network_digest(network))
    assert len(digests) == 1 + len(changes)
    assert network_digest(make_network()) == network_digest(make_network())


def test_one_replica_agrees_with_itself_and_syncs_nothing():
    network = make_network()
    before = network_digest(network)
    averaging = LocalSgd.start(CTX, network, has_shared_topology=False, cut_back=resparsify, resets={"velocity"})
    replica = Replica.at_rest(network)
    replica.states[0]["velocity"]["weight"][:] = 3
    averaging.sync(replica)
    check_agreement(CTX, network)
    assert network_digest(network) == before
    assert (replica.states[0]["velocity"]["weight"] == 3).all()
    assert averaging.n_bytes_sent == 0


def test_the_shared_index_is_the_union_of_base_and_own():
    base, own = Topology.from_keys((3, 4), np.array([0, 3, 7])), Topology.from_keys((3, 4), np.array([1, 3, 11]))
    index = SharedIndex.build(CTX, base, own)
    assert index.keys.tolist() == [0, 1, 3, 7, 11]
    assert index.position.tolist() == [1, 2, 4]
    assert index.scatter(np.array([5, 6, 7], np.float32)).tolist() == [0, 5, 6, 0, 7]
