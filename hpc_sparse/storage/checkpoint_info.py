"""A look into a checkpoint without reading its weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.container import CHECKPOINT_KIND, open_container
from hpc_sparse.storage.reader import ContainerReader

METRIC_PREFIX = "metric."
"""Begins the names of the attributes that are metrics."""


@dataclass(frozen=True)
class LayerInfo:
    """Size of one layer: ``shape`` = (n_out, n_in), activation, and stored connections."""

    shape: tuple[int, int]
    activation: str
    n_connections: int


@dataclass(frozen=True)
class CheckpointInfo:
    """What a checkpoint says about itself.

    Attributes
    ----------
    path : Path
    epoch, step, n_ranks : int
    layers : tuple of LayerInfo
    n_neurons : int
        Of all layers, inputs included.
    n_connections, n_parameters : int
        Stored weights; the same with biases.
    density : float
        Stored weights by possible ones.
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
    n_ranks: int
    layers: tuple[LayerInfo, ...]
    n_neurons: int
    n_connections: int
    n_parameters: int
    density: float
    config_text: str
    metrics: dict[str, float]
    history_best: tuple[int, float] | None
    creator: str
    format_version: int
    file_bytes: int


def read_checkpoint_info(path: Path | str) -> CheckpointInfo:
    """What a checkpoint says about itself; reads no weights and needs no MPI."""
    with open_container(ParallelContext.serial(threads=1), path, CHECKPOINT_KIND, "serial") as reader:
        layers = tuple(_layer_info(reader, f"layers/{name}") for name in reader.names("layers"))
        if not layers:
            reader.fail("layers: none stored: expected at least one")
        n_connections = sum(layer.n_connections for layer in layers)
        n_biases = sum(layer.shape[0] for layer in layers)
        return CheckpointInfo(
            path=Path(path),
            epoch=reader.integer("/", "epoch"),
            step=reader.integer("/", "step"),
            n_ranks=reader.integer("/", "n_ranks", minimum=1),
            layers=layers,
            n_neurons=layers[0].shape[1] + n_biases,
            n_connections=n_connections,
            n_parameters=n_connections + n_biases,
            density=n_connections / sum(layer.shape[0] * layer.shape[1] for layer in layers),
            config_text=read_config_text(reader),
            metrics=read_metrics(reader),
            history_best=read_history_best(reader),
            creator=str(reader.attribute("/", "creator")),
            format_version=reader.integer("/", "format_version", minimum=1),
            file_bytes=Path(path).stat().st_size,
        )


def read_config_text(reader: ContainerReader) -> str:
    """The configuration stored in an open checkpoint (collective)."""
    reader.require("config", reader.dtype("config"), (1,))
    return str(reader.read("config")[0].decode())


def read_metrics(reader: ContainerReader) -> dict[str, float]:
    """The metrics stored in an open checkpoint, by name (collective)."""
    names = [name for name in reader.attribute_names("metrics") if name.startswith(METRIC_PREFIX)]
    return {name.removeprefix(METRIC_PREFIX): float(reader.attribute("metrics", name)) for name in names}


def read_history_best(reader: ContainerReader) -> tuple[int, float] | None:
    """Epoch and value of the best evaluation, stored in an open checkpoint (collective)."""
    if "best_epoch" not in reader.attribute_names("/"):
        return None
    return reader.integer("/", "best_epoch"), float(reader.attribute("/", "best_value"))


def _layer_info(reader: ContainerReader, group: str) -> LayerInfo:
    shape = reader.integer(group, "n_out", minimum=1), reader.integer(group, "n_in", minimum=1)
    return LayerInfo(shape, str(reader.attribute(group, "activation")), reader.integer(group, "n_connections"))
