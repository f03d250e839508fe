"""Samples and checkpoints that the storage tests share."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.dataset import Samples, write_dataset

GOLDEN_FOLDER = Path(__file__).parents[2] / "golden"


@pytest.fixture(scope="session")
def golden() -> dict[str, Any]:
    """The names that the maker of the golden files defines."""
    return runpy.run_path(str(GOLDEN_FOLDER / "make_storage_v1.py"))


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
