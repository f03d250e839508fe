"""Sparse batches of some features against NumPy indexing."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

from hpc_sparse.kernels.chosen_features import clear_chosen, scatter_chosen
from hpc_sparse.kernels.simd.machine import WIDTHS
from hpc_sparse.network.tiles import Tiles

N_SAMPLES = 250


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("n_batch", "stride"), [(1, 48), (5, 48), (37, 48), (37, 112), (130, 144), (233, 240)])
@pytest.mark.parametrize("n_inputs", [1, 41, 90])
def test_chosen_features_are_written_and_taken_out_again(n_inputs, n_batch, stride, width):
    rng = np.random.default_rng(2)
    matrix = scipy.sparse.random_array((N_SAMPLES, 90), density=0.05, format="csr", rng=rng, dtype=np.float32)
    assert (np.diff(matrix.indptr) == 0).any()
    arrays = matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32)
    features = np.sort(rng.permutation(90)[:n_inputs])
    row_of = np.full(90, -1, np.int32)
    row_of[features] = np.arange(n_inputs)
    chosen = rng.permutation(N_SAMPLES)[:n_batch]
    out = Tiles.of(np.zeros((n_inputs, stride), np.float32), width)
    scatter_chosen(*arrays, matrix.data, row_of, chosen, n_inputs, width, out.values)
    np.testing.assert_array_equal(out.matrix()[:, :n_batch], matrix.toarray()[np.ix_(chosen, features)].T)
    assert (out.matrix()[:, n_batch:] == 0).all()
    clear_chosen(*arrays, row_of, chosen, n_inputs, width, out.values)
    assert (out.values == 0).all()
