"""A replica divided into parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from hpc_sparse.dtypes import OFFSET, AnyArray
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.layers.protocol import Layer
from hpc_sparse.network.layers.sparse import sparse_layers
from hpc_sparse.network.optimizers.state import OptimizerState
from hpc_sparse.network.partitioned.connections import PartitionedCsr
from hpc_sparse.network.partitioned.exchange import Exchange
from hpc_sparse.network.partitioned.halo import Room
from hpc_sparse.network.partitioned.network import PartitionedNetwork
from hpc_sparse.network.partitioned.ownership import Ownership
from hpc_sparse.network.replica import Replica


def divided(exchange: Exchange, replica: Replica) -> Replica:
    """The part of this rank of a replica of sparse layers, which all ranks have alike (collective).

    Neurons of each layer are divided so that parts have about equally many incoming connections.

    Raises
    ------
    InputError
        A layer is of another kind.
    """
    whole, room = replica.network, Room()
    below, layers, states = Ownership.whole(whole.widths[0]), list[Layer](), list[OptimizerState]()
    for number, (layer, state) in enumerate(zip(sparse_layers(whole), replica.states, strict=True)):
        topology = layer.topology
        targets = Ownership.balanced(topology.indptr, exchange.n_parts, exchange.part)
        start, stop = (int(topology.indptr[row]) for row in (targets.first, targets.stop))
        rows = rows_of(topology, targets)
        weight, neurons = layer.weight[start:stop], slice(targets.first, targets.stop)
        ends = {"is_first": number == 0, "is_last": number == len(whole.layers) - 1}
        incoming = PartitionedCsr.build(exchange, rows, weight, targets, below, room, **ends)
        incoming.settle()
        layers.append(replace(layer, incoming=incoming, bias=layer.bias[neurons].copy(), first_row=targets.first))
        own = {name: _own(incoming, each, slice(start, stop), neurons) for name, each in state.values.items()}
        states.append(OptimizerState(own))
        below = targets
    network = PartitionedNetwork(
        layers,
        list(whole.neuron_ids),
        tile_width=whole.tile_width,
        whole_widths=tuple(whole.widths),
        whole_connections=whole.n_connections,
        exchange=exchange,
    )
    return Replica(network, states)


def rows_of(topology: Topology, targets: Ownership) -> Topology:
    """The connections to own neurons, with the numbers that sources have in their layer."""
    indptr = topology.indptr[targets.first : targets.stop + 1]
    indices = topology.indices[indptr[0] : indptr[-1]].copy()
    return Topology((targets.n_own, topology.shape[1]), (indptr - indptr[0]).astype(OFFSET), indices)


def _own(
    incoming: PartitionedCsr, values: Mapping[str, AnyArray], connections: slice, neurons: slice
) -> dict[str, AnyArray]:
    """A state array of the part's parameters, from that of the whole layer (collective)."""
    weight = np.ascontiguousarray(incoming.mirrored(values["weight"][connections]))
    return {"weight": weight.copy(), "bias": values["bias"][neurons].copy()}
