"""Reader of checkpoints of formats 1 to 3, of which every layer is sparse and every optimiser has velocities.

The root has attributes ``epoch``, ``step``, ``step_in_epoch``, ``n_ranks`` and ``n_replicas``. After an evaluation it
also has ``best_epoch`` and ``best_value``. Group ``metrics`` has one attribute per metric; ``config`` is text. Groups
``statistics`` (``mean``, ``deviation`` of the features) and ``front_end`` (other arrays) are optional.

If all ranks have the same network, ``n_replicas`` is 0. ``layers/0000`` and so on then have attributes ``n_out``,
``n_in``, ``activation`` and ``n_connections``, and the arrays ``indptr``, ``indices``, ``weight``, ``bias``,
``weight_velocity`` and ``bias_velocity``. If each rank has its own, ``replica_layers/0000`` has ``n_connections``
int64[n_replicas]. Its arrays over neurons have one row per replica; in those over connections the replicas follow each
other. There may be ``neurons/0000`` (inputs) and so on, ``target_connections`` with an attribute per layer, and
``progress`` float64[n_ranks, n].

Version 2 differs from 3 in its checksums only. Version 1 has no replicas, neurons, targets or progress, and neither
``step_in_epoch`` nor ``n_replicas``, which are 0 for it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from hpc_sparse.dtypes import OFFSET
from hpc_sparse.network.connections.protocol import INPUT
from hpc_sparse.storage.checkpoint.contents import (
    Contents,
    LayerInfo,
    StoredArray,
    check_chain,
    check_targets,
    connection_info,
    parameter_arrays,
    read_config_text,
    read_shape,
)
from hpc_sparse.storage.checkpoint.front_end import DEVIATION, MEAN
from hpc_sparse.storage.container.reader import ContainerReader

LAYERS, REPLICA_LAYERS, NEURONS = "layers", "replica_layers", "neurons"
KIND, CONNECTIONS_KIND = "sparse", "csr"
METRIC_PREFIX = "metric."

ABSENT_FROM_VERSION_1 = ("step_in_epoch", "n_replicas")
"""Attributes of the root that version 1 does not have."""

STATISTICS = {MEAN: "statistics/mean", DEVIATION: "statistics/deviation"}
"""Places of arrays that are not below ``front_end``."""

SUMS_OF_A_RANK = ("loss", "n_correct", "n_grown", "n_bytes", "train", "evolve", "sync", "evaluate")
SUMS_OF_A_SERVER = (
    *("epoch", "rate", "n_changed", "n_discarded", "n_bytes", "train", "evolve", "evaluate"),
    *("loss", "n_correct", "n_samples", "compute_seconds", "wait_seconds"),
    *(f"staleness_{bin_number}" for bin_number in range(16)),
)
"""Columns of ``progress``, which these versions do not name."""


class Counters(NamedTuple):
    """Numbers of the root."""

    epoch: int
    step: int
    step_in_epoch: int
    n_ranks: int
    n_replicas: int


def read_contents(reader: ContainerReader, version: int) -> Contents:
    """Contents of an open checkpoint (collective)."""
    counters = Counters(
        epoch=reader.integer("/", "epoch"),
        step=reader.integer("/", "step"),
        step_in_epoch=_counter(reader, "step_in_epoch", version),
        n_ranks=reader.integer("/", "n_ranks", minimum=1),
        n_replicas=_counter(reader, "n_replicas", version),
    )
    layers = _read_layers(reader, counters.n_replicas)
    names = reader.names("/")
    has_progress = "progress" in names
    return Contents(
        **counters._asdict(),
        history_best=_read_history_best(reader),
        metrics=_read_metrics(reader),
        config_text=read_config_text(reader),
        target_connections=_read_targets(reader, layers) if "target_connections" in names else (),
        progress_names=_progress_names(reader, counters.n_ranks) if has_progress else (),
        layers=layers,
        neuron_ids=_neuron_places(reader, len(layers) + 1) if NEURONS in names else {},
        front_end=_front_end_places(reader, names),
        progress="progress" if has_progress else None,
    )


def _counter(reader: ContainerReader, name: str, version: int) -> int:
    return 0 if version == 1 and name in ABSENT_FROM_VERSION_1 else reader.integer("/", name)


def _read_history_best(reader: ContainerReader) -> tuple[int, float] | None:
    if "best_epoch" not in reader.attribute_names("/"):
        return None
    return reader.integer("/", "best_epoch"), reader.number("/", "best_value")


def _read_metrics(reader: ContainerReader) -> dict[str, float]:
    names = [name for name in reader.attribute_names("metrics") if name.startswith(METRIC_PREFIX)]
    return {name.removeprefix(METRIC_PREFIX): reader.number("metrics", name) for name in names}


def _read_layers(reader: ContainerReader, n_replicas: int) -> tuple[LayerInfo, ...]:
    group = REPLICA_LAYERS if n_replicas else LAYERS
    names = reader.names(group)
    if not names or names != [f"{number:04d}" for number in range(len(names))]:
        reader.fail(f"{group}: {', '.join(names) or 'none stored'}: expected at least one, numbered from 0000 on")
    layers = tuple(_read_layer(reader, f"{group}/{name}", n_replicas) for name in names)
    check_chain(reader, layers)
    return layers


def _read_layer(reader: ContainerReader, place: str, n_replicas: int) -> LayerInfo:
    shape, activation = read_shape(reader, place), str(reader.attribute(place, "activation"))
    n_connections = _read_sizes(reader, place, n_replicas)
    info, sizes = connection_info(reader, place, CONNECTIONS_KIND, shape, n_connections, {})
    layer = LayerInfo(KIND, shape, activation, {INPUT: info}, {}, place, {})
    arrays = {
        f"connections/{INPUT}/{name}": StoredArray(
            f"{place}/{name}", size.dtype, tuple(each.structure[name].n_items for each in sizes)
        )
        for name, size in sizes[0].structure.items()
    }
    parameters = parameter_arrays(reader, layer, len(sizes))
    arrays |= {f"parameters/{name}": array for name, array in parameters.items()}
    arrays |= {
        f"states/{name}_velocity": replace(array, place=f"{array.place}_velocity") for name, array in parameters.items()
    }
    if n_replicas:
        over_connections = {f"{place}/{name}" for name in ("indices", "weight", "weight_velocity")}
        arrays = {name: replace(array, is_table=array.place not in over_connections) for name, array in arrays.items()}
    return replace(layer, arrays=arrays)


def _read_sizes(reader: ContainerReader, place: str, n_replicas: int) -> tuple[int, ...]:
    """Connections of each network."""
    if not n_replicas:
        return (reader.integer(place, "n_connections"),)
    reader.require(f"{place}/n_connections", OFFSET, (n_replicas,))
    n_connections = reader.read(f"{place}/n_connections")
    if n_connections.min() < 0:
        reader.fail(f"{place}/n_connections: {n_connections.min()}: must be >= 0")
    return tuple(n_connections.tolist())


def _read_targets(reader: ContainerReader, layers: tuple[LayerInfo, ...]) -> tuple[int, ...]:
    targets = tuple(reader.integer("target_connections", f"{number:04d}") for number in range(len(layers)))
    check_targets(reader, targets, layers)
    return targets


def _neuron_places(reader: ContainerReader, n_widths: int) -> dict[int, str]:
    numbers = {f"{number:04d}": number for number in range(n_widths)}
    names = reader.names(NEURONS)
    for name in names:
        if name not in numbers:
            reader.fail(f"{NEURONS}/{name}: expected at most 0000 to {n_widths - 1:04d}, the layers of neurons")
    return {numbers[name]: f"{NEURONS}/{name}" for name in names}


def _front_end_places(reader: ContainerReader, names: list[str]) -> dict[str, str]:
    statistics = reader.names("statistics") if "statistics" in names else []
    places = {name: place for name, place in STATISTICS.items() if place.rpartition("/")[2] in statistics}
    for kind in reader.names("front_end") if "front_end" in names else []:
        for own in reader.names(f"front_end/{kind}"):
            places[f"{kind}/{own}"] = f"front_end/{kind}/{own}"
    return places


def _progress_names(reader: ContainerReader, n_ranks: int) -> tuple[str, ...]:
    """Names of the sums, from their number: of a rank or of a server; else numbers, from which no run continues."""
    _, width = reader.require("progress", np.float64, (n_ranks, None))
    known = {len(names): names for names in (SUMS_OF_A_RANK, SUMS_OF_A_SERVER)}
    return known.get(width) or tuple(f"sum_{number}" for number in range(width))
