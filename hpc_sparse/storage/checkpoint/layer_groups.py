"""Layout of a layer in checkpoints of format 4.

The layer's group, ``layers/0`` for instance, has attributes ``kind``, ``n_out``, ``n_in`` and ``activation``, and these
members:

- ``connections/<name>``, a group for each of its connections by their name in the layer (``input``). Its attributes are
  ``kind`` and ``n_units``, and ``n_out`` and ``n_in`` where they differ from the layer's. The arrays of the kind say
  which units exist: ``indptr`` int64[n_out + 1] and ``indices`` int32[n_units] of ``csr``;
- ``parameters/<name>`` float32[n]: what is learned, ``weight`` and ``bias`` of a ``sparse`` layer;
- ``states/<name>`` float32[n], or bfloat16 in uint16[n]: arrays of the optimiser, each named after a parameter with an
  ending, and as long: ``weight_velocity``. What is beyond the eighth is in ``states_1``, beyond the sixteenth in
  ``states_2``, and so on;
- ``settings``, of a layer and of connections, where the kind has some: an attribute for each number or text.

Where replicas differ, each array holds those of all replicas, one after the other. ``n_units`` is then an array
int64[n_replicas] instead of an attribute, and the lengths of the other arrays follow from it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from hpc_sparse.dtypes import BFLOAT16, OFFSET, VALUE
from hpc_sparse.network.connections.state import Setting
from hpc_sparse.network.layers.registry import LAYERS
from hpc_sparse.storage.checkpoint.contents import (
    ConnectionInfo,
    LayerInfo,
    StoredArray,
    check_chain,
    check_layer_kind,
    connection_info,
    parameter_arrays,
    read_shape,
)
from hpc_sparse.storage.checkpoint.octal import octal_place
from hpc_sparse.storage.container.reader import ContainerReader
from hpc_sparse.storage.container.writer import ContainerWriter

GROUP = "layers"

STATES = "states"

MOST_LAYERS = 8**4
"""Deeper groups would be more than a reader goes down."""

MOST_MEMBERS = 8
"""Members of a group and attributes of an object that HDF5 keeps in the header."""


def place_layer(layer: LayerInfo, number: int, n_layers: int) -> LayerInfo:
    """The same with the places that its arrays have as layer ``number`` of ``n_layers``."""
    assert n_layers <= MOST_LAYERS, f"{n_layers} layers: expected at most {MOST_LAYERS}"
    place = f"{GROUP}/{octal_place(number, n_layers)}"
    members = _members(layer)
    arrays = {
        name: replace(array, place=f"{place}/{members[name]}", is_table=False) for name, array in layer.arrays.items()
    }
    return replace(layer, place=place, arrays=arrays)


def _members(layer: LayerInfo) -> dict[str, str]:
    """Names of a layer's arrays within its group; no group gets more than its members."""
    states = [name for name in layer.arrays if name.startswith(f"{STATES}/")]
    moved = {name: name.replace(STATES, state_group(n // MOST_MEMBERS), 1) for n, name in enumerate(states)}
    return {name: moved.get(name, name) for name in layer.arrays}


def state_group(number: int) -> str:
    """Name of the group of the states from 8 ``number`` on."""
    return f"{STATES}_{number}" if number else STATES


def write_layer_info(writer: ContainerWriter, layer: LayerInfo, n_replicas: int) -> None:
    """Write what a layer's group says, without the arrays of the layer (collective)."""
    _check_numbers(layer)
    writer.set_attribute(layer.place, "kind", layer.kind)
    _write_shape(writer, layer.place, layer.shape)
    writer.set_attribute(layer.place, "activation", layer.activation)
    _write_settings(writer, layer.place, layer.settings)
    for name, each in layer.connections.items():
        place = f"{layer.place}/connections/{name}"
        writer.set_attribute(place, "kind", each.kind)
        if each.shape != layer.shape:
            _write_shape(writer, place, each.shape)
        _write_settings(writer, place, each.settings)
        if n_replicas:
            writer.write_replicated(f"{place}/n_units", np.array(each.n_units, OFFSET))
        else:
            writer.set_attribute(place, "n_units", each.n_units[0])


def read_layer_infos(reader: ContainerReader, group: str, n_replicas: int) -> tuple[LayerInfo, ...]:
    """Descriptions of an open checkpoint's layers, checked to fit each other (collective)."""
    n_layers = reader.integer(group, "n_layers", minimum=1)
    if n_layers > MOST_LAYERS:
        reader.fail(f"{group}: n_layers = {n_layers}: expected at most {MOST_LAYERS}")
    places = [octal_place(number, n_layers) for number in range(n_layers)]
    names, wanted = reader.names(group), sorted({place.partition("/")[0] for place in places})
    if names != wanted:
        reader.fail(f"{group}: {', '.join(names) or 'none stored'}: expected {', '.join(wanted)}, {n_layers} layers")
    layers = tuple(_read_layer_info(reader, f"{group}/{place}", n_replicas) for place in places)
    check_chain(reader, layers)
    return layers


def _read_layer_info(reader: ContainerReader, place: str, n_replicas: int) -> LayerInfo:
    kind, shape = str(reader.attribute(place, "kind")), read_shape(reader, place)
    check_layer_kind(reader, place, kind, reader.names(f"{place}/connections"))
    members = reader.names(place)
    settings = _read_settings(reader, place, members)
    connections: dict[str, ConnectionInfo] = {}
    arrays: dict[str, StoredArray] = {}
    for name in LAYERS[kind].weights:
        own, structure = _read_connection_info(reader, f"{place}/connections/{name}", shape, n_replicas)
        connections[name] = own
        arrays |= {f"connections/{name}/{array_name}": array for array_name, array in structure.items()}
    activation = str(reader.attribute(place, "activation"))
    layer = LayerInfo(kind, shape, activation, connections, settings, place, {})
    parameters = parameter_arrays(reader, replace(layer, place=f"{place}/parameters"), max(1, n_replicas))
    arrays |= {f"parameters/{name}": array for name, array in parameters.items()}
    groups = [name for name in map(state_group, range(MOST_MEMBERS)) if name in members]
    places = {name: f"{place}/{group}/{name}" for group in groups for name in reader.names(f"{place}/{group}")}
    arrays |= _state_arrays(reader, places, parameters)
    return replace(layer, arrays=arrays)


def _read_connection_info(
    reader: ContainerReader, place: str, layer_shape: tuple[int, int], n_replicas: int
) -> tuple[ConnectionInfo, dict[str, StoredArray]]:
    attributes, members = reader.attribute_names(place), reader.names(place)
    shape = read_shape(reader, place) if "n_out" in attributes else layer_shape
    if n_replicas:
        reader.require(f"{place}/n_units", OFFSET, (n_replicas,))
        n_units = tuple(reader.read(f"{place}/n_units").tolist())
        if min(n_units) < 0:
            reader.fail(f"{place}/n_units: {min(n_units)}: must be >= 0")
    else:
        n_units = (reader.integer(place, "n_units"),)
    kind, settings = str(reader.attribute(place, "kind")), _read_settings(reader, place, members)
    info, sizes = connection_info(reader, place, kind, shape, n_units, settings)
    arrays = {
        name: StoredArray(f"{place}/{name}", size.dtype, tuple(each.structure[name].n_items for each in sizes))
        for name, size in sizes[0].structure.items()
    }
    return info, arrays


def _state_arrays(
    reader: ContainerReader, places: Mapping[str, str], parameters: Mapping[str, StoredArray]
) -> dict[str, StoredArray]:
    """State arrays, each as long as the parameter that its name begins with, in the parameters' order."""
    owners: dict[str, str] = {}
    for name, place in places.items():
        found = [each for each in parameters if name.startswith(f"{each}_")]
        if not found:
            reader.fail(f"{place}: expected a name that begins with one of {', '.join(parameters)} and _")
        owners[name] = max(found, key=len)
    return {
        f"{STATES}/{name}": StoredArray(places[name], _state_type(reader, places[name]), parameter.lengths)
        for owner, parameter in parameters.items()
        for name in places
        if owners[name] == owner
    }


def _state_type(reader: ContainerReader, place: str) -> npt.DTypeLike:
    """bfloat16 if the array is stored so; else float32, which is then required."""
    return BFLOAT16 if reader.dtype(place) == BFLOAT16 else VALUE


def _write_shape(writer: ContainerWriter, place: str, shape: tuple[int, int]) -> None:
    writer.set_attribute(place, "n_out", shape[0])
    writer.set_attribute(place, "n_in", shape[1])


def _write_settings(writer: ContainerWriter, place: str, settings: Mapping[str, Setting]) -> None:
    for name, value in settings.items():
        writer.set_attribute(f"{place}/settings", name, value)


def _read_settings(reader: ContainerReader, place: str, members: list[str]) -> dict[str, Setting]:
    return dict(reader.attributes(f"{place}/settings")) if "settings" in members else {}


def _check_numbers(layer: LayerInfo) -> None:
    """Assert that the kind needs no more members of a group than the format has."""
    members = [*_members(layer).values(), *(f"connections/{name}/n_units" for name in layer.connections)]
    members += [f"connections/{name}/settings" for name, each in layer.connections.items() if each.settings]
    counts = Counter(name.rpartition("/")[0] for name in members)
    counts |= {f"settings of {name}": len(each.settings) for name, each in layer.connections.items()}
    counts |= {"settings": len(layer.settings), "connections": len(layer.connections)}
    assert max(counts.values()) <= MOST_MEMBERS, (layer.kind, counts)
