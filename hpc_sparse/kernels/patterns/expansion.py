"""Numbers of neurons from one-byte numbers within groups, some rows at a time.

Kernels expand the rows of a panel into a buffer that stays in the first cache, then run the row loops of
:mod:`hpc_sparse.kernels.simd.row_loops` over it. So the sums are those of unstructured connections, to the bit.
"""

from __future__ import annotations

from numba import njit

PANEL = 4096
"""Connections that are expanded at a time, or one row if it has more. Measured."""

GROUP = 256
"""Output neurons of a group of the transposed index, in which a byte numbers them."""


@njit(inline="always")
def expand_rows(position, base, first, n_rows, ins):
    """``ins[k]``: input neuron of connection ``k`` of ``n_rows`` rows from row ``first`` on.

    ``position`` uint8[nnz] is the number within its group, ``base`` int32[fan_in] the first input of each group.
    """
    fan_in = base.size
    for row in range(n_rows):
        start, at = (first + row) * fan_in, row * fan_in
        for j in range(fan_in):
            ins[at + j] = base[j] + position[start + j]


@njit(inline="always")
def panel_stop(starts, first, stop):
    """The row after those from ``first`` on, at least one, whose connections make a panel."""
    row = first + 1
    while row < stop and starts[row] - starts[first] < PANEL:
        row += 1
    return row


@njit(inline="always")
def expand_outs(outs, counts, starts, n_groups, first, stop, found):
    """``found[k]``: output neuron of connection ``k`` of the input neurons from ``first`` to ``stop``."""
    k, begin = starts[first], starts[first]
    for row in range(first, stop):
        for group in range(n_groups):
            for _ in range(counts[row * n_groups + group]):
                found[k - begin] = group * GROUP + outs[k]
                k += 1


@njit(inline="always")
def expand_places(slots, starts, outs, n, m, fan_in, first, stop, found):
    """``found[k]``: place of connection ``k``, expanded as in :func:`expand_outs`, among the weights.

    ``slots`` uint8[nnz] is its number among the connections of its output neuron to the group.
    """
    begin = starts[first]
    for row in range(first, stop):
        offset = row // m * n
        for k in range(starts[row], starts[row + 1]):
            found[k - begin] = found.dtype.type(outs[k - begin]) * fan_in + offset + slots[k]
