"""A network is only tested on features that are scaled as it knows them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hpc_sparse.models.inspection import evaluate_checkpoint
from hpc_sparse.models.stored import StoredNetwork
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.checkpoint.file import read_checkpoint, write_checkpoint
from hpc_sparse.storage.checkpoint.front_end import statistics_arrays
from hpc_sparse.storage.checkpoint.state import Checkpoint
from hpc_sparse.storage.dataset.file import load_dataset
from hpc_sparse.storage.dataset.samples import CsrFeatures, DenseFeatures, Samples
from hpc_sparse.storage.dataset.writer import write_dataset
from hpc_sparse.training.replica_states import (
    initial_replica,
    random_replica,
    replica_to_states,
)

CTX = ParallelContext.serial(threads=1)


def as_csr(samples):
    """The same features, all of them stored."""
    n_samples, n_features = samples.features.values.shape
    indptr = np.arange(0, n_samples * n_features + 1, n_features)
    indices = np.tile(np.arange(n_features, dtype=np.int32), n_samples)
    return Samples(CsrFeatures(indptr, indices, samples.features.values.reshape(-1), n_features), samples.labels)


def shifted(samples):
    """Features whose mean is far from 0."""
    return Samples(DenseFeatures(samples.features.values * 3 + 20), samples.labels)


@pytest.fixture
def files(tmp_path, write_small_data):
    """The same samples in a dense and in a sparse data set."""
    small = load_dataset(CTX, write_small_data(tmp_path / "small.h5"))
    names = list(small.info.class_names)
    parts = [shifted(small.train), shifted(small.test)]
    write_dataset(tmp_path / "dense.h5", *parts, title="dense", class_names=names)
    write_dataset(tmp_path / "csr.h5", *(as_csr(part) for part in parts), title="csr", class_names=names)
    return tmp_path


@pytest.fixture
def checkpoint(files, make_config):
    """A checkpoint of a run with the dense one."""
    dataset, config = load_dataset(CTX, files / "dense.h5"), make_config()
    layers = replica_to_states(initial_replica(config, dataset.info))
    statistics = statistics_arrays(dataset.mean, dataset.deviation)
    state = Checkpoint(config.to_toml(), 3, 36, 1, layers, {}, None, front_end=statistics)
    write_checkpoint(CTX, files / "net.h5", state)
    return files / "net.h5"


def test_sparse_features_are_standardised_where_training_standardised_dense_ones(checkpoint, files):
    results = [evaluate_checkpoint(CTX, checkpoint, files / name) for name in ("csr.h5", "dense.h5")]
    assert np.isfinite(results[0]["test_loss"])
    assert [results[0][name] for name in ("test_loss", "test_accuracy")] == [
        results[1][name] for name in ("test_loss", "test_accuracy")
    ]


def test_sparse_and_dense_features_give_the_same_where_none_are_standardised(checkpoint, files, make_config):
    plain = make_config("data.standardize=false")
    write_checkpoint(CTX, checkpoint, replace(read_checkpoint(CTX, checkpoint), config_text=plain.to_toml()))
    results = [evaluate_checkpoint(CTX, checkpoint, files / name) for name in ("csr.h5", "dense.h5")]
    assert [result["test_loss"] for result in results] == pytest.approx([results[0]["test_loss"]] * 2)


def test_dense_features_are_taken_as_they_are_where_training_had_sparse_ones(checkpoint, files):
    state = read_checkpoint(CTX, checkpoint)
    write_checkpoint(CTX, checkpoint, replace(state, front_end={}))
    results = [evaluate_checkpoint(CTX, checkpoint, files / name) for name in ("csr.h5", "dense.h5")]
    assert [result["test_loss"] for result in results] == pytest.approx([results[0]["test_loss"]] * 2)


def test_a_checkpoint_whose_configuration_has_former_names_is_the_network_that_it_was(make_config, tmp_path):
    config = make_config("evolution.strategy=top_kast", "evolution.top_kast.acting_share=0.5")
    replica = random_replica(config, 30, 3)
    text = (Path(__file__).parents[2] / "golden" / "configuration_v1_top_kast.toml").read_text(encoding="utf-8")
    write_checkpoint(CTX, tmp_path / "a.h5", Checkpoint(text, 1, 12, 1, replica_to_states(replica), {}, None))
    stored = StoredNetwork.read(CTX, tmp_path / "a.h5")
    assert (stored.config.network.initial_topology, stored.config.parallel.algorithm) == ("snip", "local_sgd")
    for layer, own in zip(stored.replica.network.layers, replica.network.layers, strict=True):
        np.testing.assert_array_equal(layer.incoming.multipliers(), own.incoming.multipliers())
    assert np.count_nonzero(stored.replica.network.layers[0].incoming.multipliers() == 0) > 0
