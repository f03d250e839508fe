"""CSTI: layers that connect features that go together (Zhang et al. 2024, Cannistraci-Hebb training).

Samples are rounded to whole numbers so small that all sums of their products are exact in float64. So nothing depends
on the order in which they are added up: not on ranks, threads or batches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hpc_sparse.dtypes import OFFSET, VALUE, BoolArray, Float32Array, Float64Array, Int64Array
from hpc_sparse.evolution.selection import draw_free_keys
from hpc_sparse.evolution.top_k import StrongestKeys
from hpc_sparse.network.connections.topology import Topology

EXACT_BITS = 53
"""Whole numbers below 2^53 are exact in float64."""

TILE_BYTES = 1 << 24
"""Memory of the sums of the features that are correlated with all others at a time, MIN_TILE_ROWS of them at least."""

MIN_TILE_ROWS = 16

SCORED_ROWS = 64
"""Neurons whose pairs are scored at a time."""

NOTHING = VALUE(-1)
"""Score of a pair that is not to be connected."""

Batches = Callable[[], Iterator[Float32Array]]
"""Passes over this rank's samples, float32[n_features, n] at a time."""

Summed = Callable[[Float64Array], None]
"""Adds up an array over all ranks, in place."""


@dataclass(frozen=True)
class FeatureSums:
    """Sums over all samples, which are rounded to whole numbers.

    Attributes
    ----------
    scale : float64[n_features]
        What features are multiplied by before they are rounded.
    n_samples : int
    totals, variances : float64[n_features]
        Sums, and n_samples times the sums of squares less the squares of the sums.
    """

    scale: Float64Array
    n_samples: int
    totals: Float64Array
    variances: Float64Array

    @classmethod
    def of(cls, batches: Batches, largest: Float32Array, n_samples: int, add_up: Summed) -> FeatureSums:
        """The sums of samples whose features are at most ``largest`` in size, on any rank (collective)."""
        n_bits = (EXACT_BITS - math.ceil(math.log2(max(2, n_samples)))) // 2
        size = largest.astype(np.float64)
        scale = np.divide(2.0**n_bits, size, out=np.zeros_like(size), where=size > 0)
        sums = np.zeros((2, largest.size))
        for values in batches():
            whole = _whole(values, scale)
            sums[0] += whole.sum(axis=1)
            sums[1] += np.einsum("ij,ij->i", whole, whole)
        add_up(sums)
        return cls(scale, n_samples, sums[0], n_samples * sums[1] - sums[0] ** 2)

    def correlations(self, batches: Batches, start: int, stop: int, add_up: Summed) -> Float32Array:
        """|correlation| of some features with all, float32[stop - start, n_features]; 0 for constants (collective)."""
        products = np.zeros((stop - start, self.totals.size))
        for values in batches():
            whole = _whole(values, self.scale)
            products += whole[start:stop] @ whole.T
        add_up(products)
        products *= self.n_samples
        products -= np.outer(self.totals[start:stop], self.totals)
        size = np.sqrt(np.maximum(self.variances, 0))
        inverse = np.divide(1.0, size, out=np.zeros_like(size), where=size > 0)
        products *= inverse[start:stop, None]
        products *= inverse
        return np.abs(products).astype(VALUE)


class CorrelatedPairs:
    """Collector of a layer's most correlated pairs of neurons, each of which stands for a feature.

    Parameters
    ----------
    above, below : int64[n_out], int64[n_in]
        Feature of each neuron.
    n_connections : int
    """

    def __init__(self, above: Int64Array, below: Int64Array, n_connections: int) -> None:
        self._above, self._below, self._n = above, below, n_connections
        self._best = StrongestKeys(n_connections)
        self._columns = np.arange(below.size, dtype=OFFSET)

    def add(self, start: int, correlations: Float32Array) -> None:
        """Take in |correlations| of the features from ``start`` on with all features."""
        inside = (self._above >= start) & (self._above < start + correlations.shape[0])
        neurons = np.flatnonzero(inside).astype(OFFSET)
        for first in range(0, neurons.size, SCORED_ROWS):
            own = neurons[first : first + SCORED_ROWS]
            scores = correlations[self._above[own] - start][:, self._below]
            scores[self._above[own][:, None] == self._below] = NOTHING
            self._best.add(scores, own * self._below.size, self._columns)

    def topology(self, rng: np.random.Generator) -> Topology:
        """Connections of the best pairs, of equal ones the first; any others at random where there are too few."""
        shape, keys = (self._above.size, self._below.size), self._best.keys()
        found = Topology.from_keys(shape, keys)
        if keys.size == self._n:
            return found
        all_stay: BoolArray = np.ones(keys.size, np.bool_)
        more = draw_free_keys(found, all_stay, self._n - keys.size, rng)
        return Topology.from_keys(shape, np.sort(np.concatenate([keys, more])))


def correlated_topologies(
    features: Sequence[Int64Array],
    n_connections: Sequence[int],
    sums: FeatureSums,
    batches: Batches,
    add_up: Summed,
    rngs: Sequence[np.random.Generator],
) -> list[Topology]:
    """Connect neurons whose features are most correlated, most correlated pairs first, in every layer (collective).

    No neuron is connected with another one of its own feature, unless nothing else is left. Constant features correlate
    with none.

    No matrix of all correlations exists: they are computed for some features at a time, in one pass over the samples
    for each. Memory O(n_connections + TILE_BYTES + batch n_features); work n_samples n_features^2, shared by the ranks.

    Parameters
    ----------
    features : sequence of int64[n]
        Feature of each neuron, one array per layer of neurons, inputs first.
    n_connections : sequence of int
        Of each layer of connections.
    sums : FeatureSums
    batches : callable
    add_up : callable
    rngs : sequence of numpy.random.Generator
        One per layer of connections.
    """
    layers = [
        CorrelatedPairs(above, below, n)
        for below, above, n in zip(features[:-1], features[1:], n_connections, strict=True)
    ]
    n_features = sums.totals.size
    n_rows = max(MIN_TILE_ROWS, TILE_BYTES // (8 * n_features))
    for start in range(0, n_features, n_rows):
        correlations = sums.correlations(batches, start, min(n_features, start + n_rows), add_up)
        for layer in layers:
            layer.add(start, correlations)
    return [layer.topology(rng) for layer, rng in zip(layers, rngs, strict=True)]


def drawn_features(n_neurons: int, n_features: int, rng: np.random.Generator) -> Int64Array:
    """A feature for each neuron, int64[n_neurons]: without repetition as long as there are enough."""
    return rng.permutation(n_features).astype(OFFSET)[np.arange(n_neurons) % n_features]


def _whole(values: Float32Array, scale: Float64Array) -> Float64Array:
    return np.asarray(np.rint(values * scale[:, None]))
