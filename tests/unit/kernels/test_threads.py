"""Threads, caches and buffers of the kernels."""

from __future__ import annotations

from contextlib import suppress

import numba
import numpy as np
import pytest

from hpc_sparse import kernels
from hpc_sparse.errors import MachineError
from hpc_sparse.kernels import threads
from hpc_sparse.kernels.simd.buffers import CACHE_LINE, aligned_empty, padded_columns
from hpc_sparse.kernels.simd.machine import LANES, PADDING, WIDTHS
from hpc_sparse.kernels.threads import at_most_threads, threading_layer, use_threads


def test_more_threads_than_cores_are_refused():
    n = numba.config.NUMBA_NUM_THREADS + 1
    with pytest.raises(MachineError, match=rf"runtime.threads = {n}: this process may use {n - 1} cores"):
        use_threads(n)


def test_the_threading_layer_has_a_name():
    assert threading_layer() in {"tbb", "omp", "workqueue"}


def test_a_limit_of_threads_ends_with_its_block():
    before = numba.get_num_threads()
    with suppress(ZeroDivisionError), at_most_threads(1) as n_threads:
        assert n_threads == numba.get_num_threads() == 1
        raise ZeroDivisionError
    assert numba.get_num_threads() == before
    with at_most_threads(1_000_000) as n_threads:
        assert n_threads == numba.config.NUMBA_NUM_THREADS
    with at_most_threads(None) as n_threads:
        assert n_threads == before


def test_a_forked_process_whose_threads_are_lost_says_so(monkeypatch):
    monkeypatch.setattr(threads._fork, "failure", "kernels cannot run in a process that was forked")
    with pytest.raises(MachineError, match="forked"), at_most_threads(1):
        pass
    with pytest.raises(MachineError, match="forked"):
        use_threads(1)


def test_a_forked_process_computes_with_one_thread(monkeypatch):
    monkeypatch.setattr(threads._fork, "most_threads", 1)
    with at_most_threads(None) as n_threads:
        assert n_threads == 1


def test_the_cache_folder_is_named_after_the_source(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = kernels.cache_folder()
    assert folder.parent == tmp_path / "hpc_sparse"
    assert folder.name.startswith("kernels-")
    assert not folder.exists()


@pytest.mark.parametrize("shape", [1, 17, (3, 5), (16, 96)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_buffers_start_on_a_cache_line(shape, dtype):
    buffer = aligned_empty(shape, dtype)
    assert buffer.ctypes.data % CACHE_LINE == 0
    assert buffer.shape == (shape if isinstance(shape, tuple) else (shape,))
    assert buffer.dtype == dtype
    buffer.fill(1)


def test_columns_are_padded_to_whole_vectors():
    assert [padded_columns(n) for n in (1, 16, 17, 128, 129)] == [16, 16, 32, 128, 144]
    assert PADDING % LANES == 0
    assert all(width % PADDING == 0 for width in WIDTHS)
