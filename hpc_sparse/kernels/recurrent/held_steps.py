"""Steps after the end of a shorter sequence: its state stays, and derivatives go through them unchanged."""

from __future__ import annotations

import numpy as np
from numba import njit

from hpc_sparse.kernels.simd.columns import width_at


@njit(cache=True, nogil=True)
def hold_states(lengths, step, before, n, width, after):
    """Replace the state after ``step`` by that before it where the sequence has ended.

    Parameters
    ----------
    lengths : int32[n_columns]
        Steps of each sequence.
    step : int
        Counted from 0.
    before, after : float32[n * n_columns] in tiles
    n, width : int
        Neurons; width of the tiles.
    """
    n_columns, column = lengths.size, 0
    while column < n_columns:
        own = width_at(column, n_columns, width)
        for c in range(own):
            if step >= lengths[column + c]:
                for i in range(column * n + c, (column + own) * n, own):
                    after[i] = before[i]
        column += own


@njit(cache=True, nogil=True)
def hold_deltas(lengths, step, above, through, carried, n, width, held):
    """Take the derivatives of a sequence that has ended past ``step``, and give them back at its last step.

    Parameters
    ----------
    lengths, step, n, width
        As of :func:`hold_states`.
    above : float32[n * n_columns] in tiles, or empty
    through, carried : float32[n * n_columns] in tiles
        What adds up to the derivative by the state after the step; set to 0 where it is held.
    held : float32[n * n_columns] in tiles
        Derivatives that are on their way to the last step.
    """
    n_columns, column = lengths.size, 0
    while column < n_columns:
        own = width_at(column, n_columns, width)
        for c in range(own):
            if step >= lengths[column + c]:
                for i in range(column * n + c, (column + own) * n, own):
                    held[i] += through[i] + carried[i]
                    through[i], carried[i] = np.float32(0), np.float32(0)
                    if above.size:
                        held[i] += above[i]
                        above[i] = np.float32(0)
            elif step == lengths[column + c] - 1:
                for i in range(column * n + c, (column + own) * n, own):
                    through[i] += held[i]
        column += own
