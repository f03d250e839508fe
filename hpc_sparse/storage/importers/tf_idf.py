"""Term counts weighted by how rare the terms are (Spärck Jones 1972), with the weights of the training part.

A count c becomes (1 + ln c) (1 + ln((1 + n) / (1 + df))) for n training samples of which df have the term; then each
row is scaled to the same Euclidean length. That is scikit-learn's ``TfidfTransformer`` with ``sublinear_tf``, but for
the length: sqrt(n_features) instead of 1, so that the mean square of the features is 1, as that of standardised dense
ones is and as initial weights expect. With length 1, the signal of 65,536 features would be drowned by the biases.
Rows without terms stay empty.
"""

from __future__ import annotations

import numpy as np

from hpc_sparse.dtypes import VALUE, Float32Array, Int64Array
from hpc_sparse.errors import DataError
from hpc_sparse.storage.importers.features import without_zeros
from hpc_sparse.storage.samples import CsrFeatures, Features, Samples


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


def inverse_frequency(frequency: Int64Array, n_samples: int) -> Float32Array:
    """The weight of each feature, float32[n_features]."""
    return (np.log((1 + n_samples) / (1 + frequency)) + 1).astype(VALUE)


def weighted(counts: CsrFeatures, idf: Float32Array) -> CsrFeatures:
    """The logarithms of the counts times the features' weights, each row scaled to mean square 1."""
    values = (1 + np.log(counts.values, dtype=np.float64)) * idf[counts.indices]
    row = np.repeat(np.arange(counts.n_samples), np.diff(counts.indptr))
    length = np.sqrt(np.bincount(row, weights=np.square(values), minlength=counts.n_samples))
    values *= np.sqrt(counts.n_features) / length[row]
    return CsrFeatures(counts.indptr, counts.indices, values.astype(VALUE), counts.n_features)


def tf_idf_of(where: str, train: Samples, test: Samples) -> tuple[Samples, Samples, Float32Array]:
    """Both parts, weighted by the training part's frequencies, and the weights.

    Raises
    ------
    DataError
        The features are dense, or are no counts.
    """
    parts = [check_counts(where, part.features) for part in (train, test)]
    idf = inverse_frequency(document_frequency(parts[0]), train.n_samples)
    new_train, new_test = (weighted(part, idf) for part in parts)
    return Samples(new_train, train.labels), Samples(new_test, test.labels), idf
