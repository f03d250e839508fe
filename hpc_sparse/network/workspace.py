"""Everything that a replica computes in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hpc_sparse.dtypes import HIDDEN_VALUES, VALUE, AnyArray, Float32Array
from hpc_sparse.kernels.simd.buffers import aligned_empty, padded_columns
from hpc_sparse.network.layers.protocol import Layer, Saved
from hpc_sparse.network.tiles import Tiles


class Workspace:
    """Buffers for the largest batch, allocated once: no allocation in the loop.

    - Activations of every layer; the deltas of a hidden layer take their place, unless the layer keeps its output.
    - What each layer saves from its forward pass for the backward pass.
    - Deltas of the output layer, and gradients of one layer.

    Every buffer starts on a cache line, and so does every row of a tile.

    Parameters
    ----------
    layers : sequence of Layer
        From the first hidden one to the output.
    max_batch : int
    width : int
        Columns of a tile of activations.
    activations : "float32" or "bfloat16"
        How hidden activations and deltas are stored; bfloat16 in uint16 arrays.
    """

    def __init__(self, layers: Sequence[Layer], max_batch: int, width: int, *, activations: str = "float32") -> None:
        self._n_out, self._width = [layer.shape[0] for layer in layers], width
        n_most, hidden = padded_columns(max_batch), HIDDEN_VALUES[activations]
        dtypes: list[type[np.generic]] = [*[hidden] * (len(layers) - 1), VALUE]
        self._activations = [aligned_empty(n * n_most, dtype) for n, dtype in zip(self._n_out, dtypes, strict=True)]
        self._deltas = [
            aligned_empty(n * n_most, hidden) if layer.keeps_output else activations
            for n, layer, activations in zip(self._n_out[:-1], layers, self._activations, strict=False)
        ]
        self._output_delta = aligned_empty(self._n_out[-1] * n_most, VALUE)
        self._layers = [layer.saved_arrays for layer in layers]
        self._saved: list[dict[str, AnyArray]] = [
            {name: aligned_empty(int(np.prod(array.shape)), np.dtype(array.dtype).type) for name, array in own.items()}
            for own in (saved_arrays(n_most) for saved_arrays in self._layers)
        ]
        self._scratch = aligned_empty(0, VALUE)
        self._views: dict[int, _Views] = {}

    def activations(self, n_columns: int) -> list[Tiles]:
        """Those of each layer after the input: float32, or bfloat16 (in uint16) for the hidden ones."""
        return self._views_at(n_columns).activations

    def deltas(self, n_columns: int) -> list[Tiles]:
        """Those of each hidden layer: in the activations' own place where they are not needed any more."""
        return self._views_at(n_columns).deltas

    def saved(self, n_columns: int) -> list[Saved]:
        """What each layer saves, by name."""
        return self._views_at(n_columns).saved

    def output_delta(self, n_columns: int) -> Tiles:
        """Deltas of the output layer, float32."""
        return self._views_at(n_columns).output_delta

    def scratch(self, n: int) -> Float32Array:
        """float32[n] for numbers that nobody needs longer than one pass of one layer; made when first needed."""
        if self._scratch.size < n:
            self._scratch = aligned_empty(n, VALUE)
        return self._scratch[:n]

    @property
    def n_bytes(self) -> int:
        """Bytes of all buffers."""
        buffers: dict[int, AnyArray] = {
            id(each): each
            for each in [
                *self._activations,
                *self._deltas,
                self._output_delta,
                self._scratch,
                *(array for own in self._saved for array in own.values()),
            ]
        }
        return sum(buffer.nbytes for buffer in buffers.values())

    def _views_at(self, n_columns: int) -> _Views:
        if n_columns not in self._views:
            self._views[n_columns] = _Views(
                [self._tiles(buffer, n, n_columns) for buffer, n in zip(self._activations, self._n_out, strict=True)],
                [self._tiles(buffer, n, n_columns) for buffer, n in zip(self._deltas, self._n_out[:-1], strict=True)],
                [
                    {name: _shaped(buffers[name], array.shape) for name, array in saved_arrays(n_columns).items()}
                    for buffers, saved_arrays in zip(self._saved, self._layers, strict=True)
                ],
                self._tiles(self._output_delta, self._n_out[-1], n_columns),
            )
        return self._views[n_columns]

    def _tiles(self, buffer: AnyArray, n_neurons: int, n_columns: int) -> Tiles:
        return Tiles.empty(n_neurons, n_columns, self._width, buffer=buffer)


class _Views(NamedTuple):
    """The buffers as tiles for one number of columns; made once, as every step asks for them."""

    activations: list[Tiles]
    deltas: list[Tiles]
    saved: list[Saved]
    output_delta: Tiles


def _shaped(buffer: AnyArray, shape: tuple[int, ...]) -> AnyArray:
    return buffer[: int(np.prod(shape))].reshape(shape)
