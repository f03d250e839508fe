"""Backward kernel against the transposed SciPy matrix in float64."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.kernels.backward import backward
from hpc_sparse.kernels.forward import NEGATIVE, POSITIVE


def run_backward(layer, delta, record, slope, scale):
    t = layer.topology.transposed
    out = np.full((layer.topology.shape[1], delta.shape[1]), np.nan, np.float32)
    backward(
        t.indptr, t.outs, t.position, layer.weight, delta, record, np.float32(slope), np.float32(scale), t.bounds, out
    )
    return out


def random_record(n, stride):
    return np.random.default_rng(5).integers(0, 3, (n, stride)).astype(np.uint8)


@pytest.mark.parametrize("stride", [16, 32, 96, 112, 128, 144, 240])
@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (1, 40), (43, 37), (150, 96)])
def test_deltas_are_those_of_the_transposed_product(make_connections, make_columns, shape, stride):
    layer, delta = make_connections(*shape), make_columns(shape[0], stride)
    record = random_record(shape[1], stride)
    slope, scale = -0.6, 1.25
    factor = np.select([record == POSITIVE, record == NEGATIVE], [scale, slope * scale], 0.0)
    expected = (layer.matrix.T @ delta.astype(np.float64)) * factor
    size = abs(layer.matrix).T @ np.abs(delta)
    n_terms = np.diff(layer.topology.transposed.indptr)[:, None] + 3
    out = run_backward(layer, delta, record, slope, scale)
    assert (np.abs(out - expected) <= 3e-7 * n_terms * size).all()


def test_columns_without_delta_stay_zero(make_connections, make_columns):
    layer, delta = make_connections(43, 37), make_columns(43, 5)
    out = run_backward(layer, delta, np.ones((37, 16), np.uint8), 0.5, 1.0)
    assert np.abs(out[:, :5]).max() > 0
    assert (out[:, 5:] == 0).all()


def test_the_number_of_threads_changes_no_bit(make_connections, make_columns, on_every_thread_count):
    layer, delta = make_connections(150, 96), make_columns(150, 144)
    record = random_record(96, 144)
    alone, together = on_every_thread_count(lambda: run_backward(layer, delta, record, 0.5, 2.0))
    assert alone.tobytes() == together.tobytes()
