"""The layers of replicas that differ: each rank writes and reads its own, all at once.

All replicas have the same neurons but each its own connections. A layer's group ``replica_layers/0000``
has attributes ``n_out``, ``n_in`` and ``activation``; ``n_connections`` int64[n_replicas]; ``indptr``,
``bias`` and ``bias_velocity`` with one row per replica; and ``indices``, ``weight`` and
``weight_velocity``, in which the replicas' follow each other.
"""

from __future__ import annotations

import numpy as np

from hpc_sparse.dtypes import OFFSET, Int64Array
from hpc_sparse.parallel.collectives import gather_objects
from hpc_sparse.partition import own_range
from hpc_sparse.storage.checkpoint.layer_state import (
    CONNECTION_ARRAYS,
    NEURON_ARRAYS,
    LayerState,
    read_shape,
    write_shape,
)
from hpc_sparse.storage.container.reader import ContainerReader
from hpc_sparse.storage.container.writer import ContainerWriter

REPLICA_LAYERS = "replica_layers"
"""Group of the layers."""

NO_REPLICA = -1
"""In place of a replica's number: this rank has none, other ranks do."""


def count_replicas(numbers: list[int | None]) -> int:
    """How many replicas the ranks hold, by the number that each of them gives; 0 if all hold the same network."""
    if all(number is None for number in numbers):
        return 0
    held = sorted(number for number in numbers if number is not None and number != NO_REPLICA)
    assert None not in numbers, f"replicas {numbers} of the ranks: all of them or none must have one of its own"
    assert held, f"replicas {numbers} of the ranks: at least one must have one of its own"
    assert held == list(range(len(held))), f"replicas {numbers} of the ranks: expected each from 0 on once"
    return len(held)


def write_replica_layers(writer: ContainerWriter, layers: tuple[LayerState, ...], replica: int) -> None:
    """Write each rank's own layers whole; a rank with :data:`NO_REPLICA` has none and takes part (collective)."""
    facts = [(layer.shape, layer.activation, int(layer.indices.size)) for layer in layers]
    by_replica = dict(sorted(gather_objects(writer.ctx, (replica, facts))))
    by_replica.pop(NO_REPLICA, None)
    neurons = [[fact[:2] for fact in facts] for facts in by_replica.values()]
    assert all(other == neurons[0] for other in neurons), f"layers of the replicas: {neurons}: expected the same"
    for number, (shape, activation) in enumerate(neurons[0]):
        group = f"{REPLICA_LAYERS}/{number:04d}"
        write_shape(writer, group, shape, activation)
        n_connections = np.array([facts[number][2] for facts in by_replica.values()], OFFSET)
        writer.write_replicated(f"{group}/n_connections", n_connections)
        layer = layers[number] if layers else None
        _write_neurons(writer, group, layer, replica, (n_connections.size, shape[0]))
        _write_connections(writer, group, layer, replica, _starts(n_connections))


def read_replica_layers(
    reader: ContainerReader, n_layers: int, n_replicas: int, first: int, last: int
) -> list[tuple[LayerState, ...]]:
    """Read the layers of the replicas ``first:last``, other ones on each rank if wanted (collective)."""
    asked = sorted(gather_objects(reader.ctx, (first, last)))
    is_each_asked_once = [n for start, stop in asked for n in range(start, stop)] == list(range(n_replicas))
    by_layer = [
        _read_layer(reader, f"{REPLICA_LAYERS}/{number:04d}", n_replicas, first, last, adds_up=is_each_asked_once)
        for number in range(n_layers)
    ]
    return list(zip(*by_layer, strict=True))


def read_replica_connections(reader: ContainerReader, group: str, n_replicas: int) -> Int64Array:
    """int64[n_replicas]: stored connections of each replica in one layer (collective)."""
    reader.require(f"{group}/n_connections", OFFSET, (n_replicas,))
    n_connections: Int64Array = reader.read(f"{group}/n_connections")
    if n_connections.min() < 0:
        reader.fail(f"{group}/n_connections: {n_connections.min()}: must be >= 0")
    return n_connections


def _write_neurons(
    writer: ContainerWriter, group: str, layer: LayerState | None, replica: int, shape: tuple[int, int]
) -> None:
    for name, (dtype, extra) in NEURON_ARRAYS.items():
        own = np.empty((0, shape[1] + extra), dtype) if layer is None else getattr(layer, name)[np.newaxis]
        writer.create(f"{group}/{name}", (shape[0], shape[1] + extra), dtype)
        writer.write(f"{group}/{name}", max(0, replica), own)


def _write_connections(
    writer: ContainerWriter, group: str, layer: LayerState | None, replica: int, starts: list[int]
) -> None:
    for name, dtype in CONNECTION_ARRAYS.items():
        own = np.empty(0, dtype) if layer is None else getattr(layer, name)
        writer.create(f"{group}/{name}", (starts[-1],), dtype)
        writer.write(f"{group}/{name}", starts[max(0, replica)], own)


def _read_layer(
    reader: ContainerReader, group: str, n_replicas: int, first: int, last: int, *, adds_up: bool
) -> list[LayerState]:
    n_out, n_in, activation = read_shape(reader, group)
    starts = _starts(read_replica_connections(reader, group, n_replicas))
    for name, (dtype, extra) in NEURON_ARRAYS.items():
        reader.require(f"{group}/{name}", dtype, (n_replicas, n_out + extra))
    for name, dtype in CONNECTION_ARRAYS.items():
        reader.require(f"{group}/{name}", dtype, (starts[-1],))
    if not adds_up:
        _check_sums(reader, group)
    neurons = {name: reader.read(f"{group}/{name}", first, last) for name in NEURON_ARRAYS}
    connections = {name: reader.read(f"{group}/{name}", starts[first], starts[last]) for name in CONNECTION_ARRAYS}
    layers = []
    for row in range(last - first):
        start, stop = (starts[first + row + end] - starts[first] for end in (0, 1))
        arrays = {name: array[row] for name, array in neurons.items()}
        arrays |= {name: array[start:stop] for name, array in connections.items()}
        layers.append(LayerState((n_out, n_in), activation, **arrays))
    return layers


def _check_sums(reader: ContainerReader, group: str) -> None:
    """Read everything once, shared out among the ranks, so that damage is noticed whatever they take of it."""
    for name in (*NEURON_ARRAYS, *CONNECTION_ARRAYS):
        n_rows = reader.shape(f"{group}/{name}")[0]
        reader.read(f"{group}/{name}", *own_range(n_rows, reader.ctx.size, reader.ctx.rank))


def _starts(n_connections: Int64Array) -> list[int]:
    """Where each replica's connections start, and where the last one's end; hostile sizes do not overflow."""
    starts = [0]
    for size in n_connections.tolist():
        starts.append(starts[-1] + size)
    return starts
