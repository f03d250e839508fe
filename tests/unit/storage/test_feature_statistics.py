"""Statistics gathered block by block are those of all rows in float64, and files tell them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.sparse

from hpc_sparse.errors import FileFormatError, MachineError
from hpc_sparse.storage.dataset import feature_statistics
from hpc_sparse.storage.dataset.feature_statistics import FeatureStatistics
from hpc_sparse.storage.dataset.feature_summary import (
    read_feature_names,
    read_feature_summary,
    read_idf,
)
from hpc_sparse.storage.dataset.samples import CsrFeatures, DenseFeatures, Samples
from hpc_sparse.storage.dataset.writer import write_dataset

RNG = np.random.default_rng(3)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("block", [1, 7, 50])
def test_dense_statistics_are_those_of_float64(monkeypatch: pytest.MonkeyPatch, dtype: Any, block: int) -> None:
    monkeypatch.setattr(feature_statistics, "CHUNK_VALUES", 20)
    values = (RNG.random((50, 6)) * 200).astype(dtype)
    values[:, 2] = values[0, 2]
    values[::3, 4] = 0
    statistics = FeatureStatistics(6)
    for start in range(0, 50, block):
        statistics.add(DenseFeatures(values[start : start + block]))
    expected = values.astype(np.float64).std(axis=0)
    expected[2] = 1
    np.testing.assert_allclose(statistics.mean(), values.mean(axis=0, dtype=np.float64), rtol=1e-6)
    np.testing.assert_allclose(statistics.deviation(), expected, rtol=1e-6)
    assert statistics.deviation()[2] == 1, "a feature that never changes must not be divided by 0"
    np.testing.assert_array_equal(statistics.nonzero, np.count_nonzero(values, axis=0))
    assert statistics.value_range() == (values.min(), values.max())


def test_a_large_mean_does_not_hide_a_small_deviation() -> None:
    values = (10_000 + RNG.random((3000, 1))).astype(np.float32)
    statistics = FeatureStatistics(1)
    for start in range(0, 3000, 100):
        statistics.add(DenseFeatures(values[start : start + 100]))
    np.testing.assert_allclose(statistics.deviation(), values.astype(np.float64).std(axis=0), rtol=1e-5)


@pytest.mark.parametrize("value", [0.1, 1e-30, 1 / 3])
def test_a_constant_feature_has_deviation_one_however_it_rounds(value: float) -> None:
    statistics = FeatureStatistics(1)
    for n_rows in (7, 3, 100):
        statistics.add(DenseFeatures(np.full((n_rows, 1), value, np.float32)))
    assert statistics.deviation().tolist() == [1]


@pytest.mark.parametrize(("data", "expected"), [([2.0, 3.0], (0.0, 3.0)), ([-2.0, -1.0], (-2.0, 0.0))])
def test_values_that_are_not_stored_are_zeros(data: list[float], expected: tuple[float, float]) -> None:
    matrix = scipy.sparse.csr_array((np.array(data, np.float32), ([0, 2], [1, 1])), shape=(3, 4))
    statistics = FeatureStatistics(4)
    statistics.add(CsrFeatures(matrix.indptr.astype(np.int64), matrix.indices, matrix.data, 4))
    assert statistics.value_range() == expected
    assert statistics.nonzero.tolist() == [0, 2, 0, 0]


@pytest.mark.parametrize("is_sparse", [False, True])
def test_a_file_sums_up_its_training_part(tmp_path: Path, is_sparse: bool) -> None:
    table = np.array([[0, 3, 0], [0, 1, 2.5], [0, 0, -1], [0, 4, 0]], np.float32)
    matrix = scipy.sparse.csr_array(table)
    features: Any = DenseFeatures(table)
    if is_sparse:
        features = CsrFeatures(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), matrix.data, 3)
    samples = Samples(features, np.zeros(4, np.int32))
    write_dataset(tmp_path / "a.h5", samples, samples, title="", class_names=("a",), feature_names=("i", "jö", "k"))
    summary = read_feature_summary(tmp_path / "a.h5")
    assert (summary.value_range, summary.n_always_zero, summary.has_names) == ((-1, 4), 1, True)
    assert summary.share_of_zeros == pytest.approx(7 / 12)
    assert summary.mean_range == (None if is_sparse else pytest.approx((0, 2)))
    assert summary.deviation_range is None if is_sparse else summary.deviation_range[0] == 1
    assert (read_feature_names(tmp_path / "a.h5"), read_idf(tmp_path / "a.h5")) == (("i", "jö", "k"), None)


def test_files_of_the_first_version_tell_what_they_can(golden: dict[str, Any]) -> None:
    dense, sparse = (read_feature_summary(golden[kind]) for kind in ("DENSE", "SPARSE"))
    assert (dense.share_of_zeros, dense.value_range, dense.n_always_zero, dense.has_names) == (None, None, None, False)
    assert dense.mean_range is not None
    with h5py.File(golden["SPARSE"], "r") as file:
        n_stored = file["train/indices"].size
    assert sparse.share_of_zeros == pytest.approx(1 - n_stored / (11 * 9))
    assert read_feature_names(golden["DENSE"]) is None


def test_names_need_not_be_there(tmp_path: Path, write_golden_samples: Callable[..., None]) -> None:
    write_golden_samples(tmp_path / "a.h5")
    assert read_feature_names(tmp_path / "a.h5") is None
    assert not read_feature_summary(tmp_path / "a.h5").has_idf


@pytest.mark.parametrize(
    ("name", "array", "read", "message"),
    [
        ("feature_names", np.array([b"a", b"b"]), read_feature_names, r"feature_names: is \|S1\[2\], expected text"),
        ("feature_names", np.array([b"\xff"] * 7), read_feature_names, "feature_names: .*: expected text in UTF-8"),
        ("feature_names", np.arange(7), read_feature_names, r"feature_names: is int64\[7\], expected text\[7\]"),
        ("preparation/idf", np.ones(6, np.float32), read_idf, r"idf: is float32\[6\], expected float32\[7\]"),
        ("preparation/idf", np.full(7, np.nan, np.float32), read_idf, r"idf\[0\] = nan: must be finite"),
        ("preparation/idf", np.zeros(7, np.float32), read_idf, r"idf\[0\] = 0.0: must be > 0"),
    ],
)
def test_wrong_names_and_weights_are_refused(
    tmp_path: Path, rewrite: Callable[..., None], name: str, array: Any, read: Callable[[Path], Any], message: str
) -> None:
    features = CsrFeatures(np.array([0, 1, 2]), np.array([1, 2], np.int32), np.ones(2, np.float32), 7)
    samples = Samples(features, np.zeros(2, np.int32))
    names, idf = tuple("abcdefg"), np.ones(7, np.float32)
    path = tmp_path / "a.h5"
    write_dataset(path, samples, samples, title="", class_names=("a",), feature_names=names, idf=idf)
    assert read_feature_names(path) == names
    rewrite(path, name, array)
    with pytest.raises(FileFormatError, match=message):
        read(path)


def test_more_features_than_memory_can_hold_are_refused():
    with pytest.raises(MachineError, match=r"^1,000,000,000,000,000 features: not enough memory for their statistics$"):
        FeatureStatistics(10**15)
