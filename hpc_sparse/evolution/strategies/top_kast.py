"""Top-KAST: connections that act, and a reserve that only learns (Jayakumar et al. 2020, arXiv 2106.03517)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpc_sparse.dtypes import VALUE, Float32Array
from hpc_sparse.evolution.protocol import LayerUpdate, LayerView, NetworkView
from hpc_sparse.evolution.selection import draw_free_keys, keep_largest, replace_connections
from hpc_sparse.network.connections.reserve import n_acting


@dataclass(frozen=True)
class TopKastUpdater:
    """Replace the smallest weights of the reserve by connections at random, with weight 0.

    Of a layer's stored connections, the largest act: signals pass through them (see
    :mod:`hpc_sparse.network.connections.reserve`). The others are the reserve: gradients reach them, too, and one that
    grows large enough acts from then on, in the place of the weakest that did. This happens in every step. The authors
    keep a weight for every pair of neurons and choose both sets among all. Here only the two sets are stored, and what
    comes into the reserve rotates: at each change a share of it, its smallest weights, makes room for new ones.

    The authors' exploration loss, which makes acting weights give way, is applied at each change for the steps since
    the last: a share ``shrinkage`` of every acting weight is taken off, and of every weight in reserve as many times
    more as there are possible pairs by acting connections, at most all of it.

    Memory and work of a change O(nnz); nothing travels between ranks. A step takes O(B nnz) for all that is stored, as
    ever, and a selection among the weights of each layer, forward and backward.

    Attributes
    ----------
    shrinkage : float
    """

    shrinkage: float = 0.0
    needs_signals: bool = False
    sees_layers_alone: bool = True
    grows_zero: bool = True

    def update(self, network: NetworkView) -> list[LayerUpdate]:
        """Each layer by itself."""
        return [self._update(view, network.drop_fraction) for view in network.layers]

    def _update(self, view: LayerView, drop_fraction: float) -> LayerUpdate:
        n = view.weight.size
        n_reserve, n_shrink = n - n_acting(n, view.acting_share), n - view.n_target
        n_drop = min(n, int(drop_fraction * n_reserve) + n_shrink)
        is_kept = keep_largest(view.weight, n_drop)
        grown = draw_free_keys(view.topology, is_kept, n_drop - n_shrink, view.rng)
        change = replace_connections(view.topology, is_kept, grown)
        return LayerUpdate(change, change.carry(view.weight * self._remaining(view)))

    def _remaining(self, view: LayerView) -> Float32Array:
        """What the exploration loss leaves of each weight, float32[nnz]."""
        n_acts = n_acting(view.weight.size, view.acting_share)
        n_out, n_in = view.topology.shape
        acts = keep_largest(view.weight, view.weight.size - n_acts)
        in_reserve = min(1.0, self.shrinkage * n_out * n_in / max(1, n_acts))
        return np.where(acts, VALUE(1.0 - self.shrinkage), VALUE(1.0 - in_reserve))
