"""Data sets in memory: features (dense or sparse), labels, and what is known about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np

from hpc_sparse.dtypes import INDEX, OFFSET, AnyArray, Float32Array, Int32Array, Int64Array

NO_LABEL = -1
"""Label of a step at which nothing is to be learnt."""


@dataclass(frozen=True)
class DenseFeatures:
    """Features of samples that are mostly nonzero.

    Attributes
    ----------
    values : uint8 or float32[n_samples, n_features], or int32
        As stored: neither scaled nor standardised. int32 are tokens, one for each step.
    """

    values: AnyArray

    @property
    def n_samples(self) -> int:
        """Number of rows."""
        return int(self.values.shape[0])

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return int(self.values.shape[1])


@dataclass(frozen=True)
class CsrFeatures:
    """Features of samples that are mostly zero, by compressed sparse rows.

    Attributes
    ----------
    indptr : int64[n_samples + 1]
        Start of each sample's features, from 0.
    indices : int32[n_stored]
        Feature numbers, increasing within a sample.
    values : float32[n_stored]
        Their values.
    n_features : int
        Number of columns.
    """

    indptr: Int64Array
    indices: Int32Array
    values: Float32Array
    n_features: int

    @property
    def n_samples(self) -> int:
        """Number of rows."""
        return int(self.indptr.size) - 1


class FilledValues(NamedTuple):
    """What an import put in the place of missing values.

    Attributes
    ----------
    fill : float32[n_raw]
        Mean of each feature over the training samples that have it.
    flagged : int32[n_raw]
        1 for features that another one flags, behind all others; else 0.
    """

    fill: Float32Array
    flagged: Int32Array

    @property
    def n_features(self) -> int:
        """Features with the flags."""
        return self.fill.size + int(self.flagged.sum())


Features: TypeAlias = DenseFeatures | CsrFeatures


@dataclass(frozen=True)
class Samples:
    """Features of samples and what is to be learnt of them.

    Attributes
    ----------
    features : Features
    labels : int32[n_samples]
        Their classes, from 0; or int32[n_samples, time_steps], of each step, -1 where nothing is to be learnt. In a
        regression, which no file holds: targets float32[n_samples, n_targets].
    lengths : int32[n_samples] or None
        Steps of each sample, where they differ: nothing is read of the others.
    """

    features: Features
    labels: AnyArray
    lengths: Int32Array | None = None

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return self.features.n_samples

    @property
    def n_scored(self) -> int:
        """Number of predictions that count: see :func:`n_scored`."""
        return n_scored(self.labels)


def n_scored(labels: AnyArray) -> int:
    """Number of predictions for such labels: of all samples, or of all their steps that have a label."""
    if labels.ndim == 1 or labels.dtype != INDEX:
        return len(labels)
    return int(np.count_nonzero(labels >= 0))


def take_rows(features: Features, rows: Int64Array) -> Features:
    """The samples ``rows``, in that order."""
    if isinstance(features, DenseFeatures):
        return DenseFeatures(features.values[rows])
    import scipy.sparse  # noqa: PLC0415 - it takes a tenth of the time in which a run starts

    matrix = scipy.sparse.csr_array(
        (features.values, features.indices, features.indptr), shape=(features.n_samples, features.n_features)
    )[rows]
    return CsrFeatures(matrix.indptr.astype(OFFSET), matrix.indices.astype(INDEX), matrix.data, features.n_features)


@dataclass(frozen=True)
class DatasetInfo:
    """Description of a data set file.

    Attributes
    ----------
    path : Path
    title, source, split : str
        Name, origin, and division into train and test.
    n_train, n_test, n_features, n_classes : int
    class_names : tuple of str
        By label.
    class_counts_train, class_counts_test : tuple of int
        Samples of each class.
    is_sparse : bool
        Whether features are stored by compressed sparse rows.
    dtype : str
        Type of the features: "uint8" or "float32", or "int32" of tokens.
    file_bytes : int
    creator : str
        The program that wrote the file.
    format_version : int
    time_steps : int
        Steps of each sample, if it is a sequence: each has an equal part of the features, in their order.
    vocabulary : tuple of str
        Name of each token, if the features are tokens: numbers of entries of a vocabulary, one for each step.
    has_step_labels : bool
        Whether each step has a label, instead of each sample.
    is_text : bool
        Whether the samples of a part follow each other in one long text, of which they are windows.
    unit : str
        What a token is, such as "character"; "" if it is not known.
    has_lengths : bool
        Whether the sequences differ in length.
    """

    path: Path
    title: str
    source: str
    split: str
    n_train: int
    n_test: int
    n_features: int
    n_classes: int
    class_names: tuple[str, ...]
    class_counts_train: tuple[int, ...]
    class_counts_test: tuple[int, ...]
    is_sparse: bool
    dtype: str
    file_bytes: int
    creator: str
    format_version: int
    time_steps: int = 1
    vocabulary: tuple[str, ...] = ()
    has_step_labels: bool = False
    is_text: bool = False
    unit: str = ""
    has_lengths: bool = False

    @property
    def n_tokens(self) -> int:
        """Tokens of the vocabulary; 0 if the features are numbers."""
        return len(self.vocabulary)


@dataclass(frozen=True)
class Dataset:
    """A data set, or one rank's shard of it.

    Attributes
    ----------
    info : DatasetInfo
        Description of the whole data set.
    train, test : Samples
        This rank's shards.
    mean, deviation : float32[n_features] or None
        Mean and standard deviation of each feature over the whole training part, in the unit of the features. A
        deviation of 0 is stored as 1. None for sparse features, which are not centred, and for tokens.
    validation : Samples or None
        This rank's samples of the validation part, which ``train`` does not have; None if nothing is held out.
    n_validation : int
        Samples of the validation part, those of other ranks included.
    term_weights : dict of array
        Weights of features that are counts of terms; {} for other features. ``idf`` float32[n_features]: weight of each
        term. ``row_length`` float64[1]: Euclidean length of every sample.
    filled : FilledValues or None
        What stands for missing values; None if the import took none.
    """

    info: DatasetInfo
    train: Samples
    test: Samples
    mean: Float32Array | None
    deviation: Float32Array | None
    validation: Samples | None = None
    n_validation: int = 0
    term_weights: Mapping[str, AnyArray] = field(default_factory=dict)
    filled: FilledValues | None = None

    @property
    def n_train(self) -> int:
        """Samples that all ranks together train on."""
        return self.info.n_train - self.n_validation
