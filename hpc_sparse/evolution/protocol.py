"""Protocol of evolution strategies, and the views of a network that they get."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import ClassVar, NamedTuple, Self

import numpy as np

from hpc_sparse.config import EvolutionSection, RunConfig, Section
from hpc_sparse.config.evolution import Published
from hpc_sparse.dtypes import AnyArray, Float32Array
from hpc_sparse.evolution.memory import LayerFigures
from hpc_sparse.network.connections.protocol import Connections
from hpc_sparse.network.connections.reserve import ALL_ACT
from hpc_sparse.network.connections.topology import Topology, TopologyChange
from hpc_sparse.network.layer_signals import Signals
from hpc_sparse.network.partitioned.exchange import Exchange
from hpc_sparse.network.partitioned.layer_share import LayerShare


@dataclass(frozen=True)
class LayerView:
    """A layer that is to evolve. Nothing in it may be changed.

    A connection is what comes and goes as one: where units are larger than (1, 1), it is a block of connections.

    Attributes
    ----------
    topology : Topology
    weight : float32[nnz]
        Of a block, its score, which is not negative.
    momentum : float32[n], bfloat16[n] or None
        Mean of earlier gradients of the weights, as the optimiser keeps it; None if it keeps none.
    n_target : int
        Connections that the layer is to have afterwards; at most as many as it has.
    rng : numpy.random.Generator
        This layer's stream for this occasion.
    signals : Signals or None
        Signals of the growth batch, for strategies that need them.
    initial_weight : callable or None
        Weights of a topology of this shape in a new network of the run, for strategies that go by their signs.
    acting_share : float
        Share of the connections that signals pass through.
    unit : (r, c)
        Neurons above and below whose connections come and go as one.
    remembered : dict of str to float32[nnz]
        The strategy's own state arrays by name; none for blocks.
    share : LayerShare or None
        Which rows of the layer these are, if a network is in parts; None: all. Decisions are then collective.
    """

    topology: Topology
    weight: Float32Array
    momentum: AnyArray | None
    n_target: int
    rng: np.random.Generator
    signals: Signals | None = None
    initial_weight: Callable[[Topology], Float32Array] | None = None
    acting_share: float = ALL_ACT
    unit: tuple[int, int] = (1, 1)
    remembered: Mapping[str, Float32Array] = field(default_factory=dict)
    share: LayerShare | None = None

    @cached_property
    def of_layer(self) -> LayerShare:
        """The rows here among those of the layer."""
        return LayerShare.whole(self.topology) if self.share is None else self.share

    @property
    def exchange(self) -> Exchange:
        """Between those who see the rows of the layer."""
        return self.of_layer.exchange

    @property
    def n_connections(self) -> int:
        """Connections of the layer, of which those here are some or all."""
        return self.of_layer.n_connections

    def n_to_drop(self, drop_fraction: float) -> int:
        """Connections of the layer that go when a share is replaced, and those by which it is to shrink."""
        n = self.n_connections
        return min(n, int(drop_fraction * n) + n - self.n_target)


@dataclass(frozen=True)
class NetworkView:
    """All layers that evolve, and what else a strategy may want to know.

    Attributes
    ----------
    layers : tuple of LayerView
        From the first on.
    output : Topology
        Topology of the output layer, which stays as it is.
    drop_fraction : float
        Share of the connections to be replaced now.
    share_done : float
        Share of the time of changes that is over.
    keeps_sizes : bool
        Every layer must get exactly its ``n_target`` connections, else only all of them together.
    """

    layers: tuple[LayerView, ...]
    output: Topology
    drop_fraction: float
    keeps_sizes: bool = False
    share_done: float = 0.0


class LayerUpdate(NamedTuple):
    """Update of a layer.

    Attributes
    ----------
    change : TopologyChange
    weight : float32[nnz of the new topology] or None
        All weights afterwards, or scores of blocks; None if kept connections keep theirs, and grown ones begin as the
        strategy says.
    remembered : dict of str to float32[nnz of the new topology]
        What the strategy's own state arrays are to hold afterwards; nothing for blocks.
    """

    change: TopologyChange
    weight: Float32Array | None = None
    remembered: Mapping[str, Float32Array] = MappingProxyType({})


class TopologyUpdater(ABC):
    """A strategy: decides which connections go and which come. Gets arrays, returns changes; keeps no state.

    The same views and streams give the same result, on any number of threads: replicas that agree go on agreeing
    without a message. A subclass is a dataclass whose fields are the keys of its section.

    Attributes
    ----------
    name : str
        In configurations.
    section : type of Section
        The strategy's own keys, ``[evolution.<name>]``.
    needs_signals : bool
        Whether the views must have signals.
    sees_layers_alone : bool
        Whether layers are decided one by one: each is then changed before the next one is decided.
    grows_zero : bool
        Whether grown connections begin with weight 0, else with an initial one.
    changes_topology : bool
        Whether anything ever changes.
    acts_after_steps : bool
        Whether anything happens to the weights after each step.
    decides_on_units : bool
        Whether it can decide about blocks of connections as well as about single ones.
    published : Published
        How much is replaced and until when, as the authors have it, for settings that are "auto".
    state_arrays : dict of str to str
        Names of arrays that the strategy keeps, one number per connection, and what a plan of the memory calls them.
        They travel, change and are stored as those of the optimiser are; grown connections begin with 0.
    acting_share : float
        Share of the connections that signals pass through.
    works_in_parts : bool
        Whether it can decide about a network whose neurons are divided over ranks, each of which sees its own rows.
    """

    name: ClassVar[str]
    section: ClassVar[type[Section]] = Section
    needs_signals: ClassVar[bool] = False
    sees_layers_alone: ClassVar[bool] = False
    grows_zero: ClassVar[bool] = True
    changes_topology: ClassVar[bool] = True
    acts_after_steps: ClassVar[bool] = False
    decides_on_units: ClassVar[bool] = True
    published: ClassVar[Published] = Published()
    state_arrays: ClassVar[Mapping[str, str]] = MappingProxyType({})
    works_in_parts: ClassVar[bool] = False
    acting_share: float = ALL_ACT

    @classmethod
    def from_config(cls, config: EvolutionSection) -> Self:
        """The strategy with the settings of its section."""
        return cls(**config.chosen(cls.section).model_dump())

    @classmethod
    def refuses(cls, config: RunConfig) -> str | None:  # noqa: ARG003  (what others do not go together with)
        """The first setting that the strategy does not go together with, in one sentence; None if there is none."""
        return None

    def first_states(self, weight: Float32Array) -> Mapping[str, Float32Array]:  # noqa: ARG002  (most keep none)
        """State arrays of connections that begin to be trained with these weights, by name."""
        return {}

    def after_step(self, connections: Connections, rate: float) -> None:  # noqa: B027  (most do nothing)
        """Change the weights of connections that evolve, in place, after a step with the learning rate ``rate``.

        Called only if :attr:`acts_after_steps` says so.
        """

    @abstractmethod
    def update(self, network: NetworkView) -> Sequence[LayerUpdate | None]:
        """Change of each layer that evolves; None where it stays."""

    @abstractmethod
    def n_bytes(self, layer: LayerFigures) -> float:
        """Memory that deciding about a layer takes, the decision included; signals apart."""


def refuse_groups(name: str, config: RunConfig) -> str | None:
    """The refusal of a strategy that cannot choose within groups of inputs."""
    kind = config.network.in_groups
    if kind is None:
        return None
    return (
        f'evolution.strategy = "{name}": not with connections = "{kind}", within whose groups it does not choose; use '
        "static, set, deep_r, rigl or gse"
    )


def refuse_choice_of_weights(name: str, config: RunConfig) -> str | None:
    """The refusal of a strategy in which the weights of grown connections are part of its idea."""
    choice = config.evolution.grown_weights
    if choice == "strategy":
        return None
    return f'evolution.grown_weights = "{choice}": strategy = "{name}" has no choice of them'
