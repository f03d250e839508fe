"""Checkpoints: everything a run needs to go on exactly where it was, and to be understood later.

Layout of format version 1. The root has attributes ``epoch``, ``step``, ``n_ranks`` and, if there
was an evaluation, ``best_epoch`` and ``best_value``; group ``metrics`` has one attribute per metric;
``config`` is text; ``statistics`` may hold ``mean`` and ``deviation`` of the features; ``layers/0000``
and so on have attributes ``n_out``, ``n_in``, ``activation`` and ``n_connections`` and one array per
field of :class:`LayerState`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpc_sparse.dtypes import INDEX, MAX_NEURONS, OFFSET, VALUE, AnyArray, Float32Array, Int32Array, Int64Array
from hpc_sparse.errors import FileFormatError
from hpc_sparse.parallel.collectives import collective_errors
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.partition import own_range
from hpc_sparse.storage.checkpoint_folder import (
    checkpoint_epochs,
    checkpoint_path,
    newest_checkpoint,
    prune_checkpoints,
)
from hpc_sparse.storage.checkpoint_info import (
    METRIC_PREFIX,
    CheckpointInfo,
    LayerInfo,
    read_checkpoint_info,
    read_config_text,
    read_history_best,
    read_metrics,
)
from hpc_sparse.storage.checks import check_csr, check_finite
from hpc_sparse.storage.container import CHECKPOINT_KIND, create_container, open_container
from hpc_sparse.storage.reader import ContainerReader
from hpc_sparse.storage.writer import ContainerWriter

__all__ = [
    "Checkpoint",
    "CheckpointInfo",
    "LayerInfo",
    "LayerState",
    "checkpoint_epochs",
    "checkpoint_path",
    "newest_checkpoint",
    "prune_checkpoints",
    "read_checkpoint",
    "read_checkpoint_info",
    "write_checkpoint",
]

STATISTICS = ("mean", "deviation")
LAYER_ARRAYS = ("indptr", "indices", "weight", "bias", "weight_velocity", "bias_velocity")


@dataclass(frozen=True)
class LayerState:
    """One sparse layer with its optimiser state.

    Attributes
    ----------
    shape : (n_out, n_in)
    activation : str
    indptr : int64[n_out + 1]
        Where each neuron's incoming connections start.
    indices : int32[n_connections]
        Where they come from, increasing within a neuron.
    weight, weight_velocity : float32[n_connections]
    bias, bias_velocity : float32[n_out]
    """

    shape: tuple[int, int]
    activation: str
    indptr: Int64Array
    indices: Int32Array
    weight: Float32Array
    bias: Float32Array
    weight_velocity: Float32Array
    bias_velocity: Float32Array


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run after ``epoch`` epochs.

    Attributes
    ----------
    config_text : str
        The complete configuration.
    epoch, step : int
        Epochs and optimiser steps done.
    n_ranks : int
        Ranks of the run that wrote it.
    layers : tuple of LayerState
        From the input to the output.
    metrics : dict
        Of the last epoch.
    history_best : (epoch, value) or None
        The best evaluation so far.
    mean, deviation : float32[n_features] or None
        Statistics of the training data with which dense features were standardised.
    """

    config_text: str
    epoch: int
    step: int
    n_ranks: int
    layers: tuple[LayerState, ...]
    metrics: dict[str, float]
    history_best: tuple[int, float] | None
    mean: Float32Array | None = None
    deviation: Float32Array | None = None


def write_checkpoint(ctx: ParallelContext, path: Path | str, checkpoint: Checkpoint, backend: str = "auto") -> None:
    """Write a checkpoint that every rank holds whole, each rank an even part of every array (collective).

    Raises
    ------
    OutputError
        On every rank: the file cannot be written; an existing one is as it was.
    """
    with create_container(ctx, path, CHECKPOINT_KIND, backend) as writer:
        for name in ("epoch", "step", "n_ranks"):
            writer.set_attribute("/", name, getattr(checkpoint, name))
        if checkpoint.history_best is not None:
            writer.set_attribute("/", "best_epoch", checkpoint.history_best[0])
            writer.set_attribute("/", "best_value", float(checkpoint.history_best[1]))
        writer.set_attribute("metrics", "n_metrics", len(checkpoint.metrics))
        for name, value in checkpoint.metrics.items():
            writer.set_attribute("metrics", f"{METRIC_PREFIX}{name}", float(value))
        text = checkpoint.config_text.encode()
        writer.write_replicated("config", np.array([text], dtype=f"S{max(1, len(text))}"))
        for name in STATISTICS:
            if (array := getattr(checkpoint, name)) is not None:
                _write_array(writer, f"statistics/{name}", array)
        for number, layer in enumerate(checkpoint.layers):
            _write_layer(writer, f"layers/{number:04d}", layer)


def read_checkpoint(ctx: ParallelContext, path: Path | str, backend: str = "auto") -> Checkpoint:
    """Read and check a whole checkpoint on every rank, whatever number of ranks wrote it (collective).

    Raises
    ------
    DataError, FileFormatError
        On every rank: the file is missing, damaged or inconsistent.
    """
    with open_container(ctx, path, CHECKPOINT_KIND, backend) as reader:
        layers = tuple(_read_layer(reader, f"layers/{name}") for name in reader.names("layers"))
        checkpoint = Checkpoint(
            config_text=read_config_text(reader),
            epoch=reader.integer("/", "epoch"),
            step=reader.integer("/", "step"),
            n_ranks=reader.integer("/", "n_ranks", minimum=1),
            layers=layers,
            metrics=read_metrics(reader),
            history_best=read_history_best(reader),
            **{name: _read_statistic(reader, name, layers) for name in STATISTICS},
        )
    with collective_errors(ctx, f"checking {path}"):
        _check_layers(Path(path), layers)
        for name in STATISTICS:
            if (array := getattr(checkpoint, name)) is not None:
                check_finite(f"{path}: statistics/{name}", array, error=FileFormatError)
    return checkpoint


def _write_layer(writer: ContainerWriter, group: str, layer: LayerState) -> None:
    writer.set_attribute(group, "n_out", layer.shape[0])
    writer.set_attribute(group, "n_in", layer.shape[1])
    writer.set_attribute(group, "activation", layer.activation)
    writer.set_attribute(group, "n_connections", int(layer.indices.size))
    for name in LAYER_ARRAYS:
        _write_array(writer, f"{group}/{name}", getattr(layer, name))


def _write_array(writer: ContainerWriter, name: str, array: AnyArray) -> None:
    start, stop = own_range(array.size, writer.ctx.size, writer.ctx.rank)
    writer.create(name, array.shape, array.dtype)
    writer.write(name, start, array[start:stop])


def _read_statistic(reader: ContainerReader, name: str, layers: tuple[LayerState, ...]) -> Float32Array | None:
    if not layers or not reader.has(f"statistics/{name}"):
        return None
    reader.require(f"statistics/{name}", VALUE, (layers[0].shape[1],))
    return reader.read(f"statistics/{name}")


def _read_layer(reader: ContainerReader, group: str) -> LayerState:
    n_out = reader.integer(group, "n_out", minimum=1)
    n_in = reader.integer(group, "n_in", minimum=1)
    n_connections = reader.integer(group, "n_connections")
    for name, dtype, length in (
        ("indptr", OFFSET, n_out + 1),
        ("indices", INDEX, n_connections),
        ("weight", VALUE, n_connections),
        ("bias", VALUE, n_out),
        ("weight_velocity", VALUE, n_connections),
        ("bias_velocity", VALUE, n_out),
    ):
        reader.require(f"{group}/{name}", dtype, (length,))
    arrays = {name: reader.read(f"{group}/{name}") for name in LAYER_ARRAYS}
    return LayerState((n_out, n_in), str(reader.attribute(group, "activation")), **arrays)


def _check_layers(path: Path, layers: tuple[LayerState, ...]) -> None:
    if not layers:
        raise FileFormatError(f"{path}: layers: none stored: expected at least one")
    n_before = layers[0].shape[1]
    for number, layer in enumerate(layers):
        where = f"{path}: layers/{number:04d}"
        n_out, n_in = layer.shape
        if n_in != n_before or max(n_out, n_in) > MAX_NEURONS:
            raise FileFormatError(f"{where}: n_in = {n_in}: expected {n_before}, what comes before it gives")
        check_csr(where, layer.indptr, layer.indices, n_in, error=FileFormatError)
        for name in ("weight", "bias", "weight_velocity", "bias_velocity"):
            check_finite(f"{where}/{name}", getattr(layer, name), error=FileFormatError)
        n_before = n_out
