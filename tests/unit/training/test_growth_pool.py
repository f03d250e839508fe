"""The growth pool of one process, and batches from it. What several ranks make of it is tested with MPI."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.evolution.gradient_tiles import samples_of
from hpc_sparse.inputs.batches import BatchAssembler
from hpc_sparse.inputs.chain import FrontEndChain
from hpc_sparse.kernels.simd import machine
from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.network.distinct_numbers import distinct_numbers
from hpc_sparse.network.objectives.cross_entropy import CrossEntropy
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.rng import Purpose, stream
from hpc_sparse.storage.dataset.samples import take_rows
from hpc_sparse.training.growth_pool import GrowthSource, gather_pool
from hpc_sparse.training.job import TrainingJob
from hpc_sparse.training.replica_states import (
    initial_replica,
)

CTX = ParallelContext.serial(threads=1)


def columns(samples, n):
    """All samples as columns."""
    assembler = BatchAssembler(FrontEndChain(), samples.features.n_features, n)
    return assembler.assemble(samples, np.arange(n))[0].matrix()[:, :n]


@pytest.mark.parametrize("kind", ["float32", "uint8", "csr"])
@pytest.mark.parametrize("n_wanted", [1, 50, 500])
def test_the_pool_holds_the_samples_that_the_seed_chooses(make_dataset, kind, n_wanted):
    shard = make_dataset(kind=kind).train
    pool = gather_pool(CTX, shard, n_wanted, seed=5)
    n = min(n_wanted, 230)
    assert pool.n_samples == n
    numbers = distinct_numbers(230, n, stream(5, Purpose.GROWTH_POOL))
    np.testing.assert_array_equal(pool.labels, shard.labels[numbers])
    expected = type(shard)(take_rows(shard.features, numbers), shard.labels[numbers])
    np.testing.assert_array_equal(columns(pool, n), columns(expected, n))


def test_targets_of_a_regression_keep_their_columns(make_dataset):
    shard = make_dataset().train
    targets = np.arange(460, dtype=np.float32).reshape(230, 2)
    pool = gather_pool(CTX, type(shard)(shard.features, targets), 40, seed=5)
    assert pool.labels.shape == (40, 2)
    assert (pool.labels[:, 1] == pool.labels[:, 0] + 1).all()


@pytest.mark.parametrize("width", machine.WIDTHS)
@pytest.mark.parametrize("kind", ["float32", "csr"])
def test_a_batch_is_standardised_like_those_of_training_and_depends_on_its_stream(
    make_config, make_dataset, kind, width
):
    config = make_config("evolution.strategy=rigl", "evolution.growth_samples=33", "evolution.growth_pool=77")
    dataset = make_dataset(kind=kind)
    replica = initial_replica(config, dataset.info)
    replica.network.tile_width = width
    job = TrainingJob(CTX, config, dataset, replica, SilentReporter())
    source = GrowthSource.start(job, CrossEntropy())
    one, same, other = (
        [layer["input"] for layer in source.signals(replica.network, np.random.default_rng(seed))] for seed in (1, 1, 2)
    )
    assert [layer.n_samples for layer in one] == [33] * 3
    for first, second in zip(one, same, strict=True):
        assert first.source.width == first.delta.width == width
        np.testing.assert_array_equal(samples_of(first.source, 33), samples_of(second.source, 33))
        np.testing.assert_array_equal(first.delta.values, second.delta.values)
    assert not np.array_equal(one[0].source.values, other[0].source.values)
    available = {
        column.tobytes()
        for start in range(0, 220, 20)
        for column in job.make_assembler()
        .assemble(dataset.train, np.arange(start, start + 20))[0]
        .matrix()[:, :20]
        .T.copy()
    }
    drawn = [column.tobytes() for column in samples_of(one[0].source, 33).T.copy()]
    assert sum(column in available for column in drawn) >= 30  # ten samples are not looked at


def test_inputs_that_were_pruned_are_left_out(make_config, make_dataset):
    config, dataset = make_config("evolution.strategy=rigl"), make_dataset()
    replica = initial_replica(config, dataset.info)
    kept = np.array([0, 3, 4, 11], np.int32)
    layer = replica.network.layers[0]
    topology = type(layer.topology).random((24, 4), 0.5, np.uint64(1))
    values = {"weight": np.ones(topology.n_connections, np.float32), "bias": layer.bias}
    layer.rewire((24, 4), {"input": topology}, values)
    replica.network.neuron_ids[0] = kept
    job = TrainingJob(CTX, config, dataset, replica, SilentReporter())
    signals = GrowthSource.start(job, CrossEntropy()).signals(replica.network, np.random.default_rng(1))
    assert signals[0]["input"].source.shape[0] == 4
