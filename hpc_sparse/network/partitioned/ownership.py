"""Which rank owns which neurons of a layer, and the numbers that neurons have on one rank."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hpc_sparse.dtypes import INDEX, OFFSET, AnyArray, Int32Array, Int64Array, PointerArray
from hpc_sparse.partition import balanced_bounds, even_bounds

FEW = 4
"""Numbers that are fewer than a layer's neurons by this are found one by one, others in a table of all neurons."""


@dataclass(frozen=True)
class Ownership:
    """Contiguous ranges of a layer's neurons, one for each part of the network; all parts know all ranges.

    Attributes
    ----------
    starts : int64[n_parts + 1]
        Part p owns the neurons ``starts[p]:starts[p + 1]``, which may be none.
    part : int
        The one that this rank holds.
    """

    starts: Int64Array
    part: int

    @classmethod
    def even(cls, n_neurons: int, n_parts: int, part: int) -> Ownership:
        """Ranges whose sizes differ by at most one."""
        return cls(even_bounds(n_neurons, n_parts), part)

    @classmethod
    def balanced(cls, indptr: PointerArray, n_parts: int, part: int) -> Ownership:
        """Ranges with about equally many incoming connections, of neurons whose connections begin at ``indptr``."""
        return cls(balanced_bounds(indptr, n_parts), part)

    @classmethod
    def whole(cls, n_neurons: int) -> Ownership:
        """All neurons are here, as those of the inputs are on every rank."""
        return cls.even(n_neurons, 1, 0)

    @property
    def n_neurons(self) -> int:
        """Neurons of all parts."""
        return int(self.starts[-1])

    @property
    def n_parts(self) -> int:
        """Parts of the network."""
        return self.starts.size - 1

    @property
    def first(self) -> int:
        """Number of the first own neuron."""
        return int(self.starts[self.part])

    @property
    def stop(self) -> int:
        """Number after that of the last own neuron."""
        return int(self.starts[self.part + 1])

    @property
    def n_own(self) -> int:
        """Own neurons."""
        return self.stop - self.first

    def is_own(self, neurons: AnyArray) -> AnyArray:
        """bool[n]: whether each of the neurons is owned here."""
        return (neurons >= self.first) & (neurons < self.stop)

    def own_of(self, neurons: Int64Array) -> Int64Array:
        """int64[n]: those of the increasing ``neurons`` that are owned here, counted from the first own one."""
        start, stop = np.searchsorted(neurons, (self.first, self.stop))
        return neurons[start:stop] - self.first

    def survivors(self, kept: Int64Array | None) -> Ownership:
        """The ranges of the neurons that are left, ``kept`` int64[n], increasing; None: all."""
        if kept is None:
            return self
        return Ownership(np.searchsorted(kept, self.starts).astype(OFFSET), self.part)

    def owners(self, neurons: AnyArray) -> Int64Array:
        """int64[n]: the part that owns each of the neurons."""
        found: Int64Array = np.searchsorted(self.starts, neurons, side="right") - 1
        return found


@dataclass(frozen=True)
class LocalNumbers:
    """Numbers of a layer's neurons on one rank: those below the own ones, the own ones, those above.

    Numbers increase with those of the whole layer. So rows stay sorted, and sums run in the order of the whole network.

    Attributes
    ----------
    owned : Ownership
    ghosts : int32[n]
        Numbers in the layer of the neurons of other parts that are known here, increasing.
    """

    owned: Ownership
    ghosts: Int32Array

    @classmethod
    def of(cls, owned: Ownership, neurons: AnyArray) -> LocalNumbers:
        """The numbers where these neurons are known, own ones and others, any number of times."""
        is_known = np.zeros(owned.n_neurons, np.bool_)
        is_known[neurons] = True
        is_known[owned.first : owned.stop] = False
        return cls(owned, np.flatnonzero(is_known).astype(INDEX))

    @classmethod
    def of_all(cls, owned: Ownership) -> LocalNumbers:
        """The numbers where all neurons are known: those of the layer."""
        first, stop = (np.arange(*bounds) for bounds in ((0, owned.first), (owned.stop, owned.n_neurons)))
        return cls(owned, np.concatenate([first, stop]).astype(INDEX))

    @cached_property
    def n_below(self) -> int:
        """Ghosts before the own neurons."""
        return int(np.searchsorted(self.ghosts, self.owned.first))

    @property
    def n_above(self) -> int:
        """Ghosts after the own neurons."""
        return self.ghosts.size - self.n_below

    @property
    def n_local(self) -> int:
        """Neurons that are known here."""
        return self.ghosts.size + self.owned.n_own

    @property
    def own(self) -> slice:
        """Local numbers of the own neurons."""
        return slice(self.n_below, self.n_below + self.owned.n_own)

    def local(self, neurons: AnyArray) -> Int32Array:
        """int32[n]: local numbers of neurons that are known here."""
        if self.n_local == self.owned.n_neurons:
            return neurons.astype(INDEX, copy=False)
        if neurons.size > self.owned.n_neurons // FEW:
            table = np.empty(self.owned.n_neurons, INDEX)
            table[self.numbers()] = np.arange(self.n_local, dtype=INDEX)
            return np.asarray(table[neurons])
        place = np.searchsorted(self.ghosts, neurons)
        own = self.owned.is_own(neurons)
        # Beyond the own neurons, all of these come before.
        place += np.where(neurons >= self.owned.stop, self.owned.n_own, 0)
        return np.where(own, neurons - self.owned.first + self.n_below, place).astype(INDEX)

    def numbers(self) -> Int64Array:
        """int64[n_local]: the numbers in the layer of all that are known here."""
        below, above = self.ghosts[: self.n_below], self.ghosts[self.n_below :]
        return np.concatenate([below, np.arange(self.owned.first, self.owned.stop), above]).astype(OFFSET)

    @cached_property
    def ghost_ranges(self) -> Int64Array:
        """int64[n_parts + 1]: where the neurons of each part begin among the ghosts."""
        return np.searchsorted(self.ghosts, self.owned.starts).astype(OFFSET)

    def ranges(self) -> Int64Array:
        """int64[n_parts + 1]: where the neurons of each part begin among the local numbers."""
        found = self.ghost_ranges.copy()
        found[self.owned.part + 1 :] += self.owned.n_own
        return found
