"""Features with the mean 0 and the deviation 1 over the training part, which was dense."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Self

import numpy as np

from hpc_sparse.config import RunConfig
from hpc_sparse.dtypes import VALUE, AnyArray, Float32Array
from hpc_sparse.inputs.protocol import FrontEnd, Gather
from hpc_sparse.network.layers.sparse import SparseLayer
from hpc_sparse.storage.dataset.samples import Dataset, DatasetInfo


@dataclass(frozen=True)
class Standardise(FrontEnd):
    """``(x - mean) / deviation`` of each feature; those of a sparse training part, which has no statistics, stay.

    Sparse samples that come later are standardised as dense ones are, without being made dense in memory.
    The statistics belong to a checkpoint even where features stay as they are: they tell a data set from others.

    Attributes
    ----------
    mean, deviation : float32[n_features]
        Over the training part, in the unit of the features; a deviation of 0 is stored as 1.
    is_on : bool
        Whether features are standardised.
    """

    name: ClassVar[str] = "standardize"
    array_names: ClassVar[tuple[str, ...]] = ("mean", "deviation")

    mean: Float32Array
    deviation: Float32Array
    is_on: bool = True

    @classmethod
    def known(cls, dataset: Dataset) -> Mapping[str, AnyArray]:
        """Statistics of the data set; none of sparse features."""
        if dataset.mean is None or dataset.deviation is None:
            return {}
        return {"mean": dataset.mean, "deviation": dataset.deviation}

    @classmethod
    def restore(cls, config: RunConfig, arrays: Mapping[str, AnyArray]) -> Self | None:
        """The front end with these statistics; None if there are none."""
        return cls(arrays["mean"], arrays["deviation"], config.data.standardize) if arrays else None

    @classmethod
    def without(cls, config: RunConfig) -> RunConfig:
        """The configuration of a network that takes features as they are."""
        return config.model_copy(update={"data": config.data.model_copy(update={"standardize": False})})

    @classmethod
    def planned_bytes(cls, config: RunConfig, info: DatasetInfo, stride: int) -> int:
        """Bytes of the statistics."""
        return 0 if info.is_sparse else 2 * info.n_features * np.dtype(VALUE).itemsize

    @property
    def n_features(self) -> int:
        """Features that have statistics."""
        return int(self.mean.size)

    @cached_property
    def scale(self) -> Float32Array:
        """float32[n_features]: 1 / deviation."""
        return (1.0 / self.deviation.astype(np.float64)).astype(VALUE)

    def fused(self, gather: Gather) -> Gather | None:
        """The pass with shift and scale, if nothing comes before."""
        if not self.is_on:
            return gather
        if gather.scale is not None or gather.chosen is not None:
            return None
        return replace(gather, shift=self.mean, scale=self.scale)

    def apply(self, batch: Float32Array, n_samples: int, out: Float32Array) -> None:
        """Standardise the rows of a batch."""
        own = slice(None, n_samples)
        np.multiply(batch[:, own] - self.mean[:, None], self.scale[:, None], out=out[:, own])
        out[:, n_samples:] = 0

    def fold(self, layer: SparseLayer) -> SparseLayer:
        """A layer with weights divided by the deviations and a bias that makes up for the means; sums in float64."""
        if not self.is_on:
            return layer
        t = layer.topology
        weight = layer.weight / self.deviation.astype(np.float64)[t.indices]
        shift = np.bincount(t.outs(), weight * self.mean[t.indices], t.shape[0])
        incoming, bias = layer.incoming.rewired(t, weight.astype(VALUE)), (layer.bias - shift).astype(VALUE)
        return replace(layer, incoming=incoming, bias=bias)
