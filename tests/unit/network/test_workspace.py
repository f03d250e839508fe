"""Buffers of a replica: aligned, apart from each other, reused for smaller batches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hpc_sparse.kernels.simd import machine
from hpc_sparse.network.network import Network

WIDTHS = [23, 40, 31, 1, 7]


def make_workspace(max_batch, width=machine.WIDTHS[-1], **options):
    network = Network.random(WIDTHS, [0.5] * 4, activation="relu", alpha=0, initializer="normal", seed=1)
    return replace(network, tile_width=width).make_workspace(max_batch, **options)


def records_of(workspace, n_columns):
    """What the hidden layers save; the output layer saves nothing."""
    *hidden, output = workspace.saved(n_columns)
    assert output == {}
    assert all(saved.keys() == {"record"} for saved in hidden)
    return [saved["record"] for saved in hidden]


@pytest.mark.parametrize("width", machine.WIDTHS)
@pytest.mark.parametrize("n_columns", [16, 48, 128, 240])
def test_every_buffer_and_every_row_of_a_tile_starts_on_a_cache_line(n_columns, width):
    workspace = make_workspace(240, width)
    buffers = [*workspace.activations(n_columns), workspace.output_delta(n_columns)]
    assert [buffer.n_neurons for buffer in buffers] == [*WIDTHS[1:], 7]
    for buffer in buffers:
        assert (buffer.n_columns, buffer.width) == (n_columns, width)
        assert buffer.values.dtype == np.float32
        assert buffer.values.flags.c_contiguous
        assert buffer.values.ctypes.data % 64 == 0
        for _, tile in buffer:
            assert np.shares_memory(tile, buffer.values)
            assert tile.flags.c_contiguous
            assert tile.ctypes.data % 64 == 0
            assert tile.strides[0] % 64 == 0


def test_records_are_two_bits_for_each_hidden_activation():
    records = records_of(make_workspace(37), 48)
    assert [record.shape for record in records] == [(40 * 6,), (31 * 6,), (6,)]
    assert all(record.dtype == np.uint16 for record in records)


def test_the_output_deltas_have_their_own_memory():
    workspace = make_workspace(128)
    everything = [*(each.values for each in workspace.activations(128)), *records_of(workspace, 128)]
    assert not any(np.shares_memory(workspace.output_delta(128).values, other) for other in everything)


def test_buffers_are_the_same_memory_each_time():
    workspace = make_workspace(128)
    large, small = (workspace.activations(n_columns)[1].values for n_columns in (128, 16))
    assert large.ctypes.data == small.ctypes.data


def test_deltas_take_the_place_of_activations():
    workspace = make_workspace(128)
    pairs = zip(workspace.activations(48)[:-1], workspace.deltas(48), strict=True)
    assert all(own.values.ctypes.data == other.values.ctypes.data for own, other in pairs)


@pytest.mark.parametrize("width", machine.WIDTHS)
def test_bytes_are_those_of_activations_records_and_output_deltas_and_of_what_is_scratch(width):
    n, n_hidden = sum(WIDTHS[1:]), sum(WIDTHS[1:-1])
    workspace = make_workspace(37, width)
    assert workspace.n_bytes == 48 * 4 * (n + 7) + 48 * n_hidden // 4
    before = workspace.n_bytes
    assert workspace.scratch(100).size == 100
    assert workspace.scratch(30).ctypes.data == workspace.scratch(100).ctypes.data
    assert workspace.n_bytes == before + 400


def test_short_activations_take_two_bytes_in_hidden_layers_only():
    n_hidden = sum(WIDTHS[1:-1])
    workspace = make_workspace(37, activations="bfloat16")
    assert [each.values.dtype for each in workspace.activations(48)] == [np.uint16] * 3 + [np.float32]
    assert make_workspace(37).n_bytes - workspace.n_bytes == 48 * 2 * n_hidden
