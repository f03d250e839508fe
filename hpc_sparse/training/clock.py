"""Clock of the totals of an epoch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def clock(totals: object, name: str) -> Iterator[None]:
    """Add the seconds that the body takes to the attribute ``name`` of ``totals``, unless it fails."""
    started = time.perf_counter()
    yield
    setattr(totals, name, getattr(totals, name) + time.perf_counter() - started)
