"""Features with the mean 0 and the deviation 1 over the training part, which was dense.

Networks that read images get each colour standardised over all pixels together: an image that is shifted then stays
the same image, shifted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
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
    n_colours : int
        Values of a pixel, each of which has one mean and one deviation for all pixels; 0: each feature has its own.
    """

    name: ClassVar[str] = "standardize"
    array_names: ClassVar[tuple[str, ...]] = ("mean", "deviation")

    mean: Float32Array
    deviation: Float32Array
    is_on: bool = True
    n_colours: int = 0

    @classmethod
    def known(cls, dataset: Dataset) -> Mapping[str, AnyArray]:
        """Statistics of the data set; none of sparse features."""
        if dataset.mean is None or dataset.deviation is None:
            return {}
        return {"mean": dataset.mean, "deviation": dataset.deviation}

    @classmethod
    def restore(cls, config: RunConfig, arrays: Mapping[str, AnyArray]) -> Self | None:
        """The front end with these statistics; None if there are none."""
        if not arrays:
            return None
        n_colours = _n_colours(config, arrays["mean"].size)
        return cls(arrays["mean"], arrays["deviation"], config.data.standardize, n_colours)

    @classmethod
    def without(cls, config: RunConfig) -> RunConfig:
        """The configuration of a network that takes features as they are."""
        return config.model_copy(update={"data": config.data.model_copy(update={"standardize": False})})

    @classmethod
    def planned_bytes(cls, config: RunConfig, info: DatasetInfo, stride: int) -> int:
        """Bytes of the statistics."""
        return 0 if info.is_sparse or info.n_tokens else 2 * info.n_features * np.dtype(VALUE).itemsize

    @property
    def n_features(self) -> int:
        """Features that have statistics."""
        return int(self.mean.size)

    @cached_property
    def shift(self) -> Float32Array:
        """float32[n_features]: what is subtracted."""
        return self._of_colours[0] if self.n_colours else self.mean

    @cached_property
    def divisor(self) -> Float32Array:
        """float32[n_features]: what is divided by."""
        return self._of_colours[1] if self.n_colours else self.deviation

    @cached_property
    def scale(self) -> Float32Array:
        """float32[n_features]: 1 / divisor."""
        return (1.0 / self.divisor.astype(np.float64)).astype(VALUE)

    @cached_property
    def _of_colours(self) -> tuple[Float32Array, Float32Array]:
        """Mean and deviation of each colour over all pixels, for every feature."""
        means, deviations = (own.astype(np.float64).reshape(-1, self.n_colours) for own in (self.mean, self.deviation))
        varies = np.where(deviations == 1, 0.0, deviations)  # a deviation of 0 is stored as 1
        mean = means.mean(axis=0)
        deviation = np.sqrt((varies**2 + (means - mean) ** 2).mean(axis=0))
        deviation[deviation == 0] = 1.0
        shift, divisor = (np.tile(own, len(means)).astype(VALUE) for own in (mean, deviation))
        return shift, divisor

    def fused(self, gather: Gather) -> Gather | None:
        """The pass with shift and scale, if nothing comes before."""
        if not self.is_on:
            return gather
        if gather.scale is not None or gather.chosen is not None:
            return None
        return replace(gather, shift=self.shift, scale=self.scale)

    def apply(self, batch: Float32Array, n_samples: int, out: Float32Array) -> None:
        """Standardise the rows of a batch."""
        own = slice(None, n_samples)
        np.multiply(batch[:, own] - self.shift[:, None], self.scale[:, None], out=out[:, own])
        out[:, n_samples:] = 0

    def fold(self, layer: SparseLayer) -> SparseLayer:
        """A layer with weights divided by the deviations and a bias that makes up for the means; sums in float64."""
        if not self.is_on:
            return layer
        t = layer.topology
        weight = layer.weight / self.divisor.astype(np.float64)[t.indices]
        shift = np.bincount(t.outs(), weight * self.shift[t.indices], t.shape[0])
        incoming, bias = layer.incoming.rewired(t, weight.astype(VALUE)), (layer.bias - shift).astype(VALUE)
        return replace(layer, incoming=incoming, bias=bias)


def _n_colours(config: RunConfig, n_features: int) -> int:
    """Values of a pixel, if the network reads images of so many features; else 0."""
    if not config.network.reads_images:
        return 0
    try:
        return n_features // prod(config.network.image(n_features))
    except ValueError:
        return 0  # such a data set is refused elsewhere
