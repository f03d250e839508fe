"""Local SGD: replicas train alone and are averaged at each sync (design: one shared index for all parameters)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hpc_sparse.dtypes import OFFSET, VALUE, AnyArray, BoolArray, Float32Array, Int64Array
from hpc_sparse.errors import DivergedError
from hpc_sparse.network.connections.compaction import NetworkChange
from hpc_sparse.network.connections.protocol import Connections
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.layers.protocol import Layer
from hpc_sparse.network.network import Network
from hpc_sparse.network.optimizers.state import OptimizerState
from hpc_sparse.network.replica import Replica
from hpc_sparse.parallel.agreement import Agreement
from hpc_sparse.parallel.averaging import average_arrays
from hpc_sparse.parallel.collectives import all_gather_counts
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.parallel.delayed_average import DelayedAverage
from hpc_sparse.parallel.shared_index import SharedIndex

CutBack = Callable[[Float32Array, int], BoolArray]
"""Rule of what stays after an average: (weights float32[n], n_target) -> bool[n] with ``n_target`` marks."""


class LocalSgd:
    """Averages the replicas and puts them on one topology again.

    Parameters
    ----------
    ctx : ParallelContext
    has_shared_topology : bool
        All replicas evolve alike, so no keys travel; else the union is formed and cut back to size.
    cut_back : callable
        Which of the averaged connections stay where the replicas' topologies differ: see :data:`CutBack`.
    resets : collection of str
        State arrays of the optimiser that become 0; all others are averaged as the parameters are.
    is_contributor : bool
        Whether this rank trains. A rank without samples takes part in every sync but adds nothing to the average.
    n_contributors : int
        How many ranks train.

    Attributes
    ----------
    is_contributor : bool
    n_contributors : int
    n_bytes_sent : int
        Bytes that this rank has put into messages so far.
    """

    def __init__(
        self,
        ctx: ParallelContext,
        *,
        has_shared_topology: bool,
        cut_back: CutBack,
        resets: Collection[str],
        is_contributor: bool,
        n_contributors: int,
    ) -> None:
        self._ctx, self._has_shared_topology = ctx, has_shared_topology
        self._cut_back, self._resets = cut_back, resets
        self.is_contributor, self.n_contributors, self.n_bytes_sent = is_contributor, n_contributors, 0
        self._bases: list[Topology] = []
        self._targets: list[int] = []
        self._delayed: DelayedAverage | None = None
        self._agreement = Agreement(ctx)

    @classmethod
    def start(
        cls,
        ctx: ParallelContext,
        network: Network,
        *,
        has_shared_topology: bool,
        cut_back: CutBack,
        resets: Collection[str] = (),
        is_contributor: bool = True,
        targets: Sequence[int] | None = None,
    ) -> LocalSgd:
        """Local SGD of replicas that agree now, or have nothing in common yet (collective).

        Parameters
        ----------
        ctx, has_shared_topology, cut_back, resets, is_contributor
            As of the class.
        network : Network
            This rank's.
        targets : sequence of int, optional
            Connections per place of the network after the first sync, if the replicas share no topology now.
        """
        n_contributors = int(all_gather_counts(ctx, int(is_contributor)).sum())
        averaging = cls(
            ctx,
            has_shared_topology=has_shared_topology,
            cut_back=cut_back,
            resets=resets,
            is_contributor=is_contributor,
            n_contributors=n_contributors,
        )
        if targets is None:
            averaging.remember(network)
        else:
            places = network.connections()
            averaging._remember([Topology.empty(connections.topology.shape) for _, connections in places])
            averaging._targets = list(targets)
        return averaging

    @property
    def targets(self) -> tuple[int, ...]:
        """Connections after the next sync, at each place of the network."""
        return tuple(self._targets)

    def remember(self, network: Network) -> None:
        """Remember the topologies that all replicas have now; call when they agree."""
        self._remember([connections.topology for _, connections in network.connections()])

    def follow(self, change: NetworkChange) -> None:
        """Remember the topologies that a ``change`` of all replicas, made when they agreed, has brought about."""
        self._remember([layer.topology for layer in change.layers])

    def aim_at(self, network: Network) -> None:
        """Bring every place at the next sync to as many connections as in ``network``, the same on all ranks."""
        self._targets = [connections.topology.n_connections for _, connections in network.connections()]

    def _remember(self, topologies: list[Topology]) -> None:
        self._targets = [topology.n_connections for topology in topologies]
        # Replicas that share a topology never ask what it was. Those that do must not keep its transposed index alive.
        is_asked_for = self._ctx.size > 1 and not self._has_shared_topology
        self._bases = [each.bare() for each in topologies if is_asked_for]

    def sync(self, replica: Replica) -> None:
        """Average the replicas; afterwards all have the same connections, parameters and states (collective).

        The next call checks this, or :meth:`confirm_agreement`.

        Raises
        ------
        DivergedError
            On every rank: weights to be compared by size are not finite, or replicas differed after the last sync.
        """
        if self._ctx.size == 1:
            return
        self._agreement.confirm()
        self._take_in_delayed()
        network = replica.network
        for state in replica.states:
            state.reset(self._resets)
        bases, targets = iter(self._differing_bases()), iter(self._targets)
        placed = [
            self._place({name: next(bases, None) for name in layer.connections()}, layer, state)
            for layer, state in zip(network.layers, replica.states, strict=True)
        ]
        arrays = [array for layer in placed for array in layer.arrays(self._resets)]
        self.n_bytes_sent += average_arrays(self._ctx, arrays, self.n_contributors, is_contributor=self.is_contributor)
        for layer, state, averaged in zip(network.layers, replica.states, placed, strict=True):
            averaged.cut_back(self._cut_back, {name: next(targets) for name in layer.connections()}, layer, state)
        self.remember(network)
        self._agreement.start(network)

    def sync_delayed(self, replica: Replica) -> None:
        """Take in the average that is under way, if any, and start the next one (collective).

        The replicas go on with what they have, and do not agree before the next :meth:`sync`. For shared topologies
        and averaged states only.
        """
        if self._ctx.size == 1:
            return
        assert self._has_shared_topology
        assert not self._resets
        self._agreement.confirm()
        self._take_in_delayed()
        arrays = [
            array
            for layer, state in zip(replica.network.layers, replica.states, strict=True)
            for array in (*(each.values for each in layer.parameters().values()), *state.flat())
        ]
        self._delayed = DelayedAverage.start(self._ctx, arrays, self.n_contributors, is_contributor=self.is_contributor)
        self.n_bytes_sent += self._delayed.n_bytes

    def progress(self) -> None:
        """Move on what is under way between the ranks; to be called after every step."""
        self._agreement.progress()
        if self._delayed is not None:
            self._delayed.progress()

    def confirm_agreement(self) -> None:
        """Check that the last :meth:`sync` has left all replicas the same (collective).

        Raises
        ------
        DivergedError
            On every rank: it has not.
        """
        self._agreement.confirm()

    def finish(self) -> None:
        """Complete what is under way between the ranks, when no more is to be trained (collective)."""
        self._agreement.finish()

    def _take_in_delayed(self) -> None:
        if self._delayed is not None:
            self._delayed.take_in()
            self._delayed = None

    def _differing_bases(self) -> list[Topology | None]:
        """What to form unions from; None where replicas cannot differ: a complete topology that is to stay so."""
        return [
            None if base.n_connections == base.n_possible == target else base
            for base, target in zip(self._bases, self._targets, strict=False)
        ]

    def _place(self, bases: Mapping[str, Topology | None], layer: Layer, state: OptimizerState) -> _Placed:
        """A layer's parameters where they are averaged: as they are, or on the union of the replicas' connections."""
        indexes = {name: self._index(bases[name], each.topology) for name, each in layer.connections().items()}
        placed = _Placed(indexes, {}, {array: {} for array in state.values})
        for name, parameter in layer.parameters().items():
            owner = parameter.connections
            index = None if owner is None else indexes[owner]
            connections = None if owner is None else layer.connections()[owner]
            placed.values[name] = self._scattered(index, parameter.values, connections)
            for array, own in state.values.items():
                placed.states[array][name] = self._scattered(index, own[name], connections)
        return placed

    def _index(self, base: Topology | None, own: Topology) -> SharedIndex | None:
        """The union of the replicas' connections; None where all have the same."""
        if base is None:
            return None
        index = SharedIndex.build(self._ctx, base, own if self.is_contributor else Topology.empty(base.shape))
        self.n_bytes_sent += OFFSET().itemsize * index.n_sent
        return index

    def _scattered(self, index: SharedIndex | None, values: AnyArray, connections: Connections | None) -> AnyArray:
        """Values of connections on the union of the replicas' own; as they are where all replicas have the same."""
        if index is None or connections is None:
            return values
        if self.is_contributor:
            return index.scatter(values, connections.values_per_unit)
        return np.zeros(index.keys.size * connections.values_per_unit, values.dtype)


@dataclass(frozen=True)
class _Placed:
    """One layer's parameters, and its state arrays by their names and those of the parameters, aligned on all ranks.

    ``indexes`` has the union of each of its connections, None where all replicas have the same ones.
    """

    indexes: dict[str, SharedIndex | None]
    values: dict[str, Float32Array]
    states: dict[str, dict[str, AnyArray]]

    def arrays(self, resets: Collection[str]) -> list[AnyArray]:
        """What is averaged."""
        averaged = [own for array, own in self.states.items() if array not in resets]
        return [values for own in (self.values, *averaged) for values in own.values()]

    def cut_back(self, rule: CutBack, targets: Mapping[str, int], layer: Layer, state: OptimizerState) -> None:
        """Give the layer ``targets`` of the averaged connections; a missing one has counted 0."""
        parameters = layer.parameters()
        topologies = dict[str, Topology]()
        values = {name: parameter.values for name, parameter in parameters.items()}
        for owner, index in self.indexes.items():
            if index is None:
                continue
            own = [name for name, parameter in parameters.items() if parameter.connections == owner]
            if not all(np.isfinite(self.values[name]).all() for name in own):
                raise DivergedError.not_finite()
            before = layer.connections()[owner].topology
            scores = unit_scores(self.values[own[0]], index.keys.size)
            is_kept = kept_units(before, index.keys, scores, targets[owner], rule)
            for name in own:
                values[name] = self.values[name].reshape(index.keys.size, -1)[is_kept].reshape(-1)
                for array, placed in self.states.items():
                    state[array][name] = placed[name].reshape(index.keys.size, -1)[is_kept].reshape(-1)
            topologies[owner] = Topology.from_keys(before.shape, index.keys[is_kept], before.groups)
        if topologies:
            layer.rewire(layer.shape, topologies, values)


def kept_units(before: Topology, keys: Int64Array, scores: Float32Array, n_target: int, rule: CutBack) -> BoolArray:
    """bool[n]: which of the units that replicas have together stay; where there are groups, the largest of each."""
    return rule(scores, n_target) if before.groups is None else before.groups.keep_largest(keys, scores)


def unit_scores(values: Float32Array, n_units: int) -> Float32Array:
    """float32[n_units]: the weight of a connection, or the norm of a unit of several."""
    if values.size == n_units:
        return values
    return np.asarray(np.sqrt(np.square(values.reshape(n_units, -1)).sum(axis=1)), VALUE)
