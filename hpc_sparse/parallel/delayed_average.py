"""An average of the replicas that is on its way while they train on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hpc_sparse.dtypes import VALUE, Float32Array
from hpc_sparse.parallel.collectives import PendingSum
from hpc_sparse.parallel.context import ParallelContext


class DelayedAverage:
    """Mean of arrays as they were, applied later.

    Training continues in the same arrays. Applying adds the difference between the mean and the values at the start, so
    that updates made meanwhile are kept. The result does not depend on the duration of the reduction. (Delayed
    averaging, as in DaSGD, Zhou et al. 2020.)

    Parameters
    ----------
    arrays : sequence of float32[n]
    own : float32[sum of n]
        Their values at the start.
    mean : PendingSum
        Their mean over the ranks.
    """

    def __init__(self, arrays: Sequence[Float32Array], own: Float32Array, mean: PendingSum) -> None:
        self._arrays, self._own, self._mean = list(arrays), own, mean

    @classmethod
    def start(
        cls, ctx: ParallelContext, arrays: Sequence[Float32Array], n_contributors: int, *, is_contributor: bool
    ) -> DelayedAverage:
        """The mean of arrays as they are now, on its way (collective).

        Parameters
        ----------
        ctx : ParallelContext
        arrays : sequence of float32[n]
            Of the same sizes on every rank.
        n_contributors : int
            Ranks that contribute.
        is_contributor : bool
            Whether this rank does; else its values count as 0.
        """
        own = np.concatenate(arrays)
        share = own / VALUE(n_contributors) if is_contributor else np.zeros_like(own)
        return cls(arrays, own, PendingSum.start(ctx, share))

    @property
    def n_bytes(self) -> int:
        """Bytes that this rank put into the reduction."""
        return self._own.nbytes

    def progress(self) -> None:
        """Give the MPI library a moment to move the reduction on; cheap, to be called often."""
        self._mean.progress()

    def take_in(self) -> None:
        """Wait for the mean and correct the arrays by it, in place (collective)."""
        correction = self._mean.wait()
        correction -= self._own
        start = 0
        for array in self._arrays:
            np.add(array, correction[start : start + array.size], out=array)
            start += array.size
