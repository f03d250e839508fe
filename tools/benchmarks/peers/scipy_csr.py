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
            self._descend(self._gradients(self._workload.batch(step), self._rng))

    def predict(self, features: np.ndarray) -> np.ndarray:
        """int64[n]: classes of samples, float32[n, n_features]."""
        signals = np.ascontiguousarray(features.T)
        for matrix, bias, layer in zip(self._matrices, self._biases, self._layers, strict=True):
            sums = matrix @ signals + bias
            signals = np.where(sums >= 0, sums, np.float32(layer.slope) * sums)
        return sums.argmax(0)

    def _gradients(self, chosen: np.ndarray, rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
        """Gradients of the weights and biases of each layer, summed over the chosen samples."""
        activations, factors = [np.ascontiguousarray(self._workload.features[chosen].T)], []
        for matrix, bias, layer in zip(self._matrices, self._biases, self._layers, strict=True):
            sums = matrix @ activations[-1] + bias
            if layer is self._layers[-1]:
                break
            slope = np.where(sums >= 0, np.float32(1), np.float32(layer.slope))
            kept = (rng.random(sums.shape, np.float32) >= w.DROPOUT) * np.float32(1 / (1 - w.DROPOUT))
            factors.append(slope * kept)
            activations.append(sums * factors[-1])
        delta, gradients = class_deltas(sums, self._workload.labels[chosen]), []
        for number in range(len(self._layers) - 1, -1, -1):
            matrix = self._matrices[number]
            gradient = np.einsum("kc,kc->k", delta[self._rows[number]], activations[number][matrix.indices])
            gradients.append((gradient, delta.sum(1, keepdims=True)))
            delta = (matrix.T @ delta) * factors[number - 1] if number else None
        return gradients[::-1]

    def _descend(self, gradients: list[tuple[np.ndarray, np.ndarray]]) -> None:
        for number, pair in enumerate(gradients):
            values = self._matrices[number].data, self._biases[number]
            for own, gradient, velocity in zip(values, pair, self._velocities[number], strict=True):
                descend(own, gradient, velocity)


def class_deltas(sums: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Derivative of a batch's mean cross-entropy by the weighted sums [n_classes, n_samples] of the output layer."""
    probability = np.exp(sums - sums.max(0))
    probability /= probability.sum(0)
    probability[labels, np.arange(labels.size)] -= 1
    return probability / np.float32(w.BATCH)


def descend(values: np.ndarray, gradient: np.ndarray, velocity: np.ndarray) -> None:
    """One step of SGD with momentum."""
    velocity *= w.MOMENTUM
    velocity -= w.LEARNING_RATE * gradient
    values += velocity
