"""Looking at files, and evaluating a checkpoint: the reading commands."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from hpc_sparse.dtypes import TYPE_NAMES
from hpc_sparse.kernels.threads import use_threads
from hpc_sparse.models.dataset_description import describe_dataset
from hpc_sparse.models.stored import StoredNetwork
from hpc_sparse.parallel.collectives import collective_errors
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.checkpoint.contents import LayerInfo
from hpc_sparse.storage.checkpoint.info import read_checkpoint_info
from hpc_sparse.storage.container.file import CHECKPOINT_KIND, container_kind
from hpc_sparse.storage.dataset.file import read_info
from hpc_sparse.storage.verification import checksum_name
from hpc_sparse.training.evaluation import is_of_tokens, of_tokens

STATES = "states/"


def evaluate_checkpoint(ctx: ParallelContext, checkpoint_path: Path, dataset_path: Path) -> dict[str, Any]:
    """Loss and accuracy on the test part, with features scaled as in training (collective).

    Raises
    ------
    InputError
        On every rank: a file is not what it should be, or the two do not fit.
    """
    with collective_errors(ctx, "starting threads"):
        use_threads(ctx.threads)
    stored = StoredNetwork.read(ctx, checkpoint_path)
    dataset = stored.load_data(ctx, dataset_path)
    loss, accuracy = stored.evaluate(ctx, stored.replica.network, dataset)
    return {
        "checkpoint": str(checkpoint_path),
        "epoch": stored.checkpoint.epoch,
        "dataset": str(dataset_path),
        "n_samples": dataset.info.n_test,
        "test_loss": loss,
        "test_accuracy": accuracy,
        **(of_tokens("test", loss) if is_of_tokens(dataset.info) else {}),
    }


def describe_file(path: Path) -> dict[str, Any]:
    """Description of a data set or checkpoint file, as plain values."""
    is_checkpoint = container_kind(path) == CHECKPOINT_KIND
    description = describe_checkpoint(path) if is_checkpoint else describe_dataset(read_info(path))
    return {**description, "checksums": checksum_name(path)}


def describe_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint as plain values."""
    info = read_checkpoint_info(path)
    best_epoch, best_accuracy = info.history_best or (None, None)
    part = "validation" if "validation_accuracy" in info.metrics else "test"
    return {
        "kind": "checkpoint",
        "path": str(info.path),
        "epoch": info.epoch,
        "step_in_epoch": info.step_in_epoch,
        "n_neurons": info.n_neurons,
        "n_connections": info.n_connections,
        "n_parameters": info.n_parameters,
        "density": info.density,
        "layers": [_describe_layer(layer) for layer in info.layers],
        "reduced_layers": list(info.reduced_layers),
        "target_connections": list(info.target_connections),
        "metrics": {name: value if math.isfinite(value) else None for name, value in info.metrics.items()},
        f"best_{part}_accuracy": best_accuracy,
        f"best_{part}_epoch": best_epoch,
        "n_ranks": info.n_ranks,
        "n_replicas": info.n_replicas,
        "tile_width": info.tile_width or None,
        "instructions": info.instructions or None,
        "optimizer_states": {
            name.removeprefix(STATES): TYPE_NAMES[np.dtype(array.dtype).type]
            for name, array in info.layers[0].arrays.items()
            if name.startswith(STATES)
        },
        "creator": info.creator,
        "format_version": info.format_version,
        "file_bytes": info.file_bytes,
        "config": info.config_text,
    }


def _describe_layer(layer: LayerInfo) -> dict[str, Any]:
    n_out, n_in = layer.shape
    described = {"n_in": n_in, "n_out": n_out, "activation": layer.activation, "n_connections": layer.n_connections}
    settings = {name: dict(each.settings) for name, each in layer.connections.items() if each.settings}
    kinds = {name: each.kind for name, each in layer.connections.items() if each.settings}
    return described | ({"kinds_of_connections": kinds, "settings": settings} if settings else {})
