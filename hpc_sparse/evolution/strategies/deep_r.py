"""DEEP R: rewiring as a random walk (Bellec et al. 2018, arXiv 1711.05136)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpc_sparse.dtypes import VALUE, Float32Array
from hpc_sparse.evolution.protocol import LayerUpdate, LayerView, NetworkView
from hpc_sparse.evolution.selection import draw_free_keys, keep_largest, replace_connections
from hpc_sparse.network.connections.topology import Topology

NEWBORN = VALUE(1e-12)
"""|weight| of a grown connection: next to nothing, but of its own sign."""


@dataclass(frozen=True)
class DeepRUpdater:
    """Drop the connections whose weights have left their side of 0, grow as many at random.

    Every pair of neurons has a sign: that of the weight it would have in a new network, so it need not be stored. The
    authors shrink and shake all weights a little in every step and rewire at once; here both happen at each change of
    the topology, for the steps since the last. How many connections are replaced follows from the weights: the drop
    fraction has no effect.

    Memory and work O(nnz); nothing travels between ranks.

    Attributes
    ----------
    shrinkage : float
        Taken off every |weight| (the authors' learning rate x l1 x steps).
    noise : float
        Standard deviation of what is added to every weight (learning rate x their noise x the root of the steps).
    """

    shrinkage: float
    noise: float
    needs_signals: bool = False
    sees_layers_alone: bool = True
    grows_zero: bool = True

    def update(self, network: NetworkView) -> list[LayerUpdate]:
        """Each layer by itself."""
        return [self._update(view) for view in network.layers]

    def _update(self, view: LayerView) -> LayerUpdate:
        walk = VALUE(self.noise) * view.rng.standard_normal(view.weight.size, VALUE) - VALUE(self.shrinkage)
        size = np.maximum(_signs(view, view.topology) * view.weight + walk, VALUE(0))
        n_drop = max(int(np.count_nonzero(size == 0)), view.weight.size - view.n_target)
        is_kept = keep_largest(size, n_drop)
        grown = draw_free_keys(view.topology, is_kept, view.n_target - (view.weight.size - n_drop), view.rng)
        change = replace_connections(view.topology, is_kept, grown)
        new_size = np.where(change.old_position < 0, NEWBORN, change.carry(size))
        return LayerUpdate(change, _signs(view, change.topology) * new_size)


def _signs(view: LayerView, topology: Topology) -> Float32Array:
    """1 or -1 for each connection, float32[nnz]."""
    assert view.initial_weight is not None
    return np.where(view.initial_weight(topology) < 0, VALUE(-1), VALUE(1))
