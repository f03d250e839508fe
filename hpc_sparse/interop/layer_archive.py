"""Layers of other kinds than ``sparse`` in archives: a description, and arrays by the names that checkpoints have.

Such a layer has ``layer_0.about``, a text in JSON with ``kind``, ``activation``, ``settings`` and ``connections``. Each
of the connections, by its name in the layer, has ``kind``, ``shape`` (n_out, n_in), ``n_units`` and ``settings``. Its
arrays are ``layer_0.parameters/weight``, ``layer_0.connections/input/indptr`` and so on.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError

from hpc_sparse.config import NetworkSection
from hpc_sparse.dtypes import MAX_NEURONS, OFFSET, VALUE, AnyArray
from hpc_sparse.errors import DataError, quoted
from hpc_sparse.importers.arrays.archive import Archive
from hpc_sparse.network.connections.registry import CONNECTIONS
from hpc_sparse.network.connections.reserve import ALL_ACT
from hpc_sparse.network.connections.state import ConnectionState
from hpc_sparse.network.layers.protocol import Layer
from hpc_sparse.network.layers.registry import LAYERS
from hpc_sparse.network.layers.state import LayerState
from hpc_sparse.storage.checkpoint.layer_arrays import check_layer

ABOUT = "about"

Width = Annotated[int, Field(ge=1, le=MAX_NEURONS)]


class _Description(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    kind: str
    settings: dict[str, int | float | str] = {}


class _Connections(_Description):
    shape: tuple[Width, Width]
    n_units: NonNegativeInt


class _Layer(_Description):
    activation: str
    connections: dict[str, _Connections]


def layer_arrays(layer: Layer) -> dict[str, AnyArray]:
    """Arrays of a layer in an archive, by names without ``layer_0.``."""
    states = {name: connections.state() for name, connections in layer.connections().items()}
    about = _Layer(
        kind=layer.kind,
        settings=dict(layer.settings()),
        activation=layer.activation,
        connections={
            name: _Connections(kind=each.kind, settings=dict(each.settings), shape=each.shape, n_units=each.n_units)
            for name, each in states.items()
        },
    )
    arrays: dict[str, AnyArray] = {ABOUT: np.array(about.model_dump_json()), "shape": np.array(layer.shape, OFFSET)}
    for name, each in states.items():
        sizes = CONNECTIONS[each.kind].stored_sizes(each.shape, each.n_units, each.settings)
        # A network in memory may have some of these arrays narrower.
        arrays |= {
            f"connections/{name}/{array}": each.structure[array].astype(size.dtype, copy=False)
            for array, size in sizes.structure.items()
        }
    return arrays | {f"parameters/{name}": parameter.values for name, parameter in layer.parameters().items()}


def read_layer(
    archive: Archive, number: int, shape: tuple[int, int], config: NetworkSection, *, is_last: bool
) -> LayerState:
    """Layer ``number``, checked, without a state of the optimiser; ``shape`` is (n_out, n_in).

    Raises
    ------
    DataError
        A kind is not known, or something is missing or not what its kind has.
    """
    where = archive.where(f"layer_{number}")
    about = _description(archive, number)
    weights = LAYERS[about.kind].weights
    if about.connections.keys() != weights.keys():
        names = ", ".join(about.connections) or "none"
        raise DataError(f"{where}.{ABOUT}: connections {quoted(names)}: expected {', '.join(weights)}")
    connections, n_values = dict[str, ConnectionState](), dict[str, int]()
    try:
        for name, each in about.connections.items():
            sizes = CONNECTIONS[each.kind].stored_sizes(each.shape, each.n_units, each.settings)
            structure = {
                array: archive.vector(f"layer_{number}.connections/{name}/{array}", size.dtype, size.n_items)
                for array, size in sizes.structure.items()
            }
            connections[name] = ConnectionState(each.kind, each.shape, each.n_units, structure, each.settings)
            n_values[name] = sizes.n_values
        parameters = {
            name: archive.vector(f"layer_{number}.parameters/{name}", VALUE, size)
            for name, size in LAYERS[about.kind].parameter_sizes(shape, n_values, about.settings).items()
        }
        state = LayerState(about.kind, shape, about.activation, connections, parameters, {}, about.settings)
        check_layer(state, lambda array: f"{where}.{array}")
        LAYERS[state.kind].from_state(state, config, number, is_last=is_last, acting_share=ALL_ACT)
    except ValueError as error:
        raise DataError(f"{where}: {error}") from error
    return state


def _description(archive: Archive, number: int) -> _Layer:
    name = f"layer_{number}.{ABOUT}"
    try:
        about = _Layer.model_validate_json(archive.text(name))
    except ValidationError as error:
        first = error.errors()[0]
        place = "".join(f".{quoted(str(part))}" for part in first["loc"])
        raise DataError(f"{archive.where(name)}{place}: {first['msg']}") from error
    if about.kind not in LAYERS:
        known = ", ".join(LAYERS)
        raise DataError(f'{archive.where(name)}: kind = "{quoted(about.kind)}": expected one of {known}')
    for own, each in about.connections.items():
        if each.kind not in CONNECTIONS:
            where, known = f"{archive.where(name)}.{quoted(own)}", ", ".join(CONNECTIONS)
            raise DataError(f'{where}: kind = "{quoted(each.kind)}": expected one of {known}')
    return about
