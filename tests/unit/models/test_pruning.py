"""Pruning of trained networks: which percentile, what is written, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import scipy.special

from hpc_sparse.cli.display import table_lines
from hpc_sparse.config import parse_config
from hpc_sparse.errors import DataError, InputError, OutputError
from hpc_sparse.evolution.importance import ImportancePruner
from hpc_sparse.kernels.simd import machine
from hpc_sparse.models.inspection import evaluate_checkpoint
from hpc_sparse.models.pruning import CURVE_PERCENTILES, PruningRequest, prune_checkpoint, pruned_replica
from hpc_sparse.monitor.metrics import to_json
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.checkpoint.file import read_checkpoint, write_checkpoint
from hpc_sparse.storage.checkpoint.front_end import statistics_arrays
from hpc_sparse.storage.checkpoint.state import Checkpoint
from hpc_sparse.storage.dataset.file import load_dataset
from hpc_sparse.training.replica_states import (
    initial_replica,
    replica_from_states,
    replica_to_states,
)

CTX = ParallelContext.serial(threads=1)
ALL_FEATURES = 30


@pytest.fixture
def data(tmp_path, write_small_data):
    return write_small_data(tmp_path / "small.h5")


@pytest.fixture
def replica(data, make_config):
    """A network with biases and velocities of its own, as if it had been trained."""
    replica = initial_replica(make_config(), load_dataset(CTX, data).info)
    rng = np.random.default_rng(6)
    for layer, state in zip(replica.network.layers, replica.states, strict=True):
        for array in (layer.bias, state["velocity"]["weight"], state["velocity"]["bias"]):
            array[:] = rng.standard_normal(array.size)
    return replica


@pytest.fixture
def checkpoint(tmp_path, data, make_config, replica):
    """The file of a checkpoint of that network."""
    dataset = load_dataset(CTX, data)
    state = Checkpoint(
        config_text=make_config().to_toml(),
        epoch=3,
        step=36,
        n_ranks=1,
        layers=replica_to_states(replica),
        metrics={"test_accuracy": 0.25, "epoch": 3.0},
        history_best=(2, 0.5),
        front_end=statistics_arrays(dataset.mean, dataset.deviation),
    )
    write_checkpoint(CTX, tmp_path / "net.h5", state)
    return tmp_path / "net.h5"


def test_a_pruned_checkpoint_holds_what_is_left_and_says_so(checkpoint, replica):
    result = prune_checkpoint(CTX, PruningRequest(checkpoint, percentile=30, input_percentile=20))
    expected = pruned_replica(replica, 30, 20)
    found = read_checkpoint(CTX, checkpoint.with_name("net-pruned.h5"))
    again = replica_from_states(parse_config(found.config_text, "test"), found.layers, found.neuron_ids)
    again.check_invariants()
    assert result["output"] == str(checkpoint.with_name("net-pruned.h5"))
    for layer, other in zip(again.network.layers, expected.network.layers, strict=True):
        np.testing.assert_array_equal(layer.topology.keys(), other.topology.keys())
        np.testing.assert_array_equal(layer.weight, other.weight)
        np.testing.assert_array_equal(layer.bias, other.bias)
    for state, other in zip(again.states, expected.states, strict=True):
        np.testing.assert_array_equal(state["velocity"]["weight"], other["velocity"]["weight"])
        np.testing.assert_array_equal(state["velocity"]["bias"], other["velocity"]["bias"])
    for ids, other in zip(found.neuron_ids, expected.network.neuron_ids, strict=True):
        assert (ids is None) == (other is None)
        assert ids is None or ids.tolist() == other.tolist()
    assert found.mean.size == ALL_FEATURES > again.network.widths[0]
    assert (found.epoch, found.step, found.history_best) == (3, 36, None)
    assert found.metrics == {"pruning_percentile": 30.0, "pruning_input_percentile": 20.0}
    before, after = result["sizes"]
    assert before["connections"] == replica.network.n_connections
    assert after["connections"] == again.network.n_connections < before["connections"]
    assert (after["neurons"], after["parameters"]) == (again.network.n_neurons, again.network.n_parameters)


def test_what_is_pruned_of_several_networks_within_an_epoch_is_one_network_after_the_epoch_before(checkpoint, replica):
    state = read_checkpoint(CTX, checkpoint)
    sizes = tuple(layer.topology.n_connections for layer in replica.network.layers)
    progress = {"step": 40, "step_in_epoch": 4, "progress": np.ones((1, 8)), "progress_names": tuple("abcdefgh")}
    apart = checkpoint.with_name("apart.h5")
    write_checkpoint(CTX, apart, replace(state, replica=0, target_connections=sizes, **progress))
    prune_checkpoint(CTX, PruningRequest(apart, percentile=30))
    found = read_checkpoint(CTX, checkpoint.with_name("apart-pruned.h5"))
    assert (found.replica, found.target_connections, found.progress) == (None, (), None)
    assert (found.epoch, found.step, found.step_in_epoch) == (3, 36, 0)
    expected = pruned_replica(replica, 30, 0)
    assert [layer.parameters["weight"].size for layer in found.layers] == [
        layer.topology.n_connections for layer in expected.network.layers
    ]


@pytest.mark.parametrize("width", machine.WIDTHS)
def test_a_pruned_network_keeps_the_width_of_its_tiles(replica, width):
    replica.network.tile_width = width
    pruned = pruned_replica(replica, 40, 20)
    assert pruned.network.n_neurons < replica.network.n_neurons
    assert pruned.network.tile_width == width


def test_the_replica_that_is_pruned_stays_as_it_was(replica):
    before = [(layer.topology, layer.weight.copy(), layer.bias.copy()) for layer in replica.network.layers]
    pruned = pruned_replica(replica, 50, 50)
    assert pruned.network.n_connections < replica.network.n_connections
    for (topology, weight, bias), layer in zip(before, replica.network.layers, strict=True):
        assert layer.topology is topology
        np.testing.assert_array_equal(layer.weight, weight)
        np.testing.assert_array_equal(layer.bias, bias)
    assert replica.network.neuron_ids == [None] * 4
    assert pruned_replica(replica, 0, 0) is replica


def test_means_of_removed_neurons_go_into_the_biases_of_a_new_network(checkpoint, replica, tmp_path, data):
    own = [layer.bias.copy() for layer in replica.network.layers]
    request = PruningRequest(checkpoint, 40, dataset=data, output=tmp_path / "plain.h5")
    results = [
        prune_checkpoint(CTX, each)
        for each in (request, replace(request, output=tmp_path / "folded.h5", folds_means=True))
    ]
    plain, folded = (read_checkpoint(CTX, tmp_path / name).layers for name in ("plain.h5", "folded.h5"))
    same = [np.array_equal(*(each.parameters["bias"] for each in pair)) for pair in zip(plain, folded, strict=True)]
    assert same == [True, False, False]
    assert all(np.array_equal(bias, layer.bias) for bias, layer in zip(own, replica.network.layers, strict=True))
    assert results[0]["sizes"][0] == results[1]["sizes"][0]
    assert results[0]["sizes"][1]["connections"] == results[1]["sizes"][1]["connections"]
    taylor = replace(request, output=tmp_path / "taylor.h5", importance="taylor")
    prune_checkpoint(CTX, taylor)
    ids = [read_checkpoint(CTX, tmp_path / name).neuron_ids[1].tolist() for name in ("plain.h5", "taylor.h5")]
    assert ids[0] != ids[1]


@pytest.mark.parametrize("options", [{"folds_means": True}, {"importance": "taylor"}])
def test_what_needs_samples_needs_a_data_set(checkpoint, options):
    with pytest.raises(InputError, match="expected --data with the data set"):
        prune_checkpoint(CTX, PruningRequest(checkpoint, 20, **options))


def test_pruned_checkpoints_are_pruned_further_and_keep_the_original_numbers(checkpoint, tmp_path):
    prune_checkpoint(CTX, PruningRequest(checkpoint, percentile=20, input_percentile=20, output=tmp_path / "a.h5"))
    prune_checkpoint(CTX, PruningRequest(tmp_path / "a.h5", percentile=20, output=tmp_path / "b.h5"))
    first, second = (read_checkpoint(CTX, tmp_path / name).neuron_ids for name in ("a.h5", "b.h5"))
    assert first[0].tolist() == second[0].tolist()
    for number in (1, 2):
        assert set(second[number].tolist()) < set(first[number].tolist())


@pytest.mark.parametrize("share", [0.99, 0.5, 0.2, 0.05])
def test_a_target_takes_the_least_percentile_that_meets_it(checkpoint, replica, share):
    target = int(share * replica.network.n_connections)
    result = prune_checkpoint(CTX, PruningRequest(checkpoint, target_connections=target))
    connections = [
        (change.n_connections if change else replica.network.n_connections)
        for change in (
            ImportancePruner("compact", percentile, 0).prune(replica.network) for percentile in np.arange(0, 100, 0.1)
        )
    ]
    assert result["sizes"][1]["connections"] == max(n for n in connections if n <= target)


def test_a_target_that_no_pruning_meets_is_refused_with_what_could_be_met(checkpoint, tmp_path):
    with pytest.raises(InputError, match=r"target-connections = 4: .* has (\d+) connections left") as error:
        prune_checkpoint(CTX, PruningRequest(checkpoint, target_connections=4))
    fewest = int(str(error.value).split(" has ")[1].split()[0])
    result = prune_checkpoint(CTX, PruningRequest(checkpoint, target_connections=fewest))
    assert result["sizes"][1]["connections"] == fewest
    assert result["sizes"][1]["widths"][1:-1] == [1, 1]
    with pytest.raises(InputError, match="nothing to prune"):
        prune_checkpoint(CTX, PruningRequest(checkpoint, target_connections=10**6, output=tmp_path / "other.h5"))


def test_the_accuracy_is_that_of_evaluating_the_file_that_is_written(checkpoint, data):
    request = PruningRequest(checkpoint, percentile=25, input_percentile=40, dataset=data)
    before, after = prune_checkpoint(CTX, request)["sizes"]
    for path, measured in ((checkpoint, before), (request.target_file, after)):
        found = evaluate_checkpoint(CTX, path, data)
        assert (found["test_loss"], found["test_accuracy"]) == (measured["test_loss"], measured["test_accuracy"])
    assert read_checkpoint(CTX, request.target_file).metrics["test_accuracy"] == after["test_accuracy"]
    assert before["test_loss"] != after["test_loss"]


def test_sparse_features_are_left_out_as_dense_ones_are(tmp_path, write_small_data, checkpoint, make_config):
    data = write_small_data(tmp_path / "sparse.h5", kind="sparse")
    state = replace(read_checkpoint(CTX, checkpoint), front_end={})
    write_checkpoint(CTX, checkpoint, state)
    request = PruningRequest(checkpoint, percentile=0, input_percentile=60, dataset=data)
    after = prune_checkpoint(CTX, request)["sizes"][1]
    pruned = read_checkpoint(CTX, request.target_file)
    dataset = load_dataset(CTX, data)
    features, ids = dataset.test.features, pruned.neuron_ids[0]
    is_left = np.isin(features.indices, ids)
    rows = np.repeat(np.arange(features.n_samples), np.diff(features.indptr))
    values = np.zeros((features.n_samples, ids.size))
    values[rows[is_left], np.searchsorted(ids, features.indices[is_left])] = features.values[is_left]
    for layer, slope in zip(pruned.layers, [-0.6, 0.6, 1.0], strict=True):
        matrix = np.zeros(layer.shape)
        structure = layer.connections["input"].structure
        neurons = np.repeat(np.arange(layer.shape[0]), np.diff(structure["indptr"]))
        matrix[neurons, structure["indices"]] = layer.parameters["weight"]
        sums = values @ matrix.T + layer.parameters["bias"]
        values = np.where(sums >= 0, sums, slope * sums)
    labels = dataset.test.labels
    own = values[np.arange(labels.size), labels]
    assert after["test_accuracy"] == np.mean(values.argmax(axis=1) == labels)
    assert after["test_loss"] == pytest.approx(np.mean(scipy.special.logsumexp(values, axis=1) - own), rel=1e-5)


def test_a_curve_has_every_size_and_writes_nothing(checkpoint, data, replica, tmp_path):
    before = sorted(tmp_path.iterdir())
    result = prune_checkpoint(CTX, PruningRequest(checkpoint, dataset=data, has_curve=True))
    assert [point["percentile"] for point in result["curve"]] == list(CURVE_PERCENTILES)
    connections = [point["connections"] for point in result["curve"]]
    assert connections[0] == replica.network.n_connections
    assert connections == sorted(connections, reverse=True)
    assert result["curve"][0]["test_accuracy"] == evaluate_checkpoint(CTX, checkpoint, data)["test_accuracy"]
    assert sorted(tmp_path.iterdir()) == before
    lines = table_lines(json.loads(to_json(result)))
    assert len(lines) == 4 + 1 + len(CURVE_PERCENTILES)
    assert len({len(line) for line in lines[4:]}) == 1, "columns are aligned"
    assert "test accuracy" in lines[4]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "nothing to do"),
        ({"percentile": 5.0, "target_connections": 50}, "exclude each other"),
        ({"percentile": 100.0}, "--percentile = 100.0: must be >= 0 and < 100"),
        ({"percentile": float("nan")}, "--percentile = nan"),
        ({"percentile": 5.0, "input_percentile": -1.0}, "--inputs = -1.0"),
        ({"has_curve": True}, "--data"),
        ({"percentile": 0.0}, "nothing to prune"),
    ],
)
def test_requests_that_make_no_sense_are_refused(checkpoint, tmp_path, options, message):
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match=message):
        prune_checkpoint(CTX, PruningRequest(checkpoint, **options))
    assert sorted(tmp_path.iterdir()) == before


def test_nothing_is_overwritten(checkpoint):
    for output in (checkpoint, checkpoint.parent):
        with pytest.raises(OutputError, match="exists already"):
            prune_checkpoint(CTX, PruningRequest(checkpoint, percentile=10, output=output))


def test_data_with_other_features_are_refused_even_if_the_inputs_left_would_fit(checkpoint, tmp_path, data):
    request = PruningRequest(checkpoint, percentile=10, input_percentile=90)
    prune_checkpoint(CTX, request)
    state = read_checkpoint(CTX, request.target_file)
    last = int(state.neuron_ids[0][-1])
    statistics = statistics_arrays(np.zeros(ALL_FEATURES + 1, np.float32), np.ones(31, np.float32))
    longer = replace(state, front_end=statistics)
    write_checkpoint(CTX, tmp_path / "longer.h5", longer)
    with pytest.raises(DataError, match=r"30 features, but .* was trained on 31"):
        evaluate_checkpoint(CTX, tmp_path / "longer.h5", data)
    shifted = (np.append(state.neuron_ids[0][:-1], ALL_FEATURES).astype(np.int32), *state.neuron_ids[1:])
    assert last < ALL_FEATURES
    write_checkpoint(CTX, tmp_path / "shifted.h5", replace(longer, neuron_ids=shifted))
    with pytest.raises(DataError, match="30 features"):
        evaluate_checkpoint(CTX, tmp_path / "shifted.h5", data)
