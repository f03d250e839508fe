"""Protocol of a source of samples in another format: chunks of samples, then a description of the features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import scipy.sparse

from hpc_sparse.dtypes import INDEX, AnyArray, Int32Array
from hpc_sparse.errors import DataError
from hpc_sparse.importers.labels import LabelCollector
from hpc_sparse.storage.dataset.samples import CsrFeatures, DenseFeatures, Features

CHUNK_BYTES = 8 * 1024 * 1024
"""Size of a chunk, roughly, where the source can choose."""


@dataclass(frozen=True)
class Chunk:
    """Some samples as they come, one after the other, from a source.

    Attributes
    ----------
    features : Features
        Finite. Sparse ones without zeros and duplicates; in any order, with preliminary numbers.
    labels : int32[n_samples]
        Preliminary numbers that a :class:`LabelCollector` gave.
    done : int
        Position in the source, in the unit of its size.
    """

    features: Features
    labels: Int32Array
    done: int


@dataclass(frozen=True)
class FeatureSpace:
    """Features of a source, complete once all samples have come.

    Attributes
    ----------
    n_features : int
    is_sparse : bool
        Whether they are to be stored by compressed sparse rows; dense features stay dense.
    names : sequence of str, optional
    number : int32[n_preliminary], optional
        The number of each feature of sparse chunks; by default the preliminary one.
    first : int
        The preliminary number that becomes 0, where ``number`` is not given.
    ids : int32[n_features], optional
        Preliminary numbers that occur, in order: each becomes its position here. For few of a wide range.
    """

    n_features: int
    is_sparse: bool
    names: Sequence[str] | None = None
    number: Int32Array | None = None
    first: int = 0
    ids: Int32Array | None = None

    def arranged(self, features: Features) -> Features:
        """The features as they are stored."""
        if isinstance(features, DenseFeatures):
            return features
        indices = self._numbered(features.indices)
        shape = (features.n_samples, self.n_features)
        matrix = scipy.sparse.csr_array((features.values, indices, features.indptr), shape=shape)
        if not self.is_sparse:
            return DenseFeatures(matrix.toarray())
        matrix.sort_indices()
        return CsrFeatures(features.indptr, matrix.indices.astype(INDEX), matrix.data, self.n_features)

    def _numbered(self, indices: Int32Array) -> Int32Array:
        if self.ids is not None:
            return np.searchsorted(self.ids, indices).astype(INDEX)
        if self.number is not None:
            return self.number[indices]
        return indices - INDEX(self.first) if self.first else indices


class SampleSource(Protocol):
    """Samples of another format: one set of them to be divided, or a training and a test set."""

    where: str
    n_parts: int
    labels: LabelCollector

    def chunks(self, part: int) -> Iterator[Chunk]:
        """All samples of a set (0 or 1), in order."""

    def size(self, part: int) -> int:
        """Size of a set, in the unit of ``Chunk.done``."""

    def feature_space(self) -> FeatureSpace:
        """The features of all chunks; called after the last one."""

    def description(self) -> str:
        """File, and what else the user should know about where samples came from; called after the last chunk."""


def check_n_labels(where: str, n_samples: int, labels: AnyArray) -> None:
    """Refuse (DataError) other than one label per sample."""
    if labels.size != n_samples:
        raise DataError(f"{where}: {labels.size} labels for {n_samples} samples: expected one per sample")
