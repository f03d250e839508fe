"""Steps from written gradients: the same as those of the fused kernels, by layers and of all parameters at once."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.kernels.simd import machine
from hpc_sparse.network.dropout import NO_DROPOUT
from hpc_sparse.network.layers.sparse import SparseLayer
from hpc_sparse.network.network import Network
from hpc_sparse.network.objectives.cross_entropy import CrossEntropy
from hpc_sparse.network.optimizers.protocol import Optimizer
from hpc_sparse.network.optimizers.sgd import Sgd
from hpc_sparse.network.parameters import ParameterLayout, gather_network, gather_states
from hpc_sparse.network.replica import Replica
from hpc_sparse.network.tiles import Tiles

RATE, N_STEPS = 0.1, 3


class WrittenSgd(Sgd):
    """SGD without its kernels."""

    sink = Optimizer.sink


@pytest.fixture
def start(make_connections):
    """Make a network at rest, always the same but for its tiles."""

    def make(width):
        parts = [make_connections(23, 31), make_connections(17, 23, 5), make_connections(4, 17, 9)]
        layers = [SparseLayer.of(part.topology, part.weight.copy(), part.bias.copy(), 0.3) for part in parts]
        return Replica.at_rest(Network(layers, tile_width=width))

    return make


def train(replica, optimizer, batch, labels):
    workspace = replica.network.make_workspace(labels.size)
    for _ in range(N_STEPS):
        replica.train_batch(batch, labels, CrossEntropy(), [NO_DROPOUT] * 2, optimizer, RATE, workspace)


def serve(replica, optimizer, batch, labels):
    """The steps as the server of workers makes them: of all parameters in one vector."""
    values, states = gather_network(replica.network), gather_states(replica)
    layout, workspace = ParameterLayout.of(replica.network), replica.network.make_workspace(labels.size)
    gradient = layout.new_vector()
    for _ in range(N_STEPS):
        views = layout.views(gradient)
        replica.network.gradient_batch(batch, labels, CrossEntropy(), [NO_DROPOUT] * 2, workspace, views)
        optimizer.descend(RATE, values, gradient, layout.n_decayed, states)


@pytest.mark.parametrize("width", machine.WIDTHS)
@pytest.mark.parametrize("n_batch", [10, 128, 240])
@pytest.mark.parametrize("steps", [train, serve])
def test_gradients_that_are_written_lead_where_fused_steps_do(start, make_columns, n_batch, steps, width):
    batch, labels = Tiles.of(make_columns(31, n_batch), width), np.arange(n_batch, dtype=np.int32) % 4
    fused, written, before = start(width), start(width), start(width)
    train(fused, Sgd(0.9, 0.2, is_nesterov=True), batch, labels)
    steps(written, WrittenSgd(0.9, 0.2, is_nesterov=True), batch, labels)
    for one, other, old in zip(fused.network.layers, written.network.layers, before.network.layers, strict=True):
        for name, parameter in one.parameters().items():
            np.testing.assert_allclose(other.parameters()[name].values, parameter.values, rtol=1e-4, atol=1e-6)
            assert not np.allclose(old.parameters()[name].values, parameter.values)
    for one, other in zip(fused.states, written.states, strict=True):
        for name, values in one["velocity"].items():
            np.testing.assert_allclose(other["velocity"][name], values, rtol=1e-3, atol=1e-6)
