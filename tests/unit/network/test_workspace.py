"""Buffers of a replica: aligned, apart from each other, reused for smaller batches."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from hpc_sparse.network.mlp import Workspace

WIDTHS = [23, 40, 31, 1, 7]


@pytest.mark.parametrize("stride", [16, 48, 128])
def test_every_buffer_and_row_starts_on_a_cache_line(stride):
    workspace = Workspace(WIDTHS, 128)
    buffers = [*workspace.activations(stride), *(workspace.delta(layer, stride) for layer in range(4))]
    assert [buffer.shape[0] for buffer in buffers] == WIDTHS[1:] * 2
    for buffer in buffers:
        assert buffer.shape[1] == stride
        assert buffer.dtype == np.float32
        assert buffer.flags.c_contiguous
        assert buffer.ctypes.data % 64 == 0
        assert buffer.strides[0] % 64 == 0


def test_records_are_one_byte_for_each_hidden_activation():
    records = Workspace(WIDTHS, 37).records(48)
    assert [record.shape for record in records] == [(40, 48), (31, 48), (1, 48)]
    assert all(record.dtype == np.uint8 for record in records)


def test_deltas_of_neighbouring_layers_share_no_memory():
    workspace = Workspace(WIDTHS, 128)
    deltas = [workspace.delta(layer, 128) for layer in range(4)]
    everything = [*workspace.activations(128), *workspace.records(128)]
    for below, above in pairwise(deltas):
        assert not np.shares_memory(below, above)
    for delta in deltas:
        assert not any(np.shares_memory(delta, other) for other in everything)


def test_buffers_are_the_same_memory_each_time():
    workspace = Workspace(WIDTHS, 128)
    assert workspace.activations(128)[1].ctypes.data == workspace.activations(16)[1].ctypes.data


def test_bytes_are_those_of_activations_records_and_two_deltas():
    n, n_hidden = sum(WIDTHS[1:]), sum(WIDTHS[1:-1])
    assert Workspace(WIDTHS, 37).n_bytes == 48 * (4 * n + n_hidden + 2 * 4 * 40)
