"""From a dense network to a sparse one: the connections with the largest weights stay."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import scipy.sparse

from hpc_sparse.config import RunConfig
from hpc_sparse.dtypes import OFFSET, VALUE, AnyArray, Float32Array, Float64Array
from hpc_sparse.evolution.top_k import strongest
from hpc_sparse.inputs.standardise import Standardise
from hpc_sparse.interop.dense_weights import DenseLayer, DenseWeights
from hpc_sparse.network.activations import OUTPUT_ACTIVATION, negative_slope
from hpc_sparse.network.blueprint import LayerBlueprint
from hpc_sparse.network.connections.group_pattern import GroupPattern, pattern_of_section
from hpc_sparse.network.connections.n_of_m import NOfM
from hpc_sparse.network.connections.protocol import Connections
from hpc_sparse.network.connections.registry import random_connections, unstructured
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.densities import densities
from hpc_sparse.network.layers.protocol import Layer
from hpc_sparse.network.layers.sparse import SparseLayer
from hpc_sparse.network.network import Network


def prune_to_density(weights: DenseWeights, config: RunConfig) -> Network:
    """The strongest connections of each layer or group, as many as the configuration gives a network at random.

    Parameters
    ----------
    weights : DenseWeights
        Weights of the configuration's widths.
    config : RunConfig
        Its ``network`` says how many connections, and which activation the weights were trained with.
    """
    widths = [weights.layers[0].weight.shape[1], *(layer.weight.shape[0] for layer in weights.layers)]
    wanted, alpha = densities(config.network, widths), config.network.alpha
    layers: list[Layer] = []
    for number, (layer, density) in enumerate(zip(weights.layers, wanted, strict=True)):
        name = config.network.activation_of(number) if number < len(wanted) - 1 else OUTPUT_ACTIVATION
        section = config.network.layer(number) if number < len(wanted) - 1 else None
        if section is not None and section.pattern is not None:
            incoming: Connections = _largest_of_groups(layer, pattern_of_section(section))
        elif section is not None and section.unit != (1, 1):
            incoming = _strongest_units(layer, density, config, number)
        else:
            incoming = unstructured(*strongest_connections(layer.weight, density))
        layers.append(SparseLayer(incoming, layer.bias.astype(VALUE), negative_slope(name, alpha, number + 2), name))
    assert [layer.shape[::-1] for layer in layers] == list(pairwise(widths))
    return Network(layers)


def scaled_inputs(weights: DenseWeights, standardise: Standardise | None) -> DenseWeights:
    """The same function of features that are standardised with other statistics.

    The given network takes ``(x - its mean) / its deviation``. The returned one takes ``(x - mean) / deviation`` of
    ``standardise``, or unchanged features. A network without statistics is returned as it is.
    """
    if weights.mean is None and weights.deviation is None:
        return weights
    own_mean = 0.0 if weights.mean is None else weights.mean
    own_deviation = 1.0 if weights.deviation is None else weights.deviation
    new_mean: Float64Array | float = 0.0
    new_deviation: Float64Array | float = 1.0
    if standardise is not None and standardise.is_on:
        new_mean, new_deviation = standardise.mean.astype(np.float64), standardise.deviation.astype(np.float64)
    first, *others = weights.layers
    weight = first.weight.astype(np.float64) / own_deviation
    n_in = weight.shape[1]
    bias = first.bias + weight @ np.broadcast_to(new_mean - own_mean, n_in)
    scaled = DenseLayer((weight * new_deviation).astype(VALUE), bias.astype(VALUE))
    return DenseWeights([scaled, *others], None, None)


def _largest_of_groups(layer: DenseLayer, pattern: GroupPattern) -> NOfM:
    """The connections with the largest absolute weights of each group of inputs."""
    matrix: scipy.sparse.csr_array = scipy.sparse.csr_array(np.ascontiguousarray(layer.weight, VALUE))
    return NOfM.largest(matrix, pattern)


def _strongest_units(layer: DenseLayer, density: float, config: RunConfig, number: int) -> Connections:
    """The share ``density`` of the blocks of largest score, at least one; ties by their keys."""
    section, (n_out, n_in) = config.network.layer(number), layer.weight.shape
    r, c = section.unit
    grid = -(-n_out // r), -(-n_in // c)
    padded = np.zeros((grid[0] * r, grid[1] * c), VALUE)
    padded[:n_out, :n_in] = layer.weight
    blocks = padded.reshape(grid[0], r, grid[1], c).transpose(0, 2, 1, 3).reshape(-1, r * c)
    network = config.network
    blueprint = LayerBlueprint(
        number, (n_out, n_in), 1.0, network.activation, network.alpha, network.initializer, 0, section=section
    )
    every = Topology.from_keys(grid, np.arange(blocks.shape[0], dtype=OFFSET))
    whole = random_connections(blueprint).rewired(every, blocks.reshape(-1))
    n_kept = max(1, round(density * blocks.shape[0]))
    keys = strongest(whole.scores(config.evolution.block_score), np.arange(blocks.shape[0], dtype=OFFSET), n_kept)
    return whole.rewired(Topology.from_keys(grid, keys), np.ascontiguousarray(blocks[keys]).reshape(-1))


def strongest_connections(weight: AnyArray, density: float) -> tuple[Topology, Float32Array]:
    """The share ``density`` of the connections with the largest absolute weights, at least one; ties by their keys.

    ``weight`` is float[n_out, n_in]. Gives the topology, and the weights float32[nnz].
    """
    values = np.ascontiguousarray(weight, VALUE).reshape(-1)
    n_kept = max(1, round(density * values.size))
    keys = strongest(np.abs(values), np.arange(values.size, dtype=OFFSET), n_kept)
    n_out, n_in = weight.shape
    return Topology.from_keys((n_out, n_in), keys), values[keys]
