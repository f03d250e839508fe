"""NumPy with dense layers and its BLAS library: no framework at all."""

from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks import workload as w
from benchmarks.peers.scipy_csr import class_deltas, descend


class Trainer:
    """Forward and backward by dense products."""

    def __init__(self, workload: w.Workload, n_threads: int) -> None:
        self._workload, self._n_threads = workload, n_threads
        self._layers = workload.network.layers
        self._rng = np.random.default_rng(0)
        shapes = [layer.topology.shape for layer in self._layers]
        limits = [(6 / n_in) ** 0.5 / 3**0.5 for _, n_in in shapes]
        self._weights = [
            self._rng.uniform(-limit, limit, shape).astype(np.float32)
            for limit, shape in zip(limits, shapes, strict=True)
        ]
        self._biases = [np.zeros((n_out, 1), np.float32) for n_out, _ in shapes]
        self._velocities = [
            [np.zeros_like(values) for values in pair] for pair in zip(self._weights, self._biases, strict=True)
        ]

    def train(self, n_steps: int) -> None:
        """Train for ``n_steps`` steps."""
        with threadpool_limits(self._n_threads, "blas"):
            for step in range(n_steps):
                chosen = self._workload.batch(step)
                self._step(np.ascontiguousarray(self._workload.features[chosen].T), self._workload.labels[chosen])

    def predict(self, features: np.ndarray) -> np.ndarray:
        """int64[n]: classes of samples, float32[n, n_features]."""
        signals = features.T
        for weight, bias, layer in zip(self._weights, self._biases, self._layers, strict=True):
            sums = weight @ signals + bias
            signals = np.where(sums >= 0, sums, np.float32(layer.slope) * sums)
        return sums.argmax(0)

    def _step(self, batch: np.ndarray, labels: np.ndarray) -> None:
        activations, factors = [batch], []
        for weight, bias, layer in zip(self._weights, self._biases, self._layers, strict=True):
            sums = weight @ activations[-1]
            sums += bias
            if layer is self._layers[-1]:
                break
            factor = np.where(sums >= 0, np.float32(1), np.float32(layer.slope))
            factor *= (self._rng.random(sums.shape, np.float32) >= w.DROPOUT) * np.float32(1 / (1 - w.DROPOUT))
            factors.append(factor)
            activations.append(sums * factor)
        delta = class_deltas(sums, labels)
        for number in range(len(self._layers) - 1, -1, -1):
            weight = self._weights[number]
            below = (weight.T @ delta) * factors[number - 1] if number else None
            weight_velocity, bias_velocity = self._velocities[number]
            descend(weight, delta @ activations[number].T, weight_velocity)
            descend(self._biases[number], delta.sum(1, keepdims=True), bias_velocity)
            delta = below
