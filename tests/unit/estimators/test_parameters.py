"""Parameters are checked by the rules of a configuration, and named as the estimator names them."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse import SparseFeatureSelector, SparseMLPClassifier
from hpc_sparse.errors import InputError, ParameterError
from hpc_sparse.estimators.parameters import automatic_batch, automatic_interval


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"learning_rate": -1}, "learning_rate = -1: must be greater than 0"),
        ({"hidden": (10, 0)}, "hidden = 0: must be greater than or equal to 1"),
        ({"hidden": 10}, r"hidden = 10: must be a list, such as \[1000, 1000\]"),
        ({"epochs": 1.5}, "epochs = 1.5: must be a valid integer"),
        ({"activation": "tanh"}, "activation = 'tanh': must be 'all_relu', 'relu' or 'leaky_relu'"),
        ({"evolution": "best"}, "evolution = 'best': must be"),
        ({"evolve_every_epochs": 0}, "evolve_every_epochs = 0: must be greater than or equal to 1"),
        ({"epsilon": 3, "density": 0.5}, "epsilon and density exclude each other"),
        ({"pattern": "2:4"}, 'pattern = "2:4" needs connections = "n_of_m"'),
        ({"block": (4, 4)}, r'block = \[4, 4\] needs connections = "block"'),
        ({"connections": "block", "block": (16, 3)}, "block = 3: must be 1, 4, 8, 16 or 32"),
        ({"connections": "block", "block": 16}, "block = 16: must be a list"),
        ({"connections": "n_of_m", "pattern": "4:2"}, 'pattern = "4:2": must be N:M with 1 <= N <= M'),
        ({"connections": "n_of_m", "pattern": "2:200"}, 'pattern = "2:200": groups of 200 inputs'),
        ({"batch_size": "large"}, "batch_size = 'large'"),
        ({"batch_size": 0}, "batch_size = 0"),
        ({"validation_fraction": 1.0}, "validation_fraction = 1.0: must be less than 1"),
        ({"random_state": -3}, "random_state = -3: must be greater than or equal to 0"),
    ],
)
def test_a_wrong_parameter_is_named(classes, wrong, message):
    with pytest.raises(ParameterError, match=f"SparseMLPClassifier: {message}"):
        SparseMLPClassifier(**wrong).fit(*classes)


def test_settings_that_do_not_go_together_are_refused_as_in_a_run(classes):
    """Accepted once: no connection was in reserve, and the topology never changed."""
    with pytest.raises(ParameterError, match=r'SparseMLPClassifier: evolution\.strategy = "top_kast": needs a'):
        SparseMLPClassifier(evolution="top_kast").fit(*classes)


def test_a_network_without_connections_is_refused(classes):
    with pytest.raises(ParameterError, match=r"SparseMLPClassifier: density = 1e-09: .* without connections"):
        SparseMLPClassifier(density=1e-9).fit(*classes)


def test_every_wrong_parameter_has_its_line(classes):
    with pytest.raises(ParameterError) as caught:
        SparseMLPClassifier(momentum=2, dropout=-1, warmup_epochs=-1).fit(*classes)
    assert [line.split(": ")[1].split(" = ")[0] for line in str(caught.value).splitlines()] == [
        "dropout",
        "momentum",
        "warmup_epochs",
    ]
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, InputError)


def test_numbers_of_numpy_are_numbers(classes):
    numbers = {
        "hidden": np.array([6, 5]),
        "epochs": np.int64(1),
        "learning_rate": np.float32(0.5),
        "nesterov": np.bool_(True),
        "random_state": np.int32(3),
    }
    model = SparseMLPClassifier(**numbers).fit(*classes)
    assert model.network_.widths == [7, 6, 5, 3]


@pytest.mark.parametrize(
    ("n_samples", "batch", "interval"), [(1, 8, 100), (130, 8, 6), (400, 20, 5), (3000, 128, 5), (60_000, 128, 1)]
)
def test_few_samples_have_small_batches_and_a_topology_at_least_100_steps(n_samples, batch, interval):
    assert automatic_batch(n_samples) == batch
    assert automatic_interval(n_samples, batch) == interval


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_features_to_select": 0}, "n_features_to_select = 0: must be a number of features from 1 to 7"),
        ({"n_features_to_select": 8}, "n_features_to_select = 8"),
        ({"n_features_to_select": 1.0}, "n_features_to_select = 1.0"),
        ({"n_features_to_select": True}, "n_features_to_select = True"),
        ({"drop_share": 0}, "drop_share = 0: must be above 0 and at most 1"),
    ],
)
def test_a_wrong_selection_is_named(classes, wrong, message):
    with pytest.raises(ParameterError, match=f"SparseFeatureSelector: {message}"):
        SparseFeatureSelector(**wrong).fit(*classes)
