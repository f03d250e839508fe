"""A sparse linear map on rows of samples, for programs that keep weights, optimiser and loop themselves.

Knows no such program: arrays come and go. What it holds is the topology, and what the next change of it needs.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from hpc_sparse.checks import check_finite
from hpc_sparse.dtypes import OFFSET, VALUE, Float32Array, UInt16Array
from hpc_sparse.errors import ArrayError, InputError
from hpc_sparse.evolution.protocol import LayerView, NetworkView, TopologyUpdater
from hpc_sparse.kernels.batch import gather_dense
from hpc_sparse.kernels.sample_rows import scatter_rows
from hpc_sparse.kernels.simd.activation import WORDS, record_words
from hpc_sparse.kernels.simd.machine import tile_width
from hpc_sparse.network.connections.csr import Csr
from hpc_sparse.network.connections.protocol import Epilogue, Gate
from hpc_sparse.network.connections.topology import TopologyChange
from hpc_sparse.network.layer_signals import Signals
from hpc_sparse.network.sinks import WriteMap
from hpc_sparse.network.tiles import Tiles
from hpc_sparse.rng import Purpose, stream, stream_key

LINEAR = VALUE(1)
KEPT = np.uint16(0xFFFF)
"""Word of a record whose columns have all been kept."""


class MapGradients(NamedTuple):
    """Gradients by what a map got; None where nobody asked.

    Attributes
    ----------
    samples : float32[n_samples, n_in] or None
    weight : float32[nnz] or None
    bias : float32[n_out] or None
    """

    samples: Float32Array | None
    weight: Float32Array | None
    bias: Float32Array | None


@dataclass
class TrainableMap:
    """The connections of a map ``y = x W^T + b`` whose weights a caller keeps, in the order of the topology.

    Memory: the topology and its transposed index, 12 bytes per connection; neurons times samples for what a backward
    pass needs; 8 bytes per connection during it. Nothing here or in between is as large as a dense W.

    Attributes
    ----------
    connections : Csr
        Their topology; the weights in it are those of the last call.
    strategy : TopologyUpdater
        How connections come and go.
    initializer : str
        First weights of grown connections, where the strategy does not begin with 0.
    seed : int
    n_changes : int
        Changes of the topology so far, by which the random streams go on.
    """

    connections: Csr
    strategy: TopologyUpdater
    initializer: str
    seed: int
    n_changes: int = 0
    _signals: Signals | None = field(default=None, repr=False)

    @property
    def shape(self) -> tuple[int, int]:
        """(n_out, n_in)."""
        return self.connections.shape

    def product(self, samples: Float32Array, weight: Float32Array, bias: Float32Array) -> tuple[Float32Array, Tiles]:
        """``samples W^T + bias``, float32[n_samples, n_out], and the samples as :meth:`gradients` needs them.

        Parameters
        ----------
        samples : float32[n_samples, n_in], in C order
        weight : float32[nnz]
        bias : float32[n_out]
        """
        n_out, n_in = self.shape
        source = to_tiles(samples, tile_width((n_out, n_in)))
        sums = source.like(n_out)
        self.connections.weight = weight
        if len(samples):
            self.connections.product(source, Epilogue(bias, LINEAR), sums)
        return to_rows(sums, len(samples)), source

    def gradients(
        self,
        delta: Float32Array,
        source: Tiles,
        weight: Float32Array,
        *,
        of_samples: bool = True,
        of_parameters: bool = True,
    ) -> MapGradients:
        """Gradients of a loss by samples, weights and bias.

        Parameters
        ----------
        delta : float32[n_samples, n_out], in C order
            Derivative of the loss by the product.
        source : Tiles
            From :meth:`product`.
        weight : float32[nnz]
            As then.
        of_samples, of_parameters : bool
            What is wanted.
        """
        n_out, n_in = self.shape
        if not len(delta):
            return MapGradients(np.empty((0, n_in), VALUE), np.zeros(weight.size, VALUE), np.zeros(n_out, VALUE))
        deltas = to_tiles(delta, source.width)
        below = source.like(n_in) if of_samples else None
        sink = WriteMap(np.empty(weight.size, VALUE), np.empty(n_out, VALUE), _scratch)
        self.connections.weight = weight
        if below is None:
            self.connections.gradient(deltas, source, sink)
        elif of_parameters:
            gate = identity_gate(n_in, source.n_columns)
            self.connections.transposed_and_gradient(deltas, source, gate, sink, below)
        else:
            self.connections.transposed(deltas, None, below)
        if self.strategy.needs_signals:
            self._signals = Signals(source, deltas, len(delta))
        return MapGradients(
            None if below is None else to_rows(below, len(delta)),
            sink.weight_gradient if of_parameters else None,
            sink.bias_gradient if of_parameters else None,
        )

    def evolve(self, weight: Float32Array, drop_fraction: float) -> tuple[TopologyChange, Float32Array]:
        """Let connections go and others come; the change, and the weights float32[nnz] afterwards, as many as before.

        Raises
        ------
        ArrayError
            A weight is not a finite number.
        InputError
            The strategy grows by gradients, and there has been no backward pass since the last change.
        """
        check_finite("weight", weight, error=ArrayError)
        if self.strategy.needs_signals and self._signals is None:
            raise InputError(
                f'evolve: strategy = "{self.strategy.name}" grows by gradients: expected a backward pass since the '
                "last change"
            )
        rng = stream(self.seed, Purpose.DROP_AND_GROW, epoch=self.n_changes + 1)
        topology = self.connections.topology
        view = LayerView(topology, weight, None, weight.size, rng, self._signals)
        [update] = self.strategy.update(NetworkView((view,), topology, drop_fraction, keeps_sizes=True))
        assert update is not None, self.strategy.name
        changed = self.connections.rewired(update.change.topology, update.change.carry(weight))
        assert changed.weight.size == weight.size, (changed.weight.size, weight.size)
        if not self.strategy.grows_zero:
            key = stream_key(self.seed, Purpose.GROWN_WEIGHTS, epoch=self.n_changes + 1)
            changed.draw_grown(update.change.old_position, self.initializer, key)
        self.connections, self.n_changes, self._signals = changed, self.n_changes + 1, None
        return update.change, changed.weight

    def __getstate__(self) -> dict[str, object]:
        """What is copied and pickled: not the signals of the last batch."""
        return {**self.__dict__, "_signals": None}


def to_tiles(samples: Float32Array, width: int) -> Tiles:
    """Samples float32[n_samples, n] as columns; zeros in the columns beyond."""
    n_samples, n = samples.shape
    tiles = Tiles.empty(n, n_samples, width)
    gather_dense(samples, np.arange(n_samples, dtype=OFFSET), *_unchanged(n), tiles.layout, tiles.values)
    return tiles


def to_rows(tiles: Tiles, n_samples: int) -> Float32Array:
    """Columns as samples again, float32[n_samples, n]."""
    rows = np.empty((n_samples, tiles.n_neurons), VALUE)
    scatter_rows(tiles.values, tiles.layout, rows)
    return rows


@lru_cache(maxsize=8)
def identity_gate(n_neurons: int, n_columns: int) -> Gate:
    """A gate that changes nothing: with one, deltas and gradients come from a single pass over the connections."""
    record: UInt16Array = np.zeros(n_neurons * record_words(n_columns), np.uint16)
    record[::WORDS] = KEPT
    return Gate(LINEAR, LINEAR, record)


@lru_cache(maxsize=8)
def _unchanged(n: int) -> tuple[Float32Array, Float32Array]:
    """Shift and scale of samples that are taken as they are."""
    return np.zeros(n, VALUE), np.ones(n, VALUE)


def _scratch(n: int) -> Float32Array:
    """float32[n] that nobody needs longer than one pass, the same memory for all maps of a thread."""
    room: Float32Array | None = getattr(_rooms, "values", None)
    if room is None or room.size < n:
        _rooms.values = room = np.empty(n, VALUE)
    return room[:n]


_rooms = threading.local()
