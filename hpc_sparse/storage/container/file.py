"""One HDF5 container: a file that says what it is, appears complete or not at all, and notices damage.

The root group carries ``format``, ``format_version`` and ``creator``. Every array carries ``mixed_word_sum``, the sum
modulo 2^64 of its machine words, each scrambled together with its place. The sum can be added up over any division of
the rows among ranks, and damage changes it. HDF5's own checksums cover everything else.
"""

from __future__ import annotations

import glob
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path

import h5py

from hpc_sparse.errors import DataError, FileFormatError, NewerFormatError, OutputError, quoted
from hpc_sparse.parallel.collectives import collective_errors, on_root
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.container.backends import choose_backend
from hpc_sparse.storage.container.hdf5 import format_errors, get_attribute, output_errors
from hpc_sparse.storage.container.identity import FileIdentity
from hpc_sparse.storage.container.plain_hdf5 import check_plain
from hpc_sparse.storage.container.reader import ContainerReader
from hpc_sparse.storage.container.writer import ContainerWriter

DATASET_KIND = "hpc_sparse.dataset"
CHECKPOINT_KIND = "hpc_sparse.checkpoint"

FORMAT_VERSIONS = {DATASET_KIND: 2, CHECKPOINT_KIND: 4}
"""The version that is written of each kind; all from 1 on can be read."""

PARTIAL_SUFFIX = ".partial"
"""Ends the temporary names of files that are still being written."""


@contextmanager
def create_container(
    ctx: ParallelContext,
    path: Path | str,
    kind: str,
    backend: str = "auto",
    *,
    check: Callable[[Path], None] | None = None,
) -> Iterator[ContainerWriter]:
    """Write a container, which takes its name only once it is complete and on disk (collective).

    Parameters
    ----------
    ctx : ParallelContext
    path : path
        A file that exists is replaced at the end, in one step; until then it stays as it is.
    kind : str
        A key of :data:`FORMAT_VERSIONS`.
    backend : {"auto", "mpio", "serial"}
    check : callable, optional
        Called by root with the complete file under its temporary name; what it raises leaves ``path`` as it was.

    Raises
    ------
    OutputError
        On every rank: the folder is missing or cannot be written, or the disk is full.
    """
    target = Path(path)
    chosen = choose_backend(ctx, backend)
    temporary = on_root(ctx, lambda: _reserve(target))
    writer = ContainerWriter(ctx, target, temporary, chosen)
    try:
        writer.open()
        writer.set_attribute("/", "format", kind)
        writer.set_attribute("/", "format_version", FORMAT_VERSIONS[kind])
        writer.set_attribute("/", "creator", f"hpc_sparse {_own_version()}")
        yield writer
        writer.finish()
        with collective_errors(ctx, f"writing {target}"), output_errors(target):
            if ctx.is_root or (chosen == "mpio" and ctx.node_rank == 0):
                # A node's ranks share what of the file is not on disk yet; other nodes have their own.
                _sync_to_disk(temporary)
        if check is not None:
            on_root(ctx, lambda: check(temporary))
    except BaseException:
        writer.abandon()
        raise
    on_root(ctx, lambda: _publish(temporary, target))


@contextmanager
def open_container(
    ctx: ParallelContext, path: Path | str, kind: str, backend: str = "auto"
) -> Iterator[ContainerReader]:
    """Read a container on all ranks (collective).

    Raises
    ------
    DataError
        On every rank: there is no such file.
    FileFormatError
        On every rank: the file is truncated, foreign, of another kind or of a version to come.
    """
    source = Path(path)
    chosen = choose_backend(ctx, backend)
    identity = on_root(ctx, lambda: check_container(source, kind))
    reader = ContainerReader.start(ctx, source, chosen, identity)
    try:
        yield reader
    except BaseException:
        reader.abandon()
        raise
    reader.close()


@contextmanager
def open_plain(path: Path) -> Iterator[h5py.File]:
    """A file for reading in one process, which the HDF5 library gets once its structure was found to be plain.

    Raises
    ------
    DataError, FileFormatError
        There is no such file; it is not plain HDF5, or not the file that was checked.
    """
    if not path.is_file():
        raise DataError(f"{path}: {'is not a file' if path.exists() else 'no such file'}")
    with format_errors(path, "the file"):
        identity = check_plain(path)
        file = h5py.File(path, "r", locking=False)
    with file:
        identity.require(path, os.fstat(file.id.get_vfd_handle()))
        yield file


def container_kind(path: Path | str) -> str:
    """The ``format`` of a container: one of the keys of :data:`FORMAT_VERSIONS`."""
    source = Path(path)
    with open_plain(source) as file:
        kind = _root_attribute(file, source, "format")
    if kind not in FORMAT_VERSIONS:
        raise FileFormatError(f'{source}: format = "{quoted(str(kind))}": expected one of {", ".join(FORMAT_VERSIONS)}')
    return str(kind)


def check_container(path: Path, kind: str) -> FileIdentity:
    """The identity of a complete container of ``kind`` that this version can read; else the fitting error is raised."""
    with open_plain(path) as file:
        identity = FileIdentity.of(os.fstat(file.id.get_vfd_handle()))
        if (found := _root_attribute(file, path, "format")) != kind:
            raise FileFormatError(f'{path}: format = "{quoted(str(found))}": expected "{kind}"')
        version = _root_attribute(file, path, "format_version")
        creator = _root_attribute(file, path, "creator")
    newest = FORMAT_VERSIONS[kind]
    if not isinstance(version, int) or not 1 <= version <= newest:
        error = NewerFormatError if isinstance(version, int) and version > newest else FileFormatError
        raise error(f"{path}: format_version = {version} (written by {creator}): this hpc_sparse reads 1 to {newest}")
    return identity


def remove_partial_files(folder: Path, stem: str) -> None:
    """Remove the files, and folders of them, that interrupted writers of files named ``stem...`` left in ``folder``."""
    for leftover in folder.glob(f".{glob.escape(stem)}*{PARTIAL_SUFFIX}"):
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def _root_attribute(file: h5py.File, path: Path, name: str) -> int | float | str:
    with format_errors(path, f'attribute "{name}"'):
        if name not in file.attrs:
            raise FileFormatError(f'{path}: attribute "{name}" is missing: not a file of hpc_sparse')
        return get_attribute(file, "/", name)


def _reserve(target: Path) -> Path:
    if target.is_dir():
        raise OutputError(f"{target}: cannot be written: is a folder")
    if not target.parent.is_dir():
        raise OutputError(f"{target}: cannot be written: no such folder: {target.parent}")
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}{PARTIAL_SUFFIX}")
    with output_errors(target):
        temporary.touch(exist_ok=False)
    return temporary


def _publish(temporary: Path, target: Path) -> None:
    with output_errors(target):
        try:
            temporary.replace(target)
            _sync_to_disk(target.parent)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def _sync_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _own_version() -> str:
    try:
        return metadata.version("hpc-sparse")
    except metadata.PackageNotFoundError:
        return "(not installed)"
