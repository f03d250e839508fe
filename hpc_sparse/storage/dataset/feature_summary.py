"""Summary of the features of a data set file: names, weights, statistics."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hpc_sparse.checks import check_finite, check_positive
from hpc_sparse.dtypes import INDEX, OFFSET, VALUE, Float32Array
from hpc_sparse.errors import FileFormatError
from hpc_sparse.parallel.collectives import collective_errors
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.container.file import DATASET_KIND, open_container
from hpc_sparse.storage.container.reader import ContainerReader
from hpc_sparse.storage.dataset.samples import FilledValues

Range = tuple[float, float]

MOST_NAME_BYTES = 1024 * 1024 * 1024
"""Most bytes of the names of all features."""


@dataclass(frozen=True)
class FeatureSummary:
    """The features of the training part in a few numbers, None where the file does not say.

    Attributes
    ----------
    value_range : (float, float) or None
        Least and greatest value.
    share_of_zeros : float or None
        Share of zeros among all values.
    n_always_zero : int or None
        Features that are 0 in every training sample.
    mean_range, deviation_range : (float, float) or None
        Over the dense features.
    has_names, has_idf, has_filled : bool
        Whether the file names the features, has the weights of term counts, and what stands for missing values.
    """

    value_range: Range | None
    share_of_zeros: float | None
    n_always_zero: int | None
    mean_range: Range | None
    deviation_range: Range | None
    has_names: bool
    has_idf: bool
    has_filled: bool


def read_graph_numbers(path: Path | str) -> dict[str, int | float | str]:
    """Numbers of the graph whose nodes the samples are; {} if they are none. Needs no MPI."""
    with open_container(ParallelContext.serial(threads=1), path, DATASET_KIND, "serial") as reader:
        return reader.attributes("graph") if reader.has("graph") else {}


def read_feature_summary(path: Path | str) -> FeatureSummary:
    """Summarise the statistics of a data set file; reads no samples and needs no MPI.

    Raises
    ------
    DataError, FileFormatError
        The file is missing, foreign or damaged.
    """
    with open_container(ParallelContext.serial(threads=1), path, DATASET_KIND, "serial") as reader:
        n_features = reader.integer("/", "n_features", minimum=1)
        n_train = reader.integer("train", "n_samples", minimum=1)
        value_range, share_of_zeros, n_always_zero = _nonzero_statistics(reader, n_train, n_features)
        return FeatureSummary(
            value_range,
            share_of_zeros,
            n_always_zero,
            _range_of(reader, "statistics/mean", n_features),
            _range_of(reader, "statistics/deviation", n_features),
            reader.has("feature_names"),
            reader.has("preparation/idf"),
            reader.has("preparation/fill"),
        )


def read_feature_names(path: Path | str) -> tuple[str, ...] | None:
    """The features' names, or None if the file has none; needs no MPI.

    Raises
    ------
    DataError, FileFormatError
        The file is missing, foreign or damaged.
    """
    with open_container(ParallelContext.serial(threads=1), path, DATASET_KIND, "serial") as reader:
        if not reader.has("feature_names"):
            return None
        return reader.read_text("feature_names", reader.integer("/", "n_features", minimum=1), MOST_NAME_BYTES)


def read_idf(path: Path | str) -> Float32Array | None:
    """The weights (float32[n_features]) that term counts were multiplied with, or None; needs no MPI.

    Raises
    ------
    DataError, FileFormatError
        The file is missing, foreign or damaged.
    """
    with open_container(ParallelContext.serial(threads=1), path, DATASET_KIND, "serial") as reader:
        return idf_of(reader, reader.integer("/", "n_features", minimum=1))


def idf_of(reader: ContainerReader, n_features: int) -> Float32Array | None:
    """As :func:`read_idf`, of an open file (collective)."""
    if not reader.has("preparation/idf"):
        return None
    reader.require("preparation/idf", VALUE, (n_features,))
    idf: Float32Array = reader.read("preparation/idf")
    where = f"{reader.path}: preparation/idf"
    with collective_errors(reader.ctx, "checking the weights of terms"):
        check_finite(where, idf, error=FileFormatError)
        check_positive(where, idf, error=FileFormatError)
    return idf


def read_filled(path: Path | str) -> FilledValues | None:
    """What stands for missing values in a data set file; None if its import took none. Needs no MPI.

    Raises
    ------
    DataError, FileFormatError
        The file is missing, foreign or damaged.
    """
    with open_container(ParallelContext.serial(threads=1), path, DATASET_KIND, "serial") as reader:
        return filled_of(reader, reader.integer("/", "n_features", minimum=1))


def filled_of(reader: ContainerReader, n_features: int) -> FilledValues | None:
    """What stands for missing values in an open file; None if the import took none (collective).

    Raises
    ------
    FileFormatError
        On every rank: there are not as many features as it tells.
    """
    if not reader.has("preparation/fill"):
        return None
    shape = reader.shape("preparation/fill")
    reader.require("preparation/fill", VALUE, shape)
    reader.require("preparation/flagged", INDEX, shape)
    found = FilledValues(reader.read("preparation/fill"), reader.read("preparation/flagged"))
    where = f"{reader.path}: preparation"
    with collective_errors(reader.ctx, "checking what stands for missing values"):
        check_filled(where, found, n_features)
    return found


def check_filled(where: str, filled: FilledValues, n_features: int | None = None) -> None:
    """Refuse (FileFormatError) means that are not finite, and flags that are none or of others than ``n_features``."""
    fill, flagged = filled
    if fill.ndim != 1 or fill.dtype != VALUE or flagged.shape != fill.shape or flagged.dtype != INDEX:
        found = f"fill {fill.dtype}{list(fill.shape)}, flagged {flagged.dtype}{list(flagged.shape)}"
        raise FileFormatError(f"{where}: {found}: expected float32[n] and int32[n]")
    check_finite(f"{where}/fill", fill, error=FileFormatError)
    if ((flagged != 0) & (flagged != 1)).any():
        raise FileFormatError(f"{where}/flagged: expected 0 and 1")
    if n_features not in {None, filled.n_features}:
        raise FileFormatError(f"{where}: {filled.n_features} features with flags: expected {n_features}")


def _nonzero_statistics(
    reader: ContainerReader, n_train: int, n_features: int
) -> tuple[Range | None, float | None, int | None]:
    if reader.has("statistics/nonzero"):
        reader.require("statistics/nonzero", OFFSET, (n_features,))
        nonzero = reader.read("statistics/nonzero")
        lowest, highest = (reader.number("statistics", name) for name in ("minimum", "maximum"))
        return (lowest, highest), 1 - float(nonzero.sum() / n_train / n_features), int((nonzero == 0).sum())
    if reader.has("train/indices"):
        return None, 1 - reader.shape("train/indices")[0] / n_train / n_features, None
    return None, None, None


def _range_of(reader: ContainerReader, name: str, n_features: int) -> Range | None:
    if not reader.has(name):
        return None
    reader.require(name, VALUE, (n_features,))
    values = reader.read(name)
    return float(values.min()), float(values.max())
