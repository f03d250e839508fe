"""A 64-bit digest of an array that adds up over disjoint parts of it, at the speed of memory.

The digest is a sum modulo 2^64 of one scrambled number per machine word, made of the word and its place. A changed word
always changes it. Words that swap places, or changes that would cancel in a plain sum, leave it unchanged with a
probability of about 2^-64. However an array is divided, the digests of its parts add up to that of the whole.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from hpc_sparse.dtypes import AnyArray
from hpc_sparse.kernels.hashing import GOLDEN

MODULUS = 1 << 64

_MULTIPLIER = np.uint64(0xBF58476D1CE4E5B9)
_HALF = np.uint64(32)
_WORD_BYTES = 4


def array_digest(rows: AnyArray, first_row: int = 0) -> int:
    """Digest of a C-contiguous array, or of the rows of one from ``first_row`` on.

    Parameters
    ----------
    rows : (n_rows, ...)
        Of any dtype: taken as 4-byte words where each element is a whole number of them, else as bytes.
    first_row : int
        Row of the whole array that ``rows`` begin with.

    Returns
    -------
    int
        From 0 to 2^64 - 1; 0 for no rows.
    """
    if rows.size == 0:
        return 0
    word = np.dtype(np.uint8 if rows.dtype.itemsize % _WORD_BYTES or rows.dtype.kind == "S" else np.uint32)
    words = np.frombuffer(rows, word)
    return int(sum_words(words, np.uint64(first_row * (words.size // rows.shape[0]))))


@njit(cache=True, nogil=True)
def sum_words(words, first):
    """Sum of the scrambled ``words`` (uint8[n] or uint32[n]), which begin at place ``first`` (uint64) of an array."""
    # One thread is enough: it is faster than memory. Integers add up to the same in any order.
    total = np.uint64(0)
    for i in range(words.size):
        number = (np.uint64(words[i]) ^ (first + np.uint64(i)) * GOLDEN) * _MULTIPLIER
        total += number ^ (number >> _HALF)
    return total
