"""Buffers of a replica: aligned, apart from each other, reused for smaller batches."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.network.network import Network
from hpc_sparse.network.workspace import Workspace

WIDTHS = [23, 40, 31, 1, 7]


def make_workspace(max_batch, **options):
    network = Network.random(WIDTHS, [0.5] * 4, activation="relu", alpha=0, initializer="normal", seed=1)
    return Workspace(network.layers, max_batch, **options)


def records_of(workspace, stride):
    """What the hidden layers save; the output layer saves nothing."""
    *hidden, output = workspace.saved(stride)
    assert output == {}
    assert all(saved.keys() == {"record"} for saved in hidden)
    return [saved["record"] for saved in hidden]


@pytest.mark.parametrize("stride", [16, 48, 128])
def test_every_buffer_and_row_starts_on_a_cache_line(stride):
    workspace = make_workspace(128)
    buffers = [*workspace.activations(stride), workspace.output_delta(stride)]
    assert [buffer.shape[0] for buffer in buffers] == [*WIDTHS[1:], 7]
    for buffer in buffers:
        assert buffer.shape[1] == stride
        assert buffer.dtype == np.float32
        assert buffer.flags.c_contiguous
        assert buffer.ctypes.data % 64 == 0
        assert buffer.strides[0] % 64 == 0


def test_records_are_two_bits_for_each_hidden_activation():
    records = records_of(make_workspace(37), 48)
    assert [record.shape for record in records] == [(40, 6), (31, 6), (1, 6)]
    assert all(record.dtype == np.uint16 for record in records)


def test_the_output_deltas_have_their_own_memory():
    workspace = make_workspace(128)
    everything = [*workspace.activations(128), *records_of(workspace, 128)]
    assert not any(np.shares_memory(workspace.output_delta(128), other) for other in everything)


def test_buffers_are_the_same_memory_each_time():
    workspace = make_workspace(128)
    assert workspace.activations(128)[1].ctypes.data == workspace.activations(16)[1].ctypes.data


def test_bytes_are_those_of_activations_records_and_output_deltas():
    n, n_hidden = sum(WIDTHS[1:]), sum(WIDTHS[1:-1])
    assert make_workspace(37).n_bytes == 48 * 4 * (n + 7) + 48 * n_hidden // 4


def test_short_activations_take_two_bytes_in_hidden_layers_only():
    n_hidden = sum(WIDTHS[1:-1])
    workspace = make_workspace(37, activations="bfloat16")
    assert [array.dtype for array in workspace.activations(48)] == [np.uint16] * 3 + [np.float32]
    assert make_workspace(37).n_bytes - workspace.n_bytes == 48 * 2 * n_hidden
