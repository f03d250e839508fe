"""What the tests of importers share: samples, and data set files as plain tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from hpc_sparse.storage.dataset.file import load_samples
from hpc_sparse.storage.dataset.samples import DenseFeatures, Samples

Table = tuple[Any, list[str]]
ReadParts = Callable[[Path], dict[str, Table]]


def table_of(samples: Samples) -> Any:
    """Features as a dense table, whatever they are."""
    features = samples.features
    if isinstance(features, DenseFeatures):
        return features.values
    shape = (features.n_samples, features.n_features)
    return scipy.sparse.csr_array((features.values, features.indices, features.indptr), shape=shape).toarray()


@pytest.fixture
def parts() -> ReadParts:
    """Read both parts of a file: each a table of features and the names of its labels."""
    from hpc_sparse.storage.dataset.file import read_info

    def read(path: Path) -> dict[str, Table]:
        names = read_info(path).class_names
        found = {part: load_samples(path, part) for part in ("train", "test")}  # type: ignore[arg-type]
        return {part: (table_of(one), [names[label] for label in one.labels]) for part, one in found.items()}

    return read


@pytest.fixture
def all_rows(parts: ReadParts) -> Callable[[Path], list[tuple[Any, ...]]]:
    """All samples of a file, in a definite order: features, then the label's name."""

    def read(path: Path) -> list[tuple[Any, ...]]:
        return sorted(
            (*np.asarray(row).tolist(), label)
            for table, labels in parts(path).values()
            for row, label in zip(table, labels, strict=True)
        )

    return read
