"""Writing data set files; the layout is described in :mod:`hpc_sparse.storage.dataset`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hpc_sparse.dtypes import INDEX, OFFSET, VALUE, AnyArray, Float32Array
from hpc_sparse.errors import DataError, OutputError
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.partition import chunk_ranges
from hpc_sparse.rng import Purpose, stream
from hpc_sparse.storage.checks import check_csr, check_finite, check_labels
from hpc_sparse.storage.container import DATASET_KIND, create_container
from hpc_sparse.storage.samples import CsrFeatures, DenseFeatures, Features, Samples, take_rows
from hpc_sparse.storage.writer import ContainerWriter

STATISTICS_ROWS = 4096
"""Rows that are turned into float64 at a time."""


def write_dataset(
    path: Path | str,
    train: Samples,
    test: Samples,
    *,
    title: str,
    class_names: Sequence[str],
    source: str = "",
    split: str = "",
    order_seed: int = 0,
    overwrite: bool = False,
) -> None:
    """Write a data set file from one process.

    The training samples are put in a random order, so that any contiguous shard of them is
    representative; the test samples keep theirs.

    Parameters
    ----------
    path : path
        The file to make.
    train, test : Samples
        Both dense or both sparse, of one dtype and number of features; ``test`` may have no samples.
    title, source, split : str
        What the data are, where they came from, how they were divided.
    class_names : sequence of str
        Name of each label from 0 on.
    order_seed : int
        Seed of the random order.
    overwrite : bool
        Whether an existing file may be replaced.

    Raises
    ------
    DataError
        Labels, indices or values are out of range, or the parts do not fit together.
    OutputError
        The file exists, or cannot be written.
    """
    target = Path(path)
    if target.exists() and not overwrite:
        raise OutputError(
            f"{target}: exists already and is not overwritten without --overwrite (in Python: overwrite=True)"
        )
    _check_parts(target, train, test, len(class_names))
    order = stream(order_seed, Purpose.DATA_ORDER).permutation(train.n_samples)
    ordered = Samples(take_rows(train.features, order), train.labels[order])
    with create_container(ParallelContext.serial(threads=1), target, DATASET_KIND, "serial") as writer:
        for name, text in (("title", title), ("source", source), ("split", split)):
            writer.set_attribute("/", name, text)
        writer.set_attribute("/", "n_features", train.features.n_features)
        writer.set_attribute("/", "n_classes", len(class_names))
        writer.write_replicated("class_names", _as_text(class_names))
        _write_part(writer, "train", ordered)
        _write_part(writer, "test", test)
        _write_statistics(writer, train, test, len(class_names))


def feature_statistics(values: AnyArray) -> tuple[Float32Array, Float32Array]:
    """Mean and standard deviation of each column, summed in float64; a deviation of 0 becomes 1.

    Parameters
    ----------
    values : (n_samples, n_features)
        With at least one sample.

    Returns
    -------
    mean, deviation : float32[n_features]
    """
    n_samples, n_features = values.shape
    total = np.zeros(n_features)
    for start, stop in chunk_ranges(0, n_samples, STATISTICS_ROWS):
        total += values[start:stop].sum(axis=0, dtype=np.float64)
    mean = total / n_samples
    squares = np.zeros(n_features)
    for start, stop in chunk_ranges(0, n_samples, STATISTICS_ROWS):
        squares += np.square(values[start:stop] - mean).sum(axis=0)
    deviation = np.sqrt(squares / n_samples).astype(VALUE)
    deviation[deviation == 0] = 1
    return mean.astype(VALUE), deviation


def _check_parts(target: Path, train: Samples, test: Samples, n_classes: int) -> None:
    if train.n_samples == 0 or train.features.n_features == 0 or n_classes == 0:
        raise DataError(
            f"{target}: {train.n_samples} training samples of {train.features.n_features} features "
            f"in {n_classes} classes: must be at least one of each"
        )
    if type(train.features) is not type(test.features) or train.features.n_features != test.features.n_features:
        raise DataError(
            f"{target}: train has {_kind(train.features)} features, test has {_kind(test.features)}: must be alike"
        )
    for part, samples in (("train", train), ("test", test)):
        where = f"{target}: {part}"
        if samples.labels.shape != (samples.n_samples,):
            raise DataError(f"{where}: {samples.labels.size} labels: expected {samples.n_samples}, one per sample")
        check_labels(f"{where}/labels", samples.labels, n_classes, error=DataError)
        if isinstance(samples.features, CsrFeatures):
            features = samples.features
            check_csr(where, features.indptr, features.indices, features.n_features, error=DataError)
            check_finite(f"{where}/values", features.values, error=DataError)
        else:
            check_finite(f"{where}/features", samples.features.values, error=DataError)


def _kind(features: Features) -> str:
    if isinstance(features, CsrFeatures):
        return f"{features.n_features} sparse"
    return f"{features.n_features} dense"


def _write_part(writer: ContainerWriter, part: str, samples: Samples) -> None:
    writer.set_attribute(part, "n_samples", samples.n_samples)
    writer.write_replicated(f"{part}/labels", samples.labels.astype(INDEX))
    if isinstance(samples.features, DenseFeatures):
        writer.write_replicated(f"{part}/features", samples.features.values)
        return
    writer.write_replicated(f"{part}/indptr", samples.features.indptr.astype(OFFSET))
    writer.write_replicated(f"{part}/indices", samples.features.indices.astype(INDEX))
    writer.write_replicated(f"{part}/values", samples.features.values.astype(VALUE))


def _write_statistics(writer: ContainerWriter, train: Samples, test: Samples, n_classes: int) -> None:
    counts = [np.bincount(part.labels, minlength=n_classes) for part in (train, test)]
    writer.write_replicated("statistics/class_counts", np.array(counts, OFFSET))
    if isinstance(train.features, DenseFeatures):
        mean, deviation = feature_statistics(train.features.values)
        writer.write_replicated("statistics/mean", mean)
        writer.write_replicated("statistics/deviation", deviation)


def _as_text(names: Sequence[str]) -> AnyArray:
    encoded = [name.encode() for name in names]
    return np.array(encoded, dtype=f"S{max(1, *(len(name) for name in encoded))}")
