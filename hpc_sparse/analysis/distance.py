"""The distance between two sparse topologies (NNSTD; Liu et al. 2020, arXiv 2006.14085), without a dense layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from hpc_sparse.analysis.matching import EXACT_WIDTH, match_neurons, renumber_inputs
from hpc_sparse.analysis.topologies import Topologies, as_topologies, check_same_widths
from hpc_sparse.dtypes import INDEX
from hpc_sparse.kernels.threads import at_most_threads
from hpc_sparse.parallel.collectives import collective_errors, gather_objects
from hpc_sparse.parallel.context import ParallelContext


@dataclass(frozen=True)
class TopologyDistance:
    """Distance of two topologies in [0, 1]: 0 if they are the same up to the order of hidden neurons.

    Attributes
    ----------
    per_layer : tuple of float
        Mean normalised edit distance of the paired neurons of each layer.
    excess : tuple of float
        Upper bound of the error by the approximate pairing of a wide layer; 0 where the pairing is exact.
    """

    per_layer: tuple[float, ...]
    excess: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over the layers."""
        return float(np.mean(self.per_layer))


def topology_distance(a: Topologies, b: Topologies, *, exact_width: int = EXACT_WIDTH) -> TopologyDistance:
    """Neural network sparse topology distance.

    Layer by layer from the input, each neuron of ``a`` is paired with one of ``b`` such that their inputs differ as
    little as possible. The neurons of ``b`` then take the places of their partners for the next layer (Liu et al.
    2020). Where neurons have equal or no inputs, several pairings are best; the choice can change the distance of the
    next layers.

    Parameters
    ----------
    a, b : Network, sequence of Topology, or sequence of SciPy sparse matrices (n_in, n_out)
        Networks of the same widths. Weights do not matter.
    exact_width : int
        The widest layer that is paired exactly, at 8 bytes per pair of neurons. Wider ones need memory for their
        connections only and come out too far apart by at most 0.0001.

    Raises
    ------
    InputError
        The networks differ in widths, or are none.
    """
    first, second = as_topologies(a), as_topologies(b)
    check_same_widths(first, second)
    partner = np.arange(first[0].shape[1], dtype=INDEX)
    matchings = []
    with at_most_threads(None):
        for own, other in zip(first, second, strict=True):
            matchings.append(match_neurons(own, renumber_inputs(other, partner), exact_width))
            partner = matchings[-1].partner
    return TopologyDistance(tuple(m.distance for m in matchings), tuple(m.excess for m in matchings))


def pairwise_distances(
    ctx: ParallelContext, networks: Sequence[Topologies], *, exact_width: int = EXACT_WIDTH
) -> dict[tuple[int, int], TopologyDistance]:
    """The distance of every two networks, the pairs shared out among the ranks (collective).

    Parameters
    ----------
    ctx : ParallelContext
    networks : sequence
        The same on every rank; each as for :func:`topology_distance`.
    exact_width : int

    Returns
    -------
    dict
        By ``(first, second)`` with first < second; the same on every rank, whatever their number.
    """
    pairs = list(combinations(range(len(networks)), 2))
    with collective_errors(ctx, "comparing topologies"):
        own = [
            (pair, topology_distance(networks[pair[0]], networks[pair[1]], exact_width=exact_width))
            for pair in pairs[ctx.rank :: ctx.size]
        ]
    found = dict(item for part in gather_objects(ctx, own) for item in part)
    return {pair: found[pair] for pair in pairs}
