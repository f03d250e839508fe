"""The best of many scored positions, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence

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
    if (found := _limit([scores], n_wanted, exchange)) is None:
        return np.arange(scores.size if n_wanted else 0, dtype=OFFSET)
    limit, (n_ties,) = found
    is_chosen = scores > limit
    ties = np.flatnonzero(scores == limit)
    is_chosen[ties[np.argsort(keys[ties])[:n_ties]]] = True
    return np.flatnonzero(is_chosen).astype(OFFSET)


def strongest_of(scores: Sequence[Float32Array], n_wanted: int, exchange: Exchange = ALONE) -> list[Int64Array]:
    """Of each layer, positions of the highest ``scores`` of all layers, increasing.

    Equal ones are taken from the first layer on, and there in their order. Parameters as of :func:`strongest`.
    """
    if (found := _limit(scores, n_wanted, exchange)) is None:
        return [np.arange(each.size if n_wanted else 0, dtype=OFFSET) for each in scores]
    limit, n_ties = found
    chosen = list[Int64Array]()
    for each, n in zip(scores, n_ties, strict=True):
        is_chosen = each > limit
        is_chosen[np.flatnonzero(each == limit)[:n]] = True
        chosen.append(np.flatnonzero(is_chosen).astype(OFFSET))
    return chosen


def _limit(
    scores: Sequence[Float32Array], n_wanted: int, exchange: Exchange
) -> tuple[np.float32, Sequence[int]] | None:
    """The lowest of the wanted scores, and how many here are equal to it, by layer; None if all or none are."""
    n = exchange.total(sum(each.size for each in scores))
    if n_wanted == 0 or n_wanted >= n:
        return None
    together = scores[0] if len(scores) == 1 else np.concatenate(scores)
    if exchange.n_parts == 1:
        limit = np.partition(together, n - n_wanted)[n - n_wanted]
    else:
        limit, _ = order_statistic(together, n - n_wanted, exchange)
    n_above = exchange.total(int(np.count_nonzero(together > limit)))
    return limit, own_ties([int(np.count_nonzero(each == limit)) for each in scores], n_wanted - n_above, exchange)


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
