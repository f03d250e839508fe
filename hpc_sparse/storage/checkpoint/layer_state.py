"""One layer with its optimiser state, as a checkpoint holds it where all ranks have the same network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy.typing as npt

from hpc_sparse.dtypes import INDEX, MAX_NEURONS, OFFSET, VALUE, AnyArray, Float32Array, Int32Array, PointerArray
from hpc_sparse.errors import FileFormatError
from hpc_sparse.partition import own_range
from hpc_sparse.storage.container.checks import check_csr, check_finite
from hpc_sparse.storage.container.reader import ContainerReader
from hpc_sparse.storage.container.writer import ContainerWriter

LAYERS = "layers"
"""Group of the layers."""

NEURON_ARRAYS: dict[str, tuple[npt.DTypeLike, int]] = {
    "indptr": (OFFSET, 1),
    "bias": (VALUE, 0),
    "bias_velocity": (VALUE, 0),
}
"""Arrays with an item per neuron: dtype, and how many items they have beyond that."""

CONNECTION_ARRAYS: dict[str, npt.DTypeLike] = {"indices": INDEX, "weight": VALUE, "weight_velocity": VALUE}
"""Arrays with an item per connection: dtype."""


@dataclass(frozen=True)
class LayerState:
    """One sparse layer with its optimiser state.

    Attributes
    ----------
    shape : (n_out, n_in)
    activation : str
    indptr : int64[n_out + 1], or int32 of a network in memory
        Where each neuron's incoming connections start.
    indices : int32[n_connections]
        Where they come from, increasing within a neuron.
    weight, weight_velocity : float32[n_connections]
    bias, bias_velocity : float32[n_out]
    """

    shape: tuple[int, int]
    activation: str
    indptr: PointerArray
    indices: Int32Array
    weight: Float32Array
    bias: Float32Array
    weight_velocity: Float32Array
    bias_velocity: Float32Array


def write_layers(writer: ContainerWriter, layers: tuple[LayerState, ...]) -> None:
    """Write layers that every rank holds whole, each rank an even part of every array (collective)."""
    for number, layer in enumerate(layers):
        group = f"{LAYERS}/{number:04d}"
        write_shape(writer, group, layer.shape, layer.activation)
        writer.set_attribute(group, "n_connections", int(layer.indices.size))
        for name in (*NEURON_ARRAYS, *CONNECTION_ARRAYS):
            dtype = OFFSET if name == "indptr" else None  # a network in memory may have it narrower
            write_even_parts(writer, f"{group}/{name}", getattr(layer, name), dtype)


def read_layer(reader: ContainerReader, number: int) -> LayerState:
    """Read a layer whole on every rank (collective)."""
    group = f"{LAYERS}/{number:04d}"
    n_out, n_in, activation = read_shape(reader, group)
    n_connections = reader.integer(group, "n_connections")
    lengths: dict[str, tuple[npt.DTypeLike, int]]
    lengths = {name: (dtype, n_out + extra) for name, (dtype, extra) in NEURON_ARRAYS.items()}
    lengths |= {name: (dtype, n_connections) for name, dtype in CONNECTION_ARRAYS.items()}
    for name, (dtype, length) in lengths.items():
        reader.require(f"{group}/{name}", dtype, (length,))
    return LayerState((n_out, n_in), activation, **{name: reader.read(f"{group}/{name}") for name in lengths})


def write_shape(writer: ContainerWriter, group: str, shape: tuple[int, int], activation: str) -> None:
    """Write what a layer's group says of its neurons (collective)."""
    writer.set_attribute(group, "n_out", shape[0])
    writer.set_attribute(group, "n_in", shape[1])
    writer.set_attribute(group, "activation", activation)


def read_shape(reader: ContainerReader, group: str) -> tuple[int, int, str]:
    """A layer's n_out, n_in and activation (collective)."""
    n_out, n_in = reader.integer(group, "n_out", minimum=1), reader.integer(group, "n_in", minimum=1)
    if max(n_out, n_in) > MAX_NEURONS:
        reader.fail(f"{group}: {n_in} x {n_out} neurons: expected at most {MAX_NEURONS} in a layer")
    return n_out, n_in, str(reader.attribute(group, "activation"))


def write_even_parts(writer: ContainerWriter, name: str, array: AnyArray, dtype: npt.DTypeLike | None = None) -> None:
    """Create the array ``name``, which every rank holds, and write an even part of its rows from each (collective).

    What is stored has the type ``dtype``, the array's own by default.
    """
    start, stop = own_range(array.shape[0], writer.ctx.size, writer.ctx.rank)
    writer.create(name, array.shape, array.dtype if dtype is None else dtype)
    writer.write(name, start, array[start:stop])


def check_layer(where: str, layer: LayerState) -> None:
    """Check a layer that was read: sorted connections in range, finite numbers.

    Parameters
    ----------
    where : str
        File and group, to begin the message with.
    layer : LayerState
        With arrays of the right sizes.

    Raises
    ------
    FileFormatError
    """
    check_csr(where, layer.indptr, layer.indices, layer.shape[1], error=FileFormatError)
    for name in ("weight", "bias", "weight_velocity", "bias_velocity"):
        check_finite(f"{where}/{name}", getattr(layer, name), error=FileFormatError)
