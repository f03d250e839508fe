"""Term weights are scikit-learn's, learnt from the training part alone, in memory and in a stream."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from sklearn.feature_extraction.text import TfidfTransformer

from hpc_sparse.errors import DataError
from hpc_sparse.importers import streamed
from hpc_sparse.importers.arrays.npz import import_npz
from hpc_sparse.importers.arrays.rows import ArrayPart, ArraySource, DenseRows, sparse_matrix_rows
from hpc_sparse.importers.options import ImportOptions
from hpc_sparse.importers.streamed import import_streamed
from hpc_sparse.storage.dataset.feature_summary import read_feature_summary, read_idf
from hpc_sparse.storage.dataset.file import load_samples

RNG = np.random.default_rng(2)
COUNTS = scipy.sparse.csr_array(RNG.poisson(0.3, (40, 15)).astype(np.float32))
COUNTS = scipy.sparse.csr_array(COUNTS.toarray() * (np.arange(40)[:, None] % 9 > 0))  # some empty documents
LABELS = np.arange(40) % 4
N_TRAIN = 30


def archive(**changes: Any) -> dict[str, Any]:
    arrays: dict[str, Any] = {"shape": np.array([N_TRAIN, 10, 15])}
    for part, rows in (("train", slice(0, N_TRAIN)), ("test", slice(N_TRAIN, 40))):
        block = COUNTS[rows]
        arrays |= {f"{part}_indptr": block.indptr, f"{part}_indices": block.indices, f"{part}_data": block.data}
        arrays |= {f"{part}_label": LABELS[rows]}
    return arrays | changes


def check(path: Path) -> None:
    oracle = TfidfTransformer(sublinear_tf=True).fit(scipy.sparse.csr_matrix(COUNTS[:N_TRAIN].astype(np.float64)))
    idf = read_idf(path)
    assert idf is not None
    np.testing.assert_allclose(idf, oracle.idf_, rtol=1e-6)
    length = np.sqrt(COUNTS[:N_TRAIN].nnz / N_TRAIN)
    features: Any = load_samples(path, "test").features
    found = scipy.sparse.csr_array((features.values, features.indices, features.indptr), shape=(10, 15)).toarray()
    np.testing.assert_allclose(found, length * oracle.transform(COUNTS[N_TRAIN:]).toarray(), rtol=1e-5)


def test_an_archive_is_weighted_by_its_training_part(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", **archive())
    info = import_npz(tmp_path / "t.npz", tmp_path / "a.h5", tf_idf=True)
    assert info.source == "t.npz, tf-idf"
    check(tmp_path / "a.h5")


def test_a_stream_is_weighted_by_its_training_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamed, "BLOCK_BYTES", 100)
    sets = [
        ArrayPart(sparse_matrix_rows("x", COUNTS[rows]), LABELS[rows])
        for rows in (slice(0, N_TRAIN), slice(N_TRAIN, 40))
    ]
    import_streamed(ArraySource("x", sets, "s"), tmp_path / "a.h5", "t", ImportOptions(tf_idf=True))
    check(tmp_path / "a.h5")
    assert read_feature_summary(tmp_path / "a.h5").has_idf


def test_of_a_divided_stream_the_test_samples_do_not_count(tmp_path: Path) -> None:
    source = ArraySource("x", [ArrayPart(sparse_matrix_rows("x", COUNTS), LABELS)], "s")
    import_streamed(source, tmp_path / "a.h5", "t", ImportOptions(tf_idf=True, test_fraction=0.5))
    train: Any = load_samples(tmp_path / "a.h5", "train").features
    frequency = np.bincount(train.indices, minlength=15)
    idf = read_idf(tmp_path / "a.h5")
    np.testing.assert_allclose(idf, np.log((1 + 20) / (1 + frequency)) + 1, rtol=1e-6)  # type: ignore[arg-type]


def test_stored_zeros_are_no_terms(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", **archive())
    data = np.append(COUNTS[:N_TRAIN].data, 0)
    indptr, indices = COUNTS[:N_TRAIN].indptr.copy(), COUNTS[:N_TRAIN].indices
    indptr[-1] += 1
    free = next(k for k in range(15) if k not in indices[indptr[-2] :])
    np.savez(
        tmp_path / "z.npz", **archive(train_data=data, train_indices=np.append(indices, free), train_indptr=indptr)
    )
    for name in "tz":
        import_npz(tmp_path / f"{name}.npz", tmp_path / f"{name}.h5", tf_idf=True)
    np.testing.assert_array_equal(read_idf(tmp_path / "t.h5"), read_idf(tmp_path / "z.h5"))  # type: ignore[arg-type]


@pytest.mark.parametrize("factor", [-1, 0.5])
def test_what_is_no_count_is_refused(tmp_path: Path, factor: float) -> None:
    np.savez(tmp_path / "t.npz", **archive(test_data=COUNTS[N_TRAIN:].data * factor))
    with pytest.raises(DataError, match=r"t.npz: tf-idf of .*: expected counts, 1 or more"):
        import_npz(tmp_path / "t.npz", tmp_path / "a.h5", tf_idf=True)


def test_dense_features_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", x=np.ones((8, 2), np.float32), y=LABELS[:8])
    with pytest.raises(DataError, match="tf-idf of dense features"):
        import_npz(tmp_path / "t.npz", tmp_path / "a.h5", tf_idf=True)
    source = ArraySource("x", [ArrayPart(DenseRows("x", np.ones((8, 2))), LABELS[:8])], "s")
    with pytest.raises(DataError, match="x: tf-idf of dense features"):
        import_streamed(source, tmp_path / "a.h5", "t", ImportOptions(tf_idf=True))


def test_20_newsgroups_are_told_apart_by_their_centroids_as_published(real_data: Path, tmp_path: Path) -> None:
    info = import_npz(real_data / "news20_bydate_65536.npz", tmp_path / "a.h5", tf_idf=True)
    tables = []
    for part, n_samples in (("train", info.n_train), ("test", info.n_test)):
        features: Any = load_samples(tmp_path / "a.h5", part).features  # type: ignore[arg-type]
        arrays = (features.values, features.indices, features.indptr)
        tables.append(scipy.sparse.csr_array(arrays, shape=(n_samples, info.n_features)))
    train_labels, test_labels = (load_samples(tmp_path / "a.h5", part).labels for part in ("train", "test"))  # type: ignore[arg-type]
    belongs = scipy.sparse.csr_array((np.ones(info.n_train), (train_labels, np.arange(info.n_train))))
    centroids = (belongs @ tables[0]).toarray()
    centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
    accuracy = ((tables[1] @ centroids.T).argmax(axis=1) == test_labels).mean()
    assert accuracy == pytest.approx(0.773, abs=0.001)
