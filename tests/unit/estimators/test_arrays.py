"""What callers give to estimators: wrong arrays are refused by name, right ones lose nothing on the way."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from hpc_sparse import SparseFeatureSelector, SparseMLPClassifier, SparseMLPRegressor
from hpc_sparse.errors import ArrayError, ParameterError

QUICK = {"hidden": (12,), "epochs": 2, "random_state": 3, "n_jobs": 1}
Y = np.arange(40) % 2


def sparse_samples(kind="csr"):
    matrix = scipy.sparse.random_array((40, 9), density=0.3, format="csr", rng=np.random.default_rng(2))
    return matrix.astype(np.float32).asformat(kind)


def beyond(kind):
    """A matrix of which one index is far beyond the shape, as no constructor would make it."""
    matrix = sparse_samples(kind)
    indices = matrix.coords[1] if kind == "coo" else matrix.indices
    indices[5] = 1_000_000_000
    return matrix


CALLS = {
    "fit": lambda model, X: model.fit(X, Y),
    "partial_fit": lambda model, X: model.partial_fit(X, Y),
    "predict": lambda model, X: model.predict(X),
}


@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "bsr"])
@pytest.mark.parametrize("call", CALLS)
def test_an_index_beyond_the_shape_is_an_error_that_names_it(call, kind):
    model = SparseMLPRegressor(**QUICK).fit(sparse_samples(), Y)
    with pytest.raises(
        ValueError, match=r"X: (indices|col): 1000000000 in (block )?(row|column) \d+: must be >= 0 and < "
    ):
        CALLS[call](model, beyond(kind))
    model.predict(sparse_samples())


def test_the_selector_refuses_an_index_beyond_the_shape():
    with pytest.raises(ValueError, match=r"X: indices: 1000000000 in row 2: must be >= 0 and < 9"):
        SparseFeatureSelector().fit(beyond("csr"), Y)
    selector = SparseFeatureSelector(SparseMLPRegressor(**QUICK), n_features_to_select=9).fit(sparse_samples(), Y)
    for kind in ("csr", "csc", "coo"):
        for call in (selector.transform, selector.inverse_transform):
            with pytest.raises(ValueError, match=r"X: (indices|col): 1000000000 in (row|column) \d+: must be"):
                call(beyond(kind))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("indices", np.array([-1, 0], np.int32), "indices: -1 in row 0: must be >= 0 and < 9"),
        ("indptr", np.array([0, 9, 2], np.int32), r"indptr: falls from 9 to 2 at row 1"),
        ("indptr", np.array([0, 1, 9], np.int32), r"indptr: runs from 0 to 9: must run from 0 to 2"),
        ("indptr", np.array([1, 1, 2], np.int32), r"indptr: runs from 1 to 2"),
        ("indptr", np.array([0, 2], np.int32), r"indptr: 2 numbers: must be 3"),
        ("indices", np.array([0.0, 1.0]), "indices: float64 of 1 dimensions: expected whole numbers"),
    ],
)
def test_arrays_of_a_matrix_that_do_not_fit_are_refused(name, value, message):
    matrix = scipy.sparse.csr_array((np.ones(2, np.float32), np.array([3, 5]), np.array([0, 1, 2])), shape=(2, 9))
    setattr(matrix, name, value)
    model = SparseMLPClassifier(**QUICK).fit(sparse_samples(), Y)
    with pytest.raises(ArrayError, match=message):
        model.predict(matrix)


@pytest.mark.parametrize("kind", ["dia", "dok", "lil"])
def test_rare_formats_are_taken_and_looked_at_too(kind):
    model = SparseMLPClassifier(**QUICK).fit(sparse_samples(), Y)
    np.testing.assert_array_equal(model.predict_proba(sparse_samples(kind)), model.predict_proba(sparse_samples()))
    wrong = scipy.sparse.lil_array((2, 9))
    wrong.rows[1], wrong.data[1] = [70_000], [1.0]
    with pytest.raises(ArrayError, match=r"indices: 70000 in row 1"):
        model.predict(wrong)


def test_a_matrix_that_says_wrongly_that_it_is_sorted_is_sorted():
    matrix = sparse_samples()
    model = SparseMLPClassifier(**QUICK).fit(matrix, Y)
    expected = model.predict_proba(matrix)
    assert matrix.has_canonical_format
    for row in range(40):
        part = slice(matrix.indptr[row], matrix.indptr[row + 1])
        matrix.indices[part], matrix.data[part] = matrix.indices[part][::-1].copy(), matrix.data[part][::-1].copy()
    np.testing.assert_array_equal(model.predict_proba(matrix), expected)


def test_arrays_of_a_matrix_may_be_longer_than_what_it_stores():
    matrix = sparse_samples()
    model = SparseMLPClassifier(**QUICK).fit(matrix, Y)
    expected = model.predict_proba(matrix)
    matrix.indices, matrix.data = np.append(matrix.indices, [0, 0]), np.append(matrix.data, np.float32([7, 7]))
    np.testing.assert_array_equal(model.predict_proba(matrix), expected)


def test_numbers_beyond_float32_and_masked_ones_are_refused():
    X = np.random.default_rng(0).normal(size=(40, 3))
    X[4, 1] = 1e300
    with pytest.raises(ArrayError, match=r"X\[4, 1\] = 1e\+300: must be a number in float32"):
        SparseMLPClassifier(**QUICK).fit(X, Y)
    with pytest.raises(ArrayError, match="masked"):
        SparseMLPClassifier(**QUICK).fit(np.ma.masked_greater(X, 10), Y)


def test_targets_that_cannot_be_standardised_are_refused():
    X = np.random.default_rng(0).normal(size=(40, 3))
    with pytest.raises(ArrayError, match=r"y: values up to 3.9e\+301: are too large to square"):
        SparseMLPRegressor(**QUICK).fit(X, 1e300 * np.arange(40))
    model = SparseMLPRegressor(**QUICK).fit(X, np.arange(40.0))
    with pytest.raises(ArrayError, match=r"y, standardised\[39, 0\] = .*: must be a number in float32"):
        model.partial_fit(X, np.where(np.arange(40) == 39, 1e200, 1.0))


@pytest.mark.parametrize("shape", ["unaligned", "read-only", "strided"])
def test_arrays_in_any_place_of_memory_will_do(shape):
    X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    model = SparseMLPClassifier(**QUICK).fit(X, Y)
    other = X.copy()
    if shape == "unaligned":
        other = np.frombuffer(b"x" + X.tobytes(), np.float32, offset=1).reshape(X.shape)
    elif shape == "read-only":
        other.flags.writeable = False
    else:
        other = np.repeat(X, 2, axis=1)[:, ::2]
    np.testing.assert_array_equal(model.predict_proba(other), model.predict_proba(X))


@pytest.mark.parametrize("connections", ["csr", "n_of_m"])
@pytest.mark.parametrize("n_samples", [1, 40, 131])
def test_sparse_samples_are_standardised_as_the_dense_ones_of_the_fit(connections, n_samples):
    rng = np.random.default_rng(1)
    X = np.where(rng.random((131, 16)) < 0.3, rng.normal(3, 2, (131, 16)), 0).astype(np.float32)
    y = np.arange(131) % 3
    pattern = "2:4" if connections == "n_of_m" else None
    model = SparseMLPClassifier(**QUICK, connections=connections, pattern=pattern).fit(X, y)
    dense = model.predict_proba(X[:n_samples])
    np.testing.assert_array_equal(model.predict_proba(scipy.sparse.csr_array(X[:n_samples])), dense)
    on_dense, on_sparse = (SparseMLPClassifier(**QUICK).fit(X, y) for _ in range(2))
    on_dense.partial_fit(X, y)
    on_sparse.partial_fit(scipy.sparse.csr_array(X), y)
    np.testing.assert_array_equal(on_sparse.predict_proba(X), on_dense.predict_proba(X))


def test_time_stamps_are_learned_from(recwarn):
    rng = np.random.default_rng(0)
    X = np.column_stack([1.7e9 + np.arange(100), rng.normal(size=100)])
    y = (X[:, 0] > 1.7e9 + 50).astype(int)
    model = SparseMLPClassifier((32,), epochs=60, random_state=0, n_jobs=1).fit(X, y)
    assert model.score(X, y) > 0.98
    shifted = SparseMLPClassifier((32,), epochs=60, random_state=0, n_jobs=1).fit(X - [1.7e9 + 49.5, 0], y)
    np.testing.assert_array_equal(model.predict_proba(X), shifted.predict_proba(X - [1.7e9 + 49.5, 0]))
    as_integers = SparseMLPClassifier((32,), epochs=60, random_state=0, n_jobs=1).fit(X[:, :1].astype(np.int64), y)
    assert as_integers.score(X[:, :1].astype(np.int64), y) > 0.98
    assert not recwarn.list
    with pytest.raises(ArrayError, match=r"feature 0 was centred at 1.7e\+09"):
        model.predict(scipy.sparse.csr_array(X))


@pytest.mark.parametrize("convert", [np.asarray, scipy.sparse.csr_array])
def test_variation_that_float32_cannot_hold_is_warned_of(convert):
    X = np.column_stack([np.ones(40), 1.7e9 + np.arange(40)])
    model = SparseMLPClassifier(**QUICK, standardize=False, learning_rate=1e-30)
    with pytest.warns(UserWarning, match=r"feature 1: values from 1700000000 to 1700000039 lose their differences"):
        model.fit(convert(X), Y)


def test_a_data_frame_in_another_order_is_refused():
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 3)), columns=["a", "b", "c"])
    model = SparseMLPClassifier(**QUICK).fit(frame, Y)
    with pytest.raises(ValueError, match="order"):
        model.predict(frame[["c", "a", "b"]])


def test_classes_of_another_type_are_named():
    X = np.zeros((40, 2))
    model = SparseMLPClassifier(**QUICK).fit(X, Y)
    with pytest.raises(ParameterError, match="y has the class"):
        model.partial_fit(X, np.where(Y, "1", "0"))
