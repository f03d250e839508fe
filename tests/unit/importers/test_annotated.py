"""Files laid out as AnnData's: categories, sparse columns, layers, raw counts, and names of genes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.sparse

from hpc_sparse.errors import DataError
from hpc_sparse.importers.arrays import rows as array_rows
from hpc_sparse.importers.arrays.hdf5 import import_hdf5
from hpc_sparse.importers.arrays.names import ArrayNames
from hpc_sparse.importers.options import ImportOptions
from hpc_sparse.storage.dataset.feature_summary import read_feature_names

AllRows = Callable[[Path], list[tuple[Any, ...]]]

RNG = np.random.default_rng(5)
COUNTS = scipy.sparse.csr_array(scipy.sparse.random_array((21, 7), density=0.3, rng=RNG, dtype=np.float32))
CODES = (np.arange(21) % 3).astype(np.int8)
TYPES = ["B cell", "NK", "T cell"]
GENES = [f"gene{number}" for number in range(7)]
CELL_TYPE = ArrayNames(y="obs/cell_type")


@pytest.fixture(autouse=True)
def tiny_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several chunks of each array."""
    monkeypatch.setattr(array_rows, "CHUNK_BYTES", 200)


def write_sparse(file: h5py.File, path: str, matrix: Any) -> None:
    for name in ("data", "indices", "indptr"):
        file[f"{path}/{name}"] = getattr(matrix, name)
    file[path].attrs.update({"encoding-type": f"{matrix.format}_matrix", "shape": matrix.shape})


def write_cells(path: Path, matrix: Any = COUNTS, codes: Any = CODES) -> None:
    with h5py.File(path, "w") as file:
        write_sparse(file, "X", matrix)
        write_sparse(file, "layers/counts", COUNTS * 2)
        write_sparse(file, "raw/X", COUNTS * 3)
        file["obs/cell_type/categories"], file["obs/cell_type/codes"] = TYPES, codes
        file["obs/cell_type"].attrs["encoding-type"] = "categorical"
        file["var/symbol"], file["var"].attrs["_index"] = GENES, "symbol"
        file["raw/var/_index"], file["raw/var"].attrs["_index"] = [f"raw-{gene}" for gene in GENES], "_index"


def rows_of(table: Any, codes: Any = CODES) -> list[tuple[Any, ...]]:
    return sorted((*row, TYPES[code]) for row, code in zip(table.tolist(), codes, strict=True) if code >= 0)


@pytest.mark.parametrize("matrix", [COUNTS, COUNTS.tocsc()], ids=["rows", "columns"])
def test_cells_come_with_names_of_types_and_genes(tmp_path: Path, all_rows: AllRows, matrix: Any) -> None:
    write_cells(tmp_path / "t.h5ad", matrix)
    info = import_hdf5(tmp_path / "t.h5ad", tmp_path / "a.h5", names=CELL_TYPE)
    assert (info.is_sparse, info.class_names, info.source) == (True, tuple(TYPES), "t.h5ad, X, obs/cell_type")
    assert all_rows(tmp_path / "a.h5") == rows_of(COUNTS.toarray())
    assert read_feature_names(tmp_path / "a.h5") == tuple(GENES)


@pytest.mark.parametrize(("x", "factor", "prefix"), [("layers/counts", 2, ""), ("raw/X", 3, "raw-")])
def test_layers_and_raw_counts_have_the_names_of_their_genes(
    tmp_path: Path, all_rows: AllRows, x: str, factor: int, prefix: str
) -> None:
    write_cells(tmp_path / "t.h5ad")
    info = import_hdf5(tmp_path / "t.h5ad", tmp_path / "a.h5", names=ArrayNames(x, "obs/cell_type"))
    assert info.source == f"t.h5ad, {x}, obs/cell_type"
    assert all_rows(tmp_path / "a.h5") == rows_of((COUNTS * factor).toarray())
    assert read_feature_names(tmp_path / "a.h5") == tuple(prefix + gene for gene in GENES)


@pytest.mark.parametrize("is_dense", [False, True])
def test_cells_without_a_type_are_refused_or_left_out(tmp_path: Path, all_rows: AllRows, is_dense: bool) -> None:
    codes = CODES.copy()
    codes[[4, 5, 20]] = -1
    write_cells(tmp_path / "t.h5ad", codes=codes)
    if is_dense:
        with h5py.File(tmp_path / "t.h5ad", "a") as file:
            del file["X"]
            file["X"] = COUNTS.toarray()
    with pytest.raises(DataError, match=r"cell_type: row 4: has no category \(code -1\), 3 in all: .*--drop-missing"):
        import_hdf5(tmp_path / "t.h5ad", tmp_path / "a.h5", names=CELL_TYPE)
    info = import_hdf5(tmp_path / "t.h5ad", tmp_path / "a.h5", names=CELL_TYPE, drop_missing=True)
    assert info.source.endswith("; without a category: 3 left out")
    assert all_rows(tmp_path / "a.h5") == rows_of(COUNTS.toarray(), codes)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("obs/cell_type/codes", np.full(21, 3), r"codes\[0\] = 3: must be >= -1 and < 3"),
        ("obs/cell_type/codes", np.full(21, 0.5), "expected a row of categories"),
        ("obs/cell_type/codes", CODES[1:], "20 labels for 21 samples"),
        ("var/symbol", GENES[1:], r"var/symbol: shape \[6\]: expected a name per feature: 7"),
        ("X/indices", np.full(COUNTS.nnz, 21), "indices: from 21 to 21: must be >= 0 and < 21"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, path: str, value: Any, message: str) -> None:
    write_cells(tmp_path / "t.h5ad", COUNTS.tocsc())
    with h5py.File(tmp_path / "t.h5ad", "a") as file:
        del file[path]
        file[path] = value
    with pytest.raises(DataError, match=message):
        import_hdf5(tmp_path / "t.h5ad", tmp_path / "a.h5", names=CELL_TYPE)


@pytest.mark.parametrize("is_dense", [False, True])
def test_counts_are_scaled_to_a_sum_before_log1p(tmp_path: Path, all_rows: AllRows, is_dense: bool) -> None:
    table = (COUNTS.toarray() * 10).round()
    table[3] = 0
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["y"] = CODES
        if is_dense:
            file["X"] = table.astype(np.uint8)
        else:
            write_sparse(file, "X", scipy.sparse.csr_array(table))
    options = ImportOptions(target_sum=1e4)
    info = import_hdf5(tmp_path / "t.h5", tmp_path / "a.h5", options=options)
    sums = table.sum(axis=1, keepdims=True, dtype=np.float64)
    expected = np.log1p(table / np.where(sums > 0, sums, 1) * 1e4)
    found = np.array([row[:-1] for row in all_rows(tmp_path / "a.h5")])
    np.testing.assert_allclose(found, np.array(sorted(expected.tolist())), rtol=1e-6)
    assert info.source == "t.h5, X, y, log1p of counts per 10000"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (ImportOptions(target_sum=0.0), "target sum = 0.0: must be > 0 and finite"),
        (ImportOptions(target_sum=1e4, log2=True), "target sum together with log2"),
        (ImportOptions(target_sum=1e4), r"target sum of -1.0: expected counts"),
    ],
)
def test_what_has_no_sum_is_refused(tmp_path: Path, options: ImportOptions, message: str) -> None:
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["X"], file["y"] = np.full((21, 2), -1.0), CODES
    with pytest.raises(DataError, match=message):
        import_hdf5(tmp_path / "t.h5", tmp_path / "a.h5", options=options)
