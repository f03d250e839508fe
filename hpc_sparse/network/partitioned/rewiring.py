"""Changes of connections of which one end is on another rank: what has changed travels, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hpc_sparse.dtypes import INDEX, OFFSET, AnyArray, Int32Array, Int64Array
from hpc_sparse.network.connections.topology import TopologyChange
from hpc_sparse.network.partitioned.exchange import Exchange
from hpc_sparse.network.partitioned.lists import Incoming, Outgoing, Pairs


@dataclass(frozen=True)
class Rewiring:
    """A change of the connections of one part, with what it does to their mirrors.

    Attributes
    ----------
    change : TopologyChange
        Of the connections to own neurons, whose columns are numbers in the layer below.
    incoming : Incoming
        Afterwards.
    received : sequence of Pairs or None
        From each part of the layer, the connections from own neurons below afterwards; None for a first layer.
    old_mirror : int64[n_mirrors afterwards]
        Number that each mirror had before; -1 if its connection has grown.
    grown : sequence of int64[n]
        For each part of the layer below, positions of the grown connections from its neurons, in key order.
    n_before : int
        Connections to own neurons before.
    """

    change: TopologyChange
    incoming: Incoming
    received: Sequence[Pairs] | None
    old_mirror: Int64Array
    grown: Sequence[Int64Array]
    n_before: int

    @classmethod
    def of(cls, exchange: Exchange, before: Incoming, outgoing: Outgoing | None, change: TopologyChange) -> Rewiring:
        """What a change of the connections to own neurons means for all lists (collective).

        Of each change of a connection with a remote source, 4 bytes travel if it has gone and 8 if it has grown.

        Parameters
        ----------
        exchange : Exchange
        before : Incoming
        outgoing : Outgoing or None
            Before; None for a first layer.
        change : TopologyChange
        """
        incoming = Incoming.of(change.topology, before.targets, before.sources.owned, knows_all=exchange.shares_memory)
        if outgoing is None:
            return cls(change, incoming, None, np.empty(0, OFFSET), [], before.n_connections)
        is_kept = np.zeros(before.n_connections, np.bool_)
        is_kept[change.old_position[change.old_position >= 0]] = True
        now = incoming.by_owner()
        grown = [group.select(change.old_position[group.positions] < 0) for group in now]
        gone = [np.flatnonzero(~is_kept[group.positions]) for group in before.by_owner()]
        messages = [_message(lost, incoming.pairs(new)) for lost, new in zip(gone, grown, strict=True)]
        messages[exchange.part] = messages[exchange.part][:0]
        arrived, known = exchange.trade(messages), outgoing.mirrored_pairs(before.n_connections)
        received, origins = list[Pairs](), list[Int64Array]()
        n_sources = before.sources.owned.n_own
        for part, (pairs, message) in enumerate(zip(known, arrived, strict=True)):
            if part == exchange.part:
                received.append(incoming.pairs(now[part]))
                continue
            after, origin = _merged(pairs, message, n_sources)
            received.append(after)
            origins.append(np.where(origin < 0, origin, origin + outgoing.mirrors[part]))
        positions, old_mirror = [group.positions for group in grown], np.concatenate([*origins, np.empty(0, OFFSET)])
        return cls(change, incoming, received, old_mirror, positions, before.n_connections)

    def carry(self, values: AnyArray) -> AnyArray:
        """Values of the connections before, mirrors behind, brought to those afterwards; 0 for grown ones."""
        own = self.change.carry(values[: self.n_before])
        mirrors = values[self.n_before :]
        carried = np.zeros(self.old_mirror.size, values.dtype)
        is_old = self.old_mirror >= 0
        carried[is_old] = mirrors[self.old_mirror[is_old]]
        return np.concatenate([own, carried])

    def send_grown(self, exchange: Exchange, values: AnyArray) -> None:
        """Give the mirrors of grown connections the values of what they mirror, in place (collective)."""
        if self.received is None or exchange.n_parts == 1:
            return
        sends = [values[positions] for positions in self.grown]
        sends[exchange.part] = values[:0]
        received = exchange.trade(sends)
        mirrors = values[self.incoming.n_connections :]
        mirrors[self.old_mirror < 0] = np.concatenate(received)


def _message(gone: Int64Array, grown: Pairs) -> Int32Array:
    """int32[1 + n_gone + 2 n_grown]: how many have gone, which, and both ends of those that have grown."""
    return np.concatenate([np.array([gone.size]), gone, grown.sources, grown.targets]).astype(INDEX)


def _merged(pairs: Pairs, message: Int32Array, n_sources: int) -> tuple[Pairs, Int64Array]:
    """The connections after a change, and the number that each had before; -1 if it has grown."""
    n_gone = int(message[0])
    gone, (sources, targets) = message[1 : 1 + n_gone], np.split(message[1 + n_gone :], 2)
    old = np.delete(np.arange(pairs.sources.size, dtype=OFFSET), gone)
    kept = Pairs(pairs.sources[old], pairs.targets[old])
    at = np.searchsorted(_keys(kept, n_sources), _keys(Pairs(sources, targets), n_sources))
    after = Pairs(np.insert(kept.sources, at, sources), np.insert(kept.targets, at, targets))
    return after, np.insert(old, at, -1)


def _keys(pairs: Pairs, n_sources: int) -> Int64Array:
    return pairs.targets.astype(OFFSET) * n_sources + pairs.sources
