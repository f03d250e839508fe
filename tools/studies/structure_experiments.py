"""Four experiments about structure, after Van Gelder, Wortsman, Ehsani 2020 (arXiv 2012.00172)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from hpc_sparse.analysis import topology_distance
from hpc_sparse.analysis.overlap import shared_connections
from hpc_sparse.network.connections.registry import unstructured
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.layers.protocol import Layer
from hpc_sparse.network.layers.sparse import sparse_layers
from hpc_sparse.network.network import Network
from studies.structure import Laboratory, at_random, shuffled, with_topologies

OTHER_SEED = 1000
"""Added to the seed where weights or connections are to be others."""

SHARES = tuple(round(0.1 * tenth, 1) for tenth in range(10))
"""Fractions of the connections that are removed after training."""

HIGH_OVERLAP = 0.9
N_DISTANCES = 4


def measure_reset(laboratory: Laboratory, strategy: str, seed: int) -> dict[str, Any]:
    """E1: accuracy after training, and of the final structure, trained again without evolution."""
    config, still = laboratory.config(strategy, seed), laboratory.config("static", seed)
    network, accuracy = laboratory.train(config)
    # All the structure's connections act in the second training, whatever the strategy.
    found = [connections.topology for connections in network.incoming()]
    network = _with_all_acting(network, [connections.weight for connections in network.incoming()])
    rng = np.random.default_rng(seed + OTHER_SEED)
    structures = {
        "same structure, other weights": (found, seed + OTHER_SEED),
        "same structure, first weights": (found, seed),
        "same degrees, shuffled": ([shuffled(topology, rng) for topology in found], seed + OTHER_SEED),
        "at random": ([at_random(topology, rng) for topology in found], seed + OTHER_SEED),
    }
    accuracies = {"trained with its weights": accuracy}
    for name, (topologies, weight_seed) in structures.items():
        accuracies[name] = laboratory.train(still, with_topologies(network, topologies, config, weight_seed))[1]
    return {"accuracies": accuracies}


def measure_robustness(laboratory: Laboratory, strategy: str, seed: int) -> dict[str, Any]:
    """E2: accuracy by the share of connections removed after training: smallest by layer or of all, or random."""
    config = laboratory.config(strategy, seed)
    network, _ = laboratory.train(config)
    weights = [connections.to_csr().data for connections in network.incoming()]
    rng = np.random.default_rng(seed + OTHER_SEED)
    together = _ranks(np.concatenate([np.abs(weight) for weight in weights]))
    bounds = np.cumsum([weight.size for weight in weights])[:-1]
    ranks = {
        "smallest of each layer": [_ranks(np.abs(weight)) for weight in weights],
        "smallest of all": np.split(together, bounds),
        "at random": [_ranks(rng.random(weight.size)) for weight in weights],
    }
    curves = {
        name: [laboratory.accuracy(_without(network, weights, own, share), config) for share in SHARES]
        for name, own in ranks.items()
    }
    return {"shares": SHARES, "curves": curves}


def measure_emergence(laboratory: Laboratory, strategy: str, seed: int) -> dict[str, Any]:
    """E3: overlap of the structure after each epoch with the final one, in layers that evolve."""
    history: list[list[Topology]] = []

    def keep(network: Network, _: int) -> None:
        history.append([connections.topology for connections in network.incoming()[:-1]])

    _, accuracy = laboratory.train(laboratory.config(strategy, seed), after_epoch=keep)
    shared = [shared_connections(topologies, history[-1]) for topologies in history]
    overlap = [each.overlap for each in shared]
    looked_at = np.unique(np.linspace(0, len(history) - 1, N_DISTANCES).astype(int)).tolist()
    return {
        "accuracy": accuracy,
        "overlap": overlap,
        "intersection_over_union": [each.intersection_over_union for each in shared],
        "by_chance": shared[0].chance_overlap,
        "high_after": 1 + next(number for number, value in enumerate(overlap) if value >= HIGH_OVERLAP),
        "distances": {str(1 + number): _distance(history[number], history[-1]) for number in looked_at},
    }


def measure_freeze(laboratory: Laboratory, strategy: str, seed: int, ends: Sequence[int]) -> dict[str, Any]:
    """E4: accuracy when the topology is frozen after some epochs, and the number of its changes."""
    accuracies, changes = {}, {}
    for end in (*(each for each in ends if each < laboratory.n_epochs - 1), laboratory.n_epochs - 1):
        settings = ["evolution.drop_schedule=constant", *([f"evolution.end_epoch={end}"] if end else [])]
        config = laboratory.config(strategy if end else "static", seed, *settings)
        grown: list[int] = []
        _, accuracy = laboratory.train(config, after_epoch=lambda _, n, grown=grown: grown.append(n))
        accuracies[str(end)], changes[str(end)] = accuracy, sum(n > 0 for n in grown)
    return {"accuracies": accuracies, "changes": changes}


def _ranks(sizes: np.ndarray) -> np.ndarray:
    """Place of each in increasing order, from 0 to 1."""
    ranks = np.empty(sizes.size)
    ranks[np.argsort(sizes, kind="stable")] = np.arange(sizes.size) / max(1, sizes.size)
    return ranks


def _without(network: Network, weights: Sequence[np.ndarray], ranks: Sequence[np.ndarray], share: float) -> Network:
    """The network without the connections of the lowest ranks."""
    left = [np.where(rank >= share, weight, np.float32(0)) for weight, rank in zip(weights, ranks, strict=True)]
    return _with_all_acting(network, left)


def _with_all_acting(network: Network, weights: Sequence[np.ndarray]) -> Network:
    """The network with other weights, none of them in a reserve."""
    pairs = zip(sparse_layers(network), weights, strict=True)
    layers: list[Layer] = [replace(layer, incoming=unstructured(layer.topology, weight)) for layer, weight in pairs]
    return Network(layers, tile_width=network.tile_width)


def _distance(one: Sequence[Topology], other: Sequence[Topology]) -> float:
    return float(topology_distance(list(one), list(other)).mean)
