"""Where a network lives: the neurons of each layer that this rank holds.

Kernels and random streams take the number of the first neuron from here. Before a pass reads the activations or deltas
of a layer it asks the placement to have those of other ranks there.
"""

from __future__ import annotations

from typing import Literal, Protocol

Direction = Literal["forward", "backward"]
"""Whether activations or deltas travel."""


class Placement(Protocol):
    """Which neurons are on this rank, and how those of others get here."""

    def rows(self, n_out: int) -> range:
        """Numbers of the neurons of a layer of ``n_out`` that this rank holds."""
        ...

    def begin(self, layer: int, direction: Direction) -> None:
        """The own rows of a layer are complete and may travel."""
        ...

    def finish(self, layer: int, direction: Direction) -> None:
        """Wait until the rows of other ranks are there that the next pass reads."""
        ...


class Whole:
    """All neurons on one rank: nothing travels."""

    def rows(self, n_out: int) -> range:
        """All of them."""
        return range(n_out)

    def begin(self, layer: int, direction: Direction) -> None:
        """Nothing."""

    def finish(self, layer: int, direction: Direction) -> None:
        """Nothing."""


WHOLE = Whole()
