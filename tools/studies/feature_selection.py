"""Accuracy of fixed classifiers on features selected by a sparse network and by other methods, on the same folds."""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import scipy.sparse
import typer
from benchmarks.report import machine

COUNTS = (10, 20, 50, 100)
"""Numbers of selected features."""

LEGEND = (
    "Means and standard deviations in % over the folds of stratified five-fold cross-validation, the same for all. "
    "Features are standardised and selected by the training samples of each fold alone; the fold's number is the seed. "
    "Both classifiers, LinearSVC and five nearest neighbours, have scikit-learn's default parameters. Balanced "
    "accuracy is the mean of the classes' accuracies. Seconds are processor time for ranking all features."
)

N_FOLDS = 5
N_TREES = 300


@dataclass(frozen=True)
class SelectionTask:
    """A data set and what is measured on it.

    Attributes
    ----------
    file : str
        In the folder of foreign data.
    measure : str
        scikit-learn's name; where nine samples of ten are of one class, accuracy would say nothing.
    takes_log2 : bool
        Whether the values are raw intensities.
    """

    file: str
    measure: str = "accuracy"
    takes_log2: bool = False


TASKS = {
    "madelon": SelectionTask("madelon.npz"),
    "arcene": SelectionTask("arcene.npz"),
    "nakayama_sarcoma": SelectionTask("nakayama_sarcoma.npz", takes_log2=True),
    "dorothea": SelectionTask("dorothea_train.npz", measure="balanced_accuracy"),
}

Ranker = Callable[[object, np.ndarray, int], np.ndarray]
"""From features, labels and a seed to the numbers of the features, best first."""


@dataclass
class Outcome:
    """Results of one method in every fold.

    Attributes
    ----------
    seconds : list of float
        Seconds of ranking the features.
    scores : dict
        By (classifier, number of features).
    """

    seconds: list[float] = field(default_factory=list)
    scores: dict[tuple[str, int], list[float]] = field(default_factory=dict)


def study(names: list[str]) -> Iterator[list[str]]:
    """The sections of the report, one per data set, as they are finished."""
    for name in names:
        task = TASKS[name]
        X, y = load(task)
        outcomes: dict[str, Outcome] = {}
        for number, (train, test) in enumerate(folds(y)):
            run_fold(task, scaled(X, train), y, train, test, number, outcomes)
            print(f"{name}: fold {number + 1} of {N_FOLDS}", file=sys.stderr, flush=True)
        yield section(name, task, X.shape, outcomes)


def head() -> list[str]:
    """Explanation of the tables, and the machine."""
    versions = machine() | {"scikit-learn": metadata.version("scikit-learn")}
    return ["# Feature selection", "", LEGEND, "", ", ".join(f"{name} {what}" for name, what in versions.items()), ""]


def load(task: SelectionTask) -> tuple[object, np.ndarray]:
    """Features (dense float32, or CSR) and labels of all samples with labels; the program ends if there is no file."""
    path = Path(os.environ.get("HPC_SPARSE_DATA", "")) / task.file
    if not path.is_file():
        print(f"experiments: error: no file {path}; HPC_SPARSE_DATA names the folder", file=sys.stderr)
        raise typer.Exit(2)
    with np.load(path) as archive:
        arrays = dict(archive)
    if "indptr" in arrays:
        ones = np.ones(arrays["indices"].size, np.float32)
        return scipy.sparse.csr_matrix((ones, arrays["indices"], arrays["indptr"]), arrays["shape"]), arrays["label"]
    if "x_train" in arrays:
        X, y = (np.concatenate([arrays[f"{letter}_{part}"] for part in ("train", "valid")]) for letter in "xy")
    else:
        X, y = arrays["x"], arrays["label"]
    X = X.astype(np.float32)
    return (np.log2(X) if task.takes_log2 else X), y


def folds(y: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Training and test samples of every fold, stratified."""
    from sklearn.model_selection import StratifiedKFold

    with warnings.catch_warnings():
        # Classes with fewer samples than folds: some folds then test none of them.
        warnings.filterwarnings("ignore", "The least populated class")
        return list(StratifiedKFold(N_FOLDS, shuffle=True, random_state=0).split(y, y))


def scaled(X: object, train: np.ndarray) -> object:
    """Standardised by the training samples; binary CSR features stay as they are."""
    from sklearn.preprocessing import StandardScaler

    return X if scipy.sparse.issparse(X) else StandardScaler().fit(X[train]).transform(X)


def run_fold(
    task: SelectionTask,
    X: object,
    y: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    seed: int,
    outcomes: dict[str, Outcome],
) -> None:
    """Rank the features by every method on the training samples alone, and test what is selected."""
    for method, rank in RANKERS.items():
        outcome = outcomes.setdefault(method, Outcome())
        started = time.process_time()
        order = rank(X[train], y[train], seed)
        outcome.seconds.append(time.process_time() - started)
        counts = COUNTS if method != "all features" else (X.shape[1],)
        for count in counts:
            chosen = X[:, order[:count]]
            for classifier, score in classifier_scores(task, chosen[train], y[train], chosen[test], y[test]).items():
                outcome.scores.setdefault((classifier, count), []).append(score)


def classifier_scores(
    task: SelectionTask, X: object, y: np.ndarray, X_test: object, y_test: np.ndarray
) -> dict[str, float]:
    """The score of each of the fixed classifiers, trained on ``X`` and ``y``."""
    from sklearn.metrics import get_scorer
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.svm import LinearSVC

    classifiers = {"linear SVM": LinearSVC(random_state=0), "5-NN": KNeighborsClassifier(5)}
    scorer = get_scorer(task.measure)
    with warnings.catch_warnings():
        # Of a class that a fold does not test.
        warnings.filterwarnings("ignore", "y_pred contains classes not in y_true")
        return {name: float(scorer(model.fit(X, y), X_test, y_test)) for name, model in classifiers.items()}


def _all(X: object, y: np.ndarray, seed: int) -> np.ndarray:  # noqa: ARG001
    return np.arange(X.shape[1])


def _by_f_test(X: object, y: np.ndarray, seed: int) -> np.ndarray:  # noqa: ARG001
    from sklearn.feature_selection import f_classif

    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Features \[")
        return best_first(f_classif(X, y)[0])


def _by_mutual_information(X: object, y: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.feature_selection import mutual_info_classif

    return best_first(mutual_info_classif(X, y, random_state=seed))


def _by_forest(X: object, y: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.ensemble import RandomForestClassifier

    return best_first(RandomForestClassifier(N_TREES, random_state=seed).fit(X, y).feature_importances_)


def _by_network(X: object, y: np.ndarray, seed: int) -> np.ndarray:
    from hpc_sparse import SparseFeatureSelector

    selector = SparseFeatureSelector(n_features_to_select=min(COUNTS), random_state=seed)
    return np.argsort(selector.fit(X, y).ranking_)


def _by_one_network(X: object, y: np.ndarray, seed: int) -> np.ndarray:
    from hpc_sparse import SparseFeatureSelector

    selector = SparseFeatureSelector(n_features_to_select=min(COUNTS), drop_share=1.0, random_state=seed)
    return np.argsort(selector.fit(X, y).ranking_)


def best_first(scores: np.ndarray) -> np.ndarray:
    """Numbers of the features, highest score first; those without one (constant features) last."""
    return np.argsort(-np.nan_to_num(scores, nan=-np.inf), kind="stable")


RANKERS: dict[str, Ranker] = {
    "all features": _all,
    "f_classif": _by_f_test,
    "mutual_info_classif": _by_mutual_information,
    "random forest": _by_forest,
    "SparseFeatureSelector": _by_network,
    "the same, one round": _by_one_network,
}


def section(name: str, task: SelectionTask, shape: tuple[int, int], outcomes: dict[str, Outcome]) -> list[str]:
    """One data set's table."""
    classifiers = list(dict.fromkeys(classifier for classifier, _ in outcomes["f_classif"].scores))
    columns = [f"{classifier}, {count}" for classifier in classifiers for count in COUNTS]
    measure = task.measure.replace("_", " ")
    lines = [
        f"## {name}: {shape[0]:,} x {shape[1]:,}, {measure}, {N_FOLDS} folds",
        "",
        f"| selected by | {' | '.join(columns)} | CPU s per fold |",
        "|---" * (len(columns) + 2) + "|",
    ]
    for method, outcome in outcomes.items():
        is_all = method == "all features"
        cells = [
            percent(outcome.scores[classifier, shape[1] if is_all else count])
            if not is_all or count == COUNTS[0]
            else ""
            for classifier in classifiers
            for count in COUNTS
        ]
        seconds = "" if is_all else f"{mean(outcome.seconds):.2g}"
        lines.append(f"| {method} | {' | '.join(cells)} | {seconds} |")
    return [*lines, ""]


def percent(values: list[float]) -> str:
    """Mean and standard deviation in per cent."""
    return f"{100 * mean(values):.1f} ± {100 * stdev(values):.1f}"
