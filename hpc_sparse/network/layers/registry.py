"""Kinds of layers by name. To add one, add a file and a line."""

from __future__ import annotations

from hpc_sparse.network.connections.protocol import Connections
from hpc_sparse.network.connections.registry import connections_from_state
from hpc_sparse.network.layers.protocol import Layer
from hpc_sparse.network.layers.sparse import SparseLayer
from hpc_sparse.network.layers.state import LayerState

LAYERS: dict[str, type[Layer]] = {SparseLayer.kind: SparseLayer}


def connections_of(state: LayerState) -> dict[str, Connections]:
    """The connections of a stored layer by name, with their weights; all act, whatever the configuration says."""
    weights = LAYERS[state.kind].weights
    return {
        name: connections_from_state(each, state.parameters[weights[name]]) for name, each in state.connections.items()
    }
