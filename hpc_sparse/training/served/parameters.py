"""Parameters of a served network as vectors, and what happens to them."""

from __future__ import annotations

from hpc_sparse.dtypes import AnyArray, Float32Array
from hpc_sparse.network.network import Network
from hpc_sparse.network.optimizers.protocol import Optimizer
from hpc_sparse.network.parameters import ParameterLayout, gather_network, gather_states
from hpc_sparse.network.replica import Replica
from hpc_sparse.parallel.replication import topology_arrays
from hpc_sparse.training.evolution_step import EvolutionStep
from hpc_sparse.training.served.history import TopologyHistory


class ServedParameters:
    """Parameters of a replica in one vector and each state array in another, of which its layers have views.

    Parameters
    ----------
    replica : Replica

    Attributes
    ----------
    replica : Replica
    values : float32[n_parameters]
    states : dict of str to float32[n_parameters]
        State arrays of the optimiser.
    history : TopologyHistory
        Topologies on which gradients may have been computed that are still to come.
    """

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.history = TopologyHistory(replica.network)
        self.values, self.states = gather_network(replica.network), gather_states(replica)
        self._layout = ParameterLayout.of(replica.network)
        self._scratch = self._layout.new_vector()

    def follow(self, step: EvolutionStep) -> None:
        """Go on with a network that has changed."""
        network = self.replica.network
        self.values, self.states = gather_network(network), gather_states(self.replica)
        self._layout = ParameterLayout.of(network)
        if self._scratch.size < self.values.size:
            self._scratch = self._layout.new_vector()
        self.history.advance(network, step.composed())

    def room_for(self, version: int) -> Float32Array:
        """Room for a gradient computed on a topology; the same memory each time."""
        return self._scratch[: self.history.layout(version).n_parameters]

    def topology_arrays(self) -> list[AnyArray]:
        """The current topology as it is sent."""
        return topology_arrays(self.replica.network)

    def descend(self, gradient: Float32Array, rate: float, optimizer: Optimizer) -> None:
        """Update everything by a gradient (float32[n_parameters])."""
        optimizer.descend(rate, self.values, gradient, self._layout.n_decayed, self.states)

    def snapshot(self) -> Network:
        """The network as it is now, with copies of what updates change."""
        snapshot = self.replica.network.copy()
        for layer, values in zip(snapshot.layers, self._layout.views(self.values.copy()), strict=True):
            layer.bind(values)
        return snapshot
