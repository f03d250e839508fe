"""Protocol of objectives: from the output layer's weighted sums and the targets to loss, deltas and metrics."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Literal, NamedTuple, Self

from hpc_sparse.config import RunConfig, Section
from hpc_sparse.dtypes import AnyArray, Float64Array
from hpc_sparse.network.tiles import Tiles

OutputActivation = Literal["softmax", "sigmoid", "tanh", "linear"]

N_CORRECT = "n_correct"
"""Name of the metric that counts correct predictions."""


class Outcome(NamedTuple):
    """Loss and metrics of a batch.

    Attributes
    ----------
    loss : float
        Summed over the samples.
    metrics : dict of str to float
        Summed over the samples, by the names that the objective chose.
    """

    loss: float
    metrics: Mapping[str, float]

    @property
    def n_correct(self) -> int:
        """Correct predictions; 0 where the objective counts none."""
        return int(self.metrics.get(N_CORRECT, 0))


class Objective(ABC):
    """A loss with its output activation and its metrics.

    Attributes
    ----------
    name : str
        In configurations.
    output : {"softmax", "sigmoid", "tanh", "linear"}
        The output activation.
    is_binary : bool
        For two classes only.
    takes_places : bool
        Whether targets may be of each place of a sample, such as the steps of a sequence.
    section : type of Section
        The objective's own keys, ``[training.<name>]``; a subclass with keys is a dataclass with a field for each.
    """

    name: ClassVar[str]
    output: ClassVar[OutputActivation]
    is_binary: ClassVar[bool] = False
    takes_places: ClassVar[bool] = False
    section: ClassVar[type[Section]] = Section

    @classmethod
    def from_config(cls, config: RunConfig) -> Self:
        """The objective with the settings of its section."""
        return cls(**config.training.own(cls.name, cls.section).model_dump())

    @classmethod
    def refuses(cls, config: RunConfig) -> str | None:  # noqa: ARG003  (what others do not go together with)
        """The first setting that the objective does not go together with, in one sentence; None if there is none."""
        return None

    def n_outputs(self, n_classes: int) -> int:
        """Output neurons for ``n_classes`` classes: one for class 1 of two, else (and with softmax) one per class."""
        return 1 if n_classes == 2 and self.output in {"sigmoid", "tanh"} else n_classes

    @abstractmethod
    def evaluate(self, sums: Tiles, targets: AnyArray, delta: Tiles) -> Outcome:
        """Loss, deltas and metrics of a batch, in one pass.

        Parameters
        ----------
        sums : Tiles
            Weighted sums of the output layer; overwritten with the outputs.
        targets : int32[n_samples], or float32[n_samples, n_outputs] where the outputs are linear
            Labels or values; what else a sample has (a weight, a mask) comes with them. Of places, which
            ``takes_places`` allows, int32[n_samples, n_places], -1 where there is none.
        delta : Tiles
            Overwritten with the derivative of the mean loss by ``sums``; 0 beyond ``n_samples``.
        """

    @abstractmethod
    def exact_loss(self, sums: Float64Array, targets: AnyArray) -> float:
        """The mean loss in float64 of sums float64[n_outputs, n_samples], by NumPy: a check of :meth:`evaluate`.

        Of places, the sums are those of one place after the other.
        """
