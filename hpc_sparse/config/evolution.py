"""Sections ``[evolution]`` and ``[importance_pruning]``: how the topology changes."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from hpc_sparse.config.section import Count, Fraction, Percentile, PositiveCount, Section


class EvolutionSection(Section):
    """How the topology changes between epochs; the output layer keeps its own."""

    strategy: Literal["set", "static"] = "set"
    """set: drop the weakest connections, grow as many at random."""

    drop_fraction: Fraction = 0.3
    """SET's zeta: share of the connections replaced each time."""

    every_epochs: PositiveCount = 1
    """Epochs from one change to the next; there is none after the last epoch."""


class ImportancePruningSection(Section):
    """Taking away unimportant neurons while training; a neuron's importance is the sum of its incoming |weights|."""

    mode: Literal["off", "compact", "released"] = "off"
    """compact: remove them from the network for good; released: cut their incoming connections, as the authors do."""

    after_epoch: Count = 200
    """The authors' tau: no pruning before this epoch is over."""

    every_epochs: PositiveCount = 10
    """The authors' p: epochs from one pruning to the next."""

    until_epoch: Count = 250
    """No pruning after this epoch. Removals compound: five at percentile 20 leave a third; the authors' have no end."""

    percentile: Percentile = 20.0
    """Of each hidden layer's importances; neurons at or below it go."""

    input_percentile: Percentile = 0.0
    """The same for input neurons, by their outgoing |weights|; 0 keeps all inputs. For compact only."""

    @model_validator(mode="after")
    def _inputs_are_removed_only(self) -> Self:
        if self.input_percentile and self.mode != "compact":
            raise ValueError('input_percentile needs mode = "compact"')
        return self

    @model_validator(mode="after")
    def _ends_after_its_start(self) -> Self:
        if self.mode != "off" and self.until_epoch < self.after_epoch:
            raise ValueError(
                f"until_epoch = {self.until_epoch}: must be >= after_epoch = {self.after_epoch}, else nothing is pruned"
            )
        return self
