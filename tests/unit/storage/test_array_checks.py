"""Checks of foreign arrays find the first offence and name its place, whatever the size of their chunks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse

from hpc_sparse import checks
from hpc_sparse.errors import DataError


@pytest.fixture(autouse=True, params=[1, 3, 1 << 22])
def chunk_items(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every check is made with several sizes of chunks."""
    monkeypatch.setattr(checks, "CHUNK_ITEMS", request.param)


def check(indptr: Any, indices: Any, n_columns: int = 5) -> None:
    checks.check_csr(
        "x.h5: train",
        np.array(indptr, np.int64),
        np.array(indices, np.int32),
        n_columns,
        error=DataError,
        first_row=100,
    )


@pytest.mark.parametrize(("n_rows", "n_columns", "density"), [(1, 1, 1), (17, 23, 0.2), (40, 7, 0.02), (5, 9, 0)])
def test_sorted_rows_pass(n_rows: int, n_columns: int, density: float) -> None:
    matrix = scipy.sparse.random_array(
        (n_rows, n_columns), density=density, format="csr", rng=np.random.default_rng(n_rows)
    )
    matrix.sort_indices()
    check(matrix.indptr, matrix.indices, n_columns)


@pytest.mark.parametrize(
    ("indptr", "indices", "message"),
    [
        ([0, 2, 4], [0, 5, 1, 2], r"x\.h5: train: indices: 5 in row 100: must be >= 0 and < 5"),
        ([0, 2, 4], [0, 1, -1, 2], "indices: -1 in row 101"),
        ([0, 0, 3], [1, 3, 2], "indices: 2 follows 3 in row 101: must be sorted without duplicates"),
        ([0, 2, 2, 4], [1, 2, 4, 4], "indices: 4 follows 4 in row 102"),
        ([0, 3, 2, 4], [0, 1, 2, 3], "indptr: falls from 3 to 2 at row 101"),
        ([1, 2], [0, 1], "indptr: runs from 1 to 2: must run from 0 to 2"),
        ([0, 3], [0, 1], "indptr: runs from 0 to 3: must run from 0 to 2"),
        ([], [], "indptr: runs from over nothing"),
    ],
)
def test_the_first_offending_connection_is_named(indptr: list[int], indices: list[int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        check(indptr, indices)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_first_value_that_is_not_finite_is_named(value: float) -> None:
    values = np.zeros((4, 3), np.float32)
    values[2, 1] = values[3, 0] = value
    with pytest.raises(DataError, match=r"x\.h5: train/features\[12, 1\] = .*: must be finite"):
        checks.check_finite("x.h5: train/features", values, error=DataError, first_row=10)
    checks.check_finite("bytes", values.astype(np.uint8) if np.isfinite(value) else values[:2], error=DataError)


@pytest.mark.parametrize("label", [-1, 3])
def test_the_first_label_outside_the_classes_is_named(label: int) -> None:
    labels = np.array([0, 1, 2, label, 9], np.int32)
    with pytest.raises(DataError, match=rf"labels\[13\] = {label}: must be >= 0 and < 3"):
        checks.check_labels("x.h5: labels", labels, 3, error=DataError, first_row=10)
