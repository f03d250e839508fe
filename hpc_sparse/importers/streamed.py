"""The way that all chunked sources go: once through the source, then divide, order, prepare and write block by block.

Of the samples, memory holds about 60 bytes each (label, order, size), whatever the number of features. The features
wait in a folder beside the target, which needs room for up to twice what they take there.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpc_sparse.dtypes import INDEX, MAX_NEURONS, OFFSET, VALUE, BoolArray, Float32Array, Int32Array, Int64Array
from hpc_sparse.errors import DataError
from hpc_sparse.importers import tf_idf
from hpc_sparse.importers.count_sums import check_target_sum, log1p_of_scaled
from hpc_sparse.importers.features import log2_of
from hpc_sparse.importers.lost_variation import warn_of_lost_variation
from hpc_sparse.importers.missing_values import MissingCounts, MissingValues, read_missing_values
from hpc_sparse.importers.options import ImportOptions, Report
from hpc_sparse.importers.source import FeatureSpace, SampleSource
from hpc_sparse.importers.split import random_split, stratified_split
from hpc_sparse.importers.spool import RowSpool, rows_in_order, rows_kept
from hpc_sparse.importers.tf_idf import TermWeights
from hpc_sparse.storage.container.file import PARTIAL_SUFFIX
from hpc_sparse.storage.container.hdf5 import output_errors
from hpc_sparse.storage.dataset.file import read_info
from hpc_sparse.storage.dataset.samples import CsrFeatures, DatasetInfo, Features, FilledValues, Samples
from hpc_sparse.storage.dataset.writer import (
    BLOCK_BYTES,
    DatasetText,
    FeatureLayout,
    PartBlocks,
    check_time_steps,
    make_way,
    training_order,
    write_blocks,
)


@dataclass(frozen=True)
class _Preparation:
    """What is done to the features before they are stored, and what the file tells of it."""

    n_features: int
    names: Sequence[str] | None
    apply: Callable[[Features], Features]
    idf: Float32Array | None = None
    filled: FilledValues | None = None
    n_flags: tuple[int, int] = (0, 0)
    """Values that sparse features of the training and the test part have more."""


@dataclass(frozen=True)
class _Plan:
    """Spool and rows of each part."""

    train: RowSpool
    train_order: Int64Array
    test: RowSpool
    is_test: BoolArray
    split: str


def import_streamed(source: SampleSource, target: Path | str, title: str, options: ImportOptions) -> DatasetInfo:
    """Import a source.

    Parameters
    ----------
    source : SampleSource
    target : path
    title : str
        Unless the options have one.
    options : ImportOptions

    Raises
    ------
    DataError
        The samples are not what they should be.
    OutputError
        ``target`` exists and is not to be overwritten, or cannot be written.
    """
    path = Path(target)
    if options.target_sum is not None:
        check_target_sum(source.where, options.target_sum, log2=options.log2, tf_idf=options.tf_idf)
    make_way(path, overwrite=options.overwrite)
    with ExitStack() as stack:
        with output_errors(path):
            scratch = tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.", suffix=PARTIAL_SUFFIX)
        folder = Path(stack.enter_context(scratch))
        spools = [stack.enter_context(RowSpool(folder / f"part-{part}")) for part in range(source.n_parts)]
        codes = [_collect(source, part, spool, path, options) for part, spool in enumerate(spools)]
        _write(source, spools, codes, folder, path, title, options)
    warn_of_lost_variation(path)
    return read_info(path)


def _collect(source: SampleSource, part: int, spool: RowSpool, target: Path, options: ImportOptions) -> Int32Array:
    """Put a set of samples into a spool; their preliminary labels."""
    codes = [np.empty(0, INDEX)]
    size = source.size(part)
    for chunk in source.chunks(part):
        features = chunk.features
        if options.log2:
            features = log2_of(source.where, Samples(features, chunk.labels)).features
        if options.tf_idf:
            features = tf_idf.check_counts(source.where, features)
        if options.target_sum is not None:
            features = log1p_of_scaled(source.where, features, options.target_sum)
        with output_errors(target):
            spool.append(features)
        codes.append(chunk.labels)
        options.report("reading", chunk.done, size)
    spool.finish()
    if spool.n_rows == 0 and part == 0:
        raise DataError(f"{source.where}: has no samples")
    return np.concatenate(codes)


def _write(
    source: SampleSource,
    spools: Sequence[RowSpool],
    codes: Sequence[Int32Array],
    folder: Path,
    target: Path,
    title: str,
    options: ImportOptions,
) -> None:
    label, class_names = source.labels.finish(sum(part.size for part in codes))
    labels = [label[part] for part in codes]
    space = source.feature_space()
    if not 1 <= space.n_features <= MAX_NEURONS:
        raise DataError(f"{source.where}: {space.n_features} features: must be >= 1 and <= {MAX_NEURONS}")
    _check_widths(source, spools, space)
    plan = _divided(spools, labels, options)
    with output_errors(target):
        prepared = _preparation(source, plan, space, options)
        check_time_steps(source.where, prepared.n_features, options.time_steps)
        write_blocks(
            target,
            _train_part(plan, labels[0], space, prepared, folder, options.report),
            _test_part(plan, labels[-1], space, prepared),
            layout=FeatureLayout(
                prepared.n_features,
                space.is_sparse,
                _dtype(spools),
                prepared.names,
                prepared.idf,
                options.time_steps,
                filled=prepared.filled,
            ),
            text=DatasetText(
                title if options.title is None else options.title,
                source.description() + options.steps(),
                plan.split,
                class_names,
            ),
        )


def _check_widths(source: SampleSource, spools: Sequence[RowSpool], space: FeatureSpace) -> None:
    for part, spool in zip(("train", "test"), spools, strict=False):
        if not spool.is_sparse and spool.n_rows and spool.n_features != space.n_features:
            raise DataError(
                f"{source.where}: {part}: {spool.n_features} features: expected {space.n_features}, as in training"
            )


def _dtype(spools: Sequence[RowSpool]) -> np.dtype[np.generic]:
    """Bytes if all values are bytes."""
    return np.dtype(np.uint8) if all(spool.dtype == np.uint8 for spool in spools) else np.dtype(VALUE)


def _divided(spools: Sequence[RowSpool], labels: Sequence[Int32Array], options: ImportOptions) -> _Plan:
    if len(spools) > 1:
        order = training_order(spools[0].n_rows, options.order_seed)
        return _Plan(spools[0], order, spools[1], np.ones(spools[1].n_rows, np.bool_), "as published")
    fraction, seed = options.test_fraction, options.split_seed
    if options.stratified:
        train_rows, test_rows = stratified_split(labels[0], fraction, seed)
    else:
        train_rows, test_rows = random_split(labels[0].size, fraction, seed)
    is_test = np.zeros(labels[0].size, np.bool_)
    is_test[test_rows] = True
    kind = "random within each class" if options.stratified else "random"
    split = f"{kind}, test fraction {fraction:g}, seed {seed}"
    return _Plan(spools[0], train_rows[training_order(train_rows.size, options.order_seed)], spools[0], is_test, split)


def _preparation(source: SampleSource, plan: _Plan, space: FeatureSpace, options: ImportOptions) -> _Preparation:
    if options.tf_idf:
        weights = _term_weights(source, plan, space)
        return _Preparation(
            space.n_features, space.names, lambda rows: weights.weigh(_as_sparse(rows)), idf=weights.idf
        )
    if options.missing == "refuse":
        if options.filled_as is not None:
            raise DataError(f"{source.where}: filled as {options.filled_as}: expected --missing mean or flag, too")
        return _Preparation(space.n_features, space.names, lambda rows: rows)
    is_train = np.zeros(plan.train.n_rows, np.bool_)
    is_train[plan.train_order] = True
    train, test = _missing(plan.train, is_train, space), _missing(plan.test, plan.is_test, space)
    if options.filled_as is None:
        values = MissingValues.of(source.where, train, space.names, has_flags=options.missing == "flag")
    else:
        values = read_missing_values(source.where, options.filled_as, space.n_features, space.names)
    return _Preparation(
        values.n_features,
        values.names(space.names),
        values.filled,
        filled=FilledValues(values.means, values.flagged),
        n_flags=(values.n_flags(train), values.n_flags(test)),
    )


def _missing(spool: RowSpool, is_kept: BoolArray, space: FeatureSpace) -> MissingCounts:
    counts = MissingCounts.none(space.n_features)
    for rows in rows_kept(spool, is_kept, _rows_per_block(spool, space)):
        counts.add(space.arranged(rows))
    return counts


def _term_weights(source: SampleSource, plan: _Plan, space: FeatureSpace) -> TermWeights:
    if not space.is_sparse:
        raise DataError(f"{source.where}: tf-idf of features that are stored dense: expected sparse ones")
    is_train = np.zeros(plan.train.n_rows, np.bool_)
    is_train[plan.train_order] = True
    frequency = np.zeros(space.n_features, OFFSET)
    for rows in rows_kept(plan.train, is_train, _rows_per_block(plan.train, space)):
        frequency += tf_idf.document_frequency(_as_sparse(space.arranged(rows)))
    return TermWeights.of(frequency, plan.train_order.size)


def _train_part(
    plan: _Plan, labels: Int32Array, space: FeatureSpace, prepared: _Preparation, folder: Path, report: Report
) -> PartBlocks:
    order, rows_per_block = plan.train_order, _rows_per_block(plan.train, space)

    def blocks() -> Iterator[Features]:
        done = 0
        for rows in rows_in_order(plan.train, order, folder, rows_per_block):
            yield prepared.apply(space.arranged(rows))
            done += rows.n_samples
            report("writing", done, order.size)

    n_stored = int(plan.train.counts[order].sum(dtype=OFFSET)) + prepared.n_flags[0]
    return PartBlocks(labels[order], blocks(), n_stored)


def _test_part(plan: _Plan, labels: Int32Array, space: FeatureSpace, prepared: _Preparation) -> PartBlocks:
    kept = rows_kept(plan.test, plan.is_test, _rows_per_block(plan.test, space))
    blocks = (prepared.apply(space.arranged(rows)) for rows in kept)
    n_stored = int(plan.test.counts[plan.is_test].sum(dtype=OFFSET)) + prepared.n_flags[1]
    return PartBlocks(labels[plan.is_test], blocks, n_stored)


def _rows_per_block(spool: RowSpool, space: FeatureSpace) -> int:
    dense_bytes = 0 if space.is_sparse else space.n_features * spool.dtype.itemsize
    return max(1, BLOCK_BYTES // max(spool.row_bytes(), dense_bytes))


def _as_sparse(features: Features) -> CsrFeatures:
    assert isinstance(features, CsrFeatures), "tf-idf is of sparse features"
    return features
