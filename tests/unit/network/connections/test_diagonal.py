"""Diagonal connections: which there are, that they stay, what is stored of them, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.config import parse_config
from hpc_sparse.errors import ConfigError, FileFormatError
from hpc_sparse.network.blueprint import LayerBlueprint
from hpc_sparse.network.connections.csr import Csr
from hpc_sparse.network.connections.diagonal import Diagonal, is_diagonal
from hpc_sparse.network.connections.registry import check_widths, connections_from_state
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.densities import densities
from hpc_sparse.network.network import Network

N_IN = 7
CONFIG = """
[data]
path = "small.h5"
[[network.layers]]
n = 14
connections = "diagonal"
[[network.layers]]
n = 5
[training]
epochs = 1
"""


def made(n_out=2 * N_IN):
    return Diagonal.random(LayerBlueprint(0, (n_out, N_IN), 1 / N_IN, "relu", 0.0, "he_uniform", 3))


def test_each_neuron_reads_the_input_of_its_number():
    connections = made()
    matrix = connections.to_csr().toarray()
    expected = np.zeros((14, N_IN), np.float32)
    expected[np.arange(14), np.arange(14) % N_IN] = connections.weight
    np.testing.assert_array_equal(matrix, expected)
    assert connections.weight.all()
    assert np.abs(connections.weight).max() <= np.sqrt(6)
    assert np.abs(connections.weight).max() > 1  # as for neurons of one input, not of all


def test_they_are_stored_as_a_shape_and_weights():
    connections = made()
    state = connections.state()
    assert (state.kind, state.structure, state.n_units) == ("diagonal", {}, 14)
    Diagonal.check_state("here", state)
    again = connections_from_state(state, connections.weight)
    assert isinstance(again, Diagonal)
    np.testing.assert_array_equal(again.topology.indices, connections.topology.indices)
    broken = type(state)("diagonal", (14, N_IN), 13, {})
    with pytest.raises(FileFormatError, match="here: 13 diagonal connections: expected 14"):
        Diagonal.check_state("here", broken)


def test_without_some_neurons_they_are_unstructured():
    connections = made()
    keys = connections.topology.keys()[:-1]
    smaller = connections.rewired(Topology.from_keys((14, N_IN), keys), connections.weight[:-1])
    assert type(smaller) is Csr
    assert isinstance(connections.rewired(connections.topology, connections.weight), Diagonal)
    assert not is_diagonal(Topology.from_keys((7, 7), np.arange(6) * 8))


def test_they_never_evolve_and_have_a_density_of_their_own():
    config = parse_config(CONFIG, "small.toml", ())
    network = Network.from_config(config.network, N_IN, 3, seed=0)
    assert [place.layer for place in network.evolving()] == [1]
    assert densities(config.network, [N_IN, 14, 5, 3])[0] == 1 / N_IN
    assert network.layers[0].connections()["input"].topology.n_connections == 14


def test_other_than_a_multiple_of_the_inputs_is_refused():
    config = parse_config(CONFIG, "small.toml", ())
    check_widths(config.network, N_IN)
    with pytest.raises(ConfigError, match=r'network.layers.0.connections = "diagonal": 14 neurons: must be as many'):
        check_widths(config.network, 6)
