"""An update of WASSP-SGD is that of the mean gradient, in dense float64 arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hpc_sparse.config import load_config
from hpc_sparse.inputs.batches import shuffled_batches
from hpc_sparse.network.replica import Replica
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.partition import Share
from hpc_sparse.storage.checkpoint.file import read_replicas
from hpc_sparse.storage.dataset.file import load_dataset
from hpc_sparse.storage.dataset.samples import Dataset, DenseFeatures
from hpc_sparse.training.replica_states import (
    initial_replica,
)

# What write_small_data writes.
N_TRAIN = 331


class DenseOracle:
    """A network of dense matrices whose masked-out entries stay 0, trained by SGD with momentum without dropout."""

    def __init__(self, replica: Replica) -> None:
        layers = replica.network.layers
        self.slopes = [layer.slope for layer in layers]
        self.masks, self.weights = [], []
        for layer in layers:
            mask, weight = np.zeros(layer.topology.shape), np.zeros(layer.topology.shape)
            mask.reshape(-1)[layer.topology.keys()] = 1
            weight.reshape(-1)[layer.topology.keys()] = layer.weight
            self.masks.append(mask)
            self.weights.append(weight)
        self.biases = [layer.bias.astype(np.float64) for layer in layers]
        self.velocities = [np.zeros_like(array) for array in (*self.weights, *self.biases)]

    def gradients(self, batch: Any, labels: Any) -> list[Any]:
        """Summed over the samples (columns of ``batch``): of all weights, then of all biases."""
        sources, sums = [batch], []
        for weight, bias, slope in zip(self.weights, self.biases, self.slopes, strict=True):
            sums.append(weight @ sources[-1] + bias[:, None])
            sources.append(np.where(sums[-1] < 0, slope * sums[-1], sums[-1]))
        shifted = np.exp(sums[-1] - sums[-1].max(axis=0))
        delta = shifted / shifted.sum(axis=0)
        delta[labels, np.arange(labels.size)] -= 1
        of_weights: list[Any] = []
        of_biases: list[Any] = []
        for number in reversed(range(len(self.weights))):
            of_weights.insert(0, (delta @ sources[number].T) * self.masks[number])
            of_biases.insert(0, delta.sum(axis=1))
            if number:
                slope = np.where(sums[number - 1] < 0, self.slopes[number - 1], 1.0)
                delta = (self.weights[number].T @ delta) * slope
        return [*of_weights, *of_biases]

    def update(self, gradients: list[Any], rate: float, momentum: float) -> None:
        parameters = (*self.weights, *self.biases)
        self.velocities = [
            momentum * velocity - rate * gradient for velocity, gradient in zip(self.velocities, gradients, strict=True)
        ]
        for values, velocity in zip(parameters, self.velocities, strict=True):
            np.add(values, velocity, out=values)


def standardised(dataset: Dataset, chosen: Any) -> Any:
    features = dataset.train.features
    assert isinstance(features, DenseFeatures)
    values = features.values[chosen].astype(np.float64)
    return ((values - dataset.mean) / dataset.deviation).T


@pytest.mark.mpi(ranks=[3])
@pytest.mark.parametrize("size", [16, 40])
def test_wassp_applies_the_mean_gradient_over_all_samples_of_the_workers_batches(run: Any, size: int) -> None:
    # Shards of 166 and 165 samples: last batches of 6 and 5, which a plain mean of the two means would weigh wrongly.
    # Batches of 16 are single tiles, those of 40 are two.
    overrides = ("parallel.algorithm=wassp", "network.dropout=0", "evolution.strategy=static", "training.epochs=2")
    overrides = (*overrides, f"training.batch_size={size}", "optimizer.warmup_epochs=0")
    metrics, folder = run(*overrides)
    config, alone = load_config(run.folder / "run.toml", overrides), ParallelContext.serial(threads=1)
    shards = [load_dataset(alone, run.folder / "data.h5", train=Share(worker, 2)) for worker in (0, 1)]
    oracle = DenseOracle(initial_replica(config, shards[0].info))
    n_steps = N_TRAIN // (size * 2)
    assert metrics[0]["learning_rate"] == 0.04
    for update in range(2 * n_steps):
        total, n_samples = [np.zeros_like(array) for array in oracle.velocities], 0
        for worker, shard in enumerate(shards):
            number, step = divmod(update, -(-shard.train.n_samples // size))
            chosen = shuffled_batches(shard.train.n_samples, size, config.training.seed, number + 1, worker + 1)[step]
            gradients = oracle.gradients(standardised(shard, chosen), shard.train.labels[chosen])
            total = [so_far + gradient for so_far, gradient in zip(total, gradients, strict=True)]
            n_samples += chosen.size
        oracle.update([gradient / n_samples for gradient in total], 0.04, 0.9)
    layers = read_replicas(run.checkpoint(folder, 2))[0].layers
    for number, layer in enumerate(layers):
        expected = oracle.weights[number][oracle.masks[number] == 1]
        np.testing.assert_allclose(layer.parameters["weight"], expected, rtol=1e-4, atol=2e-6)
        np.testing.assert_allclose(layer.parameters["bias"], oracle.biases[number], rtol=1e-4, atol=2e-6)
        velocity = oracle.velocities[number][oracle.masks[number] == 1]
        np.testing.assert_allclose(layer.states["weight_velocity"], velocity, rtol=1e-3, atol=2e-6)
