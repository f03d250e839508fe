"""Local SGD: replicas train alone and are averaged at each sync (design: one shared index for all parameters)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hpc_sparse.dtypes import OFFSET, VALUE, BoolArray, Float32Array
from hpc_sparse.errors import DivergedError
from hpc_sparse.evolution.selection import keep_strongest
from hpc_sparse.network.connections.compaction import NetworkChange
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.layers.sparse import SparseLayer
from hpc_sparse.network.network import Network
from hpc_sparse.network.optimizers.sgd import Velocity
from hpc_sparse.parallel.agreement import Agreement
from hpc_sparse.parallel.averaging import average_arrays
from hpc_sparse.parallel.collectives import all_gather_counts
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.parallel.delayed_average import DelayedAverage
from hpc_sparse.parallel.shared_index import SharedIndex


@dataclass
class LocalSgd:
    """Averages the replicas and puts them on one topology again.

    Attributes
    ----------
    ctx : ParallelContext
    has_shared_topology : bool
        All replicas evolve alike, so no keys travel; else the union is formed and cut back to size.
    momentum : "average" or "reset"
        What happens to the velocities.
    is_contributor : bool
        Whether this rank trains. A rank without samples takes part in every sync but adds nothing to the average.
    """

    ctx: ParallelContext
    has_shared_topology: bool
    momentum: Literal["average", "reset"]
    is_contributor: bool = True

    def __post_init__(self) -> None:
        self.n_contributors = int(all_gather_counts(self.ctx, int(self.is_contributor)).sum())
        self.n_bytes_sent = 0
        self._bases: list[Topology] = []
        self._targets: list[int] = []
        self._delayed: DelayedAverage | None = None
        self._agreement = Agreement(self.ctx)

    @property
    def targets(self) -> tuple[int, ...]:
        """Connections of each layer after the next sync."""
        return tuple(self._targets)

    def start(self, network: Network) -> None:
        """Remember the topologies that all replicas have now; call when they agree."""
        self._remember([layer.topology for layer in network.layers])

    def start_from(self, change: NetworkChange) -> None:
        """Remember the topologies that a ``change`` of all replicas, made at a sync, has brought about."""
        self._remember([layer.topology for layer in change.layers])

    def start_apart(self, network: Network, targets: Sequence[int]) -> None:
        """Begin with replicas that share no topology, and are to have ``targets`` connections per layer when synced."""
        self._remember([Topology.empty(layer.topology.shape) for layer in network.layers])
        self._targets = list(targets)

    def aim_at(self, network: Network) -> None:
        """Give the layers at the next sync as many connections as they have in ``network``, the same on all ranks."""
        self._targets = [layer.topology.n_connections for layer in network.layers]

    def _remember(self, topologies: list[Topology]) -> None:
        self._targets = [topology.n_connections for topology in topologies]
        # Replicas that share a topology never ask what it was. Those that do must not keep its transposed index alive.
        is_asked_for = self.ctx.size > 1 and not self.has_shared_topology
        self._bases = [Topology(each.shape, each.indptr, each.indices) for each in topologies if is_asked_for]

    def sync(self, network: Network, velocities: list[Velocity]) -> None:
        """Average the replicas; afterwards all have the same connections, weights, biases, velocities (collective).

        That they have is looked at by the next call, or by :meth:`confirm_agreement`.

        Raises
        ------
        DivergedError
            On every rank: weights to be compared by size are no longer finite numbers, or the replicas were not the
            same after the last sync.
        """
        if self.ctx.size == 1:
            return
        self._agreement.confirm()
        self._take_in_delayed()
        if self.momentum == "reset":
            for velocity in velocities:
                velocity.reset()
        bases: Sequence[Topology | None] = self._bases or [None] * len(network.layers)
        placed = [
            self._place(base, layer, velocity)
            for base, layer, velocity in zip(bases, network.layers, velocities, strict=True)
        ]
        arrays = [array for parameters in placed for array in parameters.arrays(self.momentum)]
        self.n_bytes_sent += average_arrays(self.ctx, arrays, self.n_contributors, is_contributor=self.is_contributor)
        for target, layer, velocity, parameters in zip(self._targets, network.layers, velocities, placed, strict=True):
            parameters.cut_back(target, layer, velocity)
        self.start(network)
        self._agreement.start(network)

    def sync_delayed(self, network: Network, velocities: list[Velocity]) -> None:
        """Take in the average that is under way, if any, and start the next one (collective).

        The replicas go on with what they have, and do not agree before the next :meth:`sync`. For shared topologies
        and averaged momentum only.
        """
        if self.ctx.size == 1:
            return
        assert self.has_shared_topology
        assert self.momentum == "average"
        self._agreement.confirm()
        self._take_in_delayed()
        arrays = [
            array
            for layer, velocity in zip(network.layers, velocities, strict=True)
            for array in (layer.weight, layer.bias, velocity.weight, velocity.bias)
        ]
        self._delayed = DelayedAverage(self.ctx, arrays, self.n_contributors, is_contributor=self.is_contributor)
        self.n_bytes_sent += self._delayed.n_bytes

    def progress(self) -> None:
        """Move on what is under way between the ranks; to be called after every step."""
        self._agreement.progress()
        if self._delayed is not None:
            self._delayed.progress()

    def confirm_agreement(self) -> None:
        """Check that the last :meth:`sync` has left all replicas the same (collective).

        Raises
        ------
        DivergedError
            On every rank: it has not.
        """
        self._agreement.confirm()

    def finish(self) -> None:
        """Complete what is under way between the ranks, when no more is to be trained (collective)."""
        self._agreement.finish()

    def _take_in_delayed(self) -> None:
        if self._delayed is not None:
            self._delayed.take_in()
            self._delayed = None

    def _place(self, base: Topology | None, layer: SparseLayer, velocity: Velocity) -> _Placed:
        """A layer's parameters where they are averaged: as they are, or on the union of the replicas' connections."""
        if base is None or base.n_connections == base.shape[0] * base.shape[1]:
            return _Placed(None, layer.weight, layer.bias, velocity.weight, velocity.bias)
        own = layer.topology if self.is_contributor else Topology.empty(base.shape)
        index = SharedIndex.build(self.ctx, base, own)
        self.n_bytes_sent += OFFSET().itemsize * index.n_sent
        weight, weight_velocity = (
            index.scatter(values) if self.is_contributor else np.zeros(index.keys.size, VALUE)
            for values in (layer.weight, velocity.weight)
        )
        return _Placed(index, weight, layer.bias, weight_velocity, velocity.bias)


@dataclass(frozen=True)
class _Placed:
    """One layer's parameters, aligned on all ranks; ``index`` is None where all replicas have one topology."""

    index: SharedIndex | None
    weight: Float32Array
    bias: Float32Array
    weight_velocity: Float32Array
    bias_velocity: Float32Array

    def arrays(self, momentum: str) -> list[Float32Array]:
        """What is averaged."""
        velocities = [self.weight_velocity, self.bias_velocity] if momentum == "average" else []
        return [self.weight, self.bias, *velocities]

    def cut_back(self, n_target: int, layer: SparseLayer, velocity: Velocity) -> None:
        """Give the layer ``n_target`` of the averaged connections; a missing one has counted 0."""
        if self.index is None:
            return
        if not np.isfinite(self.weight).all():
            raise DivergedError.not_finite()
        is_kept = resparsify(self.weight, n_target)
        layer.weight, velocity.weight = self.weight[is_kept], self.weight_velocity[is_kept]
        layer.topology = Topology.from_keys(layer.topology.shape, self.index.keys[is_kept])


def resparsify(weight: Float32Array, n_target: int) -> BoolArray:
    """Mark the ``n_target`` weights that stay: of each sign the same share closest to zero is dropped.

    Weights of exactly 0 (connections that no replica has any more) go first. Rounding is made up for by the
    negative weights, so that the count is exact. Source: phase 2 of WASAP-SGD (Curci et al. 2021).
    """
    n_drop = weight.size - n_target
    n_zero = int(np.count_nonzero(weight == 0))
    n_negative = int(np.count_nonzero(weight < 0))
    n_positive = weight.size - n_zero - n_negative
    n_rest = max(0, n_drop - n_zero)
    n_drop_positive = min(n_positive, round(n_rest * n_positive / max(1, n_positive + n_negative)))
    n_drop_positive = max(n_drop_positive, n_rest - n_negative)
    return keep_strongest(weight, min(n_drop, n_zero) + n_drop_positive, n_rest - n_drop_positive)
