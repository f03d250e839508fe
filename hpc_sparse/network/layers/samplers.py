"""Sampling of the places of an image: from weighted sums to what goes on, and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpc_sparse.dtypes import INDEX, OFFSET, VALUE, Float32Array, Int32Array
from hpc_sparse.kernels.convolution import order_free, sampling
from hpc_sparse.network.layers.protocol import Saved
from hpc_sparse.network.tiles import Tiles

NORMS = {"linf": order_free.LARGEST, "l1": order_free.SUM, "l2": order_free.SQUARES}

ALL_FIRST: Int32Array = np.empty(0, INDEX)
"""All samples take the first place of each 2 x 2."""

MOST_DOUBLINGS = 100
"""Values are scaled by at most this power of two: the largest is then 2^-70, and nothing is lost beyond."""


@dataclass(frozen=True)
class Sampler:
    """Activation, smoothing, choice of places, mean over them: all that follows the weighted sums of a convolution.

    Attributes
    ----------
    name : str
        The sampling, as configurations have it.
    norm : str
    is_pooled : bool
        Whether the mean over all places goes on.
    sides : (rows, columns)
        Places of an image.
    n : int
        Neurons.
    slope : float32
        Of the activation below 0.
    """

    name: str
    norm: str
    is_pooled: bool
    sides: tuple[int, int]
    n: int
    slope: np.float32

    @property
    def stride(self) -> int:
        """Sums are computed at every place of this number in either direction."""
        return 2 if self.name == "stride" else 1

    @property
    def step(self) -> int:
        """1 if all places with sums are taken, 2 if one of each 2 x 2."""
        return 1 if self.name in {"none", "stride"} else 2

    @property
    def halves(self) -> bool:
        """Whether half of the rows and of the columns go on."""
        return self.stride * self.step == 2

    @property
    def is_smooth(self) -> bool:
        """Whether it smooths."""
        return self.name in {"blur", "polyphase_blur"}

    @property
    def chooses(self) -> bool:
        """Whether each sample chooses its places."""
        return self.name in {"polyphase", "polyphase_blur"}

    @property
    def sides_summed(self) -> tuple[int, int]:
        """Rows and columns of places with sums."""
        rows, columns = self.sides
        return rows // self.stride, columns // self.stride

    @property
    def sides_taken(self) -> tuple[int, int]:
        """Rows and columns of places that are taken."""
        rows, columns = self.sides_summed
        return rows // self.step, columns // self.step

    @property
    def n_sums(self) -> int:
        """Places with sums."""
        rows, columns = self.sides_summed
        return rows * columns

    @property
    def n_places(self) -> int:
        """Places of an image."""
        return self.sides[0] * self.sides[1]

    @property
    def n_out(self) -> int:
        """Places that go on."""
        rows, columns = self.sides_taken
        return 1 if self.is_pooled else rows * columns

    def sizes(self, n_columns: int) -> dict[str, tuple[int, type[np.generic]]]:
        """Numbers, and their type, of each array that is saved for so many columns of a place, by name."""
        size = self.n * n_columns
        found: dict[str, tuple[int, type[np.generic]]] = {"sums": (size * self.n_sums, VALUE)}
        if self.is_smooth:
            found["smooth"] = (size * self.n_sums, VALUE)
        if self.chooses:
            found["phases"] = (n_columns, INDEX)
        if self.is_pooled and self.step == 2:
            rows, columns = self.sides_taken
            found["taken"] = (size * rows * columns, VALUE)
        return found

    def forward(self, saved: Saved, out: Tiles) -> None:
        """What goes on of ``saved["sums"]``."""
        values, slope = saved["sums"], self.slope
        if self.is_smooth:
            sampling.smooth(values, slope, *self.sides_summed, saved["smooth"])
            values, slope = saved["smooth"], VALUE(1)
        phases = ALL_FIRST
        if self.chooses:
            phases = saved["phases"]
            phases[:] = self._chosen(values, slope, out.layout)
        if self.step == 1 and self.is_pooled:
            order_free.average(values, slope, self.n_sums, out.values)
            return
        taken = saved["taken"] if self.is_pooled else out.values
        sampling.take(values, slope, phases, self.step, *self.sides_summed, self.n, out.layout, taken)
        if self.is_pooled:
            rows, columns = self.sides_taken
            order_free.average(taken, VALUE(1), rows * columns, out.values)

    def backward(self, delta: Tiles, saved: Saved) -> None:
        """From derivatives of what went on to those of the sums, which take their place."""
        rows, columns = self.sides_taken
        factor = VALUE(1 / (rows * columns)) if self.is_pooled else VALUE(1)
        phases = saved["phases"] if self.chooses else ALL_FIRST
        where = (phases, self.step, *self.sides_summed, self.n, delta.layout)
        if not self.is_smooth:
            sampling.give(delta.values, factor, self.slope, *where, saved["sums"])
            return
        sampling.give(delta.values, factor, VALUE(1), *where, saved["smooth"])
        sampling.smooth_back(saved["smooth"], self.slope, *self.sides_summed, saved["sums"])

    def _chosen(self, values: Float32Array, slope: np.float32, layout: int) -> Int32Array:
        """int32[n_columns]: the phase of largest norm of each sample; of equal ones, the content decides."""
        where = (*self.sides_summed, self.n, layout)
        n_columns = values.size // (self.n * self.n_sums)
        largest = np.empty((self.sides_summed[0], n_columns), VALUE)
        order_free.largest_of_rows(values, slope, *where, largest)
        _, exponent = np.frexp(largest.max(axis=0))
        bits = order_free.BITS // 2 if self.norm == "l2" else order_free.BITS
        scale = np.ldexp(VALUE(1), np.minimum(bits - exponent, MOST_DOUBLINGS)).astype(VALUE)
        parts = np.empty((self.sides_summed[0] // 2, 4, n_columns), OFFSET)
        order_free.phase_norms(values, slope, NORMS[self.norm], scale, *where, parts)
        norms = parts.max(axis=0) if self.norm == "linf" else parts.sum(axis=0)
        is_best = norms == norms.max(axis=0)
        tied = np.flatnonzero(is_best.sum(axis=0) > 1)
        chosen: Int32Array = is_best.argmax(axis=0).astype(INDEX)
        if tied.size:
            numbers = np.empty((4, tied.size), np.uint64)
            order_free.contents(values.view(np.uint32), tied, *where, numbers)
            # One is added so that no number is that of a phase which is not among the best.
            numbers = np.where(is_best[:, tied], numbers | np.uint64(1), np.uint64(0))
            chosen[tied] = numbers.argmax(axis=0)
        return chosen
