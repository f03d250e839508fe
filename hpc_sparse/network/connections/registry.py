"""Kinds of connections by name. To add one, add a file and a line."""

from __future__ import annotations

from hpc_sparse.dtypes import Float32Array
from hpc_sparse.network.connections.csr import Csr
from hpc_sparse.network.connections.dense import Dense, is_complete
from hpc_sparse.network.connections.protocol import Connections
from hpc_sparse.network.connections.reserve import Reserve
from hpc_sparse.network.connections.topology import Topology

CONNECTIONS: dict[str, type[Connections]] = {kind.kind: kind for kind in (Csr, Dense, Reserve)}


def unstructured(topology: Topology, weight: Float32Array) -> Csr:
    """Connections of a topology without further settings: dense where all pairs of neurons are connected."""
    return (Dense if is_complete(topology) else Csr)(topology, weight)


def with_reserve(connections: Csr, acting_share: float) -> Csr:
    """The same connections, of which only a share acts; they themselves if all do."""
    if acting_share == 1:
        return connections
    return Reserve(connections.topology, connections.weight, acting_share)
