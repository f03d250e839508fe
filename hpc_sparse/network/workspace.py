"""Everything that a replica computes in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from hpc_sparse.dtypes import HIDDEN_VALUES, VALUE, AnyArray, Float32Array
from hpc_sparse.kernels.simd.buffers import aligned_empty
from hpc_sparse.network.layers.protocol import Layer, Saved, SavedArray
from hpc_sparse.network.tiles import BatchShape, Tiles


class Workspace:
    """Buffers for the largest batch, allocated once: no allocation in the loop.

    - Activations of every layer; the deltas of a hidden layer take their place, unless the layer keeps its output.
    - What each layer saves from its forward pass for the backward pass.
    - Deltas of the output layer, and gradients of one layer, or of all where they are clipped.

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
    n_places : int
        Places of each sample: the steps of a sequence.
    allocate : callable
        ``allocate(size, dtype)`` makes the buffers of hidden activations and deltas.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        max_batch: int,
        width: int,
        *,
        activations: str = "float32",
        n_places: int = 1,
        allocate: Callable[[int, type[np.generic]], AnyArray] = aligned_empty,
    ) -> None:
        self._n_out, self._width, self._n_places = [layer.shape[0] for layer in layers], width, n_places
        self._layers, hidden = list(layers), HIDDEN_VALUES[activations]
        shapes = output_shapes(layers, BatchShape(max_batch, n_places))
        sizes = [n * shape.n_columns for n, shape in zip(self._n_out, shapes, strict=True)]
        self._activations = [*(allocate(size, hidden) for size in sizes[:-1]), aligned_empty(sizes[-1], VALUE)]
        self._deltas = [
            allocate(size, hidden) if layer.keeps_output else activations
            for size, layer, activations in zip(sizes[:-1], layers, self._activations, strict=False)
        ]
        self._output_delta = aligned_empty(sizes[-1], VALUE)
        self._saved: list[dict[str, AnyArray]] = [
            {name: aligned_empty(int(np.prod(array.shape)), np.dtype(array.dtype).type) for name, array in own.items()}
            for own in self._saved_arrays(BatchShape(max_batch, n_places))
        ]
        self._scratch, self._gradients = aligned_empty(0, VALUE), aligned_empty(0, VALUE)
        self._views: dict[int, _Views] = {}

    def activations(self, n_columns: int) -> list[Tiles]:
        """Those of each layer after the input: float32, or bfloat16 (in uint16) for the hidden ones.

        Here and below, ``n_columns`` is the number of columns of one place.
        """
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

    def gradients(self, sizes: Sequence[Mapping[str, int]]) -> tuple[Float32Array, list[dict[str, Float32Array]]]:
        """Room for the gradients of all layers' parameters of these sizes, as one vector and by layer and name."""
        n = sum(sum(own.values()) for own in sizes)
        if self._gradients.size != n:
            self._gradients = aligned_empty(n, VALUE)
        views, start = list[dict[str, Float32Array]](), 0
        for own in sizes:
            views.append({})
            for name, size in own.items():
                views[-1][name] = self._gradients[start : start + size]
                start += size
        return self._gradients, views

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
                self._gradients,
                *(array for own in self._saved for array in own.values()),
            ]
        }
        return sum(buffer.nbytes for buffer in buffers.values())

    def _views_at(self, n_columns: int) -> _Views:
        if n_columns not in self._views:
            batch = BatchShape(n_columns, self._n_places)
            shapes = output_shapes(self._layers, batch)
            self._views[n_columns] = _Views(
                self._tiles(self._activations, shapes),
                self._tiles(self._deltas, shapes),
                [
                    {name: _shaped(buffers[name], array.shape) for name, array in own.items()}
                    for buffers, own in zip(self._saved, self._saved_arrays(batch), strict=True)
                ],
                self._tiles([self._output_delta], shapes[-1:], self._n_out[-1:])[0],
            )
        return self._views[n_columns]

    def _tiles(
        self, buffers: Sequence[AnyArray], shapes: Sequence[BatchShape], n_out: Sequence[int] | None = None
    ) -> list[Tiles]:
        return [
            Tiles.empty(n, shape.n_samples, self._width, buffer=buffer, n_places=shape.n_places)
            for buffer, n, shape in zip(buffers, n_out or self._n_out, shapes, strict=False)
        ]

    def _saved_arrays(self, batch: BatchShape) -> list[Mapping[str, SavedArray]]:
        """What each layer saves for a batch of a shape."""
        return [
            layer.saved_arrays(own) for layer, own in zip(self._layers, input_shapes(self._layers, batch), strict=True)
        ]


class _Views(NamedTuple):
    """The buffers as tiles for one number of columns; made once, as every step asks for them."""

    activations: list[Tiles]
    deltas: list[Tiles]
    saved: list[Saved]
    output_delta: Tiles


def output_shapes(layers: Sequence[Layer], batch: BatchShape) -> list[BatchShape]:
    """Shape of each layer's output for a batch of inputs of some shape."""
    shapes = []
    for layer in layers:
        batch = layer.shape_out(batch)
        shapes.append(batch)
    return shapes


def input_shapes(layers: Sequence[Layer], batch: BatchShape) -> list[BatchShape]:
    """Shape of what each layer gets for a batch of inputs of some shape."""
    return [batch, *output_shapes(layers[:-1], batch)]


def _shaped(buffer: AnyArray, shape: tuple[int, ...]) -> AnyArray:
    return buffer[: int(np.prod(shape))].reshape(shape)
