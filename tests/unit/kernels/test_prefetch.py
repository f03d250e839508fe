"""Passes over sources too large for the caches: the same results, whether rows are asked for early or not."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from hpc_sparse.kernels.simd import prefetch as prefetch_module
from hpc_sparse.kernels.simd.activation import record_words
from hpc_sparse.kernels.simd.machine import AHEAD, FAR_BYTES, WIDTHS
from hpc_sparse.kernels.simd.prefetch import FAR, LOST, ahead, distance_of, prefetch, prefetch_rows
from hpc_sparse.kernels.simd.vector_code import pointer_or_value
from hpc_sparse.kernels.sparse import backward, forward, gradient
from hpc_sparse.network.connections.protocol import Gate
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.dropout import NO_DROPOUT
from hpc_sparse.network.layers.sparse import SparseLayer
from hpc_sparse.network.sinks import Write
from hpc_sparse.network.tiles import Tiles

WIDTH = 32
STRIDES = [WIDTH, 80]
N_IN = FAR_BYTES // (4 * WIDTH) + 5
"""Rows of which tiles of 32 columns are far, tiles of 16 are not."""

LONGEST_ROW = 10 * AHEAD


@intrinsic
def ahead_of(tc, indices, k, last):
    signature = types.int64(indices, k, last)

    def codegen(context, builder, signature, args):
        values = [pointer_or_value(context, builder, *pair) for pair in zip(signature.args, args, strict=True)]
        return ahead(builder, *values)

    return signature, codegen


@njit
def number_ahead(indices, k, last):
    return ahead_of(indices, k, last)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("n_connections", [1, 2, AHEAD, AHEAD + 1, 3 * AHEAD])
def test_the_row_that_is_asked_for_comes_some_connections_later_and_exists(n_connections, dtype):
    indices = np.random.default_rng(1).permutation(100).astype(dtype)
    last = n_connections - 1
    for k in range(n_connections):
        assert number_ahead(indices, k, last) == indices[min(k + AHEAD, last)]


@pytest.mark.parametrize(("n_bytes", "n_lines"), [(1, 1), (32, 1), (64, 1), (128, 2), (256, 4), (512, 8)])
def test_every_line_of_a_row_is_asked_for(n_bytes, n_lines):
    module = ir.Module()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [ir.FloatType().as_pointer()]), "ask")
    builder = ir.IRBuilder(function.append_basic_block())
    prefetch(builder, function.args[0], n_bytes)
    calls = [line for line in str(builder.block).splitlines() if "call" in line]
    assert len(calls) == n_lines
    assert all("llvm.prefetch" in line for line in calls)
    assert all(f"i64 {64 * line}\n" in str(builder.block) for line in range(n_lines))


def test_lost_rows_are_asked_for_into_the_second_cache_and_others_into_the_first():
    module = ir.Module()
    kinds = [ir.IntType(64), ir.FloatType().as_pointer()]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), "ask")
    builder = ir.IRBuilder(function.append_basic_block())
    distance, row = function.args
    prefetch_rows(builder, distance, [row, row], 128)
    builder.ret_void()
    for name, locality in (("if", 2), ("else", 3)):
        (block,) = (block for block in function.blocks if block.name.endswith(f".{name}"))
        assert str(block).count(f"i32 0, i32 {locality}, i32 1") == 4
    assert f"icmp eq i64 {distance.get_reference()}, {LOST}" in str(function)


POSITIONS = {
    "row_sum": 8,
    "row_sum_activated": 8,
    "indirect_row_sum": 9,
    "row_dots": 7,
    "more_row_dots": 7,
    "indirect_row_sum_and_dots": 9,
    "row_sum_and_dots": 9,
    "row_sum_and_more_dots": 9,
}
"""Of ``distance`` among the arguments; the number of the last connection comes before it."""


class Loops:
    """Stand for the vector loops of a module of kernels and note what these pass them."""

    def __init__(self, monkeypatch, module):
        self.tiles, self.lasts = set(), set()
        for name in POSITIONS.keys() & vars(module).keys():
            monkeypatch.setattr(module, name, self._noting(POSITIONS[name]))

    def _noting(self, position):
        def note(*arguments):
            own, _, base = arguments[:3]
            self.tiles.add((int(own), int(base), int(arguments[position])))
            self.lasts.add(int(arguments[position - 1]))

        return note


ONE = np.float32(1)
SINGLE = ["backward_and_gradient", "gradient_update"]
"""Kernels for a batch of a single tile."""

BY_TILE = ["backward_and_gradient_by_tile", "weight_gradients_by_tile"]
KERNELS = [*SINGLE, *BY_TILE, "forward", "forward_train", "backward", "backward_and_gradient_of_tiles"]
KERNELS += ["weight_gradients"]


def calls(topology, stride, dtype):
    """Every kernel that reads rows at random: its module, the number of rows, arguments."""
    t, above = topology, topology.transposed
    (n_out, n_in), weight = t.shape, np.zeros(t.n_connections, np.float32)
    bias, record = np.zeros(n_out, np.float32), np.zeros(n_in * record_words(stride), np.uint16)
    source, delta = np.zeros(n_in * stride, dtype), np.zeros(n_out * stride, dtype)
    out, below = np.zeros(n_out * stride, dtype), np.zeros(n_in * stride, dtype)
    sums = (t.indptr, t.indices, weight, bias, source, ONE)
    transposed, signals = (above.indptr, above.outs, above.position, weight), (t.indptr, t.indices, delta, source)
    gated = (delta, source, record, ONE, ONE, above.bounds)
    room, states = np.zeros((2, weight.size), np.float32), (weight, bias, weight, bias)
    dropout = (np.uint32(0), ONE, np.uint64(0), 0, 0)
    no_record = np.zeros(0, np.uint16)
    ungated = (delta, no_record, ONE, ONE, above.bounds)
    return {
        "forward": (forward, n_in, (*sums, t.bounds, WIDTH, out)),
        "forward_train": (forward, n_in, (*sums, *dropout, t.bounds, WIDTH, out, record)),
        "backward": (backward, n_out, (*transposed, *ungated, WIDTH, below)),
        "backward_and_gradient": (backward, n_out, (*transposed, *gated, below, weight)),
        "backward_and_gradient_of_tiles": (backward, n_out, (*transposed, *gated, 2, WIDTH, below, room, weight)),
        "backward_and_gradient_by_tile": (backward, n_out, (*transposed, *gated, WIDTH, below, room)),
        "weight_gradients_by_tile": (gradient, n_in, (*signals, t.bounds, WIDTH, room)),
        "weight_gradients": (gradient, n_in, (*signals, t.bounds, 2, WIDTH, weight)),
        "gradient_update": (gradient, n_in, (*signals, t.bounds, WIDTH, ONE, ONE, ONE, False, *states)),
    }


@pytest.mark.parametrize("dtype", [np.float32, np.uint16])
@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize(
    ("columns", "less", "beyond"),
    [(WIDTH, 0, []), (WIDTH, 1, [32]), (16, 0, [32]), (16, 1, [16, 32]), (0, 0, [16, 32])],
)
@pytest.mark.parametrize(("bound", "distance"), [("FAR_BYTES", FAR), ("LOST_BYTES", LOST)])
def test_a_tile_is_far_or_lost_if_it_has_more_bytes_than_the_bound(
    monkeypatch, make_topology, name, dtype, columns, less, beyond, bound, distance
):
    topology = make_topology(43, 37)
    module, n_rows, arguments = calls(topology, WIDTH if name in SINGLE else WIDTH + 16, dtype)[name]
    loops = Loops(monkeypatch, module)
    # The kernels run as Python: the rest of their arithmetic has other tests.
    for other in {"mix64", "row_total", "descend", "part_of"} & vars(module).keys():
        monkeypatch.setattr(module, other, lambda *_: np.uint64(0))
    monkeypatch.setattr(module, "GOLDEN", np.uint64(0), raising=False)
    bounds = {"FAR_BYTES": 0 if distance == LOST else 1 << 62, "LOST_BYTES": 1 << 62}
    bounds = bounds | {bound: n_rows * columns * np.dtype(dtype).itemsize - less}
    for which, n_bytes in bounds.items():
        monkeypatch.setattr(prefetch_module, which, n_bytes)
    monkeypatch.setattr(module, "distance_of", distance_of.py_func)
    getattr(module, name).py_func(*arguments)
    tiles = [(WIDTH, 0)] if name in SINGLE else [(WIDTH, 0), (16, WIDTH * n_rows)]
    assert loops.tiles == {(own, base, distance if own in beyond else distance - 1) for own, base in tiles}
    assert loops.lasts == {topology.n_connections - 1}


@pytest.fixture(scope="module")
def wide_layer():
    """Few connections per neuron, none at some, one neuron with many, and the last ones with few again."""
    rng = np.random.default_rng(4)
    rows = np.concatenate([rng.integers(0, 900, 3000), np.full(LONGEST_ROW, 950), [998, 999, 999, 999]])
    keys = np.unique(rows * N_IN + rng.integers(0, N_IN, rows.size))
    topology = Topology.from_keys((1000, N_IN), keys)
    weight = rng.standard_normal(keys.size).astype(np.float32)
    return SparseLayer.of(topology, weight, np.zeros(1000, np.float32), 1.0)


def numbers(n, stride, seed):
    return np.random.default_rng(seed).standard_normal((n, stride)).astype(np.float32)


def matrix(layer):
    t = layer.topology
    return sp.csr_array((layer.weight.astype(np.float64), t.indices, t.indptr), t.shape)


@pytest.mark.parametrize("stride", STRIDES)
def test_forward_is_the_product_with_a_wide_source(wide_layer, stride):
    source = numbers(N_IN, stride, 1)
    expected, results = matrix(wide_layer) @ source, set()
    for width in WIDTHS:
        batch = Tiles.of(source, width)
        out = batch.like(1000)
        wide_layer.forward(batch, out)
        np.testing.assert_allclose(out.matrix(), expected, rtol=0, atol=1e-3)
        results.add(out.matrix().tobytes())
    assert len(results) == 1  # of tiles that are far, and of others that are not


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("stride", STRIDES)
def test_gradients_are_those_of_a_wide_source(wide_layer, stride, width):
    source, delta = numbers(N_IN, stride, 1), numbers(1000, stride, 2)
    t = wide_layer.topology
    rows = np.repeat(np.arange(1000), t.fan_in())
    expected = (delta[rows].astype(np.float64) * source[t.indices]).sum(axis=1)
    found = wide_layer.gradient(Tiles.of(delta, width), Tiles.of(source, width))[0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("stride", STRIDES)
def test_deltas_and_gradients_are_those_of_a_wide_layer_above(wide_layer, stride):
    t = wide_layer.topology
    out_of, into = np.divmod(t.keys(), N_IN)
    upper = Topology.from_keys((N_IN, 1000), np.sort(into * 1000 + out_of))
    layer = SparseLayer.of(
        upper, np.linspace(-1, 1, upper.n_connections, dtype=np.float32), np.zeros(N_IN, np.float32), 1.0
    )
    delta, activations = numbers(N_IN, stride, 1), numbers(1000, stride, 2)
    record = np.full(1000 * record_words(stride), 0x00FF, np.uint16)
    rows = np.repeat(np.arange(N_IN), upper.fan_in())
    expected = (delta[rows].astype(np.float64) * activations[upper.indices]).sum(axis=1)
    is_kept = np.tile(np.arange(stride) % 16 < 8, (1000, 1))
    results = set()
    for width in WIDTHS:
        gradient, bias_gradient = np.empty_like(layer.weight), np.empty(N_IN, np.float32)
        gate, sink = Gate(np.float32(1), NO_DROPOUT.scale, record), Write({"weight": gradient, "bias": bias_gradient})
        source = Tiles.of(activations, width)
        layer.backward(Tiles.of(delta, width), source, {}, gate, sink, source)
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-4)
        np.testing.assert_allclose(source.matrix(), (matrix(layer).T @ delta) * is_kept, rtol=0, atol=1e-3)
        results.add(source.matrix().tobytes())
    assert len(results) == 1
