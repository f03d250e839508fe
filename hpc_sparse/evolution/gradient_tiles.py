"""Gradients of all pairs of neurons of a layer, a tile of rows at a time, and the largest of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from hpc_sparse.dtypes import OFFSET, VALUE, BoolArray, Float32Array, Float64Array, Int64Array
from hpc_sparse.evolution import memory
from hpc_sparse.evolution.top_k import StrongestKeys
from hpc_sparse.kernels.growth import largest_of_layer
from hpc_sparse.kernels.simd.buffers import padded_columns
from hpc_sparse.kernels.sparse.dense import forward_dense
from hpc_sparse.network.connections.groups import InputGroups
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.layer_signals import Signals
from hpc_sparse.network.partitioned.layer_share import LayerShare
from hpc_sparse.network.tiles import Tiles

TILE_ROWS = 128
"""Output neurons whose gradients are computed at a time."""

NARROWER = 0.75
"""The inputs are copied together anew when fewer than this share of them can still matter."""

NOWHERE = np.iinfo(OFFSET).max
"""Column of an input whose signals are not here."""

SEARCHING = (14, 35)
"""Measured bytes of the search for the largest gradients: per connection, and per connection to be grown. The search
keeps a buffer of twice as many keys and gradients as are wanted."""


class GradientTiles:
    """Gradients of a layer by rows and columns in the order of the signals given.

    Parameters
    ----------
    delta : float32[n_rows, n_samples]
        Signals of the output neurons.
    source : float32[n_columns, n_samples]
        Signals of the input neurons.
    """

    def __init__(self, delta: Float32Array, source: Float32Array) -> None:
        self._delta = delta
        self._source = np.zeros((source.shape[1], padded_columns(source.shape[0])), VALUE)
        self._source[:, : source.shape[0]] = source.T
        self._tile = np.empty((TILE_ROWS, self._source.shape[1]), VALUE)

    def __iter__(self) -> Iterator[tuple[int, Float32Array]]:
        """All tiles, each with its first row; a tile is overwritten by the next."""
        for start in range(0, self._delta.shape[0], TILE_ROWS):
            yield start, self.compute(start, self._source.shape[1])

    def compute(self, start: int, n_columns: int) -> Float32Array:
        """The gradients of TILE_ROWS rows from ``start`` on, in at least the first ``n_columns`` columns.

        Every one is summed up sample by sample, whatever the tile and the number of threads. Later tiles cannot have
        more columns.
        """
        n_needed = padded_columns(n_columns)
        if n_needed < NARROWER * self._source.shape[1]:
            self._source = np.ascontiguousarray(self._source[:, :n_needed])
            self._tile = np.empty((TILE_ROWS, n_needed), VALUE)
        delta = np.ascontiguousarray(self._delta[start : start + TILE_ROWS])
        out = self._tile[: delta.shape[0]]
        no_bias, linear = np.zeros(delta.shape[0], VALUE), VALUE(1)
        # One tile, as wide as there are columns.
        flat, width = self._source.reshape(-1), self._source.shape[1]
        forward_dense(delta.reshape(-1), no_bias, flat, linear, width, out.reshape(-1))
        return out


def sum_units(values: Float64Array, side: int) -> Float64Array:
    """Sums of ``side`` neighbouring values each, the last of those that are left."""
    return values if side == 1 else np.add.reduceat(values, np.arange(0, values.size, side))


def gradient_tiles(
    signals: Signals, unit: tuple[int, int], share: LayerShare | None = None
) -> Iterator[tuple[int, Float32Array]]:
    """All gradients of a layer, or sums of the absolute gradients of units (r, c), some rows at a time.

    Each tile comes with its first row, of neurons or of units; it is overwritten by the next. Those of a ``share`` of a
    layer need the signals of all inputs, which come before the first tile (collective).
    """
    n, (r, c) = signals.n_samples, unit
    delta, source = samples_of(signals.delta, n), samples_of(signals.source, n)
    if share is not None:
        source = share.together_below(np.ascontiguousarray(source).reshape(-1)).reshape(-1, source.shape[1])
    n_units = -(-source.shape[0] // c)
    for start, tile in GradientTiles(delta, source):
        if unit == (1, 1):
            yield start, tile
            continue
        rows = np.abs(tile[:, : source.shape[0]])
        columns = np.add.reduceat(rows, np.arange(0, source.shape[0], c), axis=1) if c > 1 else rows
        sums = np.add.reduceat(columns, np.arange(0, rows.shape[0], r), axis=0) if r > 1 else columns
        assert sums.shape[1] == n_units, (sums.shape, n_units)
        yield start // r, np.ascontiguousarray(sums, VALUE)


def largest_gradients(
    topology: Topology,
    is_kept: BoolArray,
    signals: Signals,
    n_wanted: int,
    unit: tuple[int, int] = (1, 1),
    share: LayerShare | None = None,
) -> Int64Array:
    """Keys of the positions of largest |gradient| among those that hold no kept connection.

    Where there is only a share of the layer's rows, the signals of the inputs travel from part to part (collective).

    Parameters
    ----------
    topology : Topology
    is_kept : bool[nnz]
    signals : Signals
    n_wanted : int
    unit : (r, c)
        Larger ones than (1, 1) go by the sums of their absolute gradients.
    share : LayerShare or None
        Which of the layer's rows are here; None: all. Others get the rest of the ``n_wanted``.

    Returns
    -------
    int64[n_wanted], increasing
        Fewer only if fewer are free. Where there are groups, the largest of each, as many as it lacks; together
        ``n_wanted``.
    """
    if topology.groups is not None:
        return _largest_in_groups(topology, topology.groups, is_kept, signals, n_wanted)
    if unit != (1, 1):
        return _largest_units(topology, is_kept, signals, n_wanted, unit)
    best = StrongestKeys(n_wanted)
    if not n_wanted:
        return best.keys()
    if share is None:
        _add_largest(best, topology, is_kept, signals, 0)
        return best.keys()
    for first_column, source in share.blocks_below(signals.source):
        _add_largest(best, topology, is_kept, replace(signals, source=source), first_column)
    return best.keys(share.exchange)


def _add_largest(
    best: StrongestKeys, topology: Topology, is_kept: BoolArray, signals: Signals, first_column: int
) -> None:
    """Add the largest gradients in the columns from the first one on whose signals there are."""
    if not topology.shape[0] or not signals.source.n_neurons:
        return
    n_in = topology.shape[1]
    tiles = _StrongestFirst(signals)
    columns, place = tiles.column_order + first_column, np.full(n_in, NOWHERE, OFFSET)
    place[columns] = np.arange(columns.size, dtype=OFFSET)
    for start in range(0, topology.shape[0], TILE_ROWS):
        rows = tiles.row_order[start : start + TILE_ROWS]
        n_columns = tiles.n_columns_above(best.limit, start)
        if not n_columns:
            break
        scores = tiles.compute(start, n_columns)
        largest_of_layer.score_tile(*topology.rows, is_kept, rows, place, scores)
        best.add(scores, rows * n_in, columns[:n_columns])


def _largest_in_groups(
    topology: Topology, groups: InputGroups, is_kept: BoolArray, signals: Signals, n_wanted: int
) -> Int64Array:
    keys, n_found = np.empty(n_wanted, OFFSET), 0
    delta, source = (samples_of(each, signals.n_samples) for each in (signals.delta, signals.source))
    for start, scores in GradientTiles(delta, source):
        n_found = groups.add_best(topology.rows, is_kept, scores, start, n_found, keys)
    assert n_found == n_wanted, (n_found, n_wanted)
    return keys


def _largest_units(
    topology: Topology, is_kept: BoolArray, signals: Signals, n_wanted: int, unit: tuple[int, int]
) -> Int64Array:
    """As :func:`largest_gradients`, of all units in their order: a unit has no bound as good as a connection's."""
    best, n_in = StrongestKeys(n_wanted), topology.shape[1]
    columns = np.arange(n_in, dtype=OFFSET)
    for start, scores in gradient_tiles(signals, unit) if n_wanted else ():
        rows = np.arange(start, start + scores.shape[0], dtype=OFFSET)
        largest_of_layer.score_tile(*topology.rows, is_kept, rows, columns, scores)
        best.add(scores, rows * n_in, columns)
    return best.keys()


def searching_bytes(layer: memory.LayerFigures) -> float:
    """While the largest gradients are looked for: the signals turned, a tile of gradients, and the best so far.

    Where there are many samples, ordering and turning the signals takes more.
    """
    each, grown = SEARCHING
    of_sample, tile = (layer.n_in + layer.n_out) * memory.VALUE, layer.n_in * TILE_ROWS * memory.VALUE
    ordering = of_sample * (2 if layer.is_tiled else 1) + layer.n_in * memory.VALUE
    best = (each + grown * layer.drop_fraction) * layer.n_connections
    return tile + max(padded_columns(layer.n_samples) * of_sample + best, layer.n_samples * ordering)


class _StrongestFirst(GradientTiles):
    """The rows and columns of strongest signals first."""

    def __init__(self, signals: Signals) -> None:
        delta, source = samples_of(signals.delta, signals.n_samples), samples_of(signals.source, signals.n_samples)
        n = delta.shape[1]
        row_norm, column_norm = _norms(delta), _norms(source)
        self.row_order, self.column_order = (np.argsort(-norm, kind="stable") for norm in (row_norm, column_norm))
        # A rounded product may come out above the bound of an exact one, by an error of each term and each addition.
        margin = 1.0 + 2.0 * (n + 2) * float(np.finfo(VALUE).eps)
        self._row_bound, self._column_bound = row_norm[self.row_order] * margin, column_norm[self.column_order]
        super().__init__(delta[self.row_order], source[self.column_order])

    def n_columns_above(self, limit: np.float32, start: int) -> int:
        """Columns in which a tile from row ``start`` on may have a gradient of at least ``limit``."""
        bounds = self._row_bound[start] * self._column_bound
        return int(np.searchsorted(-bounds, -float(limit), side="right"))


def samples_of(signals: Tiles, n_samples: int) -> Float32Array:
    """float32[n_neurons, n_places * n_samples]: signals of the samples alone; no copy if they are a single tile."""
    matrix: Float32Array = signals.matrix()
    if signals.n_places > 1:
        places: Float32Array = matrix.reshape(signals.n_neurons, signals.n_places, -1)[:, :, :n_samples]
        return places.reshape(signals.n_neurons, -1)
    return matrix[:, :n_samples]


def _norms(signals: Float32Array) -> Float64Array:
    """Euclidean norm of each row, float64[n]."""
    squares: Float64Array = np.einsum("ij,ij->i", signals, signals, dtype=np.float64)
    return np.sqrt(squares)
