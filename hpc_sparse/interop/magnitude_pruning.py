"""From a dense network to a sparse one: the connections with the largest weights stay."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from hpc_sparse.config import RunConfig
from hpc_sparse.dtypes import OFFSET, VALUE, Float32Array
from hpc_sparse.evolution.top_k import strongest
from hpc_sparse.interop.dense_weights import DenseLayer, DenseWeights
from hpc_sparse.network.activations import negative_slopes
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.densities import densities
from hpc_sparse.network.layers.sparse import SparseLayer
from hpc_sparse.network.network import LINEAR, Network


def prune_to_density(weights: DenseWeights, config: RunConfig) -> Network:
    """The strongest connections of each layer, as many as the configuration gives a network at random.

    Parameters
    ----------
    weights : DenseWeights
        Of the widths that the configuration says.
    config : RunConfig
        Its ``network`` says how many connections, and which activation the weights were trained with.
    """
    widths = [weights.layers[0].weight.shape[1], *(layer.weight.shape[0] for layer in weights.layers)]
    slopes = [*negative_slopes(config.network.activation, config.network.alpha, len(widths) - 2), LINEAR]
    layers = []
    for layer, density, slope in zip(weights.layers, densities(config.network, widths), slopes, strict=True):
        topology, weight = _strongest_connections(layer, density)
        layers.append(SparseLayer(topology, weight, layer.bias.astype(VALUE), slope))
    assert [layer.topology.shape[::-1] for layer in layers] == list(pairwise(widths))
    return Network(layers)


def scaled_inputs(weights: DenseWeights, mean: Float32Array | None, deviation: Float32Array | None) -> DenseWeights:
    """The same function of features that are standardised with other statistics.

    The network takes ``(x - its mean) / its deviation``; what is returned takes ``(x - mean) / deviation``, None
    standing for features as they are. A network that does not say what it takes is taken to be standardised like that
    already.
    """
    if weights.mean is None and weights.deviation is None:
        return weights
    own_mean = 0.0 if weights.mean is None else weights.mean
    own_deviation = 1.0 if weights.deviation is None else weights.deviation
    new_mean = 0.0 if mean is None else mean.astype(np.float64)
    new_deviation = 1.0 if deviation is None else deviation.astype(np.float64)
    first, *others = weights.layers
    weight = first.weight.astype(np.float64) / own_deviation
    n_in = weight.shape[1]
    bias = first.bias + weight @ np.broadcast_to(new_mean - own_mean, n_in)
    scaled = DenseLayer((weight * new_deviation).astype(VALUE), bias.astype(VALUE))
    return DenseWeights([scaled, *others], None, None)


def _strongest_connections(layer: DenseLayer, density: float) -> tuple[Topology, Float32Array]:
    """The share ``density`` of the connections with the largest absolute weights, at least one; ties by their keys."""
    values = np.ascontiguousarray(layer.weight, VALUE).reshape(-1)
    n_kept = max(1, round(density * values.size))
    keys = strongest(np.abs(values), np.arange(values.size, dtype=OFFSET), n_kept)
    n_out, n_in = layer.weight.shape
    return Topology.from_keys((n_out, n_in), keys), values[keys]
