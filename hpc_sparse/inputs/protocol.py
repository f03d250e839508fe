"""Front ends: the steps from the features of samples to the values of a network's input neurons."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from hpc_sparse.config import RunConfig, Section
from hpc_sparse.dtypes import VALUE, AnyArray, Float32Array, Int32Array, Int64Array
from hpc_sparse.errors import InputError
from hpc_sparse.network.layers.sparse import SparseLayer
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.dataset.samples import Dataset, DatasetInfo, DenseFeatures, Features, Samples


@dataclass(frozen=True)
class Gather:
    """The one pass over the features of a batch, with the front ends that it does on the way.

    Attributes
    ----------
    shift, scale : float32[n_features] or None
        Features become ``(value - shift) * scale``, also those that sparse samples do not store.
    chosen : int32[n_inputs] or None
        Numbers of the features that are taken, increasing; None for all.
    """

    shift: Float32Array | None = None
    scale: Float32Array | None = None
    chosen: Int32Array | None = None

    def n_inputs(self, n_features: int) -> int:
        """Values per sample that come of so many features."""
        return n_features if self.chosen is None else self.chosen.size

    def absent(self) -> Float32Array | None:
        """float32[n_inputs]: what features become that sparse samples do not store; None if they are 0."""
        if self.shift is None or self.scale is None:
            return None
        values: Float32Array = (np.float32(0) - self.shift) * self.scale
        return values if self.chosen is None else values[self.chosen]

    def values_of_first(self, features: Features) -> Float32Array:
        """float32[n_inputs]: the values of the first sample, with the bits that it has in a batch."""
        values: Float32Array
        if isinstance(features, DenseFeatures):
            values = features.values[0].astype(VALUE, copy=False)
        else:
            values = np.zeros(features.n_features, VALUE)
            stop = features.indptr[1]
            values[features.indices[:stop]] = features.values[:stop]
        if self.shift is not None and self.scale is not None:
            values = (values - self.shift) * self.scale
        return values if self.chosen is None else values[self.chosen]


class TrainingBatches(Protocol):
    """The training samples of a replica's shard, transformed anew in each epoch."""

    def prepare(self, epoch: int, batches: Sequence[Int64Array]) -> Iterator[Samples]:
        """The samples of each batch (int64[n_batch], positions in the shard), in the order of ``batches``."""


class FrontEnd(ABC):
    """A step from features to input neurons, by default one that changes nothing.

    A kind is a file with a frozen dataclass of this type and a line in :mod:`hpc_sparse.inputs.registry`. Training,
    evaluation, prediction, checkpoints, exports and planning know no kind by its name.

    Attributes
    ----------
    name : str
        The key of ``[data]`` that asks for it, and the group of its arrays in files.
    array_names : tuple of str
        Names of the arrays, which are fields.
    section : Section or None
        Values of the key ``data.name``, if the kind brings that key along.
    acts_in_training : bool
        Whether it changes batches in training, so that a run that goes on must find the same arrays.
    acts_in_predictions : bool
        Whether it changes features, of those that a data set holds, that predictions are wanted for.
    stays_in_exports : bool
        Whether archives of networks have its arrays, although it changes nothing.
    fits_any_samples : bool
        Whether it takes samples of any kind; else it is left out where kernels are prepared on a tiny data set.
    """

    name: ClassVar[str]
    array_names: ClassVar[tuple[str, ...]] = ()
    section: ClassVar[type[Section] | None] = None
    acts_in_training: ClassVar[bool] = True
    acts_in_predictions: ClassVar[bool] = True
    stays_in_exports: ClassVar[bool] = False
    fits_any_samples: ClassVar[bool] = True

    @classmethod
    def known(cls, dataset: Dataset) -> Mapping[str, AnyArray]:
        """The arrays as far as the data set states them, by name."""
        return {}

    @classmethod
    def fit(cls, ctx: ParallelContext, config: RunConfig, dataset: Dataset) -> Mapping[str, AnyArray]:
        """The arrays from the training shards of all ranks: the same on any number of them (collective)."""
        return cls.known(dataset)

    @classmethod
    @abstractmethod
    def restore(cls, config: RunConfig, arrays: Mapping[str, AnyArray]) -> Self | None:
        """The front end with these arrays, all or none of them; None if it is not asked for.

        Raises
        ------
        DataError
            The arrays are not what the configuration needs.
        """

    @classmethod
    def settings(cls, config: RunConfig) -> Any:
        """The value of ``data.name``."""
        return getattr(config.data, cls.name, None)

    @classmethod
    def without(cls, config: RunConfig) -> RunConfig:
        """The configuration of a network that does without this front end."""
        if cls.name not in type(config.data).model_fields:
            return config
        off = type(config.data).model_fields[cls.name].default
        return config.model_copy(update={"data": config.data.model_copy(update={cls.name: off})})

    @classmethod
    def planned_bytes(cls, config: RunConfig, info: DatasetInfo, stride: int) -> int:
        """Bytes of a run's arrays and buffers beyond the batch itself, whose rows have ``stride`` values."""
        return 0

    @property
    def n_features(self) -> int | None:
        """Features that a sample must have; None for any number."""
        return None

    def arrays(self) -> Mapping[str, AnyArray]:
        """What a checkpoint stores, by the names of the fields."""
        return {name: getattr(self, name) for name in self.array_names}

    def check_data(self, dataset: Dataset) -> None:  # noqa: B027  (by default any data set will do)
        """Check that the samples of a data set mean what those of the training meant, as far as this can be told.

        Raises
        ------
        DataError
            They do not.
        """

    def copied(self) -> Self:
        """The same with arrays of its own, which can be written to."""
        return replace(self, **{name: np.array(array) for name, array in self.arrays().items()})  # type: ignore[type-var]

    def n_inputs(self, n_features: int) -> int:
        """Values per sample that come of so many."""
        return n_features

    def prepare(self, where: str, features: Features) -> Features:
        """Raw features as the import prepared those of the data set.

        Raises
        ------
        DataError
            The features, from ``where``, cannot be prepared.
        """
        return features

    def training_batches(self, shard: Samples, seed: int, replica: int) -> TrainingBatches | None:
        """Transformed samples of a replica's shard for training; None if they stay as they are.

        Raises
        ------
        DataError, MachineError
            The samples cannot be transformed, or a library for it is missing.
        """
        return None

    def fused(self, gather: Gather) -> Gather | None:
        """The same pass with this front end in it; None if it is to be applied to the batch that comes of it."""
        return gather if type(self).apply is FrontEnd.apply else None

    def apply(self, batch: Float32Array, n_samples: int, out: Float32Array) -> None:
        """``out`` float32[n_inputs, n] from ``batch`` float32[n_before, n], 0 from sample ``n_samples`` on.

        A batch comes in tiles of samples, one call for each.

        By default the front end changes nothing.
        """
        out[:] = batch

    def fold(self, layer: SparseLayer) -> SparseLayer:
        """A first layer that gives for what comes in here what ``layer`` gives for what comes out.

        Raises
        ------
        InputError
            There is no such layer.
        """
        if not self.acts_in_predictions:
            return layer
        raise InputError(f"front end {self.name}: cannot be folded into the first layer, as an export would need it")
