"""Means of the weights of several epochs, which often predict better than the last weights.

Source of the plain mean: Izmailov et al. 2018 (arXiv 1803.05407). Of the one that survives rewiring, SNT-ASGD: Liu et
al. 2021 (arXiv 2101.09048).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hpc_sparse.config import RunConfig
from hpc_sparse.dtypes import VALUE
from hpc_sparse.network.replica import Replica

AVERAGE, AGE = "average", "average_age"
"""State arrays: the means so far, and for how many epochs each number has been there."""

ALL_ARRAYS = frozenset({AVERAGE, AGE})


@dataclass(frozen=True)
class WeightAverage:
    """Running means of all parameters at the ends of the last epochs, in state arrays.

    Attributes
    ----------
    kind : "plain" or "snt"
        Plain: of all these epochs; a connection counts as 0 in those before it grew. Snt: each number since it grew,
        without its first epoch once it has had two: ``mean += (value - mean) / max(1, age - 1)``.
    first, last : int
        Epochs at whose ends is averaged.
    """

    kind: Literal["plain", "snt"]
    first: int
    last: int

    @classmethod
    def from_config(cls, config: RunConfig) -> WeightAverage | None:
        """That of a configuration; None if it wants none."""
        kind, n_epochs = config.optimizer.average, config.training.epochs
        if kind == "none":
            return None
        return cls(kind, n_epochs - max(1, round(config.optimizer.average_share * n_epochs)) + 1, n_epochs)

    @property
    def state_arrays(self) -> Mapping[str, str]:
        """State arrays by name, and what a plan of the memory calls them."""
        ages = {AGE: "ages of averages"} if self.kind == "snt" else {}
        return {AVERAGE: "averages of parameters", **ages}

    def update(self, replica: Replica, epoch: int) -> None:
        """Take in the parameters at the end of ``epoch``; nothing before the first."""
        if epoch < self.first:
            return
        for layer, state in zip(replica.network.layers, replica.states, strict=True):
            for name, parameter in layer.parameters().items():
                mean = state[AVERAGE][name]
                if self.kind == "plain":
                    mean += (parameter.values - mean) * VALUE(1 / (epoch - self.first + 1))
                    continue
                age = state[AGE][name]
                age += 1
                mean += (parameter.values - mean) / np.maximum(age - 1, VALUE(1))

    @contextmanager
    def in_use(self, replica: Replica, epoch: int) -> Iterator[None]:
        """Let the network predict by the means in the body, if there are any yet; afterwards by its own again.

        At the end of the last epoch it keeps the means.
        """
        if epoch < self.first:
            yield
            return
        if epoch == self.last:
            for layer, state in zip(replica.network.layers, replica.states, strict=True):
                for name, parameter in layer.parameters().items():
                    parameter.values[:] = state[AVERAGE][name]
            yield
            return
        layers = replica.network.layers
        own = [{name: each.values for name, each in layer.parameters().items()} for layer in layers]
        for layer, state in zip(layers, replica.states, strict=True):
            layer.bind(state[AVERAGE])
        try:
            yield
        finally:
            for layer, values in zip(layers, own, strict=True):
                layer.bind(values)
