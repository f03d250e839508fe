"""A sparse multilayer perceptron (one replica) and the buffers it computes in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from hpc_sparse.dtypes import HIDDEN_VALUES, INDEX, VALUE, AnyArray, Float32Array, Int32Array, Int64Array, UInt16Array
from hpc_sparse.kernels.simd.activation import record_words
from hpc_sparse.kernels.simd.buffers import aligned_empty, padded_columns
from hpc_sparse.network.activations import negative_slopes
from hpc_sparse.network.connections.compaction import NetworkChange
from hpc_sparse.network.connections.initial_topology import Pattern, draw_topology
from hpc_sparse.network.connections.initial_weights import draw_weights
from hpc_sparse.network.layers.sparse import Dropout, SparseLayer
from hpc_sparse.network.objectives.losses import Loss
from hpc_sparse.network.optimizers.sgd import Sgd, Velocity
from hpc_sparse.rng import Purpose, stream_key

LINEAR = 1.0


@dataclass
class Network:
    """Layers from the first hidden one to the output: one replica.

    Attributes
    ----------
    layers : list of SparseLayer
        Row ``i`` of a layer belongs to its output neuron ``i``; the last layer is linear, its activation being
        part of the loss.
    neuron_ids : list of (int32[width] or None)
        One per layer of neurons, inputs first: the number that each neuron had in the original network,
        increasing; None if none has been removed. Given an empty list, none has been removed anywhere.
    """

    layers: list[SparseLayer]
    neuron_ids: list[Int32Array | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.neuron_ids = self.neuron_ids or [None] * (len(self.layers) + 1)
        assert len(self.neuron_ids) == len(self.layers) + 1, (len(self.neuron_ids), len(self.layers))

    @classmethod
    def random(
        cls,
        widths: list[int],
        densities: list[float],
        *,
        activation: str,
        alpha: float,
        initializer: str,
        seed: int,
        pattern: Pattern = "erdos_renyi",
    ) -> Network:
        """A network at random; ``widths`` from input to output, one density per layer of connections.

        The same arguments give the same network on any number of threads and ranks.
        """
        slopes = [*negative_slopes(activation, alpha, len(widths) - 2), LINEAR]
        layers = []
        for number, (n_in, n_out, density, slope) in enumerate(
            zip(widths[:-1], widths[1:], densities, slopes, strict=True)
        ):
            key = stream_key(seed, Purpose.TOPOLOGY, layer=number)
            topology = draw_topology(pattern, (n_out, n_in), density, key)
            weight = draw_weights(initializer, topology, stream_key(seed, Purpose.WEIGHTS, layer=number))
            layers.append(SparseLayer(topology, weight, np.zeros(n_out, VALUE), slope))
        return cls(layers)

    @property
    def widths(self) -> list[int]:
        """Neurons per layer, from the input to the output."""
        return [self.layers[0].topology.shape[1], *(layer.topology.shape[0] for layer in self.layers)]

    @property
    def n_neurons(self) -> int:
        """Neurons of all layers, input and output included."""
        return sum(self.widths)

    @property
    def n_connections(self) -> int:
        """Stored connections of all layers."""
        return sum(layer.topology.n_connections for layer in self.layers)

    @property
    def n_parameters(self) -> int:
        """Weights and biases of all layers."""
        return sum(layer.n_parameters for layer in self.layers)

    @property
    def density(self) -> float:
        """Stored connections as a share of those of the dense network of the same widths."""
        return self.n_connections / sum(layer.topology.shape[0] * layer.topology.shape[1] for layer in self.layers)

    def resting_velocities(self) -> list[Velocity]:
        """A new optimiser state, one part per layer."""
        return [Velocity.zeros(layer.weight.size, layer.bias.size) for layer in self.layers]

    def apply(self, change: NetworkChange, velocities: list[Velocity]) -> None:
        """Follow a change of all layers: topologies, weights, biases, ``velocities`` and the neurons' ids.

        Neurons may have gone: a workspace of the old widths does not fit any more.
        """
        for layer, velocity, layer_change in zip(self.layers, velocities, change.layers, strict=True):
            layer.follow(layer_change)
            velocity.carry(layer_change)
        self.neuron_ids = [
            _surviving_ids(ids, kept) for ids, kept in zip(self.neuron_ids, change.kept_neurons, strict=True)
        ]

    def forward(self, batch: Float32Array, workspace: Workspace) -> Float32Array:
        """Weighted sums of the output layer, float32[n_outputs, stride], a view into ``workspace``; no dropout.

        Parameters
        ----------
        batch : float32[n_features, stride]
            Samples as columns.
        workspace : Workspace
        """
        source = self._checked(batch)
        for layer, out in zip(self.layers, workspace.activations(batch.shape[1]), strict=True):
            layer.forward(source, out)
            source = out
        return source

    def train_batch(
        self,
        batch: Float32Array,
        labels: Int32Array,
        loss: Loss,
        dropouts: list[Dropout],
        sgd: Sgd,
        rate: float,
        velocities: list[Velocity],
        workspace: Workspace,
    ) -> tuple[float, int]:
        """One training step on one batch; changes weights, biases and velocities in place.

        Parameters
        ----------
        batch : float32[n_features, stride]
            Samples as columns; finite in the columns beyond the batch.
        labels : int32[n_samples], or float32[n_samples, n_outputs] where the loss takes targets
        loss : Loss
        dropouts : list of Dropout
            One per hidden layer.
        sgd, rate, velocities
            Optimiser settings, learning rate and state.
        workspace : Workspace

        Returns
        -------
        loss : float
            Summed over the batch, with dropout and before the update.
        n_correct : int
            Correct predictions of the same pass.
        """
        stride = batch.shape[1]
        activations, records = workspace.activations(stride), workspace.records(stride)
        self._forward_train(batch, dropouts, activations, records)
        delta = workspace.output_delta(stride)
        result = loss.evaluate(activations[-1], labels, delta)
        for number in range(len(self.layers) - 1, 0, -1):
            layer, below = self.layers[number], self.layers[number - 1]
            source = activations[number - 1]
            layer.backward_update(
                delta,
                source,
                below,
                dropouts[number - 1],
                records[number - 1],
                sgd,
                rate,
                velocities[number],
                workspace.scratch(layer.weight.size),
            )
            delta = source
        self.layers[0].gradient_update(delta, batch, sgd, rate, velocities[0])
        return result

    def gradient_batch(
        self,
        batch: Float32Array,
        labels: Int32Array,
        loss: Loss,
        dropouts: list[Dropout],
        workspace: Workspace,
        gradients: Sequence[tuple[Float32Array, Float32Array]],
    ) -> tuple[float, int]:
        """The gradient of the mean loss of one batch, without changing the network.

        Parameters
        ----------
        batch, labels, loss, dropouts, workspace
            As for :meth:`train_batch`.
        gradients : sequence of (float32[nnz], float32[n_out])
            Of each layer's weights and biases; overwritten.

        Returns
        -------
        loss : float
            Summed over the batch, with dropout.
        n_correct : int
        """
        stride = batch.shape[1]
        activations, records = workspace.activations(stride), workspace.records(stride)
        self._forward_train(batch, dropouts, activations, records)
        delta = workspace.output_delta(stride)
        result = loss.evaluate(activations[-1], labels, delta)
        for number in range(len(self.layers) - 1, 0, -1):
            source, below = activations[number - 1], self.layers[number - 1]
            self.layers[number].backward_gradient(
                delta, source, below, dropouts[number - 1], records[number - 1], *gradients[number]
            )
            delta = source
        self.layers[0].write_gradient(delta, batch, *gradients[0])
        return result

    def _checked(self, batch: Float32Array) -> Float32Array:
        """Assert that a batch has the inputs that the network has now: kernels would read whatever is there."""
        assert batch.shape[0] == self.layers[0].topology.shape[1], (batch.shape, self.widths)
        return batch

    def _forward_train(
        self,
        batch: Float32Array,
        dropouts: list[Dropout],
        activations: list[Float32Array],
        records: list[UInt16Array],
    ) -> None:
        source = self._checked(batch)
        for layer, dropout, out, record in zip(self.layers[:-1], dropouts, activations[:-1], records, strict=True):
            layer.forward_train(source, dropout, out, record)
            source = out
        self.layers[-1].forward(source, activations[-1])


class Workspace:
    """Everything a replica computes in, allocated once for the largest batch: no allocation in the loop.

    Holds the activations of every layer, whose place their deltas take in the backward pass, two bits per hidden
    activation for that pass, and the deltas of the output layer. Every buffer starts on a cache line, and so does every
    row of activations.

    Parameters
    ----------
    widths : list of int
        Neurons per layer, from the input to the output.
    max_batch : int
    activations : "float32" or "bfloat16"
        How hidden activations and deltas are stored; bfloat16 in uint16 arrays.
    """

    def __init__(self, widths: list[int], max_batch: int, *, activations: str = "float32") -> None:
        self._widths = widths[1:]
        stride = padded_columns(max_batch)
        hidden = HIDDEN_VALUES[activations]
        self._activations: list[AnyArray] = [aligned_empty(n * stride, hidden) for n in self._widths[:-1]]
        self._activations.append(aligned_empty(self._widths[-1] * stride, VALUE))
        self._records = [aligned_empty(n * record_words(stride), np.uint16) for n in self._widths[:-1]]
        self._output_delta = aligned_empty(self._widths[-1] * stride, VALUE)
        self._scratch = aligned_empty(0, VALUE)
        self._views: dict[int, _Views] = {}

    def activations(self, stride: int) -> list[Float32Array]:
        """[n, stride] for each layer after the input: float32, or bfloat16 (in uint16) for the hidden ones."""
        return self._views_at(stride).activations

    def records(self, stride: int) -> list[UInt16Array]:
        """uint16[n, words] for each hidden layer: see :mod:`hpc_sparse.kernels.simd.activation`."""
        return self._views_at(stride).records

    def output_delta(self, stride: int) -> Float32Array:
        """float32[n_outputs, stride] for the deltas of the output layer."""
        return self._views_at(stride).output_delta

    def scratch(self, n: int) -> Float32Array:
        """float32[n] for numbers that nobody needs longer than one pass of one layer; made when first needed."""
        if self._scratch.size < n:
            self._scratch = aligned_empty(n, VALUE)
        return self._scratch[:n]

    @property
    def n_bytes(self) -> int:
        """Bytes of all buffers."""
        floats = [*self._activations, self._output_delta, self._scratch]
        return sum(buffer.nbytes for buffer in floats) + sum(buffer.nbytes for buffer in self._records)

    def _views_at(self, stride: int) -> _Views:
        if stride not in self._views:
            self._views[stride] = _Views(
                _shaped(self._activations, self._widths, stride),
                _shaped(self._records, self._widths, record_words(stride)),
                _shaped([self._output_delta], self._widths[-1:], stride)[0],
            )
        return self._views[stride]


def _surviving_ids(ids: Int32Array | None, kept: Int64Array | None) -> Int32Array | None:
    if kept is None:
        return ids
    return kept.astype(INDEX) if ids is None else ids[kept]


class _Views(NamedTuple):
    """The buffers in the shape they have for one stride; made once, as every step asks for them."""

    activations: list[Float32Array]
    records: list[UInt16Array]
    output_delta: Float32Array


def _shaped(buffers: Iterable[AnyArray], widths: list[int], n_columns: int) -> list[AnyArray]:
    return [buffer[: n * n_columns].reshape(n, n_columns) for buffer, n in zip(buffers, widths, strict=False)]
