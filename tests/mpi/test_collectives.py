"""Collective operations: chunked as a whole, and errors that reach every rank."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

from hpc_sparse.errors import ConfigError, RankError
from hpc_sparse.parallel import collectives
from hpc_sparse.parallel.collectives import (
    PendingMax,
    all_gather_counts,
    all_gather_parts,
    all_reduce_sum,
    broadcast_array,
    collective_errors,
    gather_objects,
    on_root,
)
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.parallel.transfer import receive_array, send_array

CHUNK_SIZES = (8, 20, 1 << 20)
N_ITEMS = 1013


def own_values(ctx: ParallelContext, dtype: type) -> Any:
    return (np.random.default_rng(ctx.rank).normal(size=N_ITEMS) * 1000).astype(dtype)


@pytest.mark.mpi(ranks=[1, 2, 3, 4])
def test_chunks_of_any_size_carry_the_same(ctx: ParallelContext, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = [0, 17, 0, 100]
    for dtype in (np.float32, np.int64):
        values = [np.concatenate(gather_objects(ctx, own_values(ctx, dtype)[None]))][0]
        for chunk_bytes in CHUNK_SIZES:
            monkeypatch.setattr(collectives, "CHUNK_BYTES", chunk_bytes)
            total = own_values(ctx, dtype)
            all_reduce_sum(ctx, total)
            np.testing.assert_allclose(total, values.sum(axis=0, dtype=np.float64), rtol=1e-5, atol=1e-3)
            assert len(set(gather_objects(ctx, total.tobytes()))) == 1

            received = own_values(ctx, dtype)
            broadcast_array(ctx, received)
            np.testing.assert_array_equal(received, values[0])

            parts = all_gather_parts(ctx, own_values(ctx, dtype)[: lengths[ctx.rank]])
            assert [part.size for part in parts] == lengths[: ctx.size]
            for part, whole in zip(parts, values, strict=True):
                np.testing.assert_array_equal(part, whole[: part.size])
    assert all_gather_counts(ctx, 1 << (40 + ctx.rank)).tolist() == [1 << (40 + rank) for rank in range(ctx.size)]


@pytest.mark.mpi(ranks=[3])
def test_arrays_sent_in_chunks_arrive(ctx: ParallelContext, monkeypatch: pytest.MonkeyPatch) -> None:
    for chunk_bytes in CHUNK_SIZES:
        monkeypatch.setattr(collectives, "CHUNK_BYTES", chunk_bytes)
        values = np.arange(N_ITEMS, dtype=np.float32)
        if ctx.rank == 2:
            send_array(ctx, values, 0)
        elif ctx.is_root:
            received = np.empty_like(values)
            receive_array(ctx, received, 2)
            np.testing.assert_array_equal(received, values)


@pytest.mark.mpi(ranks=[3])
def test_roots_result_or_error_reaches_all_ranks(ctx: ParallelContext) -> None:
    def fail(error: Exception) -> None:
        raise error

    assert on_root(ctx, lambda: ctx.rank) == 0
    with pytest.raises(ConfigError, match=r"^a.b = 1: wrong$"):
        on_root(ctx, lambda: fail(ConfigError("a.b = 1: wrong")))
    with pytest.raises(RankError, match=r"rank 0 of 3: ZeroDivisionError: oh"):
        on_root(ctx, lambda: fail(ZeroDivisionError("oh")))


def fail_on(ctx: ParallelContext, failing: set[int], error: Exception) -> None:
    """Guarded work that raises ``error`` on some ranks."""
    with collective_errors(ctx, "counting"):
        if ctx.rank in failing:
            raise error


@pytest.mark.mpi(ranks=[3])
def test_an_error_of_any_rank_is_raised_on_all_and_names_the_rank(ctx: ParallelContext) -> None:
    for failing in ({0}, {2}, {1, 2}):
        with pytest.raises(RankError, match=rf"counting: rank {min(failing)} of 3: KeyError: 'a'"):
            fail_on(ctx, failing, KeyError("a"))
        with pytest.raises(ConfigError, match=rf"^wrong on {min(failing)}$"):
            fail_on(ctx, failing, ConfigError(f"wrong on {ctx.rank}"))
    fail_on(ctx, set(), KeyError("a"))


@pytest.mark.mpi(ranks=[2])
def test_numbers_on_their_way_stay_in_memory_until_they_are_there(ctx: ParallelContext) -> None:
    # MPI writes to them whether anybody waits or not.
    pending = weakref.ref(PendingMax.start(ctx, [ctx.rank, -ctx.rank]))
    gc.collect()
    held = pending()
    assert held is not None
    assert held.wait() == (1.0, 0.0)
    del held
    gc.collect()
    assert pending() is None
