"""The regressor: targets of any unit and number."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import r2_score

from hpc_sparse import SparseMLPRegressor
from hpc_sparse.errors import ParameterError

QUICK = {"hidden": (48, 32), "epochs": 60, "dropout": 0.1, "random_state": 1, "n_jobs": 1}


def test_it_learns_targets_of_any_unit_together(curve):
    X, y = curve
    predicted = SparseMLPRegressor(**QUICK).fit(X[:180], y[:180]).predict(X[180:])
    assert predicted.shape == (60, 2)
    assert predicted.dtype == np.float64
    assert (r2_score(y[180:], predicted, multioutput="raw_values") > 0.85).all()


def test_the_unit_of_the_target_does_not_matter(curve):
    X, y = curve
    model = SparseMLPRegressor(**{**QUICK, "epochs": 5})
    predicted = clone(model).fit(X, y[:, 0]).predict(X)
    moved = clone(model).fit(X, 1024 * y[:, 0] - 7).predict(X)
    assert predicted.shape == (240,)
    np.testing.assert_allclose(moved, 1024 * predicted - 7, rtol=1e-4)


def test_a_column_of_targets_gives_a_column(curve):
    X, y = curve
    model = SparseMLPRegressor(**{**QUICK, "epochs": 2})
    flat, column = (clone(model).fit(X, target).predict(X) for target in (y[:, 1], y[:, 1:]))
    assert np.array_equal(column, flat[:, None])


def test_a_constant_target_is_learnt(curve):
    X, _ = curve
    predicted = SparseMLPRegressor(**{**QUICK, "epochs": 20}).fit(X, np.full(240, 3.5)).predict(X)
    np.testing.assert_allclose(predicted, 3.5, atol=0.5)


def test_early_stopping_watches_the_squared_error_of_standardised_targets(curve):
    X, y = curve
    model = SparseMLPRegressor(**{**QUICK, "epochs": 200}, early_stopping=True, n_iter_no_change=8).fit(X, y[:, 0])
    assert model.n_iter_ < 200
    residual = ((model.predict(X) - y[:, 0]) ** 2).mean() / y[:, 0].var()
    assert min(model.validation_losses_) == pytest.approx(residual, rel=1.0)


def test_partial_fits_keep_the_first_scale_and_number_of_targets(curve):
    X, y = curve
    model = SparseMLPRegressor(**QUICK, batch_size=16)
    for _ in range(40):
        model.partial_fit(X[:120], y[:120]).partial_fit(X[120:], y[120:])
    assert model.n_iter_ == 80
    assert r2_score(y, model.predict(X)) > 0.8
    with pytest.raises(ParameterError, match="y has 1 columns: had 2 before"):
        model.partial_fit(X, y[:, 0])
