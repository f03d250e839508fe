"""Replicas: how they start, follow changes of their connections, and notice what is wrong with their arrays."""

from __future__ import annotations

import weakref

import numpy as np
import pytest

from hpc_sparse.network.connections.topology import Topology, TopologyChange
from hpc_sparse.network.network import Network, Place
from hpc_sparse.network.replica import Replica


@pytest.fixture
def replica():
    """A network of three layers with velocities of its own."""
    widths, densities = [9, 7, 6, 3], [0.5, 0.4, 1.0]
    network = Network.random(widths, densities, activation="relu", alpha=0, initializer="normal", seed=2)
    replica = Replica.at_rest(network)
    rng = np.random.default_rng(1)
    for state in replica.states:
        for values in state["velocity"].values():
            values[:] = rng.standard_normal(values.size)
    return replica


def replacement(topology):
    """The change that takes a topology's first connection and grows one where there was none."""
    keys = topology.keys()
    free = np.setdiff1d(np.arange(topology.shape[0] * topology.shape[1]), keys)[0]
    now = np.sort(np.append(keys[1:], free))
    positions = np.searchsorted(keys, now)
    old_position = np.where(now == free, -1, positions)
    return TopologyChange(Topology.from_keys(topology.shape, now), old_position), int(np.flatnonzero(now == free)[0])


def test_a_new_replica_rests(replica):
    states = Replica.at_rest(replica.network).states
    assert [list(state["velocity"]) for state in states] == [["weight", "bias"]] * 3
    for layer, state in zip(replica.network.layers, states, strict=True):
        assert state["velocity"]["weight"].shape == layer.weight.shape
        assert state["velocity"]["bias"].shape == layer.bias.shape
        assert not any(values.any() for values in state["velocity"].values())


def test_what_is_kept_keeps_weight_and_velocity_and_what_has_grown_gets_none(replica):
    layer, state = replica.network.layers[1], replica.states[1]
    weight, speed, bias = layer.weight.copy(), state["velocity"]["weight"].copy(), state["velocity"]["bias"].copy()
    change, grown = replacement(layer.topology)
    replica.follow(1, {"input": change})
    replica.check_invariants()
    assert layer is replica.network.layers[1]
    assert layer.topology is change.topology
    assert (layer.weight[grown], state["velocity"]["weight"][grown]) == (0, 0)
    for values, before in ((layer.weight, weight), (state["velocity"]["weight"], speed)):
        np.testing.assert_array_equal(np.delete(values, grown), before[1:])
    np.testing.assert_array_equal(state["velocity"]["bias"], bias)


def test_old_weights_are_gone_before_new_velocities_are_made(replica, monkeypatch):
    state, weight = replica.states[1], weakref.ref(replica.network.layers[1].weight)
    is_left = []
    follow = type(state).follow
    monkeypatch.setattr(type(state), "follow", lambda *each: is_left.append(weight() is not None) or follow(*each))
    replica.follow(1, {"input": replacement(replica.network.layers[1].topology)[0]})
    assert is_left == [False]


def test_no_change_leaves_a_layer_as_it_is(replica):
    layer, state = replica.network.layers[0], replica.states[0]
    before = [layer.topology, layer.weight, layer.bias, *state["velocity"].values()]
    replica.follow(0, {})
    after = [layer.topology, layer.weight, layer.bias, *state["velocity"].values()]
    assert all(one is other for one, other in zip(before, after, strict=True))


def test_a_layer_that_begins_anew_rests_and_keeps_what_it_is_not_given(replica):
    layer = replica.network.layers[0]
    bias, others = layer.bias, [state["velocity"]["weight"].copy() for state in replica.states[1:]]
    topology = Topology.from_keys(layer.shape, np.array([3, 8, 40]))
    replica.restart(0, {"input": topology}, {"weight": np.array([1, 2, 3], np.float32)})
    replica.check_invariants()
    assert layer.topology is topology
    assert layer.weight.tolist() == [1, 2, 3]
    assert layer.bias is bias
    assert not any(values.any() for values in replica.states[0]["velocity"].values())
    for state, before in zip(replica.states[1:], others, strict=True):
        np.testing.assert_array_equal(state["velocity"]["weight"], before)


def test_the_velocity_at_a_place_is_that_of_the_weights_of_its_connections(replica):
    for number, state in enumerate(replica.states):
        assert replica.state_at(Place(number, "input"), "velocity") is state["velocity"]["weight"]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["weight", "bias"])
def test_a_value_that_is_not_finite_is_seen(replica, name, value):
    assert replica.is_finite()
    getattr(replica.network.layers[1], name)[2] = value
    assert not replica.is_finite()


@pytest.mark.parametrize("name", ["weight", "bias"])
def test_arrays_that_are_not_aligned_are_seen(replica, name):
    replica.check_invariants()
    replica.states[0]["velocity"][name] = replica.states[0]["velocity"][name][1:]
    with pytest.raises(AssertionError):
        replica.check_invariants()


@pytest.mark.parametrize("name", ["weight", "bias"])
def test_parameters_that_are_not_aligned_are_seen(replica, name):
    layer = replica.network.layers[0]
    layer.bind({name: getattr(layer, name)[1:]})
    with pytest.raises(AssertionError):
        replica.check_invariants()


def test_a_state_without_one_of_the_parameters_is_seen(replica):
    del replica.states[2]["velocity"]["bias"]
    with pytest.raises(AssertionError):
        replica.check_invariants()
