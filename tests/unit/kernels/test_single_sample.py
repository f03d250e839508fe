"""The pass of a single sample against that of a batch, which is tested against SciPy."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.kernels.simd.machine import WIDTHS
from hpc_sparse.kernels.sparse.forward import forward
from hpc_sparse.kernels.sparse.single_sample import forward_sample
from hpc_sparse.network.tiles import Tiles


def run_sample(layer, source, slope, pointer=np.int32):
    t = layer.topology
    out = np.full(t.shape[0], np.nan, np.float32)
    forward_sample(t.indptr.astype(pointer), t.indices, layer.weight, layer.bias, source, np.float32(slope), out)
    return out


@pytest.mark.parametrize("slope", [1.0, 0.0, -0.6])
@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (4, 9), (43, 37), (150, 96)])
@pytest.mark.parametrize("stride", [16, 48, 144])
def test_one_sample_gives_the_bits_that_it_gives_in_a_batch(make_connections, make_columns, shape, slope, stride):
    layer, columns = make_connections(*shape), make_columns(shape[1], stride)
    t = layer.topology
    for width in WIDTHS:
        batch = Tiles.of(columns, width)
        out = Tiles.of(np.full((shape[0], stride), np.nan, np.float32), width)
        sums = layer.weight, layer.bias, batch.values
        forward(t.indptr, t.indices, *sums, np.float32(slope), t.bounds, width, out.values)
        for column in (0, 5, stride - 16, stride - 1):
            source, expected = np.ascontiguousarray(columns[:, column]), out.matrix()[:, column]
            np.testing.assert_array_equal(run_sample(layer, source, slope), expected)
            np.testing.assert_array_equal(run_sample(layer, source, slope, np.int64), expected)


def test_neurons_beside_one_without_connections_get_all_of_theirs(make_connections):
    layer = make_connections(8, 30)  # of which the first has none
    source = np.random.default_rng(3).standard_normal(30).astype(np.float32)
    expected = layer.matrix @ source.astype(np.float64) + layer.bias
    np.testing.assert_allclose(run_sample(layer, source, 1.0), expected, rtol=0, atol=1e-5)
