"""What the MPI tests share."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest

from hpc_sparse.parallel.collectives import barrier
from hpc_sparse.parallel.context import ParallelContext


@pytest.fixture
def ctx(comm: Any) -> Iterator[ParallelContext]:
    """All ranks of the test, which leave it together."""
    context = ParallelContext.from_comm(comm, threads=1)
    yield context
    gc.collect()
    barrier(context)
