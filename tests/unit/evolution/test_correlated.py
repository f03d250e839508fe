"""A first layer from correlations, against NumPy's matrix of them."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.evolution.initial.correlated import correlated_topology
from hpc_sparse.kernels.simd import machine
from hpc_sparse.network.tiles import Tiles


@pytest.fixture
def batch(make_columns):
    """Features that depend on each other, one that never varies, and rubbish beyond the batch."""
    columns = make_columns(13, 20, stride=32)
    columns[5] += 3 * columns[2]
    columns[7] -= 2 * columns[2] + columns[1]
    columns[4] = 9.7
    columns[:, 20:] = 1e6
    return columns


@pytest.mark.parametrize("width", [machine.WIDTHS[0], machine.WIDTHS[-1]])
@pytest.mark.parametrize(("n_out", "n_connections"), [(13, 30), (9, 1), (31, 200), (4, 0), (300, 2000)])
def test_neurons_are_connected_with_the_features_most_correlated_with_their_own(batch, n_out, n_connections, width):
    topology = correlated_topology(Tiles.of(batch, width), 20, n_out, n_connections, np.random.default_rng(3))
    assert topology.shape == (n_out, 13)
    topology.check()
    own = np.random.default_rng(3).permutation(13)[np.arange(n_out) % 13]
    with np.errstate(invalid="ignore"):
        correlation = np.nan_to_num(np.abs(np.corrcoef(batch[:, :20].astype(np.float64))))
    correlation[4] = correlation[:, 4] = 0
    score = correlation[own].reshape(-1)
    keys = topology.keys()
    assert keys.size == n_connections
    left_out = np.delete(score, keys)
    # Duplicates of a feature tie, up to rounding.
    assert n_connections == 0 or score[keys].min() >= left_out.max() - 1e-5
    n_distinct = min(n_out, 13)
    assert len(set(own[:n_distinct])) == n_distinct


def test_a_feature_that_never_varies_is_connected_last(batch):
    topology = correlated_topology(Tiles.of(batch), 20, 13, 13 * 12, np.random.default_rng(0))
    assert (np.bincount(topology.indices, minlength=13)[[0, 1, 2, 3, 5]] >= 12).all()


def test_tiles_of_any_width_lead_to_the_same_connections(make_columns):
    columns = make_columns(13, 240)
    found = [
        correlated_topology(Tiles.of(columns, width), 240, 31, 100, np.random.default_rng(3)).keys().tolist()
        for width in machine.WIDTHS
    ]
    assert all(keys == found[0] for keys in found)
