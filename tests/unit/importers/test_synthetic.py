"""Synthetic problems: of the size asked for, the same for the same seed, called synthetic, learnable."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpc_sparse.errors import DataError, MachineError
from hpc_sparse.importers.synthetic import import_classification
from hpc_sparse.storage.dataset.file import load_samples
from hpc_sparse.storage.dataset.samples import DatasetInfo, DenseFeatures

SIZES = {"n_samples": 121, "n_features": 40, "n_informative": 5, "n_redundant": 15, "n_classes": 4}


def made(path: Path, **changes: Any) -> tuple[DatasetInfo, np.ndarray, np.ndarray]:
    info = import_classification(path, **(SIZES | changes), overwrite=True)
    test = load_samples(path, "test")
    assert isinstance(test.features, DenseFeatures)
    return info, test.features.values, test.labels


def test_the_problem_has_the_size_asked_for_and_says_that_it_is_synthetic(tmp_path: Path) -> None:
    info, _, _ = made(tmp_path / "a.h5", test_fraction=0.25)
    assert (info.n_train + info.n_test, info.n_test, info.n_features, info.n_classes) == (121, 30, 40, 4)
    assert info.dtype == "float32"
    assert "Synthetic" in info.title
    assert "5 informative and 15 redundant" in info.source
    assert made(tmp_path / "a.h5", title="mine")[0].title == "mine (synthetic)"


def test_the_seed_decides(tmp_path: Path) -> None:
    first, again, other = (made(tmp_path / "a.h5", seed=seed)[1] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_separated_classes_can_be_told_apart(tmp_path: Path) -> None:
    accuracies = []
    for separation in (0.01, 10.0):
        _, features, labels = made(tmp_path / "a.h5", separation=separation)
        train = load_samples(tmp_path / "a.h5", "train")
        assert isinstance(train.features, DenseFeatures)
        centres = np.stack([train.features.values[train.labels == label].mean(axis=0) for label in range(4)])
        nearest = np.square(features[:, None] - centres).sum(axis=2).argmin(axis=1)
        accuracies.append((nearest == labels).mean())
    assert accuracies[0] < 0.6
    assert accuracies[1] > 0.9


def test_all_features_may_be_informative(tmp_path: Path) -> None:
    info, _, _ = made(tmp_path / "a.h5", n_informative=40, n_redundant=0)
    assert "40 informative and 0 redundant" in info.source


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_informative": 0}, "informative features = 0: must be >= 1 and <= 40"),
        ({"n_informative": 41}, "informative features = 41"),
        ({"n_redundant": 36}, "redundant features = 36: must be >= 0 and <= 35"),
        ({"n_classes": 1}, "classes = 1: must be >= 2"),
        ({"n_classes": 33}, "classes = 33: must be >= 2 and <= 32"),
        ({"n_samples": 7}, "samples = 7: must be >= 8"),
        ({"test_fraction": 1.0}, "test fraction"),
    ],
)
def test_an_impossible_problem_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        made(tmp_path / "a.h5", **changes)


def test_without_scikit_learn_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MachineError, match=r"needs scikit-learn.*hpc-sparse\[sklearn\]"):
        made(tmp_path / "a.h5")
