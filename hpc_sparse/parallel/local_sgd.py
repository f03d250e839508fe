"""Local SGD: replicas train alone and are averaged at each sync (design: one shared index for all parameters)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hpc_sparse.dtypes import OFFSET, VALUE, BoolArray, Float32Array
from hpc_sparse.errors import DivergedError
from hpc_sparse.evolution.selection import keep_strongest
from hpc_sparse.network.layer import SparseLayer
from hpc_sparse.network.mlp import SparseMLP
from hpc_sparse.network.optimizer import Velocity
from hpc_sparse.network.topology import Topology
from hpc_sparse.parallel.collectives import all_gather_counts, all_reduce_sum, gather_objects
from hpc_sparse.parallel.context import ParallelContext
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

    def start(self, network: SparseMLP) -> None:
        """Remember the topologies that all replicas have now; call when they agree."""
        self._bases = [layer.topology for layer in network.layers]

    def sync(self, network: SparseMLP, velocities: list[Velocity]) -> None:
        """Average the replicas; afterwards all have the same connections, weights, biases, velocities (collective).

        Raises
        ------
        DivergedError
            On every rank: weights to be compared by size are no longer finite numbers.
        """
        if self.ctx.size == 1:
            return
        for base, layer, velocity in zip(self._bases, network.layers, velocities, strict=True):
            if self.momentum == "reset":
                velocity.reset()
            if self.has_shared_topology or base.n_connections == base.shape[0] * base.shape[1]:
                self._average_shared(layer, velocity)
            else:
                self._average_union(base, layer, velocity)
        self.start(network)

    def _average_shared(self, layer: SparseLayer, velocity: Velocity) -> None:
        layer.weight = self._average(layer.weight)
        layer.bias = self._average(layer.bias)
        if self.momentum == "average":
            velocity.weight = self._average(velocity.weight)
            velocity.bias = self._average(velocity.bias)

    def _average_union(self, base: Topology, layer: SparseLayer, velocity: Velocity) -> None:
        """Average over the union of the connections (a missing one counts 0), then cut it back to the base's size."""
        index = SharedIndex.build(self.ctx, base, layer.topology)
        self.n_bytes_sent += OFFSET().itemsize * (index.keys.size - base.n_connections)
        weight = self._average(index.scatter(layer.weight))
        if not np.isfinite(weight).all():
            raise DivergedError(
                "training diverged (a weight is no longer a finite number); lower optimizer.learning_rate or use "
                "optimizer.warmup_epochs"
            )
        is_kept = resparsify(weight, base.n_connections)
        layer.bias = self._average(layer.bias)
        if self.momentum == "average":
            velocity.weight = self._average(index.scatter(velocity.weight))[is_kept]
            velocity.bias = self._average(velocity.bias)
        else:
            velocity.weight = np.zeros(base.n_connections, VALUE)
        layer.weight = weight[is_kept]
        layer.topology = Topology.from_keys(base.shape, index.keys[is_kept])

    def _average(self, values: Float32Array) -> Float32Array:
        averaged = values / VALUE(self.n_contributors) if self.is_contributor else np.zeros_like(values)
        all_reduce_sum(self.ctx, averaged)
        self.n_bytes_sent += averaged.nbytes
        return averaged


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


def check_agreement(ctx: ParallelContext, network: SparseMLP) -> None:
    """Compare all replicas bit by bit, by a digest (collective).

    Raises
    ------
    DivergedError
        On every rank, if any two differ.
    """
    digests = gather_objects(ctx, network_digest(network))
    if len(set(digests)) > 1:
        groups = ", ".join(f"rank {rank}: {digest}" for rank, digest in enumerate(digests))
        raise DivergedError(f"the replicas differ after a sync: {groups}")


def network_digest(network: SparseMLP) -> str:
    """A short fingerprint of all connections, weights and biases."""
    digest = hashlib.blake2b(digest_size=8)
    for layer in network.layers:
        for array in (layer.topology.indptr, layer.topology.indices, layer.weight, layer.bias):
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
