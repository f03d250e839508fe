"""Predictions of a checkpoint's network, against dense matrices in float64."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from scipy.special import expit, softmax

import hpc_sparse
from hpc_sparse.errors import ArrayError, DataError, FileFormatError
from hpc_sparse.inference import network_pass
from hpc_sparse.models.inspection import evaluate_checkpoint
from hpc_sparse.models.merged import read_merged
from hpc_sparse.models.pruning import PruningRequest, prune_checkpoint
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.checkpoint.file import read_checkpoint, write_checkpoint
from hpc_sparse.storage.dataset.file import load_dataset
from hpc_sparse.storage.dataset.samples import DenseFeatures, Samples
from hpc_sparse.storage.dataset.writer import write_dataset

CTX = ParallelContext.serial(threads=1)
N_FEATURES = 30
TOLERANCE = 2e-5


def samples(n_samples):
    return np.random.default_rng(4).uniform(0, 10, (n_samples, N_FEATURES)).astype(np.float32)


@pytest.mark.parametrize("n_samples", [0, 1, 2, 131])
@pytest.mark.parametrize("standardize", ["true", "false"])
def test_predictions_are_those_of_the_dense_network(write_network, sums_of, standardize, n_samples):
    path = write_network(f"data.standardize={standardize}")
    X = samples(n_samples)
    model, expected = hpc_sparse.load_model(path), sums_of(path, X)
    np.testing.assert_allclose(model.weighted_sums(X), expected, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(model.predict_proba(X), softmax(expected, axis=1), rtol=0, atol=TOLERANCE)
    classes = model.predict(X)
    assert classes.dtype == np.int64
    np.testing.assert_array_equal(classes, expected.argmax(axis=1))
    assert n_samples < 100 or len(set(classes.tolist())) > 1


@pytest.mark.parametrize("acting", [(), ("evolution.top_kast.acting_share=0.5", "evolution.strategy=top_kast")])
def test_a_sample_gives_the_same_bits_alone_and_in_batches(write_network, monkeypatch, acting):
    model, X = hpc_sparse.load_model(write_network(*acting)), samples(131)
    together = model.weighted_sums(X)
    for number in (0, 127, 128, 130):
        np.testing.assert_array_equal(model.weighted_sums(X[number : number + 1])[0], together[number])
    monkeypatch.setattr(network_pass, "MOST_CONNECTIONS_ALONE", 0)
    np.testing.assert_array_equal(model.weighted_sums(X[:1])[0], together[0])


@pytest.mark.parametrize(
    "convert",
    [
        lambda X: X.astype(np.uint8),
        lambda X: X.astype(np.uint8).astype(np.int64),
        lambda X: X.astype(np.uint8).astype(">f4"),
        lambda X: np.asfortranarray(X.astype(np.uint8), dtype=np.float64),
        lambda X: X.astype(np.uint8).tolist(),
    ],
    ids=["bytes", "integers", "other byte order", "columns", "lists"],
)
@pytest.mark.parametrize("n_samples", [1, 5])
def test_every_kind_of_array_of_the_same_numbers_gives_the_same(write_network, convert, n_samples):
    model, X = hpc_sparse.load_model(write_network()), samples(n_samples)
    expected = model.weighted_sums(np.floor(X))
    np.testing.assert_array_equal(model.weighted_sums(convert(X)), expected)


def test_an_array_that_must_not_be_written_to_will_do(write_network):
    model, X = hpc_sparse.load_model(write_network()), samples(5)
    X.flags.writeable = False
    for part in (X, X[:1]):
        assert model.predict(part).shape == (len(part),)


@pytest.mark.parametrize("n_samples", [1, 131])
@pytest.mark.parametrize("has_statistics", [True, False])
@pytest.mark.parametrize("convert", [scipy.sparse.csr_matrix, scipy.sparse.csr_array, scipy.sparse.coo_array])
def test_sparse_samples_give_the_same_as_dense_ones(write_network, sums_of, convert, has_statistics, n_samples):
    path = write_network(has_statistics=has_statistics)
    X = np.where(np.random.default_rng(1).random((n_samples, N_FEATURES)) < 0.2, samples(n_samples), np.float32(0))
    model = hpc_sparse.load_model(path)
    found = model.weighted_sums(convert(X))
    np.testing.assert_array_equal(found, model.weighted_sums(X))
    np.testing.assert_allclose(found, sums_of(path, X), rtol=0, atol=TOLERANCE)


def test_entries_of_a_sparse_matrix_that_are_stored_twice_add_up(write_network):
    model = hpc_sparse.load_model(write_network(has_statistics=False))
    twice = scipy.sparse.csr_array((np.ones(3, np.float32), np.array([5, 2, 5]), np.array([0, 3])), shape=(1, 30))
    once = np.zeros((1, 30), np.float32)
    once[0, [2, 5]] = 1, 2
    np.testing.assert_array_equal(model.weighted_sums(twice), model.weighted_sums(once))
    assert twice.indices.tolist() == [5, 2, 5]


def test_the_accuracy_is_that_of_evaluating_the_checkpoint(write_network, tmp_path, write_small_data):
    path, data = write_network(), write_small_data(tmp_path / "small.h5")
    test = load_dataset(CTX, data).test
    accuracy = np.mean(hpc_sparse.load_model(path).predict(test.features.values) == test.labels)
    assert accuracy == evaluate_checkpoint(CTX, path, data)["test_accuracy"]


@pytest.mark.parametrize("has_statistics", [True, False])
@pytest.mark.parametrize("n_samples", [1, 40])
def test_a_network_without_some_inputs_takes_all_features(write_network, sums_of, has_statistics, n_samples):
    request = PruningRequest(write_network(has_statistics=has_statistics), percentile=20, input_percentile=60)
    prune_checkpoint(CTX, request)
    model, X = hpc_sparse.load_model(request.target_file), samples(n_samples)
    assert model.network.widths[0] < model.n_features <= N_FEATURES
    expected = sums_of(request.target_file, X)
    np.testing.assert_allclose(model.weighted_sums(X), expected, rtol=0, atol=TOLERANCE)
    found = model.weighted_sums(scipy.sparse.csr_array(X))
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)
    with pytest.raises(DataError, match="features: expected"):
        model.predict(X[:, : int(model.network.neuron_ids[0][-1])])


@pytest.mark.parametrize(
    ("loss", "share"),
    [("binary_cross_entropy", expit), ("mse", expit), ("mse_tanh", lambda z: (1 + np.tanh(z)) / 2)],
)
def test_a_single_output_is_the_probability_of_class_one(write_network, sums_of, loss, share):
    path = write_network(f"training.loss={loss}", n_outputs=1)
    X = samples(60)
    model, sums = hpc_sparse.load_model(path), sums_of(path, X)[:, 0]
    np.testing.assert_allclose(model.predict_proba(X), np.stack([1 - share(sums), share(sums)], 1), atol=TOLERANCE)
    np.testing.assert_array_equal(model.predict(X), sums > 0)
    assert model.n_classes == 2


def test_several_sigmoids_are_divided_by_their_sum(write_network, sums_of):
    path = write_network("training.loss=mse")
    X = samples(9)
    shares = expit(sums_of(path, X))
    expected = shares / shares.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(hpc_sparse.load_model(path).predict_proba(X), expected, atol=TOLERANCE)


def test_probabilities_of_sums_of_any_size_are_numbers(write_network):
    path = write_network("data.standardize=false")
    model = hpc_sparse.load_model(path)
    for loss in ("cross_entropy", "mse", "mse_tanh"):
        model.config = model.config.model_copy(
            update={"training": model.config.training.model_copy(update={"loss": loss})}
        )
        found = model.predict_proba(samples(5) * 1e6)
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


def test_a_checkpoint_of_several_networks_predicts_by_their_average(write_network):
    path = write_network()
    state = read_checkpoint(CTX, path)
    sizes = tuple(layer.parameters["weight"].size for layer in state.layers)
    write_checkpoint(CTX, path, replace(state, replica=0, target_connections=sizes))
    model = hpc_sparse.load_model(path)
    _, merged = read_merged(path, model.config)
    for layer, other in zip(model.network.layers, merged.network.layers, strict=True):
        np.testing.assert_array_equal(layer.weight, other.weight)
    assert repr(model) == f"TrainedModel(30-24-18-3, {sum(sizes)} connections, epoch 3)"


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.zeros(30), r"X: 1 dimensions: expected 2, a row per sample \(a single sample is X.reshape\(1, -1\)\)"),
        (np.zeros((2, 29)), "X: 29 features: expected 30, as the network was trained on"),
        (np.zeros((2, 31)), "X: 31 features: expected 30"),
        (np.full((2, 30), "a"), "X: dtype <U1: expected real numbers"),
        (np.zeros((2, 30), complex), "X: dtype complex128: expected real numbers"),
        ([[1.0], [1.0, 2.0]], "X: not a matrix"),
        (np.where(np.arange(60).reshape(2, 30) == 35, np.nan, 0), r"X\[1, 5\] = nan: must be finite"),
        (np.full((1, 30), 1e39), r"X\[0, 0\] = inf: must be finite"),
        (np.ma.masked_equal(np.zeros((2, 30)), 0), "X: masked"),
        (scipy.sparse.csr_array((2, 7)), "X: 7 features"),
    ],
)
def test_what_are_no_samples_is_refused_with_what_was_expected(write_network, X, message):
    with pytest.raises(ArrayError, match=message):
        hpc_sparse.load_model(write_network()).predict(X)


def test_a_sparse_matrix_that_is_broken_is_refused(write_network):
    model = hpc_sparse.load_model(write_network(has_statistics=False))
    broken = scipy.sparse.csr_array((2, 30), dtype=np.float32)
    broken.data, broken.indices, broken.indptr = np.ones(1), np.array([30]), np.array([0, 1, 1])
    with pytest.raises(ValueError, match="X: indices: 30 in row 0"):
        model.predict(broken)
    infinite = scipy.sparse.csr_array((np.array([np.inf]), np.array([3]), np.array([0, 1])), shape=(1, 30))
    with pytest.raises(DataError, match=r"X: values\[0\] = inf"):
        model.predict(infinite)


def test_what_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"nothing\.h5"):
        hpc_sparse.load_model(tmp_path / "nothing.h5")
    (tmp_path / "text.h5").write_text("no network")
    with pytest.raises(FileFormatError, match=r"text\.h5"):
        hpc_sparse.load_model(tmp_path / "text.h5")


def test_neither_mpi_nor_a_launcher_is_needed(write_network):
    program = (
        "import sys; sys.modules['mpi4py'] = None\n"  # importing it fails
        "import hpc_sparse, numpy\n"
        f"model = hpc_sparse.load_model({str(write_network())!r}, threads=1)\n"
        "print(model.predict(numpy.zeros((2, 30))).shape, model.predict_proba(numpy.zeros((1, 30))).shape)\n"
    )
    # What numba says of a library of threads that is too old for it is no matter here, see pyproject.toml.
    command = [sys.executable, "-W", "ignore:The TBB threading layer requires TBB", "-c", program]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.stdout, result.stderr) == ("(2,) (1, 3)\n", "")


NAMES = [f"gene_{number}" for number in range(30)]


def test_columns_of_a_data_frame_are_taken_by_name(write_network):
    path, X = write_network(), samples(5)
    model = hpc_sparse.load_model(path, feature_names=NAMES)
    frame = pd.DataFrame(X, columns=NAMES)
    expected = model.weighted_sums(X)
    for other in (frame, frame[NAMES[::-1]], pd.DataFrame(X)):
        np.testing.assert_array_equal(model.weighted_sums(other), expected)
    with pytest.raises(ValueError, match="X: no column 'gene_3', nor 1 others"):
        model.predict(frame.rename(columns={"gene_3": "x", "gene_7": "y"}))
    with pytest.raises(ValueError, match="X: 31 columns, such as 'more': expected the 30 features"):
        model.predict(frame.assign(more=1.0))
    with pytest.raises(ValueError, match="feature_names: 2 names: expected 30"):
        hpc_sparse.load_model(path, feature_names=NAMES[:2]).predict(frame)


def test_names_are_those_of_the_data_set_of_the_run(write_network, tmp_path):
    X = samples(5)
    frame, part = pd.DataFrame(X, columns=NAMES), Samples(DenseFeatures(X), np.arange(5, dtype=np.int32) % 3)
    path = write_network('data.path="named.h5"')
    with pytest.warns(UserWarning, match="X: columns have names, but the data set"):
        expected = hpc_sparse.load_model(path).weighted_sums(frame)
    write_dataset(tmp_path / "named.h5", part, part, title="", class_names=tuple("abc"), feature_names=NAMES)
    model = hpc_sparse.load_model(path)
    np.testing.assert_array_equal(model.weighted_sums(frame[NAMES[::-1]]), expected)
    assert model.feature_names == tuple(NAMES)
