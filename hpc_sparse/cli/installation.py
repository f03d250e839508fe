"""Abilities of this installation, found by trying them."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from hpc_sparse.errors import HpcSparseError, OutputError
from hpc_sparse.kernels import INSTRUCTION_SET, compiled_folder
from hpc_sparse.kernels.simd.machine import LANES, WIDTHS
from hpc_sparse.kernels.threads import threading_layer, use_threads
from hpc_sparse.monitor.metrics import versions
from hpc_sparse.parallel.collectives import collective_errors, on_root
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.parallel.describe import describe_mpi
from hpc_sparse.partition import own_range
from hpc_sparse.storage.container.backends import choose_backend, hdf5_description
from hpc_sparse.storage.container.file import DATASET_KIND, create_container, open_container

N_PROBE_ROWS = 1000


def check_installation(ctx: ParallelContext) -> dict[str, Any]:
    """Try MPI, threads, HDF5 and the cache (collective)."""
    with collective_errors(ctx, "starting threads"):
        use_threads(ctx.threads)
        layer = threading_layer()
    backend = choose_backend(ctx, "auto")
    return {
        "versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
        **describe_mpi(ctx),
        "numba_threading_layer": layer,
        "vector_width": f"{LANES} float32 ({INSTRUCTION_SET.name}, tiles of up to {WIDTHS[-1]} columns)",
        "hdf5": hdf5_description(),
        "hdf5_backend": backend,
        "collective_write": _try_write(ctx, backend),
        "kernel_cache": _try_cache(),
    }


def _try_write(ctx: ParallelContext, backend: str) -> str:
    """Write a file in which the last of several ranks has nothing to write, and read it back (collective)."""
    try:
        folder = on_root(ctx, _make_probe_folder)
    except HpcSparseError as error:
        return f"failed: {error}"
    try:
        verdict = _write_and_read(ctx, backend, folder / "probe.h5")
    except HpcSparseError as error:
        verdict = f"failed: {error}"
    on_root(ctx, lambda: shutil.rmtree(folder, ignore_errors=True))
    return verdict


def _write_and_read(ctx: ParallelContext, backend: str, path: Path) -> str:
    """Result of a write and a read, or of the error that all ranks share (collective)."""
    n_writers = max(1, ctx.size - 1)
    start, stop = own_range(N_PROBE_ROWS, n_writers, ctx.rank) if ctx.rank < n_writers else (N_PROBE_ROWS,) * 2
    with create_container(ctx, path, DATASET_KIND, backend) as writer:
        writer.create("probe", (N_PROBE_ROWS,), np.dtype(np.int64))
        writer.write("probe", start, np.arange(start, stop))
    with open_container(ctx, path, DATASET_KIND, backend) as reader:
        values = reader.read("probe", 0, N_PROBE_ROWS)
    with collective_errors(ctx, "comparing what was read with what was written"):
        if not np.array_equal(values, np.arange(N_PROBE_ROWS)):
            raise OutputError(f"{path}: what was read is not what was written")
    if ctx.size == 1:
        return "works"
    return f"works ({n_writers} of {ctx.size} ranks wrote, the last took part with nothing)"


def _make_probe_folder() -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix="hpc_sparse-check-", dir="."))
    except OSError as error:
        raise OutputError(f"{Path.cwd()}: cannot be written: {error.strerror}") from None


def _try_cache() -> str:
    folder = compiled_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return (
            f"{folder}: cannot be written ({error.strerror}); numba keeps compiled kernels beside their source "
            "instead, or where it cannot write there either, in its own folder in the user's cache"
        )
    n_files = sum(1 for _ in folder.rglob("*.nbc"))
    return f"{folder}: works, {n_files} compiled kernels"
