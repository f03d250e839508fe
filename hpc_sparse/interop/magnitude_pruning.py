"""From a dense network to a sparse one: the connections with the largest weights stay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import scipy.sparse

from hpc_sparse.config import NetworkSection, RunConfig
from hpc_sparse.dtypes import OFFSET, VALUE, AnyArray, Float32Array, Float64Array
from hpc_sparse.errors import ConfigError, DataError
from hpc_sparse.evolution.top_k import strongest
from hpc_sparse.inputs.standardise import Standardise
from hpc_sparse.interop.dense_weights import DenseMap, DenseWeights
from hpc_sparse.network.activations import negative_slope
from hpc_sparse.network.blueprint import LayerBlueprint, blueprints
from hpc_sparse.network.connections.group_pattern import GroupPattern, pattern_of_section
from hpc_sparse.network.connections.n_of_m import NOfM
from hpc_sparse.network.connections.protocol import INPUT, Connections
from hpc_sparse.network.connections.registry import random_connections, unstructured
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.layers.protocol import Layer
from hpc_sparse.network.layers.recurrent import RECURRENT, RecurrentLayer
from hpc_sparse.network.layers.registry import LAYERS
from hpc_sparse.network.layers.sparse import SparseLayer
from hpc_sparse.network.layers.tanh import TanhLayer
from hpc_sparse.network.network import Network


def check_kinds(config: NetworkSection) -> None:
    """Check that all layers of a configuration are of kinds that dense weights can be imported for.

    Raises
    ------
    ConfigError
        One has more than maps and biases.
    """
    for number in range(len(config.hidden)):
        kind = config.layer(number).kind
        if kind not in MADE_OF_MAPS:
            raise ConfigError(
                f'network.layers.{number}.kind = "{kind}": dense weights of such layers are not imported; expected one '
                f"of {', '.join(MADE_OF_MAPS)}"
            )


def prune_to_density(
    weights: DenseWeights, config: RunConfig, *, n_places: int = 1, reads_tokens: bool = False
) -> Network:
    """The strongest connections of each map or group, as many as the configuration gives a network at random.

    Parameters
    ----------
    weights : DenseWeights
        Weights of the configuration's widths.
    config : RunConfig
        Its ``network`` says how many connections, and which activations the weights were trained with.
    n_places : int
        Places of each sample: the steps of a sequence.
    reads_tokens : bool
        Whether inputs are tokens.
    """
    n_in, n_out = weights.layers[0][INPUT].weight.shape[1], weights.layers[-1][INPUT].weight.shape[0]
    plans = blueprints(config.network, n_in, n_out, n_places=n_places, reads_tokens=reads_tokens)
    return Network([_pruned_layer(plan, own, config) for plan, own in zip(plans, weights.layers, strict=True)])


def scaled_inputs(weights: DenseWeights, standardise: Standardise | None) -> DenseWeights:
    """The same function of features that are standardised with other statistics.

    The given network takes ``(x - its mean) / its deviation``. The returned one takes ``(x - mean) / deviation`` of
    ``standardise``, or unchanged features. A network without statistics is returned as it is. Steps of a sequence share
    the weights of the first layer.

    Raises
    ------
    DataError
        What makes up for the difference is not the same at each step.
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
    weight = first[INPUT].weight.astype(np.float64)
    factor = _of_each_step(new_deviation / own_deviation, weight.shape[1])
    offset = _of_each_step((new_mean - own_mean) / own_deviation, weight.shape[1])
    scaled = DenseMap((weight * factor).astype(VALUE), (first[INPUT].bias + weight @ offset).astype(VALUE))
    return DenseWeights([{**first, INPUT: scaled}, *others], None, None)


def _of_each_step(values: Float64Array | float, n_in: int) -> Float64Array:
    """float64[n_in]: what all steps have, of the values of all features."""
    found = np.atleast_1d(values)
    steps = np.broadcast_to(found, n_in)[None] if found.size == 1 else found.reshape(-1, n_in)
    if not np.allclose(steps, steps[0], rtol=1e-6, atol=1e-6):
        raise DataError(
            "mean and deviation differ from those of the data set by other amounts at each step, which all share the "
            "weights: expected data.standardize = false, or no mean and deviation beside weights that were trained on "
            "features standardised like these"
        )
    return np.ascontiguousarray(steps[0])


def _pruned_layer(plan: LayerBlueprint, maps: Mapping[str, DenseMap], config: RunConfig) -> Layer:
    kept = {name: _strongest(own, maps[name], config) for name, own in LAYERS[plan.kind].maps(plan).items()}
    biases = {name: maps[name].bias.astype(VALUE) for name in kept}
    return MADE_OF_MAPS[plan.kind](plan, kept, biases)


def _sparse(plan: LayerBlueprint, kept: Mapping[str, Connections], biases: Mapping[str, Float32Array]) -> Layer:
    slope = negative_slope(plan.activation, plan.alpha, plan.number + 2)
    return SparseLayer(kept[INPUT], biases[INPUT], slope, plan.activation)


def _tanh(plan: LayerBlueprint, kept: Mapping[str, Connections], biases: Mapping[str, Float32Array]) -> Layer:  # noqa: ARG001
    return TanhLayer(kept[INPUT], biases[INPUT])


def _recurrent(plan: LayerBlueprint, kept: Mapping[str, Connections], biases: Mapping[str, Float32Array]) -> Layer:
    return RecurrentLayer.of_maps(plan, kept[INPUT], kept[RECURRENT], biases[INPUT], biases[RECURRENT])


MADE_OF_MAPS = {SparseLayer.kind: _sparse, TanhLayer.kind: _tanh, RecurrentLayer.kind: _recurrent}
"""How a layer is made of its maps and their biases, for each kind that has nothing else."""


def _strongest(plan: LayerBlueprint, dense: DenseMap, config: RunConfig) -> Connections:
    """The connections of one map that stay."""
    if plan.section is not None and plan.section.pattern is not None:
        return _largest_of_groups(dense, pattern_of_section(plan.section))
    if plan.unit != (1, 1):
        return _strongest_units(dense, plan, config)
    return unstructured(*strongest_connections(dense.weight, plan.density))


def _largest_of_groups(dense: DenseMap, pattern: GroupPattern) -> NOfM:
    """The connections with the largest absolute weights of each group of inputs."""
    matrix: scipy.sparse.csr_array = scipy.sparse.csr_array(np.ascontiguousarray(dense.weight, VALUE))
    return NOfM.largest(matrix, pattern)


def _strongest_units(dense: DenseMap, plan: LayerBlueprint, config: RunConfig) -> Connections:
    """The share of the blocks of largest score, at least one; ties by their keys."""
    (n_out, n_in), (r, c) = dense.weight.shape, plan.unit
    grid = -(-n_out // r), -(-n_in // c)
    padded = np.zeros((grid[0] * r, grid[1] * c), VALUE)
    padded[:n_out, :n_in] = dense.weight
    blocks = padded.reshape(grid[0], r, grid[1], c).transpose(0, 2, 1, 3).reshape(-1, r * c)
    every = Topology.from_keys(grid, np.arange(blocks.shape[0], dtype=OFFSET))
    whole = random_connections(replace(plan, density=1.0, pattern="erdos_renyi")).rewired(every, blocks.reshape(-1))
    n_kept = max(1, round(plan.density * blocks.shape[0]))
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
