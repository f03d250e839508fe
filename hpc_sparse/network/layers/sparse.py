"""One sparse layer: its connections, their weights, and its three passes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hpc_sparse.dtypes import VALUE, Float32Array, UInt16Array
from hpc_sparse.kernels.sparse import backward, forward, gradient
from hpc_sparse.network.connections.reserve import ALL_ACT, acting_weight
from hpc_sparse.network.connections.topology import Topology, TopologyChange
from hpc_sparse.network.optimizers.sgd import Sgd, Velocity


@dataclass(frozen=True)
class Dropout:
    """Inverted dropout of one layer in one step.

    Attributes
    ----------
    rate : float
        Share of activations set to 0; the others are divided by 1 - rate.
    key : uint64
        The stream that decides which.
    """

    rate: float
    key: np.uint64

    @property
    def drop_below(self) -> np.uint32:
        """The rate as a threshold for random 32-bit numbers."""
        return _drop_below(self.rate)

    @property
    def scale(self) -> np.float32:
        """Factor of the activations that stay."""
        return _scale(self.rate)


@dataclass
class SparseLayer:
    """A layer of a truly sparse network; activations are neuron-major, float32[n_neurons, stride].

    Attributes
    ----------
    topology : Topology
    weight : float32[nnz]
        One per connection, in the topology's order.
    bias : float32[n_out]
    slope : float
        Slope of the activation below 0; 1 for the linear output layer.
    acting_share : float
        Share of the connections, those of largest |weight|, that signals pass through in either direction. The others
        learn, but do not act: see :mod:`hpc_sparse.network.connections.reserve`.
    """

    topology: Topology
    weight: Float32Array
    bias: Float32Array
    slope: float
    acting_share: float = ALL_ACT

    @property
    def n_parameters(self) -> int:
        """Weights and biases."""
        return self.weight.size + self.bias.size

    @property
    def acting_weight(self) -> Float32Array:
        """float32[nnz]: the weights, 0 for connections that do not act."""
        return acting_weight(self.weight, self.acting_share)

    def forward(self, source: Float32Array, out: Float32Array) -> None:
        """``out = f(W source + b)`` without dropout; ``out`` float32[n_out, stride] is overwritten."""
        t = self.topology
        weight = self.acting_weight
        forward.forward(t.indptr, t.indices, weight, self.bias, source, VALUE(self.slope), t.bounds, out)

    def forward_train(self, source: Float32Array, dropout: Dropout, out: Float32Array, record: UInt16Array) -> None:
        """As :meth:`forward` with dropout, keeping in ``record`` uint16[n_out, words] what :meth:`backward` needs."""
        t = self.topology
        forward.forward_train(
            t.indptr,
            t.indices,
            self.acting_weight,
            self.bias,
            source,
            VALUE(self.slope),
            dropout.drop_below,
            dropout.scale,
            dropout.key,
            t.bounds,
            out,
            record,
        )

    def backward(
        self, delta: Float32Array, below: SparseLayer, dropout: Dropout, record: UInt16Array, out: Float32Array
    ) -> None:
        """Deltas of the layer ``below`` from this layer's; ``dropout`` and ``record`` are those of the layer below."""
        t, weight = self.topology.transposed, self.acting_weight
        backward.backward(
            t.indptr, t.outs, t.position, weight, delta, record, VALUE(below.slope), dropout.scale, t.bounds, out
        )

    def gradient(self, delta: Float32Array, source: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Gradient at each connection float32[nnz] and bias float32[n_out], without changing anything."""
        weight_gradient, bias_gradient = np.empty_like(self.weight), np.empty_like(self.bias)
        self.write_gradient(delta, source, weight_gradient, bias_gradient)
        return weight_gradient, bias_gradient

    def write_gradient(
        self, delta: Float32Array, source: Float32Array, weight_gradient: Float32Array, bias_gradient: Float32Array
    ) -> None:
        """As :meth:`gradient`, into arrays that are overwritten."""
        t = self.topology
        gradient.weight_gradients(t.indptr, t.indices, delta, source, t.bounds, weight_gradient)
        gradient.bias_gradients(delta, t.bounds, bias_gradient)

    def gradient_update(
        self, delta: Float32Array, source: Float32Array, sgd: Sgd, rate: float, velocity: Velocity
    ) -> None:
        """One SGD step from this layer's deltas and inputs; changes weight, bias and ``velocity`` in place."""
        t = self.topology
        step = self._step_arguments(sgd, rate, velocity)
        gradient.gradient_update(t.indptr, t.indices, delta, source, t.bounds, *step)

    def backward_update(
        self,
        delta: Float32Array,
        source: Float32Array,
        below: SparseLayer,
        dropout: Dropout,
        record: UInt16Array,
        sgd: Sgd,
        rate: float,
        velocity: Velocity,
        scratch: Float32Array,
    ) -> None:
        """:meth:`backward` and :meth:`gradient_update` together: each row of deltas is read once for both.

        The deltas of the layer below take the place of its activations in ``source``; ``scratch`` float32[nnz] is
        overwritten.
        """
        self._backward_and_gradient(delta, source, below, dropout, record, scratch)
        t = self.topology
        gradient.update(t.indptr, scratch, delta, t.bounds, *self._step_arguments(sgd, rate, velocity))

    def backward_gradient(
        self,
        delta: Float32Array,
        source: Float32Array,
        below: SparseLayer,
        dropout: Dropout,
        record: UInt16Array,
        weight_gradient: Float32Array,
        bias_gradient: Float32Array,
    ) -> None:
        """:meth:`backward`, into ``source`` as in :meth:`backward_update`, and :meth:`write_gradient`."""
        self._backward_and_gradient(delta, source, below, dropout, record, weight_gradient)
        gradient.bias_gradients(delta, self.topology.bounds, bias_gradient)

    def _backward_and_gradient(
        self,
        delta: Float32Array,
        source: Float32Array,
        below: SparseLayer,
        dropout: Dropout,
        record: UInt16Array,
        weight_gradient: Float32Array,
    ) -> None:
        if delta.shape[1] not in backward.FUSED_STRIDES:
            t = self.topology
            gradient.weight_gradients(t.indptr, t.indices, delta, source, t.bounds, weight_gradient)
            self.backward(delta, below, dropout, record, source)
            return
        index = self.topology.transposed
        transposed = (index.indptr, index.outs, index.position, self.acting_weight)
        factors = (VALUE(below.slope), dropout.scale)
        backward.backward_and_gradient(
            *transposed, delta, source, record, *factors, index.bounds, source, weight_gradient
        )

    def _step_arguments(self, sgd: Sgd, rate: float, velocity: Velocity) -> tuple[object, ...]:
        decay = VALUE(rate * sgd.weight_decay)
        factors = (VALUE(rate), VALUE(sgd.momentum), decay, sgd.is_nesterov)
        return (*factors, self.weight, self.bias, velocity.weight, velocity.bias)

    def follow(self, change: TopologyChange) -> None:
        """Take a changed topology: kept connections and neurons keep weight and bias, grown connections get 0."""
        self.weight, self.bias = change.carry(self.weight), change.carry_neurons(self.bias)
        self.topology = change.topology


@lru_cache
def _drop_below(rate: float) -> np.uint32:
    return np.uint32(min(round(rate * (1 << 32)), (1 << 32) - 1))


@lru_cache
def _scale(rate: float) -> np.float32:
    return VALUE(1.0 / (1.0 - rate))
