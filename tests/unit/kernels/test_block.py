"""Block-sparse connections against dense matrices in float64, and against unstructured connections."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from hpc_sparse.kernels.block.gradient import absolute_sums
from hpc_sparse.kernels.simd.activation import record_words
from hpc_sparse.kernels.simd.machine import WIDTHS
from hpc_sparse.network.connections.block import Block, grid
from hpc_sparse.network.connections.csr import Csr
from hpc_sparse.network.connections.protocol import Epilogue, Gate
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.dropout import Dropout
from hpc_sparse.network.sinks import WriteMap, new_scratch
from hpc_sparse.network.tiles import Tiles

SLOPE = np.float32(-0.6)
UNITS = [(1, 4), (4, 1), (4, 4), (8, 8), (16, 16), (32, 32), (4, 32), (32, 8), (16, 1), (1, 16)]
SHAPES = [(37, 43), (64, 96), (45, 33)]
"""Whole blocks alone, and blocks that reach beyond the layer by all numbers of rows."""

BATCHES = [(5, WIDTHS[-1]), (48, WIDTHS[-1]), (112, 32), (128, WIDTHS[-1]), (160, WIDTHS[-1])]


def make_block(shape, unit, *, beyond=0.0, seed=0):
    """Some blocks, and some rows of blocks without any; weights beyond the layer are ``beyond``."""
    rng, (n_rows, n_columns) = np.random.default_rng(seed), grid(shape, unit)
    exists = rng.random((n_rows, n_columns)) < 0.4
    exists[n_rows // 2] = n_rows == 1
    exists[-1, -1] = True
    topology = Topology.from_keys((n_rows, n_columns), np.flatnonzero(exists))
    r, c = unit
    weight = rng.standard_normal((topology.n_connections, r, c)).astype(np.float32)
    rows = topology.outs()[:, None, None] * r + np.arange(r)[None, :, None]
    columns = topology.indices[:, None, None].astype(np.int64) * c + np.arange(c)[None, None, :]
    weight[(rows >= shape[0]) | (columns >= shape[1])] = beyond
    return Block(shape, unit, topology, weight.reshape(-1))


def dense(block):
    """The matrix in float64, from SciPy's own idea of blocks."""
    return block.to_bsr().toarray().astype(np.float64)[: block.shape[0], : block.shape[1]]


def columns(n, n_batch, width, seed):
    return Tiles.of(np.random.default_rng(seed).standard_normal((n, n_batch)).astype(np.float32), width)


def empty(like, n):
    out = like.like(n)
    out.values.fill(np.nan)
    return out


def room(block):
    return WriteMap(np.full_like(block.weight, np.nan), np.full(block.shape[0], np.nan, np.float32), new_scratch)


@pytest.mark.parametrize("unit", UNITS, ids=str)
def test_products_are_those_of_the_dense_matrix(unit):
    for shape in SHAPES:
        block = make_block(shape, unit)
        matrix, bias = dense(block), np.linspace(-1, 1, shape[0], dtype=np.float32)
        for n_batch, width in BATCHES:
            source, delta = columns(shape[1], n_batch, width, 1), columns(shape[0], n_batch, width, 2)
            out, below, written = empty(source, shape[0]), empty(source, shape[1]), room(block)
            block.product(source, Epilogue(bias, SLOPE), out)
            sums = matrix @ source.matrix() + bias[:, None]
            np.testing.assert_allclose(out.matrix(), np.where(sums >= 0, sums, SLOPE * sums), atol=3e-5)
            block.transposed(delta, None, below)
            np.testing.assert_allclose(below.matrix(), matrix.T @ delta.matrix(), atol=3e-5)
            block.gradient(delta, source, written)
            exact = delta.matrix().astype(np.float64) @ source.matrix().T
            pairs = block.pairs()
            found = block.matrix(written.weight_gradient)
            np.testing.assert_allclose(found.data, exact[pairs.outs(), pairs.indices], atol=1e-4)
            np.testing.assert_allclose(written.bias_gradient, delta.matrix().sum(axis=1), atol=1e-4)


@pytest.mark.parametrize("unit", [(4, 4), (16, 16), (8, 32)], ids=str)
def test_weights_beyond_the_layer_are_not_read_and_get_no_gradient(unit):
    shape = (37, 43)
    clean, block = make_block(shape, unit), make_block(shape, unit, beyond=np.nan)
    is_beyond = np.isnan(block.weight)
    assert is_beyond.any()
    for n_batch, width in ((48, WIDTHS[-1]), (112, 32)):
        source, delta = columns(43, n_batch, width, 1), columns(37, n_batch, width, 2)
        found = []
        for each in (clean, block):
            out, below, written = empty(source, 37), empty(source, 43), room(block)
            each.product(source, Epilogue(np.zeros(37, np.float32), SLOPE), out)
            each.transposed_and_gradient(delta, source, None, written, below)
            found.append((out.values, below.values, written.weight_gradient))
            assert (written.weight_gradient[is_beyond] == 0).all()
        for one, other in zip(*found, strict=True):
            np.testing.assert_array_equal(one, other)
    alone = [np.empty(37, np.float32) for _ in range(2)]
    for each, out in zip((clean, block), alone, strict=True):
        each.product_alone(source.matrix()[:, 0].copy(), np.zeros(37, np.float32), SLOPE, out)
    np.testing.assert_array_equal(*alone)


@pytest.mark.parametrize("unit", [(4, 4), (16, 16), (32, 8)], ids=str)
def test_dropout_and_gates_are_those_of_unstructured_connections(unit):
    shape = (45, 33)
    block = make_block(shape, unit)
    matrix = block.to_csr()
    csr = Csr(Topology.from_matrix(matrix), matrix.data)
    bias, dropout = np.linspace(-1, 1, 45, dtype=np.float32), Dropout(0.3, np.uint64(7))
    for n_batch, width in ((48, 16), (128, WIDTHS[-1])):
        source, delta = columns(33, n_batch, width, 1), columns(45, n_batch, width, 2)
        below = np.random.default_rng(3).integers(0, 1 << 16, 33 * record_words(source.n_columns)).astype(np.uint16)
        found = []
        for each in (block, csr):
            out, record, deltas = (
                empty(source, 45),
                np.empty(45 * record_words(source.n_columns), np.uint16),
                empty(source, 33),
            )
            each.product(source, Epilogue(bias, SLOPE, dropout, record, 3, 5), out)
            each.transposed(delta, Gate(SLOPE, dropout.scale, below), deltas)
            found.append((out.values, record, deltas.values))
        for one, other in zip(*found, strict=True):
            np.testing.assert_allclose(one, other, atol=3e-5)


@pytest.mark.parametrize("unit", UNITS, ids=str)
def test_no_bit_depends_on_threads_or_tiles_or_on_being_alone(unit):
    shape, threads = (45, 70), numba.get_num_threads()
    block, bias = make_block(shape, unit), np.linspace(-1, 1, 45, dtype=np.float32)
    found = {}
    try:
        for n_threads in (1, threads):
            numba.set_num_threads(n_threads)
            for width in WIDTHS:
                source, delta = columns(70, 112, width, 1), columns(45, 112, width, 2)
                out, below, written = empty(source, 45), empty(source, 70), room(block)
                block.product(source, Epilogue(bias, SLOPE), out)
                block.transposed_and_gradient(delta, source, None, written, below)
                results = (out.matrix(), below.matrix())
                for one, other in zip(found.setdefault("products", results), results, strict=True):
                    np.testing.assert_array_equal(one, other)
                np.testing.assert_array_equal(found.setdefault(width, written.weight_gradient), written.weight_gradient)
    finally:
        numba.set_num_threads(threads)
    alone = np.empty(45, np.float32)
    for number in (0, 17, 111):
        block.product_alone(source.matrix()[:, number].copy(), bias, SLOPE, alone)
        np.testing.assert_array_equal(alone, out.matrix()[:, number])


def test_bfloat16_is_rounded_once():
    block, rng = make_block((37, 43), (8, 8)), np.random.default_rng(1)
    bias = np.zeros(37, np.float32)
    halves = (rng.standard_normal((43, 64)).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    whole = (halves.astype(np.uint32) << 16).view(np.float32)
    out, exact = Tiles.empty(37, 64, 32, np.uint16), Tiles.empty(37, 64, 32)
    block.product(Tiles.of(halves, 32), Epilogue(bias, SLOPE), out)
    block.product(Tiles.of(whole, 32), Epilogue(bias, SLOPE), exact)
    rounded = (out.matrix().astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_allclose(rounded, exact.matrix(), rtol=2**-8, atol=1e-30)
    delta = columns(37, 64, 32, 2)
    np.testing.assert_array_equal(
        block.gradient_of(delta, Tiles.of(halves, 32)), block.gradient_of(delta, Tiles.of(whole, 32))
    )


@pytest.mark.parametrize("unit", [(4, 4), (16, 8), (1, 32)], ids=str)
def test_absolute_sums_are_those_of_the_gradient(unit):
    block = make_block((37, 43), unit)
    for n_batch, width in ((48, WIDTHS[-1]), (112, 32)):
        source, delta = columns(43, n_batch, width, 1), columns(37, n_batch, width, 2)
        t, found = block.topology, np.full(block.topology.n_connections, np.nan, np.float32)
        absolute_sums(t.indptr, t.indices, unit, 37, delta.values, source.values, t.bounds, width, found)
        exact = np.abs(block.gradient_of(delta, source)).reshape(t.n_connections, -1).sum(axis=1)
        np.testing.assert_allclose(found, exact, rtol=1e-5)
