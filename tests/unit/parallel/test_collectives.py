"""Collective functions with one rank: they return at once, and errors stay what they are."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.errors import DataError
from hpc_sparse.parallel import collectives
from hpc_sparse.parallel.context import ParallelContext

CTX = ParallelContext.serial(threads=1)


def test_one_rank_reduces_and_gathers_to_what_it_has():
    array = np.arange(5, dtype=np.float32)
    collectives.all_reduce_sum(CTX, array)
    collectives.broadcast_array(CTX, array)
    collectives.barrier(CTX)
    assert array.tolist() == [0, 1, 2, 3, 4]
    assert collectives.all_gather_parts(CTX, array)[0] is array
    assert collectives.all_gather_counts(CTX, 7).tolist() == [7]
    assert collectives.gather_objects(CTX, "a") == ["a"]
    assert collectives.broadcast_object(CTX, "a") == "a"


def test_root_alone_runs_the_function_itself():
    assert collectives.on_root(CTX, lambda: 5) == 5
    with pytest.raises(ZeroDivisionError):
        collectives.on_root(CTX, lambda: 1 // 0)


@pytest.mark.parametrize("error", [DataError("features"), ZeroDivisionError("division")])
def test_errors_of_one_rank_pass_the_guard_as_they_are(error):
    with pytest.raises(type(error)) as caught, collectives.collective_errors(CTX, "reading"):
        raise error
    assert caught.value is error


def test_the_guard_lets_success_pass():
    with collectives.collective_errors(CTX, "reading"):
        pass


@pytest.mark.parametrize(("dtype", "n_items"), [(np.float32, 25), (np.int64, 12), (np.uint8, 100)])
def test_a_chunk_holds_as_many_items_as_fit(monkeypatch, dtype, n_items):
    monkeypatch.setattr(collectives, "CHUNK_BYTES", 100)
    assert collectives._chunk_items(np.empty(0, dtype)) == n_items


def test_a_chunk_holds_at_least_one_item(monkeypatch):
    monkeypatch.setattr(collectives, "CHUNK_BYTES", 4)
    assert collectives._chunk_items(np.empty(0, np.int64)) == 1
