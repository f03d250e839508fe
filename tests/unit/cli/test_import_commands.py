"""Every importing command passes its options on, and ends with exit code 2 and one message where input is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.io
from typer.testing import CliRunner

from hpc_sparse.cli.app import app
from hpc_sparse.importers.arrays import foreign_file
from hpc_sparse.storage.dataset.feature_summary import read_feature_names, read_feature_summary
from hpc_sparse.storage.dataset.file import read_info

X = np.random.default_rng(0).integers(1, 9, (40, 3)).astype(np.float32)
Y = np.arange(40) % 2


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, to work in, with the same samples in all kinds of files."""
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", X)
    np.save("y.npy", Y)
    scipy.io.savemat("t.mat", {"X": X, "Y": Y, "A": X, "b": Y})
    with h5py.File("t.h5", "w") as file:
        file["deep/x"], file["deep/y"], file["deep/t"] = X, Y, X.T
    rows = [(*row, label) for row, label in zip(X.tolist(), Y.tolist(), strict=True)]
    Path("t.csv").write_text("a,b,c,y\n" + "".join(",".join(map(str, row)) + "\n" for row in rows))
    Path("t.svm").write_text("".join(f"{y} 1:{a} 2:{b} 3:{c}\n" for a, b, c, y in rows))
    pq.write_table(pa.table({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "y": Y}), "t.parquet")
    Path("ragged.csv").write_text("a,b,y\n1,2,x\n3,y\n")
    return tmp_path


def invoke(*arguments: str, code: int = 0) -> Any:
    result = CliRunner().invoke(app, ["data", "import", *arguments, "out.h5"])
    assert result.exit_code == code, result.output
    return result


@pytest.mark.parametrize(
    "arguments",
    [
        ("npy", "x.npy", "y.npy"),
        ("mat", "t.mat", "--x", "A", "--y", "b"),
        ("hdf5", "t.h5", "--x", "deep/x"),
        ("hdf5", "t.h5", "--x", "deep/t", "--y", "deep/y", "--transposed"),
        ("csv", "t.csv", "--header", "--label", "-1", "--delimiter", ","),
        ("parquet", "t.parquet"),
        ("svmlight", "t.svm", "--one-based", "--features", "3"),
    ],
    ids=lambda arguments: arguments[0],
)
@pytest.mark.usefixtures("folder")
def test_the_same_samples_come_from_every_kind_of_file(arguments: tuple[str, ...]) -> None:
    shown = invoke(*arguments, "--title", "mine", "--test-fraction", "0.25", "--seed", "3", "--no-stratify")
    assert "mine" in shown.stdout
    info = read_info("out.h5")
    assert (info.n_train, info.n_test, info.n_features, info.class_names) == (30, 10, 3, ("0", "1"))
    assert info.split == "random, test fraction 0.25, seed 3"
    with h5py.File("out.h5", "r") as file:
        name = "values" if arguments[0] == "svmlight" else "features"
        table = np.concatenate([np.ravel(file[f"{part}/{name}"]) for part in ("train", "test")]).reshape(40, 3)
    np.testing.assert_array_equal(sorted(table.tolist()), sorted(X.tolist()))


@pytest.mark.usefixtures("folder")
def test_preparations_are_passed_on() -> None:
    invoke("csv", "t.csv", "--sparse", "--tf-idf", "--drop", "a", "--symbolic", "b")
    assert read_feature_summary("out.h5").has_idf
    assert str(read_feature_names("out.h5")).startswith("('b=1")
    invoke("npy", "--log2", "--overwrite", "--test", "x.npy", "y.npy", "x.npy", "y.npy")
    assert (read_info("out.h5").source, read_info("out.h5").n_test) == (
        "x.npy, y.npy; x.npy, y.npy, log2(max(x, 1))",
        40,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("csv", "ragged.csv"), "ragged.csv: line 3: 2 cells: expected 3"),
        (("csv", "t.csv", "--label", "q"), 't.csv: no column "q"'),
        (("csv", "nowhere.csv"), "nowhere.csv: cannot be read: No such file"),
        (("svmlight", "t.csv"), 't.csv: line 1: "a,b,c,y"'),
        (("hdf5", "t.h5", "--x", "u/v", "--y", "deep/y"), '--x = "u/v": no such array: it has deep/t'),
        (("mat", "t.csv"), "t.csv: cannot be read as a MATLAB file"),
        (("parquet", "t.csv"), "t.csv: cannot be read as a Parquet file"),
        (("npy", "t.csv", "y.npy"), "t.csv: cannot be read as an array without pickled objects"),
        (("npz", "t.csv", "--tf-idf"), "t.csv: "),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_bad_input_ends_with_one_message_and_nothing_written(
    folder: Path, arguments: tuple[str, ...], message: str
) -> None:
    before = sorted(path.name for path in folder.iterdir())
    result = invoke(*arguments, code=2)
    assert message in result.stderr
    assert result.stderr.startswith("hpc-sparse: ")
    assert result.stderr.count("\n") == 1
    assert sorted(path.name for path in folder.iterdir()) == before


def test_a_crash_of_the_hdf5_library_ends_with_one_message(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "crashing.py").write_text("import os\nos.abort()\n")
    monkeypatch.setattr(foreign_file, "PROGRAM", folder / "crashing.py")
    result = invoke("hdf5", "t.h5", "--x", "deep/x", code=2)
    message = "t.h5: as an HDF5 file: the library crashed over it (SIGABRT): damaged or hostile"
    assert result.stderr == f"hpc-sparse: {message}\n"
    assert not (folder / "out.h5").exists()
