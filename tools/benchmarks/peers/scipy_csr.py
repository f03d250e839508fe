"""SciPy's CSR products and NumPy for the rest: what one writes in an afternoon. One thread, as SciPy has it."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from benchmarks import workload as w


class Trainer:
    """Forward and backward by CSR products, gradients at the stored connections by gathered rows."""

    def __init__(self, workload: w.Workload, n_threads: int) -> None:  # noqa: ARG002
        self._workload = workload
        self._layers = workload.network.layers
        self._matrices = [
            sp.csr_matrix((layer.weight.copy(), layer.topology.indices, layer.topology.indptr), layer.topology.shape)
            for layer in self._layers
        ]
        self._rows = [np.repeat(np.arange(m.shape[0]), np.diff(m.indptr)) for m in self._matrices]
        self._biases = [np.zeros((m.shape[0], 1), np.float32) for m in self._matrices]
        self._velocities = [(np.zeros_like(m.data), np.zeros((m.shape[0], 1), np.float32)) for m in self._matrices]
        self._rng = np.random.default_rng(0)

    def train(self, n_steps: int) -> None:
        """Train for ``n_steps`` steps."""
        for step in range(n_steps):
            chosen = self._workload.batch(step)
            self._step(np.ascontiguousarray(self._workload.features[chosen].T), self._workload.labels[chosen])

    def _step(self, batch: np.ndarray, labels: np.ndarray) -> None:
        activations, factors = [batch], []
        for matrix, bias, layer in zip(self._matrices, self._biases, self._layers, strict=True):
            sums = matrix @ activations[-1] + bias
            if layer is self._layers[-1]:
                break
            slope = np.where(sums >= 0, np.float32(1), np.float32(layer.slope))
            kept = (self._rng.random(sums.shape, np.float32) >= w.DROPOUT) * np.float32(1 / (1 - w.DROPOUT))
            factors.append(slope * kept)
            activations.append(sums * factors[-1])
        probability = np.exp(sums - sums.max(0))
        probability /= probability.sum(0)
        probability[labels, np.arange(labels.size)] -= 1
        delta = probability / labels.size
        for number in range(len(self._layers) - 1, -1, -1):
            matrix = self._matrices[number]
            below = (matrix.T @ delta) * factors[number - 1] if number else None
            gradient = np.einsum("kc,kc->k", delta[self._rows[number]], activations[number][matrix.indices])
            weight_velocity, bias_velocity = self._velocities[number]
            _descend(matrix.data, gradient, weight_velocity)
            _descend(self._biases[number], delta.sum(1, keepdims=True), bias_velocity)
            delta = below


def _descend(values: np.ndarray, gradient: np.ndarray, velocity: np.ndarray) -> None:
    velocity *= w.MOMENTUM
    velocity -= w.LEARNING_RATE * gradient
    values += velocity
