"""Looking at files, and evaluating a checkpoint: the reading commands."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hpc_sparse.config import parse_config
from hpc_sparse.kernels.threads import use_threads
from hpc_sparse.network.losses import LOSSES
from hpc_sparse.network.mlp import Workspace
from hpc_sparse.parallel.collectives import collective_errors
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.checkpoint import read_checkpoint
from hpc_sparse.storage.checkpoint_info import LayerInfo, read_checkpoint_info
from hpc_sparse.storage.container import CHECKPOINT_KIND, container_kind
from hpc_sparse.storage.dataset import DatasetInfo, load_dataset, read_info
from hpc_sparse.training.batches import BatchAssembler
from hpc_sparse.training.evaluation import evaluate
from hpc_sparse.training.replica import Replica, check_fits


def evaluate_checkpoint(ctx: ParallelContext, checkpoint_path: Path, dataset_path: Path) -> dict[str, Any]:
    """Loss and accuracy on the test part, with features scaled as in training (collective).

    Raises
    ------
    InputError
        On every rank: a file is not what it should be, or the two do not fit.
    """
    with collective_errors(ctx, "starting threads"):
        use_threads(ctx.threads)
    checkpoint = read_checkpoint(ctx, checkpoint_path)
    dataset = load_dataset(ctx, dataset_path)
    with collective_errors(ctx, "fitting the checkpoint to the data set"):
        config = parse_config(checkpoint.config_text, f"configuration stored in {checkpoint_path}")
        network = Replica.from_states(config.network, checkpoint.layers).network
        check_fits(network, config, dataset.info, str(checkpoint_path))
    batch_size = config.training.batch_size
    loss, accuracy = evaluate(
        ctx,
        network,
        LOSSES[config.training.loss],
        dataset.test,
        BatchAssembler(
            dataset.info.n_features,
            batch_size,
            mean=checkpoint.mean if config.data.standardize else None,
            deviation=checkpoint.deviation if config.data.standardize else None,
        ),
        Workspace(network.widths, batch_size),
        batch_size,
    )
    return {
        "checkpoint": str(checkpoint_path),
        "epoch": checkpoint.epoch,
        "dataset": str(dataset_path),
        "n_samples": dataset.info.n_test,
        "test_loss": loss,
        "test_accuracy": accuracy,
    }


def describe_file(path: Path) -> dict[str, Any]:
    """What a data set or checkpoint file says about itself, as plain values."""
    return describe_checkpoint(path) if container_kind(path) == CHECKPOINT_KIND else describe_dataset(read_info(path))


def describe_dataset(info: DatasetInfo) -> dict[str, Any]:
    """A data set as plain values."""
    values = asdict(info)
    values["path"] = str(info.path)
    for name in ("class_names", "class_counts_train", "class_counts_test"):
        values[name] = list(values[name])
    return {"kind": "data set", **values}


def describe_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint as plain values."""
    info = read_checkpoint_info(path)
    best_epoch, best_test_accuracy = info.history_best or (None, None)
    return {
        "kind": "checkpoint",
        "path": str(info.path),
        "epoch": info.epoch,
        "n_neurons": info.n_neurons,
        "n_connections": info.n_connections,
        "n_parameters": info.n_parameters,
        "density": info.density,
        "layers": [_describe_layer(layer) for layer in info.layers],
        "metrics": {name: value if math.isfinite(value) else None for name, value in info.metrics.items()},
        "best_test_accuracy": best_test_accuracy,
        "best_test_epoch": best_epoch,
        "n_ranks": info.n_ranks,
        "creator": info.creator,
        "format_version": info.format_version,
        "file_bytes": info.file_bytes,
        "config": info.config_text,
    }


def _describe_layer(layer: LayerInfo) -> dict[str, Any]:
    n_out, n_in = layer.shape
    return {"n_in": n_in, "n_out": n_out, "activation": layer.activation, "n_connections": layer.n_connections}
