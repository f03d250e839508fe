"""Checkpoints: everything a run needs to go on exactly where it was, and to be understood later.

Layout of format version 3. The root has attributes ``epoch``, ``step``, ``step_in_epoch``, ``n_ranks``,
``n_replicas`` and, if there was an evaluation, ``best_epoch`` and ``best_value``; group ``metrics`` has
one attribute per metric; ``config`` is text; ``statistics`` and ``front_end`` hold the arrays of front ends
(:mod:`hpc_sparse.storage.checkpoint.front_end`). Where all ranks have the same network, ``n_replicas`` is 0 and
``layers/0000`` and so on have attributes ``n_out``, ``n_in``, ``activation`` and ``n_connections`` and one array per
field of :class:`LayerState`; where each has its own, see :mod:`hpc_sparse.storage.checkpoint.replica_layers`. There may
be ``neurons`` (:mod:`hpc_sparse.storage.checkpoint.neuron_ids`), ``target_connections`` with an attribute per layer,
and ``progress`` float64[n_ranks, n].

Version 2 differs in its checksums only. Version 1 has neither these three nor ``step_in_epoch`` and
``n_replicas``, which are 0 for it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from hpc_sparse.dtypes import Float64Array
from hpc_sparse.errors import FileFormatError
from hpc_sparse.parallel.collectives import collective_errors, gather_objects
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.checkpoint.front_end import check_front_end, read_front_end, write_front_end
from hpc_sparse.storage.checkpoint.info import (
    METRIC_PREFIX,
    read_config_text,
    read_counter,
    read_history_best,
    read_layer_infos,
    read_metrics,
    read_targets,
)
from hpc_sparse.storage.checkpoint.layer_state import (
    LAYERS,
    check_layer,
    read_layer,
    write_even_parts,
    write_layers,
)
from hpc_sparse.storage.checkpoint.neuron_ids import NEURONS, read_neuron_ids, write_neuron_ids
from hpc_sparse.storage.checkpoint.replica_layers import (
    NO_REPLICA,
    REPLICA_LAYERS,
    count_replicas,
    read_replica_layers,
    write_replica_layers,
)
from hpc_sparse.storage.checkpoint.state import Checkpoint, check_agreement
from hpc_sparse.storage.container.checks import check_ids
from hpc_sparse.storage.container.file import CHECKPOINT_KIND, create_container, open_container
from hpc_sparse.storage.container.reader import ContainerReader
from hpc_sparse.storage.container.writer import ContainerWriter


def write_checkpoint(ctx: ParallelContext, path: Path | str, checkpoint: Checkpoint, backend: str = "auto") -> None:
    """Write a checkpoint (collective).

    A network that every rank holds is written in even parts; replicas are written by their ranks, each whole.
    Which of both it is follows from ``checkpoint.replica``.

    Raises
    ------
    OutputError
        On every rank: the file cannot be written; an existing one is as it was.
    """
    n_replicas = count_replicas(gather_objects(ctx, checkpoint.replica))
    check_agreement(ctx, checkpoint)
    with create_container(ctx, path, CHECKPOINT_KIND, backend) as writer:
        for name in ("epoch", "step", "step_in_epoch", "n_ranks"):
            writer.set_attribute("/", name, getattr(checkpoint, name))
        writer.set_attribute("/", "n_replicas", n_replicas)
        _write_record(writer, checkpoint)
        write_front_end(writer, checkpoint.front_end)
        if checkpoint.progress is not None:
            write_even_parts(writer, "progress", checkpoint.progress)
        if checkpoint.replica is None:
            write_layers(writer, checkpoint.layers)
        else:
            write_replica_layers(writer, checkpoint.layers, checkpoint.replica)
        write_neuron_ids(writer, checkpoint.neuron_ids)
        for number, target in enumerate(checkpoint.target_connections):
            writer.set_attribute("target_connections", f"{number:04d}", target)


def read_checkpoint(
    ctx: ParallelContext, path: Path | str, backend: str = "auto", *, replica: int | None = None
) -> Checkpoint:
    """Read and check a checkpoint, whatever number of ranks wrote it (collective).

    Parameters
    ----------
    ctx : ParallelContext
    path : path
    backend : {"auto", "mpio", "serial"}
    replica : int or None
        None, on every rank, for a file with one network, which all get. For one with replicas the number of the one
        that this rank gets; :data:`NO_REPLICA` for none, and no layers.

    Raises
    ------
    DataError, FileFormatError
        On every rank: the file is missing, damaged or inconsistent, or has no such replica.
    """
    asked = gather_objects(ctx, replica)
    with open_container(ctx, path, CHECKPOINT_KIND, backend) as reader:
        n_replicas = read_counter(reader, "n_replicas")
        for number in asked:
            _check_asked(reader, number, n_replicas)
        checkpoint = _read_common(reader)
        n_layers = len(reader.names(REPLICA_LAYERS if n_replicas else LAYERS))
        if replica is None:
            layers = tuple(read_layer(reader, number) for number in range(n_layers))
        else:
            first = max(0, replica)
            found = read_replica_layers(reader, n_layers, n_replicas, first, first + (replica != NO_REPLICA))
            layers = found[0] if found else ()
    checkpoint = replace(checkpoint, layers=layers, replica=replica)
    with collective_errors(ctx, f"checking {path}"):
        _check(Path(path), checkpoint)
    return checkpoint


def read_replicas(path: Path | str) -> list[Checkpoint]:
    """Read and check all networks of a checkpoint in one process: one per replica, or the one of all ranks.

    Raises
    ------
    DataError, FileFormatError
        The file is missing, damaged or inconsistent.
    """
    with open_container(ParallelContext.serial(threads=1), path, CHECKPOINT_KIND, "serial") as reader:
        n_replicas = read_counter(reader, "n_replicas")
        if n_replicas:
            common = _read_common(reader)
            by_replica = read_replica_layers(reader, len(reader.names(REPLICA_LAYERS)), n_replicas, 0, n_replicas)
    if not n_replicas:
        return [read_checkpoint(ParallelContext.serial(threads=1), path, "serial")]
    checkpoints = [replace(common, layers=layers, replica=number) for number, layers in enumerate(by_replica)]
    for checkpoint in checkpoints:
        _check(Path(path), checkpoint)
    return checkpoints


def _write_record(writer: ContainerWriter, checkpoint: Checkpoint) -> None:
    """Write the metrics and the configuration (collective)."""
    if checkpoint.history_best is not None:
        writer.set_attribute("/", "best_epoch", checkpoint.history_best[0])
        writer.set_attribute("/", "best_value", float(checkpoint.history_best[1]))
    writer.set_attribute("metrics", "n_metrics", len(checkpoint.metrics))
    for name, value in checkpoint.metrics.items():
        writer.set_attribute("metrics", f"{METRIC_PREFIX}{name}", float(value))
    text = checkpoint.config_text.encode()
    writer.write_replicated("config", np.array([text], dtype=f"S{max(1, len(text))}"))


def _read_common(reader: ContainerReader) -> Checkpoint:
    """All that every rank reads alike; the layers are still missing (collective)."""
    infos = read_layer_infos(reader)
    widths = [infos[0].shape[1], *(info.shape[0] for info in infos)]
    neuron_ids = read_neuron_ids(reader, widths)
    n_ranks = reader.integer("/", "n_ranks", minimum=1)
    return Checkpoint(
        config_text=read_config_text(reader),
        epoch=reader.integer("/", "epoch"),
        step=reader.integer("/", "step"),
        n_ranks=n_ranks,
        layers=(),
        metrics=read_metrics(reader),
        history_best=read_history_best(reader),
        front_end=read_front_end(reader, widths[0], neuron_ids[0] if neuron_ids else None),
        neuron_ids=neuron_ids,
        target_connections=read_targets(reader, infos),
        step_in_epoch=read_counter(reader, "step_in_epoch"),
        progress=_read_progress(reader, n_ranks),
    )


def _read_progress(reader: ContainerReader, n_ranks: int) -> Float64Array | None:
    if not reader.has("progress"):
        return None
    reader.require("progress", np.float64, (n_ranks, None))
    return reader.read("progress")


def _check_asked(reader: ContainerReader, replica: int | None, n_replicas: int) -> None:
    if replica is None and n_replicas:
        reader.fail(f"holds {n_replicas} replicas of a run in progress: expected one network that all ranks share")
    if replica is not None and not (n_replicas and NO_REPLICA <= replica < n_replicas):
        reader.fail(f"replica {replica} asked for: expected one of the {n_replicas} that it holds")


def _check(path: Path, checkpoint: Checkpoint) -> None:
    for number, layer in enumerate(checkpoint.layers):
        if checkpoint.replica is None:
            where = f"{path}: {LAYERS}/{number:04d}"
        else:
            where = f"{path}: replica {checkpoint.replica}: {REPLICA_LAYERS}/{number:04d}"
        check_layer(where, layer)
    for number, ids in enumerate(checkpoint.neuron_ids):
        if ids is not None:
            check_ids(f"{path}: {NEURONS}/{number:04d}", ids, error=FileFormatError)
    check_front_end(path, checkpoint.front_end)
