"""Reading data set files: each rank its shard, or one process a whole part.

Layout of format version 2; version 1 differs in its checksums only. Parts ``train`` and ``test`` hold
``labels`` int32[n] and either ``features`` uint8 or float32[n, f], or ``indptr`` int64[n + 1], ``indices`` int32 and
``values`` float32. ``statistics`` holds ``mean`` and ``deviation`` float32[f] of dense training features and
``class_counts`` int64[2, n_classes]; ``class_names`` is text; the rest are attributes of the root. Samples that are
sequences have the attribute ``time_steps``.

Of tokens, ``features`` are int32[n, time_steps], numbers of entries of ``vocabulary``, which is text; there is no mean
and no deviation. The attribute ``text`` tells the ``unit`` of windows of one long text, in their order. Where each step
has a label, ``labels`` are int32[n, time_steps], -1 for none. Parts of sequences that differ in length have ``lengths``
int32[n].
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from hpc_sparse.checks import check_csr, check_finite, check_labels, check_lengths, check_positive, check_tokens
from hpc_sparse.dtypes import INDEX, OFFSET, VALUE, AnyArray, Float32Array, Int64Array
from hpc_sparse.errors import DataError
from hpc_sparse.parallel.collectives import collective_errors
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.partition import Share
from hpc_sparse.storage.container.file import DATASET_KIND, open_container
from hpc_sparse.storage.container.reader import ContainerReader
from hpc_sparse.storage.dataset.class_counts import check_class_counts
from hpc_sparse.storage.dataset.feature_summary import filled_of, idf_of
from hpc_sparse.storage.dataset.samples import CsrFeatures, Dataset, DatasetInfo, DenseFeatures, Samples
from hpc_sparse.storage.dataset.validation import (
    ValidationPart,
    choose_rows,
    last_rows,
    rows_of_share,
    set_apart,
    whole_on_root,
)

MOST_NAME_BYTES = 16 * 1024 * 1024
"""Most bytes of the names of the classes."""

Part = Literal["train", "test"]


def read_info(path: Path | str) -> DatasetInfo:
    """Description of a data set file, read without its features and without MPI."""
    with open_container(ParallelContext.serial(threads=1), path, DATASET_KIND, "serial") as reader:
        return _read_info(reader)


def read_statistics(path: Path | str) -> tuple[Float32Array, Float32Array] | None:
    """Mean and deviation of each training feature, float32[n_features] each; None of sparse features. Needs no MPI."""
    with open_container(ParallelContext.serial(threads=1), path, DATASET_KIND, "serial") as reader:
        info = _read_info(reader)
        if info.is_sparse or info.n_tokens:
            return None
        mean, deviation = (_read_statistic(reader, info, name) for name in ("mean", "deviation"))
    _check_statistics(info, mean, deviation)
    return mean, deviation


def load_dataset(
    ctx: ParallelContext,
    path: Path | str,
    backend: str = "auto",
    *,
    train: Share | None = None,
    test: Share | None = None,
    validation: ValidationPart | None = None,
) -> Dataset:
    """Load this rank's contiguous shards of the training and of the test part (collective).

    With a validation part, the shard of training samples is one of those that are not held out.

    Parameters
    ----------
    ctx : ParallelContext
    path : path
    backend : {"auto", "mpio", "serial"}
    train, test : Share or None
        This rank's shard of each part; None for an even one over all ranks. Shards may overlap or leave samples out;
        damage is noticed where a rank loads a whole part, or the other ranks together load it once. With more shards
        than samples the last ones are empty.
    validation : ValidationPart or None
        Part held out of the training part. The shares of ``train`` are then all of it, each row once.

    Raises
    ------
    DataError, FileFormatError
        On every rank: the file or its content is not what it should be.
    """
    with open_container(ctx, path, DATASET_KIND, backend) as reader:
        info = _read_info(reader)
        held_out = _choose_validation(ctx, reader, info, validation)
        train_rows = rows_of_share(train or Share(ctx.rank, ctx.size), info.n_train, held_out)
        test_rows = (test or Share(ctx.rank, ctx.size)).range(info.n_test)
        train_samples = _read_rows(reader, info, "train", *train_rows)
        test_samples = _read_rows(reader, info, "test", *test_rows)
        has_statistics = not info.is_sparse and not info.n_tokens
        mean = _read_statistic(reader, info, "mean") if has_statistics else None
        deviation = _read_statistic(reader, info, "deviation") if has_statistics else None
        term_weights = _read_term_weights(reader, info)
        filled = filled_of(reader, info.n_features)
    with collective_errors(ctx, f"checking {path}"):
        _check_samples(info, "train", train_samples, train_rows[0])
        _check_samples(info, "test", test_samples, test_rows[0])
        _check_statistics(info, mean, deviation)
    check_class_counts(ctx, info, "train", train_rows, train_samples.labels)
    check_class_counts(ctx, info, "test", test_rows, test_samples.labels)
    dataset = Dataset(info, train_samples, test_samples, mean, deviation, term_weights=term_weights, filled=filled)
    return dataset if validation is None else _with_validation(ctx, dataset, validation, held_out, train_rows[0])


def load_samples(path: Path | str, part: Part) -> Samples:
    """Load a whole part into one process, without MPI."""
    with open_container(ParallelContext.serial(threads=1), path, DATASET_KIND, "serial") as reader:
        info = _read_info(reader)
        samples = _read_rows(reader, info, part, 0, info.n_train if part == "train" else info.n_test)
    _check_samples(info, part, samples, 0)
    check_class_counts(ParallelContext.serial(threads=1), info, part, (0, samples.n_samples), samples.labels)
    return samples


def _choose_validation(
    ctx: ParallelContext, reader: ContainerReader, info: DatasetInfo, part: ValidationPart | None
) -> Int64Array:
    """Rows of the training part that are held out, from labels that each rank reads its part of (collective)."""
    if part is None:
        return np.empty(0, OFFSET)
    if info.has_step_labels:
        return last_rows(info, part.fraction)
    rows = Share(ctx.rank, ctx.size).range(info.n_train)
    reader.require("train/labels", INDEX, (info.n_train,))
    labels = reader.read("train/labels", *rows)
    with collective_errors(ctx, f"checking {info.path}"):
        check_labels(f"{info.path}: train/labels", labels, info.n_classes, error=DataError, first_row=rows[0])
    check_class_counts(ctx, info, "train", rows, labels)
    return choose_rows(ctx, part, info, labels, rows[0])


def _with_validation(
    ctx: ParallelContext, dataset: Dataset, part: ValidationPart, held_out: Int64Array, first_row: int
) -> Dataset:
    """The data set with the validation part taken out of the training samples (collective)."""
    with collective_errors(ctx, "setting the validation part apart"):
        is_held_out = np.zeros(dataset.train.n_samples, np.bool_)
        first, last = np.searchsorted(held_out, [first_row, first_row + is_held_out.size])
        is_held_out[held_out[first:last] - first_row] = True
        train, validation = set_apart(dataset.train, is_held_out)
    if part.is_whole_on_root:
        validation = whole_on_root(ctx, validation)
    return replace(dataset, train=train, validation=validation, n_validation=held_out.size)


def _read_info(reader: ContainerReader) -> DatasetInfo:
    is_sparse = reader.has("train/indptr")
    n_classes = reader.integer("/", "n_classes", minimum=1)
    reader.require("statistics/class_counts", OFFSET, (2, n_classes))
    counts = reader.read("statistics/class_counts")
    features_dtype = reader.dtype("train/values" if is_sparse else "train/features")
    attributes, has_vocabulary = reader.attribute_names("/"), reader.has("vocabulary")
    info = DatasetInfo(
        path=reader.path,
        title=str(reader.attribute("/", "title")),
        source=str(reader.attribute("/", "source")),
        split=str(reader.attribute("/", "split")),
        n_train=reader.integer("train", "n_samples", minimum=1),
        n_test=reader.integer("test", "n_samples"),
        n_features=reader.integer("/", "n_features", minimum=1),
        n_classes=n_classes,
        class_names=reader.read_text("class_names", None, MOST_NAME_BYTES),
        class_counts_train=tuple(counts[0].tolist()),
        class_counts_test=tuple(counts[1].tolist()),
        is_sparse=is_sparse,
        dtype=features_dtype.name,
        file_bytes=reader.path.stat().st_size,
        creator=str(reader.attribute("/", "creator")),
        format_version=reader.integer("/", "format_version", minimum=1),
        time_steps=reader.integer("/", "time_steps", 1) if "time_steps" in attributes else 1,
        vocabulary=reader.read_text("vocabulary", None, MOST_NAME_BYTES) if has_vocabulary else (),
        has_step_labels=len(reader.shape("train/labels")) > 1,
        is_text="text" in attributes,
        has_lengths=reader.has("train/lengths"),
        unit=str(reader.attribute("/", "text")) if "text" in attributes else "",
    )
    _check_info(reader, info)
    return info


def _check_info(reader: ContainerReader, info: DatasetInfo) -> None:
    if len(info.class_names) != info.n_classes:
        reader.fail(f"{len(info.class_names)} class_names: expected n_classes = {info.n_classes}")
    for part, counts, n_samples in (
        ("train", info.class_counts_train, info.n_train),
        ("test", info.class_counts_test, info.n_test),
    ):
        is_wrong = sum(counts) > n_samples * info.time_steps if info.has_step_labels else sum(counts) != n_samples
        if is_wrong or min(counts) < 0:
            reader.fail(f"class_counts of {part}: sum {sum(counts)}: expected {n_samples}, one per sample")
    if info.n_features % info.time_steps:
        reader.fail(f"/: time_steps = {info.time_steps}: expected a divisor of n_features = {info.n_features}")
    expected = ("float32",) if info.is_sparse else ("int32",) if info.n_tokens else ("uint8", "float32")
    if info.is_text and not info.has_step_labels:
        reader.fail("train/labels: one for each sample: expected one for each step of a text")
    if info.n_tokens and info.n_features != info.time_steps:
        reader.fail(f"/: n_features = {info.n_features}: expected time_steps = {info.time_steps}, a token for each")
    if info.dtype not in expected:
        reader.fail(f"features: dtype {info.dtype}: expected {' or '.join(expected)}")


def _read_rows(reader: ContainerReader, info: DatasetInfo, part: Part, start: int, stop: int) -> Samples:
    n_samples = info.n_train if part == "train" else info.n_test
    reader.require(f"{part}/labels", INDEX, (n_samples, info.time_steps) if info.has_step_labels else (n_samples,))
    labels, lengths = reader.read(f"{part}/labels", start, stop), None
    if reader.has(f"{part}/lengths"):
        reader.require(f"{part}/lengths", INDEX, (n_samples,))
        lengths = reader.read(f"{part}/lengths", start, stop)
    if info.is_sparse:
        return Samples(_read_csr_rows(reader, info, part, start, stop, n_samples), labels, lengths)
    reader.require(f"{part}/features", info.dtype, (n_samples, info.n_features))
    return Samples(DenseFeatures(reader.read(f"{part}/features", start, stop)), labels, lengths)


def _read_csr_rows(
    reader: ContainerReader, info: DatasetInfo, part: Part, start: int, stop: int, n_samples: int
) -> CsrFeatures:
    reader.require(f"{part}/indptr", OFFSET, (n_samples + 1,))
    (n_stored,) = reader.require(f"{part}/indices", INDEX, (None,))
    reader.require(f"{part}/values", VALUE, (n_stored,))
    ends = [int(reader.read(f"{part}/indptr", row, row + 1)[0]) for row in (0, n_samples)]
    if ends != [0, n_stored]:
        reader.fail(f"{part}/indptr: runs from {ends[0]} to {ends[1]}: must run from 0 to {n_stored}")
    # The last rows come with the end, so that ranks that together read every row read every entry once.
    has_end = start < stop == n_samples
    own = reader.read(f"{part}/indptr", start, stop + has_end)
    end = reader.read(f"{part}/indptr", stop, stop + 1)
    indptr = np.concatenate([own[: stop - start], end])
    first, last = int(indptr[0]), int(indptr[-1])
    indices = reader.read(f"{part}/indices", first, last)
    values = reader.read(f"{part}/values", first, last)
    return CsrFeatures(indptr - first, indices, values, info.n_features)


def _read_statistic(reader: ContainerReader, info: DatasetInfo, name: str) -> AnyArray:
    reader.require(f"statistics/{name}", VALUE, (info.n_features,))
    return reader.read(f"statistics/{name}")


def _read_term_weights(reader: ContainerReader, info: DatasetInfo) -> dict[str, AnyArray]:
    """Weights of weighted counts; their rows are as long as the root of the mean number of terms in a training row."""
    idf = idf_of(reader, info.n_features) if info.is_sparse else None
    if idf is None:
        return {}
    n_stored = reader.shape("train/indices")[0]
    return {"idf": idf, "row_length": np.array([np.sqrt(n_stored / info.n_train)])}


def _check_samples(info: DatasetInfo, part: Part, samples: Samples, first_row: int) -> None:
    where = f"{info.path}: {part}"
    check_labels(f"{where}/labels", samples.labels, info.n_classes, error=DataError, first_row=first_row)
    if samples.lengths is not None:
        check_lengths(f"{where}/lengths", samples.lengths, info.time_steps, error=DataError, first_row=first_row)
    features = samples.features
    if info.n_tokens:
        check_tokens(f"{where}/features", features.values, info.n_tokens, error=DataError, first_row=first_row)
    if isinstance(features, DenseFeatures):
        check_finite(f"{where}/features", features.values, error=DataError, first_row=first_row)
    else:
        check_csr(where, features.indptr, features.indices, info.n_features, error=DataError, first_row=first_row)
        check_finite(f"{where}/values", features.values, error=DataError)


def _check_statistics(info: DatasetInfo, mean: AnyArray | None, deviation: AnyArray | None) -> None:
    if mean is None or deviation is None:
        return
    check_finite(f"{info.path}: statistics/mean", mean, error=DataError)
    check_finite(f"{info.path}: statistics/deviation", deviation, error=DataError)
    check_positive(f"{info.path}: statistics/deviation", deviation, error=DataError)
