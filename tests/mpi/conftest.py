"""What the MPI tests share."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hpc_sparse.errors import HpcSparseError
from hpc_sparse.parallel.collectives import barrier, gather_objects
from hpc_sparse.parallel.context import ParallelContext


@pytest.fixture
def ctx(comm: Any) -> Iterator[ParallelContext]:
    """All ranks of the test, which leave it together."""
    context = ParallelContext.from_comm(comm, threads=1)
    yield context
    gc.collect()
    barrier(context)


@pytest.fixture
def same_error_everywhere(ctx: ParallelContext) -> Callable[[type[HpcSparseError], Callable[[], Any]], str]:
    """Run what must fail with the same error on all ranks; the error's type and message."""

    def run(error: type[HpcSparseError], action: Callable[[], Any]) -> str:
        message = "no error"
        try:
            action()
        except error as caught:
            message = f"{type(caught).__name__}: {caught}"
        messages = gather_objects(ctx, message)
        assert len(set(messages)) == 1, messages
        assert message.startswith(error.__name__), message
        return message

    return run
