"""The network and data that every peer trains: the same connections, batches, and hyper-parameters."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from hpc_sparse.network.connections.topology import erdos_renyi_density
from hpc_sparse.network.network import Network

LEARNING_RATE = 0.01
MOMENTUM = 0.9
DROPOUT = 0.3
ALPHA = 0.6
BATCH = 128
N_SAMPLES = 12_800


@dataclass(frozen=True)
class Workload:
    """A network and random standardised samples for it; speed does not depend on the numbers.

    Attributes
    ----------
    name : str
    network : Network
    features : float32[N_SAMPLES, n_features]
    labels : int32[N_SAMPLES]
    order : int64[N_SAMPLES]
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
        start = step * BATCH % N_SAMPLES
        return self.order[start : start + BATCH]


def make_workload(
    name: str, widths: list[int], n_epoch_samples: int, *, epsilon: float | None = None, density: float | None = None
) -> Workload:
    """A workload with Erdos-Renyi layers of the given epsilon or density."""
    pairs = list(pairwise(widths))
    densities = [density if epsilon is None else erdos_renyi_density(epsilon, *pair) for pair in pairs]
    network = Network.random(widths, densities, activation="all_relu", alpha=ALPHA, initializer="he_uniform", seed=0)
    rng = np.random.default_rng(0)
    features = rng.standard_normal((N_SAMPLES, widths[0]), np.float32)
    labels = rng.integers(0, widths[-1], N_SAMPLES).astype(np.int32)
    order = rng.permutation(N_SAMPLES)
    return Workload(name, network, features, labels, order, n_epoch_samples)


def fashion_mnist() -> Workload:
    """784-1000-1000-1000-10, epsilon 20: the Fashion-MNIST network of Curci et al. 2021."""
    return make_workload("Fashion-MNIST 784-1000-1000-1000-10", [784, 1000, 1000, 1000, 10], 60_000, epsilon=20)


def cifar10() -> Workload:
    """3072-4000-1000-4000-10, epsilon 20: the CIFAR-10 network of Curci et al. 2021."""
    return make_workload("CIFAR-10 3072-4000-1000-4000-10", [3072, 4000, 1000, 4000, 10], 50_000, epsilon=20)


def small_cifar10(density: float) -> Workload:
    """3072-1024-512-10 at one density."""
    return make_workload(f"3072-1024-512-10, density {density:g}", [3072, 1024, 512, 10], 50_000, density=density)
