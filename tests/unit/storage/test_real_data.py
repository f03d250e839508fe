"""The real data sets can be imported, value for value."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hpc_sparse.importers.arrays.npz import import_npz
from hpc_sparse.importers.images.idx import import_fashion_mnist
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.dataset.file import load_dataset, load_samples
from hpc_sparse.storage.dataset.samples import CsrFeatures, DenseFeatures


@pytest.mark.parametrize(
    ("name", "n_train", "n_test", "n_features", "n_classes", "is_sparse"),
    [
        ("cora", 140, 1000, 1433, 7, True),
        ("news20_bydate_65536", 11314, 7532, 65536, 20, True),
        ("dorothea_train", 640, 160, 88119, 2, True),
        ("madelon", 2000, 600, 500, 2, False),
        ("higgs_23k", 18782, 4695, 28, 2, False),
        ("arcene", 160, 40, 10000, 2, False),
        ("nakayama_sarcoma", 84, 21, 22283, 10, False),
    ],
)
def test_the_archive_is_imported(
    ctx: ParallelContext,
    real_data: Path,
    tmp_path: Path,
    name: str,
    n_train: int,
    n_test: int,
    n_features: int,
    n_classes: int,
    is_sparse: bool,
) -> None:
    source = real_data / f"{name}.npz"
    info = import_npz(source, tmp_path / "d.h5")
    assert (info.n_train, info.n_test, info.n_features) == (n_train, n_test, n_features)
    assert (info.n_classes, info.is_sparse) == (n_classes, is_sparse)
    dataset = load_dataset(ctx, tmp_path / "d.h5")
    assert isinstance(dataset.train.features, CsrFeatures if is_sparse else DenseFeatures)


def test_the_test_part_of_20_newsgroups_keeps_every_count(real_data: Path, tmp_path: Path) -> None:
    import_npz(real_data / "news20_bydate_65536.npz", tmp_path / "d.h5")
    test = load_samples(tmp_path / "d.h5", "test")
    with np.load(real_data / "news20_bydate_65536.npz") as archive:
        assert isinstance(test.features, CsrFeatures)
        np.testing.assert_array_equal(test.features.indptr, archive["test_indptr"])
        np.testing.assert_array_equal(test.features.indices, archive["test_indices"])
        np.testing.assert_array_equal(test.features.values, archive["test_data"])
        np.testing.assert_array_equal(test.labels, archive["test_label"])


@pytest.mark.usefixtures("debian_fashion_mnist")
def test_fashion_mnist_is_imported_from_the_debian_package(ctx: ParallelContext, tmp_path: Path) -> None:
    info = import_fashion_mnist(None, tmp_path / "d.h5")
    assert (info.n_train, info.n_test, info.n_features, info.class_names[9]) == (60000, 10000, 784, "Ankle boot")
    assert info.class_counts_train == (6000,) * 10
    dataset = load_dataset(ctx, tmp_path / "d.h5")
    assert isinstance(dataset.train.features, DenseFeatures)
    assert dataset.train.features.values.dtype == np.uint8
    assert abs(float(dataset.train.features.values.mean(dtype=np.float64)) - 72.9404) < 1e-4
    first_classes = np.bincount(dataset.train.labels[:30000], minlength=10)
    assert first_classes.min() > 2800, "half of the training samples must represent all classes"
