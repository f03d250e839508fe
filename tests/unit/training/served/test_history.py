"""Late gradients over random sequences of changes: each reaches the parameters it was computed for, and no other."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpc_sparse.evolution.importance import ImportancePruner
from hpc_sparse.evolution.strategies.set import replace_weakest
from hpc_sparse.network.connections.topology import Topology, TopologyChange
from hpc_sparse.network.network import Network
from hpc_sparse.network.parameters import ParameterLayout
from hpc_sparse.network.replica import Replica
from hpc_sparse.training.served.history import TopologyHistory

sequences = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.sampled_from([0.1, 0.3, 0.9])),
        st.tuples(st.just("hidden set"), st.sampled_from([0.5])),
        st.tuples(st.sampled_from(["compact", "released", "inputs"]), st.sampled_from([5.0, 30.0, 60.0])),
        st.tuples(st.just("nothing"), st.just(0.0)),
    ),
    min_size=1,
    max_size=7,
)


def random_network(seed):
    names = {"activation": "relu", "alpha": 0.0, "initializer": "normal"}
    return Network.random([9, 14, 11, 4], [0.4, 0.3, 0.6], **names, seed=seed)


def change(network, step, rng):
    """Do one step to a network; the changes of each layer's connections by name, none for a layer that stays."""
    kind, amount = step
    replica, n_layers = Replica.at_rest(network), len(network.layers)
    if kind in {"compact", "released", "inputs"}:
        pruner = ImportancePruner("compact", 0, amount) if kind == "inputs" else ImportancePruner(kind, amount)
        pruning = pruner.prune(network)
        if pruning is None:
            return [{}] * n_layers
        replica.apply(pruning)
        changes = [{"input": one} for one in pruning.layers]
    else:
        n_changing = {"set": n_layers, "hidden set": n_layers - 1, "nothing": 0}[kind]
        changes = [{}] * n_layers
        for number, layer in enumerate(network.layers[:n_changing]):
            changes[number] = {"input": replace_weakest(layer.topology, layer.weight, amount, rng)}
            replica.follow(number, changes[number])
    for layer in network.layers:
        # Other weights for the next step to judge by: what is grown is at 0 so far.
        layer.weight = rng.standard_normal(layer.topology.n_connections).astype(np.float32)
    return changes


class Register:
    """Gives every parameter that ever lives a number of its own."""

    def __init__(self, network):
        self._fresh = count(1)
        self.weights = [[next(self._fresh) for _ in layer.weight] for layer in network.layers]
        self.biases = [[next(self._fresh) for _ in layer.bias] for layer in network.layers]

    def follow(self, changes):
        for number, one in ((number, own["input"]) for number, own in enumerate(changes) if own):
            old = self.weights[number]
            self.weights[number] = [old[at] if at >= 0 else next(self._fresh) for at in one.old_position.tolist()]
            if one.old_neuron is not None:
                self.biases[number] = [self.biases[number][at] for at in one.old_neuron.tolist()]

    def vector(self):
        return np.array([number for part in (*self.weights, *self.biases) for number in part], np.float32)


@given(sequences, st.integers(0, 1000), st.data())
@settings(max_examples=100)
def test_a_late_gradient_reaches_the_parameters_that_have_lived_ever_since_from_every_remembered_version(
    sequence, seed, data
):
    network, rng = random_network(seed), np.random.default_rng(seed)
    history, register = TopologyHistory(network), Register(network)
    sent = {0: register.vector()}
    for version, step in enumerate(sequence, 1):
        changes = change(network, step, rng)
        history.advance(network, changes)
        register.follow(changes)
        sent[version] = register.vector()
        assert history.version == version
        oldest = data.draw(st.integers(0, version))
        history.forget_before(oldest)
        sent = {number: vector for number, vector in sent.items() if number >= oldest}
        assert history.remembered == sorted(sent)
        for number, vector in sent.items():
            assert history.layout(number).n_parameters == vector.size
            was_there = set(vector.tolist())
            expected = [each if each in was_there else 0 for each in sent[version].tolist()]
            assert history.carry(number, vector).tolist() == expected


@given(sequences, st.integers(0, 1000))
@settings(max_examples=60)
def test_carrying_over_all_changes_at_once_is_carrying_over_each(sequence, seed):
    network, rng = random_network(seed), np.random.default_rng(seed)
    history = TopologyHistory(network)
    gradient = rng.standard_normal(ParameterLayout.of(network).n_parameters).astype(np.float32)
    stepwise = gradient
    for step in sequence:
        single = TopologyHistory(network)
        changes = change(network, step, rng)
        single.advance(network, changes)
        history.advance(network, changes)
        stepwise = single.carry(0, stepwise)
    np.testing.assert_array_equal(history.carry(0, gradient), stepwise)


def test_a_connection_that_has_grown_again_does_not_get_the_gradient_of_the_one_before():
    network = Network.random([3, 2], [1.0], activation="relu", alpha=0.0, initializer="normal", seed=1)
    history = TopologyHistory(network)
    shape = (2, 3)
    without = Topology.from_keys(shape, np.array([0, 2, 3, 4, 5]))
    again = Topology.from_keys(shape, np.arange(6))
    for one in (
        TopologyChange(without, np.array([0, 2, 3, 4, 5])),
        TopologyChange(again, np.array([0, -1, 1, 2, 3, 4])),
    ):
        Replica.at_rest(network).follow(0, {"input": one})
        history.advance(network, [{"input": one}])
    gradient = np.arange(1, 9, dtype=np.float32)
    assert history.carry(0, gradient).tolist() == [1, 0, 3, 4, 5, 6, 7, 8]
    assert history.carry(1, gradient[:7]).tolist() == [1, 0, 2, 3, 4, 5, 6, 7]
    assert history.carry(2, gradient) is gradient


def test_the_present_version_is_never_forgotten_and_a_forgotten_one_is_gone():
    network = random_network(4)
    history = TopologyHistory(network)
    for _ in range(3):
        history.advance(network, [{}] * 3)
    history.forget_before(99)
    assert history.remembered == [3]
    with pytest.raises(KeyError):
        history.layout(2)
