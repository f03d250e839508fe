"""Initial topologies that depend on the data: the same on every rank, chosen once before the first step."""

from __future__ import annotations

from dataclasses import replace

from hpc_sparse.config import RunConfig
from hpc_sparse.dtypes import AnyArray
from hpc_sparse.evolution.initial.correlated import correlated_topology
from hpc_sparse.evolution.initial.saliency import best_positions, grasp_scores, snip_scores
from hpc_sparse.network.connections.initial_weights import draw_weights
from hpc_sparse.network.connections.protocol import INPUT
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.densities import source_densities
from hpc_sparse.network.layer_signals import layer_signals
from hpc_sparse.network.network import Network, Place
from hpc_sparse.network.objectives.registry import make_objective
from hpc_sparse.network.tiles import Tiles
from hpc_sparse.rng import Purpose, stream, stream_key
from hpc_sparse.training.growth_pool import GrowthSource
from hpc_sparse.training.job import TrainingJob


def choose_first_topology(job: TrainingJob) -> None:
    """Give the job's new network the initial topology that its configuration wants from the data (collective).

    Every rank computes the same from the same pool of samples, so nothing else travels. The output layer stays as it
    is, and so do the others' connections in all.
    """
    config = job.config.network
    if config.initial_topology not in {"snip", "grasp", "csti"} or len(job.replica.network.layers) == 1:
        return
    source = GrowthSource.start(job, make_objective(job.config))
    batch, labels = source.batch(stream(job.config.training.seed, Purpose.GROWTH_BATCH))
    assert isinstance(batch, Tiles), "layers that read tokens refuse these topologies"
    is_pruned = config.initial_topology != "csti"
    topologies = _pruned(job, batch, labels) if is_pruned else [_correlated(job, batch, len(labels))]
    for number, topology in enumerate(topologies):
        # The weight of a connection depends on the connection only: it is what it was in the source network.
        key = stream_key(job.config.training.seed, Purpose.WEIGHTS, layer=number)
        job.replica.restart(number, {INPUT: topology}, {"weight": draw_weights(config.initializer, topology, key)})


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


def _correlated(job: TrainingJob, batch: Tiles, n_samples: int) -> Topology:
    first = job.replica.network.at(Place(0, INPUT)).topology
    rng = stream(job.config.training.seed, Purpose.TOPOLOGY)
    return correlated_topology(batch, n_samples, first.shape[0], first.n_connections, rng)


def _pruned(job: TrainingJob, batch: Tiles, labels: AnyArray) -> list[Topology]:
    """The best connections of the source network, as many as the new one has in all layers but the last."""
    network = job.replica.network
    source = replace(source_network(job.config, network.widths), tile_width=network.tile_width)
    if job.config.network.initial_topology == "snip":
        scores = snip_scores(source, layer_signals(source, batch, labels, make_objective(job.config)))
    else:
        scores = grasp_scores(source, batch, labels)
    n_wanted = sum(network.at(place).topology.n_connections for place in network.evolving())
    chosen = best_positions(scores[:-1], n_wanted)
    return [
        source.at(place).topology.select(positions) for place, positions in zip(source.evolving(), chosen, strict=True)
    ]
