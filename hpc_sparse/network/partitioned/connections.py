"""Unstructured connections to the neurons of a layer that this rank has, of which others know some of the sources."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import scipy.sparse

from hpc_sparse.dtypes import INDEX, OFFSET, VALUE, AnyArray, Float32Array, Float64Array, Int64Array
from hpc_sparse.kernels.growth import compaction
from hpc_sparse.kernels.partitioned.rows import accept_by_owner, add_tiles, descend_mirrors
from hpc_sparse.network.connections.csr import Csr
from hpc_sparse.network.connections.initial_weights import draw_grown_weights
from hpc_sparse.network.connections.protocol import Epilogue, Gate, ScoreRule
from hpc_sparse.network.connections.topology import Topology, TopologyChange
from hpc_sparse.network.partitioned.exchange import Exchange
from hpc_sparse.network.partitioned.halo import Halo, Room
from hpc_sparse.network.partitioned.lists import Incoming, Outgoing, Pairs
from hpc_sparse.network.partitioned.ownership import LocalNumbers, Ownership
from hpc_sparse.network.partitioned.rewiring import Rewiring
from hpc_sparse.network.partitioned.routes import Route
from hpc_sparse.network.sinks import DescendMap, MapSink
from hpc_sparse.network.tiles import SourceRows, Tiles


class Ends(NamedTuple):
    """Whether a layer is at the end of its network.

    Attributes
    ----------
    is_first : bool
        The neurons below are the inputs, all of which are here.
    is_last : bool
        The sums of all neurons are wanted on every rank.
    """

    is_first: bool
    is_last: bool


@dataclass
class PartitionedCsr(Csr):
    """Connections of one part of a network. Rows of activations and deltas travel in its products (collective).

    Weights come first, then mirrors: copies of the weights that lead from own neurons to those of other parts. Both
    ends find the same gradient bit for bit, and step by it.

    Attributes
    ----------
    incoming : Incoming
        Connections to the own neurons.
    lists : Outgoing or None
        Connections from the own neurons below; None for the first layer.
    exchange : Exchange
    below : Halo
        Around the own neurons of the layer below.
    above : Halo or None
        Around those of the layer; None for the first layer, whose deltas go nowhere.
    is_last : bool
        The products of all parts are brought together, and the deltas of all neurons are known.
    room : Room
        For what travels.
    """

    incoming: Incoming = field(kw_only=True)
    lists: Outgoing | None = field(kw_only=True)
    exchange: Exchange = field(kw_only=True)
    below: Halo = field(kw_only=True)
    above: Halo | None = field(kw_only=True)
    is_last: bool = field(kw_only=True)
    room: Room = field(kw_only=True)

    @classmethod
    def build(
        cls,
        exchange: Exchange,
        rows: Topology,
        weight: Float32Array,
        targets: Ownership,
        below: Ownership,
        room: Room,
        ends: Ends,
    ) -> PartitionedCsr:
        """The connections of this part (collective).

        Parameters
        ----------
        exchange : Exchange
        rows : Topology
            Of shape (n_own, n_in): the connections to own neurons, from any.
        weight : float32[nnz]
            Of these.
        targets, below : Ownership
            Of the layer, and of the layer below.
        room : Room
            For what travels, which all layers of a network share.
        ends : Ends
        """
        assert below.n_parts == (1 if ends.is_first else exchange.n_parts), (below, exchange.n_parts)
        incoming = Incoming.of(rows, targets, below, knows_all=exchange.shares_memory)
        received = None if ends.is_first else _received(exchange, incoming)
        values = np.zeros(weight.size + _n_mirrors(exchange, received), weight.dtype)
        values[: weight.size] = weight
        made = cls._of(exchange, incoming, received, values, room, is_last=ends.is_last)
        made.settle()
        return made

    def changed(self, rewiring: Rewiring) -> PartitionedCsr:
        """What has become of these connections; their values are carried over, those of grown ones are 0."""
        values = rewiring.carry(self.weight)
        return self._of(self.exchange, rewiring.incoming, rewiring.received, values, self.room, is_last=self.is_last)

    @classmethod
    def _of(
        cls,
        exchange: Exchange,
        incoming: Incoming,
        received: Sequence[Pairs] | None,
        values: Float32Array,
        room: Room,
        *,
        is_last: bool,
    ) -> PartitionedCsr:
        """Connections whose lists are known: from each part those of own neurons below, None for a first layer."""
        outgoing, above, routed = None, None, Route.of_all(incoming.sources)
        if received is not None:
            everywhere = exchange.shares_memory
            outgoing = Outgoing.of(incoming, received, knows_all=is_last or everywhere)
            of_deltas = outgoing.targets
            route = Route.of_all(of_deltas) if is_last or everywhere else Route.of_deltas(incoming, of_deltas)
            above = Halo(of_deltas, route, exchange, room)
            routed = Route.of_all(incoming.sources) if everywhere else Route.of_activations(incoming, received)
        elif is_last:
            everything = LocalNumbers.of_all(incoming.targets)
            above = Halo(everything, Route.of_all(everything), exchange, room)
        return cls(
            incoming.topology,
            values,
            outgoing=None if outgoing is None else outgoing.index,
            lists=outgoing,
            incoming=incoming,
            exchange=exchange,
            below=Halo(incoming.sources, routed, exchange, room),
            above=above,
            is_last=is_last,
            room=room,
        )

    @property
    def shape(self) -> tuple[int, int]:
        """(n_out, n_in) of the tiles that this rank gives and reads."""
        targets = self.incoming.targets
        return targets.n_neurons if self.is_last else targets.n_own, self.incoming.sources.owned.n_own

    @property
    def n_primary(self) -> int:
        """Connections to own neurons; mirrors come behind."""
        return self.incoming.n_connections

    def scores(self, by: ScoreRule = "norm") -> Float32Array:  # noqa: ARG002  (the same for one weight)
        """float32[n_primary]: the weights of connections to own neurons."""
        return self.weight[: self.n_primary]

    def rewiring(self, change: TopologyChange) -> Rewiring:
        """What a change of the connections to own neurons means for all parts (collective)."""
        return Rewiring.of(self.exchange, self.incoming, self.lists, change)

    def initial_weight(self, topology: Topology, initializer: str, key: np.uint64) -> Float32Array:
        """float32[nnz]: weights of rows of own neurons in a new layer; columns are numbers in the layer below."""
        weight = np.empty(topology.n_connections, VALUE)
        self._draw(topology, np.full(weight.size, -1, OFFSET), initializer, key, weight)
        return weight

    def draw_grown(self, old_position: Int64Array, initializer: str, key: np.uint64) -> None:
        """Overwrite the weights of connections to own neurons whose ``old_position`` is -1 by initial ones."""
        self._draw(self.incoming.rows(), old_position, initializer, key, self.weight[: self.n_primary])

    def _draw(
        self, rows: Topology, old_position: Int64Array, initializer: str, key: np.uint64, weight: Float32Array
    ) -> None:
        targets = self.incoming.targets
        fans = _Fans((targets.n_neurons, rows.shape[1]), rows.fan_in())
        draw_grown_weights(initializer, rows, old_position, key, weight, first_row=targets.first, fans=fans)

    def rescale(self, scores: Float32Array, by: ScoreRule, initial: Callable[[], Float32Array]) -> None:  # noqa: ARG002
        """Go on with these weights of connections to own neurons."""
        self.weight[: self.n_primary] = scores

    def incoming_strength(self) -> Float64Array:
        """float64[n_own]: sum of the incoming absolute weights of each own neuron."""
        rows, strength = self.incoming.topology, np.empty(self.incoming.targets.n_own, np.float64)
        compaction.incoming_strength(rows.indptr, self.weight, rows.bounds, strength)
        return strength

    def outgoing_strength(self) -> Float64Array:
        """float64[n_own below]: sum of the outgoing absolute weights of each own neuron below.

        Collective in a first layer, where the parts add theirs up one after the other.
        """
        strength = np.zeros(self.incoming.sources.owned.n_own, np.float64)
        if self.outgoing is not None:
            out = self.outgoing
            compaction.incoming_strength(out.indptr, self.weight[out.position], out.bounds, strength)
            return strength
        for part in range(self.exchange.n_parts):
            if part == self.exchange.part:
                rows = self.incoming.topology
                compaction.add_outgoing_strength(rows.indices, self.weight[: self.n_primary], strength)
            strength = self.exchange.broadcast(strength, part)
        return strength

    def matrix(self, values: AnyArray) -> scipy.sparse.csr_array:
        """``values`` of the weights, mirrors or not, as a SciPy matrix (n_own, n_in)."""
        return self.incoming.rows().matrix(values[: self.n_primary])

    def mirrored(self, values: AnyArray) -> AnyArray:
        """``values`` [n_primary] of the connections to own neurons, with those of the others' mirrors (collective)."""
        if self.outgoing is None or self.exchange.n_parts == 1:
            return values
        received = self.exchange.trade([values[group.positions] for group in self.incoming.by_owner()])
        received[self.exchange.part] = values[:0]
        return np.concatenate([values, *received])

    def settle(self) -> None:
        """Give the mirrors the weights of what they mirror (collective)."""
        self.weight = self.mirrored(self.weight[: self.n_primary])

    def product(self, source: Tiles, epilogue: Epilogue, out: Tiles) -> None:
        """``out = epilogue(W source)``, of all neurons in the last layer (collective)."""
        known = self.below.known(source)
        own = out.like(self.incoming.targets.n_own) if self._gathers else out
        if own.n_neurons:
            self._product(known, epilogue, own)
        if self._gathers:
            assert self.above is not None
            self.above.fill(own, out)

    def transposed(self, delta: Tiles, gate: Gate | None, out: Tiles) -> None:
        """``out = (W^T delta) * gate`` (collective)."""
        known = self._known_deltas(delta)
        if out.n_neurons:
            self._transposed(known, gate, out)

    def gradient(self, delta: Tiles, source: Tiles, sink: MapSink) -> None:
        """The gradients of weights and biases of a first layer, whose inputs are all here."""
        assert self.outgoing is None
        own = self._own_deltas(delta)
        if own.n_neurons:
            super().gradient(own, source, sink)

    def transposed_and_gradient(
        self, delta: Tiles, source: Tiles, gate: Gate | None, sink: MapSink, out: Tiles
    ) -> None:
        """Both (collective): the gradients of own weights and of mirrors.

        Where both ends of a connection are is where its gradient is computed from what is there anyway, the source's
        owner: it sends the gradients of its mirrors to those who have the weights.
        """
        assert gate is not None
        own, known = self._own_deltas(delta), self._known_deltas(delta)
        has_sources = out.n_neurons > 0
        parts = self._fused(known, source, gate, sink, out) if has_sources else self._room(sink).reshape(1, -1)
        if self.exchange.n_parts > 1:
            self._trade_gradients(parts)
        self._accept(parts, own, sink)

    def _trade_gradients(self, parts: Float32Array) -> None:
        """Send those of mirrors, added up, and put those that arrive where the weights are (collective)."""
        assert self.lists is not None
        add_tiles(parts, self.n_primary)
        t, (starts, bounds) = self.topology, self.incoming.remote_starts
        received = self.room.values("gradients", int(bounds[-1]), parts.dtype)
        sends = np.split(parts[0, self.n_primary :], self.lists.mirrors[1:-1])
        self.exchange.swap(sends, np.split(received, bounds[1:-1]))
        ranges = self.incoming.sources.ranges()
        accept_by_owner(t.indptr, t.indices, ranges, self.exchange.part, t.bounds, starts, received, parts)

    @property
    def _gathers(self) -> bool:
        """Whether the products of all parts are brought together."""
        return self.is_last and self.exchange.n_parts > 1

    def _own_deltas(self, delta: Tiles) -> Tiles:
        """The deltas of own neurons."""
        if not self._gathers:
            return delta
        targets = self.incoming.targets
        own = delta.like(targets.n_own)
        for (_, tile), (_, of_all) in zip(own, delta, strict=True):
            tile[:] = of_all[targets.first : targets.stop]
        return own

    def _known_deltas(self, delta: Tiles) -> SourceRows:
        """The deltas of all neurons that own ones below lead to."""
        if self.is_last:
            return delta
        assert self.above is not None
        return self.above.known(delta)

    def _accept(self, parts: Float32Array, delta: Tiles, sink: MapSink) -> None:
        """Give gradients to the sink, those of mirrors too."""
        if not isinstance(sink, DescendMap) or delta.n_neurons:
            super()._accept(parts, delta, sink)
        if isinstance(sink, DescendMap) and self.weight.size > self.n_primary:
            mirrors, factors = slice(self.n_primary, None), (sink.rate, sink.momentum, sink.decay, sink.is_nesterov)
            assert isinstance(sink.weight_velocity, np.ndarray), "velocities of parts are float32"
            descend_mirrors(parts[0, mirrors], *factors, sink.weight[mirrors], sink.weight_velocity[mirrors])


@dataclass(frozen=True)
class _Fans:
    """Shape of a whole layer, with the incoming connections of some of its neurons."""

    shape: tuple[int, int]
    of_rows: AnyArray

    def fan_in(self) -> AnyArray:
        """Incoming connections of each."""
        return self.of_rows


def _n_mirrors(exchange: Exchange, received: Sequence[Pairs] | None) -> int:
    """Connections from own neurons to those of other parts."""
    return sum(pairs.sources.size for part, pairs in enumerate(received or ()) if part != exchange.part)


def _received(exchange: Exchange, incoming: Incoming) -> Sequence[Pairs]:
    """From each part of the layer, the connections from own neurons below (collective)."""
    pairs = [incoming.pairs(group) for group in incoming.by_owner()]
    if exchange.n_parts == 1:
        return pairs
    sources = exchange.trade([each.sources for each in pairs])
    targets = exchange.trade([each.targets for each in pairs])
    return [Pairs(own.astype(INDEX, copy=False), other) for own, other in zip(sources, targets, strict=True)]
