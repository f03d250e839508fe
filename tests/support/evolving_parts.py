"""A network that learns and evolves, whole or in parts, and the digest of all that it has become."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from hpc_sparse.config import RunConfig
from hpc_sparse.config.loading import parse_config
from hpc_sparse.network.connections.protocol import INPUT
from hpc_sparse.network.dropout import Dropout
from hpc_sparse.network.layer_signals import Signals, layer_signals
from hpc_sparse.network.network import Network, Place
from hpc_sparse.network.objectives.cross_entropy import CrossEntropy
from hpc_sparse.network.optimizers.registry import make_optimizer
from hpc_sparse.network.partitioned.exchange import ALONE, Exchange
from hpc_sparse.network.replica import Replica
from hpc_sparse.network.tiles import Tiles
from hpc_sparse.training.evolution_step import Evolution

N_INPUTS, N_OUTPUTS, N_SAMPLES, STEPS, EPOCHS = 23, 5, 40, 3, 4

CONFIG = """
    [data]
    path = "some.h5"
    [network]
    hidden = [41, 29, 37]
    density = 0.2
    dropout = 0.3
    [training]
    epochs = 4
    seed = 3
    [optimizer]
    learning_rate = 0.05
"""

SETTINGS = {
    "static": ["evolution.strategy=static"],
    "set": ["evolution.strategy=set", "evolution.drop_fraction=0.3"],
    "set, zero": ["evolution.strategy=set", "evolution.grown_weights=zero", "optimizer.nesterov=true"],
    "set, fewer": ["evolution.strategy=set", "evolution.final_density=0.05", "training.optimizer=adamw"],
    "set, late": ["evolution.strategy=set", "evolution.drop_schedule=cosine", "evolution.begin_epoch=2"],
    "deep_r": ["evolution.strategy=deep_r", "evolution.deep_r.shrinkage=0.01", "evolution.deep_r.noise=0.02"],
    "deep_r, fewer": ["evolution.strategy=deep_r", "evolution.deep_r.shrinkage=0.01", "evolution.final_density=0.05"],
    "gse, uniform": ["evolution.strategy=gse", "evolution.gse.candidates=uniform"],
    "gse, grabo": ["evolution.strategy=gse", "evolution.gse.candidate_ratio=2"],
    "gse, graest": ["evolution.strategy=gse", "evolution.gse.candidates=graest", "evolution.final_density=0.1"],
    "gse, global": ["evolution.strategy=gse", "evolution.gse.scope=global"],
    "srigl": ["evolution.strategy=srigl"],
    "constant fan-in, srigl": [
        "evolution.strategy=srigl",
        "network.initial_topology=constant_fan_in",
        "evolution.srigl.min_salient=0.8",
        "evolution.final_density=0.1",
    ],
    "constant fan-in, set": ["evolution.strategy=set", "network.initial_topology=constant_fan_in"],
    "rigl": ["evolution.strategy=rigl"],
    "rigl, initial": ["evolution.strategy=rigl", "evolution.grown_weights=initial", "evolution.final_density=0.1"],
    "pruned": [
        "importance_pruning.mode=compact",
        "importance_pruning.percentile=15",
        "importance_pruning.after_epoch=1",
        "importance_pruning.every_epochs=1",
    ],
    "pruned, two-sided": [
        "importance_pruning.mode=compact",
        "importance_pruning.percentile=20",
        "importance_pruning.input_percentile=10",
        "importance_pruning.importance=two_sided",
        "importance_pruning.after_epoch=0",
        "importance_pruning.every_epochs=2",
        "importance_pruning.fold_means=true",
        "evolution.strategy=gse",
    ],
    "pruned, released": [
        "importance_pruning.mode=released",
        "importance_pruning.percentile=40",
        "importance_pruning.after_epoch=0",
        "importance_pruning.every_epochs=2",
        "evolution.strategy=rigl",
    ],
    "pruned, almost empty": [
        "importance_pruning.mode=compact",
        "importance_pruning.percentile=97",
        "importance_pruning.after_epoch=1",
        "importance_pruning.every_epochs=1",
        "network.density=0.05",
        "importance_pruning.fold_means=false",
    ],
    "set, crowded": ["evolution.strategy=set", "network.density=0.7", "network.initializer=he_fan_in"],
}
"""What to try, by names."""


class Growth:
    """Signals of a batch of random samples, in the place of a job's."""

    def signals(self, network: Network, rng: np.random.Generator) -> Sequence[Mapping[str, Signals]]:
        """The signals of every layer's connections."""
        return layer_signals(network, *batch_of(network, rng, 21), CrossEntropy())


def batch_of(network: Network, rng: np.random.Generator, n_samples: int) -> tuple[Tiles, np.ndarray]:
    """Random inputs, and labels."""
    batch = Tiles.of(rng.normal(size=(network.widths[0], n_samples)).astype(np.float32), network.tile_width)
    return batch, rng.integers(0, network.widths[-1], n_samples).astype(np.int32)


def evolving_config(*settings: str) -> RunConfig:
    """The configuration of a small network, with these settings."""
    return parse_config(CONFIG, "evolving.toml", settings)


def new_replica(config: RunConfig) -> Replica:
    """The whole network before its first step."""
    from hpc_sparse.evolution import state_types

    network = Network.from_config(config.network, N_INPUTS, N_OUTPUTS, seed=config.training.seed)
    network.tile_width = 16
    return Replica.at_rest(network, state_types(config))


def train(
    replica: Replica, config: RunConfig, epochs: int = EPOCHS, n_samples: int = N_SAMPLES
) -> list[tuple[float, int]]:
    """Train for some epochs, each of which begins with the changes that are due.

    Returns
    -------
    list of (loss of each step, connections of the network)
    """
    evolution = Evolution(config, n_steps=STEPS, growth=Growth(), keeps_changes=False, n_inputs=N_INPUTS)  # type: ignore[arg-type]
    rng, optimizer, found = np.random.default_rng(5), make_optimizer(config), list[tuple[float, int]]()
    for epoch in range(1, epochs + 1):
        evolution.step(replica, epoch)
        replica.check_invariants()
        network = replica.network
        workspace = network.make_workspace(n_samples)
        for step in range(STEPS):
            full = np.random.default_rng((epoch, step)).normal(size=(N_INPUTS, n_samples)).astype(np.float32)
            ids = network.neuron_ids[0]
            batch = Tiles.of(full if ids is None else full[ids], network.tile_width)
            labels = rng.integers(0, N_OUTPUTS, n_samples).astype(np.int32)
            dropouts = [
                Dropout(0.3, np.uint64(1000 * epoch + 10 * step + number)) for number in range(len(network.layers) - 1)
            ]
            outcome = replica.train_batch(batch, labels, CrossEntropy(), dropouts, optimizer, 0.05, workspace)
            found.append((outcome.loss, network.n_connections))
    return found


def digests(replica: Replica, exchange: Exchange = ALONE) -> list[str]:
    """Of each layer, the sha256 of its row pointers, indices, weights, biases and all state arrays (collective)."""
    found = []
    for number, layer in enumerate(replica.network.layers):
        place = Place(number, INPUT)
        rows = replica.network.rows(place)
        arrays = [np.diff(rows.indptr).astype(np.int64), rows.indices, layer.connections()[INPUT].scores()]
        arrays += [layer.parameters()["bias"].values]
        for name, own in replica.states[number].values.items():
            arrays += [replica.state_at(place, name), own["bias"]]
        digest = hashlib.sha256()
        for array in arrays:
            digest.update(exchange.together(np.ascontiguousarray(array)).tobytes())
        found.append(digest.hexdigest())
    return found
