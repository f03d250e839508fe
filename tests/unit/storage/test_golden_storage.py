"""Files that each format version once wrote stay readable."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from hpc_sparse.network.layers.state import LayerState
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.checkpoint.file import read_checkpoint, read_replicas
from hpc_sparse.storage.checkpoint.info import read_checkpoint_info
from hpc_sparse.storage.checkpoint.replicas import NO_REPLICA
from hpc_sparse.storage.checkpoint.state import Checkpoint
from hpc_sparse.storage.dataset.file import load_dataset
from hpc_sparse.storage.dataset.samples import CsrFeatures, DenseFeatures


@pytest.mark.parametrize("suffix", ["", "_V2"])
@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_the_golden_data_sets_are_read_as_they_were_made(
    ctx: ParallelContext, golden: dict[str, Any], kind: str, suffix: str
) -> None:
    dataset = load_dataset(ctx, golden[kind.upper() + suffix])
    made = golden[f"{kind}_samples"](5)
    assert (dataset.info.title, dataset.info.n_train, dataset.info.class_names) == ("golden", 11, golden["CLASS_NAMES"])
    np.testing.assert_array_equal(dataset.test.labels, made.labels)
    found = dataset.test.features
    if isinstance(found, DenseFeatures):
        np.testing.assert_array_equal(found.values, made.features.values)
        assert dataset.mean is not None
        np.testing.assert_allclose(dataset.mean, golden["dense_samples"](11).features.values.mean(axis=0), rtol=1e-6)
    else:
        assert isinstance(found, CsrFeatures)
        for name in ("indptr", "indices", "values"):
            np.testing.assert_array_equal(getattr(found, name), getattr(made.features, name))


def test_the_golden_checkpoint_is_read_as_it_was_made(ctx: ParallelContext, golden: dict[str, Any]) -> None:
    found, made = read_checkpoint(ctx, golden["CHECKPOINT"]), golden["checkpoint"]()
    assert (found.config_text, found.epoch, found.step, found.n_ranks) == (made.config_text, 12, 3456, 2)
    assert (found.metrics, found.history_best) == (made.metrics, made.history_best)
    for layer, expected in zip(found.layers, made.layers, strict=True):
        assert_same_layer(layer, expected)
    info = read_checkpoint_info(golden["CHECKPOINT"])
    assert (info.format_version, info.n_replicas, info.step_in_epoch, info.reduced_layers) == (1, 0, 0, ())
    assert (found.neuron_ids, found.replica, found.target_connections, found.step_in_epoch) == ((), None, (), 0)
    assert found.progress is None


def assert_same_layer(found: LayerState, made: LayerState) -> None:
    """All of two layers equal; arrays compared as such, with their names in the same order."""
    assert (found.kind, found.shape, found.activation, found.settings) == (
        *(made.kind, made.shape, made.activation),
        made.settings,
    )
    for name, connections in made.connections.items():
        again = found.connections[name]
        assert (again.kind, again.shape, again.n_units) == (connections.kind, connections.shape, connections.n_units)
    assert list(found.arrays()) == list(made.arrays())
    for name, array in made.arrays().items():
        np.testing.assert_array_equal(found.arrays()[name], array)
        assert found.arrays()[name].dtype == array.dtype


def assert_as_made(found: Checkpoint, made: Checkpoint) -> None:
    """All fields equal; arrays compared as such."""
    for field in dataclasses.fields(Checkpoint):
        if field.name not in ("layers", "front_end", "neuron_ids", "progress"):
            assert getattr(found, field.name) == getattr(made, field.name), field.name
    for ids, expected in zip(found.neuron_ids, made.neuron_ids, strict=True):
        np.testing.assert_array_equal(ids, expected)
    for name in ("mean", "deviation", "progress"):
        np.testing.assert_array_equal(getattr(found, name), getattr(made, name))
    for layer, expected_layer in zip(found.layers, made.layers, strict=True):
        assert_same_layer(layer, expected_layer)


@pytest.mark.parametrize(("name", "version"), [("REDUCED", 2), ("REDUCED_V3", 3), ("REDUCED_V4", 4)])
def test_the_golden_checkpoint_of_a_reduced_network_is_read_as_it_was_made(
    ctx: ParallelContext, golden: dict[str, Any], name: str, version: int
) -> None:
    assert_as_made(read_checkpoint(ctx, golden[name]), golden["reduced_checkpoint"]())
    assert_as_made(read_replicas(golden[name])[0], golden["reduced_checkpoint"]())
    info = read_checkpoint_info(golden[name])
    assert (info.format_version, info.n_replicas, info.step_in_epoch, info.reduced_layers) == (version, 0, 17, (0, 1))
    assert (info.n_neurons, info.n_connections, info.target_connections) == (10, 11, (5, 7))


@pytest.mark.parametrize(("name", "version"), [("REPLICAS", 2), ("REPLICAS_V3", 3), ("REPLICAS_V4", 4)])
def test_the_golden_replicas_are_read_as_they_were_made_together_and_one_by_one(
    ctx: ParallelContext, golden: dict[str, Any], name: str, version: int
) -> None:
    made = [golden["replica_checkpoint"](number) for number in range(2)]
    for found, expected in zip(read_replicas(golden[name]), made, strict=True):
        assert_as_made(found, expected)
    for number in (0, 1, NO_REPLICA):
        assert_as_made(read_checkpoint(ctx, golden[name], replica=number), golden["replica_checkpoint"](number))
    info = read_checkpoint_info(golden[name])
    assert (info.format_version, info.n_replicas, info.step_in_epoch, info.reduced_layers) == (version, 2, 17, (0, 1))
    assert [layer.n_connections for layer in info.layers] == [5, 1]
