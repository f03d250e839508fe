"""Choosing connections to drop and positions to grow, exactly, without sorting and without a list of free positions.

Where an exchange is given, arrays hold what one part of a network has of the rows of a layer. The choice is the same as
if all rows were here, and what is said of numbers of connections holds for all parts together. Each function is then
collective.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hpc_sparse.dtypes import BoolArray, Float32Array, Int64Array
from hpc_sparse.evolution.order_statistics import order_statistic, own_ties
from hpc_sparse.kernels.growth import connectivity
from hpc_sparse.network.connections.topology import Topology, TopologyChange
from hpc_sparse.network.distinct_numbers import distinct_numbers
from hpc_sparse.network.partitioned.exchange import ALONE, Exchange
from hpc_sparse.network.partitioned.random_numbers import own_distinct_numbers


def keep_strongest(
    weight: Float32Array, n_drop_positive: int, n_drop_negative: int, exchange: Exchange = ALONE
) -> BoolArray:
    """Mark the weights that stay when, of each sign, those closest to zero are dropped.

    Parameters
    ----------
    weight : float32[n]
        A weight of exactly 0 counts as positive. Among equal weights the first are dropped.
    n_drop_positive, n_drop_negative : int
        At most as many as there are of that sign.
    exchange : Exchange

    Returns
    -------
    bool[n]
    """
    is_kept = np.empty(weight.size, np.bool_)
    positive_limit, (positive_ties,) = _limit([weight[weight >= 0]], n_drop_positive, exchange)
    negative_limit, (negative_ties,) = _limit([-weight[weight < 0]], n_drop_negative, exchange)
    n_kept = connectivity.mark_kept(weight, positive_limit, positive_ties, -negative_limit, negative_ties, is_kept)
    n_stay = weight.size - n_drop_positive - n_drop_negative
    assert exchange.n_parts > 1 or n_kept == n_stay, (n_kept, n_stay)
    return is_kept


def keep_largest(weight: Float32Array, n_drop: int, exchange: Exchange = ALONE) -> BoolArray:
    """Mark the weights that stay when the ``n_drop`` closest to zero, of either sign, are dropped: bool[n].

    Among equally large ones the first are dropped.
    """
    [is_kept] = keep_largest_of([weight], n_drop, exchange)
    return is_kept


def keep_largest_of(weights: Sequence[Float32Array], n_drop: int, exchange: Exchange = ALONE) -> list[BoolArray]:
    """As :func:`keep_largest` of the weights of several layers together, marked layer by layer."""
    limit, n_ties = _limit([np.abs(weight) for weight in weights], n_drop, exchange)
    kept, n_kept = [np.empty(weight.size, np.bool_) for weight in weights], 0
    for weight, n, is_kept in zip(weights, n_ties, kept, strict=True):
        n_kept += connectivity.mark_kept(np.abs(weight), limit, n, np.float32(0), 0, is_kept)
    n_stay = sum(weight.size for weight in weights) - n_drop
    assert exchange.n_parts > 1 or n_kept == n_stay, (n_kept, n_stay)
    return kept


def resparsify(weight: Float32Array, n_target: int) -> BoolArray:
    """Mark the ``n_target`` weights that stay: of each sign the same share closest to zero is dropped.

    Weights of exactly 0 (connections that no replica has any more) go first. Rounding is made up for by the
    negative weights, so that the count is exact. Source: phase 2 of WASAP-SGD (Curci et al. 2021).
    """
    n_drop = weight.size - n_target
    n_zero = int(np.count_nonzero(weight == 0))
    n_negative = int(np.count_nonzero(weight < 0))
    n_positive = weight.size - n_zero - n_negative
    n_rest = max(0, n_drop - n_zero)
    n_drop_positive = min(n_positive, round(n_rest * n_positive / max(1, n_positive + n_negative)))
    n_drop_positive = max(n_drop_positive, n_rest - n_negative)
    return keep_strongest(weight, min(n_drop, n_zero) + n_drop_positive, n_rest - n_drop_positive)


def replace_connections(topology: Topology, is_kept: BoolArray, grown: Int64Array) -> TopologyChange:
    """The change that keeps the marked connections and grows others.

    Parameters
    ----------
    topology : Topology
    is_kept : bool[nnz]
    grown : int64[n], increasing
        Keys; none of a kept connection.
    """
    return topology.replaced(is_kept, grown)


def regrow(topology: Topology, is_kept: BoolArray, grown: Int64Array) -> TopologyChange:
    """As :func:`replace_connections`, but a connection that is dropped and grown at once has never been away.

    It keeps its weight and state.
    """
    position, is_there = find_keys(topology.keys(), grown)
    stays = is_kept.copy()
    stays[position[is_there]] = True
    return replace_connections(topology, stays, grown[~is_there])


def find_keys(keys: Int64Array, wanted: Int64Array) -> tuple[Int64Array, BoolArray]:
    """Positions of ``wanted`` in increasing ``keys``, and whether each is there (int64[n], bool[n])."""
    position = np.searchsorted(keys, wanted)
    is_there = np.zeros(wanted.size, np.bool_)
    is_inside = position < keys.size
    is_there[is_inside] = keys[position[is_inside]] == wanted[is_inside]
    return position, is_there


def draw_free_keys(
    topology: Topology, is_kept: BoolArray, n_grow: int, rng: np.random.Generator, exchange: Exchange = ALONE
) -> Int64Array:
    """Draw positions that hold no kept connection, uniformly and without repetition.

    All parts draw the same numbers, and each keeps those of its own rows: time O(n_grow), memory O(own).

    Returns
    -------
    int64[n_grow], increasing
        Keys. Fewer than ``n_grow`` only if fewer are free. Where there are groups, each gets as many as it lacks, which
        must be ``n_grow`` together.
    """
    if topology.groups is not None:
        assert exchange.n_parts == 1, "connections in groups are not divided"
        grown = topology.groups.draw(topology.rows, is_kept, rng.integers(0, 1 << 64, dtype=np.uint64))
        assert grown.size == n_grow, (grown.size, n_grow)
        return grown
    n_own = topology.n_possible - int(np.count_nonzero(is_kept))
    if exchange.n_parts == 1:
        return topology.free_keys(is_kept, distinct_numbers(n_own, min(n_grow, n_own), rng))
    n_free, first = exchange.total(n_own), exchange.before(n_own)
    ranks = own_distinct_numbers(n_free, min(n_grow, n_free), rng, range(first, first + n_own), exchange)
    return topology.free_keys(is_kept, ranks - first)


def _limit(magnitudes: Sequence[Float32Array], n_drop: int, exchange: Exchange) -> tuple[np.float32, Sequence[int]]:
    """The largest magnitude that is dropped, and how many here of each layer that are equal to it are.

    The magnitudes may come out in another order.
    """
    if n_drop == 0:
        return np.float32(0), [0] * len(magnitudes)
    together = magnitudes[0] if len(magnitudes) == 1 else np.concatenate(magnitudes)
    if exchange.n_parts == 1:
        together.partition(n_drop - 1)
        limit = together[n_drop - 1]
        n_ties = int(np.count_nonzero(together[:n_drop] == limit))
        if len(magnitudes) == 1:
            return limit, [n_ties]
    else:
        limit, n_below = order_statistic(together, n_drop - 1, exchange)
        n_ties = n_drop - n_below
    return limit, own_ties([int(np.count_nonzero(each == limit)) for each in magnitudes], n_ties, exchange)
