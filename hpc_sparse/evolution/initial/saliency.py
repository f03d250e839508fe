"""Initial connections chosen from a source network by SNIP or GraSP, on existing connections only.

Both methods were made for dense networks. Here they choose among the connections of a random sparse network, several
times denser than the network to be made. Restricting the search by a random mask follows arXiv 2210.02412.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import scipy.sparse

from hpc_sparse.dtypes import OFFSET, VALUE, AnyArray, Float32Array, Float64Array, Int64Array
from hpc_sparse.evolution.gradient_tiles import samples_of
from hpc_sparse.evolution.top_k import strongest
from hpc_sparse.network.connections.protocol import INPUT
from hpc_sparse.network.layer_signals import Signals
from hpc_sparse.network.layers.sparse import SparseLayer, sparse_layers
from hpc_sparse.network.network import Network
from hpc_sparse.network.tiles import Tiles

TEMPERATURE = 200.0
"""GraSP divides the outputs by it, so that all classes count alike."""

PRODUCTS = 1 << 18
"""Numbers that are multiplied at a time while gradients are summed up."""


def snip_scores(network: Network, signals: Sequence[Mapping[str, Signals]]) -> list[Float32Array]:
    """Saliency of each connection: |gradient x weight| (Lee et al. 2019, arXiv 1810.02340).

    Parameters
    ----------
    network : Network
        The source.
    signals : sequence of dict of str to Signals
        Signals of its layers' connections, for a batch.

    Returns
    -------
    list of float32[nnz], one per layer
    """
    return [
        np.abs(connections.gradient_of(own[INPUT].delta, own[INPUT].source) * connections.weight)
        for connections, own in zip(network.incoming(), signals, strict=True)
    ]


def grasp_scores(network: Network, batch: Tiles, labels: AnyArray) -> list[Float32Array]:
    """Contribution of each connection to the gradient's norm (Wang et al. 2020, arXiv 2002.07376).

    Score = weight x (H g), with the gradient g and the Hessian H of the cross-entropy at a high temperature. Highest
    is best: the authors' score has the other sign, and its highest are removed. H g is the derivative of the gradient
    in the direction g (Pearlmutter 1994), from a second pass forward and backward, in double precision.

    Work O(B nnz), memory O(nnz + B neurons).

    Parameters
    ----------
    network : Network
        The source.
    batch : Tiles
        Of the inputs.
    labels : int32[n_samples]

    Returns
    -------
    list of float32[nnz], one per layer
    """
    layers = sparse_layers(network)
    passed = _Passes(layers, samples_of(batch, len(labels)).astype(np.float64), labels)
    along = passed.hessian_products(passed.gradients())
    return [(layer.weight * product).astype(VALUE) for layer, product in zip(layers, along, strict=True)]


def best_positions(scores: Sequence[Float32Array], n_wanted: int) -> list[Int64Array]:
    """Positions of the highest scores of all layers together, in each increasing; every layer keeps its best one.

    Equal scores are taken in the order of layers and positions. What is no number counts as the lowest.

    Parameters
    ----------
    scores : sequence of float32[n]
    n_wanted : int
        At least as many as there are layers with connections.
    """
    together = np.nan_to_num(np.concatenate(scores), nan=-np.inf, posinf=float(np.finfo(VALUE).max))
    bounds = np.cumsum([0, *(score.size for score in scores)]).tolist()
    for start, stop in pairwise(bounds):
        if stop > start:
            together[start + np.argmax(together[start:stop])] = np.inf
    chosen = strongest(together, np.arange(together.size, dtype=OFFSET), n_wanted)
    return [chosen[(chosen >= start) & (chosen < stop)] - start for start, stop in pairwise(bounds)]


class _Passes:
    """Signals of a batch in double precision, and their derivatives when the weights move."""

    def __init__(self, layers: Sequence[SparseLayer], inputs: Float64Array, labels: AnyArray) -> None:
        self._layers = layers
        self._matrices = [_matrix(layer, layer.weight) for layer in layers]
        self._sources, self._slopes = [inputs], list[Float64Array]()
        for layer, matrix in zip(layers, self._matrices, strict=True):
            sums = matrix @ self._sources[-1] + layer.bias[:, None]
            self._slopes.append(np.where(sums >= 0, 1.0, layer.slope))
            self._sources.append(sums * self._slopes[-1])
        self._share = _softmax(self._sources[-1] / TEMPERATURE)
        output = self._share.copy()
        output[labels, np.arange(len(labels))] -= 1
        self._factor = 1 / (TEMPERATURE * len(labels))
        self._deltas = [output * self._factor]
        for matrix, slope in zip(self._matrices[:0:-1], self._slopes[-2::-1], strict=True):
            self._deltas.insert(0, (matrix.T @ self._deltas[0]) * slope)

    def gradients(self) -> list[Float64Array]:
        """Gradients of the mean loss at the connections of each layer."""
        return [
            _at_connections(layer, delta, source)
            for layer, delta, source in zip(self._layers, self._deltas, self._sources[:-1], strict=True)
        ]

    def hessian_products(self, direction: Sequence[Float64Array]) -> list[Float64Array]:
        """Derivatives of the gradients when the weights move in a direction."""
        moves = [_matrix(layer, values) for layer, values in zip(self._layers, direction, strict=True)]
        moved = [np.zeros_like(self._sources[0])]
        for matrix, move, source, slope in zip(self._matrices, moves, self._sources, self._slopes, strict=False):
            moved.append((matrix @ moved[-1] + move @ source) * slope)
        share, output = self._share, moved[-1] / TEMPERATURE
        delta = share * (output - (share * output).sum(axis=0)) * self._factor
        products = list[Float64Array]()
        for number in range(len(self._layers) - 1, -1, -1):
            layer, own = self._layers[number], self._deltas[number]
            product = _at_connections(layer, delta, self._sources[number]) + _at_connections(layer, own, moved[number])
            products.insert(0, product)
            if number:
                below = self._matrices[number].T @ delta + moves[number].T @ own
                delta = below * self._slopes[number - 1]
        return products


def _matrix(layer: SparseLayer, values: AnyArray) -> scipy.sparse.csr_array:
    return layer.topology.matrix(values.astype(np.float64))


def _softmax(sums: Float64Array) -> Float64Array:
    powers = np.exp(sums - sums.max(axis=0))
    return np.asarray(powers / powers.sum(axis=0))


def _at_connections(layer: SparseLayer, delta: Float64Array, source: Float64Array) -> Float64Array:
    """Sums over the batch of what both ends of each connection have, float64[nnz]."""
    topology = layer.topology
    rows = topology.outs()
    sums, n_at_a_time = np.empty(rows.size), max(1, PRODUCTS // max(1, source.shape[1]))
    for start in range(0, rows.size, n_at_a_time):
        part = slice(start, start + n_at_a_time)
        sums[part] = np.einsum("ij,ij->i", delta[rows[part]], source[topology.indices[part]])
    return sums
