"""Replicas: made from a configuration, stored and taken up again, and checked against data."""

from __future__ import annotations

import dataclasses

import pytest

from hpc_sparse.errors import DataError, FileFormatError
from hpc_sparse.network.densities import densities
from hpc_sparse.parallel.agreement import network_digest
from hpc_sparse.training.replica_states import (
    check_fits,
    initial_replica,
    n_outputs,
    replica_from_states,
    replica_to_states,
)


def test_a_network_has_the_configured_widths_and_densities(make_config, make_dataset):
    config, info = make_config("network.epsilon=4"), make_dataset().info
    network = initial_replica(config, info).network
    assert network.widths == [12, 24, 18, 3]
    expected = [min(1.0, 4 * (a + b) / (a * b)) for a, b in ((12, 24), (24, 18), (18, 3))]
    assert densities(config.network, network.widths) == pytest.approx(expected)
    assert network.layers[0].topology.density == pytest.approx(expected[0], abs=0.1)
    assert network.layers[2].topology.density == 1.0
    assert densities(make_config("network.density=0.25").network, [5, 6, 7]) == [0.25, 0.25]


def test_a_replica_survives_being_stored(make_config, make_dataset):
    config, info = make_config("network.activation=leaky_relu"), make_dataset().info
    replica = initial_replica(config, info)
    replica.states[1]["velocity"]["weight"][:] = 0.5
    states = replica_to_states(replica)
    assert [state.activation for state in states] == ["leaky_relu", "leaky_relu", "output"]
    again = replica_from_states(config, states)
    again.check_invariants()
    assert network_digest(again.network) == network_digest(replica.network)
    assert [layer.slope for layer in again.network.layers] == [0.6, 0.6, 1.0]
    assert (again.states[1]["velocity"]["weight"] == 0.5).all()


def test_connections_of_another_shape_than_their_layer_never_reach_a_kernel(make_config, make_dataset):
    config, info = make_config(), make_dataset().info
    first, *others = replica_to_states(initial_replica(config, info))
    wider = dataclasses.replace(first.connections["input"], shape=(24, 13))
    states = [dataclasses.replace(first, connections={"input": wider}), *others]
    message = r"checkpoint: layer 0: connections input have 24 x 13 neurons: expected 24 x 12"
    with pytest.raises(FileFormatError, match=message):
        replica_from_states(config, states)


@pytest.mark.parametrize(
    ("loss", "n_classes", "expected"),
    [
        ("cross_entropy", 3, 3),
        ("mse", 3, 3),
        ("mse_tanh", 2, 1),
        ("mse", 2, 1),
        ("cross_entropy", 2, 2),
        ("binary_cross_entropy", 2, 1),
    ],
)
def test_outputs_follow_from_loss_and_classes(make_config, make_dataset, loss, n_classes, expected):
    config, info = make_config(f"training.loss={loss}"), make_dataset(n_classes=n_classes).info
    assert n_outputs(config, info) == expected
    assert initial_replica(config, info).network.widths[-1] == expected


def test_a_loss_for_two_classes_refuses_three(make_config, make_dataset):
    config, info = make_config("training.loss=binary_cross_entropy"), make_dataset().info
    with pytest.raises(DataError, match=r'training.loss = "binary_cross_entropy": for two classes, but small.h5 has 3'):
        initial_replica(config, info)


@pytest.mark.parametrize(("name", "told"), [("n_features", "13 features"), ("n_classes", "13 classes")])
def test_a_network_that_does_not_fit_the_data_is_told(make_config, make_dataset, name, told):
    config, info = make_config(), make_dataset().info
    network = initial_replica(config, info).network
    check_fits(network, config, info, "a.h5")
    with pytest.raises(DataError, match=rf"small.h5: {told}, but the network in a.h5 has"):
        check_fits(network, config, dataclasses.replace(info, **{name: 13}), "a.h5")
