"""Assignment of the neurons of one layer to those of another with the least total distance."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from hpc_sparse.dtypes import INDEX, Float64Array, Int32Array
from hpc_sparse.kernels.analysis import auction, comparison
from hpc_sparse.network.connections.topology import Topology

EXACT_WIDTH = 2048
"""The widest layer whose neurons are paired exactly; takes 8 bytes per pair of neurons, 34 MB at this width."""

INCREMENT = 1e-4
"""Tolerance of the auction for wider layers: excess over the least distance, per neuron."""


@dataclass(frozen=True)
class Matching:
    """A one-to-one pairing of the neurons of two layers of the same width.

    Attributes
    ----------
    partner : int32[n_out]
        Neuron of the other layer for each of the own ones.
    distance : float
        Mean normalised edit distance of the pairs, from 0 (same inputs) to 1 (no common input).
    excess : float
        The least possible mean is at most so much smaller; 0 for an exact pairing.
    """

    partner: Int32Array
    distance: float
    excess: float


def match_neurons(own: Topology, other: Topology, exact_width: int = EXACT_WIDTH) -> Matching:
    """Pair the neurons of two layers by the inputs they share.

    Up to ``exact_width`` neurons, an exact assignment: O(n^2) memory and up to O(n^3) time. Beyond that, neurons with
    the same inputs are paired first, which is optimal because the distance is a metric. The others are paired by
    auction: O(nnz) memory, and the distance is within :data:`INCREMENT` of the least.

    Parameters
    ----------
    own, other : Topology
        Topologies of the same shape and of the same inputs.
    exact_width : int
    """
    assert own.shape == other.shape, (own.shape, other.shape)
    if own.shape[0] <= exact_width:
        partner, least = _assign(own, other), None
    else:
        partner, least = _auction(own, other)
    distance = float(_distances(own, other, partner).mean())
    return Matching(partner, distance, 0.0 if least is None else max(0.0, distance - least))


def renumber_inputs(topology: Topology, partner: Int32Array) -> Topology:
    """The same layer with its inputs in the order of another network's: input ``j`` is what ``partner[j]`` was."""
    n_in = topology.shape[1]
    number = np.empty(n_in, INDEX)
    number[partner] = np.arange(n_in, dtype=INDEX)
    keys = topology.keys()
    keys += number[topology.indices] - topology.indices
    keys.sort()
    return Topology.from_keys(topology.shape, keys)


def _assign(own: Topology, other: Topology) -> Int32Array:
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415 - it takes long, and runs import this package

    n = own.shape[0]
    distances = np.empty((n, n))
    by_input = other.transposed
    comparison.fill_distances(*own.rows, other.rows[0], *by_input.rows, distances)
    return linear_sum_assignment(distances)[1].astype(INDEX)


def _auction(own: Topology, other: Topology) -> tuple[Int32Array, float]:
    """The partners, and a lower bound of the mean distance of any pairing."""
    n = own.shape[0]
    partner = _same_inputs(own, other)
    n_same = int(np.count_nonzero(partner >= 0))
    is_open = np.ones(n, np.bool_)
    is_open[partner[partner >= 0]] = False
    by_input = other.transposed
    largest_gain = auction.auction(
        *own.rows,
        other.rows[0],
        *by_input.rows,
        is_open,
        INCREMENT,
        partner,
        np.empty(n),
    )
    is_left = np.ones(n, np.bool_)
    is_left[partner[partner >= 0]] = False
    partner[partner < 0] = np.flatnonzero(is_left)
    return partner, 1.0 - (n_same + largest_gain) / n


def _same_inputs(own: Topology, other: Topology) -> Int32Array:
    """Pair neurons with exactly the same inputs, those of the same number first; -1 for the others."""
    partner = np.full(own.shape[0], -1, INDEX)
    waiting = defaultdict(list)
    own_inputs, other_inputs = own.row_contents(), other.row_contents()
    for neuron, (inputs, theirs) in enumerate(zip(own_inputs, other_inputs, strict=True)):
        if inputs == theirs:
            partner[neuron] = neuron
        else:
            waiting[theirs].append(neuron)
    for others in waiting.values():
        others.reverse()
    for neuron, inputs in enumerate(own_inputs):
        if partner[neuron] < 0 and waiting.get(inputs):
            partner[neuron] = waiting[inputs].pop()
    return partner


def _distances(own: Topology, other: Topology, partner: Int32Array) -> Float64Array:
    """float64[n_out]: normalised edit distance of each pair."""
    n_common = np.empty(own.shape[0], np.int64)
    comparison.count_common(*own.rows, *other.rows, partner, n_common)
    n_any = own.fan_in() + other.fan_in()[partner] - n_common
    distances: Float64Array = (n_any - n_common) / np.maximum(n_any, 1)
    return distances
