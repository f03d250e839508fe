"""Batches: every sample once, a new order each epoch, standardised columns."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.inputs.batches import BatchAssembler, ordered_batches, shuffled_batches
from hpc_sparse.inputs.chain import FrontEndChain
from hpc_sparse.inputs.standardise import Standardise
from hpc_sparse.kernels.simd import machine
from hpc_sparse.network.tiles import Tiles


def standardised(dataset):
    """The chain of a data set's statistics, if it has any."""
    return FrontEndChain(() if dataset.mean is None else (Standardise(dataset.mean, dataset.deviation),))


@pytest.mark.parametrize(("n_samples", "batch_size", "last"), [(100, 20, 20), (101, 20, 1), (5, 20, 5), (37, 1, 1)])
def test_every_sample_comes_once_per_epoch(n_samples, batch_size, last):
    for batches in (shuffled_batches(n_samples, batch_size, 1, 2, 0), ordered_batches(n_samples, batch_size)):
        assert sorted(np.concatenate(batches).tolist()) == list(range(n_samples))
        assert {batch.size for batch in batches[:-1]} <= {batch_size}
        assert batches[-1].size == last


def test_a_shard_without_samples_has_no_batches():
    assert shuffled_batches(0, 20, 1, 1, 0) == ordered_batches(0, 20) == []


def test_the_order_depends_on_seed_epoch_and_replica():
    names = [(1, 1, 0), (2, 1, 0), (1, 2, 0), (1, 1, 1)]
    orders = {tuple(np.concatenate(shuffled_batches(50, 20, *name)).tolist()) for name in names}
    assert len(orders) == len(names)
    again = np.concatenate(shuffled_batches(50, 20, *names[0]))
    assert tuple(again.tolist()) in orders


def test_evaluation_keeps_the_order():
    assert np.concatenate(ordered_batches(50, 20)).tolist() == list(range(50))


@pytest.mark.parametrize("width", machine.WIDTHS)
@pytest.mark.parametrize("n_chosen", [3, 16, 48, 100, 112, 128, 137, 230])
@pytest.mark.parametrize("kind", ["float32", "uint8", "csr"])
def test_batches_in_tiles_of_any_width_are_the_same_columns(make_dataset, kind, n_chosen, width):
    dataset = make_dataset(kind=kind)
    chosen = np.random.default_rng(4).permutation(230)[:n_chosen]
    widest, found = (
        BatchAssembler(standardised(dataset), 12, 230, each).assemble(dataset.train, chosen)[0]
        for each in (machine.WIDTHS[-1], width)
    )
    columns = [
        BatchAssembler(standardised(dataset), 12, 1).assemble(dataset.train, chosen[n : n + 1])[0].matrix()[:, 0]
        for n in range(n_chosen)
    ]
    assert found.width == width
    np.testing.assert_array_equal(found.matrix(), widest.matrix())
    np.testing.assert_array_equal(found.matrix()[:, :n_chosen], np.transpose(columns))
    assert not found.matrix()[:, n_chosen:].any()
    assert found.values.tobytes() == Tiles.of(widest.matrix(), width).values.tobytes()


@pytest.mark.parametrize("kind", ["float32", "uint8"])
def test_dense_batches_are_standardised_columns(make_dataset, kind):
    dataset = make_dataset(kind=kind)
    assembler = BatchAssembler(standardised(dataset), 12, 64)
    chosen = np.array([5, 200, 7, 7])
    batch, labels = assembler.assemble(dataset.train, chosen)
    expected = (dataset.train.features.values[chosen].astype(np.float64) - dataset.mean) / dataset.deviation
    assert batch.shape == (12, 16)
    np.testing.assert_allclose(batch.matrix()[:, :4], expected.T, rtol=1e-5, atol=1e-5)
    assert (batch.matrix()[:, 4:] == 0).all()
    np.testing.assert_array_equal(labels, dataset.train.labels[chosen])


def test_without_statistics_features_stay_as_they_are(make_dataset):
    dataset = make_dataset()
    batch, _ = BatchAssembler(FrontEndChain(), 12, 64).assemble(dataset.train, np.array([3]))
    np.testing.assert_array_equal(batch.matrix()[:, 0], dataset.train.features.values[3])


@pytest.mark.parametrize("width", machine.WIDTHS)
def test_sparse_batches_leave_nothing_behind_for_the_next(make_dataset, width):
    dataset = make_dataset(kind="csr")
    features = dataset.train.features
    dense = np.zeros((features.n_samples, 12), np.float32)
    rows = np.repeat(np.arange(features.n_samples), np.diff(features.indptr))
    dense[rows, features.indices] = features.values
    assembler = BatchAssembler(FrontEndChain(), 12, 150, width)
    for chosen in (np.arange(64), np.arange(90, 95), np.arange(64, 214), np.arange(64, 128), np.array([3])):
        batch, labels = assembler.assemble(dataset.train, chosen)
        np.testing.assert_array_equal(batch.matrix()[:, : chosen.size], dense[chosen].T)
        assert (batch.matrix()[:, chosen.size :] == 0).all()
        np.testing.assert_array_equal(labels, dataset.train.labels[chosen])


@pytest.mark.parametrize("width", machine.WIDTHS)
@pytest.mark.parametrize("features", [[4], [0, 3, 4, 11], list(range(12))])
@pytest.mark.parametrize("kind", ["float32", "uint8", "csr"])
def test_batches_of_some_features_are_those_rows_of_the_whole_batch(make_dataset, kind, features, width):
    dataset = make_dataset(kind=kind)
    front_end = standardised(dataset)
    whole = BatchAssembler(front_end, 12, 150, width)
    some = BatchAssembler(front_end.choosing(np.array(features, np.int32)), 12, 150, width)
    assert (whole.n_inputs, some.n_inputs) == (12, len(features))
    for chosen in (np.arange(64), np.arange(90, 95), np.arange(64, 214), np.arange(64, 128), np.array([3])):
        expected, _ = whole.assemble(dataset.train, chosen)
        batch, labels = some.assemble(dataset.train, chosen)
        assert batch.values.flags.c_contiguous
        assert batch.values.ctypes.data % 64 == 0
        np.testing.assert_array_equal(batch.matrix(), expected.matrix()[features])
        np.testing.assert_array_equal(labels, dataset.train.labels[chosen])
