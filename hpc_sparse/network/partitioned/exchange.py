"""What the parts of a network send each other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from hpc_sparse.dtypes import OFFSET, AnyArray, Float32Array, Int64Array
from hpc_sparse.kernels.simd.buffers import aligned_empty


class Exchange(ABC):
    """Messages between the parts of one network. All its methods are collective, in the same order on every part.

    Attributes
    ----------
    part, n_parts : int
        Number of the part that is here, and how many there are.
    shares_memory : bool
        Whether parts can read each other's arrays, if :meth:`share` has made them.
    shared : mapping of int to sequence of array
        Such arrays of all parts but this one, by the address of the own one.
    """

    part: int
    n_parts: int
    shares_memory: bool = False
    shared: Mapping[int, Sequence[AnyArray]] = MappingProxyType({})

    def share(self, size: int, dtype: type[np.generic]) -> AnyArray:
        """An array [size] for the own part that all can read, where they can; sizes may differ (collective)."""
        return aligned_empty(size, dtype)

    def wait(self) -> None:  # noqa: B027  (none but those who share memory have to wait)
        """Wait for all parts, where they read each other's arrays (collective)."""

    @abstractmethod
    def swap(self, sends: Sequence[AnyArray], receives: Sequence[AnyArray]) -> None:
        """Overwrite ``receives`` by what the other parts send here (collective).

        Parameters
        ----------
        sends : sequence of array, one per part
            Contiguous and one-dimensional; the own part's does not travel.
        receives : sequence of array, one per part
            As long as what that part sends here, of the same type.
        """

    def trade(self, arrays: Sequence[AnyArray]) -> list[AnyArray]:
        """The arrays that the parts send here, of any lengths and all of one type; the own part's too (collective)."""
        lengths = self.swapped(np.array([array.size for array in arrays], OFFSET))
        received = [np.empty(length, arrays[0].dtype) for length in lengths.tolist()]
        received[self.part] = arrays[self.part]
        self.swap([np.ascontiguousarray(array) for array in arrays], received)
        return received

    def swapped(self, numbers: Int64Array) -> Int64Array:
        """int64[n_parts]: what each part has for this one, of its ``numbers`` int64[n_parts] (collective)."""
        received = numbers.copy()
        self.swap(np.split(numbers, self.n_parts), np.split(received, self.n_parts))
        return received

    def gather(self, numbers: Int64Array) -> Int64Array:
        """int64[n_parts, n]: the ``numbers`` of all parts, int64[n] (collective)."""
        received = np.tile(numbers, (self.n_parts, 1))
        self.swap([numbers] * self.n_parts, list(received))
        return received

    def together(self, values: AnyArray) -> AnyArray:
        """The one-dimensional arrays of all parts one after the other, of any lengths (collective)."""
        return values if self.n_parts == 1 else np.concatenate(self.trade([values] * self.n_parts))

    def broadcast(self, values: AnyArray, root: int) -> AnyArray:
        """The one-dimensional array of one part, on all parts (collective)."""
        return self.trade([values if self.part == root else values[:0]] * self.n_parts)[root]

    def totals(self, numbers: Int64Array) -> Int64Array:
        """int64[n]: sums over all parts of their ``numbers``, int64[n] (collective)."""
        found: Int64Array = self.gather(numbers).sum(axis=0)
        return found

    def total(self, number: int) -> int:
        """Sum of the numbers of all parts (collective)."""
        return int(self.totals(np.array([number], OFFSET))[0])

    def before(self, number: int) -> int:
        """Sum of the numbers of the parts before this one (collective)."""
        return int(self.gather(np.array([number], OFFSET))[: self.part].sum())

    def first_largest(self, values: Float32Array) -> int | None:
        """Position of the largest number of all parts, the first of equal ones; None where it is not (collective).

        ``values`` are float32[n], not negative: numbers then have the order of their bits.
        """
        own = int(np.abs(values.max()).view(np.uint32)) if values.size else -1
        found = self.gather(np.array([own], OFFSET))[:, 0]
        if own < 0 or int(np.argmax(found)) != self.part:
            return None
        return int(np.argmax(values))


class Alone(Exchange):
    """A network in one part: nothing travels."""

    part = 0
    n_parts = 1

    def swap(self, sends: Sequence[AnyArray], receives: Sequence[AnyArray]) -> None:
        """Nothing."""


ALONE = Alone()
