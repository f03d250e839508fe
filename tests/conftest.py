"""Data that the tests of all kinds share: small, synthetic, learnable; or the real ones, where they are to be had.

A test that uses a fixture of real data is left out where these are not there, and the last line says so. Where all
tests have to run (``CI`` is set), or where a folder is named that is not there, it fails instead.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mpirun import use_settings

from hpc_sparse.importers.images.idx import FASHION_MNIST_FOLDER
from hpc_sparse.storage.dataset.samples import CsrFeatures, DenseFeatures, Features, Samples
from hpc_sparse.storage.dataset.writer import write_dataset

N_FEATURES = 30
DENSITY_OF_SPARSE = 0.3
MISSING = {
    "real_data": ("real data sets", lambda: not os.environ.get("HPC_SPARSE_DATA"), "HPC_SPARSE_DATA is not set"),
    "debian_fashion_mnist": (
        "Fashion-MNIST",
        lambda: not FASHION_MNIST_FOLDER.is_dir(),
        "the Debian package dataset-fashion-mnist is not installed",
    ),
}
"""By fixture: what it gives, whether that is missing, and the reason to name."""

LEFT_OUT: Counter[str] = Counter()
"""How many tests are left out, by reason."""


def pytest_configure() -> None:
    """Start MPI tests with the settings that the README has users start mpirun with."""
    use_settings()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests of data that are not there."""
    for fixture, (what, is_missing, reason) in MISSING.items():
        if os.environ.get("CI") or not is_missing():
            continue
        without = [item for item in items if fixture in getattr(item, "fixturenames", ())]
        if without:
            items[:] = [item for item in items if item not in without]
            config.hook.pytest_deselected(items=without)
            LEFT_OUT[f"of {what}, as {reason}"] += len(without)
    if hasattr(config, "workeroutput"):
        config.workeroutput["left_out"] = dict(LEFT_OUT)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Where tests run in several processes, each has left out the same."""
    for reason, n in getattr(node, "workeroutput", {}).get("left_out", {}).items():
        LEFT_OUT[reason] = n


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say what was left out; tools/test adds it up over its steps, from a file, and says it at its end."""
    if hasattr(config, "workeroutput"):
        return  # whoever started this process says it
    notes = os.environ.get("HPC_SPARSE_TEST_NOTES")
    for reason, n in LEFT_OUT.items():
        terminalreporter.write_line(f"left out: {n} tests {reason}")
        if notes:
            with Path(notes).open("a", encoding="utf-8") as file:
                file.write(f"{n}\t{reason}\n")


def small_samples(n_samples: int, kind: str, n_classes: int, seed: int) -> Samples:
    """Samples around one centre per class; sparse ones have about a third of the features each."""
    centres = np.random.default_rng(1).normal(size=(n_classes, N_FEATURES))
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n_samples).astype(np.int32)
    values = (centres[labels] + 0.7 * rng.normal(size=(n_samples, N_FEATURES))).astype(np.float32)
    return Samples(DenseFeatures(values) if kind == "dense" else _thinned(values, rng), labels)


def _thinned(values: np.ndarray, rng: np.random.Generator) -> Features:
    is_stored = rng.random(values.shape) < DENSITY_OF_SPARSE
    rows, columns = np.nonzero(is_stored)
    indptr = np.searchsorted(rows, np.arange(values.shape[0] + 1)).astype(np.int64)
    return CsrFeatures(indptr, columns.astype(np.int32), values[is_stored], values.shape[1])


@pytest.fixture(scope="session")
def write_small_data() -> Callable[..., Path]:
    """Write ``n_train + n_test`` synthetic samples, dense or sparse, from one process; gives the path back."""

    def write(
        path: Path,
        kind: str = "dense",
        n_train: int = 331,
        n_test: int = 97,
        n_classes: int = 3,
        time_steps: int = 1,
    ) -> Path:
        write_dataset(
            path,
            small_samples(n_train, kind, n_classes, seed=2),
            small_samples(n_test, kind, n_classes, seed=3),
            title=f"small {kind}",
            class_names=[f"class {number}" for number in range(n_classes)],
            time_steps=time_steps,
        )
        return path

    return write


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the real data sets, which the environment names."""
    folder = os.environ.get("HPC_SPARSE_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.fail(f"HPC_SPARSE_DATA = {folder!r}: expected the folder of the real data sets (news20, madelon, ...)")
    return Path(folder)


@pytest.fixture(scope="session")
def debian_fashion_mnist() -> Path:
    """The folder of Fashion-MNIST that the Debian package installs."""
    if not FASHION_MNIST_FOLDER.is_dir():
        pytest.fail(f"{FASHION_MNIST_FOLDER}: no such folder; install the Debian package dataset-fashion-mnist")
    return FASHION_MNIST_FOLDER
