"""Runs of the structure experiments, in this process, and the networks in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hpc_sparse.config import RunConfig, find_data, load_config
from hpc_sparse.kernels.threads import use_threads
from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.network.connections.initial_weights import draw_weights
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.layers.protocol import Layer
from hpc_sparse.network.layers.sparse import sparse_layers
from hpc_sparse.network.network import Network
from hpc_sparse.network.objectives.registry import make_objective
from hpc_sparse.network.replica import Replica
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.rng import Purpose, stream_key
from hpc_sparse.runs.first_topology import choose_first_topology
from hpc_sparse.storage.dataset.file import load_dataset
from hpc_sparse.storage.dataset.samples import Dataset
from hpc_sparse.training.evaluation import evaluate
from hpc_sparse.training.job import TrainingJob
from hpc_sparse.training.local_trainer import LocalTrainer
from hpc_sparse.training.replica_states import (
    initial_replica,
)
from studies.catalogue import EXPERIMENTS
from studies.data_sets import make_data_set
from studies.paper import config_of
from studies.strategies import COMMON, STRATEGIES


@dataclass(frozen=True)
class Laboratory:
    """A data set in memory, and how networks are trained on it.

    Attributes
    ----------
    data : str
    density : float
    n_epochs : int
    dataset : Dataset
    ctx : ParallelContext
    """

    data: str
    density: float
    n_epochs: int
    dataset: Dataset
    ctx: ParallelContext

    @classmethod
    def open(cls, data: str, density: float, n_epochs: int, n_threads: int) -> Laboratory:
        """Load the data set, made if it is missing."""
        config = config_of(EXPERIMENTS[data])
        make_data_set(EXPERIMENTS[data], config)
        ctx = ParallelContext.serial(threads=n_threads)
        use_threads(n_threads)
        return cls(data, density, n_epochs, load_dataset(ctx, find_data(f"{data}.h5", config), "serial"), ctx)

    def config(self, strategy: str, seed: int, *settings: str) -> RunConfig:
        """Configuration of one run."""
        names = (f"network.density={self.density}", f"training.seed={seed}")
        epochs = f"training.epochs={self.n_epochs}"
        return load_config(
            Path(config_of(EXPERIMENTS[self.data])), (*COMMON, *STRATEGIES[strategy], *names, epochs, *settings)
        )

    def train(
        self,
        config: RunConfig,
        network: Network | None = None,
        after_epoch: Callable[[Network, int], None] = lambda *_: None,
    ) -> tuple[Network, float]:
        """Train a new network, or the given one; gives it with its test accuracy after the last epoch.

        Parameters
        ----------
        config : RunConfig
        network : Network or None
            Changed in place.
        after_epoch : callable
            Called with the network and the connections that the topology has grown before the epoch.
        """
        replica = initial_replica(config, self.dataset.info) if network is None else Replica.at_rest(network)
        job = TrainingJob(self.ctx, config, self.dataset, replica, SilentReporter())
        if network is None:
            choose_first_topology(job)
        trainer, accuracy = LocalTrainer.start(job), float("nan")
        for epoch in range(1, config.training.epochs + 1):
            metrics = trainer.train_epoch(epoch)
            assert metrics is not None, "nobody asks this run to stop"
            accuracy = metrics.test_accuracy
            after_epoch(replica.network, metrics.connections_changed)
        return replica.network, accuracy

    def accuracy(self, network: Network, config: RunConfig) -> float:
        """Accuracy of a network on the test part."""
        replica = Replica(network, [])
        job = TrainingJob(self.ctx, config, self.dataset, replica, SilentReporter())
        batch_size, loss = config.training.batch_size, make_objective(config)
        arguments = (self.dataset.test, job.make_assembler(), job.make_workspace(), batch_size)
        return evaluate(self.ctx, network, loss, *arguments)[1]


def with_topologies(network: Network, topologies: Sequence[Topology], config: RunConfig, seed: int) -> Network:
    """A new network with these connections, and the weights that ``seed`` draws for them."""
    layers: list[Layer] = []
    for number, (layer, topology) in enumerate(zip(sparse_layers(network), topologies, strict=True)):
        key = stream_key(seed, Purpose.WEIGHTS, layer=number)
        weight = draw_weights(config.network.initializer, topology, key)
        layers.append(replace(layer, incoming=layer.incoming.rewired(topology, weight), bias=np.zeros_like(layer.bias)))
    return Network(layers, tile_width=network.tile_width)


def at_random(topology: Topology, rng: np.random.Generator) -> Topology:
    """A topology of as many connections, drawn uniformly."""
    n_out, n_in = topology.shape
    keys = rng.choice(n_out * n_in, topology.n_connections, replace=False, shuffle=False)
    return Topology.from_keys(topology.shape, np.sort(keys.astype(np.int64)))


def shuffled(topology: Topology, rng: np.random.Generator, n_rounds: int = 30) -> Topology:
    """Other connections, but every neuron above and below has as many as before.

    In each round all connections are paired at random, and two of them swap their ends unless one of the new ones is
    there already.
    """
    n_in, keys = topology.shape[1], topology.keys()
    for _ in range(n_rounds):
        order = rng.permutation(keys.size)
        first, second = order[: keys.size // 2], order[keys.size // 2 : 2 * (keys.size // 2)]
        rows, columns = keys // n_in, keys % n_in
        one, other = rows[first] * n_in + columns[second], rows[second] * n_in + columns[first]
        proposed, counts = np.unique(np.concatenate([one, other]), return_counts=True)
        taken = np.union1d(keys, proposed[counts > 1])
        may_swap = ~(np.isin(one, taken) | np.isin(other, taken))
        keys[first[may_swap]], keys[second[may_swap]] = one[may_swap], other[may_swap]
    return Topology.from_keys(topology.shape, np.sort(keys))
