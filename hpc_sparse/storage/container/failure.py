"""Failures of an open container: of all ranks together, or of one rank alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from hpc_sparse.errors import HpcSparseError
from hpc_sparse.parallel.context import ParallelContext

LEFT_OPEN: list[object] = []
"""Files of ranks that failed alone: closing may be collective and would wait for the others."""


class ContainerFailure:
    """Record of whether a container failed on all ranks together, so that all of them close it.

    Attributes
    ----------
    is_shared : bool
        Whether it did.
    """

    def __init__(self, ctx: ParallelContext) -> None:
        self.is_shared = False
        self._ctx = ctx

    @contextmanager
    def agreed(self) -> Iterator[None]:
        """Note an error of work that fails on all ranks together, if at all."""
        try:
            yield
        except HpcSparseError:
            self.is_shared = True
            raise

    def let_go(self, file: object, close: Callable[[], None]) -> None:
        """Close a file if all ranks do; else keep it open until the process ends. Needs no other rank."""
        if self.is_shared or self._ctx.size == 1:
            with suppress(Exception):
                close()
        else:
            LEFT_OPEN.append(file)
