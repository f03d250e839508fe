"""One part of a network, with the numbers of the whole."""

from __future__ import annotations

from dataclasses import dataclass, field

from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.network import Network, Place
from hpc_sparse.network.partitioned.connections import PartitionedCsr
from hpc_sparse.network.partitioned.exchange import ALONE, Exchange
from hpc_sparse.network.partitioned.layer_share import LayerShare
from hpc_sparse.network.workspace import Workspace


@dataclass
class PartitionedNetwork(Network):
    """Layers of which this rank has some of the neurons. What is counted is the network of all parts.

    Attributes
    ----------
    whole_widths : list of int
        Neurons of each layer, inputs first.
    whole_sizes : list of int
        Connections of each layer.
    exchange : Exchange
    """

    whole_widths: list[int] = field(kw_only=True)
    whole_sizes: list[int] = field(kw_only=True)
    exchange: Exchange = field(default=ALONE, kw_only=True)

    @property
    def widths(self) -> list[int]:
        """Neurons per layer, from the input to the output."""
        return list(self.whole_widths)

    @property
    def n_connections(self) -> int:
        """Stored connections of all layers, mirrors not counted."""
        return sum(self.whole_sizes)

    @property
    def n_parameters(self) -> int:
        """Numbers that are learned, of all layers."""
        return self.n_connections + sum(self.whole_widths[1:])

    @property
    def density(self) -> float:
        """Stored connections as a share of those of the dense network of the same widths."""
        n_possible = sum(n_in * n_out for n_in, n_out in zip(self.whole_widths, self.whole_widths[1:], strict=False))
        return self.n_connections / n_possible

    def make_workspace(self, max_batch: int, *, activations: str = "float32") -> Workspace:
        """Buffers for batches of up to ``max_batch`` samples, those of hidden layers where all parts can read them.

        Collective, where the network is in parts.
        """
        share = self.exchange.share
        return Workspace(self.layers, max_batch, self.tile_width, activations=activations, allocate=share)

    def rows(self, place: Place) -> Topology:
        """The connections to own neurons at a place, with the numbers of the whole layer below."""
        return self.part_at(place).incoming.rows()

    def share(self, place: Place) -> LayerShare:
        """Which of the connections at a place are here."""
        incoming = self.part_at(place).incoming
        return LayerShare(self.exchange, incoming.targets, incoming.sources.owned, self.whole_sizes[place.layer])

    def shape_at(self, place: Place) -> tuple[int, int]:
        """(n_out, n_in) of the connections at a place, those of all parts."""
        below, above = self.widths[place.layer : place.layer + 2]
        return above, below

    def part_at(self, place: Place) -> PartitionedCsr:
        """The connections at a place that are here."""
        connections = self.at(place)
        assert isinstance(connections, PartitionedCsr)
        return connections
