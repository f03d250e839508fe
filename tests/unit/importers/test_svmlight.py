"""Lines of svmlight become sparse rows; what is wrong is named with its line."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from sklearn.datasets import dump_svmlight_file

from hpc_sparse.errors import DataError
from hpc_sparse.importers.options import ImportOptions
from hpc_sparse.importers.text import svmlight
from hpc_sparse.importers.text.svmlight import import_svmlight
from hpc_sparse.storage.dataset.feature_summary import read_feature_names

RNG = np.random.default_rng(3)
TABLE = RNG.random((50, 30)).astype(np.float32) * (RNG.random((50, 30)) < 0.15)
TABLE[:, 0], TABLE[:, 29] = 0, 1
MATRIX = scipy.sparse.csr_matrix(TABLE)
LABELS = np.arange(50) % 2 * 2 - 1


@pytest.mark.parametrize("chunk_bytes", [100, 10**9])
@pytest.mark.parametrize("zero_based", [True, False])
@pytest.mark.parametrize("compressed", [True, False])
def test_rows_come_back(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    all_rows: Callable[[Path], Any],
    chunk_bytes: int,
    zero_based: bool,
    compressed: bool,
) -> None:
    monkeypatch.setattr(svmlight, "CHUNK_BYTES", chunk_bytes)
    path = tmp_path / "t.svm"
    dump_svmlight_file(MATRIX, LABELS, str(path), zero_based=zero_based, comment="written by a test")
    if compressed:
        path = tmp_path / "t.svm.gz"
        path.write_bytes(gzip.compress((tmp_path / "t.svm").read_bytes()))
    info = import_svmlight(path, tmp_path / "a.h5", zero_based=True if zero_based else None)
    assert (info.is_sparse, info.n_features, info.class_names, info.title) == (True, 30, ("-1", "1"), "t")
    assert all_rows(tmp_path / "a.h5") == sorted((*row, str(y)) for row, y in zip(TABLE.tolist(), LABELS, strict=True))


def test_the_first_feature_is_guessed_over_both_files(tmp_path: Path) -> None:
    (tmp_path / "train").write_text("1 1:2 3:1\n2 2:1\n")
    (tmp_path / "test").write_text("1 0:2\n")
    assert import_svmlight(tmp_path / "train", tmp_path / "a.h5").n_features == 3
    assert import_svmlight(tmp_path / "train", tmp_path / "b.h5", test=tmp_path / "test").n_features == 4
    assert import_svmlight(tmp_path / "train", tmp_path / "c.h5", zero_based=True).n_features == 4
    assert import_svmlight(tmp_path / "train", tmp_path / "d.h5", n_features=7).n_features == 7
    with pytest.raises(DataError, match="number 0: expected numbers from 1"):
        import_svmlight(tmp_path / "train", tmp_path / "e.h5", test=tmp_path / "test", zero_based=False)
    with pytest.raises(DataError, match="the number 3: expected 2"):
        import_svmlight(tmp_path / "train", tmp_path / "e.h5", n_features=2)


def test_zeros_are_not_stored_and_lines_without_features_stay(tmp_path: Path, parts: Callable[[Path], Any]) -> None:
    (tmp_path / "t").write_text("1 1:0 2:5\n1\n2 1:1 # a comment\n\n2 2:0\n")
    info = import_svmlight(tmp_path / "t", tmp_path / "a.h5", options=ImportOptions(test_fraction=0.5))
    assert (info.n_train + info.n_test, info.n_features) == (4, 2)
    rows = sorted(row for table, _ in parts(tmp_path / "a.h5").values() for row in table.tolist())
    assert rows == [[0, 0], [0, 0], [0, 5], [1, 0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 1:2\n2 x:3\n", r't: line 2: "2 x:3": expected a label and number:value'),
        ("1 1:2\n\n# c\n2 3:1 2:1\n", r't: line 4: "2 3:1 2:1": '),
        ("1 1:2\nspam 1:1\n", r't: line 2: "spam 1:1"'),
        ("1 1:2\n1.5 1:1\n", r"t: line 2: .*expected a whole number as label"),
        ("1 1:2\n1 1:nan\n", r"t: line 2: .*finite"),
        ("1 1:1e300\n", r"t: line 1: .*finite"),
        ("1 -1:1\n", r"t: line 1: "),
        ("1 99999999999:1\n", r"t: line 1: "),
        ("3,17 4:1\n", r't: line 1: "3,17 4:1": several labels; here a sample has one class: keep one label'),
        ("1 1:2\n 4:1\n", r't: line 2: "4:1": no label before the features; .*leave out samples'),
        ("2 50 9\n3,17 4:1\n", r't: line 1: "2 50 9": is the header of a file with several labels'),
        ("1\n2\n", "0 features: must be >= 1"),
        ("", "has no samples"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t").write_text(text)
    with pytest.raises(DataError, match=message):
        import_svmlight(tmp_path / "t", tmp_path / "a.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["t"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: cannot be read: No such file"):
        import_svmlight(tmp_path / "nowhere", tmp_path / "a.h5")


def test_few_numbers_of_a_wide_range_become_the_features_with_their_names(
    tmp_path: Path, parts: Callable[[Path], Any], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "t").write_text("1 7:1 2000000000:2\n2 30000000:3\n1 7:4\n2 2147483000:5\n")
    (tmp_path / "test").write_text("2 9:6 2000000000:7\n")
    info = import_svmlight(tmp_path / "t", tmp_path / "a.h5", test=tmp_path / "test")
    assert (info.n_features, info.source) == (5, "t, test; 5 ids up to 2147483000, compacted")
    assert read_feature_names(tmp_path / "a.h5") == ("7", "9", "30000000", "2000000000", "2147483000")
    found = parts(tmp_path / "a.h5")
    assert sorted(found["train"][0].tolist()) == [[0, 0, 0, 0, 5], [0, 0, 3, 0, 0], [1, 0, 0, 2, 0], [4, 0, 0, 0, 0]]
    assert found["test"][0].tolist() == [[0, 6, 0, 7, 0]]
    assert "features are the 5 numbers that occur, up to 2147483000; --features keeps all" in caplog.text


def test_a_width_that_is_given_is_kept(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("1 7:1\n2 3000000:2\n1 7:4\n2 3000000:1\n")
    info = import_svmlight(
        tmp_path / "t", tmp_path / "a.h5", n_features=3_000_000, options=ImportOptions(test_fraction=0.5)
    )
    assert (info.n_features, info.source) == (3_000_000, "t")
