"""Cutting a range of work into contiguous parts: over ranks, threads and chunks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hpc_sparse.dtypes import OFFSET, Int64Array, PointerArray


@dataclass(frozen=True)
class Share:
    """One of ``count`` even contiguous parts of something: number ``index``, from 0 on; nothing if ``count`` is 0."""

    index: int
    count: int

    def __post_init__(self) -> None:
        assert 0 <= self.index < max(1, self.count), f"part {self.index} of {self.count}"

    @classmethod
    def all(cls) -> Share:
        """The share of a lone process: all of it."""
        return cls(0, 1)

    @classmethod
    def none(cls) -> Share:
        """The empty share."""
        return cls(0, 0)

    def range(self, n_items: int) -> tuple[int, int]:
        """``(start, stop)`` of this part of ``n_items``."""
        return own_range(n_items, self.count, self.index) if self.count else (0, 0)


def even_bounds(n_items: int, n_parts: int) -> Int64Array:
    """Bounds of ``n_parts`` contiguous parts whose sizes differ by at most one.

    Returns
    -------
    int64[n_parts + 1]
        Part ``p`` is the half-open range ``bounds[p]:bounds[p + 1]``; the first
        ``n_items % n_parts`` parts are the longer ones.
    """
    part = np.arange(n_parts + 1, dtype=OFFSET)
    size, longer = divmod(n_items, n_parts)
    return part * size + np.minimum(part, longer)


def own_range(n_items: int, n_parts: int, part: int) -> tuple[int, int]:
    """``(start, stop)`` of one part of :func:`even_bounds`."""
    size, longer = divmod(n_items, n_parts)
    start = part * size + min(part, longer)
    return start, start + size + (part < longer)


def balanced_bounds(indptr: PointerArray, n_parts: int) -> Int64Array:
    """Bounds of contiguous row blocks that hold about equally many connections.

    Parameters
    ----------
    indptr : int32 or int64[n_rows + 1]
        Start of each row's connections.
    n_parts : int
        Number of blocks wanted.

    Returns
    -------
    int64[n_parts + 1]
        Non-decreasing row numbers from 0 to ``n_rows``; blocks may be empty.

    Notes
    -----
    A row counts as its connections plus one, so that long runs of empty rows are shared out too.
    """
    n_rows = indptr.size - 1
    cost = indptr + np.arange(n_rows + 1, dtype=OFFSET)
    targets = even_bounds(int(cost[-1]), n_parts)
    bounds = np.searchsorted(cost, targets, side="left").astype(OFFSET)
    bounds[0], bounds[-1] = 0, n_rows
    return bounds


def chunk_ranges(start: int, stop: int, chunk: int) -> Iterator[tuple[int, int]]:
    """The half-open ranges of at most ``chunk`` items that cover ``start:stop`` in order."""
    for chunk_start in range(start, stop, chunk):
        yield chunk_start, min(chunk_start + chunk, stop)
