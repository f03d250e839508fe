"""Networks of checkpoints to files for other programs, and from such files to checkpoints."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import numpy as np

from hpc_sparse.config import RunConfig, find_data, load_config
from hpc_sparse.dtypes import AnyArray
from hpc_sparse.errors import DataError, InputError, OutputError
from hpc_sparse.evolution import state_types
from hpc_sparse.importers.arrays.archive import Archive
from hpc_sparse.inference import load_model
from hpc_sparse.inputs.chain import FrontEndChain
from hpc_sparse.inputs.sequences import n_inputs, n_places
from hpc_sparse.inputs.standardise import Standardise
from hpc_sparse.interop.dense_recurrent import has_recurrent_names, recurrent_weights
from hpc_sparse.interop.dense_weights import Layout, dense_weights, read_arrays
from hpc_sparse.interop.magnitude_pruning import check_kinds, prune_to_density, scaled_inputs
from hpc_sparse.interop.model_archive import is_model, read_model, to_arrays
from hpc_sparse.network.blueprint import blueprints
from hpc_sparse.network.connections.registry import check_widths
from hpc_sparse.network.network import Network
from hpc_sparse.network.replica import Replica
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.checkpoint.file import write_checkpoint
from hpc_sparse.storage.checkpoint.state import Checkpoint
from hpc_sparse.storage.dataset.file import load_dataset, read_info
from hpc_sparse.training.replica_states import (
    n_outputs,
    replica_to_states,
)
from hpc_sparse.training.trainer import validation_part


def export_model(checkpoint: Path, output: Path) -> dict[str, Any]:
    """Write the network of a checkpoint as an archive of SciPy's arrays; see :mod:`hpc_sparse.interop.model_archive`.

    Raises
    ------
    InputError
        The checkpoint is not what it should be, or the archive exists or cannot be written.
    """
    if output.suffix != ".npz":
        raise InputError(f"{output}: expected the name of an .npz archive")
    _check_free(output)
    model = load_model(checkpoint, threads=1)
    _write_archive(output, to_arrays(model))
    return {"checkpoint": str(checkpoint), "epoch": model.epoch, **_described(model.network), "output": str(output)}


def import_model(source: Path, output: Path, config: Path | None = None, layout: Layout = "auto") -> dict[str, Any]:
    """Write a checkpoint of the network in a file of :func:`export_model`, or of a dense one by magnitude pruning.

    Parameters
    ----------
    source, output : Path
    config : Path or None
        For a dense network: the configuration with its widths, activation, data set and the density to keep.
    layout : {"auto", "torch", "keras"}
        For a dense network: see :func:`~hpc_sparse.interop.dense_weights.dense_weights`.

    Raises
    ------
    InputError
        A file is not what it should be, they do not fit, or the checkpoint exists or cannot be written.
    """
    _check_free(output)
    arrays = read_arrays(source)
    if is_model(arrays):
        if config is not None:
            raise InputError(f"--config {config}: {source} has a configuration of its own")
        checkpoint = read_model(Archive(source))
    elif config is None:
        raise InputError(f"{source}: not from `hpc-sparse model export`: expected --config, as for dense weights")
    else:
        checkpoint = _pruned_checkpoint(source, arrays, config, layout)
    write_checkpoint(ParallelContext.serial(threads=1), output, checkpoint, "serial")
    model = load_model(output, threads=1)
    return {"source": str(source), "epoch": model.epoch, **_described(model.network), "output": str(output)}


def _pruned_checkpoint(source: Path, arrays: dict[str, AnyArray], config_path: Path, layout: Layout) -> Checkpoint:
    """A checkpoint before the first epoch, on which a run with this configuration can go on."""
    config = load_config(config_path)
    check_kinds(config.network)
    for path in config.network.topology_files.values():
        raise InputError(
            f"--config {config_path}: has connections from {path}: expected none, as those of {source} whose weights "
            "are largest stay"
        )
    data = find_data(config.data.path, config_path)
    info = read_info(data)
    n_in = n_inputs(config, info)
    check_widths(config.network, n_in)
    front_end = _front_end(config, data)
    n_out, steps, reads_tokens = n_outputs(config, info), n_places(config, info), info.n_tokens > 0
    if config.network.reads_sequences:
        plans = blueprints(config.network, n_in, n_out, n_places=steps, reads_tokens=reads_tokens)
        weights = recurrent_weights(source, arrays, plans, layout)
    elif has_recurrent_names(arrays):
        raise InputError(f'{source}: has recurrent layers: expected some in {config_path}: kind = "recurrent"')
    else:
        weights = dense_weights(source, arrays, [n_in, *config.network.hidden, n_out], layout)
    try:
        scaled = scaled_inputs(weights, front_end.part(Standardise))
    except DataError as error:
        raise DataError(f"{source}: {error}") from None
    network = prune_to_density(scaled, config, n_places=steps, reads_tokens=reads_tokens)
    replica = Replica.at_rest(network, state_types(config))
    return Checkpoint(
        config_text=config.to_toml(),
        epoch=0,
        step=0,
        n_ranks=1,
        layers=replica_to_states(replica),
        metrics={},
        history_best=None,
        front_end=front_end.arrays(),
    )


def _front_end(config: RunConfig, data: Path) -> FrontEndChain:
    """What a run with this configuration would begin with: it is compared when the run takes the checkpoint up."""
    ctx = ParallelContext.serial(threads=1)
    dataset = load_dataset(ctx, data, "serial", validation=validation_part(ctx, config))
    return FrontEndChain.start(ctx, config, dataset)


def _described(network: Network) -> dict[str, Any]:
    return {
        "widths": "-".join(str(width) for width in network.widths),
        "connections": network.n_connections,
        "density": network.density,
    }


def _check_free(output: Path) -> None:
    if output.exists():
        raise OutputError(f"{output}: exists already; choose another name")


def _write_archive(output: Path, arrays: dict[str, AnyArray]) -> None:
    """Write an .npz archive, which takes its name once it is complete."""
    temporary = output.with_name(f".{output.name}.{secrets.token_hex(4)}.partial")
    try:
        with temporary.open("xb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        temporary.replace(output)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(f"{output}: cannot be written: {error.strerror or error}") from error
