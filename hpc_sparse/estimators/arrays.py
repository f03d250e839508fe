"""Samples in memory, described as trainers expect a data set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hpc_sparse.config import RunConfig
from hpc_sparse.dtypes import OFFSET, VALUE, AnyArray, BoolArray, Float64Array
from hpc_sparse.errors import ArrayError
from hpc_sparse.estimators.sequences import is_read
from hpc_sparse.inputs.chain import FrontEndChain
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.dataset.samples import CsrFeatures, Dataset, DatasetInfo, DenseFeatures, Samples, take_rows


def fitted_front_end(config: RunConfig, samples: Samples, n_outputs: int, n_steps: int = 1) -> FrontEndChain:
    """The front ends that a configuration asks for, fitted to these samples of so many steps."""
    dataset = make_dataset(samples, None, n_outputs)
    if config.data.standardize and isinstance(samples.features, DenseFeatures):
        values, lengths = samples.features.values, samples.lengths
        own: BoolArray | Literal[True] = True
        if lengths is not None:
            own = is_read(lengths, n_steps, values.shape[1])
            own |= ~own.any(axis=0)  # steps that no sample has
        mean, deviation = (found.astype(VALUE) for found in mean_and_deviation(values, own))
        dataset = replace(dataset, mean=mean, deviation=deviation)
    return FrontEndChain.start(ParallelContext.serial(threads=1), config, dataset)


def mean_and_deviation(values: AnyArray, counts: BoolArray | Literal[True] = True) -> tuple[Float64Array, Float64Array]:
    """Mean and standard deviation of each column of ``values`` [n_samples, n_columns], float64.

    A deviation that is 0 in float32 becomes 1. ``counts``, bool[n_samples, n_columns], are the values that count, at
    least one in each column.
    """
    mean = values.mean(axis=0, dtype=np.float64, where=counts)
    deviation = values.std(axis=0, dtype=np.float64, where=counts)
    return mean, np.where(deviation > np.finfo(VALUE).tiny, deviation, 1.0)


def sample_weights(name: str, weights: Any, n_samples: int, *, is_whole: bool) -> Float64Array | None:
    """float64[n_samples]: weight of each sample; None where all count alike.

    Parameters
    ----------
    name : str
        Name of the estimator, for messages.
    weights : array-like, number or None
    n_samples : int
    is_whole : bool
        These are all samples: weights are divided by their mean. Otherwise they are taken as they are.

    Raises
    ------
    ArrayError
        They are no numbers >= 0, one per sample, or all of them are 0.
    """
    if weights is None:
        return None
    try:
        values = np.asarray(weights, np.float64)
    except (TypeError, ValueError) as error:
        raise ArrayError(f"{name}: sample_weight: expected numbers: {error}") from None
    if values.ndim == 0:
        values = np.full(n_samples, values)
    if values.shape != (n_samples,):
        raise ArrayError(f"{name}: sample_weight: shape {values.shape}: expected ({n_samples},), one per sample")
    is_wrong = ~(np.isfinite(values) & (values >= 0))
    if is_wrong.any():
        row = int(np.argmax(is_wrong))
        raise ArrayError(f"{name}: sample_weight[{row}] = {values[row]}: must be a finite number >= 0")
    if is_whole:
        if not values.any():
            raise ArrayError(f"{name}: sample_weight: every weight is zero: expected one above 0")
        values = values / values.max()
        values = values / values.mean()
    return None if (values == 1).all() else values


def make_dataset(train: Samples, validation: Samples | None, n_outputs: int) -> Dataset:
    """The data set that a trainer is given, without statistics and test samples; ``validation`` was held out."""
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
    return Dataset(info, train, test, None, None, validation, n_validation)
