"""Batches assembled by kernels against NumPy indexing."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

from hpc_sparse.kernels.batch import clear_csr, gather_dense, scatter_csr
from hpc_sparse.kernels.simd.machine import WIDTHS
from hpc_sparse.network.tiles import Tiles

N_SAMPLES = 250
BATCHES = [(1, 16), (5, 16), (16, 16), (37, 48), (37, 80), (37, 112), (112, 112), (128, 128), (130, 144), (233, 240)]


@pytest.mark.parametrize(("n_batch", "stride"), BATCHES)
@pytest.mark.parametrize("n_features", [1, 23])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_dense_samples_become_scaled_columns(dtype, n_features, n_batch, stride):
    rng = np.random.default_rng(1)
    features = (rng.random((N_SAMPLES, n_features)) * 255).astype(dtype)
    chosen = rng.permutation(N_SAMPLES)[:n_batch]
    shift, scale = rng.random((2, n_features)).astype(np.float32)
    expected, first = (features[chosen].astype(np.float64) - shift) * scale, None
    for width in WIDTHS:
        tiles = Tiles.of(np.full((n_features, stride), np.nan, np.float32), width)
        gather_dense(features, chosen, shift, scale, width, tiles.values)
        out = tiles.matrix()
        np.testing.assert_allclose(out[:, :n_batch], expected.T, rtol=1e-6, atol=1e-5)
        assert (out[:, n_batch:] == 0).all()
        first = out if first is None else first
        assert out.tobytes() == first.tobytes()


@pytest.mark.parametrize("width", WIDTHS)
def test_the_number_of_threads_changes_no_bit(on_every_thread_count, width):
    features = np.random.default_rng(1).integers(0, 256, (N_SAMPLES, 23)).astype(np.uint8)
    chosen, one = np.arange(0, N_SAMPLES, 2), np.ones(23, np.float32)

    def gather():
        out = np.empty(23 * 128, np.float32)
        gather_dense(features, chosen, one, one, width, out)
        return out.tobytes()

    alone, together = on_every_thread_count(gather)
    assert alone == together


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("n_batch", "stride"), [(1, 48), (5, 48), (37, 48), (37, 112), (130, 144), (233, 240)])
def test_sparse_samples_are_written_and_taken_out_again(n_batch, stride, width):
    rng = np.random.default_rng(2)
    matrix = scipy.sparse.random_array((N_SAMPLES, 90), density=0.05, format="csr", rng=rng, dtype=np.float32)
    assert (np.diff(matrix.indptr) == 0).any()
    arrays = matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32)
    chosen = rng.permutation(N_SAMPLES)[:n_batch]
    out = Tiles.of(np.zeros((90, stride), np.float32), width)
    scatter_csr(*arrays, matrix.data, chosen, 90, width, out.values)
    np.testing.assert_array_equal(out.matrix()[:, :n_batch], matrix.toarray()[chosen].T)
    assert (out.matrix()[:, n_batch:] == 0).all()
    clear_csr(*arrays, chosen, 90, width, out.values)
    assert (out.values == 0).all()
