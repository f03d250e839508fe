"""Buffers of a replica: aligned, apart from each other, reused for smaller batches."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.network.network import Workspace

WIDTHS = [23, 40, 31, 1, 7]


@pytest.mark.parametrize("stride", [16, 48, 128])
def test_every_buffer_and_row_starts_on_a_cache_line(stride):
    workspace = Workspace(WIDTHS, 128)
    buffers = [*workspace.activations(stride), workspace.output_delta(stride)]
    assert [buffer.shape[0] for buffer in buffers] == [*WIDTHS[1:], 7]
    for buffer in buffers:
        assert buffer.shape[1] == stride
        assert buffer.dtype == np.float32
        assert buffer.flags.c_contiguous
        assert buffer.ctypes.data % 64 == 0
        assert buffer.strides[0] % 64 == 0


def test_records_are_two_bits_for_each_hidden_activation():
    records = Workspace(WIDTHS, 37).records(48)
    assert [record.shape for record in records] == [(40, 6), (31, 6), (1, 6)]
    assert all(record.dtype == np.uint16 for record in records)


def test_the_output_deltas_have_their_own_memory():
    workspace = Workspace(WIDTHS, 128)
    everything = [*workspace.activations(128), *workspace.records(128)]
    assert not any(np.shares_memory(workspace.output_delta(128), other) for other in everything)


def test_buffers_are_the_same_memory_each_time():
    workspace = Workspace(WIDTHS, 128)
    assert workspace.activations(128)[1].ctypes.data == workspace.activations(16)[1].ctypes.data


def test_bytes_are_those_of_activations_records_and_output_deltas():
    n, n_hidden = sum(WIDTHS[1:]), sum(WIDTHS[1:-1])
    assert Workspace(WIDTHS, 37).n_bytes == 48 * 4 * (n + 7) + 48 * n_hidden // 4


def test_short_activations_take_two_bytes_in_hidden_layers_only():
    n_hidden = sum(WIDTHS[1:-1])
    workspace = Workspace(WIDTHS, 37, activations="bfloat16")
    assert [array.dtype for array in workspace.activations(48)] == [np.uint16] * 3 + [np.float32]
    assert Workspace(WIDTHS, 37).n_bytes - workspace.n_bytes == 48 * 2 * n_hidden
