"""What a recurrent layer computes in: gates and states of all steps; and what files say of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from hpc_sparse.dtypes import Int32Array
from hpc_sparse.errors import quoted
from hpc_sparse.kernels.recurrent.held_steps import hold_deltas, hold_states
from hpc_sparse.network.layers.cells import CELLS, NOTHING, Cell
from hpc_sparse.network.layers.protocol import Saved
from hpc_sparse.network.layers.reading import SETTING, TOKENS
from hpc_sparse.network.layers.state import PLACES
from hpc_sparse.network.tiles import BatchShape, Tiles

OUTPUTS = ("last", "all")


class Steps(NamedTuple):
    """The arrays of a pass over a sequence, as tiles.

    Attributes
    ----------
    gates, products : Tiles
        Of the cell's gates: what :meth:`Cell.forward` and :meth:`Cell.backward` leave there.
    states : Tiles
        Before the first step, then after each.
    through, carried : Tiles
        Of one step, for the backward pass.
    cell : type of Cell
    """

    gates: Tiles
    products: Tiles
    states: Tiles
    through: Tiles
    carried: Tiles
    cell: type[Cell]

    @classmethod
    def of(cls, saved: Saved, n: int, batch: BatchShape, width: int, cell: type[Cell]) -> Steps:
        """Those in the arrays of :func:`sizes`, for n neurons."""
        n_columns, n_places = batch.n_samples, batch.n_places

        def tiles(name: str, n_neurons: int, n_places: int) -> Tiles:
            return Tiles(saved[name], n_neurons, n_places * n_columns, width, n_places)

        n_gates = cell.n_gates * n
        return cls(
            tiles("gates", n_gates, n_places),
            tiles("products", n_gates, n_places if cell.keeps_products else 1),
            tiles("states", n, n_places + 1),
            tiles("through", n, 1),
            tiles("carried", n, 1),
            cell,
        )

    def products_of(self, step: int) -> Tiles:
        """Sums of the recurrent map of a step."""
        return self.products.place(step) if self.cell.keeps_products else self.products

    @property
    def recurrent_deltas(self) -> Tiles:
        """Derivatives by the sums of the recurrent map of all steps."""
        return self.products if self.cell.keeps_products else self.gates

    def hold(self, lengths: Int32Array | None, step: int) -> None:
        """Keep the states of the sequences that have ended before a step."""
        if lengths is not None:
            before, after = self.states.place(step), self.states.place(step + 1)
            hold_states(lengths, step, before.values, before.n_neurons, before.layout, after.values)

    def hold_deltas(self, lengths: Int32Array | None, step: int, above: Tiles | None, held: Tiles | None) -> None:
        """Keep the derivatives of the sequences that have ended before a step for their last one."""
        if lengths is not None and held is not None:
            given, n = NOTHING if above is None else above.values, held.n_neurons
            arrays = given, self.through.values, self.carried.values, n, held.layout, held.values
            hold_deltas(lengths, step, *arrays)


def sizes(n: int, shape: BatchShape, cell: type[Cell]) -> dict[str, int]:
    """Numbers in the arrays of a pass, by name."""
    step = n * shape._replace(n_places=1).n_columns
    return {
        "gates": cell.n_gates * step * shape.n_places,
        "products": cell.n_gates * step * (shape.n_places if cell.keeps_products else 1),
        "states": step * (shape.n_places + 1),
        "through": step,
        "carried": step,
    }


def checked_settings(settings: Mapping[str, Any]) -> tuple[type[Cell], str, int, bool]:
    """Cell, output, steps, and whether tokens are read, of a file's settings.

    Raises
    ------
    ValueError
    """
    if settings.keys() - {SETTING} != {"cell", "output", PLACES}:
        raise ValueError(f"settings {', '.join(sorted(settings)) or 'none'}: expected cell, output, places")
    if settings.get(SETTING, TOKENS) != TOKENS:
        raise ValueError(f'{SETTING} "{quoted(str(settings[SETTING]))}": expected {TOKENS}')
    cell, output, n_places = settings["cell"], settings["output"], settings[PLACES]
    for name, value, known in (("cell", cell, CELLS), ("output", output, OUTPUTS)):
        if value not in known:
            raise ValueError(f'{name} "{quoted(str(value))}": expected one of {", ".join(known)}')
    if not isinstance(n_places, int) or n_places < 1:
        raise ValueError(f"places {quoted(str(n_places))}: expected a whole number >= 1")
    return CELLS[cell], str(output), n_places, SETTING in settings
