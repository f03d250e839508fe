"""RigL: grow where the gradient is largest (Evci et al. 2020, arXiv 1911.11134), without a dense matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpc_sparse.dtypes import OFFSET, VALUE, BoolArray, Float32Array, Float64Array, Int64Array
from hpc_sparse.evolution.protocol import LayerUpdate, LayerView, NetworkView
from hpc_sparse.evolution.selection import keep_largest, regrow
from hpc_sparse.evolution.top_k import StrongestKeys
from hpc_sparse.kernels.growth import largest_of_layer
from hpc_sparse.kernels.simd.buffers import padded_columns
from hpc_sparse.kernels.sparse.dense import forward_dense
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.layer_signals import Signals

TILE_ROWS = 128
"""Output neurons whose gradients are computed at a time."""

NARROWER = 0.75
"""The inputs are copied together anew when fewer than this share of them can still matter."""


@dataclass(frozen=True)
class RiglUpdater:
    """Drop the connections of smallest |weight|, grow those of largest |gradient|, with weight 0.

    A connection just dropped may grow again, and then keeps its weight and velocity. The gradient is that of a growth
    batch of B samples. It is looked at a tile of rows at a time. By the Cauchy-Schwarz inequality no |gradient| is
    above the product of the norms of both ends' signals, so tiles or parts of them that cannot have one of the best
    are left out. Equal gradients are taken in the order of their keys. Unlike the original, the step is not skipped in
    which the topology changes.

    Memory O(nnz + TILE_ROWS n_in + B (n_in + n_out)); work at most 2 B n_in n_out per layer, the same on every rank;
    nothing travels between ranks but the pool of samples, once.
    """

    needs_signals: bool = True
    sees_layers_alone: bool = False
    grows_zero: bool = True

    def update(self, network: NetworkView) -> list[LayerUpdate]:
        """Each layer by itself."""
        return [self._update(view, network.drop_fraction) for view in network.layers]

    def _update(self, view: LayerView, drop_fraction: float) -> LayerUpdate:
        assert view.signals is not None
        n_drop = view.n_to_drop(drop_fraction)
        is_kept = keep_largest(view.weight, n_drop)
        n_grow = view.n_target - (view.weight.size - n_drop)
        grown = largest_gradients(view.topology, is_kept, view.signals, n_grow)
        return LayerUpdate(regrow(view.topology, is_kept, grown))


def largest_gradients(topology: Topology, is_kept: BoolArray, signals: Signals, n_wanted: int) -> Int64Array:
    """Keys of the positions of largest |gradient| among those that hold no kept connection.

    Parameters
    ----------
    topology : Topology
    is_kept : bool[nnz]
    signals : Signals
    n_wanted : int

    Returns
    -------
    int64[n_wanted], increasing
        Fewer only if fewer are free.
    """
    best, n_in = StrongestKeys(n_wanted), topology.shape[1]
    tiles = _GradientTiles(signals)
    for start in range(0, topology.shape[0] if n_wanted else 0, TILE_ROWS):
        rows = tiles.row_order[start : start + TILE_ROWS]
        n_columns = tiles.n_columns_above(best.limit, start)
        if not n_columns:
            break
        scores = tiles.compute(start, n_columns)
        largest_of_layer.score_tile(topology.indptr, topology.indices, is_kept, rows, tiles.place, scores)
        best.add(scores, rows * n_in, tiles.column_order[:n_columns])
    return best.keys()


class _GradientTiles:
    """Gradients of a layer, the rows and columns of strongest signals first."""

    def __init__(self, signals: Signals) -> None:
        n = signals.n_samples
        row_norm, column_norm = _norms(signals.delta[:, :n]), _norms(signals.source[:, :n])
        self.row_order, self.column_order = (np.argsort(-norm, kind="stable") for norm in (row_norm, column_norm))
        self.place = np.empty_like(self.column_order)
        self.place[self.column_order] = np.arange(self.place.size, dtype=OFFSET)
        # A rounded product may come out above the bound of an exact one, by an error of each term and each addition.
        margin = 1.0 + 2.0 * (n + 2) * float(np.finfo(VALUE).eps)
        self._row_bound, self._column_bound = row_norm[self.row_order] * margin, column_norm[self.column_order]
        self._delta = np.ascontiguousarray(signals.delta[self.row_order, :n])
        self._source = np.zeros((n, padded_columns(self.place.size)), VALUE)
        self._source[:, : self.place.size] = signals.source[self.column_order, :n].T
        self._tile = np.empty((TILE_ROWS, self._source.shape[1]), VALUE)

    def n_columns_above(self, limit: np.float32, start: int) -> int:
        """Columns in which a tile from row ``start`` on may have a gradient of at least ``limit``."""
        bounds = self._row_bound[start] * self._column_bound
        return int(np.searchsorted(-bounds, -float(limit), side="right"))

    def compute(self, start: int, n_columns: int) -> Float32Array:
        """The gradients of TILE_ROWS rows from ``start`` on, in at least the first ``n_columns`` columns.

        Every one is summed up sample by sample, whatever the tile and the number of threads.
        """
        delta, n_needed = self._delta[start : start + TILE_ROWS], padded_columns(n_columns)
        if n_needed < NARROWER * self._source.shape[1]:
            self._source = np.ascontiguousarray(self._source[:, :n_needed])
            self._tile = np.empty((TILE_ROWS, n_needed), VALUE)
        out = self._tile[: delta.shape[0]]
        no_bias, linear = np.zeros(delta.shape[0], VALUE), VALUE(1)
        forward_dense(delta.reshape(-1), no_bias, self._source, linear, out)
        return out


def _norms(signals: Float32Array) -> Float64Array:
    """Euclidean norm of each row, float64[n]."""
    squares: Float64Array = np.einsum("ij,ij->i", signals, signals, dtype=np.float64)
    return np.sqrt(squares)
