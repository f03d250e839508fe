"""Arrays of NumPy, MATLAB and HDF5 files are imported without changing a value; others are refused with the place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse

from hpc_sparse.errors import DataError
from hpc_sparse.importers.arrays import hdf5 as hdf5_arrays
from hpc_sparse.importers.arrays import rows as array_rows
from hpc_sparse.importers.arrays.hdf5 import import_hdf5
from hpc_sparse.importers.arrays.mat import import_mat
from hpc_sparse.importers.arrays.names import ArrayNames
from hpc_sparse.importers.arrays.npy import import_npy
from hpc_sparse.importers.options import ImportOptions

AllRows = Callable[[Path], list[tuple[Any, ...]]]

RNG = np.random.default_rng(8)
X = RNG.normal(size=(23, 6)).astype(np.float32)
MATRIX = scipy.sparse.csr_array(scipy.sparse.random_array((23, 9), density=0.2, rng=RNG, dtype=np.float32))
Y = np.arange(23) % 3
NAMED = np.array(["alpha", "beta", "gamma"])[Y]


def rows_of(table: Any, labels: Any) -> list[tuple[Any, ...]]:
    return sorted((*row, str(label)) for row, label in zip(np.asarray(table).tolist(), labels, strict=True))


@pytest.fixture(autouse=True)
def tiny_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several chunks of each array."""
    monkeypatch.setattr(array_rows, "CHUNK_BYTES", 200)
    monkeypatch.setattr(hdf5_arrays, "CHUNK_BYTES", 200)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("labels", [Y, Y[:, None].astype(np.float64), NAMED], ids=["integers", "column", "text"])
def test_a_pair_of_numpy_files(tmp_path: Path, all_rows: AllRows, order: Any, labels: Any) -> None:
    np.save(tmp_path / "x.npy", np.asarray(X, order=order))
    np.save(tmp_path / "y.npy", labels)
    info = import_npy((tmp_path / "x.npy", tmp_path / "y.npy"), tmp_path / "a.h5")
    assert (info.dtype, info.title, info.source) == ("float32", "x", "x.npy, y.npy")
    assert all_rows(tmp_path / "a.h5") == rows_of(X, NAMED if labels is NAMED else Y)


def test_images_as_bytes_and_a_given_test_pair(tmp_path: Path, parts: Callable[[Path], Any]) -> None:
    images = RNG.integers(0, 256, (23, 2, 3), np.uint8)
    for name, array in (("x", images[:20]), ("y", Y[:20]), ("xt", images[20:]), ("yt", Y[20:])):
        np.save(tmp_path / f"{name}.npy", array)
    train, test = ((tmp_path / f"{x}.npy", tmp_path / f"{y}.npy") for x, y in (("x", "y"), ("xt", "yt")))
    info = import_npy(train, tmp_path / "a.h5", test=test)
    assert (info.dtype, info.n_features, info.split) == ("uint8", 6, "as published")
    np.testing.assert_array_equal(parts(tmp_path / "a.h5")["test"][0], images[20:].reshape(3, 6))


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X, Y[:22], r"x.npy: 22 labels for 23 samples"),
        (X[:, 0], Y, r"x.npy: shape \[23\]: expected samples x features"),
        (np.where(np.isclose(X, X[11, 4]), np.nan, X), Y, r"x.npy\[11, 4\] = nan"),
        (X.astype("S"), Y, "expected real numbers"),
        (X, Y + 0.25, r"labels\[0\] = 0.25: expected whole numbers or text"),
        (X, np.array([{}] * 23), r"y.npy: cannot be read as an array without pickled objects"),
        (np.array([{}] * 23), Y, r"x.npy: cannot be read as an array without pickled objects"),
    ],
)
def test_wrong_numpy_files_are_named(tmp_path: Path, x: Any, y: Any, message: str) -> None:
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    with pytest.raises(DataError, match=message):
        import_npy((tmp_path / "x.npy", tmp_path / "y.npy"), tmp_path / "a.h5")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.npy", "y.npy"]


def test_cut_and_missing_numpy_files_are_named(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-8])
    np.savez(tmp_path / "z.npz", x=X)
    for name, message in (("cut", "cannot be read"), ("nowhere", "No such file")):
        with pytest.raises(DataError, match=f"{name}.npy: .*{message}"):
            import_npy((tmp_path / f"{name}.npy", tmp_path / "x.npy"), tmp_path / "a.h5")
    with pytest.raises(DataError, match=r"z.npz: holds several arrays"):
        import_npy((tmp_path / "z.npz", tmp_path / "x.npy"), tmp_path / "a.h5")


@pytest.mark.parametrize("labels", [Y[None, :], Y[:, None], NAMED, NAMED.astype(object)])
def test_matlab_variables_with_usual_names_are_found(tmp_path: Path, all_rows: AllRows, labels: Any) -> None:
    scipy.io.savemat(tmp_path / "t.mat", {"fea": X, "gnd": labels, "note": "by a test"})
    info = import_mat(tmp_path / "t.mat", tmp_path / "a.h5")
    assert info.source == "t.mat, fea, gnd"
    assert all_rows(tmp_path / "a.h5") == rows_of(X, Y if labels.dtype.kind == "i" else NAMED)


def test_sparse_matlab_variables_stay_sparse_and_a_test_set_may_be_named(
    tmp_path: Path, parts: Callable[[Path], Any]
) -> None:
    variables = {"A": MATRIX[:15], "b": Y[:15], "At": MATRIX[15:], "bt": Y[15:]}
    scipy.io.savemat(tmp_path / "t.mat", variables)
    info = import_mat(tmp_path / "t.mat", tmp_path / "a.h5", names=ArrayNames("A", "b", "At", "bt"))
    assert (info.is_sparse, info.n_train, info.n_test) == (True, 15, 8)
    np.testing.assert_array_equal(parts(tmp_path / "a.h5")["test"][0], MATRIX[15:].toarray())


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (ArrayNames(), r"none has a usual name: name one of its arrays with --x: it has A float32\[23, 6\], b"),
        (ArrayNames("A"), "name one of its arrays with --y"),
        (ArrayNames("A", "c"), r'--y = "c": no such array: it has A'),
        (ArrayNames("A", "b", x_test="A"), "only one of --x-test and --y-test"),
        (ArrayNames("b", "b"), "23 labels for 1 samples"),
        (ArrayNames("A", "s"), r"t.mat: s: is sparse"),
        (ArrayNames("A", "cells"), r"t.mat: cells: expected one number or text per sample"),
    ],
)
def test_wrong_matlab_variables_are_named(tmp_path: Path, names: ArrayNames, message: str) -> None:
    cells = np.array([np.arange(2)] * 22 + [np.arange(3)], dtype=object)
    scipy.io.savemat(tmp_path / "t.mat", {"A": X, "b": Y, "s": MATRIX, "cells": cells})
    with pytest.raises(DataError, match=message):
        import_mat(tmp_path / "t.mat", tmp_path / "a.h5", names=names)


def test_other_files_are_not_matlab_files(tmp_path: Path) -> None:
    (tmp_path / "t.mat").write_text("text")
    with h5py.File(tmp_path / "h.mat", "w", userblock_size=512) as file:
        file["x"] = X
    header = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
    with (tmp_path / "h.mat").open("r+b") as raw:
        raw.write(header)
    for name, message in (
        ("t.mat", "cannot be read as a MATLAB file"),
        ("nowhere.mat", "No such file"),
        ("h.mat", "version 7.3, which is HDF5: import it with `data import hdf5 --transposed`"),
    ):
        with pytest.raises(DataError, match=f"{name}: .*{message}"):
            import_mat(tmp_path / name, tmp_path / "a.h5")


@pytest.mark.parametrize("storage", [{}, {"chunks": (4, 2), "compression": "gzip"}], ids=["contiguous", "chunked"])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("labels", [Y, NAMED.astype(object), NAMED.astype("S")], ids=["integers", "text", "bytes"])
def test_an_array_within_an_hdf5_file(
    tmp_path: Path, all_rows: AllRows, storage: dict[str, Any], transposed: bool, labels: Any
) -> None:
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file.create_dataset("raw/X", data=X.T if transposed else X, **storage)
        file["raw/labels"] = labels
    info = import_hdf5(tmp_path / "t.h5", tmp_path / "a.h5", transposed=transposed)
    assert info.source == "t.h5, raw/X, raw/labels"
    assert all_rows(tmp_path / "a.h5") == rows_of(X, Y if labels is Y else NAMED)


@pytest.mark.parametrize("shape_is", ["attribute", "array"])
def test_a_group_of_sparse_rows_within_an_hdf5_file(tmp_path: Path, all_rows: AllRows, shape_is: str) -> None:
    with h5py.File(tmp_path / "t.h5", "w") as file:
        for name in ("data", "indices", "indptr"):
            file[f"X/{name}"] = getattr(MATRIX, name)
        if shape_is == "array":
            file["X/shape"] = MATRIX.shape
        else:
            file["X"].attrs["shape"] = MATRIX.shape
        file["y"] = Y
    info = import_hdf5(tmp_path / "t.h5", tmp_path / "a.h5", names=ArrayNames("X"))
    assert info.is_sparse
    assert all_rows(tmp_path / "a.h5") == rows_of(MATRIX.toarray(), Y)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (ArrayNames("nope", "y"), r'--x = "nope": no such array: it has X float32\[23, 6\]'),
        (ArrayNames("g", "y"), "t.h5: g: is a group without indptr, data"),
        (ArrayNames("csc", "y"), r"csc: shape = None: expected \[n_samples, 23\]"),
        (ArrayNames("bad", "y"), r"shape = .*: expected \[23, n_features\]"),
        (ArrayNames("X", "g"), "t.h5: g: is a group: expected an array of labels"),
        (ArrayNames("text", "y"), "text: .*expected"),
        (ArrayNames("X", "y", "X2", "y"), "6 features for training, 5 for testing"),
        (ArrayNames(), "several may be meant: name one of its arrays with --y"),
    ],
)
def test_wrong_paths_within_an_hdf5_file_are_named(tmp_path: Path, names: ArrayNames, message: str) -> None:
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["X"], file["X2"], file["y"], file["labels"], file["g/indices"] = X, X[:, 1:], Y, Y, Y
        file["text"] = NAMED.astype(object)
        for group in ("csc", "bad"):
            for name in ("data", "indices", "indptr"):
                file[f"{group}/{name}"] = getattr(MATRIX, name)
        file["csc"].attrs["encoding-type"] = "csc_matrix"
        file["bad"].attrs["shape"] = (22, 9)
    with pytest.raises(DataError, match=message):
        import_hdf5(tmp_path / "t.h5", tmp_path / "a.h5", names=names)
    assert [path.name for path in tmp_path.iterdir()] == ["t.h5"]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("indices", np.int32(3), r"X: indices: int32\[\]: expected a row of integers"),
        ("indices", MATRIX.indices.reshape(1, -1), r"X: indices: .*: expected a row of integers"),
        ("indices", MATRIX.data, r"X: indices: float32.*: expected a row of integers"),
        ("indptr", MATRIX.indptr * np.nan, r"X: indptr: float64\[24\]: expected a row of integers"),
        ("indptr", MATRIX.indptr.astype("S"), r"X: indptr: .*\[24\]: expected a row of integers"),
        ("data", np.float32(1), r"X: data: shape \[\]: expected \[\d+\], as indices"),
        ("data", MATRIX.data[1:], r"X: data: shape \[\d+\]: expected \[\d+\], as indices"),
        ("shape", [np.nan, 9], r"X: shape: float64\[2\]: expected two whole numbers"),
        ("shape", [b"23", b"9"], r"X: shape: .*\[2\]: expected two whole numbers"),
        ("shape", [23.0, 8.5], r"X: shape: float64\[2\]: expected two whole numbers"),
        ("shape", 23, r"X: shape = \(23,\): expected \[23, n_features\]"),
        ("shape", [23, -9], r"X: shape = \(23, -9\): expected \[23, n_features\]"),
    ],
)
def test_arrays_that_cannot_be_sparse_rows_are_named(tmp_path: Path, name: str, value: Any, message: str) -> None:
    stored = {"data": MATRIX.data, "indices": MATRIX.indices, "indptr": MATRIX.indptr, "shape": MATRIX.shape}
    with h5py.File(tmp_path / "t.h5", "w") as file:
        for member, array in (stored | {name: value}).items():
            file[f"X/{member}"] = array
        file["y"] = Y
    with pytest.raises(DataError, match=message):
        import_hdf5(tmp_path / "t.h5", tmp_path / "a.h5", names=ArrayNames("X", "y"))


def test_damaged_and_other_files_are_not_hdf5(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("text")
    for name, message in (("text.h5", "as an HDF5 file: cannot be read"), ("nowhere.h5", "no such file")):
        with pytest.raises(DataError, match=f"{name}: .*{message}"):
            import_hdf5(tmp_path / name, tmp_path / "a.h5")
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file.create_dataset("X", data=X, chunks=(23, 6), fletcher32=True)
        file["y"] = Y
    content = bytearray((tmp_path / "t.h5").read_bytes())
    where = bytes(content).index(X.tobytes()[:40])
    content[where] ^= 1
    (tmp_path / "t.h5").write_bytes(content)
    with pytest.raises(DataError, match=r"t.h5: X: rows 0 to 22: cannot be read"):
        import_hdf5(tmp_path / "t.h5", tmp_path / "a.h5", options=ImportOptions())
