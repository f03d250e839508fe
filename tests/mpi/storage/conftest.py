"""What the tests of files on several ranks share."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpc_sparse.parallel import collectives
from hpc_sparse.parallel.collectives import barrier, on_root
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.checkpoint.state import Checkpoint
from hpc_sparse.storage.container import hdf5

GOLDEN_FOLDER = Path(__file__).parents[2] / "golden"


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    """The names that the makers of the golden files define."""
    first, second = (runpy.run_path(str(GOLDEN_FOLDER / f"make_storage_v{version}.py")) for version in (1, 2))
    return second | first


@pytest.fixture
def tiny_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every transfer takes several calls, and unequal numbers of them on different ranks."""
    monkeypatch.setattr(hdf5, "CHUNK_BYTES", 24)
    monkeypatch.setattr(collectives, "CHUNK_BYTES", 10)


@pytest.fixture
def names_in(ctx: ParallelContext) -> Callable[[Path], list[str]]:
    """What is in a folder once all ranks have come here, seen before any goes on."""

    def look(folder: Path) -> list[str]:
        barrier(ctx)
        return on_root(ctx, lambda: sorted(path.name for path in folder.iterdir()))

    return look


@pytest.fixture(scope="session")
def assert_same_state() -> Callable[[Checkpoint, Checkpoint], None]:
    """Layers, ids and numbers equal, arrays bit for bit; rows of progress are looked at elsewhere."""

    def compare(found: Checkpoint, made: Checkpoint) -> None:
        for name in ("config_text", "epoch", "step", "step_in_epoch", "n_ranks", "replica", "metrics"):
            assert getattr(found, name) == getattr(made, name), name
        assert (found.history_best, found.target_connections) == (made.history_best, made.target_connections)
        np.testing.assert_array_equal(found.mean, made.mean)
        for ids, expected_ids in zip(found.neuron_ids, made.neuron_ids, strict=True):
            np.testing.assert_array_equal(ids, expected_ids)
        for layer, expected in zip(found.layers, made.layers, strict=True):
            assert (layer.shape, layer.activation) == (expected.shape, expected.activation)
            assert layer.arrays().keys() == expected.arrays().keys()
            for name, array in expected.arrays().items():
                assert layer.arrays()[name].dtype == array.dtype
                assert layer.arrays()[name].tobytes() == array.tobytes()

    return compare
