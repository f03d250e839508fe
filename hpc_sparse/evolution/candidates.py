"""Candidates for growth: pairs of neurons that hold no connection, drawn by how much goes through their ends."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from hpc_sparse.dtypes import OFFSET, VALUE, Float32Array, Float64Array, Int64Array
from hpc_sparse.evolution.gradient_tiles import samples_of, sum_units
from hpc_sparse.evolution.protocol import LayerView
from hpc_sparse.evolution.selection import find_keys
from hpc_sparse.kernels.block.gradient import absolute_sums
from hpc_sparse.kernels.sparse import gradient
from hpc_sparse.kernels.threads import threads_in_use
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.distinct_numbers import sorted_distinct
from hpc_sparse.network.layer_signals import Signals
from hpc_sparse.network.partitioned.layer_share import LayerShare

CandidateRule = Literal["uniform", "grabo", "graest"]


def draw_candidates(view: LayerView, rule: CandidateRule, ratio: float) -> Int64Array:
    """Draw ``ratio`` times as many pairs as the layer has connections, and leave out doubles and connected pairs.

    Both ends are drawn independently, with probabilities that make strong gradients likely (Heddes et al. 2024,
    arXiv 2401.06898). ``uniform``: all alike. ``grabo``: by the sum of the absolute signals, whose product is a bound
    of the gradient. ``graest``: by the absolute sum of the signals with random signs, whose product is an estimate of
    the gradient (Alon, Matias, Szegedy 1999).

    The parts of a network draw alike, each for a moment all pairs of the layer, and keep those of their own rows.

    Returns
    -------
    int64[n], increasing
        Keys.
    """
    n_drawn, layer = math.ceil(ratio * view.n_connections), view.of_layer
    n_out, n_in = layer.targets.n_neurons, view.topology.shape[1]  # in units
    if rule == "uniform":
        outs, ins = view.rng.integers(0, n_out, n_drawn, OFFSET), view.rng.integers(0, n_in, n_drawn, OFFSET)
    else:
        assert view.signals is not None
        of_ins, of_outs = (
            sum_units(own, side)
            for own, side in zip(_importances(view.signals, rule, view.rng), view.unit[::-1], strict=True)
        )
        outs = _draw(layer.exchange.together(of_outs), n_drawn, view.rng)
        ins = view.rng.permutation(_draw(layer.together_below(of_ins), n_drawn, view.rng))
    if not layer.is_whole:
        is_own = layer.targets.is_own(outs)
        outs, ins = outs[is_own] - layer.targets.first, ins[is_own]
    keys = sorted_distinct(outs * n_in + ins)
    return keys[~find_keys(view.topology.keys(), keys)[1]]


def gradients_at(
    shape: tuple[int, int],
    keys: Int64Array,
    signals: Signals,
    unit: tuple[int, int] = (1, 1),
    share: LayerShare | None = None,
) -> Float32Array:
    """The gradient that a connection would have at each of the increasing ``keys``, float32[n].

    Of a block of connections, the sum of their absolute gradients.

    Of a ``share`` of a layer, ``shape`` is that of its rows, and the signals of the inputs that are elsewhere travel
    (collective).
    """
    delta, source = signals.delta, signals.source
    gradients = np.empty(keys.size, VALUE)
    if share is not None and not share.is_whole:
        rows, columns = keys // shape[1], keys % shape[1]
        numbers, source = share.rows_below(source, columns)
        shape = (shape[0], numbers.n_local)
        keys = rows * shape[1] + numbers.local(columns)
        if not keys.size:
            return gradients
    t = Topology.from_keys(shape, keys)
    if unit != (1, 1):
        sums = (unit, delta.n_neurons, delta.values, source.values, t.bounds, delta.layout, gradients)
        absolute_sums(*t.rows, *sums)
        return gradients
    tiles = (threads_in_use(), delta.layout)
    gradient.weight_gradients(*t.rows, delta.values, source.values, t.bounds, *tiles, gradients)
    return gradients


def _importances(signals: Signals, rule: CandidateRule, rng: np.random.Generator) -> tuple[Float64Array, Float64Array]:
    """Weights of the input and of the output neurons, float64[n_in] and float64[n_out]."""
    both = [samples_of(each, signals.n_samples) for each in (signals.source, signals.delta)]
    if rule == "grabo":
        source, delta = (np.abs(each).sum(axis=1, dtype=np.float64) for each in both)
    else:
        signs = rng.choice(np.array([-1, 1], VALUE), both[0].shape[1])
        source, delta = (np.abs((each * signs).sum(axis=1, dtype=np.float64)) for each in both)
    return source, delta


def _draw(importance: Float64Array, n: int, rng: np.random.Generator) -> Int64Array:
    """``n`` numbers of neurons with probabilities in proportion, all alike where nothing goes through any; sorted.

    Drawing how often each number comes is ten times faster than drawing one number after the other.
    """
    total = importance.sum()
    if not 0 < total < math.inf:
        importance, total = np.ones_like(importance), np.float64(importance.size)
    times = rng.multinomial(n, importance / total)
    return np.repeat(np.arange(importance.size, dtype=OFFSET), times)
