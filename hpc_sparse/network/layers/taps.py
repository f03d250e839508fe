"""Taps of a convolution: sparse connections of every place to the places around it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hpc_sparse.dtypes import INDEX, OFFSET, Float32Array, Int32Array, Int64Array, PointerArray
from hpc_sparse.kernels.convolution import products
from hpc_sparse.kernels.threads import threads_in_use
from hpc_sparse.network.connections.csr import Csr
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.tiles import BatchShape, Tiles


def shifts_of(kernel: int) -> Int64Array:
    """int64[kernel^2, 2]: how far down and to the right each tap reads, around the middle."""
    sides = np.arange(kernel, dtype=OFFSET) - (kernel - 1) // 2
    return np.stack(np.meshgrid(sides, sides, indexing="ij"), axis=-1).reshape(-1, 2)


class ReversedTaps(NamedTuple):
    """Taps grouped by the channel that they read; where sums are computed at some places only, also by its place.

    Attributes
    ----------
    indptr : int[step^2 * n_in + 1]
        Row ``phase * n_in + channel``: phases are places that the same shifts reach, ``y % step * step + x % step``.
    indices : int32[nnz]
        ``s * n_out + out``, increasing within a row.
    position : int[nnz]
        Where the tap is in its topology.
    """

    indptr: PointerArray
    indices: Int32Array
    position: PointerArray

    @classmethod
    def of(cls, topology: Topology, shifts: Int64Array, step: int) -> ReversedTaps:
        """The same taps, in the order of the transposed map."""
        (n_out, n_rows), outs, n_shifts = topology.shape, topology.outs(), len(shifts)
        n_in = n_rows // n_shifts
        shift, channel = np.divmod(topology.indices.astype(OFFSET), n_in)
        phase = (shifts % step) @ np.array([step, 1], OFFSET)
        keys = ((phase[shift] * n_in + channel) * n_shifts + shift) * n_out + outs
        position = np.argsort(keys, kind="stable")
        keys, pointer = keys[position], topology.indptr.dtype
        indptr = np.searchsorted(keys, np.arange(step**2 * n_in + 1, dtype=OFFSET) * n_shifts * n_out)
        return cls(indptr.astype(pointer), (keys % (n_shifts * n_out)).astype(INDEX), position.astype(pointer))


class TapProducts:
    """Products with the taps that connections hold, for images of one size.

    Parameters
    ----------
    connections : Csr
        From ``(shift, channel)``, number ``shift * n_in + channel``, to the neurons of a place.
    kernel : int
    sides : (rows, columns)
        Places of an image.
    step : int
        Sums are computed at every place number ``step`` in either direction.
    """

    def __init__(self, connections: Csr, kernel: int, sides: tuple[int, int], step: int) -> None:
        self._connections, self._shifts, self._grid = connections, shifts_of(kernel), (*sides, step)
        self._reversed: ReversedTaps | None = None

    def sums(self, source: Tiles, bias: Float32Array, out: Float32Array) -> None:
        """``out = W source + bias`` at the places with sums."""
        t, weight = self._connections.topology, self._connections.weight
        where = (self._shifts, *self._grid, source.layout)
        products.convolve(t.indptr, t.indices, weight, bias, source.values, *where, out)

    def transposed(self, delta: Tiles, out: Tiles) -> None:
        """``out = W^T delta`` at all places."""
        if self._reversed is None:
            self._reversed = ReversedTaps.of(self._connections.topology, self._shifts, self._grid[-1])
        back = self._reversed
        where = (-self._shifts, *self._grid, out.layout)
        weight = self._connections.weight[back.position]
        products.convolve_back(back.indptr, back.indices, weight, delta.values, *where, out.values)

    def gradient(self, delta: Tiles, source: Tiles, out: Float32Array) -> None:
        """The gradient of the weights into ``out`` float32[nnz]."""
        t = self._connections.topology
        where = (self._shifts, *self._grid, t.bounds, threads_in_use(), source.layout)
        products.tap_gradients(t.indptr, t.indices, delta.values, source.values, *where, out)

    def read(self, source: Tiles) -> Tiles:
        """What taps read, a row for each shift and channel: inputs of the connections where there are sums, copied."""
        n_in, (rows, columns, step) = source.n_neurons, self._grid
        n_samples, n_beside = source.batch.n_samples, columns // step
        found = source.like(len(self._shifts) * n_in, BatchShape(n_samples, rows // step * n_beside))
        for place in range(found.n_places):
            y, x = place // n_beside * step, place % n_beside * step
            for number, (down, right) in enumerate(self._shifts.tolist()):
                other = source.place((y + down) % rows * columns + (x + right) % columns)
                for (_, own), (_, read) in zip(found.place(place), other, strict=True):
                    own[number * n_in : (number + 1) * n_in] = read
        return found
