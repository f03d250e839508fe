"""A replica divided into parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from hpc_sparse.dtypes import OFFSET, VALUE, AnyArray, Int32Array
from hpc_sparse.errors import InputError
from hpc_sparse.network.connections.csr import Csr
from hpc_sparse.network.connections.dense import Dense
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.dropout import Dropout
from hpc_sparse.network.layers.protocol import Layer
from hpc_sparse.network.layers.sparse import SparseLayer, sparse_layers
from hpc_sparse.network.objectives.protocol import Objective, Outcome
from hpc_sparse.network.optimizers.protocol import Optimizer
from hpc_sparse.network.optimizers.state import OptimizerState
from hpc_sparse.network.partitioned.connections import PartitionedCsr
from hpc_sparse.network.partitioned.exchange import Exchange
from hpc_sparse.network.partitioned.halo import Room
from hpc_sparse.network.partitioned.network import PartitionedNetwork
from hpc_sparse.network.partitioned.ownership import Ownership
from hpc_sparse.network.replica import Replica
from hpc_sparse.network.tokens import Batch
from hpc_sparse.network.workspace import Workspace

DIVISIBLE = (Csr.kind, Dense.kind)
"""Kinds of connections that can be divided."""


def divided(exchange: Exchange, replica: Replica) -> Replica:
    """The part of this rank of a replica of sparse layers, which all ranks have alike (collective).

    Neurons of each layer are divided so that parts have about equally many incoming connections.

    Raises
    ------
    InputError
        A layer, its connections or its states are of a kind that cannot be divided.
    """
    whole = replica.network
    check_divisible(replica)
    layers = zip(sparse_layers(whole), replica.states, strict=True)
    return assembled(exchange, layers, len(whole.layers), whole.neuron_ids, whole.tile_width)


def assembled(
    exchange: Exchange,
    whole_layers: Iterable[tuple[SparseLayer, OptimizerState]],
    n_layers: int,
    neuron_ids: Sequence[Int32Array | None],
    tile_width: int,
) -> Replica:
    """The part of this rank of a replica whose layers come one after the other, and may go (collective).

    Parameters
    ----------
    exchange : Exchange
    whole_layers : iterable of (SparseLayer, OptimizerState)
        From the first hidden one to the output, the same on all ranks.
    n_layers : int
    neuron_ids, tile_width
        As of the network.
    """
    room, layers, states = Room(), list[Layer](), list[OptimizerState]()
    below, widths, n_connections = Ownership.whole(0), list[int](), 0
    for number, (layer, state) in enumerate(whole_layers):
        topology = layer.topology
        if number == 0:
            below, widths = Ownership.whole(topology.shape[1]), [topology.shape[1]]
        targets = Ownership.balanced(topology.indptr, exchange.n_parts, exchange.part)
        start, stop = (int(topology.indptr[row]) for row in (targets.first, targets.stop))
        rows = rows_of(topology, targets)
        weight, neurons = layer.weight[start:stop], slice(targets.first, targets.stop)
        ends = {"is_first": number == 0, "is_last": number == n_layers - 1}
        incoming = PartitionedCsr.build(exchange, rows, weight, targets, below, room, **ends)
        incoming.settle()
        layers.append(replace(layer, incoming=incoming, bias=layer.bias[neurons].copy(), first_row=targets.first))
        own = {name: _own(incoming, each, slice(start, stop), neurons) for name, each in state.values.items()}
        states.append(OptimizerState(own))
        widths.append(targets.n_neurons)
        n_connections += topology.n_connections
        below = targets
        del layer, state, topology, weight, rows  # before the next one is made
    network = PartitionedNetwork(
        layers,
        list(neuron_ids),
        tile_width=tile_width,
        whole_widths=tuple(widths),
        whole_connections=n_connections,
        exchange=exchange,
    )
    return PartitionedReplica(network, states)


class PartitionedReplica(Replica):
    """One part of a network with the state of its optimiser."""

    def train_batch(
        self,
        batch: Batch,
        labels: AnyArray,
        objective: Objective,
        dropouts: Sequence[Dropout],
        optimizer: Optimizer,
        rate: float,
        workspace: Workspace,
        clip_norm: float | None = None,
    ) -> Outcome:
        """One training step on one batch, of all parts together (collective).

        Raises
        ------
        InputError
            The gradient is to be clipped, whose norm no part knows.
        """
        if clip_norm is not None:
            raise InputError(f"clip_norm = {clip_norm}: not for a network in parts; expected none")
        return super().train_batch(batch, labels, objective, dropouts, optimizer, rate, workspace)

    def refresh_mirrors(self) -> None:
        """Give mirrors the weights and states of what they mirror, after these were averaged (collective)."""
        for layer, state in zip(sparse_layers(self.network), self.states, strict=True):
            incoming = layer.incoming
            assert isinstance(incoming, PartitionedCsr)
            incoming.settle()
            for own in state.values.values():
                own["weight"] = incoming.mirrored(own["weight"][: incoming.n_primary])

    def is_finite(self) -> bool:
        """Whether every parameter of all parts is a finite number (collective)."""
        assert isinstance(self.network, PartitionedNetwork)
        return self.network.exchange.total(int(not super().is_finite())) == 0

    def check_invariants(self) -> None:
        """Assert that every list is sound and every array aligned to it."""
        for layer, state in zip(sparse_layers(self.network), self.states, strict=True):
            incoming = layer.incoming
            assert isinstance(incoming, PartitionedCsr)
            incoming.topology.check()
            for values in state.of("weight").values():
                assert values.shape == incoming.weight.shape, (values.shape, incoming.weight.shape)
            for values in (layer.bias, *state.of("bias").values()):
                assert values.shape == (incoming.incoming.targets.n_own,), values.shape


def check_divisible(replica: Replica) -> None:
    """Check that a replica can be divided into parts.

    Raises
    ------
    InputError
        A layer, its connections or its states are of a kind that cannot.
    """
    for number, (layer, state) in enumerate(zip(sparse_layers(replica.network), replica.states, strict=True)):
        check_layer_divisible(number, layer, state)


def check_layer_divisible(number: int, layer: Layer, state: OptimizerState) -> None:
    """Check that a layer can be divided: see :func:`check_divisible`."""
    if not isinstance(layer, SparseLayer):
        raise InputError(f'layer {number} is of the kind "{layer.kind}": expected "{SparseLayer.kind}" for parts')
    if layer.incoming.kind not in DIVISIBLE:
        expected = " or ".join(DIVISIBLE)
        raise InputError(f'layer {number} has connections "{layer.incoming.kind}": expected {expected} for parts')
    for name, own in state.values.items():
        if own["weight"].dtype != VALUE:
            raise InputError(f"layer {number} has a {name} of {own['weight'].dtype}: expected float32 for parts")


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
