"""A checksum that can be added up over any division of an array among ranks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hpc_sparse.dtypes import AnyArray
from hpc_sparse.kernels.digest import MODULUS, array_digest

WORD_SUM = "mixed_word_sum"
"""Attribute of every array that is stored now: the sum of its words, each scrambled together with its place."""

PLAIN_WORD_SUM = "word_sum"
"""In its place in old files (data sets of format version 1, checkpoints of 1 and 2): the sum of the words alone."""

WORD_BYTES = (1, 2, 4, 8)

RowSum = tuple[int, int, int]
"""(start, stop, sum) of the rows that a rank read."""


def word_sum(rows: AnyArray, first_row: int = 0) -> np.uint64:
    """Value of :data:`WORD_SUM` for a C-contiguous array, or the part of it by rows that begin at ``first_row``."""
    return np.uint64(array_digest(rows, first_row))


def plain_word_sum(rows: AnyArray) -> np.uint64:
    """Sum modulo 2^64 of a C-contiguous array's elements, taken as unsigned integers (text: its bytes)."""
    is_text = rows.dtype.kind == "S" or rows.dtype.itemsize not in WORD_BYTES
    word = np.dtype(np.uint8) if is_text else np.dtype(f"u{rows.dtype.itemsize}")
    return np.add.reduce(rows.reshape(-1).view(word), dtype=np.uint64)  # type: ignore[no-any-return]


def sum_matches(expected: int, n_rows: int, parts: Sequence[RowSum]) -> bool:
    """Whether the sums of the ranks' rows fit the stored sum; True also if they cannot be checked.

    Checked if a rank read every row, or if the ranks' rows together cover the array exactly once.
    """
    if any(own != expected for start, stop, own in parts if (start, stop) == (0, n_rows)):
        return False
    reached, total = 0, 0
    for start, stop, own in sorted(part for part in parts if part[0] < part[1] and part[:2] != (0, n_rows)):
        if start != reached:
            return True
        reached, total = stop, total + own
    return reached != n_rows or total % MODULUS == expected
