"""Layers of a network in parts as a file holds them, which does not tell that there were any."""

from __future__ import annotations

from hpc_sparse.dtypes import OFFSET, AnyArray
from hpc_sparse.network.connections.csr import Csr
from hpc_sparse.network.connections.protocol import INPUT
from hpc_sparse.network.connections.state import ConnectionState
from hpc_sparse.network.layers.sparse import SparseLayer, sparse_layers
from hpc_sparse.network.layers.state import Extent, LayerState
from hpc_sparse.network.optimizers.state import OptimizerState
from hpc_sparse.network.partitioned.connections import PartitionedCsr
from hpc_sparse.network.partitioned.exchange import Exchange
from hpc_sparse.network.partitioned.network import PartitionedNetwork
from hpc_sparse.network.replica import Replica


def part_states(replica: Replica) -> tuple[LayerState, ...]:
    """The own neurons of each layer, their connections and states, with their places in the whole layer (collective).

    Mirrors are left out.
    """
    network = replica.network
    assert isinstance(network, PartitionedNetwork)
    return tuple(
        _part_state(network.exchange, layer, state)
        for layer, state in zip(sparse_layers(network), replica.states, strict=True)
    )


def _part_state(exchange: Exchange, layer: SparseLayer, state: OptimizerState) -> LayerState:
    own = layer.incoming
    assert isinstance(own, PartitionedCsr)
    rows, targets, n = own.incoming.rows(), own.incoming.targets, own.n_primary
    first, n_all = exchange.before(n), exchange.total(n)
    # The pointer behind the last row of all is the last part's.
    n_pointers = targets.n_own + (exchange.part == exchange.n_parts - 1)
    structure: dict[str, AnyArray] = {
        "indptr": rows.indptr[:n_pointers].astype(OFFSET) + first,
        "indices": rows.indices,
    }
    shape = (targets.n_neurons, rows.shape[1])
    of_own = {name: {"weight": each["weight"][:n], "bias": each["bias"]} for name, each in state.values.items()}
    states = OptimizerState(of_own).arrays()
    connections, neurons = Extent(first, n_all), Extent(targets.first, targets.n_neurons)
    extents = {
        f"connections/{INPUT}/indptr": Extent(targets.first, targets.n_neurons + 1),
        f"connections/{INPUT}/indices": connections,
        "parameters/weight": connections,
        "parameters/bias": neurons,
    }
    extents |= {f"states/{name}": connections if name.startswith("weight") else neurons for name in states}
    return LayerState(
        layer.kind,
        shape,
        layer.activation,
        {INPUT: ConnectionState(Csr.kind, shape, n_all, structure)},
        {"weight": own.weight[:n], "bias": layer.bias},
        states,
        extents=extents,
    )
