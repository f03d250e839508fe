"""Initial topologies: how many connections each layer and each neuron gets, and which."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import numpy as np

from hpc_sparse.dtypes import OFFSET, Int64Array
from hpc_sparse.network.apportion import apportion
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.distinct_numbers import sorted_distinct

Pattern = Literal["erdos_renyi", "constant_fan_in", "lognormal_fan_in"]

SPREAD = 0.5
"""Standard deviation of the logarithm of a neuron's share of the connections, in ``lognormal_fan_in``."""


def draw_topology(pattern: Pattern, shape: tuple[int, int], density: float, key: np.uint64) -> Topology:
    """A random topology; time and memory grow with the number of connections only.

    Parameters
    ----------
    pattern : "erdos_renyi", "constant_fan_in" or "lognormal_fan_in"
        Every connection with the same probability; every neuron with the same number of inputs; or few neurons with
        many inputs and many with few, as gradient-guided growth produces (arXiv 2604.10560).
    shape : (n_out, n_in)
    density : float
        Expected, or reached up to rounding.
    key : uint64
        All that the result depends on, besides the arguments.
    """
    if pattern == "erdos_renyi":
        return Topology.random(shape, density, key)
    rng = np.random.Generator(np.random.Philox(key=int(key)))
    fan_in = _constant(shape, density) if pattern == "constant_fan_in" else _lognormal(shape, density, rng)
    return _random_rows(shape, fan_in, rng)


def erdos_renyi_densities(density: float, widths: Sequence[int]) -> list[float]:
    """Densities of layers that together have ``density``, in the proportion (n_in + n_out) / (n_in n_out).

    Layers that would come out above 1 get every connection, and the others share the rest (Evci et al. 2020).
    """
    n_possible = np.array([n_in * n_out for n_in, n_out in pairwise(widths)], np.float64)
    proportion = np.array([n_in + n_out for n_in, n_out in pairwise(widths)], np.float64) / n_possible
    is_dense = np.zeros(n_possible.size, np.bool_)
    while not is_dense.all():
        n_left = density * n_possible.sum() - n_possible[is_dense].sum()
        factor = max(0.0, n_left) / (proportion * n_possible)[~is_dense].sum()
        is_over = ~is_dense & (factor * proportion >= 1)
        if not is_over.any():
            return [float(share) for share in np.where(is_dense, 1.0, factor * proportion)]
        is_dense |= is_over
    return [1.0] * n_possible.size


def _constant(shape: tuple[int, int], density: float) -> Int64Array:
    n_out, n_in = shape
    return np.full(n_out, min(n_in, max(1, round(density * n_in))), OFFSET)


def _lognormal(shape: tuple[int, int], density: float, rng: np.random.Generator) -> Int64Array:
    n_out, n_in = shape
    share = np.exp(SPREAD * rng.standard_normal(n_out))
    n_connections = round(density * n_out * n_in)
    at_least_one = min(n_out, n_connections)
    first = apportion(at_least_one, np.ones(n_out), np.ones(n_out, OFFSET))
    return first + apportion(n_connections - at_least_one, share, n_in - first)


def _random_rows(shape: tuple[int, int], fan_in: Int64Array, rng: np.random.Generator) -> Topology:
    """Rows of the given lengths; every choice of a row's columns is equally likely."""
    n_in = shape[1]
    is_full = 2 * fan_in > n_in  # of these rows, the columns left out are drawn
    drawn = _distinct_columns(n_in, np.where(is_full, n_in - fan_in, fan_in), rng)
    if not is_full.any():
        return Topology.from_keys(shape, drawn)
    is_left_out = is_full[drawn // n_in]
    rows = np.flatnonzero(is_full).astype(OFFSET)
    whole = (rows[:, None] * n_in + np.arange(n_in, dtype=OFFSET)).reshape(-1)
    kept = np.setdiff1d(whole, drawn[is_left_out], assume_unique=True)
    return Topology.from_keys(shape, np.sort(np.concatenate([drawn[~is_left_out], kept])))


def _distinct_columns(n_in: int, n_wanted: Int64Array, rng: np.random.Generator) -> Int64Array:
    """Keys of so many distinct columns in each row, int64[n], increasing: drawn until all are there."""
    keys, rows = np.empty(0, OFFSET), np.arange(n_wanted.size, dtype=OFFSET)
    n_missing = n_wanted
    while n_missing.any():
        drawn = np.repeat(rows, n_missing) * n_in + rng.integers(0, n_in, int(n_missing.sum()), OFFSET)
        keys = sorted_distinct(np.concatenate([keys, drawn]))
        n_missing = n_wanted - np.bincount(keys // n_in, minlength=n_wanted.size)
    return keys
