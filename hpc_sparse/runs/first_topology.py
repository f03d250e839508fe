"""Initial topologies that depend on the data: the same on every rank, chosen once before the first step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from hpc_sparse.config import RunConfig
from hpc_sparse.config.layers import CHOSEN_BY_DATA
from hpc_sparse.dtypes import OFFSET, VALUE, Float32Array, Float64Array
from hpc_sparse.evolution.gradient_tiles import samples_of
from hpc_sparse.evolution.initial.correlated import FeatureSums, correlated_topologies, drawn_features
from hpc_sparse.evolution.initial.saliency import best_positions, grasp_scores, snip_scores
from hpc_sparse.network.connections.initial_weights import draw_weights
from hpc_sparse.network.connections.protocol import INPUT
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.densities import source_densities
from hpc_sparse.network.layer_signals import layer_signals
from hpc_sparse.network.network import Network
from hpc_sparse.network.tiles import Tiles
from hpc_sparse.network.tokens import Batch
from hpc_sparse.parallel.collectives import all_gather_counts, all_gather_parts, all_reduce_sum
from hpc_sparse.rng import Purpose, stream, stream_key
from hpc_sparse.training.growth_pool import GrowthSource
from hpc_sparse.training.job import TrainingJob


def choose_first_topology(job: TrainingJob) -> None:
    """Give the job's new network the initial topology that its configuration wants from the data (collective).

    By snip and grasp, every rank computes the same from the same pool of samples, so nothing else travels. By csti,
    every rank goes through its own samples, and exact sums travel. The output layer stays as it is, and so does the
    number of the others' connections.
    """
    config = job.config.network
    if config.initial_topology not in CHOSEN_BY_DATA or len(job.replica.network.layers) == 1:
        return
    topologies = _correlated(job) if config.initial_topology == "csti" else _pruned(job)
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


def _correlated(job: TrainingJob) -> list[Topology]:
    """Connections of correlated features in all layers but the last, from all training samples (collective)."""
    network, seed = job.replica.network, job.config.training.seed
    shard, assembler, n_each = job.dataset.train, job.make_assembler(), job.config.training.batch_size

    def batches() -> Iterator[Float32Array]:
        for start in range(0, shard.n_samples, n_each):
            chosen = np.arange(start, min(shard.n_samples, start + n_each), dtype=OFFSET)
            yield samples_of(_numbers(assembler.assemble(shard, chosen)[0]), chosen.size)

    def add_up(sums: Float64Array) -> None:
        all_reduce_sum(job.ctx, sums.reshape(-1))

    n_features, places = network.widths[0], network.evolving()
    largest = np.zeros(n_features, VALUE)
    for values in batches():
        np.maximum(largest, np.abs(values).max(axis=1), out=largest)
    largest = np.max(all_gather_parts(job.ctx, largest), axis=0)
    n_samples = int(all_gather_counts(job.ctx, shard.n_samples).sum())
    sums = FeatureSums.of(batches, largest, n_samples, add_up)
    rngs = [stream(seed, Purpose.TOPOLOGY, layer=place.layer) for place in places]
    features = [np.arange(n_features, dtype=OFFSET)]
    features += [
        drawn_features(network.at(place).shape[0], n_features, rng) for place, rng in zip(places, rngs, strict=True)
    ]
    sizes = [network.at(place).topology.n_connections for place in places]
    return correlated_topologies(features, sizes, sums, batches, add_up, rngs)


def _numbers(batch: Batch) -> Tiles:
    """A batch of numbers; layers that read tokens refuse these topologies."""
    assert isinstance(batch, Tiles), type(batch)
    return batch


def _pruned(job: TrainingJob) -> list[Topology]:
    """The best connections of the source network, as many as the new one has but for the last layer (collective)."""
    growth = GrowthSource.start(job, job.objective)
    batch, labels = growth.batch(stream(job.config.training.seed, Purpose.GROWTH_BATCH))
    network = job.replica.network
    source = replace(source_network(job.config, network.widths), tile_width=network.tile_width)
    if job.config.network.initial_topology == "snip":
        scores = snip_scores(source, layer_signals(source, batch, labels, job.objective))
    else:
        scores = grasp_scores(source, _numbers(batch), labels)
    n_wanted = sum(network.at(place).topology.n_connections for place in network.evolving())
    chosen = best_positions(scores[:-1], n_wanted)
    return [
        source.at(place).topology.select(positions) for place, positions in zip(source.evolving(), chosen, strict=True)
    ]
