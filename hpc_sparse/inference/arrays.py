"""The samples of a data set file as arrays, for estimators and other libraries."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from scipy.sparse import csr_array

from hpc_sparse.dtypes import Int32Array
from hpc_sparse.storage.dataset.feature_summary import read_feature_names
from hpc_sparse.storage.dataset.file import Part, load_samples, read_info
from hpc_sparse.storage.dataset.samples import CsrFeatures, Features


class Arrays(NamedTuple):
    """Samples and their names.

    Attributes
    ----------
    X : uint8 or float32[n_samples, n_features], or SciPy's CSR
        As stored: not standardised.
    y : int32[n_samples]
        Number of each sample's class.
    feature_names : tuple of str or None
        None if the file does not name the features.
    class_names : tuple of str
    """

    X: Any
    y: Int32Array
    feature_names: tuple[str, ...] | None
    class_names: tuple[str, ...]


def load_arrays(path: Path | str, part: Part = "train") -> Arrays:
    """The training or the test samples of a data set file. Starts no MPI.

    Parameters
    ----------
    path : path
    part : {"train", "test"}

    Raises
    ------
    DataError, FileFormatError
        There is no such file, or it is not a data set or damaged.
    """
    samples = load_samples(path, part)
    features: Features = samples.features
    X: Any = features.values
    if isinstance(features, CsrFeatures):
        shape = features.n_samples, features.n_features
        X = csr_array((features.values, features.indices, features.indptr), shape=shape)
    return Arrays(X, samples.labels, read_feature_names(path), read_info(path).class_names)
