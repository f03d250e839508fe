"""Checkpoints: everything a run needs to go on exactly where it was, and to be understood later.

Written is format 4: :mod:`hpc_sparse.storage.checkpoint.format_4`, and for layers
:mod:`hpc_sparse.storage.checkpoint.layer_groups`. Older ones are read:
:mod:`hpc_sparse.storage.checkpoint.formats_1_to_3`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from hpc_sparse.checks import check_ids
from hpc_sparse.dtypes import INDEX, Float64Array, Int32Array
from hpc_sparse.errors import FileFormatError
from hpc_sparse.network.layers.state import LayerState
from hpc_sparse.parallel.collectives import collective_errors, gather_objects
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.checkpoint.contents import Contents, LayerInfo
from hpc_sparse.storage.checkpoint.format_4 import placed, write_contents
from hpc_sparse.storage.checkpoint.front_end import check_front_end, read_front_end, write_front_end
from hpc_sparse.storage.checkpoint.layer_arrays import (
    check_layer,
    read_layers,
    shared_layer_infos,
    write_even_parts,
    write_layers,
)
from hpc_sparse.storage.checkpoint.replicas import NO_REPLICA, count_replicas
from hpc_sparse.storage.checkpoint.state import Checkpoint, assert_same_checkpoint
from hpc_sparse.storage.checkpoint.versions import read_contents
from hpc_sparse.storage.container.file import CHECKPOINT_KIND, create_container, open_container
from hpc_sparse.storage.container.reader import ContainerReader
from hpc_sparse.storage.container.writer import ContainerWriter


def write_checkpoint(ctx: ParallelContext, path: Path | str, checkpoint: Checkpoint, backend: str = "auto") -> None:
    """Write a checkpoint (collective).

    A network that every rank holds is written in even parts; replicas are written by their ranks, each whole.
    ``checkpoint.replica`` decides between the two. Of a network in parts, ``ctx.model`` has them all; the file is the
    same as that of the whole network.

    Raises
    ------
    OutputError
        On every rank: the file cannot be written; an existing one is as it was.
    """
    n_replicas = count_replicas(gather_objects(ctx.data, checkpoint.replica))
    assert_same_checkpoint(ctx, checkpoint)
    contents = _contents_of(ctx, checkpoint, n_replicas)
    with create_container(ctx, path, CHECKPOINT_KIND, backend) as writer:
        write_contents(writer, contents)
        _write_arrays(writer, contents, checkpoint)


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
    with open_checkpoint(ctx, path, backend, replica=replica) as (checkpoint, layers):
        return replace(checkpoint, layers=tuple(layers))


@contextmanager
def open_checkpoint(
    ctx: ParallelContext, path: Path | str, backend: str = "auto", *, replica: int | None = None
) -> Iterator[tuple[Checkpoint, Iterator[LayerState]]]:
    """Read a checkpoint without its layers, which are read one after the other within the body (collective).

    For what would not fit into memory whole. Arguments and errors are those of :func:`read_checkpoint`; all ranks take
    all layers.
    """
    asked = gather_objects(ctx, replica)
    with open_container(ctx, path, CHECKPOINT_KIND, backend) as reader:
        contents = read_contents(reader)
        for number in asked:
            _check_asked(reader, number, contents.n_replicas)
        checkpoint = replace(_read_common(reader, contents), replica=replica)
        with collective_errors(ctx, f"checking {path}"):
            _check(Path(path), contents, checkpoint)
        first = max(0, replica or 0)
        yield checkpoint, _layers_of(reader, contents, checkpoint, first, first + (replica != NO_REPLICA))


def _layers_of(
    reader: ContainerReader, contents: Contents, checkpoint: Checkpoint, first: int, last: int
) -> Iterator[LayerState]:
    """The layers of the network ``first``, or none if ``last`` is the same, each read and checked (collective)."""
    for info in contents.layers:
        found = read_layers(reader, [info], first, last)
        with collective_errors(reader.ctx, f"checking {reader.path}"):
            for (layer,) in found:
                _check_layer(reader.path, info, checkpoint, layer)
        yield from (found.pop()[0] for _ in range(len(found)))


def read_replicas(path: Path | str) -> list[Checkpoint]:
    """Read and check all networks of a checkpoint in one process: one per replica, or the one of all ranks.

    Raises
    ------
    DataError, FileFormatError
        The file is missing, damaged or inconsistent.
    """
    with open_container(ParallelContext.serial(threads=1), path, CHECKPOINT_KIND, "serial") as reader:
        contents = read_contents(reader)
        common = _read_common(reader, contents)
        networks = read_layers(reader, contents.layers, 0, contents.n_networks)
    checkpoints = [
        replace(common, layers=layers, replica=number if contents.n_replicas else None)
        for number, layers in enumerate(networks)
    ]
    for checkpoint in checkpoints:
        _check(Path(path), contents, checkpoint)
    return checkpoints


def _contents_of(ctx: ParallelContext, checkpoint: Checkpoint, n_replicas: int) -> Contents:
    """Contents that the ranks together will write, with their places in the file (collective)."""
    return placed(
        Contents(
            epoch=checkpoint.epoch,
            step=checkpoint.step,
            step_in_epoch=checkpoint.step_in_epoch,
            n_ranks=checkpoint.n_ranks,
            n_replicas=n_replicas,
            history_best=checkpoint.history_best,
            metrics=checkpoint.metrics,
            config_text=checkpoint.config_text,
            target_connections=checkpoint.target_connections,
            progress_names=checkpoint.progress_names,
            layers=shared_layer_infos(ctx, checkpoint.layers, checkpoint.replica),
            neuron_ids={number: "" for number, ids in enumerate(checkpoint.neuron_ids) if ids is not None},
            front_end=dict.fromkeys(sorted(checkpoint.front_end), ""),
            progress=None if checkpoint.progress is None else "",
            tile_width=checkpoint.tile_width,
            instructions=", ".join(sorted(set(gather_objects(ctx, checkpoint.instructions)))),
        )
    )


def _write_arrays(writer: ContainerWriter, contents: Contents, checkpoint: Checkpoint) -> None:
    """Write the arrays at their places (collective)."""
    write_front_end(writer, contents.front_end, checkpoint.front_end)
    if contents.progress is not None and checkpoint.progress is not None:
        write_even_parts(writer, contents.progress, checkpoint.progress)
    write_layers(writer, contents.layers, checkpoint.layers, checkpoint.replica)
    for number, place in contents.neuron_ids.items():
        ids = checkpoint.neuron_ids[number]
        assert ids is not None
        write_even_parts(writer, place, ids)


def _read_common(reader: ContainerReader, contents: Contents) -> Checkpoint:
    """The checkpoint without its layers, the same on every rank (collective)."""
    neuron_ids = _read_neuron_ids(reader, contents)
    input_ids = neuron_ids[0] if neuron_ids else None
    return Checkpoint(
        config_text=contents.config_text,
        epoch=contents.epoch,
        step=contents.step,
        n_ranks=contents.n_ranks,
        layers=(),
        metrics=dict(contents.metrics),
        history_best=contents.history_best,
        front_end=read_front_end(reader, contents, input_ids),
        neuron_ids=neuron_ids,
        target_connections=contents.target_connections,
        step_in_epoch=contents.step_in_epoch,
        progress=_read_progress(reader, contents),
        progress_names=contents.progress_names,
        tile_width=contents.tile_width,
        instructions=contents.instructions,
    )


def _read_neuron_ids(reader: ContainerReader, contents: Contents) -> tuple[Int32Array | None, ...]:
    """The ids per layer of neurons; () if none was ever removed (collective)."""
    neuron_ids: list[Int32Array | None] = [None] * len(contents.widths)
    for number, place in contents.neuron_ids.items():
        reader.require(place, INDEX, (contents.widths[number],))
        neuron_ids[number] = reader.read(place)
    return tuple(neuron_ids) if contents.neuron_ids else ()


def _read_progress(reader: ContainerReader, contents: Contents) -> Float64Array | None:
    if contents.progress is None:
        return None
    reader.require(contents.progress, np.float64, (contents.n_ranks, len(contents.progress_names)))
    return reader.read(contents.progress)


def _check_asked(reader: ContainerReader, replica: int | None, n_replicas: int) -> None:
    if replica is None and n_replicas:
        reader.fail(f"holds {n_replicas} replicas of a run in progress: expected one network that all ranks share")
    if replica is not None and not (n_replicas and NO_REPLICA <= replica < n_replicas):
        reader.fail(f"replica {replica} asked for: expected one of the {n_replicas} that it holds")


def _check(path: Path, contents: Contents, checkpoint: Checkpoint) -> None:
    for info, layer in zip(contents.layers, checkpoint.layers, strict=False):
        _check_layer(path, info, checkpoint, layer)
    for number, place in contents.neuron_ids.items():
        ids = checkpoint.neuron_ids[number]
        assert ids is not None
        check_ids(f"{path}: {place}", ids, error=FileFormatError)
    check_front_end(str(path), contents.front_end, checkpoint.front_end)


def _check_layer(path: Path, info: LayerInfo, checkpoint: Checkpoint, layer: LayerState) -> None:
    where = str(path) if checkpoint.replica is None else f"{path}: replica {checkpoint.replica}"
    check_layer(layer, lambda name: f"{where}: {info.arrays[name].place}")
