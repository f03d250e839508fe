"""The classifier: what it learns, and that it is the trainer of runs behind it."""

from __future__ import annotations

import pickle
import subprocess
import sys

import joblib
import numpy as np
import pytest
import scipy.sparse
from scipy.special import softmax
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler

import hpc_sparse
from hpc_sparse import SparseMLPClassifier
from hpc_sparse.config import RunConfig
from hpc_sparse.errors import DivergedError, MachineError, ParameterError
from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.training.job import TrainingJob
from hpc_sparse.training.local_trainer import LocalTrainer
from hpc_sparse.training.replica_states import (
    initial_replica,
)

QUICK = {"hidden": (24, 18), "epochs": 12, "random_state": 3, "n_jobs": 1}


def weights(model):
    return np.concatenate([layer.weight for layer in model.network_.layers])


def test_it_learns_named_classes(classes):
    X, y = classes
    model = SparseMLPClassifier(**QUICK).fit(X[:90], y[:90])
    assert model.score(X[90:], y[90:]) > 0.9
    assert model.classes_.tolist() == ["ash", "birch", "cedar"]
    probabilities = model.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    np.testing.assert_allclose(np.log(probabilities), model.predict_log_proba(X))
    assert (model.classes_[probabilities.argmax(axis=1)] == model.predict(X)).all()


def test_outputs_are_those_of_the_stored_connections_in_float64(classes):
    X, y = classes
    model = SparseMLPClassifier(**QUICK, standardize=False).fit(X, y)
    activations = X.T
    for layer in model.network_.layers:
        t = layer.topology
        matrix = scipy.sparse.csr_array((layer.weight.astype(np.float64), t.indices, t.indptr), shape=t.shape)
        sums = matrix @ activations + layer.bias[:, None]
        activations = np.where(sums < 0, layer.slope * sums, sums)
    np.testing.assert_allclose(model.predict_proba(X), softmax(activations.T, axis=1), atol=1e-5)


def test_it_is_the_trainer_of_runs(classes, make_config, make_dataset):
    config = make_config("training.epochs=5", "evolution.every_epochs=2", "optimizer.weight_decay=0.01")
    dataset = make_dataset()
    job = TrainingJob(
        ParallelContext.serial(1), config, dataset, initial_replica(config, dataset.info), SilentReporter()
    )
    trainer = LocalTrainer.start(job)
    losses = [trainer.train_epoch(epoch).train_loss for epoch in range(1, 6)]
    model = SparseMLPClassifier(
        config.network.hidden,
        epsilon=config.network.epsilon,
        alpha=config.network.alpha,
        initializer=config.network.initializer,
        dropout=config.network.dropout,
        epochs=5,
        batch_size=config.training.batch_size,
        learning_rate=config.optimizer.learning_rate,
        weight_decay=0.01,
        evolve_every_epochs=2,
        random_state=config.training.seed,
    ).fit(dataset.train.features.values, dataset.train.labels)
    np.testing.assert_allclose(model.loss_curve_, losses, rtol=1e-5)
    for own, other in zip(model.network_.layers, job.replica.network.layers, strict=True):
        assert np.array_equal(own.topology.indices, other.topology.indices)
        np.testing.assert_allclose(own.weight, other.weight, rtol=1e-4, atol=1e-6)


def test_defaults_are_keys_of_a_configuration_but_for_those_that_depend_on_the_data():
    known = {name for section in RunConfig.model_fields.values() for name in section.annotation.model_fields}
    own = {"evolution", "evolve_every_epochs", "random_state", "n_jobs"}
    stopping = {"n_iter_no_change", "tol", "warm_start"}
    assert set(SparseMLPClassifier().get_params()) - known == own | stopping


def test_the_same_seed_gives_the_same_bits_on_any_number_of_threads_and_another_one_others(classes):
    X, y = classes
    models = [SparseMLPClassifier(**{**QUICK, "n_jobs": n_jobs}).fit(X, y) for n_jobs in (1, 2, -1, None)]
    assert all(np.array_equal(weights(model), weights(models[0])) for model in models)
    other = SparseMLPClassifier(**{**QUICK, "random_state": 4}).fit(X, y)
    assert not np.array_equal(weights(other), weights(models[0]))
    unseeded = [SparseMLPClassifier(**{**QUICK, "random_state": None}).fit(X, y) for _ in range(2)]
    assert not np.array_equal(weights(unseeded[0]), weights(unseeded[1]))


@pytest.mark.parametrize("kind", ["csr_array", "csc_matrix", "coo_array"])
def test_sparse_samples_give_what_dense_ones_give(classes, kind):
    X, y = classes
    X = np.where(np.abs(X) > 1, X, 0)
    model = SparseMLPClassifier(**QUICK, standardize=False)
    expected = clone(model).fit(X, y).predict_proba(X)
    sparse = getattr(scipy.sparse, kind)(X)
    np.testing.assert_allclose(model.fit(sparse, y).predict_proba(sparse), expected, rtol=1e-5)


def test_unsorted_and_repeated_entries_count_as_their_sum_and_the_callers_matrix_stays(classes):
    X, y = classes
    dense = SparseMLPClassifier(**QUICK, standardize=False).fit(X, y).predict_proba(X)
    rows = np.arange(0, 2 * X.size + 1, 2 * X.shape[1])
    columns = np.tile(np.arange(X.shape[1])[::-1], 2 * X.shape[0])
    halves = np.concatenate([np.concatenate([row[::-1], row[::-1]]) / 2 for row in X])
    matrix = scipy.sparse.csr_matrix((halves, columns, rows), X.shape)
    before = matrix.indices.copy()
    model = SparseMLPClassifier(**QUICK, standardize=False).fit(matrix, y)
    np.testing.assert_allclose(model.predict_proba(matrix), dense, rtol=1e-4, atol=1e-6)
    assert np.array_equal(matrix.indices, before)


def test_a_wide_sparse_matrix_is_never_made_dense():
    rng = np.random.default_rng(0)
    wide = scipy.sparse.random_array((60, 300_000), density=1e-4, format="csr", rng=rng)
    model = SparseMLPClassifier((8,), epsilon=0.5, epochs=1, batch_size=30, random_state=0, n_jobs=1).fit(
        wide, np.arange(60) % 2
    )
    assert model.predict(wide).shape == (60,)
    assert model.network_.density < 0.5


def test_bytes_are_standardised_on_the_way(classes):
    X, y = classes
    levels = np.clip(128 + 20 * X, 0, 255).astype(np.uint8)
    models = [SparseMLPClassifier(**QUICK).fit(values, y) for values in (levels, levels.astype(np.float64))]
    np.testing.assert_allclose(models[0].predict_proba(levels), models[1].predict_proba(levels), rtol=1e-4, atol=1e-6)


def test_partial_fits_are_epochs(classes):
    X, y = classes
    options = {**QUICK, "batch_size": 16, "evolve_every_epochs": 2}
    whole = SparseMLPClassifier(**{**options, "epochs": 4}).fit(X, y)
    parts = SparseMLPClassifier(**options)
    for _ in range(4):
        parts.partial_fit(X, y, classes=["cedar", "birch", "ash"])
    assert parts.n_iter_ == whole.n_iter_ == 4
    assert np.array_equal(weights(parts), weights(whole))
    assert parts.loss_curve_ == whole.loss_curve_


def test_parts_need_not_have_every_class(classes):
    X, y = classes
    model = SparseMLPClassifier(**QUICK)
    model.partial_fit(X[y == "ash"], y[y == "ash"], classes=np.unique(y))
    for _ in range(20):
        model.partial_fit(X, y)
    assert model.score(X, y) > 0.9
    with pytest.raises(ParameterError, match=r"y has the class .*oak.*: must be one of \['ash' 'birch' 'cedar'\]"):
        model.partial_fit(X[:2], ["ash", "oak"])
    with pytest.raises(ParameterError, match="were"):
        model.partial_fit(X, y, classes=["ash", "birch"])
    with pytest.raises(ParameterError, match="first call"):
        SparseMLPClassifier().partial_fit(X, y)


def test_a_warm_start_goes_on_and_a_cold_one_begins_anew(classes):
    X, y = classes
    whole = SparseMLPClassifier(**QUICK, batch_size=10).fit(X, y)
    warm = SparseMLPClassifier(**{**QUICK, "epochs": 6}, batch_size=10, warm_start=True).fit(X, y).fit(X, y)
    assert warm.n_iter_ == 12
    assert np.array_equal(weights(warm), weights(whole))
    cold = SparseMLPClassifier(**{**QUICK, "epochs": 6}, batch_size=10).fit(X, y)
    first = weights(cold).copy()
    assert np.array_equal(weights(cold.fit(X, y)), first)


def test_early_stopping_stops_and_keeps_the_best_network(classes):
    X, y = classes
    options = {"validation_fraction": 0.25, "n_iter_no_change": 5, "tol": 0.0, "early_stopping": True}
    model = SparseMLPClassifier(**{**QUICK, "epochs": 300}, **options).fit(X, y)
    losses = model.validation_losses_
    assert len(losses) == model.n_iter_ < 300
    assert losses.index(min(losses)) == len(losses) - 6
    again = SparseMLPClassifier(**{**QUICK, "epochs": len(losses) - 5}, **options).fit(X, y)
    assert np.array_equal(weights(again), weights(model))
    assert SparseMLPClassifier(**QUICK).fit(X, y).validation_losses_ == []


def test_samples_held_out_are_of_every_class_and_not_trained_on(classes, monkeypatch):
    seen = {}

    def spy(state, parameters, loss, samples, validation, **rest):
        seen.update(train=samples, validation=validation)

    monkeypatch.setattr("hpc_sparse.estimators.base.fit", spy)
    X, y = classes
    model = SparseMLPClassifier(**QUICK, early_stopping=True, validation_fraction=0.3, standardize=False).fit(X, y)
    assert np.bincount(seen["validation"].labels).tolist() == [13, 13, 13]
    parts = [seen[name].features.values for name in ("train", "validation")]
    assert np.array_equal(np.sort(np.concatenate(parts), axis=0), np.sort(X.astype(np.float32), axis=0))
    for name, values in zip(("train", "validation"), parts, strict=True):
        rows = [int(np.flatnonzero((X.astype(np.float32) == row).all(axis=1))[0]) for row in values]
        assert (model.classes_[seen[name].labels] == y[rows]).all()


def test_rare_classes_are_split_without_strata(classes):
    X, y = classes
    y = np.where(np.arange(y.size) == 0, "yew", y)
    SparseMLPClassifier(**{**QUICK, "epochs": 1}, early_stopping=True).fit(X, y)
    with pytest.raises(ParameterError, match=r"validation_fraction = 0.1: leaves 0 of 3 samples"):
        SparseMLPClassifier(**QUICK, early_stopping=True).fit(X[:3], y[:3])


@pytest.mark.parametrize("class_weight", [{"ash": 50.0, "birch": 0.02, "cedar": 0.02}, "balanced"])
def test_class_weights_move_the_predictions(classes, class_weight):
    X, _ = classes
    rare = np.random.default_rng(1).random(130) < 0.1
    y = np.where(rare, "ash", np.where(np.arange(130) % 2, "birch", "cedar"))
    plain = SparseMLPClassifier(**QUICK, dropout=0.0).fit(X, y)
    weighted = SparseMLPClassifier(**QUICK, dropout=0.0, class_weight=class_weight).fit(X, y)
    assert (weighted.predict(X) == "ash").sum() > 2 * (plain.predict(X) == "ash").sum()


def test_balanced_weights_need_all_samples(classes):
    X, y = classes
    with pytest.raises(ParameterError, match="class_weight"):
        SparseMLPClassifier(class_weight="balanced").partial_fit(X, y, classes=np.unique(y))


def test_it_works_in_pipelines_and_grids_with_other_processes(classes):
    X, y = classes
    pipeline = make_pipeline(MaxAbsScaler(), SparseMLPClassifier(**QUICK))
    grid = {"sparsemlpclassifier__learning_rate": np.array([1e-6, 0.02])}
    search = GridSearchCV(pipeline, grid, cv=2, n_jobs=2).fit(scipy.sparse.csr_array(X), y)
    assert search.best_score_ > 0.8
    assert search.best_params_["sparsemlpclassifier__learning_rate"] == 0.02


def test_a_pickle_is_small_and_goes_on_like_the_original(classes):
    X, y = classes
    model = SparseMLPClassifier(**QUICK, batch_size=16, warm_start=True).fit(X, y)
    pickled = pickle.dumps(model)
    n_connections = model.network_.n_connections
    assert len(pickled) < 16 * n_connections + 10_000
    again = pickle.loads(pickled)
    assert np.array_equal(again.predict_proba(X), model.predict_proba(X))
    assert np.array_equal(weights(again.fit(X, y)), weights(model.fit(X, y)))


def test_a_model_mapped_into_memory_can_be_trained(classes, tmp_path):
    X, y = classes
    model = SparseMLPClassifier(**QUICK, warm_start=True).fit(X, y)
    joblib.dump(model, tmp_path / "model")
    mapped = joblib.load(tmp_path / "model", mmap_mode="r")
    assert np.array_equal(weights(mapped.fit(X, y)), weights(model.fit(X, y)))


def test_importances_are_the_strengths_of_the_inputs(classes):
    X, y = classes
    model = SparseMLPClassifier(**QUICK, epsilon=3).fit(X, y)
    layer = model.network_.layers[0]
    strength = np.zeros(7)
    np.add.at(strength, layer.topology.indices, np.abs(layer.weight))
    np.testing.assert_allclose(model.feature_importances_, strength / strength.sum())


def test_a_linear_model_has_no_hidden_layer(classes):
    X, y = classes
    assert SparseMLPClassifier(hidden=(), epochs=30, random_state=0, n_jobs=1).fit(X, y).score(X, y) > 0.9


def test_a_run_that_diverges_says_so(classes):
    X, y = classes
    with pytest.raises(DivergedError, match="diverged"):
        SparseMLPClassifier(**QUICK, learning_rate=1e30).fit(X, y)


def test_the_package_knows_its_estimators_and_nothing_else():
    assert hpc_sparse.SparseMLPClassifier is SparseMLPClassifier
    with pytest.raises(AttributeError, match="no attribute 'Network'"):
        _ = hpc_sparse.Network


def test_without_scikit_learn_the_package_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("hpc_sparse.estimators")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    with pytest.raises(MachineError, match=r"SparseMLPClassifier: needs scikit-learn .*hpc-sparse\[sklearn\]"):
        _ = hpc_sparse.SparseMLPClassifier


def test_a_fit_starts_no_mpi():
    program = (
        "import sys; from hpc_sparse import SparseMLPClassifier as Model\n"
        "Model((4,), epochs=1, n_jobs=1).fit([[0.0], [1.0]], [0, 1])\n"
        "print('mpi4py' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert result.stdout == "False\n"


def test_samples_are_not_copied_where_they_need_not_be(classes, monkeypatch):
    seen = {}

    def spy(state, parameters, loss, samples, validation, **rest):
        seen["samples"] = samples

    monkeypatch.setattr("hpc_sparse.estimators.base.fit", spy)
    X, y = classes
    ready = np.ascontiguousarray(X, np.float32)
    SparseMLPClassifier(**QUICK).fit(ready, y)
    assert np.shares_memory(seen["samples"].features.values, ready)
