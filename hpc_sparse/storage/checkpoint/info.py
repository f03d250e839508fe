"""A look into a checkpoint without reading its weights."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.checkpoint.layer_state import LAYERS, read_shape
from hpc_sparse.storage.checkpoint.neuron_ids import reduced_layers
from hpc_sparse.storage.checkpoint.replica_layers import REPLICA_LAYERS, read_replica_connections
from hpc_sparse.storage.container.file import CHECKPOINT_KIND, open_container
from hpc_sparse.storage.container.reader import ContainerReader

METRIC_PREFIX = "metric."
"""Begins the names of the attributes that are metrics."""

MOST_CONFIG_BYTES = 1024 * 1024
"""A stored configuration has a few thousand bytes; a huge one would take its time to be read."""

ABSENT_FROM_VERSION_1 = {"step_in_epoch": 0, "n_replicas": 0}
"""Attributes of the root that version 1 does not have, and what it stands for."""


@dataclass(frozen=True)
class LayerInfo:
    """Size of one layer: ``shape`` = (n_out, n_in), activation, and stored connections, of replica 0 if there are."""

    shape: tuple[int, int]
    activation: str
    n_connections: int


@dataclass(frozen=True)
class CheckpointInfo:
    """What a checkpoint says about itself.

    Attributes
    ----------
    path : Path
    epoch, step, step_in_epoch, n_ranks : int
        ``step_in_epoch`` is 0 after a complete epoch.
    n_replicas : int
        Networks in the file that may differ; 0 if it holds the one of all ranks.
    layers : tuple of LayerInfo
    n_neurons : int
        Of all layers, inputs included; without removed ones.
    n_connections, n_parameters : int
        Stored weights; the same with biases. Of replica 0 where there are several.
    density : float
        Stored weights by possible ones.
    reduced_layers : tuple of int
        Layers of neurons that have lost some, 0 = inputs.
    target_connections : tuple of int
        By layer, see :class:`~hpc_sparse.storage.checkpoint.file.Checkpoint`.
    config_text : str
    metrics : dict
    history_best : (epoch, value) or None
    creator : str
    format_version : int
    file_bytes : int
    """

    path: Path
    epoch: int
    step: int
    step_in_epoch: int
    n_ranks: int
    n_replicas: int
    layers: tuple[LayerInfo, ...]
    n_neurons: int
    n_connections: int
    n_parameters: int
    density: float
    reduced_layers: tuple[int, ...]
    target_connections: tuple[int, ...]
    config_text: str
    metrics: dict[str, float]
    history_best: tuple[int, float] | None
    creator: str
    format_version: int
    file_bytes: int


def read_checkpoint_info(path: Path | str) -> CheckpointInfo:
    """What a checkpoint says about itself; reads no weights and needs no MPI."""
    with open_container(ParallelContext.serial(threads=1), path, CHECKPOINT_KIND, "serial") as reader:
        layers = read_layer_infos(reader)
        n_connections = sum(layer.n_connections for layer in layers)
        n_biases = sum(layer.shape[0] for layer in layers)
        return CheckpointInfo(
            path=Path(path),
            epoch=reader.integer("/", "epoch"),
            step=reader.integer("/", "step"),
            step_in_epoch=read_counter(reader, "step_in_epoch"),
            n_ranks=reader.integer("/", "n_ranks", minimum=1),
            n_replicas=read_counter(reader, "n_replicas"),
            layers=layers,
            n_neurons=layers[0].shape[1] + n_biases,
            n_connections=n_connections,
            n_parameters=n_connections + n_biases,
            density=n_connections / sum(layer.shape[0] * layer.shape[1] for layer in layers),
            reduced_layers=reduced_layers(reader, len(layers) + 1),
            target_connections=read_targets(reader, layers),
            config_text=read_config_text(reader),
            metrics=read_metrics(reader),
            history_best=read_history_best(reader),
            creator=str(reader.attribute("/", "creator")),
            format_version=reader.integer("/", "format_version", minimum=1),
            file_bytes=Path(path).stat().st_size,
        )


def read_config_text(reader: ContainerReader) -> str:
    """The configuration stored in an open checkpoint (collective)."""
    return reader.read_text("config", 1, MOST_CONFIG_BYTES)[0]


def read_metrics(reader: ContainerReader) -> dict[str, float]:
    """The metrics stored in an open checkpoint, by name (collective)."""
    names = [name for name in reader.attribute_names("metrics") if name.startswith(METRIC_PREFIX)]
    return {name.removeprefix(METRIC_PREFIX): reader.number("metrics", name) for name in names}


def read_history_best(reader: ContainerReader) -> tuple[int, float] | None:
    """Epoch and value of the best evaluation, stored in an open checkpoint (collective)."""
    if "best_epoch" not in reader.attribute_names("/"):
        return None
    return reader.integer("/", "best_epoch"), reader.number("/", "best_value")


def read_counter(reader: ContainerReader, name: str) -> int:
    """An attribute of the root in an open checkpoint, which version 1 may lack (collective)."""
    if name in ABSENT_FROM_VERSION_1 and reader.integer("/", "format_version", minimum=1) == 1:
        return ABSENT_FROM_VERSION_1[name]
    return reader.integer("/", name)


def read_layer_infos(reader: ContainerReader) -> tuple[LayerInfo, ...]:
    """Sizes of the layers in an open checkpoint, each of which fits the one before it (collective)."""
    n_replicas = read_counter(reader, "n_replicas")
    group = REPLICA_LAYERS if n_replicas else LAYERS
    names = reader.names(group)
    if not names or names != [f"{number:04d}" for number in range(len(names))]:
        reader.fail(f"{group}: {', '.join(names) or 'none stored'}: expected at least one, numbered from 0000 on")
    layers = tuple(_read_layer_info(reader, f"{group}/{name}", n_replicas) for name in names)
    for number, (before, layer) in enumerate(pairwise(layers), 1):
        if layer.shape[1] != before.shape[0]:
            reader.fail(
                f"{group}/{number:04d}: n_in = {layer.shape[1]}: expected {before.shape[0]}, what comes before it gives"
            )
    return layers


def read_targets(reader: ContainerReader, layers: tuple[LayerInfo, ...]) -> tuple[int, ...]:
    """Target number of connections of each layer, or () if none are stored, in an open checkpoint (collective)."""
    if not reader.has("target_connections"):
        return ()
    targets = tuple(reader.integer("target_connections", f"{number:04d}") for number in range(len(layers)))
    for number, (target, layer) in enumerate(zip(targets, layers, strict=True)):
        if target > layer.shape[0] * layer.shape[1]:
            reader.fail(f"target_connections: {target} in layer {number}: more than {layer.shape} neurons can have")
    return targets


def _read_layer_info(reader: ContainerReader, group: str, n_replicas: int) -> LayerInfo:
    n_out, n_in, activation = read_shape(reader, group)
    if n_replicas:
        n_connections = int(read_replica_connections(reader, group, n_replicas)[0])
    else:
        n_connections = reader.integer(group, "n_connections")
    return LayerInfo((n_out, n_in), activation, n_connections)
