"""Missing values, filled as the import of a data set filled those of its samples."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from hpc_sparse.config import RunConfig
from hpc_sparse.dtypes import AnyArray, Float32Array, Int32Array
from hpc_sparse.errors import DataError
from hpc_sparse.inputs.protocol import FrontEnd
from hpc_sparse.storage.dataset.feature_summary import check_filled
from hpc_sparse.storage.dataset.samples import Dataset, Features, FilledValues

USE = "import it with --filled-as and that data set"

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class FilledIn(FrontEnd):
    """Means in the place of missing values; see :mod:`hpc_sparse.importers.missing_values`.

    The import has filled the samples of a data set, so that training leaves them as they are. Only raw features that
    predictions are wanted for are filled here, and get their flags.

    Attributes
    ----------
    fill : float32[n_raw]
        Mean of each feature.
    flagged : int32[n_raw]
        1 for features that another one flags; else 0.
    """

    name: ClassVar[str] = "missing_values"
    array_names: ClassVar[tuple[str, ...]] = ("fill", "flagged")
    acts_in_training: ClassVar[bool] = False
    acts_in_predictions: ClassVar[bool] = False

    fill: Float32Array
    flagged: Int32Array

    @classmethod
    def known(cls, dataset: Dataset) -> Mapping[str, AnyArray]:
        """That of the data set, if its import filled missing values."""
        return {} if dataset.filled is None else dataset.filled._asdict()

    @classmethod
    def restore(cls, config: RunConfig, arrays: Mapping[str, AnyArray]) -> Self | None:
        """The front end with these means; None if there are none."""
        if not arrays:
            return None
        check_filled(f"front end {cls.name}", FilledValues(arrays["fill"], arrays["flagged"]))
        return cls(arrays["fill"], arrays["flagged"])

    def check_data(self, dataset: Dataset) -> None:
        """Flags must be those of the same features; other means are told."""
        if dataset.filled is None:
            return
        path, filled = dataset.info.path, dataset.filled
        if not np.array_equal(filled.flagged, self.flagged):
            raise DataError(f"{path}: flags missing values of other features than the data set of the training: {USE}")
        if not np.array_equal(filled.fill, self.fill):
            LOG.warning("%s: missing values have other means than in the training: %s", path, USE)

    @property
    def n_features(self) -> int:
        """Features with the flags."""
        return FilledValues(self.fill, self.flagged).n_features

    @property
    def n_raw(self) -> int:
        """Features before the import."""
        return int(self.fill.size)

    def prepare(self, where: str, features: Features) -> Features:
        """Features without missing values, and with flags."""
        from hpc_sparse.importers.missing_values import MissingValues  # noqa: PLC0415 - as for weights of terms

        return MissingValues(self.fill, self.flagged).filled(features)
