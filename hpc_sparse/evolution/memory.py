"""Memory that a change of a layer's topology takes for a while, in bytes; tests compare it with what is allocated."""

from __future__ import annotations

from typing import NamedTuple

KEY, POSITION, INDEX, POINTER, VALUE, SUM, MARK = 8, 8, 4, 4, 4, 8, 1
"""Bytes of a key, an old position and an index per connection; of a row pointer, a value, a float64 sum and a mark."""

GROWN = 25
"""Bytes per connection to be grown while free positions are drawn: drawn, sorted, marked, and distinct."""


class LayerFigures(NamedTuple):
    """A layer that is going to change, in numbers.

    Attributes
    ----------
    n_in, n_out : int
        Neurons below and above.
    n_connections : int
    drop_fraction : float
        Share of the connections to be replaced.
    n_samples : int
        Samples of a growth batch.
    is_tiled : bool
        Whether their signals fill several tiles, which are brought together before they are searched.
    """

    n_in: int
    n_out: int
    n_connections: int
    drop_fraction: float
    n_samples: int
    is_tiled: bool = False

    @property
    def n_grown(self) -> float:
        """Connections to be grown."""
        return self.drop_fraction * self.n_connections


def change_bytes(n_out: int, n_connections: int) -> int:
    """A new topology and where its connections were (a ``TopologyChange``)."""
    return n_connections * (INDEX + POSITION) + n_out * POINTER


def replacing_bytes(layer: LayerFigures) -> float:
    """Marking what stays, drawing free positions, then merging both into the change: what every strategy takes."""
    merging = KEY * layer.n_grown + change_bytes(layer.n_out, layer.n_connections)
    return MARK * layer.n_connections + max(GROWN * layer.n_grown, merging)
