"""The validation part of a run: samples of the training part that are held out, the same on any number of ranks.

Each class gives ``fraction`` of its samples, rounded, drawn by their numbers within the class in file order. The set
depends only on the labels of the training part and on the seed. The remaining samples are divided among the ranks in
even contiguous shards. Each rank holds the validation samples that lie within its own shard.

Where each step of a sequence has a label, as in texts, the last samples are held out instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from hpc_sparse.dtypes import OFFSET, AnyArray, BoolArray, Int32Array, Int64Array
from hpc_sparse.errors import ConfigError, quoted
from hpc_sparse.network.distinct_numbers import distinct_numbers
from hpc_sparse.parallel.collectives import all_gather_parts
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.parallel.transfer import gather_rows
from hpc_sparse.partition import Share, chunk_ranges
from hpc_sparse.rng import Purpose, stream
from hpc_sparse.storage.dataset.samples import CsrFeatures, DatasetInfo, DenseFeatures, Features, Samples

Take = Callable[[AnyArray, Int64Array, BoolArray], AnyArray]

ROWS_AT_A_TIME = 1024
"""Samples that are taken apart at a time."""


@dataclass(frozen=True)
class ValidationPart:
    """Part of the training samples that is held out.

    Attributes
    ----------
    fraction : float
        Share of the samples of each class, between 0 and 1.
    seed : int
        Seed of the run.
    is_whole_on_root : bool
        Whether root gets all of it, also what lies within other ranks' shards.
    """

    fraction: float
    seed: int
    is_whole_on_root: bool = False


def validation_counts(info: DatasetInfo, fraction: float) -> Int64Array:
    """int64[n_classes]: samples of each class that are held out; 0 of a class that the training part lacks.

    Where each step has a label, int64[1]: samples that are held out.

    Raises
    ------
    ConfigError
        No sample of a class would be held out, or none would be left to train on.
    """
    if info.has_step_labels:
        return np.array([last_rows(info, fraction).size])
    counts = np.array(info.class_counts_train, OFFSET)
    held_out: Int64Array = np.floor(fraction * counts + 0.5).astype(OFFSET)
    wrong = np.flatnonzero((counts > 0) & ((held_out < 1) | (held_out >= counts)))
    if fraction > 0 and wrong.size:
        label = int(wrong[counts[wrong].argmin()])
        raise ConfigError(
            f"data.validation_fraction = {fraction}: holds out {held_out[label]} of the {counts[label]} training "
            f"samples of class {label} ({quoted(info.class_names[label])}): must hold out at least one of each class "
            f"and leave at least one to train on ({info.path})"
        )
    return held_out


def last_rows(info: DatasetInfo, fraction: float) -> Int64Array:
    """Rows of the training part that are held out where each step has a label: the last ones, int64[n].

    Raises
    ------
    ConfigError
        None would be held out, or none would be left to train on.
    """
    n = round(fraction * info.n_train)
    if fraction > 0 and not 0 < n < info.n_train:
        raise ConfigError(
            f"data.validation_fraction = {fraction}: holds out {n} of the {info.n_train} training samples: must hold "
            f"out at least one and leave at least one to train on ({info.path})"
        )
    return np.arange(info.n_train - n, info.n_train, dtype=OFFSET)


def count_validation(info: DatasetInfo, fraction: float) -> int:
    """Number of samples that are held out of the training part; raises as :func:`validation_counts`."""
    return int(validation_counts(info, fraction).sum())


def choose_rows(
    ctx: ParallelContext, part: ValidationPart, info: DatasetInfo, labels: Int32Array, first_row: int
) -> Int64Array:
    """Rows of the training part that are held out, increasing, the same on every rank (collective).

    Parameters
    ----------
    ctx : ParallelContext
    part : ValidationPart
    info : DatasetInfo
        Its numbers of samples per class are those of the labels.
    labels : int32[n]
        This rank's part of all labels; the parts follow each other in the order of the ranks.
    first_row : int
        First row of this rank's part.
    """
    counts, held_out = np.array(info.class_counts_train, OFFSET), validation_counts(info, part.fraction)
    own = np.bincount(labels, minlength=counts.size).astype(OFFSET)
    before = np.zeros_like(own)
    for of_rank in all_gather_parts(ctx, own)[: ctx.rank]:
        before += of_rank
    by_class = np.split(np.argsort(labels, kind="stable"), np.cumsum(own)[:-1])
    rng, chosen = stream(part.seed, Purpose.VALIDATION), [np.empty(0, OFFSET)]
    for label, positions in enumerate(by_class):
        numbers = distinct_numbers(int(counts[label]), int(held_out[label]), rng) - before[label]
        chosen.append(positions[numbers[(numbers >= 0) & (numbers < positions.size)]])
    rows = np.sort(np.concatenate(chosen)).astype(OFFSET) + first_row
    return np.concatenate(all_gather_parts(ctx, rows))


def rows_of_share(share: Share, n_rows: int, held_out: Int64Array) -> tuple[int, int]:
    """``(start, stop)`` of the rows among which a share of the training samples lies; shares leave no row out.

    Parameters
    ----------
    share : Share
        This rank's share of the rows that are not held out.
    n_rows : int
        All rows of the training part.
    held_out : int64[n]
        Rows that are held out, increasing.
    """
    n_before = held_out - np.arange(held_out.size, dtype=OFFSET)  # training samples before each of them
    n_trained = n_rows - held_out.size

    def row(number: int) -> int:
        """The row of a training sample; the first shard begins with the file, and the last one ends with it."""
        if number in {0, n_trained}:
            return n_rows if number else 0
        return number + int(np.searchsorted(n_before, number, side="right"))

    first, last = share.range(n_trained)
    return row(first), row(last)


def set_apart(samples: Samples, is_held_out: BoolArray) -> tuple[Samples, Samples]:
    """The samples to train on and those that are held out, each in their order.

    The former are moved together within the arrays of ``samples``, which are of no use afterwards: no second copy of
    them ever exists.

    Parameters
    ----------
    samples : Samples
    is_held_out : bool[n_samples]
    """
    rows = np.arange(samples.n_samples + 1, dtype=OFFSET)
    validation = _taken(samples, is_held_out, rows, _copied)
    return _taken(samples, ~is_held_out, rows, _moved), validation


def whole_on_root(ctx: ParallelContext, samples: Samples) -> Samples:
    """All ranks' samples, in the order of the ranks, on root; the others keep their own (collective)."""
    features, labels = samples.features, gather_rows(ctx, samples.labels)
    lengths = None if samples.lengths is None else gather_rows(ctx, samples.lengths)
    gathered: Features
    if isinstance(features, DenseFeatures):
        gathered = DenseFeatures(gather_rows(ctx, features.values))
    else:
        n_stored = gather_rows(ctx, np.diff(features.indptr))
        indices, values = gather_rows(ctx, features.indices), gather_rows(ctx, features.values)
        gathered = CsrFeatures(_pointers(n_stored), indices, values, features.n_features)
    return Samples(gathered, labels, lengths) if ctx.is_root else samples


def _taken(samples: Samples, is_wanted: BoolArray, rows: Int64Array, take: Take) -> Samples:
    """The wanted samples, taken by :func:`_copied` or :func:`_moved`."""
    lengths = None if samples.lengths is None else take(samples.lengths, rows, is_wanted)
    return Samples(_features(samples.features, is_wanted, take), take(samples.labels, rows, is_wanted), lengths)


def _features(features: Features, is_wanted: BoolArray, take: Take) -> Features:
    """Features of the wanted samples, taken from each array by :func:`_copied` or :func:`_moved`."""
    if isinstance(features, DenseFeatures):
        return DenseFeatures(take(features.values, np.arange(is_wanted.size + 1, dtype=OFFSET), is_wanted))
    indptr = features.indptr
    indices, values = (take(array, indptr, is_wanted) for array in (features.indices, features.values))
    return CsrFeatures(_pointers(np.diff(indptr)[is_wanted]), indices, values, features.n_features)


def _copied(array: AnyArray, indptr: Int64Array, is_wanted: BoolArray) -> AnyArray:
    """The items of the wanted samples."""
    return np.concatenate([array[:0], *_pieces(array, indptr, is_wanted)])


def _moved(array: AnyArray, indptr: Int64Array, is_wanted: BoolArray) -> AnyArray:
    """The beginning of ``array``, to which the items of the wanted samples have been moved."""
    n_moved = 0
    for piece in _pieces(array, indptr, is_wanted):
        array[n_moved : n_moved + piece.shape[0]] = piece
        n_moved += piece.shape[0]
    return array[:n_moved]


def _pieces(array: AnyArray, indptr: Int64Array, is_wanted: BoolArray) -> Iterator[AnyArray]:
    """Copies of the items of the wanted samples, some samples at a time.

    Parameters
    ----------
    array : [n_items, ...]
    indptr : int64[n_samples + 1]
        Start of each sample's items.
    is_wanted : bool[n_samples]
    """
    for start, stop in chunk_ranges(0, is_wanted.size, ROWS_AT_A_TIME):
        of_items = np.repeat(is_wanted[start:stop], np.diff(indptr[start : stop + 1]))
        yield array[indptr[start] : indptr[stop]][of_items]


def _pointers(lengths: Int64Array) -> Int64Array:
    return np.concatenate([np.zeros(1, OFFSET), np.cumsum(lengths, dtype=OFFSET)])
