"""Samples and checkpoints that the storage tests share."""

from __future__ import annotations

import resource
import runpy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import h5py
import pytest

from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.container.hdf5 import LIBRARY_VERSIONS
from hpc_sparse.storage.container.word_sum import WORD_SUM, word_sum
from hpc_sparse.storage.dataset.samples import Samples
from hpc_sparse.storage.dataset.writer import write_dataset

GOLDEN_FOLDER = Path(__file__).parents[2] / "golden"


@pytest.fixture(scope="session")
def golden() -> dict[str, Any]:
    """The names that the makers of the golden files define."""
    makers = [runpy.run_path(str(GOLDEN_FOLDER / f"make_storage_v{version}.py")) for version in (1, 2, 3, 4)]
    return makers[3] | makers[2] | makers[1] | makers[0]


@pytest.fixture
def ctx() -> ParallelContext:
    """One process without MPI."""
    return ParallelContext.serial(threads=1)


@pytest.fixture
def write_golden_samples(golden: dict[str, Any]) -> Callable[..., None]:
    """Write a data set of the golden samples, some of them replaced."""

    def write(path: Path, kind: str = "dense", **changes: Any) -> None:
        make: Callable[[int], Samples] = golden[f"{kind}_samples"]
        parts = {"train": make(11), "test": make(5)}
        options: dict[str, Any] = {"title": "small", "class_names": golden["CLASS_NAMES"]}
        write_dataset(path, **(parts | options | changes))

    return write


@pytest.fixture
def rewrite() -> Callable[[Path, str, Any], None]:
    """Replace an array of a file by a wrong one with a right sum."""

    def replace(path: Path, name: str, array: Any) -> None:
        with h5py.File(path, "a", libver=LIBRARY_VERSIONS) as file:
            if name in file:
                del file[name]
            file[name] = array
            file[name].attrs[WORD_SUM] = word_sum(array)

    return replace


@pytest.fixture
def small_disk() -> Callable[[int], AbstractContextManager[None]]:
    """Let no file grow beyond so many bytes, as on a full disk, for as long as a block of code takes.

    Not for a whole test: the process also writes what pytest reports, maybe to the end of a long file.
    """

    @contextmanager
    def limit(n_bytes: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limit
