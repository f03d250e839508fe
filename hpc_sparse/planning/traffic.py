"""Traffic to disk and between ranks: bytes, and the rate at which this machine moves them."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import numpy as np

from hpc_sparse.config import RunConfig
from hpc_sparse.dtypes import VALUE
from hpc_sparse.evolution import make_updater, state_arrays, state_bytes
from hpc_sparse.network.optimizers.registry import make_optimizer
from hpc_sparse.parallel.averaging import average_arrays
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.planning.network_size import NetworkSize
from hpc_sparse.planning.probe import timed
from hpc_sparse.storage.container.file import CHECKPOINT_KIND, create_container

FILE_OVERHEAD = 16_384
"""Bytes of a checkpoint besides its large arrays, roughly."""

PROBE_FILE_BYTES = 256 * 1024 * 1024
"""Written at most to measure the disk; about a second."""

SAMPLE_ITEMS = 8 * 1024 * 1024
"""float32 values moved to measure (32 MiB)."""

N_ROUNDS = 3


def checkpoint_file_bytes(config: RunConfig, size: NetworkSize) -> int:
    """Size of a checkpoint if all ranks have the same network."""
    value = np.dtype(VALUE).itemsize
    of_weight, of_bias = value + state_bytes(config), value * (1 + len(state_arrays(config)))
    # Row pointers, if there are any, have 8 bytes in a file and about 4 in memory.
    maps = [each for layer in size.layers for each in layer.each_map]
    structure = sum(sum(each.n_bytes.structure.values()) for each in maps)
    n_rows = sum(each.n_out for each in maps)
    return structure + size.n_connections * of_weight + n_rows * (4 + of_bias) + FILE_OVERHEAD


def message_bytes(config: RunConfig, size: NetworkSize) -> int:
    """Bytes that a rank exchanges per sync, or with a server per update, both directions."""
    values = 4 * size.n_parameters
    if config.parallel.algorithm != "local_sgd":
        return 2 * values
    if config.parallel.replica_topology == "independent" and make_updater(config.evolution).changes_topology:
        # Keys of what has grown travel, and values of the union.
        share, n_units = config.evolution.first_fraction, sum(layer.n_units for layer in size.layers)
        n_arrays = 1 + len(state_arrays(config))
        return round(8 * share * n_units + n_arrays * (values + 4 * 2 * share * size.n_connections))
    optimizer = make_optimizer(config)
    return (1 + len(state_arrays(config)) - len(optimizer.reset_at_sync(config.parallel))) * values


def n_syncs(config: RunConfig, n_steps: int) -> int:
    """Number of syncs in an epoch, including the one at its end; with a server, one per step."""
    if config.parallel.algorithm != "local_sgd":
        return n_steps
    every = config.parallel.sync_every_steps
    return 1 if every == "epoch" else -(-n_steps // every)


def reduction_rate(ctx: ParallelContext, n_ranks: int) -> float:
    """Bytes per second of an average over ``n_ranks`` ranks (collective).

    Measured between the ranks there are. One rank alone measures packing and copying, and takes the others for
    neighbours in one node, which exchange through its memory.
    """
    values, other = np.ones(SAMPLE_ITEMS, VALUE), np.ones(SAMPLE_ITEMS, VALUE)
    own = timed(lambda: average_arrays(ctx, [values], ctx.size, is_contributor=True), N_ROUNDS)
    if ctx.size == 1 and n_ranks > 1:
        copy = timed(lambda: np.copyto(other, values), N_ROUNDS)
        # Each of the parts passes every rank twice: to be added up, and as a sum.
        own += 2 * (n_ranks - 1) / n_ranks * 2 * copy
    return values.nbytes / own


def writing_rate(n_bytes: int) -> float:
    """Bytes per second of a checkpoint of about ``n_bytes`` of one rank, with checksums and until it is on disk.

    Disks take small files faster than large ones, and equal numbers faster than random ones. The probe therefore writes
    as many random numbers as the checkpoint has, up to PROBE_FILE_BYTES.
    """
    values = np.random.default_rng(0).random(min(n_bytes, PROBE_FILE_BYTES) // 4 + 1, VALUE)
    folder = "." if os.access(".", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix=".hpc-sparse-", dir=folder) as name:
        _write(Path(name) / "first.h5", values[:1])  # what is loaded only once
        started = time.perf_counter()
        _write(Path(name) / "second.h5", values)
        return values.nbytes / (time.perf_counter() - started)


def _write(path: Path, values: np.ndarray[tuple[int], np.dtype[np.float32]]) -> None:
    with create_container(ParallelContext.serial(threads=1), path, CHECKPOINT_KIND, "serial") as writer:
        writer.create("values", values.shape, values.dtype)
        writer.write("values", 0, values)
