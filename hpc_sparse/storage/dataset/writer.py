"""Writing data set files; the layout is described in :mod:`hpc_sparse.storage.dataset.file`.

Besides, ``statistics`` holds ``nonzero`` int64[f], the training samples in which each feature is not 0, and attributes
``minimum`` and ``maximum`` of their values. ``feature_names`` is text, and ``preparation/idf`` float32[f] the weights
of term counts, where there are any. Where missing values were filled, ``preparation/fill`` float32[r] are the means of
the r features that the source has. ``preparation/flagged`` int32[r] is 1 for those that have a flag: a feature behind
all r, which is 1 where they were missing. Attributes of ``graph`` describe the graph whose nodes the samples are.
Readers may do without all of these.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hpc_sparse.checks import check_csr, check_finite, check_labels, check_lengths, check_tokens
from hpc_sparse.dtypes import INDEX, OFFSET, VALUE, AnyArray, Float32Array, Int32Array, Int64Array
from hpc_sparse.errors import DataError, OutputError
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.partition import chunk_ranges
from hpc_sparse.rng import Purpose, stream
from hpc_sparse.storage.container.file import DATASET_KIND, create_container, remove_partial_files
from hpc_sparse.storage.container.hdf5 import Attribute, output_errors
from hpc_sparse.storage.container.writer import ContainerWriter
from hpc_sparse.storage.dataset.feature_statistics import FeatureStatistics
from hpc_sparse.storage.dataset.samples import CsrFeatures, Features, FilledValues, Samples, take_rows

BLOCK_BYTES = 4 * 1024 * 1024
"""Features that are put in order and written together, roughly."""


@dataclass(frozen=True)
class DatasetText:
    """Texts about a data set: title, origin and division, names of the classes, and numbers of a graph's nodes."""

    title: str
    source: str
    split: str
    class_names: Sequence[str]
    graph: Mapping[str, Attribute] = field(default_factory=dict)


@dataclass(frozen=True)
class FeatureLayout:
    """Layout of the features of both parts.

    Attributes
    ----------
    n_features : int
    is_sparse : bool
        By compressed sparse rows.
    dtype : dtype
        uint8 or float32; of sparse features float32, of tokens int32.
    names : sequence of str, optional
        By feature.
    idf : float32[n_features], optional
        The weights that term counts were multiplied with.
    time_steps : int
        Steps of each sample, if it is a sequence; a divisor of the features.
    vocabulary : sequence of str, optional
        Name of each token, if features are tokens.
    unit : str
        What a token is, if samples are windows of one long text; "" if they are not.
    filled : FilledValues, optional
        What stands for missing values.
    """

    n_features: int
    is_sparse: bool
    dtype: np.dtype[np.generic]
    names: Sequence[str] | None = None
    idf: Float32Array | None = None
    time_steps: int = 1
    vocabulary: Sequence[str] | None = None
    unit: str = ""
    filled: FilledValues | None = None


@dataclass(frozen=True)
class PartBlocks:
    """One part, whose features come in blocks of rows, in the order in which they are stored.

    Attributes
    ----------
    labels : int32[n_samples], or [n_samples, time_steps]
    blocks : iterable of Features
    n_stored : int
        Values of sparse features; of dense ones it does not matter.
    lengths : int32[n_samples] or None
        Steps of each sample, where they differ.
    """

    labels: Int32Array
    blocks: Iterable[Features]
    n_stored: int = 0
    lengths: Int32Array | None = None


def write_dataset(
    path: Path | str,
    train: Samples,
    test: Samples,
    *,
    title: str,
    class_names: Sequence[str],
    source: str = "",
    split: str = "",
    order_seed: int = 0,
    overwrite: bool = False,
    feature_names: Sequence[str] | None = None,
    idf: Float32Array | None = None,
    time_steps: int = 1,
    vocabulary: Sequence[str] | None = None,
    unit: str = "",
) -> None:
    """Write a data set file from one process.

    The training samples are put in a random order, so that any contiguous shard of them is
    representative; the test samples keep theirs, and so do windows of a text.

    Parameters
    ----------
    path : path
        The file to make.
    train, test : Samples
        Both dense or both sparse, of one dtype and number of features; ``test`` may have no samples.
    title, source, split : str
        Name, origin and division of the data.
    class_names : sequence of str
        Name of each label from 0 on.
    order_seed : int
        Seed of the random order.
    overwrite : bool
        Whether an existing file may be replaced.
    feature_names : sequence of str, optional
        Name of each feature.
    idf : float32[n_features], optional
        The weights that term counts were multiplied with.
    time_steps : int
        Steps of each sample, if it is a sequence: each has an equal part of the features, in their order.
    vocabulary : sequence of str, optional
        Name of each token, if features are tokens, int32[n_samples, time_steps].
    unit : str
        What a token is, such as "character", if samples are windows of one long text, in its order.

    Raises
    ------
    DataError
        Labels, indices or values are out of range, or the parts do not fit together.
    OutputError
        The file exists, or cannot be written.
    """
    target = Path(path)
    make_way(target, overwrite=overwrite)
    _check_parts(target, train, test, len(class_names))
    check_time_steps(str(target), train.features.n_features, time_steps)
    for part, samples in (("train", train), ("test", test)):
        if vocabulary is not None:
            if train.features.n_features != time_steps:
                n = train.features.n_features
                raise DataError(f"{target}: time_steps = {time_steps}: expected {n}, a step for each token")
            check_tokens(f"{target}: {part}/features", samples.features.values, len(vocabulary), error=DataError)
        if samples.lengths is not None:
            check_lengths(f"{target}: {part}/lengths", samples.lengths, time_steps, error=DataError)
    dtype = train.features.values.dtype
    is_sparse = isinstance(train.features, CsrFeatures)
    kinds = feature_names, idf, time_steps, vocabulary, unit
    layout = FeatureLayout(train.features.n_features, is_sparse, dtype, *kinds)
    order = np.arange(train.n_samples, dtype=OFFSET) if unit else training_order(train.n_samples, order_seed)
    write_blocks(
        target,
        _in_order(train, order),
        _in_order(test, np.arange(test.n_samples, dtype=OFFSET)),
        layout=layout,
        text=DatasetText(title, source, split, class_names),
    )


def check_time_steps(where: str, n_features: int, time_steps: int) -> None:
    """Refuse (DataError) steps among which the features cannot be divided."""
    if time_steps < 1 or n_features % time_steps:
        raise DataError(f"{where}: time_steps = {time_steps}: expected a divisor of the {n_features} features")


def make_way(target: Path, *, overwrite: bool) -> None:
    """Refuse (OutputError) to replace a file that exists, unless told; remove what a killed import of it left."""
    if target.exists() and not overwrite:
        raise OutputError(
            f"{target}: exists already and is not overwritten without --overwrite (in Python: overwrite=True)"
        )
    with output_errors(target):
        remove_partial_files(target.parent, f"{target.name}.")


def training_order(n_samples: int, order_seed: int) -> Int64Array:
    """The random order in which training samples are stored, int64[n_samples]."""
    order: Int64Array = stream(order_seed, Purpose.DATA_ORDER).permutation(n_samples)
    return order


def write_blocks(
    target: Path, train: PartBlocks, test: PartBlocks, *, layout: FeatureLayout, text: DatasetText
) -> None:
    """Write a data set file of samples that were checked and ordered before, holding one block of them at a time.

    Parameters
    ----------
    target : Path
        Replaced at the end if it exists.
    train, test : PartBlocks
    layout : FeatureLayout
    text : DatasetText

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    statistics = FeatureStatistics(layout.n_features)
    n_classes = len(text.class_names)
    with create_container(ParallelContext.serial(threads=1), target, DATASET_KIND, "serial") as writer:
        for name, value in (("title", text.title), ("source", text.source), ("split", text.split)):
            writer.set_attribute("/", name, value)
        writer.set_attribute("/", "n_features", layout.n_features)
        writer.set_attribute("/", "n_classes", n_classes)
        if layout.time_steps > 1:
            writer.set_attribute("/", "time_steps", layout.time_steps)
        for name, number in text.graph.items():
            writer.set_attribute("graph", name, number)
        writer.write_replicated("class_names", _as_text(text.class_names))
        _write_part(writer, "train", train, layout, statistics)
        _write_part(writer, "test", test, layout)
        if layout.vocabulary is not None:
            writer.write_replicated("vocabulary", _as_text(layout.vocabulary))
        if layout.unit:
            writer.set_attribute("/", "text", layout.unit)
        counts = [np.bincount(part.labels[part.labels >= 0], minlength=n_classes) for part in (train, test)]
        writer.write_replicated("statistics/class_counts", np.array(counts, OFFSET))
        _write_statistics(writer, layout, statistics)
        if layout.names is not None:
            writer.write_replicated("feature_names", _as_text(layout.names))
        if layout.idf is not None:
            writer.write_replicated("preparation/idf", layout.idf)
        if layout.filled is not None:
            writer.write_replicated("preparation/fill", layout.filled.fill)
            writer.write_replicated("preparation/flagged", layout.filled.flagged)


def _in_order(samples: Samples, order: Int64Array) -> PartBlocks:
    features = samples.features
    row_bytes = max(1, _n_bytes(features) // max(1, samples.n_samples))

    def blocks() -> Iterator[Features]:
        for start, stop in chunk_ranges(0, order.size, max(1, BLOCK_BYTES // row_bytes)):
            yield take_rows(features, order[start:stop])

    lengths = None if samples.lengths is None else samples.lengths[order]
    return PartBlocks(samples.labels[order], blocks(), features.values.size, lengths)


def _n_bytes(features: Features) -> int:
    if isinstance(features, CsrFeatures):
        return features.indices.nbytes + features.values.nbytes
    return features.values.nbytes


def _check_parts(target: Path, train: Samples, test: Samples, n_classes: int) -> None:
    if train.n_samples == 0 or train.features.n_features == 0 or n_classes == 0:
        raise DataError(
            f"{target}: {train.n_samples} training samples of {train.features.n_features} features "
            f"in {n_classes} classes: must be at least one of each"
        )
    if type(train.features) is not type(test.features) or train.features.n_features != test.features.n_features:
        raise DataError(
            f"{target}: train has {_kind(train.features)} features, test has {_kind(test.features)}: must be alike"
        )
    for part, samples in (("train", train), ("test", test)):
        where = f"{target}: {part}"
        if samples.labels.shape[0] != samples.n_samples:
            raise DataError(f"{where}: {samples.labels.size} labels: expected {samples.n_samples}, one per sample")
        check_labels(f"{where}/labels", samples.labels, n_classes, error=DataError)
        if isinstance(samples.features, CsrFeatures):
            features = samples.features
            check_csr(where, features.indptr, features.indices, features.n_features, error=DataError)
            check_finite(f"{where}/values", features.values, error=DataError)
        else:
            check_finite(f"{where}/features", samples.features.values, error=DataError)


def _kind(features: Features) -> str:
    if isinstance(features, CsrFeatures):
        return f"{features.n_features} sparse"
    return f"{features.n_features} dense"


def _write_part(
    writer: ContainerWriter,
    part: str,
    samples: PartBlocks,
    layout: FeatureLayout,
    statistics: FeatureStatistics | None = None,
) -> None:
    n_samples = len(samples.labels)
    writer.set_attribute(part, "n_samples", n_samples)
    writer.write_replicated(f"{part}/labels", samples.labels.astype(INDEX))
    if samples.lengths is not None:
        writer.write_replicated(f"{part}/lengths", samples.lengths.astype(INDEX))
    if layout.is_sparse:
        writer.create(f"{part}/indptr", (n_samples + 1,), OFFSET)
        writer.create(f"{part}/indices", (samples.n_stored,), INDEX)
        writer.create(f"{part}/values", (samples.n_stored,), VALUE)
        writer.write(f"{part}/indptr", 0, np.zeros(1, OFFSET))
    else:
        writer.create(f"{part}/features", (n_samples, layout.n_features), layout.dtype)
    row = stored = 0
    for block in samples.blocks:
        if statistics is not None:
            statistics.add(block)
        if isinstance(block, CsrFeatures):
            writer.write(f"{part}/indptr", row + 1, (block.indptr[1:] + stored).astype(OFFSET))
            writer.write(f"{part}/indices", stored, block.indices.astype(INDEX))
            writer.write(f"{part}/values", stored, block.values.astype(VALUE))
            stored += block.indices.size
        else:
            writer.write(f"{part}/features", row, block.values.astype(layout.dtype, copy=False))
        row += block.n_samples
    assert (row, stored) == (n_samples, samples.n_stored if layout.is_sparse else 0), f"{part}: {row}, {stored}"


def _write_statistics(writer: ContainerWriter, layout: FeatureLayout, statistics: FeatureStatistics) -> None:
    if not layout.is_sparse and layout.vocabulary is None:
        writer.write_replicated("statistics/mean", statistics.mean())
        writer.write_replicated("statistics/deviation", statistics.deviation())
    writer.write_replicated("statistics/nonzero", statistics.nonzero)
    for name, value in zip(("minimum", "maximum"), statistics.value_range(), strict=True):
        writer.set_attribute("statistics", name, value)


def _as_text(names: Sequence[str]) -> AnyArray:
    encoded = [name.encode() for name in names]
    return np.array(encoded, dtype=f"S{max(1, *(len(name) for name in encoded))}")
