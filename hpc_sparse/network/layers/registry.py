"""Kinds of layers by name. To add one, add a file and a line."""

from __future__ import annotations

from hpc_sparse.config.layers import LAYER_SECTIONS
from hpc_sparse.network.connections.protocol import Connections
from hpc_sparse.network.connections.registry import connections_from_state
from hpc_sparse.network.layers.convolution import ConvolutionLayer
from hpc_sparse.network.layers.protocol import Layer
from hpc_sparse.network.layers.recurrent import RecurrentLayer
from hpc_sparse.network.layers.sparse import SparseLayer
from hpc_sparse.network.layers.state import LayerState
from hpc_sparse.network.layers.tanh import TanhLayer

LAYERS: dict[str, type[Layer]] = {}
"""The classes by the names that configurations and checkpoints know."""


def register_layer(kind: type[Layer]) -> type[Layer]:
    """The same class, which configurations can choose and checkpoints can hold from now on."""
    assert LAYERS.get(kind.kind) in (None, kind), f"two kinds of layers are called {kind.kind}"
    LAYERS[kind.kind] = kind
    LAYER_SECTIONS[kind.kind] = kind.section
    return kind


for each in (SparseLayer, RecurrentLayer, TanhLayer, ConvolutionLayer):
    register_layer(each)


def connections_of(state: LayerState) -> dict[str, Connections]:
    """The connections of a stored layer by name, with their weights; all act, whatever the configuration says."""
    weights = LAYERS[state.kind].weights
    return {
        name: connections_from_state(each, state.parameters[weights[name]]) for name, each in state.connections.items()
    }
