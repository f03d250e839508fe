"""A replica divided into parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import numpy as np

from hpc_sparse.dtypes import OFFSET, VALUE, AnyArray, Int32Array
from hpc_sparse.errors import InputError
from hpc_sparse.network.connections.compaction import NetworkChange
from hpc_sparse.network.connections.csr import Csr
from hpc_sparse.network.connections.dense import Dense
from hpc_sparse.network.connections.protocol import INPUT
from hpc_sparse.network.connections.topology import Topology, TopologyChange
from hpc_sparse.network.layers.protocol import Layer
from hpc_sparse.network.layers.sparse import SparseLayer, sparse_layers
from hpc_sparse.network.network import Place
from hpc_sparse.network.optimizers.state import OptimizerState
from hpc_sparse.network.partitioned.connections import Ends, PartitionedCsr
from hpc_sparse.network.partitioned.exchange import Exchange
from hpc_sparse.network.partitioned.halo import Room
from hpc_sparse.network.partitioned.network import PartitionedNetwork
from hpc_sparse.network.partitioned.ownership import Ownership
from hpc_sparse.network.partitioned.rewiring import Rewiring
from hpc_sparse.network.replica import Replica, Weights

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
    below, widths, sizes = Ownership.whole(0), list[int](), list[int]()
    for number, (layer, state) in enumerate(whole_layers):
        topology = layer.topology
        if number == 0:
            below, widths = Ownership.whole(topology.shape[1]), [topology.shape[1]]
        targets = Ownership.balanced(topology.indptr, exchange.n_parts, exchange.part)
        own = slice(*(int(topology.indptr[row]) for row in (targets.first, targets.stop)))
        neurons = slice(targets.first, targets.stop)
        ends, rows = Ends(number == 0, number == n_layers - 1), rows_of(topology, targets)
        incoming = PartitionedCsr.build(exchange, rows, layer.weight[own], targets, below, room, ends)
        layers.append(replace(layer, incoming=incoming, bias=layer.bias[neurons].copy(), first_row=targets.first))
        values = {name: (each["weight"][own], each["bias"][neurons].copy()) for name, each in state.values.items()}
        states.append(_with_mirrors(incoming, values))
        widths.append(targets.n_neurons)
        sizes.append(topology.n_connections)
        below = targets
        del layer, state, topology, values, rows  # before the next one is made
    network = PartitionedNetwork(
        layers,
        list(neuron_ids),
        tile_width=tile_width,
        whole_widths=widths,
        whole_sizes=sizes,
        exchange=exchange,
    )
    return PartitionedReplica(network, states)


@dataclass
class PartitionedReplica(Replica):
    """One part of a network with the state of its optimiser."""

    network: PartitionedNetwork
    _rewirings: dict[int, Rewiring] = field(default_factory=dict, init=False, repr=False)

    @property
    def is_part(self) -> bool:
        """Whether other ranks hold the rest of the network."""
        return self.network.exchange.n_parts > 1

    def _train_clipped(self, *arguments: Any, **_: Any) -> NoReturn:
        raise InputError(f"clip_norm = {arguments[-1]}: not for a network in parts; expected none")

    def state_at(self, place: Place, state_array: str) -> AnyArray:
        """A state array of the weights of connections to own neurons."""
        return super().state_at(place, state_array)[: self.network.part_at(place).n_primary]

    def follow(self, number: int, changes: Mapping[str, TopologyChange]) -> None:
        """Follow a change of the connections to own neurons of a layer, and those of other parts (collective)."""
        layer, change = sparse_layers(self.network)[number], changes[INPUT]
        assert change.old_neuron is None, "parts keep their neurons"
        assert isinstance(layer.incoming, PartitionedCsr)
        rewiring = layer.incoming.rewiring(change)
        layer.incoming = layer.incoming.changed(rewiring)
        for own in self.states[number].values.values():
            own["weight"] = rewiring.carry(own["weight"])
        self.network.whole_sizes[number] = self.network.exchange.total(rewiring.incoming.n_connections)
        self._rewirings[number] = rewiring

    def settle(self, place: Place, changed: Weights) -> None:
        """Give mirrors the weights of what they mirror, those that were set after a change (collective)."""
        rewiring, connections = self._rewirings.pop(place.layer), self.network.part_at(place)
        if changed == "all":
            connections.settle()
        elif changed == "grown":
            rewiring.send_grown(self.network.exchange, connections.weight)

    def apply(self, change: NetworkChange) -> None:
        """Follow a change of the own rows of all layers and of the neurons of all parts (collective).

        What is left of a part's neurons stays with it. All lists are made anew.
        """
        network, room, kept = self.network, Room(), change.kept_neurons
        below = Ownership.whole(network.widths[0]).survivors(kept[0])
        for number, (layer, own) in enumerate(zip(sparse_layers(network), change.layers, strict=True)):
            before = network.part_at(Place(number, INPUT))
            n, targets = before.n_primary, before.incoming.targets.survivors(kept[number + 1])
            ends = Ends(number == 0, before.is_last)
            weight = own.carry(before.weight[:n])
            incoming = PartitionedCsr.build(network.exchange, own.topology, weight, targets, below, room, ends)
            layer.incoming, layer.bias, layer.first_row = incoming, own.carry_neurons(layer.bias), targets.first
            values = {
                name: (own.carry(each["weight"][:n]), own.carry_neurons(each["bias"]))
                for name, each in self.states[number].values.items()
            }
            self.states[number] = _with_mirrors(incoming, values)
            network.whole_sizes[number] = network.exchange.total(own.topology.n_connections)
            network.whole_widths[number : number + 2] = below.n_neurons, targets.n_neurons
            below = targets
        network.note_survivors(kept)

    def check_invariants(self) -> None:
        """Assert that every list is sound and every array aligned to it."""
        for layer, state in zip(sparse_layers(self.network), self.states, strict=True):
            connections = layer.incoming
            assert isinstance(connections, PartitionedCsr)
            connections.topology.check()
            n_mirrors = 0 if connections.lists is None else connections.lists.n_mirrors
            for values in (connections.weight, *state.of("weight").values()):
                assert values.shape == (connections.n_primary + n_mirrors,), values.shape
            for values in (layer.bias, *state.of("bias").values()):
                assert values.shape == (connections.incoming.targets.n_own,), values.shape

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


def _with_mirrors(incoming: PartitionedCsr, values: Mapping[str, tuple[AnyArray, AnyArray]]) -> OptimizerState:
    """The state arrays of a part's weights and biases, from those of own connections and neurons (collective)."""
    return OptimizerState(
        {
            name: {"weight": np.array(incoming.mirrored(np.ascontiguousarray(weight))), "bias": bias}
            for name, (weight, bias) in values.items()
        }
    )
