"""Having every kernel compiled or loaded before the clock runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hpc_sparse.analysis.reach import effective_entries
from hpc_sparse.config import LayerSection, NetworkSection, RunConfig
from hpc_sparse.dtypes import INDEX, OFFSET, VALUE
from hpc_sparse.inputs.chain import FrontEndChain, any_samples
from hpc_sparse.kernels.simd.machine import PADDING
from hpc_sparse.kernels.sparse.descent import add_scaled
from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.network.optimizers.registry import make_optimizer
from hpc_sparse.network.parameters import ParameterLayout, gather_network, gather_states
from hpc_sparse.network.partitioned.division import divided
from hpc_sparse.parallel.agreement import network_digest
from hpc_sparse.parallel.collectives import collective_errors, patient_barrier
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.parallel.part_exchange import MpiExchange
from hpc_sparse.storage.dataset.samples import CsrFeatures, Dataset, DatasetInfo, DenseFeatures, Samples
from hpc_sparse.training.job import TrainingJob
from hpc_sparse.training.local_trainer import LocalTrainer
from hpc_sparse.training.replica_states import (
    initial_replica,
)
from hpc_sparse.training.trainer import is_served

N_FEATURES = 6
BATCH = 3 * PADDING
N_SAMPLES = BATCH + 8
"""A batch of several tiles, the narrowest there are, and a batch of one: their backward passes differ."""

TWO_TILES = 2 * PADDING
"""A batch whose gradients are computed tile by tile."""

STEPS = 2
"""Of samples that are sequences: a divisor of the features."""

WIDTH = 8
LARGEST_SIDE = 1 << 20
"""Of images; so many samplings no network has."""

TINY_RATE = 1e-6


def warm_up(ctx: ParallelContext, config: RunConfig, info: DatasetInfo) -> None:
    """Train a tiny network for two epochs with the run's own settings and kinds of data (collective).

    Expects :func:`hpc_sparse.kernels.threads.use_threads` to have been called.
    One rank of each node goes first and leaves the compiled code in the cache, from which the others load it.
    """
    with collective_errors(ctx, "preparing the kernels"):
        if ctx.node_rank == 0:
            _train_tiny(ctx, config, info)
    with collective_errors(ctx, "preparing the kernels"):
        if ctx.node_rank != 0:
            _train_tiny(ctx, config, info)
    if ctx.model.size > 1:
        _train_tiny_in_parts(ctx, config, info)


def _train_tiny(ctx: ParallelContext, config: RunConfig, info: DatasetInfo) -> None:
    job = _tiny_job(ctx, config, info, WIDTH)
    _train_complete(ctx, job)
    trainer = LocalTrainer.start(job)
    for epoch in (1, 2):
        trainer.train_epoch(epoch)
    network_digest(job.replica.network)
    effective_entries(job.replica.network)
    if is_served(ctx, config):
        _serve_tiny(job)


def _train_tiny_in_parts(ctx: ParallelContext, config: RunConfig, info: DatasetInfo) -> None:
    """Train a tiny network in as many parts as the run's, the first group before the others (collective)."""
    job = _tiny_job(ctx, config, info, max(WIDTH, 2 * ctx.model.size))
    for turn in (True, False):
        if (ctx.data.rank == 0) == turn:
            trainer = LocalTrainer.start(replace(job, replica=divided(MpiExchange(ctx.model), job.replica)))
            for epoch in (1, 2):
                trainer.train_epoch(epoch)
        patient_barrier(ctx)


def _tiny_job(ctx: ParallelContext, config: RunConfig, info: DatasetInfo, width: int) -> TrainingJob:
    """A run of one rank, of a network with hidden layers of so many neurons."""
    config = any_samples(config)
    layers = config.network.layers
    hidden = (width,) * (2 if layers is None else len(layers))
    small = {"hidden": hidden, "layers": _small_half_dense(layers, width), "epsilon": None, "density": 0.5}
    network = config.network.model_copy(update={**small, "initial_topology": config.network.random_pattern})
    network = network.with_small_keys()
    if network.has_units:
        # As large as a layer, they would often not exist at random.
        network = network.model_copy(update={"initial_topology": "constant_fan_in"})
    training = config.training.model_copy(update={"epochs": 2, "batch_size": BATCH})
    # At the run's own learning rate this network could diverge where the run's does not.
    optimizer = config.optimizer.model_copy(update={"learning_rate": TINY_RATE, "weight_decay": 0.0})
    evolution = config.evolution.model_copy(
        update={
            "every_epochs": 1,
            "every_steps": None,
            "begin_epoch": 0,
            "end_epoch": None,
            "final_density": None,
            "drop_schedule": "constant",  # or there might be nothing left to grow
        }
    )
    pruning = config.importance_pruning.model_copy(update={"after_epoch": 0, "every_epochs": 1, "until_epoch": 1})
    tiny_config = config.model_copy(
        update={
            "network": network,
            "training": training,
            "optimizer": optimizer,
            "evolution": evolution,
            "importance_pruning": pruning,
        }
    )
    tiny = _tiny_dataset(info, _n_features(network))
    alone = ParallelContext.serial(ctx.threads)
    replica, front_end = initial_replica(tiny_config, tiny.info), FrontEndChain.start(alone, tiny_config, tiny)
    replica.network.tile_width = PADDING
    return TrainingJob(alone, tiny_config, tiny, replica, SilentReporter(), fitted=front_end)


def _small_half_dense(layers: tuple[LayerSection, ...] | None, width: int) -> tuple[LayerSection, ...] | None:
    """Small layers without densities and topologies of their own, at which none of few connections might be left."""
    if layers is None:
        return None
    return tuple(
        each.smallest(width).model_copy(
            update={key: None for key in type(each).model_fields if key.endswith(("density", "initial_topology"))}
        )
        for each in layers
    )


def _n_features(network: NetworkSection) -> int:
    """Features of a sample: those of the smallest image that all layers can take, if they read images."""
    if not network.reads_images:
        return N_FEATURES
    side = 1
    while not _takes(network, side):
        side *= 2
    return side * side


def _takes(network: NetworkSection, side: int) -> bool:
    try:
        network.check_places(side * side)
    except ValueError:
        assert side < LARGEST_SIDE, network
        return False
    return True


def _train_complete(ctx: ParallelContext, job: TrainingJob) -> None:
    """A step and a prediction of a network in which all neurons are connected, as most output layers are.

    Only the kernels of such a step: each takes some milliseconds to load.
    """
    config = job.config.model_copy(update={"network": job.config.network.model_copy(update={"density": 1.0})})
    complete = replace(job, config=config, replica=initial_replica(config, job.dataset.info))
    complete.replica.network.tile_width = PADDING
    chosen = np.arange(TWO_TILES, dtype=OFFSET)
    batch, labels = complete.make_assembler().assemble(job.dataset.train, chosen)
    objective, optimizer, workspace = (
        job.objective,
        make_optimizer(config),
        complete.make_workspace(),
    )
    step_by = optimizer, TINY_RATE, workspace, config.optimizer.clip_norm
    complete.replica.train_batch(batch, labels, objective, complete.dropouts(1, 0), *step_by)
    complete.replica.network.forward(batch, workspace)
    if is_served(ctx, config):
        _serve_tiny(complete)


def _serve_tiny(job: TrainingJob) -> None:
    """One batch of a worker and its update on the server, on one rank."""
    network = job.replica.network
    layout = ParameterLayout.of(network)
    gradient = layout.new_vector()
    batch, labels = job.make_assembler().assemble(job.dataset.train, np.arange(BATCH, dtype=OFFSET))
    loss = job.objective
    network.gradient_batch(batch, labels, loss, job.dropouts(1, 0), job.make_workspace(), layout.views(gradient))
    total = np.zeros_like(gradient)
    add_scaled(gradient, VALUE(1), total)
    values, states = gather_network(network), gather_states(job.replica)
    make_optimizer(job.config).descend(TINY_RATE, values, total, layout.n_decayed, states)


def _tiny_dataset(info: DatasetInfo, n_features: int) -> Dataset:
    """Features of the kind that ``info`` describes: a batch that fills the registers, and a few more."""
    tiny = DatasetInfo(**{**vars(info), "n_features": n_features, "n_train": N_SAMPLES, "n_test": N_SAMPLES})
    tiny = replace(tiny, time_steps=min(info.time_steps, STEPS))
    labels = np.zeros((N_SAMPLES, STEPS) if info.has_step_labels else N_SAMPLES, INDEX)
    lengths = np.ones(N_SAMPLES, INDEX) if info.has_lengths else None
    if info.n_tokens:
        names = tuple(map(str, range(N_FEATURES)))
        samples = Samples(DenseFeatures(np.zeros((N_SAMPLES, STEPS), INDEX)), labels, lengths)
        return Dataset(replace(tiny, n_features=STEPS, vocabulary=names), samples, samples, None, None)
    if info.is_sparse:
        indptr, indices = np.arange(N_SAMPLES + 1, dtype=OFFSET), np.arange(N_SAMPLES, dtype=INDEX) % n_features
        samples = Samples(CsrFeatures(indptr, indices, np.ones(N_SAMPLES, VALUE), n_features), labels, lengths)
        return Dataset(tiny, samples, samples, None, None)
    samples = Samples(DenseFeatures(np.ones((N_SAMPLES, n_features), info.dtype)), labels, lengths)
    return Dataset(tiny, samples, samples, np.zeros(n_features, VALUE), np.ones(n_features, VALUE))
