"""Term counts weighted by how rare the terms are (Spärck Jones 1972), with the weights of the training part.

A count c becomes (1 + ln c) (1 + ln((1 + n) / (1 + df))), where df of the n training samples have the term. This is
scikit-learn's ``TfidfTransformer`` with ``sublinear_tf``, apart from the length of the rows. Rows have length
sqrt(mean terms per training sample), so nonzero entries have mean square about 1, as standardised features have. With
rows of length 1, the biases of a wide layer would drown the signals. Rows without terms stay empty.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hpc_sparse.dtypes import VALUE, Float32Array, Int64Array
from hpc_sparse.errors import DataError
from hpc_sparse.importers.features import without_zeros
from hpc_sparse.storage.dataset.samples import CsrFeatures, Features, Samples


def check_counts(where: str, features: Features) -> CsrFeatures:
    """The features without stored zeros; they must be sparse, and 1 or more where they are not 0 (DataError)."""
    if not isinstance(features, CsrFeatures):
        raise DataError(f"{where}: tf-idf of dense features: expected sparse ones")
    counts = without_zeros(features)
    if counts.values.size and counts.values.min() < 1:
        raise DataError(f"{where}: tf-idf of {counts.values.min()}: expected counts, 1 or more where they are not 0")
    return counts


def document_frequency(counts: CsrFeatures) -> Int64Array:
    """Samples that have each feature, int64[n_features]."""
    return np.bincount(counts.indices, minlength=counts.n_features)


@dataclass(frozen=True)
class TermWeights:
    """Weights of the terms, from the training part.

    Attributes
    ----------
    idf : float32[n_features]
        The weight of each term.
    row_length : float
        Euclidean length to which every row is scaled.
    """

    idf: Float32Array
    row_length: float

    @classmethod
    def of(cls, frequency: Int64Array, n_samples: int) -> TermWeights:
        """Weights from the number of training samples that have each term, int64[n_features]."""
        idf = np.log((1 + n_samples) / (1 + frequency)) + 1
        return cls(idf.astype(VALUE), math.sqrt(frequency.sum() / n_samples))

    def weigh(self, counts: CsrFeatures) -> CsrFeatures:
        """Logarithms of the counts times the weights of the terms, each row scaled."""
        values = (1 + np.log(counts.values, dtype=np.float64)) * self.idf[counts.indices]
        row = np.repeat(np.arange(counts.n_samples), np.diff(counts.indptr))
        length = np.sqrt(np.bincount(row, weights=np.square(values), minlength=counts.n_samples))
        values *= self.row_length / length[row]
        return CsrFeatures(counts.indptr, counts.indices, values.astype(VALUE), counts.n_features)


def tf_idf_of(where: str, train: Samples, test: Samples) -> tuple[Samples, Samples, Float32Array]:
    """Both parts, weighted by the training part's frequencies, and the weights.

    Raises
    ------
    DataError
        The features are dense, or are no counts.
    """
    parts = [check_counts(where, part.features) for part in (train, test)]
    weights = TermWeights.of(document_frequency(parts[0]), train.n_samples)
    new_train, new_test = (weights.weigh(part) for part in parts)
    return Samples(new_train, train.labels), Samples(new_test, test.labels), weights.idf
