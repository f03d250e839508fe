"""Initial topologies: how many connections each layer and each neuron gets, and which."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

import numpy as np

from hpc_sparse.dtypes import OFFSET, Float64Array, Int64Array
from hpc_sparse.network.apportion import apportion
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.distinct_numbers import distinct_numbers, sorted_distinct

Pattern = Literal["erdos_renyi", "constant_fan_in", "lognormal_fan_in", "small_world", "scale_free", "covering"]

SPREAD = 0.5
"""Standard deviation of the logarithm of a neuron's share of the connections, in ``lognormal_fan_in``."""

REWIRED = 0.2
"""Share of the connections that lead anywhere, by default, in ``small_world``."""

SCALE_FREE_POWER = -0.5
"""Power of a neuron's rank to which its expected number of connections is proportional, in ``scale_free``: degrees then
have the exponent 3 of preferential attachment."""

COVERED = 2
"""Inputs that every neuron has, in ``covering``: one alone often leads to nothing that varies."""

CROWDED = 4
"""A row with more than one in so many columns has its columns drawn from all at once."""


def draw_topology(
    pattern: Pattern, shape: tuple[int, int], density: float, key: np.uint64, rewired: float = REWIRED
) -> Topology:
    """A random topology; time and memory grow with the number of connections only.

    Parameters
    ----------
    pattern : str
        erdos_renyi: every connection with the same probability. constant_fan_in: every neuron with the same number of
        inputs. lognormal_fan_in: few neurons with many inputs and many with few, as gradient-guided growth produces
        (arXiv 2604.10560). small_world: neighbours along a ring, of which a share is replaced by connections anywhere
        (Watts, Strogatz 1998, for two sides as by Zhang et al. 2025, arXiv 2501.19107). scale_free: numbers of
        connections by a power law on both sides. covering: every neuron with at least two inputs and every input with
        at least one neuron, if there are so many connections; the others as erdos_renyi.
    shape : (n_out, n_in)
    density : float
        Expected, or reached up to rounding.
    key : uint64
        All that the result depends on, besides the arguments.
    rewired : float
        Share of the connections of small_world that lead anywhere.
    """
    if pattern == "erdos_renyi":
        return Topology.random(shape, density, key)
    rng = np.random.Generator(np.random.Philox(key=int(key)))
    if pattern == "small_world":
        return _small_world(shape, density, rewired, rng)
    if pattern == "scale_free":
        return _scale_free(shape, density, rng)
    if pattern == "covering":
        return _covering(shape, density, rng)
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


def _small_world(shape: tuple[int, int], density: float, rewired: float, rng: np.random.Generator) -> Topology:
    """Each neuron of the larger side with its neighbours on the smaller one, then some connections drawn anew."""
    n_large, n_small = max(shape), min(shape)
    n_connections = min(round(density * n_large * n_small), n_large * n_small)
    sizes = np.full(n_large, n_connections // n_large, OFFSET)
    sizes[rng.permutation(n_large)[: n_connections % n_large]] += 1
    owner = np.repeat(np.arange(n_large, dtype=OFFSET), sizes)
    place = np.arange(owner.size, dtype=OFFSET) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    other = (owner * n_small // n_large - sizes[owner] // 2 + place) % n_small
    keys = owner * n_small + other if shape[0] == n_large else other * n_large + owner
    ring = Topology.from_keys(shape, np.sort(keys))
    is_kept = rng.random(ring.n_connections) >= rewired
    n_kept = int(np.count_nonzero(is_kept))
    free = distinct_numbers(ring.n_possible - n_kept, ring.n_connections - n_kept, rng)
    return ring.replaced(is_kept, ring.free_keys(is_kept, free)).topology


def _scale_free(shape: tuple[int, int], density: float, rng: np.random.Generator) -> Topology:
    """Rows and columns in proportion to weights by a power law, each weight at a neuron drawn at random."""
    n_out, n_in = shape
    of_rows, of_columns = (rng.permutation(np.arange(1, n + 1) ** SCALE_FREE_POWER) for n in shape)
    n_connections = round(density * n_out * n_in)
    first = apportion(min(n_out, n_connections), np.ones(n_out), np.ones(n_out, OFFSET))
    fan_in = first + apportion(n_connections - int(first.sum()), of_rows, n_in - first)
    is_crowded = CROWDED * fan_in > n_in
    drawn = [_weighted_columns(of_columns, np.where(is_crowded, 0, fan_in), rng)]
    for row in np.flatnonzero(is_crowded).tolist():
        times = rng.standard_exponential(n_in) / of_columns
        chosen = np.argpartition(times, int(fan_in[row]) - 1)[: int(fan_in[row])]
        drawn.append(row * n_in + chosen.astype(OFFSET))
    return Topology.from_keys(shape, np.sort(np.concatenate(drawn)))


def _covering(shape: tuple[int, int], density: float, rng: np.random.Generator) -> Topology:
    """Neurons in random orders paired with inputs in random orders, until all are covered; then any others."""
    n_out, n_in = shape
    n_connections = min(round(density * n_out * n_in), n_out * n_in)
    n_pairs = min(n_connections, max(min(COVERED, n_in) * n_out, n_in))
    keys = np.sort(_dealt(n_out, n_pairs, rng) * n_in + _dealt(n_in, n_pairs, rng))
    while (is_again := np.append(False, keys[1:] == keys[:-1])).any():
        # Its neuron gets another input; the one that it has twice stays covered by the first.
        keys[is_again] += rng.integers(0, n_in, int(is_again.sum()), OFFSET) - keys[is_again] % n_in
        keys.sort()
    keys = np.concatenate([keys, _others(shape, keys, n_connections - n_pairs, rng)])
    keys.sort()
    return Topology.from_keys(shape, keys)


def _others(shape: tuple[int, int], keys: Int64Array, n_wanted: int, rng: np.random.Generator) -> Int64Array:
    """So many keys besides those given, int64[n], increasing; every choice is equally likely."""
    pairs, every = Topology.from_keys(shape, keys), np.ones(keys.size, np.bool_)
    return pairs.free_keys(every, distinct_numbers(pairs.n_possible - keys.size, n_wanted, rng))


def _dealt(n: int, n_wanted: int, rng: np.random.Generator) -> Int64Array:
    """So many of the numbers below ``n``, each as often as the others, in random orders one after the other."""
    orders = [rng.permutation(n) for _ in range(-(-n_wanted // n))]
    return np.concatenate(orders)[:n_wanted] if orders else np.empty(0, OFFSET)


def _weighted_columns(weight: Float64Array, n_wanted: Int64Array, rng: np.random.Generator) -> Int64Array:
    """As :func:`_distinct_columns`, each column with a probability in proportion to its weight."""
    bounds = np.cumsum(weight)
    return _distinct(
        weight.size, n_wanted, lambda n: np.searchsorted(bounds, rng.random(n) * bounds[-1], "right").astype(OFFSET)
    )


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
    return _distinct(n_in, n_wanted, lambda n: rng.integers(0, n_in, n, OFFSET))


def _distinct(n_in: int, n_wanted: Int64Array, draw: Callable[[int], Int64Array]) -> Int64Array:
    """Keys of so many distinct columns in each row; ``draw`` gives columns."""
    keys, rows = np.empty(0, OFFSET), np.arange(n_wanted.size, dtype=OFFSET)
    n_missing = n_wanted
    while n_missing.any():
        drawn = np.repeat(rows, n_missing) * n_in + np.minimum(draw(int(n_missing.sum())), n_in - 1)
        keys = sorted_distinct(np.concatenate([keys, drawn]))
        n_missing = n_wanted - np.bincount(keys // n_in, minlength=n_wanted.size)
    return keys
