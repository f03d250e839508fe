"""Order of a layer's inputs that keeps more of its weights in groups (Pool and Yu, NeurIPS 2021)."""

from __future__ import annotations

from itertools import combinations
from typing import Literal

import numpy as np

from hpc_sparse.dtypes import OFFSET, VALUE, BoolArray, Float32Array, Int64Array
from hpc_sparse.kernels.patterns.permutation import exchange_gains
from hpc_sparse.network.connections.group_pattern import GroupPattern
from hpc_sparse.network.connections.topology import Topology

Search = Literal["channel_swap", "stripes"]
"""Exchanges of two groups that are tried: of one input each, or all."""

LARGEST_GROUPS: dict[Search, int] = {"channel_swap": 16, "stripes": 6}
"""Inputs of a group at most; beyond, there are too many exchanges to try."""

LEAST_GAIN = 1e-6
"""Share of what is kept that an exchange must add: less may be rounding."""


def best_order(topology: Topology, weight: Float32Array, pattern: GroupPattern, search: Search) -> Int64Array:
    """The input at each place, int64[n_in], after exchanges between groups as long as they keep more.

    In each round, the exchanges that gain most are made, of groups that take part in no better one. A shorter last
    group keeps its inputs. Only pairs with a group that has changed are tried again.

    Parameters
    ----------
    topology : Topology
    weight : float32[nnz]
    pattern : GroupPattern
    search : "channel_swap" or "stripes"
        Exchange one input of each of two groups, or choose among all ways to share out their inputs.

    Raises
    ------
    ValueError
        The groups are too large to be searched.
    """
    if pattern.m > LARGEST_GROUPS[search]:
        raise ValueError(f"{search}: groups of {pattern.m} inputs: expected at most {LARGEST_GROUPS[search]}")
    (n_out, n_in), transposed = topology.shape, topology.transposed
    size, partitions = np.abs(weight)[transposed.position], partitions_of(pattern.m, search)
    order, n_groups = np.arange(n_in, dtype=OFFSET), n_in // pattern.m
    pairs = np.array(list(combinations(range(n_groups), 2)), OFFSET).reshape(-1, 2)
    gains, choices = np.zeros(len(pairs), VALUE), np.zeros(len(pairs), OFFSET)
    is_open: BoolArray = np.ones(len(pairs), np.bool_)
    least = LEAST_GAIN * float(size.sum()) / max(1, n_groups)
    while is_open.any():
        found, chosen = np.empty(is_open.sum(), VALUE), np.empty(is_open.sum(), OFFSET)
        sizes = (pattern.n, pattern.m, n_out)
        exchange_gains(*transposed.rows, size, order, pairs[is_open], *sizes, partitions, found, chosen)
        gains[is_open], choices[is_open] = found, chosen
        changed = _exchange(order, pairs, gains, partitions[choices], pattern.m, least)
        is_open = np.asarray(np.isin(pairs, changed).any(axis=1))
    return order


def _exchange(
    order: Int64Array, pairs: Int64Array, gains: Float32Array, partitions: Int64Array, m: int, least: float
) -> Int64Array:
    """Make the best exchanges, in place; the groups that have changed."""
    changed = set[int]()
    for number in np.argsort(-gains, kind="stable"):
        if gains[number] <= least:
            break
        first, second = pairs[number].tolist()
        if first in changed or second in changed:
            continue
        places = np.concatenate([np.arange(group * m, group * m + m) for group in (first, second)])
        order[places] = order[places][partitions[number]]
        changed |= {first, second}
    return np.array(sorted(changed), OFFSET)


def partitions_of(m: int, search: Search) -> Int64Array:
    """int64[n, 2 * m]: orders of the inputs of two groups of ``m``, the present one first; distinct as partitions."""
    present = np.arange(2 * m, dtype=OFFSET)
    if search == "channel_swap":
        swaps = [(i, j) for i in range(m) for j in range(m, 2 * m)]
        found = np.tile(present, (len(swaps) + 1, 1))
        for number, (i, j) in enumerate(swaps, 1):
            found[number, [i, j]] = j, i
        return found
    # Which of both groups is the first does not matter: it is the one with input 0.
    firsts = [(0, *others) for others in combinations(range(1, 2 * m), m - 1)]
    return np.array([[*first, *np.setdiff1d(present, first)] for first in firsts], OFFSET)
