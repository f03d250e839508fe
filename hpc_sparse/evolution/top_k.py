"""The best of many scored positions, in bounded memory."""

from __future__ import annotations

import numpy as np

from hpc_sparse.dtypes import OFFSET, VALUE, Float32Array, Int64Array
from hpc_sparse.evolution.order_statistics import order_statistic, own_ties
from hpc_sparse.kernels.growth import largest_of_layer
from hpc_sparse.network.partitioned.exchange import ALONE, Exchange


def strongest(scores: Float32Array, keys: Int64Array, n_wanted: int, exchange: Exchange = ALONE) -> Int64Array:
    """Positions of the highest ``scores``, increasing; among equal ones those of the lowest ``keys``.

    Parameters
    ----------
    scores : float32[n]
        Not negative where there are several parts.
    keys : int64[n]
        Distinct. Those of a part come after those of the parts before it.
    n_wanted : int
        Of all parts together.
    exchange : Exchange
        Between the parts that have scores; collective.

    Returns
    -------
    int64[n chosen here]
        All parts have min(n, n_wanted) together.
    """
    n = exchange.total(scores.size)
    if n_wanted >= n:
        return np.arange(scores.size, dtype=OFFSET)
    if n_wanted == 0:
        return np.empty(0, OFFSET)
    if exchange.n_parts == 1:
        limit = np.partition(scores, n - n_wanted)[n - n_wanted]
    else:
        limit, _ = order_statistic(scores, n - n_wanted, exchange)
    is_chosen = scores > limit
    ties = np.flatnonzero(scores == limit)
    n_ties = own_ties(ties.size, n_wanted - exchange.total(int(np.count_nonzero(is_chosen))), exchange)
    is_chosen[ties[np.argsort(keys[ties])[:n_ties]]] = True
    return np.flatnonzero(is_chosen).astype(OFFSET)


class StrongestKeys:
    """Collector of the ``n_wanted`` best of any number of scored positions; holds at most twice as many.

    The best have the highest scores, and among equal scores the lowest keys, whatever the order of arrival.

    Attributes
    ----------
    limit : float32
        A score below it cannot come in any more.
    """

    def __init__(self, n_wanted: int) -> None:
        self.limit = VALUE(0)
        self._n_wanted, self._n = n_wanted, 0
        self._scores, self._keys = np.empty(2 * n_wanted, VALUE), np.empty(2 * n_wanted, OFFSET)

    def add(self, scores: Float32Array, row_keys: Int64Array, columns: Int64Array) -> None:
        """Take in a tile.

        Parameters
        ----------
        scores : float32[at least n_rows, at least n_columns]
            Negative where there is nothing to take.
        row_keys : int64[n_rows]
        columns : int64[n_columns]
            The key of a position is the sum of both.
        """
        if not self._n_wanted:
            return
        done, n_positions = 0, row_keys.size * columns.size
        while done < n_positions:
            self._n, done = largest_of_layer.collect(
                scores, row_keys, columns, done, self.limit, self._n, self._scores, self._keys
            )
            if done < n_positions:
                self._condense()

    def keys(self, exchange: Exchange = ALONE) -> Int64Array:
        """The keys of the best so far, increasing; fewer than wanted only if fewer have come.

        Where other parts have collectors, those of the best of all that came here (collective).
        """
        self._condense()
        keys = self._keys[: self._n]
        if exchange.n_parts > 1:
            keys = keys[strongest(self._scores[: self._n], keys, self._n_wanted, exchange)]
        return np.sort(keys)

    def _condense(self) -> None:
        best = strongest(self._scores[: self._n], self._keys[: self._n], self._n_wanted)
        self._scores[: best.size], self._keys[: best.size] = self._scores[best], self._keys[best]
        self._n = best.size
        if self._n and self._n == self._n_wanted:
            self.limit = self._scores[: self._n].min()
