"""Contents of a checkpoint: its numbers and texts, and the place of each array in the file.

Readers of all format versions give a :class:`Contents`. All that comes after them, reading arrays included, is the
same for every version.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy.typing as npt

from hpc_sparse.dtypes import MAX_NEURONS, VALUE
from hpc_sparse.network.connections.registry import CONNECTIONS
from hpc_sparse.network.connections.state import Setting, StoredSizes
from hpc_sparse.network.layers.registry import LAYERS
from hpc_sparse.network.layers.state import places_of
from hpc_sparse.storage.container.reader import ContainerReader

MOST_CONFIG_BYTES = 1024 * 1024
"""A stored configuration has a few thousand bytes; a huge one would take its time to be read."""


@dataclass(frozen=True)
class StoredArray:
    """An array of a layer, of all networks that the file holds.

    Attributes
    ----------
    place : str
        Its name in the file.
    dtype : dtype
    lengths : tuple of int
        Items of each network.
    is_table : bool
        Each network has a row of its own, instead of following the one before it.
    """

    place: str
    dtype: npt.DTypeLike
    lengths: tuple[int, ...]
    is_table: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape in the file."""
        return (len(self.lengths), self.lengths[0]) if self.is_table else (sum(self.lengths),)

    def rows(self, first: int, last: int) -> tuple[int, int]:
        """First row of the networks ``first:last``, and the one behind the last."""
        return (first, last) if self.is_table else (sum(self.lengths[:first]), sum(self.lengths[:last]))


@dataclass(frozen=True)
class ConnectionInfo:
    """Connections of a layer, without their arrays.

    Attributes
    ----------
    kind : str
    shape : (n_out, n_in)
        In neurons.
    n_units, n_values : tuple of int
        Units and weights of each network.
    settings : dict of str to number or text
    """

    kind: str
    shape: tuple[int, int]
    n_units: tuple[int, ...]
    n_values: tuple[int, ...]
    settings: Mapping[str, Setting]


@dataclass(frozen=True)
class LayerInfo:
    """A layer, without its arrays.

    Attributes
    ----------
    kind : str
    shape : (n_out, n_in)
        In neurons.
    activation : str
    connections : dict of str to ConnectionInfo
    settings : dict of str to number or text
    place : str
        The layer's group in the file.
    arrays : dict of str to StoredArray
        By the names of :meth:`hpc_sparse.network.layers.state.LayerState.arrays`.
    """

    kind: str
    shape: tuple[int, int]
    activation: str
    connections: Mapping[str, ConnectionInfo]
    settings: Mapping[str, Setting]
    place: str
    arrays: Mapping[str, StoredArray]

    @property
    def n_connections(self) -> int:
        """Stored weights of the first network."""
        return sum(each.n_values[0] for each in self.connections.values())

    @property
    def n_possible(self) -> int:
        """Connections that the layer could have."""
        return sum(each.shape[0] * each.shape[1] for each in self.connections.values())

    @property
    def n_parameters(self) -> int:
        """Numbers that are learned, of the first network."""
        return sum(array.lengths[0] for name, array in self.arrays.items() if name.startswith("parameters/"))


@dataclass(frozen=True)
class Contents:
    """Contents of a checkpoint, see :class:`~hpc_sparse.storage.checkpoint.state.Checkpoint`.

    Attributes
    ----------
    epoch, step, step_in_epoch, n_ranks : int
    n_replicas : int
        Networks that may differ; 0 if the file holds the one of all ranks.
    history_best : (epoch, value) or None
    metrics : dict of str to float
    config_text : str
    target_connections : tuple of int
    progress_names : tuple of str
    layers : tuple of LayerInfo
    neuron_ids : dict of int to str
        Place of the ids of each layer of neurons, 0 = inputs, that has lost some.
    front_end : dict of str to str
        Place of each array of front ends, by its name ``front end/array``.
    progress : str or None
        Place of the running sums.
    tile_width : int
    instructions : str
    """

    epoch: int
    step: int
    step_in_epoch: int
    n_ranks: int
    n_replicas: int
    history_best: tuple[int, float] | None
    metrics: Mapping[str, float]
    config_text: str
    target_connections: tuple[int, ...]
    progress_names: tuple[str, ...]
    layers: tuple[LayerInfo, ...]
    neuron_ids: Mapping[int, str]
    front_end: Mapping[str, str]
    progress: str | None
    tile_width: int = 0
    instructions: str = ""

    @property
    def n_networks(self) -> int:
        """Networks in the file, the same one of all ranks included."""
        return max(1, self.n_replicas)

    @property
    def n_features(self) -> int:
        """Features of a sample from which none was removed: the inputs of all places that layers read."""
        return self.widths[0] * max(places_of(layer.settings) for layer in self.layers)

    @property
    def widths(self) -> list[int]:
        """Neurons per layer, from the inputs to the outputs."""
        return [self.layers[0].shape[1], *(layer.shape[0] for layer in self.layers)]


def connection_info(
    reader: ContainerReader,
    place: str,
    kind: str,
    shape: tuple[int, int],
    n_units: tuple[int, ...],
    settings: Mapping[str, Setting],
) -> tuple[ConnectionInfo, list[StoredSizes]]:
    """Connections in an open checkpoint, and the sizes of their arrays in each network (collective)."""
    if kind not in CONNECTIONS:
        reader.fail(f'{place}: connections of kind "{kind}": expected one of {", ".join(CONNECTIONS)}')
    try:
        sizes = [CONNECTIONS[kind].stored_sizes(shape, each, settings) for each in n_units]
    except ValueError as error:
        reader.fail(f"{place}: {kind}: {error}")
    return ConnectionInfo(kind, shape, n_units, tuple(each.n_values for each in sizes), settings), sizes


def parameter_arrays(reader: ContainerReader, layer: LayerInfo, n_networks: int) -> dict[str, StoredArray]:
    """Parameters of a layer in an open checkpoint by name, in the layer's group (collective)."""
    n_values = [{name: each.n_values[n] for name, each in layer.connections.items()} for n in range(n_networks)]
    try:
        sizes = [LAYERS[layer.kind].parameter_sizes(layer.shape, each, layer.settings) for each in n_values]
    except ValueError as error:
        reader.fail(f"{layer.place}: {layer.kind}: {error}")
    return {name: StoredArray(f"{layer.place}/{name}", VALUE, tuple(each[name] for each in sizes)) for name in sizes[0]}


def read_config_text(reader: ContainerReader) -> str:
    """The configuration stored in an open checkpoint (collective)."""
    return reader.read_text("config", 1, MOST_CONFIG_BYTES)[0]


def check_layer_kind(reader: ContainerReader, place: str, kind: str, names: list[str] | None = None) -> None:
    """Fail unless the kind of layer is known and has connections of these names (collective)."""
    if kind not in LAYERS:
        reader.fail(f'{place}: layer of kind "{kind}": expected one of {", ".join(LAYERS)}')
    wanted = LAYERS[kind].weights
    if names is not None and set(names) != set(wanted):
        reader.fail(f"{place}: connections {', '.join(names) or 'none'}: expected {', '.join(wanted)}")


def read_shape(reader: ContainerReader, group: str) -> tuple[int, int]:
    """(n_out, n_in) of a group (collective)."""
    n_out, n_in = reader.integer(group, "n_out", minimum=1), reader.integer(group, "n_in", minimum=1)
    if max(n_out, n_in) > MAX_NEURONS:
        reader.fail(f"{group}: {n_in} x {n_out} neurons: expected at most {MAX_NEURONS} in a layer")
    return n_out, n_in


def check_chain(reader: ContainerReader, layers: tuple[LayerInfo, ...]) -> None:
    """Fail unless each layer fits the one before it (collective)."""
    for before, layer in pairwise(layers):
        if layer.shape[1] != before.shape[0]:
            reader.fail(
                f"{layer.place}: n_in = {layer.shape[1]}: expected {before.shape[0]}, what comes before it gives"
            )


def check_targets(reader: ContainerReader, targets: tuple[int, ...], layers: tuple[LayerInfo, ...]) -> None:
    """Fail unless there are as many targets as connections, each of which is possible (collective)."""
    shapes = [(number, each.shape) for number, layer in enumerate(layers) for each in layer.connections.values()]
    if len(targets) != len(shapes):
        reader.fail(f"target_connections: {len(targets)} numbers: expected {len(shapes)}, one for each connections")
    for target, (number, shape) in zip(targets, shapes, strict=True):
        if not 0 <= target <= shape[0] * shape[1]:
            reader.fail(f"target_connections: {target} in layer {number}: more than {shape} neurons can have")
