"""What trainers need to know of samples in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hpc_sparse.dtypes import OFFSET, VALUE, AnyArray, Float32Array, Float64Array
from hpc_sparse.storage.dataset.samples import CsrFeatures, Dataset, DatasetInfo, Features, Samples, take_rows

Standardisation = tuple[Float32Array, Float32Array]
"""Mean and deviation of each feature, float32[n_features] each; a deviation of 0 is stored as 1."""


def standardisation(features: Features) -> Standardisation | None:
    """Mean and deviation of each feature; None for sparse features, which stay as they are."""
    if isinstance(features, CsrFeatures):
        return None
    mean, deviation = mean_and_deviation(features.values)
    return mean.astype(VALUE), deviation.astype(VALUE)


def mean_and_deviation(values: AnyArray) -> tuple[Float64Array, Float64Array]:
    """Of each column of ``values`` [n_samples, n_columns], float64; a deviation that float32 takes for 0 is 1."""
    mean, deviation = values.mean(axis=0, dtype=np.float64), values.std(axis=0, dtype=np.float64)
    return mean, np.where(deviation > np.finfo(VALUE).tiny, deviation, 1.0)


def make_dataset(
    train: Samples, validation: Samples | None, n_outputs: int, scaling: Standardisation | None
) -> Dataset:
    """The data set that a trainer is given, without test samples; ``validation`` are those that were held out."""
    features, n_validation = train.features, 0 if validation is None else validation.n_samples
    is_sparse = isinstance(features, CsrFeatures)
    info = DatasetInfo(
        path=Path("(in memory)"),
        title="",
        source="",
        split="",
        n_train=train.n_samples + n_validation,
        n_test=0,
        n_features=features.n_features,
        n_classes=n_outputs,
        class_names=(),
        class_counts_train=(),
        class_counts_test=(),
        is_sparse=is_sparse,
        dtype=features.values.dtype.name,
        file_bytes=0,
        creator="",
        format_version=0,
    )
    none = np.empty(0, OFFSET)
    test = Samples(take_rows(features, none), train.labels[none])
    mean, deviation = scaling or (None, None)
    return Dataset(info, train, test, mean, deviation, validation, n_validation)
