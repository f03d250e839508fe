"""Archives in all described layouts are imported without changing a value; others are refused with the place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from hpc_sparse.errors import DataError
from hpc_sparse.importers.arrays.npz import import_npz
from hpc_sparse.importers.labels import encode_labels
from hpc_sparse.importers.split import stratified_split
from hpc_sparse.storage.dataset.file import load_samples
from hpc_sparse.storage.dataset.samples import CsrFeatures, DatasetInfo, DenseFeatures, Samples

RNG = np.random.default_rng(5)
DENSE = RNG.normal(size=(30, 4)).astype(np.float32)
LABELS = np.repeat([0, 1, 2], [15, 10, 5])
MATRIX = scipy.sparse.random_array((30, 12), density=0.2, format="csr", rng=RNG, dtype=np.float32)
MATRIX.sort_indices()


def published(**changes: Any) -> dict[str, Any]:
    """The dense layout with a division, some arrays replaced or (None) left out."""
    arrays = {"x_train": DENSE[:20], "y_train": LABELS[:20], "x_test": DENSE[20:], "y_test": LABELS[20:]} | changes
    return {name: array for name, array in arrays.items() if array is not None}


def csr(prefix: str = "", matrix: Any = MATRIX, **changes: Any) -> dict[str, Any]:
    """A matrix with labels, some arrays replaced or (None) left out."""
    arrays = {
        f"{prefix}indptr": matrix.indptr,
        f"{prefix}indices": matrix.indices,
        f"{prefix}data": matrix.data,
        f"{prefix}shape": np.array(matrix.shape),
        "label": LABELS,
    } | changes
    return {name: array for name, array in arrays.items() if array is not None}


def imported(folder: Path, arrays: dict[str, Any], **options: Any) -> DatasetInfo:
    np.savez(folder / "in.npz", **arrays)
    return import_npz(folder / "in.npz", folder / "out.h5", overwrite=True, **options)


def as_table(samples: Samples) -> Any:
    features = samples.features
    if isinstance(features, DenseFeatures):
        return features.values
    shape = (features.n_samples, features.n_features)
    return scipy.sparse.csr_array((features.values, features.indices, features.indptr), shape=shape).toarray()


def sorted_rows(table: Any) -> Any:
    return sorted(map(tuple, np.asarray(table).tolist()))


def test_a_published_division_is_kept(tmp_path: Path) -> None:
    info = imported(tmp_path, published())
    assert (info.n_train, info.n_test, info.title, info.split) == (20, 10, "in", "as published")
    np.testing.assert_array_equal(as_table(load_samples(tmp_path / "out.h5", "test")), DENSE[20:])
    assert sorted_rows(as_table(load_samples(tmp_path / "out.h5", "train"))) == sorted_rows(DENSE[:20])


def test_a_validation_part_stands_in_for_a_missing_test_part(tmp_path: Path) -> None:
    arrays = published(x_test=None, y_test=None, x_valid=DENSE[25:], y_valid=LABELS[25:])
    info = imported(tmp_path, arrays)
    assert (info.n_test, "validation" in info.split) == (5, True)


@pytest.mark.parametrize("label_name", ["y", "label", "labels"])
def test_undivided_samples_are_divided_by_class_and_seed(tmp_path: Path, label_name: str) -> None:
    arrays = {"x": DENSE, label_name: LABELS}
    info = imported(tmp_path, arrays, test_fraction=0.2, split_seed=3)
    assert (info.class_counts_train, info.class_counts_test) == ((12, 8, 4), (3, 2, 1))
    first = as_table(load_samples(tmp_path / "out.h5", "test"))
    both = np.concatenate([first, as_table(load_samples(tmp_path / "out.h5", "train"))])
    assert sorted_rows(both) == sorted_rows(DENSE)
    imported(tmp_path, arrays, test_fraction=0.2, split_seed=3)
    np.testing.assert_array_equal(as_table(load_samples(tmp_path / "out.h5", "test")), first)
    imported(tmp_path, arrays, test_fraction=0.2, split_seed=4)
    assert not np.array_equal(as_table(load_samples(tmp_path / "out.h5", "test")), first)


def test_a_divided_sparse_archive_stays_sparse(tmp_path: Path) -> None:
    arrays = {"shape": np.array([20, 10, 12])}
    for part, rows in (("train", slice(0, 20)), ("test", slice(20, 30))):
        block = MATRIX[rows]
        arrays |= {f"{part}_indptr": block.indptr, f"{part}_indices": block.indices, f"{part}_data": block.data}
        arrays |= {f"{part}_label": LABELS[rows]}
    assert imported(tmp_path, arrays).is_sparse
    test = load_samples(tmp_path / "out.h5", "test")
    assert isinstance(test.features, CsrFeatures)
    np.testing.assert_array_equal(as_table(test), MATRIX[20:].toarray())


def test_without_data_all_stored_values_are_one(tmp_path: Path) -> None:
    imported(tmp_path, csr(data=None))
    features = load_samples(tmp_path / "out.h5", "train").features
    assert isinstance(features, CsrFeatures)
    assert set(features.values.tolist()) == {1.0}


def test_row_numbers_divide_a_sparse_archive(tmp_path: Path) -> None:
    arrays = csr("feat_", train=np.array([0, 15, 29]), test=np.array([14, 25]), val=np.array([3]))
    info = imported(tmp_path, arrays)
    assert (info.n_train, info.n_test) == (3, 2)
    np.testing.assert_array_equal(as_table(load_samples(tmp_path / "out.h5", "test")), MATRIX[[14, 25]].toarray())


def test_unsorted_and_duplicate_entries_are_put_in_order(tmp_path: Path) -> None:
    arrays = {
        "indptr": np.array([0, 3, 4], np.uint16),
        "indices": np.array([4, 1, 4, 0], np.uint8),
        "data": np.array([1, 2, 3, 4], np.int16),
        "shape": np.array([2, 5]),
        "label": np.array(["b", "a"]),
        "train": np.array([0]),
        "test": np.array([1]),
    }
    assert imported(tmp_path, arrays).class_names == ("a", "b")
    train = load_samples(tmp_path / "out.h5", "train")
    np.testing.assert_array_equal(as_table(train), [[0, 2, 0, 0, 4]])
    np.testing.assert_array_equal(train.labels, [1])


@pytest.mark.parametrize(
    ("dtype", "stored"), [("u1", "uint8"), ("?", "uint8"), ("i2", "float32"), ("f8", "float32"), ("f2", "float32")]
)
def test_only_bytes_are_not_stored_as_float32(tmp_path: Path, dtype: str, stored: str) -> None:
    table = np.abs(DENSE * 10).reshape(30, 2, 2).astype(dtype)
    assert imported(tmp_path, {"x": table, "y": LABELS}).dtype == stored
    both = [as_table(load_samples(tmp_path / "out.h5", part)) for part in ("train", "test")]  # type: ignore[arg-type]
    assert sorted_rows(np.concatenate(both)) == sorted_rows(table.reshape(30, 4).astype(stored))


def test_class_names_are_taken_from_the_archive(tmp_path: Path) -> None:
    names = np.array(["one", "two", "three", "unused"])
    info = imported(tmp_path, {"x": DENSE, "y": LABELS, "classes": names})
    assert info.class_names == ("one", "two", "three", "unused")
    assert info.class_counts_test[3] == 0


def test_log2_is_taken_of_what_is_above_one_and_said_in_the_source(tmp_path: Path) -> None:
    intensities = np.array([[0.1, 1.0, 2.0, 53934.0], [-3.0, 0.0, 8.0, 3.0]], np.float32)
    info = imported(tmp_path, published(x_test=intensities, y_test=LABELS[:2]), log2=True)
    assert "log2(max(x, 1))" in info.source
    expected = np.log2(np.maximum(intensities.astype(np.float64), 1))
    np.testing.assert_allclose(as_table(load_samples(tmp_path / "out.h5", "test")), expected, rtol=1e-6)
    train = as_table(load_samples(tmp_path / "out.h5", "train"))
    np.testing.assert_allclose(np.sort(train, axis=None), np.sort(np.log2(np.maximum(DENSE[:20], 1)), axis=None))


def test_log2_of_sparse_features_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"in.npz: log2 of sparse features"):
        imported(tmp_path, csr(), log2=True)


NAN = DENSE.copy()
NAN[7, 2] = np.nan


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "unknown layout with arrays none"),
        ({"images": DENSE}, "unknown layout with arrays images"),
        ({"x": DENSE}, 'labels are missing: expected an array "label"'),
        ({"x": DENSE, "y": LABELS[:29]}, "29 labels for 30 samples"),
        ({"x": DENSE[:, 0], "y": LABELS}, r"x: shape \[30\]: expected samples x features"),
        ({"x": NAN, "y": LABELS}, r"x\[7, 2\] = nan: must be finite"),
        ({"x": DENSE.astype("f8") * 1e300, "y": LABELS}, r"x \(as float32\)\[0, 0\] = -?inf"),
        ({"x": DENSE.astype("S"), "y": LABELS}, "expected real numbers"),
        ({"x": DENSE[:0], "y": LABELS[:0]}, "0 training samples"),
        ({"x": DENSE, "y": np.eye(30)}, r"900 labels for 30 samples"),
        ({"x": DENSE, "y": LABELS + 0.5}, r"labels\[0\] = 0.5: expected whole numbers or text"),
        ({"x": DENSE, "y": LABELS, "classes": np.array(["a", "b"])}, r"labels\[25\] = 2: must be >= 0 and < 2"),
        (published(y_test=None), 'array "y_test" is missing'),
        (published(x_test=DENSE[20:, :3]), "train has 4 dense features, test has 3 dense"),
        (published(y_test=LABELS[20:].astype(str)), "numbers in one part, text in another"),
        (csr(shape=None), 'array "shape" is missing'),
        (csr(shape=np.array([30, 12, 1])), r"shape = \[30, 12, 1\]: expected 2 sizes"),
        (csr(shape=np.array([29, 12])), "indptr: 31 entries: expected 30"),
        (csr(shape=np.array([30, 3])), r"indices\[\d+\] = \d+: must be >= 0 and < 3"),
        (csr(indptr=MATRIX.indptr[::-1]), "indptr: runs from 72 to 0"),
        (csr(data=MATRIX.data[1:]), r"data: shape \[71\]: expected \[72\]"),
        (csr(data=np.full(72, np.inf)), r"data\[0\] = inf"),
        (csr(indices=MATRIX.indices.astype("f4")), "expected a row of integers"),
        (csr(train=np.array([0]), test=np.array([30])), r"test\[0\] = 30: must be >= 0 and < 30"),
        (csr(train=np.array([4]), test=np.array([4])), "row 4 is in both train and test"),
    ],
)
def test_what_is_wrong_is_named_with_the_file(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        imported(tmp_path, arrays)
    assert "in.npz" in str(caught.value) or "out.h5" in str(caught.value)
    assert not (tmp_path / "out.h5").exists()


def test_pickled_objects_single_arrays_and_damage_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "objects.npz", x=np.array([{}, 1], dtype=object))
    np.save(tmp_path / "single.npy", DENSE)
    (tmp_path / "text.npz").write_text("text")
    np.savez(tmp_path / "whole.npz", **published())
    (tmp_path / "cut.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:-30])
    for name in ("objects.npz", "single.npy", "text.npz", "cut.npz", "missing.npz"):
        with pytest.raises(DataError, match=name):
            import_npz(tmp_path / name, tmp_path / "out.h5")


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_a_fraction_that_leaves_a_part_empty_is_refused(fraction: float) -> None:
    with pytest.raises(DataError, match="test fraction"):
        stratified_split(LABELS.astype(np.int32), fraction, 0)


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.5, 0.99])
def test_a_split_uses_each_sample_once_and_leaves_every_class_something_to_train_on(fraction: float) -> None:
    labels = np.repeat(np.arange(6), [1, 2, 3, 10, 50, 200]).astype(np.int32)
    train, test = stratified_split(labels, fraction, 1)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(labels.size))
    assert np.bincount(labels[train], minlength=6).min() >= 1
    assert abs(test.size - fraction * labels.size) <= 6


def test_labels_of_any_kind_are_numbered_in_order() -> None:
    encoded, names = encode_labels("f", (np.array([True, False]), np.array([1.0, 0.0])))
    assert ([part.tolist() for part in encoded], names) == ([[1, 0], [1, 0]], ("0", "1"))
    encoded, names = encode_labels("f", (np.array([b"x", b"a"]), np.array(["ö"])))
    assert ([part.tolist() for part in encoded], names) == ([[1, 0], [2]], ("a", "x", "ö"))
    encoded, names = encode_labels("f", (np.array([-5, 70, -5]),))
    assert ([part.tolist() for part in encoded], names) == ([[0, 1, 0]], ("-5", "70"))
