"""Averaging many arrays over the ranks in few reductions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from hpc_sparse.dtypes import VALUE, AnyArray
from hpc_sparse.network.bfloat16 import assign, widened
from hpc_sparse.parallel.collectives import all_reduce_sum
from hpc_sparse.parallel.context import ParallelContext

BUCKET_ITEMS = 8 * 1024 * 1024
"""Values that travel together (32 MiB): all of a usual network, and bounded memory for a huge one."""


def average_arrays(
    ctx: ParallelContext, arrays: Sequence[AnyArray], n_contributors: int, *, is_contributor: bool
) -> int:
    """Replace 1-D arrays by their mean over the contributing ranks, in place (collective).

    The arrays are packed into a bucket, which is reduced and unpacked whenever it is full. Small arrays share a
    reduction, large ones are cut. Every rank receives the same bits. Sums are float32; a mean that is stored in
    bfloat16 is rounded to nearest.

    Parameters
    ----------
    ctx : ParallelContext
    arrays : sequence of float32[n] or bfloat16
        Of the same sizes on every rank.
    n_contributors : int
        Ranks that contribute.
    is_contributor : bool
        Whether this rank does; else its values count as 0 and are overwritten.

    Returns
    -------
    int
        Bytes that this rank put into reductions.
    """
    n_items = sum(array.size for array in arrays)
    bucket = np.empty(min(n_items, BUCKET_ITEMS), VALUE)
    for pieces in _fill_buckets(arrays, bucket.size):
        parts = np.split(bucket, np.cumsum([piece.size for piece in pieces]))
        for piece, part in zip(pieces, parts[:-1], strict=True):
            if is_contributor:
                np.divide(widened(piece), VALUE(n_contributors), out=part)
            else:
                part.fill(0)
        all_reduce_sum(ctx, bucket[: bucket.size - parts[-1].size])
        for piece, part in zip(pieces, parts[:-1], strict=True):
            assign(piece, part)
    return n_items * VALUE().itemsize


def _fill_buckets(arrays: Sequence[AnyArray], capacity: int) -> Iterator[list[AnyArray]]:
    """Views of consecutive parts of ``arrays`` that together have ``capacity`` items, the last list maybe fewer."""
    pieces: list[AnyArray] = []
    room = capacity
    for array in arrays:
        start = 0
        while start < array.size:
            piece = array[start : start + room]
            pieces.append(piece)
            start += piece.size
            room -= piece.size
            if room == 0:
                yield pieces
                pieces, room = [], capacity
    if pieces:
        yield pieces
