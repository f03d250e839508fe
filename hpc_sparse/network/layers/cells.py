"""Cells of recurrent layers: from the sums of a step and the state before it to the state after it, and back."""

from __future__ import annotations

from typing import ClassVar, Protocol

import numpy as np

from hpc_sparse.dtypes import VALUE, Float32Array, Float64Array
from hpc_sparse.kernels.recurrent.gru import N_GATES, gru_backward, gru_forward
from hpc_sparse.kernels.recurrent.tanh import tanh_backward, tanh_forward
from hpc_sparse.network.tiles import Tiles

NOTHING: Float32Array = np.empty(0, VALUE)
"""No deltas from above."""


class Cell(Protocol):
    """A cell. All arguments are tiles of one step, of n neurons or of their gates.

    Attributes
    ----------
    name : str
    n_gates : int
        Sums of each neuron in either map; those of all neurons' first gates come first.
    keeps_products : bool
        Whether :meth:`backward` needs the sums of the recurrent map, and has other derivatives by them than by those
        of the input map.
    """

    name: ClassVar[str]
    n_gates: ClassVar[int]
    keeps_products: ClassVar[bool]

    @staticmethod
    def forward(gates: Tiles, products: Tiles, before: Tiles, after: Tiles) -> None:
        """The state ``after`` the step, from the sums of both maps; ``gates`` become what :meth:`backward` needs."""
        ...

    @staticmethod
    def backward(
        gates: Tiles, products: Tiles, before: Tiles, after: Tiles, above: Tiles | None, through: Tiles, carried: Tiles
    ) -> None:
        """Derivatives by the sums of both maps, which replace ``gates`` and ``products``.

        The derivative by the state after the step is the sum of ``above`` (None: 0), of ``through``, which comes from
        the next step's recurrent map and may be changed, and of ``carried``. The latter becomes what goes to the state
        before the step beside the recurrent map.
        """
        ...

    @staticmethod
    def exact(sums: Float64Array, products: Float64Array, before: Float64Array) -> Float64Array:
        """The state after the step in float64, from the sums of the input map and of the recurrent map."""
        ...


class Gru:
    """Gated recurrent unit: :mod:`hpc_sparse.kernels.recurrent.gru`."""

    name: ClassVar[str] = "gru"
    n_gates: ClassVar[int] = N_GATES
    keeps_products: ClassVar[bool] = True

    @staticmethod
    def forward(gates: Tiles, products: Tiles, before: Tiles, after: Tiles) -> None:
        """The state after the step; ``gates`` become the gates."""
        gru_forward(gates.values, products.values, before.values, before.n_neurons, before.layout, after.values)

    @staticmethod
    def backward(
        gates: Tiles,
        products: Tiles,
        before: Tiles,
        after: Tiles,  # noqa: ARG004
        above: Tiles | None,
        through: Tiles,
        carried: Tiles,
    ) -> None:
        """Derivatives by the sums of both maps."""
        given = NOTHING if above is None else above.values
        sums = gates.values, products.values, before.values
        gru_backward(*sums, given, through.values, carried.values, before.n_neurons, before.layout)

    @staticmethod
    def exact(sums: Float64Array, products: Float64Array, before: Float64Array) -> Float64Array:
        """The state after the step in float64."""
        (x_r, x_z, x_c), (h_r, h_z, h_c) = np.split(sums, N_GATES), np.split(products, N_GATES)
        reset, update = (0.5 + 0.5 * np.tanh(0.5 * total) for total in (x_r + h_r, x_z + h_z))
        candidate = np.tanh(x_c + reset * h_c)
        return (1.0 - update) * candidate + update * before


class Tanh:
    """Plain cell: :mod:`hpc_sparse.kernels.recurrent.tanh`."""

    name: ClassVar[str] = "tanh"
    n_gates: ClassVar[int] = 1
    keeps_products: ClassVar[bool] = False

    @staticmethod
    def forward(gates: Tiles, products: Tiles, before: Tiles, after: Tiles) -> None:  # noqa: ARG004
        """The state after the step."""
        tanh_forward(gates.values, products.values, after.values)

    @staticmethod
    def backward(
        gates: Tiles,
        products: Tiles,  # noqa: ARG004
        before: Tiles,  # noqa: ARG004
        after: Tiles,
        above: Tiles | None,
        through: Tiles,
        carried: Tiles,  # noqa: ARG004
    ) -> None:
        """Derivatives by the sums of either map: ``gates``."""
        tanh_backward(after.values, NOTHING if above is None else above.values, through.values, gates.values)

    @staticmethod
    def exact(sums: Float64Array, products: Float64Array, before: Float64Array) -> Float64Array:  # noqa: ARG004
        """The state after the step in float64."""
        return np.tanh(sums + products)


CELLS: dict[str, type[Cell]] = {cell.name: cell for cell in (Gru, Tanh)}
"""By the names that configurations and checkpoints know."""
