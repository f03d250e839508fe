"""Forward kernels against SciPy in float64."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hpc_sparse.kernels.simd.activation import BLOCK, WORDS, record_words
from hpc_sparse.kernels.simd.machine import WIDTHS
from hpc_sparse.kernels.sparse.forward import forward, forward_train
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.dropout import Dropout
from hpc_sparse.network.tiles import Tiles

ROUNDING = 2e-7
STRIDES = [16, 32, 48, 64, 96, 112, 128, 144, 240]
SHAPES = [(1, 1), (3, 1), (1, 40), (43, 37), (150, 96)]


def unpacked(record, like):
    """Which columns were kept, and whose weighted sum was negative: bool[n, stride] each."""
    bits = np.unpackbits(record.view(np.uint8).reshape(-1, WORDS, BLOCK // 8), axis=-1, bitorder="little").astype(bool)
    return [dataclasses.replace(like, values=bits[:, word].ravel()).matrix() for word in range(WORDS)]


def run_forward(layer, source, slope=1.0, width=WIDTHS[-1]):
    t = layer.topology
    out = Tiles.of(np.full((t.shape[0], source.shape[1]), np.nan, np.float32), width)
    sums = layer.weight, layer.bias, Tiles.of(source, width).values
    forward(t.indptr, t.indices, *sums, np.float32(slope), t.bounds, width, out.values)
    return out.matrix()


def run_forward_train(layer, source, *, slope=-0.6, rate=0.3, key=11, first=(0, 0), width=WIDTHS[-1]):
    t, dropout = layer.topology, Dropout(rate, np.uint64(key))
    out = Tiles.of(np.full((t.shape[0], source.shape[1]), np.nan, np.float32), width)
    record = np.full(t.shape[0] * record_words(source.shape[1]), 0xA5C3, np.uint16)
    forward_train(
        t.indptr, t.indices, layer.weight, layer.bias, Tiles.of(source, width).values, np.float32(slope),
        dropout.drop_below, dropout.scale, dropout.key, *first, t.bounds, width, out.values, record,
    )  # fmt: skip
    return out.matrix(), *unpacked(record, out)


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("shape", SHAPES)
def test_weighted_sums_are_those_of_the_matrix_product(make_connections, make_columns, shape, stride):
    layer = make_connections(*shape)
    source = make_columns(shape[1], stride)
    expected = layer.matrix @ source.astype(np.float64) + layer.bias[:, None]
    size = abs(layer.matrix) @ np.abs(source) + np.abs(layer.bias)[:, None]
    n_terms = layer.topology.fan_in()[:, None] + 1
    for width in WIDTHS:
        assert (np.abs(run_forward(layer, source, width=width) - expected) <= ROUNDING * n_terms * size).all()


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_width_of_tiles_changes_no_bit(make_connections, make_columns, shape, stride):
    layer, source = make_connections(*shape), make_columns(shape[1], stride)
    found = {
        width: [run_forward(layer, source, -0.6, width), *run_forward_train(layer, source, width=width)]
        for width in WIDTHS
    }
    for arrays in found.values():
        for array, expected in zip(arrays, found[WIDTHS[0]], strict=True):
            assert array.tobytes() == expected.tobytes()


@pytest.mark.parametrize("stride", [48, 240])
def test_columns_do_not_depend_on_those_beside_them(make_connections, make_columns, stride):
    layer, source = make_connections(43, 37), make_columns(37, stride)
    for width in WIDTHS:
        whole = run_forward(layer, source, -0.6, width)
        for first in range(0, stride, 16):
            columns = slice(first, first + 16)
            assert run_forward(layer, source[:, columns], -0.6).tobytes() == whole[:, columns].tobytes()


@pytest.mark.parametrize("slope", [0.0, 0.6, -0.6])
def test_the_slope_applies_below_zero_only(make_connections, make_columns, slope):
    layer, source = make_connections(43, 37), make_columns(37, 96)
    sums = run_forward(layer, source)
    expected = np.where(sums >= 0, sums, np.float32(slope) * sums)
    for width in WIDTHS:
        np.testing.assert_array_equal(run_forward(layer, source, slope, width), expected)


def test_a_neuron_without_connections_gives_its_bias(make_connections, make_columns):
    layer = make_connections(43, 37)
    empty = layer.topology.fan_in() == 0
    assert empty.sum() == 3
    for width in WIDTHS:
        out = run_forward(layer, make_columns(37, 112), width=width)
        np.testing.assert_array_equal(out[empty], np.repeat(layer.bias[empty, None], 112, axis=1))


def test_without_dropout_training_computes_what_evaluation_does(make_connections, make_columns):
    layer, source = make_connections(43, 37), make_columns(37, 144)
    for width in WIDTHS:
        out, is_kept, is_negative = run_forward_train(layer, source, rate=0.0, width=width)
        np.testing.assert_array_equal(out, run_forward(layer, source, -0.6))
        assert is_kept.all()
        np.testing.assert_array_equal(is_negative, run_forward(layer, source) < 0)


@pytest.mark.parametrize("rate", [0.3, 0.9])
def test_dropout_zeroes_some_activations_and_scales_the_others(make_connections, make_columns, rate):
    layer, source = make_connections(43, 37), make_columns(37, 144)
    sums = run_forward(layer, source)
    kept = run_forward(layer, source, -0.6) * np.float32(1 / (1 - rate))
    for width in WIDTHS:
        out, is_kept, is_negative = run_forward_train(layer, source, rate=rate, width=width)
        np.testing.assert_array_equal(out, np.where(is_kept, kept, np.float32(0)))
        np.testing.assert_array_equal(is_negative, sums < 0)


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.5, 0.97])
def test_dropout_drops_its_share_in_every_row_and_column(make_connections, make_columns, rate):
    n, stride = 400, 240
    is_dropped = ~run_forward_train(make_connections(n, 25), make_columns(25, stride), rate=rate)[1]
    deviation = np.sqrt(rate * (1 - rate))
    assert abs(is_dropped.mean() - rate) < 4 * deviation / np.sqrt(n * stride)
    assert np.abs(is_dropped.mean(axis=0) - rate).max() < 5 * deviation / np.sqrt(n)
    assert np.abs(is_dropped.mean(axis=1) - rate).max() < 5 * deviation / np.sqrt(stride)


def test_dropout_of_neurons_columns_and_keys_is_independent(make_connections, make_columns):
    layer, source = make_connections(300, 25), make_columns(25, 240)
    a, b = ((run_forward_train(layer, source, rate=0.5, key=key)[1]) * 2.0 - 1 for key in (11, 12))
    limit = 5 / np.sqrt(a.size)
    assert abs((a * b).mean()) < limit
    assert abs((a[1:] * a[:-1]).mean()) < limit
    assert abs((a[:, 1:] * a[:, :-1]).mean()) < limit


def test_the_extreme_rates_of_dropout_are_valid_thresholds():
    assert Dropout(0.0, np.uint64(1)).drop_below == 0
    assert Dropout(np.nextafter(1, 0), np.uint64(1)).drop_below == 2**32 - 1


@pytest.mark.parametrize("width", WIDTHS)
def test_the_number_of_threads_changes_no_bit(make_connections, make_columns, on_every_thread_count, width):
    layer, source = make_connections(150, 96), make_columns(96, 144)
    alone, together = on_every_thread_count(
        lambda: (run_forward(layer, source, width=width), *run_forward_train(layer, source, width=width))
    )
    for one, other in zip(alone, together, strict=True):
        assert one.tobytes() == other.tobytes()


def test_a_part_of_the_neurons_and_columns_drops_what_the_whole_layer_drops(make_connections, make_columns):
    layer, source = make_connections(40, 25), make_columns(25, 64)
    whole = run_forward_train(layer, source)
    start = layer.topology.indptr[17]
    topology = Topology((23, 25), layer.topology.indptr[17:] - start, layer.topology.indices[start:])
    part = dataclasses.replace(layer, topology=topology, weight=layer.weight[start:], bias=layer.bias[17:])
    columns = np.ascontiguousarray(source[:, 32:])
    for width in WIDTHS:
        own = run_forward_train(part, columns, first=(17, 32), width=width)
        for found, expected in zip(own, whole, strict=True):
            np.testing.assert_array_equal(found, expected[17:, 32:])
