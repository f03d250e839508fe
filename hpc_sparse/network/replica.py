"""A replica: what one rank trains, its network with the state of its optimiser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np

from hpc_sparse.dtypes import VALUE, AnyArray, Float32Array
from hpc_sparse.network.connections.compaction import NetworkChange
from hpc_sparse.network.connections.protocol import INPUT
from hpc_sparse.network.connections.topology import Topology, TopologyChange
from hpc_sparse.network.dropout import Dropout
from hpc_sparse.network.network import Network, Place
from hpc_sparse.network.objectives.protocol import Objective, Outcome
from hpc_sparse.network.optimizers.clipping import clip
from hpc_sparse.network.optimizers.protocol import Optimizer
from hpc_sparse.network.optimizers.sgd import VELOCITY
from hpc_sparse.network.optimizers.state import OptimizerState, StateTypes, carried
from hpc_sparse.network.tokens import Batch
from hpc_sparse.network.workspace import Workspace

Weights = Literal["all", "grown", "none"]
"""Which weights of some connections: all, those of connections that have just grown, or none."""

OF_SGD: StateTypes = MappingProxyType({VELOCITY: VALUE})


@dataclass
class Replica:
    """A network with the state of its optimiser.

    Attributes
    ----------
    network : Network
    states : list of OptimizerState
        One per layer.
    """

    network: Network
    states: list[OptimizerState]

    @classmethod
    def at_rest(cls, network: Network, types: StateTypes = OF_SGD) -> Replica:
        """A network before its first step, with the state arrays of an optimiser, by default those of SGD."""
        return cls(network, [OptimizerState.at_rest(layer.parameters(), types) for layer in network.layers])

    @property
    def is_part(self) -> bool:
        """Whether other ranks hold the rest of the network."""
        return False

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
        """One training step on one batch; changes parameters and states in place.

        Parameters
        ----------
        batch, labels, objective, dropouts, workspace
            As for :meth:`hpc_sparse.network.network.Network.learn`.
        optimizer : Optimizer
        rate : float
            Learning rate.
        clip_norm : float or None
            Largest norm of the gradient; None: any.

        Returns
        -------
        Outcome
            Of the batch, with dropout and before the update.
        """
        if clip_norm is not None:
            return self._train_clipped(batch, labels, objective, dropouts, optimizer, rate, workspace, clip_norm)
        sinks = [
            optimizer.drawing_for(number).sink(rate, state, workspace.scratch)
            for number, state in enumerate(self.states)
        ]
        return self.network.learn(batch, labels, objective, dropouts, workspace, sinks)

    def _train_clipped(
        self,
        batch: Batch,
        labels: AnyArray,
        objective: Objective,
        dropouts: Sequence[Dropout],
        optimizer: Optimizer,
        rate: float,
        workspace: Workspace,
        clip_norm: float,
    ) -> Outcome:
        """:meth:`train_batch` with the gradient of all parameters written, clipped, then applied."""
        of_layers = [layer.parameters() for layer in self.network.layers]
        sizes = [{name: each.values.size for name, each in own.items()} for own in of_layers]
        vector, gradients = workspace.gradients(sizes)
        outcome = self.network.gradient_batch(batch, labels, objective, dropouts, workspace, gradients)
        clip(vector, clip_norm)
        for number, (parameters, own, state) in enumerate(zip(of_layers, gradients, self.states, strict=True)):
            for name, (values, _, decays) in parameters.items():
                n_decayed = values.size if decays else 0
                optimizer.drawing_for(number, name).descend(rate, values, own[name], n_decayed, state.of(name))
        return outcome

    def change_rate(self, optimizer: Optimizer, factor: float) -> None:
        """Adapt the states to a learning rate that is ``factor`` times that of the steps before."""
        for layer, state in zip(self.network.layers, self.states, strict=True):
            for name in layer.parameters():
                optimizer.change_rate(state.of(name), factor)

    def follow(self, number: int, changes: Mapping[str, TopologyChange]) -> None:
        """Follow changes of a layer's connections: what is kept keeps value and state, what has grown gets 0."""
        layer = self.network.layers[number]
        connections = layer.connections()
        shape = next((connections[name].shape_with(each.topology) for name, each in changes.items()), layer.shape)
        n_each = {name: each.values_per_unit for name, each in connections.items()}
        values = {
            name: carried(each.connections, changes, each.values, n_each) for name, each in layer.parameters().items()
        }
        del connections
        # The old parameters go before new states come: memory for one of both is planned.
        layer.rewire(shape, {name: change.topology for name, change in changes.items()}, values)
        self.states[number].follow(layer.parameters(), changes, n_each)

    def restart(self, number: int, topologies: Mapping[str, Topology], values: Mapping[str, Float32Array]) -> None:
        """Begin anew with other connections of a layer and some of its parameters; the others stay, at rest."""
        layer = self.network.layers[number]
        kept = {name: parameter.values for name, parameter in layer.parameters().items()}
        layer.rewire(layer.shape, topologies, {**kept, **values})
        self.states[number] = self.states[number].at_rest_again(layer.parameters())

    def settle(self, place: Place, changed: Weights) -> None:
        """Have the weights that were set after a change known wherever they are needed; on one rank they are."""

    def state_at(self, place: Place, state_array: str) -> AnyArray:
        """float32[n] or bfloat16: a state array of the weights of the units at a place that are here."""
        weight = self.network.at(place).weight
        for name, parameter in self.network.layers[place.layer].parameters().items():
            if parameter.values is weight:
                return self.states[place.layer][state_array][name]
        raise KeyError(place)

    def apply(self, change: NetworkChange) -> None:
        """Follow a change of all layers and neurons.

        Neurons may have gone: a workspace of the old widths does not fit any more.
        """
        for number, of_layer in enumerate(change.layers):
            self.follow(number, {INPUT: of_layer})
        self.network.note_survivors(change.kept_neurons)

    def is_finite(self) -> bool:
        """Whether every parameter is a finite number."""
        # Infinities of both signs add up to not-a-number, of which NumPy would warn.
        with np.errstate(invalid="ignore"):
            totals = [
                parameter.values.sum(dtype=np.float64)
                for layer in self.network.layers
                for parameter in layer.parameters().values()
            ]
        return bool(np.isfinite(totals).all())

    def refresh_mirrors(self) -> None:
        """Bring copies of other ranks' weights up to date where a network is in parts (collective)."""

    def check_invariants(self) -> None:
        """Assert that every topology is sound and every array aligned to it; the kernels rely on both."""
        for layer, state in zip(self.network.layers, self.states, strict=True):
            connections = layer.connections()
            for each in connections.values():
                each.topology.check()
            parameters = layer.parameters()
            for own in state.values.values():
                assert parameters.keys() == own.keys(), (parameters.keys(), own.keys())
            n_values = {name: each.weight.size for name, each in connections.items()}
            sizes = layer.parameter_sizes(layer.shape, n_values, layer.settings())
            for name, parameter in parameters.items():
                for values in (parameter.values, *state.of(name).values()):
                    assert values.shape == (sizes[name],), name
