"""Diffusion of features over a graph against NumPy in float64, for every cut, weighted and directed."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

from hpc_sparse.importers.graphs import diffuse, diffusion

N, N_FEATURES, HOPS = 53, 7, 3
HUB, ISOLATED = 4, 11


def make_graph(*, is_weighted=False, is_directed=False):
    """A hub that all but one node are connected to, an edge to itself, and a node without edges."""
    rng = np.random.default_rng(5)
    dense = rng.random((N, N)) < 0.06
    dense[HUB, :] = dense[:, HUB] = True
    dense[2, 2] = True
    dense = dense if is_directed else dense | dense.T
    values = dense * (rng.integers(1, 9, (N, N)) / 4 if is_weighted else 1.0)
    values = values if is_directed else np.maximum(values, values.T)
    values[ISOLATED, :] = values[:, ISOLATED] = 0
    features = rng.standard_normal((N, N_FEATURES)) * (rng.random((N, N_FEATURES)) < 0.3)
    return values, features.astype(np.float32)


def expected(adjacency, features, threshold, cut):
    """X, P X, P^2 X, ... with whole matrices."""
    matrix = adjacency / (adjacency.sum(axis=0) + 1)
    found = [features.astype(np.float64)]
    if cut == "pre":
        matrix = np.where(matrix > threshold, matrix, 0)
        for _ in range(HOPS):
            found.append(matrix @ found[-1])
        return np.hstack(found)
    power = np.eye(N)
    for _ in range(HOPS):
        power = power @ matrix
        kept = np.where(power > threshold, power, 0)
        found.append(kept @ found[0])
        power = kept if cut == "each" else power
    return np.hstack(found)


@pytest.mark.parametrize("is_sparse", [True, False])
@pytest.mark.parametrize("cut", ["pre", "post", "each"])
@pytest.mark.parametrize("threshold", [0.0, 0.01, 0.05, 0.25])
def test_every_cut_is_that_of_whole_matrices(monkeypatch, cut, threshold, is_sparse):
    monkeypatch.setattr(diffusion, "RANGE_BYTES", 3000)  # several ranges
    monkeypatch.setattr(diffusion, "POWER_BYTES", 9000)
    for is_weighted in (False, True):
        adjacency, features = make_graph(is_weighted=is_weighted, is_directed=is_weighted)
        X = scipy.sparse.csr_array(features) if is_sparse else features
        found = diffuse(scipy.sparse.csr_array(adjacency), X, HOPS, threshold, cut=cut)
        assert found.dtype == np.float32
        assert scipy.sparse.issparse(found) == is_sparse
        table = found.toarray() if is_sparse else found
        np.testing.assert_allclose(table, expected(adjacency, features, threshold, cut), rtol=2e-6, atol=1e-7)


def test_ranges_of_nodes_make_no_difference_to_any_bit(monkeypatch):
    adjacency, features = make_graph(is_weighted=True)
    for cut in ("pre", "post"):
        whole = diffuse(adjacency, features, HOPS, 0.02, cut=cut)
        with monkeypatch.context() as patch:
            patch.setattr(diffusion, "RANGE_BYTES", 500)
            patch.setattr(diffusion, "POWER_BYTES", 1)
            np.testing.assert_array_equal(diffuse(adjacency, features, HOPS, 0.02, cut=cut), whole)


def test_an_entry_equal_to_the_threshold_goes():
    star = np.zeros((20, 20))
    star[0, 1:] = star[1:, 0] = 1
    features = np.ones((20, 1), np.float32)
    assert diffuse(star, features, 1, 0.05)[1, 1] == 0  # the hub's entries are 1 / (19 + 1)
    assert diffuse(star, features, 1, 0.0499)[1, 1] == np.float32(0.05)
    assert diffuse(star, features, 1, 0.05, cut="post")[1, 1] == 0


def test_a_column_keeps_at_most_as_many_entries_as_fit_above_the_threshold():
    adjacency, _ = make_graph()
    for cut in ("pre", "post", "each"):
        found = diffuse(adjacency, np.eye(N, dtype=np.float32), HOPS, 0.1, cut=cut)
        per_column = np.count_nonzero(found[:, N : 2 * N], axis=0)
        assert per_column.max() < 1 / 0.1


def test_unit_length_is_of_each_hop_of_a_node():
    adjacency, features = make_graph()
    for X in (features, scipy.sparse.csr_array(features)):
        plain, scaled = (diffuse(adjacency, X, HOPS, unit_length=is_unit) for is_unit in (False, True))
        if scipy.sparse.issparse(X):
            plain, scaled = plain.toarray(), scaled.toarray()
        for hop in range(HOPS + 1):
            own = slice(hop * N_FEATURES, (hop + 1) * N_FEATURES)
            lengths = np.linalg.norm(plain[:, own].astype(float), axis=1, keepdims=True)
            np.testing.assert_allclose(scaled[:, own] * lengths, plain[:, own], rtol=1e-5, atol=1e-7)
            is_zero = lengths[:, 0] == 0
            np.testing.assert_allclose(np.linalg.norm(scaled[:, own], axis=1), np.where(is_zero, 0, 1), atol=1e-6)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"hops": 0}, "hops = 0: must be at least 1"),
        ({"threshold": 1.0}, "threshold = 1.0: must be at least 0 and below 1"),
        ({"threshold": float("nan")}, "threshold = nan"),
        ({"cut": "late"}, 'cut = "late": must be "pre", "post" or "each"'),
        ({"adjacency": -np.ones((N, N))}, "adjacency: weight -1: must be >= 0 and finite"),
        ({"adjacency": np.full((N, N), np.nan)}, "adjacency: weight nan"),
        ({"adjacency": np.zeros((N, N))}, "adjacency: has no edges"),
        ({"adjacency": np.ones((N, 3))}, "adjacency: shape [53, 3]: expected as many rows as columns"),
        ({"X": np.ones((3, 2))}, "X: 3 rows: expected 53, one per node"),
        ({"X": np.full((N, 2), np.inf)}, "X[0, 0] = inf: must be finite"),
    ],
)
def test_what_is_wrong_is_a_value_error_that_names_it(given, message):
    adjacency, features = make_graph()
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (the message is checked)
        diffuse(**{"adjacency": adjacency, "X": features, **given})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
