"""Counts of terms, weighted as the import of a data set weighted those of its samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from hpc_sparse.config import RunConfig
from hpc_sparse.dtypes import VALUE, AnyArray, Float32Array, Float64Array
from hpc_sparse.errors import DataError
from hpc_sparse.inputs.protocol import FrontEnd
from hpc_sparse.storage.dataset.samples import Dataset, DatasetInfo, Features


@dataclass(frozen=True)
class TermWeights(FrontEnd):
    """Weights of terms; see :mod:`hpc_sparse.importers.tf_idf`.

    The samples of a data set have been weighted by the import, so that training leaves them as they are. Only raw
    counts that predictions are wanted for are weighted here.

    Attributes
    ----------
    idf : float32[n_features]
        The weight of each term.
    row_length : float64[1]
        Euclidean length that every sample is scaled to.
    """

    name: ClassVar[str] = "term_weights"
    array_names: ClassVar[tuple[str, ...]] = ("idf", "row_length")
    acts_in_training: ClassVar[bool] = False
    acts_in_predictions: ClassVar[bool] = False

    idf: Float32Array
    row_length: Float64Array

    @classmethod
    def known(cls, dataset: Dataset) -> Mapping[str, AnyArray]:
        """Weights of the data set, if its features are weighted counts."""
        return dataset.term_weights

    @classmethod
    def restore(cls, config: RunConfig, arrays: Mapping[str, AnyArray]) -> Self | None:
        """The front end with these weights; None if there are none."""
        if not arrays:
            return None
        idf, row_length = arrays["idf"], arrays["row_length"]
        if idf.ndim != 1 or idf.dtype != VALUE or row_length.shape != (1,):
            found = f"idf {idf.dtype}{list(idf.shape)}, row_length {list(row_length.shape)}"
            raise DataError(f"front end {cls.name}: {found}: expected float32[n_features] and [1]")
        return cls(idf, row_length)

    @classmethod
    def planned_bytes(cls, config: RunConfig, info: DatasetInfo, stride: int) -> int:
        """Bytes of the weights, which sparse features may have."""
        return info.n_features * np.dtype(VALUE).itemsize if info.is_sparse else 0

    @property
    def n_features(self) -> int:
        """Terms."""
        return int(self.idf.size)

    def prepare(self, where: str, features: Features) -> Features:
        """Weighted counts.

        Raises
        ------
        DataError
            The features are dense, or are no counts.
        """
        from hpc_sparse.importers import tf_idf  # noqa: PLC0415 - it loads a part of SciPy, which runs do without

        weights = tf_idf.TermWeights(self.idf, float(self.row_length[0]))
        return weights.weigh(tf_idf.check_counts(where, features))
