"""Kinds of connections by name. To add one, add a file and a line."""

from __future__ import annotations

from itertools import pairwise

from hpc_sparse.config import NetworkSection
from hpc_sparse.config.layers import CONNECTION_KINDS
from hpc_sparse.dtypes import Float32Array
from hpc_sparse.errors import ConfigError
from hpc_sparse.network.blueprint import LayerBlueprint
from hpc_sparse.network.connections.block import Block
from hpc_sparse.network.connections.csr import Csr
from hpc_sparse.network.connections.dense import Dense, is_complete
from hpc_sparse.network.connections.diagonal import Diagonal
from hpc_sparse.network.connections.n_of_m import NOfM
from hpc_sparse.network.connections.protocol import Connections
from hpc_sparse.network.connections.reserve import ALL_ACT, Reserve
from hpc_sparse.network.connections.state import ConnectionState
from hpc_sparse.network.connections.topology import Topology

CONNECTIONS: dict[str, type[Connections]] = {}
"""The classes by the names that configurations and checkpoints know."""


def register_connections(kind: type[Connections]) -> type[Connections]:
    """The same class, which configurations can choose and checkpoints can hold from now on."""
    assert CONNECTIONS.get(kind.kind) in (None, kind), f"two kinds of connections are called {kind.kind}"
    CONNECTIONS[kind.kind] = kind
    if kind.kind != Reserve.kind:  # the strategy decides on a reserve
        CONNECTION_KINDS[kind.kind] = kind
    return kind


for each in (Csr, Dense, Reserve, Block, NOfM, Diagonal):
    register_connections(each)

UNSTRUCTURED = frozenset({Csr.kind, Dense.kind, Reserve.kind})
"""Kinds of which each can become another one, as the number of connections and the configuration want it."""


def check_widths(config: NetworkSection, n_inputs: int) -> None:
    """Check that each hidden layer can have the connections that a configuration wants for it.

    Raises
    ------
    ConfigError
        One cannot.
    """
    for number, (n_in, n_out) in enumerate(pairwise([n_inputs, *config.hidden])):
        section = config.layer(number)
        if refusal := CONNECTIONS[section.connections].refuses_shape((n_out, n_in), section):
            raise ConfigError(f"{f'network.layers.{number}' if config.layers else 'network'}.{refusal}")


def unstructured(topology: Topology, weight: Float32Array) -> Csr:
    """Connections of a topology without further settings: dense where all pairs of neurons are connected."""
    return (Dense if is_complete(topology) else Csr)(topology, weight)


def with_reserve(connections: Csr, acting_share: float) -> Csr:
    """The same connections, of which only a share acts; they themselves if all do."""
    if acting_share == ALL_ACT:
        return connections
    return Reserve(connections.topology, connections.weight, acting_share)


def random_connections(blueprint: LayerBlueprint) -> Connections:
    """The connections of a new layer to the layer below: with random weights, drawn unless they are given."""
    if blueprint.connections not in UNSTRUCTURED:
        return CONNECTIONS[blueprint.connections].random(blueprint)
    drawn = Csr.random(blueprint)
    return with_reserve(unstructured(drawn.topology, drawn.weight), blueprint.acting_share)


def connections_from_state(state: ConnectionState, weight: Float32Array, acting_share: float = ALL_ACT) -> Connections:
    """Stored connections with their weights; of unstructured ones the share acts that the configuration says."""
    made = CONNECTIONS[state.kind].from_state(state, weight)
    if state.kind not in UNSTRUCTURED:
        return made
    return with_reserve(unstructured(made.topology, made.weight), acting_share)
