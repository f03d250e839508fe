"""Protocol of optimisers: how parameters move down their gradients, and what they remember of earlier steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar, Self

import numpy as np

from hpc_sparse.config import ParallelSection, RunConfig, Section
from hpc_sparse.dtypes import VALUE, Float32Array
from hpc_sparse.network.optimizers.state import OptimizerState
from hpc_sparse.network.optimizers.step import Step
from hpc_sparse.network.sinks import Sink


class Optimizer(ABC):
    """Settings of an optimiser; what it remembers is in its state: one array per parameter for each of its names.

    All arrays begin at 0. When connections change, those that stay keep their values and grown ones begin at 0.
    A sync averages the arrays, as it averages parameters, except those that it sets to 0.

    Attributes
    ----------
    name : str
        In configurations.
    state_arrays : dict of str to str
        Names of the arrays, as checkpoints have them, and what a plan of the memory calls them.
    momentum_array : str or None
        Name of the array that holds a mean of earlier gradients or steps, for strategies that go by it.
    is_fused : bool
        Whether maps step without their gradients being written.
    section : type of Section
        The optimiser's own keys, ``[optimizer.<name>]``; a subclass with keys is a dataclass with a field for each.
    """

    name: ClassVar[str]
    state_arrays: ClassVar[Mapping[str, str]]
    momentum_array: ClassVar[str | None] = None
    is_fused: ClassVar[bool] = False
    section: ClassVar[type[Section]] = Section

    @classmethod
    def from_config(cls, config: RunConfig) -> Self:
        """The optimiser with the settings of its section."""
        return cls(**config.optimizer.own(cls.name, cls.section).model_dump())

    @classmethod
    def refuses(cls, config: RunConfig) -> str | None:  # noqa: ARG003  (what others do not go together with)
        """The first setting that the optimiser does not go together with, in one sentence; None if there is none."""
        return None

    @classmethod
    def reset_at_sync(cls, parallel: ParallelSection) -> frozenset[str]:  # noqa: ARG003  (most average all)
        """The state arrays that a sync sets to 0 instead of averaging them; not with ``parallel.overlap``."""
        return frozenset()

    @classmethod
    def step_bytes(cls, n: int) -> int:  # noqa: ARG003  (a loop over the numbers takes none)
        """Memory that :meth:`descend` takes for ``n`` numbers, for planning."""
        return 0

    @property
    def state_types(self) -> dict[str, type[np.generic]]:
        """Types of the state arrays of connections by name; those of neurons are float32 always."""
        return dict.fromkeys(self.state_arrays, VALUE)

    def drawing_for(self, *purpose: int | str) -> Self:  # noqa: ARG002  (most draw none)
        """The optimiser with the random numbers of a purpose: epoch, replica and step, then a layer, a parameter."""
        return self

    @abstractmethod
    def descend(
        self,
        rate: float,
        values: Float32Array,
        gradient: Float32Array,
        n_decayed: int,
        states: Mapping[str, Float32Array],
    ) -> None:
        """Move values down their complete gradient.

        The same numbers give the same bits, alone or among others.

        Parameters
        ----------
        rate : float
            Learning rate.
        values : float32[n]
            Changed in place.
        gradient : float32[n]
            May be overwritten.
        n_decayed : int
            So many at the front decay.
        states : dict of str to float32[n]
            The state arrays by name; changed in place.
        """

    def change_rate(self, states: Mapping[str, Float32Array], factor: float) -> None:  # noqa: B027  (most do nothing)
        """Adapt state arrays to a learning rate that is ``factor`` times that of the steps before."""

    def sink(self, rate: float, state: OptimizerState, scratch: Callable[[int], Float32Array]) -> Sink:
        """Destination of the gradients of one layer for one step.

        Parameters
        ----------
        rate : float
        state : OptimizerState
            Of the layer.
        scratch : callable
            ``scratch(n)``: float32[n] that nobody needs longer than one pass of one layer.
        """
        return Step(self, rate, state, scratch)
