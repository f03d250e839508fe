"""Whether the replicas are the same after a sync, told by digests that travel while training goes on.

What a sync gives every rank is the same by construction. Where it is not, memory, network or a library has failed, and
every number after it would be wrong without anybody noticing.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hpc_sparse.dtypes import AnyArray
from hpc_sparse.errors import DivergedError
from hpc_sparse.kernels.digest import array_digest
from hpc_sparse.network.network import Network
from hpc_sparse.parallel.collectives import PendingMax, gather_objects
from hpc_sparse.parallel.context import ParallelContext

_HALF_BITS = 32


class Agreement:
    """Compares the replicas as they are when :meth:`start` is called, without anybody waiting.

    Parameters
    ----------
    ctx : ParallelContext
    """

    def __init__(self, ctx: ParallelContext) -> None:
        self._ctx = ctx
        self._network: Network | None = None
        self._digests: list[int] = []
        self._pending: PendingMax | None = None
        self._n_steps = 0

    def start(self, network: Network) -> None:
        """Begin to compare (collective); what was begun before must have been looked at."""
        if self._ctx.size == 1:
            return
        assert self._pending is None
        self._network, self._digests, self._n_steps = network, layer_digests(network), 0
        halves = divmod(_combined(self._digests), 1 << _HALF_BITS)
        # All are equal where the largest of each half is the smallest, too; halves are exact in float64.
        self._pending = PendingMax.start(self._ctx, [*halves, *(-half for half in halves)])

    def progress(self) -> None:
        """Move the comparison on; cheap, to be called after every step."""
        if self._pending is None:
            return
        self._n_steps += 1
        # Ever more seldom: each look helps a message on its way between many ranks, but costs while a rank is late.
        if self._n_steps & (self._n_steps - 1) == 0:
            self._pending.progress()

    def confirm(self) -> None:
        """Look at the comparison that is under way, if any (collective).

        Raises
        ------
        DivergedError
            On every rank: the replicas were not all the same.
        """
        if self._pending is None or self._network is None:
            return
        high, low, minus_high, minus_low = self._pending.wait()
        self._pending = None
        if (high, low) != (-minus_high, -minus_low):
            raise_difference(self._ctx, self._digests, self._network)

    def finish(self) -> None:
        """Complete what is under way, when it does not matter any more (collective)."""
        if self._pending is not None:
            self._pending.wait()
            self._pending = None


def check_agreement(ctx: ParallelContext, network: Network) -> None:
    """Compare all replicas here and now (collective).

    Raises
    ------
    DivergedError
        On every rank, if any two differ.
    """
    raise_difference(ctx, layer_digests(network), network)


def network_digest(network: Network) -> str:
    """A short fingerprint of all connections, weights and biases."""
    return f"{_combined(layer_digests(network)):016x}"


def layer_digests(network: Network) -> list[int]:
    """Digests of the parts of every layer, in the order of :func:`part_names`."""
    return [array_digest(np.ascontiguousarray(array)) for _, array in _parts(network)]


def part_names(network: Network) -> list[str]:
    """What is compared, for messages: arrays of connections and parameters of each layer."""
    return [name for name, _ in _parts(network)]


def _parts(network: Network) -> Iterator[tuple[str, AnyArray]]:
    for number, layer in enumerate(network.layers):
        for connections in layer.connections().values():
            for name, array in connections.structure().items():
                yield f"{name} of layer {number}", array
        for name, parameter in layer.parameters().items():
            yield f"{name} of layer {number}", parameter.values


def raise_difference(ctx: ParallelContext, digests: list[int], network: Network) -> None:
    """Raise if the ranks' digests differ, naming the ranks and the first part that does (collective).

    Sums of numbers that are none may differ in their bits: then it is training that has diverged, not a rank.
    """
    gathered = gather_objects(ctx, digests)
    groups: dict[int, list[int]] = {}
    for rank, own in enumerate(gathered):
        groups.setdefault(_combined(own), []).append(rank)
    if len(groups) == 1:
        return
    if not all(gather_objects(ctx, _is_finite(network))):
        raise DivergedError.not_finite()
    position = next(k for k in range(len(digests)) if len({own[k] for own in gathered}) > 1)
    who = "; ".join(f"rank {', '.join(map(str, ranks))}: {digest:016x}" for digest, ranks in groups.items())
    raise DivergedError(
        f"the replicas differ after a sync, first in the {part_names(network)[position]}: {who}; memory, network or "
        "MPI library of a rank is at fault: go on from a checkpoint (--resume auto), if need be without its node"
    )


def _is_finite(network: Network) -> bool:
    return all(
        bool(np.isfinite(parameter.values).all())
        for layer in network.layers
        for parameter in layer.parameters().values()
    )


def _combined(digests: list[int]) -> int:
    return array_digest(np.array(digests, np.uint64))
