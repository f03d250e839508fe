"""Counting numbers by some of their bits."""

from __future__ import annotations

from numba import njit, uint32


@njit(cache=True, nogil=True)
def count_digits(bits, prefix, n_known, n_bits, counts):
    """Count the values of the ``n_bits`` bits behind the ``n_known`` highest, among numbers that begin alike.

    Parameters
    ----------
    bits : uint32[n]
    prefix : uint32
        The first ``n_known`` bits, as a number.
    n_known, n_bits : int
        Together at most 32.
    counts : int64[2^n_bits]
        Added to.
    """
    shift = uint32(32 - n_known - n_bits)
    mask = uint32((1 << n_bits) - 1)
    for k in range(bits.size):
        value = bits[k] >> shift
        if n_known == 0 or (value >> uint32(n_bits)) == prefix:
            counts[value & mask] += 1
