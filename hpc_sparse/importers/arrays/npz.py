"""NumPy archives (.npz), dense or sparse, with or without a division into training and test samples.

Contents of an archive (C means ``indptr``, ``indices`` and, unless all values are 1, ``data``):

- ``x_train, y_train, x_test, y_test``, with ``x_valid, y_valid`` in place of a missing test part;
- ``x`` and labels: divided at random;
- features of three dimensions are sequences: samples, steps, features of a step;
- with ``vocabulary`` (text), features are tokens: integers, samples x steps;
- with ``lengths_train, lengths_test``, or ``lengths`` beside ``x``: the steps of each sequence that count;
- labels of samples x steps are those of steps; -1 or an empty text is none;
- ``train_C, test_C, shape = [n_train, n_test, n_features]``, ``train_label, test_label``;
- ``C, shape`` (or all four with ``feat_`` before) and labels: divided at random.

Labels are called ``label``, ``labels`` or ``y``; ``classes`` or ``class_names`` may name them. Where rows
would be divided at random, arrays ``train`` and ``test`` (row numbers) are followed instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpc_sparse.dtypes import INDEX, AnyArray, Int32Array, Int64Array
from hpc_sparse.errors import DataError
from hpc_sparse.importers.arrays.archive import Archive
from hpc_sparse.importers.arrays.step_labels import are_of_steps, encode_step_labels
from hpc_sparse.importers.features import log2_of
from hpc_sparse.importers.labels import encode_labels
from hpc_sparse.importers.lost_variation import warn_of_lost_variation
from hpc_sparse.importers.options import ImportOptions
from hpc_sparse.importers.split import stratified_split
from hpc_sparse.importers.tf_idf import tf_idf_of
from hpc_sparse.storage.dataset.file import read_info
from hpc_sparse.storage.dataset.samples import DatasetInfo, Features, Samples, take_rows
from hpc_sparse.storage.dataset.writer import write_dataset

PREFIXES = ("", "feat_")
PARTS = ("train", "test")


@dataclass(frozen=True)
class _Divided:
    train: Samples
    test: Samples
    class_names: tuple[str, ...]
    split: str


def import_npz(
    source: Path | str,
    target: Path | str,
    *,
    title: str | None = None,
    log2: bool = False,
    tf_idf: bool = False,
    test_fraction: float = 0.2,
    split_seed: int = 0,
    order_seed: int = 0,
    time_steps: int | None = None,
    overwrite: bool = False,
) -> DatasetInfo:
    """Import an archive in one of the layouts that this module's description lists.

    Parameters
    ----------
    source, target : path
    title : str, optional
        By default the file's name.
    log2 : bool
        Replace each value x by log2(max(x, 1)): for intensities of microarrays, which spread over many powers of two
        and are noise below 1. Dense features only.
    tf_idf : bool
        Weigh the term counts of sparse features; see :mod:`hpc_sparse.importers.tf_idf`.
    test_fraction : float
        Fraction of each class that a random division gives to the test part.
    split_seed, order_seed : int
        Seeds of the random division and of the order of the training samples.
    time_steps : int, optional
        Steps of each sample, if it is a sequence; by default those of an array [n_samples, n_steps, n_features].
    overwrite : bool
        Whether an existing target may be replaced.

    Raises
    ------
    DataError
        The file is not an archive, holds another layout, or its arrays do not fit or are not finite.
    OutputError
        ``target`` exists and is not to be overwritten, or cannot be written.
    """
    path = Path(source)
    archive = Archive(path)
    if log2 and archive.vocabulary():
        raise DataError(f"{path}: log2: not with a vocabulary, whose tokens are no intensities")
    steps = _steps_of(archive) if time_steps is None else time_steps
    divided = _divide(archive, test_fraction, split_seed, steps)
    train, test = (log2_of(str(path), part) if log2 else part for part in (divided.train, divided.test))
    train, test, idf = tf_idf_of(str(path), train, test) if tf_idf else (train, test, None)
    write_dataset(
        target,
        train,
        test,
        title=path.stem if title is None else title,
        class_names=divided.class_names,
        source=path.name + ImportOptions(log2=log2, tf_idf=tf_idf).steps(),
        split=divided.split,
        order_seed=order_seed,
        overwrite=overwrite,
        idf=idf,
        time_steps=steps,
        vocabulary=archive.vocabulary(),
    )
    warn_of_lost_variation(target)
    return read_info(target)


def _steps_of(archive: Archive) -> int:
    """The second axis of three-dimensional features, or of tokens."""
    for name in ("x_train", "x"):
        if name in archive and (archive.array(name).ndim == 3 or archive.vocabulary()):
            return int(archive.array(name).shape[1])
    return 1


def _divide(archive: Archive, test_fraction: float, seed: int, steps: int) -> _Divided:
    if "x_train" in archive:
        test = "valid" if "x_valid" in archive and "x_test" not in archive else "test"
        split = "as published; the test part is the validation part" if test == "valid" else "as published"
        train_features, test_features = (
            archive.values("x_train", "lengths_train"),
            archive.values(f"x_{test}", "lengths_test"),
        )
        labels = archive.array("y_train"), archive.array(f"y_{test}")
        return _published(archive, (train_features, test_features), labels, split, steps)
    if "train_indptr" in archive:
        n_train, n_test, n_features = archive.shape("shape", 3)
        parts = archive.csr("train_", n_train, n_features), archive.csr("test_", n_test, n_features)
        return _published(archive, parts, (archive.labels("train_"), archive.labels("test_")), "as published", steps)
    if "x" in archive:
        return _undivided(archive, archive.values("x", "lengths"), test_fraction, seed, steps)
    for prefix in PREFIXES:
        if f"{prefix}indptr" in archive:
            n_rows, n_features = archive.shape(f"{prefix}shape", 2)
            return _undivided(archive, archive.csr(prefix, n_rows, n_features), test_fraction, seed, steps)
    raise DataError(
        f"{archive.path}: unknown layout with arrays {', '.join(archive.arrays) or 'none'}: expected x_train and so "
        "on, x, train_indptr and so on, or indptr and so on"
    )


def _published(
    archive: Archive, features: tuple[Features, Features], labels: tuple[AnyArray, AnyArray], split: str, steps: int
) -> _Divided:
    for part, part_features, part_labels in zip(PARTS, features, labels, strict=True):
        _check_n_labels(archive, part, part_features, part_labels, steps)
    lengths = [archive.lengths(f"lengths_{part}", each.n_samples) for part, each in zip(PARTS, features, strict=True)]
    encoded, names = _encoded(archive, labels, lengths, steps)
    train, test = (Samples(*each) for each in zip(features, encoded, lengths, strict=True))
    return _Divided(train, test, names, split)


def _encoded(
    archive: Archive, labels: Sequence[AnyArray], lengths: Sequence[Int32Array | None], steps: int
) -> tuple[list[Int32Array], tuple[str, ...]]:
    """Labels of each part by number, and the names of the classes."""
    where, names = str(archive.path), archive.class_names()
    if all(are_of_steps(part, steps) for part in labels):
        return encode_step_labels(where, labels, lengths, names)
    return encode_labels(where, labels, names)


def _undivided(archive: Archive, features: Features, test_fraction: float, seed: int, steps: int) -> _Divided:
    labels = archive.labels()
    _check_n_labels(archive, "all samples", features, labels, steps)
    lengths = archive.lengths("lengths", features.n_samples)
    (encoded,), names = _encoded(archive, (labels,), (lengths,), steps)
    if "train" in archive and "test" in archive:
        train_rows, test_rows = _published_rows(archive, features.n_samples)
        split = "as published, by row numbers"
    else:
        is_of_steps = encoded.ndim > 1
        strata = np.zeros(len(encoded), INDEX) if is_of_steps else encoded
        train_rows, test_rows = stratified_split(strata, test_fraction, seed)
        within = "" if is_of_steps else " within each class"
        split = f"random{within}, test fraction {test_fraction:g}, seed {seed}"
    train, test = (
        Samples(take_rows(features, rows), encoded[rows], None if lengths is None else lengths[rows])
        for rows in (train_rows, test_rows)
    )
    return _Divided(train, test, names, split)


def _check_n_labels(archive: Archive, part: str, features: Features, labels: AnyArray, steps: int) -> None:
    n_labels = len(labels) if are_of_steps(labels, steps) else labels.size
    if n_labels != features.n_samples:
        raise DataError(
            f"{archive.path}: {part}: {n_labels} labels for {features.n_samples} samples: expected one per sample"
        )


def _published_rows(archive: Archive, n_samples: int) -> tuple[Int64Array, Int64Array]:
    rows = []
    for part in ("train", "test"):
        numbers = archive.array(part).reshape(-1)
        if numbers.dtype.kind not in "iu":
            raise DataError(f"{archive.where(part)}: {numbers.dtype}: expected row numbers")
        outside = (numbers < 0) | (numbers >= n_samples)
        if outside.any():
            position = int(np.argmax(outside))
            raise DataError(f"{archive.where(part)}[{position}] = {numbers[position]}: must be >= 0 and < {n_samples}")
        rows.append(numbers.astype(np.int64))
    shared = np.intersect1d(rows[0], rows[1])
    if shared.size:
        raise DataError(f"{archive.path}: row {shared[0]} is in both train and test: expected each in one")
    return rows[0], rows[1]
