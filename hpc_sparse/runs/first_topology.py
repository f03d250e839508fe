"""Initial topologies that depend on the data: the same on every rank, chosen once before the first step."""

from __future__ import annotations

import numpy as np

from hpc_sparse.config import RunConfig
from hpc_sparse.dtypes import AnyArray, Float32Array
from hpc_sparse.evolution.initial.correlated import correlated_topology
from hpc_sparse.evolution.initial.saliency import best_positions, grasp_scores, snip_scores
from hpc_sparse.network.connections.initial_weights import draw_weights
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.densities import source_densities
from hpc_sparse.network.layer_signals import layer_signals
from hpc_sparse.network.network import Network
from hpc_sparse.network.objectives.losses import LOSSES
from hpc_sparse.network.optimizers.sgd import Velocity
from hpc_sparse.rng import Purpose, stream, stream_key
from hpc_sparse.training.growth_pool import GrowthSource
from hpc_sparse.training.job import TrainingJob


def choose_first_topology(job: TrainingJob) -> None:
    """Give the job's new network the initial topology that its configuration wants from the data (collective).

    Every rank computes the same from the same pool of samples, so nothing else travels. The output layer stays as it
    is, and so do the others' connections in all.
    """
    config = job.config.network
    if config.topology not in {"snip", "grasp", "csti"} or len(job.replica.network.layers) == 1:
        return
    source = GrowthSource(job, LOSSES[job.config.training.loss])
    batch, labels = source.batch(stream(job.config.training.seed, Purpose.GROWTH_BATCH))
    is_pruned = config.topology != "csti"
    topologies = _pruned(job, batch, labels) if is_pruned else [_correlated(job, batch, len(labels))]
    for number, topology in enumerate(topologies):
        layer = job.replica.network.layers[number]
        # The weight of a connection depends on the connection only: it is what it was in the source network.
        key = stream_key(job.config.training.seed, Purpose.WEIGHTS, layer=number)
        layer.topology, layer.weight = topology, draw_weights(config.initializer, topology, key)
        job.replica.velocities[number] = Velocity.zeros(layer.weight.size, layer.bias.size)


def source_network(config: RunConfig, widths: list[int]) -> Network:
    """The denser random network whose connections are candidates."""
    settings = config.network
    return Network.random(
        widths,
        source_densities(settings, widths),
        activation=settings.activation,
        alpha=settings.alpha,
        initializer=settings.initializer,
        seed=config.training.seed,
    )


def _correlated(job: TrainingJob, batch: Float32Array, n_samples: int) -> Topology:
    first = job.replica.network.layers[0].topology
    rng = stream(job.config.training.seed, Purpose.TOPOLOGY)
    return correlated_topology(batch, n_samples, first.shape[0], first.n_connections, rng)


def _pruned(job: TrainingJob, batch: Float32Array, labels: AnyArray) -> list[Topology]:
    """The best connections of the source network, as many as the new one has in all layers but the last."""
    network = job.replica.network
    source = source_network(job.config, network.widths)
    if job.config.network.topology == "snip":
        scores = snip_scores(source, layer_signals(source, batch, labels, LOSSES[job.config.training.loss]))
    else:
        scores = grasp_scores(source, batch, labels)
    n_wanted = sum(layer.topology.n_connections for layer in network.layers[:-1])
    chosen = best_positions(scores[:-1], n_wanted)
    return [
        Topology.from_keys(layer.topology.shape, np.ascontiguousarray(layer.topology.keys()[positions]))
        for layer, positions in zip(source.layers[:-1], chosen, strict=True)
    ]
