"""Arrays of layers in checkpoints: written, read and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from hpc_sparse.checks import check_finite
from hpc_sparse.dtypes import AnyArray
from hpc_sparse.errors import FileFormatError
from hpc_sparse.network.bfloat16 import CHUNK, widened
from hpc_sparse.network.connections.registry import CONNECTIONS
from hpc_sparse.network.connections.state import ConnectionState
from hpc_sparse.network.layers.state import LayerState
from hpc_sparse.parallel.collectives import gather_objects
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.partition import chunk_ranges, own_range
from hpc_sparse.storage.checkpoint.contents import ConnectionInfo, LayerInfo, StoredArray
from hpc_sparse.storage.checkpoint.replicas import NO_REPLICA
from hpc_sparse.storage.container.reader import ContainerReader
from hpc_sparse.storage.container.writer import ContainerWriter


def shared_layer_infos(
    ctx: ParallelContext, layers: Sequence[LayerState], replica: int | None
) -> tuple[LayerInfo, ...]:
    """Layers as the ranks together are going to write them: the same ones, or each its replica's (collective)."""
    own = [_layer_info(layer) for layer in layers]
    if replica is None:
        return tuple(own)
    gathered = [(number, infos) for number, infos in gather_objects(ctx.data, (replica, own)) if number != NO_REPLICA]
    by_replica = [infos for _, infos in sorted(gathered, key=lambda each: each[0])]
    return tuple(_together(infos) for infos in zip(*by_replica, strict=True))


def write_layers(
    writer: ContainerWriter, infos: Sequence[LayerInfo], layers: Sequence[LayerState], replica: int | None
) -> None:
    """Write the arrays of layers: those that several ranks hold in even parts, those of replicas whole (collective).

    Of a network in parts each rank writes the items of its own part.
    """
    for number, info in enumerate(infos):
        own = layers[number].arrays() if layers else {}
        for name, stored in info.arrays.items():
            writer.create(stored.place, stored.shape, stored.dtype)
            array = own.get(name, np.empty(0, stored.dtype))
            first = layers[number].extent(name).start if layers else 0
            if replica is None:
                start, stop = own_range(array.shape[0], writer.ctx.data.size, writer.ctx.data.rank)
            else:
                start, stop = 0, array.shape[0]
                first += stored.rows(0, max(0, replica))[1]
            writer.write(stored.place, first + start, array[start:stop])


def write_even_parts(writer: ContainerWriter, name: str, array: AnyArray) -> None:
    """Create the array ``name``, which every rank holds, and write an even part of its rows from each (collective)."""
    start, stop = own_range(array.shape[0], writer.ctx.size, writer.ctx.rank)
    writer.create(name, array.shape, array.dtype)
    writer.write(name, start, array[start:stop])


def read_layers(
    reader: ContainerReader, layers: Sequence[LayerInfo], first: int, last: int
) -> list[tuple[LayerState, ...]]:
    """The layers of the networks ``first:last``, other ones on each rank if wanted (collective)."""
    asked = sorted(gather_objects(reader.ctx, (first, last)))
    by_layer = [_read_layer(reader, layer, first, last, asked) for layer in layers]
    return list(zip(*by_layer, strict=True))


def check_layer(layer: LayerState, place: Callable[[str], str]) -> None:
    """Check a layer that was read, with arrays of the right sizes: sound structure, finite numbers.

    Parameters
    ----------
    layer : LayerState
    place : callable
        File and place of an array, for the message, by its name in :meth:`LayerState.arrays`.

    Raises
    ------
    FileFormatError
    """
    for name, connections in layer.connections.items():
        own = [f"connections/{name}/{array}" for array in connections.structure]
        of_layer = [f"parameters/{parameter}" for parameter in layer.parameters]  # where a kind stores no structure
        CONNECTIONS[connections.kind].check_state(place((own or of_layer)[0]).rpartition("/")[0], connections)
    for name, array in layer.arrays().items():
        if not name.startswith("connections/"):
            _check_finite(place(name), array)


def _check_finite(where: str, values: AnyArray) -> None:
    """Check that no value of an array of float32 or bfloat16 is infinite or not a number."""
    for start, stop in chunk_ranges(0, values.size, CHUNK):
        check_finite(where, widened(values[start:stop]), error=FileFormatError, first_row=start)


def _layer_info(layer: LayerState) -> LayerInfo:
    """Arrays to write of a layer, without their places."""
    dtypes: dict[str, npt.DTypeLike] = {name: array.dtype for name, array in layer.arrays().items()}
    connections = {}
    for name, each in layer.connections.items():
        sizes = CONNECTIONS[each.kind].stored_sizes(each.shape, each.n_units, each.settings)
        # A network in memory may have some of these arrays narrower.
        dtypes |= {f"connections/{name}/{own}": size.dtype for own, size in sizes.structure.items()}
        connections[name] = ConnectionInfo(each.kind, each.shape, (each.n_units,), (sizes.n_values,), each.settings)
    arrays = {name: StoredArray("", dtype, (layer.extent(name).n_items,)) for name, dtype in dtypes.items()}
    return LayerInfo(layer.kind, layer.shape, layer.activation, connections, layer.settings, "", arrays)


def _together(infos: Sequence[LayerInfo]) -> LayerInfo:
    """One layer of all replicas, which differ in the numbers of units alone."""
    first = infos[0]
    for other in infos[1:]:
        assert _description(other) == _description(first), f"replica with {_description(other)}: {_description(first)}"
    connections = {
        name: replace(
            each,
            n_units=tuple(info.connections[name].n_units[0] for info in infos),
            n_values=tuple(info.connections[name].n_values[0] for info in infos),
        )
        for name, each in first.connections.items()
    }
    arrays = {
        name: replace(array, lengths=tuple(info.arrays[name].lengths[0] for info in infos))
        for name, array in first.arrays.items()
    }
    return replace(first, connections=connections, arrays=arrays)


def _description(info: LayerInfo) -> list[object]:
    """Properties that all replicas of a layer must share."""
    connections = [(name, each.kind, each.shape, each.settings) for name, each in info.connections.items()]
    return [info.kind, info.shape, info.activation, info.settings, connections, list(info.arrays)]


def _read_layer(
    reader: ContainerReader, layer: LayerInfo, first: int, last: int, asked: list[tuple[int, int]]
) -> list[LayerState]:
    for array in layer.arrays.values():
        reader.require(array.place, array.dtype, array.shape)
    found: list[dict[str, AnyArray]] = [{} for _ in range(first, last)]
    for name, array in layer.arrays.items():
        if not _finds_damage(asked, len(array.lengths)):
            _check_sum(reader, array.place)
        rows = reader.read(array.place, *array.rows(first, last)).reshape(-1)
        start = 0
        for arrays, length in zip(found, array.lengths[first:last], strict=True):
            arrays[name] = rows[start : start + length]
            start += length
    return [_state(layer, first + number, arrays) for number, arrays in enumerate(found)]


def _finds_damage(asked: list[tuple[int, int]], n_networks: int) -> bool:
    """Whether reading checks the whole sum anyway: each rank reads all networks, or each network is read once."""
    is_each_asked_once = [n for start, stop in asked for n in range(start, stop)] == list(range(n_networks))
    return is_each_asked_once or set(asked) == {(0, n_networks)}


def _check_sum(reader: ContainerReader, place: str) -> None:
    """Read everything once, shared out among the ranks, so that damage is noticed whatever they take of it."""
    n_rows = reader.shape(place)[0]
    reader.read(place, *own_range(n_rows, reader.ctx.size, reader.ctx.rank))


def _state(layer: LayerInfo, number: int, arrays: Mapping[str, AnyArray]) -> LayerState:
    connections = {
        name: ConnectionState(
            each.kind, each.shape, each.n_units[number], _below(f"connections/{name}/", arrays), each.settings
        )
        for name, each in layer.connections.items()
    }
    parameters, states = _below("parameters/", arrays), _below("states/", arrays)
    return LayerState(layer.kind, layer.shape, layer.activation, connections, parameters, states, layer.settings)


def _below(group: str, arrays: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
    return {name.removeprefix(group): array for name, array in arrays.items() if name.startswith(group)}
