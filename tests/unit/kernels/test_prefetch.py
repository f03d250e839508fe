"""Passes over sources too large for the caches: the same results, whether rows are asked for early or not."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from hpc_sparse.kernels.simd.prefetch import FROM_BYTES, MAX_AHEAD, MIN_AHEAD, connections_ahead
from hpc_sparse.network.connections.protocol import Gate
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.dropout import NO_DROPOUT
from hpc_sparse.network.layers.sparse import SparseLayer
from hpc_sparse.network.sinks import Write

STRIDE = 32
N_IN = FROM_BYTES // (4 * STRIDE) + 5


@pytest.fixture(scope="module")
def wide_layer():
    """Few connections per neuron, none at some, and one neuron with more than are asked for at a time."""
    rng = np.random.default_rng(4)
    rows = np.concatenate([rng.integers(0, 900, 3000), np.full(5 * MAX_AHEAD, 950)])
    keys = np.unique(rows * N_IN + rng.integers(0, N_IN, rows.size))
    topology = Topology.from_keys((1000, N_IN), keys)
    weight = rng.standard_normal(keys.size).astype(np.float32)
    return SparseLayer.of(topology, weight, np.zeros(1000, np.float32), 1.0)


def numbers(n, seed):
    return np.random.default_rng(seed).standard_normal((n, STRIDE)).astype(np.float32)


def matrix(layer):
    t = layer.topology
    return sp.csr_array((layer.weight.astype(np.float64), t.indices, t.indptr), t.shape)


@pytest.mark.parametrize(
    ("n", "stride", "ahead"),
    [(N_IN, STRIDE, MAX_AHEAD), (1 << 16, 1024, MIN_AHEAD), (1 << 16, 128, 16), (1000, 128, 0)],
)
def test_wide_sources_are_asked_for_early_and_narrow_ones_are_not(n, stride, ahead):
    assert connections_ahead.py_func(np.broadcast_to(np.float32(0), (n, stride))) == ahead


def test_forward_is_the_product_with_a_wide_source(wide_layer):
    source, out = numbers(N_IN, 1), np.empty((1000, STRIDE), np.float32)
    wide_layer.forward(source, out)
    np.testing.assert_allclose(out, matrix(wide_layer) @ source, rtol=0, atol=1e-3)


def test_gradients_are_those_of_a_wide_source(wide_layer):
    source, delta = numbers(N_IN, 1), numbers(1000, 2)
    t = wide_layer.topology
    rows = np.repeat(np.arange(1000), t.fan_in())
    expected = (delta[rows].astype(np.float64) * source[t.indices]).sum(axis=1)
    np.testing.assert_allclose(wide_layer.gradient(delta, source)[0], expected, rtol=0, atol=1e-4)


def test_deltas_and_gradients_are_those_of_a_wide_layer_above(wide_layer):
    t = wide_layer.topology
    out_of, into = np.divmod(t.keys(), N_IN)
    upper = Topology.from_keys((N_IN, 1000), np.sort(into * 1000 + out_of))
    layer = SparseLayer.of(
        upper, np.linspace(-1, 1, upper.n_connections, dtype=np.float32), np.zeros(N_IN, np.float32), 1.0
    )
    delta, source = numbers(N_IN, 1), numbers(1000, 2)
    record = np.full((1000, STRIDE // 8), 0x00FF, np.uint16)
    rows = np.repeat(np.arange(N_IN), upper.fan_in())
    expected = (delta[rows].astype(np.float64) * source[upper.indices]).sum(axis=1)
    gradient, bias_gradient = np.empty_like(layer.weight), np.empty(N_IN, np.float32)
    is_kept = np.tile(np.arange(STRIDE) % 16 < 8, (1000, 1))
    gate, sink = Gate(np.float32(1), NO_DROPOUT.scale, record), Write({"weight": gradient, "bias": bias_gradient})
    layer.backward(delta, source, {}, gate, sink, source)
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-4)
    np.testing.assert_allclose(source, (matrix(layer).T @ delta) * is_kept, rtol=0, atol=1e-3)
