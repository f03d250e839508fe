"""Passes over activations stored as bfloat16: those over the rounded numbers, to the rounding of what is stored."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from hpc_sparse.kernels.simd.activation import record_words
from hpc_sparse.kernels.simd.bfloat16 import as_float
from hpc_sparse.kernels.simd.machine import WIDTHS
from hpc_sparse.kernels.sparse.forward import forward
from hpc_sparse.network.connections.protocol import Gate
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.dropout import NO_DROPOUT
from hpc_sparse.network.layers.sparse import SparseLayer
from hpc_sparse.network.sinks import Write
from hpc_sparse.network.tiles import Tiles

HALF_STEP = 2.0**-8
"""Largest relative error of rounding to bfloat16."""

STRIDES = [16, 64, 112, 128, 144, 240]


def shortened(values):
    """Float32 rounded to bfloat16, ties to even, as uint16: by the definition, number by number."""
    words = np.ascontiguousarray(values, np.float32).view(np.uint32).astype(np.uint64)
    lower, upper = words & 0xFFFF, words >> 16
    up = (lower > 0x8000) | ((lower == 0x8000) & (upper & 1 == 1))
    return (upper + up).astype(np.uint16)


def widened(words):
    return (words.astype(np.uint32) << 16).view(np.float32)


def stored(numbers):
    """What a kernel stores for ``numbers`` float32[16 n]: a layer of one connection of weight 1 per neuron."""
    n = numbers.size // 16
    topology = Topology((n, n), np.arange(n + 1, dtype=np.int64), np.arange(n, dtype=np.int32))
    out = np.empty(n * 16, np.uint16)
    ones, zeros = np.ones(n, np.float32), np.zeros(n, np.float32)
    forward(topology.indptr, topology.indices, ones, zeros, numbers, np.float32(1), topology.bounds, 16, out)
    return out


def test_numbers_are_rounded_to_nearest_and_ties_to_even():
    rng = np.random.default_rng(0)
    words = rng.integers(0, 1 << 32, 4096, np.uint64).astype(np.uint32)
    words[:1024] = (words[:1024] & 0xFFFF0000) | 0x8000  # ties
    numbers = words.view(np.float32)
    numbers = np.where(np.isfinite(numbers) & (np.abs(numbers) > 1e-30), numbers, np.float32(1.5))
    np.testing.assert_array_equal(stored(numbers), shortened(numbers))


def test_what_is_no_number_stays_none_and_infinity_stays_infinite():
    numbers = np.array([np.nan, np.inf, -np.inf, 3.4e38], np.float32)
    words = np.uint32([0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001]).view(np.float32)
    found = widened(stored(np.concatenate([numbers, words, np.zeros(9, np.float32)])))
    assert np.isnan(found[[0, 4, 5, 6]]).all()
    np.testing.assert_array_equal(found[1:4], [np.inf, -np.inf, np.inf])


def test_scalars_are_widened():
    read = njit(lambda values, i: as_float(values[i]))
    numbers = np.array([1.5, -0.0, 3e-5, -7e20], np.float32)
    assert [read(numbers, i) for i in range(4)] == numbers.tolist()
    assert [read(shortened(numbers), i) for i in range(4)] == widened(shortened(numbers)).tolist()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("stride", STRIDES)
def test_a_layer_forward_is_that_of_the_rounded_inputs(make_connections, make_columns, stride, width):
    layer = as_layer(make_connections(43, 37), slope=1.0)
    source = shortened(make_columns(37, stride))
    exact, short = (Tiles.empty(43, stride, width, kind) for kind in (np.float32, np.uint16))
    layer.forward(Tiles.of(widened(source), width), exact)
    layer.forward(Tiles.of(source, width), short)
    np.testing.assert_array_equal(short.values, shortened(exact.values))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("stride", STRIDES)
def test_a_layer_backward_is_that_of_the_rounded_deltas(make_connections, make_columns, stride, width):
    layer = as_layer(make_connections(43, 37))
    delta, source = shortened(make_columns(43, stride)), shortened(make_columns(37, stride, seed=7))
    record = np.full(37 * record_words(stride), 0x0F33, np.uint16)
    exact, short = Tiles.of(widened(source), width), Tiles.of(source, width)
    results = []
    for d, s in ((Tiles.of(widened(delta), width), exact), (Tiles.of(delta, width), short)):
        gradients = {"weight": np.empty_like(layer.weight), "bias": np.empty_like(layer.bias)}
        gate = Gate(np.float32(layer.slope), NO_DROPOUT.scale, record)
        layer.backward(d, s, {}, gate, Write(gradients), s)
        results.append(gradients)
    np.testing.assert_array_equal(results[0]["weight"], results[1]["weight"])
    np.testing.assert_allclose(results[0]["bias"], results[1]["bias"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(widened(short.values), exact.values, rtol=3 * HALF_STEP)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("stride", [48, 112, 240])
def test_a_dense_layer_takes_short_inputs_and_gives_short_outputs(make_columns, stride, width):
    topology = Topology.random((7, 37), 1.0, np.uint64(1))
    weight = np.linspace(-1, 1, 7 * 37, dtype=np.float32)
    layer, source = SparseLayer.of(topology, weight, np.ones(7, np.float32), -0.6), shortened(make_columns(37, stride))
    exact, long, short = (Tiles.empty(7, stride, width, kind) for kind in (np.float32, np.float32, np.uint16))
    layer.forward(Tiles.of(widened(source), width), exact)
    layer.forward(Tiles.of(source, width), long)
    layer.forward(Tiles.of(source, width), short)
    np.testing.assert_array_equal(long.values, exact.values)
    np.testing.assert_allclose(widened(short.values), exact.values, rtol=3 * HALF_STEP)


def as_layer(connections, slope=-0.6):
    return SparseLayer.of(connections.topology, connections.weight, connections.bias, slope)
