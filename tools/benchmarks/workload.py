"""The network and data that every peer trains: the same connections, batches, and hyper-parameters."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from hpc_sparse.network.connections.topology import erdos_renyi_density
from hpc_sparse.network.network import Network
from hpc_sparse.storage.dataset.file import load_samples, read_statistics

LEARNING_RATE = 0.01
MOMENTUM = 0.9
DROPOUT = 0.3
ALPHA = 0.6
BATCH = 128
N_SAMPLES = 12_800


@dataclass(frozen=True)
class Workload:
    """A network and standardised samples for it.

    Attributes
    ----------
    name : str
    network : Network
    features : float32[n_samples, n_features]
    labels : int32[n_samples]
    order : int64[n_samples]
        Shuffled numbers of the samples.
    n_epoch_samples : int
        Samples of an epoch of the real data set, to which times are scaled.
    """

    name: str
    network: Network
    features: np.ndarray
    labels: np.ndarray
    order: np.ndarray
    n_epoch_samples: int

    @property
    def widths(self) -> list[int]:
        """Neurons per layer."""
        return self.network.widths

    @property
    def steps_per_epoch(self) -> float:
        """Batches of an epoch."""
        return self.n_epoch_samples / BATCH

    def batch(self, step: int) -> np.ndarray:
        """Numbers of the samples of one step."""
        start = step * BATCH % (self.order.size - self.order.size % BATCH)
        return self.order[start : start + BATCH]


def make_workload(
    name: str, widths: list[int], n_epoch_samples: int, *, epsilon: float | None = None, density: float | None = None
) -> Workload:
    """A workload with Erdos-Renyi layers of the given epsilon or density, and random samples.

    Speed does not depend on the numbers.
    """
    network, rng = _make_network(widths, epsilon, density), np.random.default_rng(0)
    features = rng.standard_normal((N_SAMPLES, widths[0]), np.float32)
    labels = rng.integers(0, widths[-1], N_SAMPLES).astype(np.int32)
    order = rng.permutation(N_SAMPLES)
    return Workload(name, network, features, labels, order, n_epoch_samples)


def _make_network(widths: list[int], epsilon: float | None, density: float | None) -> Network:
    pairs = list(pairwise(widths))
    densities = [density if epsilon is None else erdos_renyi_density(epsilon, *pair) for pair in pairs]
    return Network.random(widths, densities, activation="all_relu", alpha=ALPHA, initializer="he_uniform", seed=0)


FASHION_MNIST = "Fashion-MNIST 784-1000-1000-1000-10", [784, 1000, 1000, 1000, 10]


def fashion_mnist() -> Workload:
    """784-1000-1000-1000-10, epsilon 20: the Fashion-MNIST network of Curci et al. 2021."""
    return make_workload(*FASHION_MNIST, 60_000, epsilon=20)


def real_fashion_mnist(path: Path) -> tuple[Workload, np.ndarray, np.ndarray]:
    """The same network with the samples of an imported data set, and the features and labels of its test part."""
    name, widths = FASHION_MNIST
    mean, deviation = read_statistics(path)  # type: ignore[misc]
    (features, labels), (test_features, test_labels) = (
        ((samples.features.values - mean) / deviation, samples.labels)  # type: ignore[union-attr]
        for samples in (load_samples(path, part) for part in ("train", "test"))
    )
    order = np.arange(labels.size)
    workload = Workload(name, _make_network(widths, 20, None), features, labels, order, labels.size)
    return workload, test_features, test_labels


def cifar10() -> Workload:
    """3072-4000-1000-4000-10, epsilon 20: the CIFAR-10 network of Curci et al. 2021."""
    return make_workload("CIFAR-10 3072-4000-1000-4000-10", [3072, 4000, 1000, 4000, 10], 50_000, epsilon=20)


def small_cifar10(density: float) -> Workload:
    """3072-1024-512-10 at one density."""
    return make_workload(f"3072-1024-512-10, density {density:g}", [3072, 1024, 512, 10], 50_000, density=density)
