"""Random sequences of evolution and pruning: every connection has an identity, and none rises from the dead."""

from __future__ import annotations

from itertools import count

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hpc_sparse.evolution.importance import ImportancePruner
from hpc_sparse.evolution.strategies.set import replace_weakest
from hpc_sparse.network.connections.compaction import NetworkChange
from hpc_sparse.network.network import Network
from hpc_sparse.network.replica import Replica

steps = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.sampled_from([0.1, 0.3, 0.9])),
        st.tuples(st.sampled_from(["compact", "released"]), st.sampled_from([5.0, 30.0, 60.0])),
        st.tuples(st.just("inputs"), st.sampled_from([10.0, 40.0])),
    ),
    min_size=1,
    max_size=6,
)


def changes_of(network: Network, step, rng) -> NetworkChange | None:
    """One step as a change of all layers."""
    kind, amount = step
    if kind == "set":
        changes = [replace_weakest(layer.topology, layer.weight, amount, rng) for layer in network.layers]
        return NetworkChange(tuple(changes), (None,) * (len(network.layers) + 1))
    if kind == "inputs":
        return ImportancePruner("compact", 0, amount).prune(network)
    return ImportancePruner(kind, amount).prune(network)


class Register:
    """Gives every connection and neuron that ever lives a number of its own, and knows them by original neurons."""

    def __init__(self, network: Network) -> None:
        self._fresh = count(1)
        self.alive = [{key: next(self._fresh) for key in keys} for keys in original_keys(network)]
        self.births = [dict(layer) for layer in self.alive]

    def follow(self, network: Network, change: NetworkChange) -> None:
        """Connections that a change grew are born, even where one has died before; the missing ones are dead."""
        for number, (keys, layer) in enumerate(zip(original_keys(network), change.layers, strict=True)):
            before = self.alive[number]
            self.alive[number] = {
                key: next(self._fresh) if position < 0 else before[key]
                for key, position in zip(keys, layer.old_position.tolist(), strict=True)
            }

    def identities(self, number: int) -> list[int]:
        return list(self.alive[number].values())


def original_keys(network: Network) -> list[list[tuple[int, int]]]:
    """Each connection as a pair of original neurons, layer by layer."""
    keys = []
    for number, layer in enumerate(network.layers):
        rows, columns = np.divmod(layer.topology.keys(), layer.topology.shape[1])
        below, above = network.neuron_ids[number : number + 2]
        columns, rows = columns if below is None else below[columns], rows if above is None else above[rows]
        keys.append(list(zip(rows.tolist(), columns.tolist(), strict=True)))
    return keys


def random_network(seed: int) -> Network:
    names = {"activation": "relu", "alpha": 0.0, "initializer": "normal"}
    return Network.random([9, 14, 11, 4], [0.4, 0.3, 0.6], **names, seed=seed)


@given(steps, st.integers(0, 1000))
@settings(max_examples=150)
def test_a_late_gradient_reaches_the_connections_that_have_lived_ever_since_and_no_other(sequence, seed):
    network, rng = random_network(seed), np.random.default_rng(seed)
    replica, register = Replica.at_rest(network), Register(network)
    n_layers = len(network.layers)
    sent = [np.array(register.identities(number), np.float32) for number in range(n_layers)]
    sent_bias = [np.arange(1, layer.bias.size + 1, dtype=np.float32) for layer in network.layers]
    stepwise, stepwise_bias = list(sent), list(sent_bias)
    composed = None
    for step in sequence:
        change = changes_of(network, step, rng)
        if change is None:
            continue
        replica.apply(change)
        register.follow(network, change)
        for layer, layer_change in zip(network.layers, change.layers, strict=True):
            # Other weights for the next step to judge by: what is grown is at 0 so far.
            layer.weight = rng.standard_normal(layer_change.topology.n_connections).astype(np.float32)
        stepwise = [one.carry(values) for one, values in zip(change.layers, stepwise, strict=True)]
        stepwise_bias = [one.carry_neurons(values) for one, values in zip(change.layers, stepwise_bias, strict=True)]
        composed = (
            list(change.layers)
            if composed is None
            else [before.then(now) for before, now in zip(composed, change.layers, strict=True)]
        )
    if composed is None:
        return
    for number, change in enumerate(composed):
        change.topology.check()
        assert change.topology is network.layers[number].topology
        received = change.carry(sent[number])
        np.testing.assert_array_equal(received, stepwise[number])
        born_before = set(register.births[number].values())
        expected = [identity if identity in born_before else 0 for identity in register.identities(number)]
        assert received.astype(int).tolist() == expected
        np.testing.assert_array_equal(change.carry_neurons(sent_bias[number]), stepwise_bias[number])
        ids = network.neuron_ids[number + 1]
        survivors = sent_bias[number] if ids is None else sent_bias[number][ids]
        np.testing.assert_array_equal(stepwise_bias[number], survivors)


def test_a_connection_that_grew_again_is_another_one():
    network, rng = random_network(3), np.random.default_rng(3)
    register = Register(network)
    reborn = 0
    for _ in range(6):
        change = changes_of(network, ("set", 0.9), rng)
        Replica.at_rest(network).apply(change)
        register.follow(network, change)
        for number in range(3):
            births = register.births[number]
            reborn += sum(births.get(key, number) != number for key, number in register.alive[number].items())
    assert reborn > 20, "the property test above would not see a resurrection"


@given(steps, st.integers(0, 1000))
@settings(max_examples=60)
def test_connections_are_conserved_by_evolution_and_shrink_by_what_pruning_takes(sequence, seed):
    network, rng = random_network(seed), np.random.default_rng(seed)
    replica = Replica.at_rest(network)
    for step in sequence:
        before, widths = network.n_connections, network.widths
        change = changes_of(network, step, rng)
        if change is None:
            continue
        replica.apply(change)
        assert network.n_connections == change.n_connections
        assert all(layer.topology.n_connections > 0 for layer in network.layers)
        if step[0] == "set":
            assert (network.n_connections, network.widths) == (before, widths)
        elif step[0] == "released":
            assert network.n_connections < before
            assert network.widths == widths
        else:
            assert sum(network.widths) < sum(widths)
        for layer in network.layers:
            layer.weight = rng.standard_normal(layer.topology.n_connections).astype(np.float32)
