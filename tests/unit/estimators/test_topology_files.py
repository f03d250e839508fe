"""Estimators whose first layer has the pairs of a file: features by a data frame's columns, or by numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hpc_sparse import SparseMLPClassifier, SparseMLPRegressor
from hpc_sparse.errors import ParameterError

GENES = ["TP53", "KRAS", "BRCA1", "EGFR"]
NAMED = "feature,group\nKRAS,growth\nTP53,repair\nBRCA1,repair\nEGFR,growth\nTP53,growth\n"
NUMBERED = "feature,group\n1,0\n0,1\n2,1\n3,0\n0,0\n"
KEYS = [0, 1, 3, 4, 6]
QUICK = {"hidden": (2, 8), "epochs": 2, "random_state": 3, "n_jobs": 1, "evolution": "static"}


@pytest.fixture
def samples():
    X = np.random.default_rng(0).normal(size=(60, 4))
    return X, (X[:, 0] > 0).astype(int)


@pytest.fixture
def from_file(tmp_path):
    """The parameter for a file with this content."""

    def write(text):
        (tmp_path / "pathways.csv").write_text(text)
        return f"file:{tmp_path / 'pathways.csv'}"

    return write


@pytest.mark.parametrize("kind", [SparseMLPClassifier, SparseMLPRegressor])
@pytest.mark.parametrize("is_frame", [False, True])
def test_the_first_layer_has_the_pairs_of_the_file(samples, from_file, kind, is_frame):
    X, y = samples
    X = pd.DataFrame(X, columns=GENES) if is_frame else X
    model = kind(initial_topology=from_file(NAMED if is_frame else NUMBERED), **QUICK).fit(X, y)
    np.testing.assert_array_equal(model.network_.layers[0].topology.keys(), KEYS)
    assert model.predict(X).shape == (60,)
    evolved = kind(initial_topology=model.initial_topology, **{**QUICK, "evolution": "set", "epochs": 9}).fit(X, y)
    assert evolved.network_.layers[0].topology.n_connections == len(KEYS)


def test_what_does_not_fit_is_a_value_error(samples, from_file):
    X, y = samples
    with pytest.raises(ParameterError, match=r"^SparseMLPClassifier: hidden = \[3, 8\]: expected 2 neurons in layer 0"):
        SparseMLPClassifier(initial_topology=from_file(NUMBERED), **{**QUICK, "hidden": (3, 8)}).fit(X, y)
    with pytest.raises(ParameterError, match=r'line 2: feature "KRAS": expected a number from 0 to 3, as features of'):
        SparseMLPClassifier(initial_topology=from_file(NAMED), **QUICK).fit(X, y)
    lacking = from_file(NUMBERED.replace("3,0\n", ""))
    with pytest.raises(ParameterError, match=r'feature "3" is in no group: .* or ungrouped_features = "keep"$'):
        SparseMLPClassifier(initial_topology=lacking, **QUICK).fit(X, y)
    kept = SparseMLPClassifier(initial_topology=lacking, ungrouped_features="keep", **QUICK).fit(X, y)
    assert kept.feature_importances_[3] == 0
    with pytest.raises(ParameterError, match=r"gone\.csv: no such file"):
        SparseMLPClassifier(initial_topology="file:gone.csv", **QUICK).fit(X, y)


def test_patterns_are_drawn_and_others_refused(samples, from_file):
    X, y = samples
    model = SparseMLPClassifier(initial_topology="constant_fan_in", density=0.5, **QUICK).fit(X, y)
    np.testing.assert_array_equal(model.network_.layers[1].topology.fan_in(), [1] * 8)
    with pytest.raises(ParameterError, match=r"initial_topology = 'snip': of runs alone: expected erdos_renyi"):
        SparseMLPClassifier(initial_topology="snip", **QUICK).fit(X, y)
    model.set_params(warm_start=True, initial_topology="covering")
    with pytest.raises(ParameterError, match=r"initial_topology = 'covering': the network .* 'constant_fan_in'"):
        model.fit(X, y)
