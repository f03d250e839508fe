"""A look into a checkpoint without reading its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.checkpoint.contents import LayerInfo
from hpc_sparse.storage.checkpoint.versions import read_contents
from hpc_sparse.storage.container.file import CHECKPOINT_KIND, open_container


@dataclass(frozen=True)
class CheckpointInfo:
    """Description of a checkpoint.

    Attributes
    ----------
    path : Path
    epoch, step, step_in_epoch, n_ranks : int
        ``step_in_epoch`` is 0 after a complete epoch.
    n_replicas : int
        Networks in the file that may differ; 0 if it holds the one of all ranks.
    layers : tuple of LayerInfo
    n_neurons : int
        Neurons of all layers, inputs included; without removed ones.
    n_connections, n_parameters : int
        Stored weights; the same with biases. Of replica 0 where there are several.
    density : float
        Stored weights by possible ones.
    reduced_layers : tuple of int
        Layers of neurons that have lost some, 0 = inputs.
    target_connections : tuple of int
        By connections, see :class:`~hpc_sparse.storage.checkpoint.file.Checkpoint`.
    config_text : str
    metrics : dict
    history_best : (epoch, value) or None
    creator : str
    format_version : int
    file_bytes : int
    tile_width : int
    instructions : str
        As in :class:`~hpc_sparse.storage.checkpoint.state.Checkpoint`.
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
    metrics: Mapping[str, float]
    history_best: tuple[int, float] | None
    creator: str
    format_version: int
    file_bytes: int
    tile_width: int = 0
    instructions: str = ""


def read_checkpoint_info(path: Path | str) -> CheckpointInfo:
    """Description of a checkpoint, read without its weights and without MPI."""
    with open_container(ParallelContext.serial(threads=1), path, CHECKPOINT_KIND, "serial") as reader:
        contents = read_contents(reader)
        creator, version = str(reader.attribute("/", "creator")), reader.integer("/", "format_version", minimum=1)
    n_connections = sum(layer.n_connections for layer in contents.layers)
    return CheckpointInfo(
        path=Path(path),
        epoch=contents.epoch,
        step=contents.step,
        step_in_epoch=contents.step_in_epoch,
        n_ranks=contents.n_ranks,
        n_replicas=contents.n_replicas,
        layers=contents.layers,
        n_neurons=sum(contents.widths),
        n_connections=n_connections,
        n_parameters=sum(layer.n_parameters for layer in contents.layers),
        density=n_connections / sum(layer.n_possible for layer in contents.layers),
        reduced_layers=tuple(contents.neuron_ids),
        target_connections=contents.target_connections,
        config_text=contents.config_text,
        metrics=contents.metrics,
        history_best=contents.history_best,
        creator=creator,
        format_version=version,
        file_bytes=Path(path).stat().st_size,
        tile_width=contents.tile_width,
        instructions=contents.instructions,
    )
