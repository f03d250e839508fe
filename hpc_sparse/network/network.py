"""A network: a chain of layers, and which of its original neurons each has left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from hpc_sparse.config import NetworkSection
from hpc_sparse.dtypes import INDEX, AnyArray, Float32Array, Int32Array, Int64Array
from hpc_sparse.kernels.simd.machine import WIDTHS, tile_width
from hpc_sparse.network import chain
from hpc_sparse.network.activations import OUTPUT_ACTIVATION
from hpc_sparse.network.blueprint import NONE_GIVEN, LayerBlueprint, blueprints
from hpc_sparse.network.connections.initial_topology import Pattern
from hpc_sparse.network.connections.protocol import INPUT, Connections
from hpc_sparse.network.connections.reserve import ALL_ACT
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.dropout import Dropout
from hpc_sparse.network.layers.protocol import Layer
from hpc_sparse.network.layers.registry import LAYERS
from hpc_sparse.network.layers.sparse import SparseLayer
from hpc_sparse.network.objectives.protocol import Objective, Outcome
from hpc_sparse.network.partitioned.layer_share import LayerShare
from hpc_sparse.network.placement import WHOLE, Placement
from hpc_sparse.network.sinks import Sink, Write
from hpc_sparse.network.tiles import BatchShape, Tiles
from hpc_sparse.network.tokens import Batch
from hpc_sparse.network.workspace import Workspace, output_shapes


class Place(NamedTuple):
    """Place of connections in a network: the number of the layer and their name there."""

    layer: int
    name: str


@dataclass
class Network:
    """Layers from the first hidden one to the output.

    Attributes
    ----------
    layers : list of Layer
        The last one gives the outputs' weighted sums, their activation being part of the loss.
    neuron_ids : list of (int32[width] or None)
        One per layer of neurons, inputs first: the number that each neuron had in the original network,
        increasing; None if none has been removed. Given an empty list, none has been removed anywhere.
    placement : Placement
        Which of the neurons are on this rank.
    tile_width : int
        Columns of a tile of activations. It stays for the whole life of a network, because gradients are added up tile
        by tile; by default it is what suits the machine.
    """

    layers: list[Layer]
    neuron_ids: list[Int32Array | None] = field(default_factory=list)
    placement: Placement = WHOLE
    tile_width: int = 0

    def __post_init__(self) -> None:
        self.tile_width = self.tile_width or tile_width(self._rows)
        self.neuron_ids = self.neuron_ids or [None] * (len(self.layers) + 1)
        assert len(self.neuron_ids) == len(self.layers) + 1, (len(self.neuron_ids), len(self.layers))

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take up a pickled network, in tiles that this machine has."""
        self.__dict__.update(state)
        if self.tile_width not in WIDTHS:
            self.tile_width = tile_width(self._rows)

    @classmethod
    def random(
        cls,
        widths: list[int],
        densities: list[float],
        *,
        activation: str,
        alpha: float,
        initializer: str,
        seed: int,
        pattern: Pattern = "erdos_renyi",
        acting_share: float = 1.0,
    ) -> Network:
        """A network of sparse layers at random; ``widths`` from input to output, one density per layer of connections.

        The same arguments give the same network on any number of threads and ranks.

        Parameters
        ----------
        widths : list of int
        densities : list of float
        activation, alpha
            Of the hidden layers: see :mod:`hpc_sparse.network.activations`.
        initializer : str
            See :mod:`hpc_sparse.network.connections.initial_weights`.
        seed : int
        pattern : str
            See :mod:`hpc_sparse.network.connections.initial_topology`.
        acting_share : float
            Below 1, hidden layers hold a reserve: see :mod:`hpc_sparse.network.connections.reserve`.
        """
        last = len(densities) - 1
        blueprints = [
            LayerBlueprint(
                number,
                (n_out, n_in),
                density,
                activation if number < last else OUTPUT_ACTIVATION,
                alpha,
                initializer,
                seed,
                pattern,
                acting_share if number < last else ALL_ACT,
            )
            for number, (n_in, n_out, density) in enumerate(zip(widths[:-1], widths[1:], densities, strict=True))
        ]
        return cls([SparseLayer.random(blueprint) for blueprint in blueprints])

    @classmethod
    def from_config(
        cls,
        config: NetworkSection,
        n_inputs: int,
        n_outputs: int,
        *,
        seed: int,
        acting_share: float = ALL_ACT,
        n_places: int = 1,
        reads_tokens: bool = False,
        given: Mapping[int, Topology] = NONE_GIVEN,
    ) -> Network:
        """The network at random that a configuration describes.

        Parameters
        ----------
        config : NetworkSection
        n_inputs, n_outputs : int
            Of each place.
        seed : int
        acting_share : float
            As in :meth:`random`.
        n_places : int
            Places of each sample: the steps of a sequence, or the pixels of an image.
        reads_tokens : bool
            Whether inputs are tokens, of which there are ``n_inputs``.
        given : mapping of int to Topology
            First connections of layers that are not drawn, by the number of the layer.
        """
        settings: Any = {"seed": seed, "acting_share": acting_share, "n_places": n_places, "given": given}
        plans = blueprints(config, n_inputs, n_outputs, **settings, reads_tokens=reads_tokens)
        return cls([LAYERS[plan.kind].random(plan) for plan in plans])

    @property
    def widths(self) -> list[int]:
        """Neurons per layer, from the input to the output."""
        return [self.layers[0].shape[1], *(layer.shape[0] for layer in self.layers)]

    @property
    def _rows(self) -> list[int]:
        """Rows of all tiles that connections read: activations of neurons, or sums of several for each."""
        return [*self.widths, *(connections.shape[0] for _, connections in self.connections())]

    @property
    def n_places(self) -> int:
        """Places of each sample of a batch: steps of its sequences, or pixels of its images, if layers read such."""
        return max(layer.n_places for layer in self.layers)

    @property
    def n_inputs(self) -> int:
        """Numbers of each sample: those of all places, or its tokens."""
        return self.n_places if self.reads_tokens else self.n_places * self.widths[0]

    @property
    def reads_tokens(self) -> bool:
        """Whether its inputs are tokens."""
        return self.layers[0].reads_tokens

    @property
    def n_tokens(self) -> int:
        """Tokens that its inputs stand for; 0 if they are numbers."""
        return self.widths[0] if self.reads_tokens else 0

    @property
    def n_places_out(self) -> int:
        """Places of each sample for which there are outputs: 1, or the steps of its sequences."""
        return output_shapes(self.layers, BatchShape(1, self.n_places))[-1].n_places

    @property
    def n_neurons(self) -> int:
        """Neurons of all layers, input and output included."""
        return sum(self.widths)

    @property
    def n_connections(self) -> int:
        """Stored connections of all layers."""
        return sum(connections.weight.size for _, connections in self.connections())

    @property
    def n_parameters(self) -> int:
        """Numbers that are learned, of all layers."""
        return sum(parameter.values.size for layer in self.layers for parameter in layer.parameters().values())

    @property
    def density(self) -> float:
        """Stored connections as a share of those of the dense network of the same widths."""
        n_possible = sum(each.shape[0] * each.shape[1] for _, each in self.connections())
        return self.n_connections / n_possible

    @property
    def has_lost_neurons(self) -> bool:
        """Whether any neuron has been removed."""
        return any(ids is not None for ids in self.neuron_ids)

    def connections(self) -> Iterator[tuple[Place, Connections]]:
        """All connections of all layers, from the input to the output."""
        for number, layer in enumerate(self.layers):
            for name, connections in layer.connections().items():
                yield Place(number, name), connections

    def evolving(self) -> list[Place]:
        """The connections that may evolve: those of all layers but the output's, unless their kind never does."""
        last = len(self.layers) - 1
        return [place for place, connections in self.connections() if place.layer < last and connections.evolves]

    def incoming(self) -> list[Connections]:
        """Each layer's connections to the layer below."""
        return [layer.connections()[INPUT] for layer in self.layers]

    def at(self, place: Place) -> Connections:
        """The connections at a place."""
        return self.layers[place.layer].connections()[place.name]

    def rows(self, place: Place) -> Topology:
        """The units at a place that are here, with the numbers of the whole layer below."""
        return self.at(place).topology

    def share(self, place: Place) -> LayerShare:
        """Which of the units at a place are here: all."""
        return LayerShare.whole(self.rows(place))

    def shape_at(self, place: Place) -> tuple[int, int]:
        """(n_out, n_in) in neurons of the connections at a place."""
        return self.at(place).shape

    def forward(self, batch: Batch, workspace: Workspace, *, goes_on: bool = False) -> Tiles:
        """Weighted sums of the output layer, float32, in ``workspace``; no dropout.

        Parameters
        ----------
        batch : Tiles or Tokens
            float32, of the inputs.
        workspace : Workspace
        goes_on : bool
            Whether the sequences go on where those of the pass before, in the same workspace, have ended.
        """
        self._check(batch)
        n = batch.batch.n_samples
        outs = _of_lengths(workspace.activations(n), batch)
        return chain.forward(self.layers, batch, outs, workspace.saved(n), self.placement, goes_on=goes_on)

    def learn(
        self,
        batch: Batch,
        labels: AnyArray,
        objective: Objective,
        dropouts: Sequence[Dropout],
        workspace: Workspace,
        sinks: Sequence[Sink],
    ) -> Outcome:
        """One pass forward and one backward, whose gradients go to ``sinks``.

        Parameters
        ----------
        batch : Tiles or Tokens
            float32, of the inputs; finite in the columns beyond the batch.
        labels : int32[n_samples], or of another shape where the objective takes labels of places or targets
        objective : Objective
        dropouts : sequence of Dropout
            One per hidden layer.
        workspace : Workspace
        sinks : sequence of Sink
            One per layer.

        Returns
        -------
        Outcome
            Of the batch, with dropout and before the parameters change.
        """
        self._check(batch)
        n = batch.batch.n_samples
        outs, saved = _of_lengths(workspace.activations(n), batch), workspace.saved(n)
        delta = workspace.output_delta(n)
        of_layers = [*dropouts, None]
        sums = chain.forward_train(self.layers, batch, outs, saved, of_layers, self.placement)
        outcome = objective.evaluate(sums, labels, delta)
        deltas = workspace.deltas(n)
        chain.backward(self.layers, batch, outs, saved, of_layers, delta, deltas, sinks, self.placement)
        return outcome

    def gradient_batch(
        self,
        batch: Batch,
        labels: Int32Array,
        objective: Objective,
        dropouts: Sequence[Dropout],
        workspace: Workspace,
        gradients: Sequence[Mapping[str, Float32Array]],
    ) -> Outcome:
        """The gradient of the mean loss of one batch, without changing the network.

        Parameters
        ----------
        batch, labels, objective, dropouts, workspace
            As for :meth:`learn`.
        gradients : sequence of dict of str to float32[n]
            Of each layer's parameters, by name; overwritten.

        Returns
        -------
        Outcome
            Of the batch, with dropout.
        """
        sinks = [Write(own, workspace.scratch) for own in gradients]
        return self.learn(batch, labels, objective, dropouts, workspace, sinks)

    def copy(self) -> Network:
        """The same with parameters of its own."""
        return replace(self, layers=[layer.copy() for layer in self.layers], neuron_ids=list(self.neuron_ids))

    def make_workspace(self, max_batch: int, *, activations: str = "float32") -> Workspace:
        """Buffers for batches of up to ``max_batch`` samples; arguments as of :class:`Workspace`."""
        return Workspace(self.layers, max_batch, self.tile_width, activations=activations, n_places=self.n_places)

    def note_survivors(self, kept: Sequence[Int64Array | None]) -> None:
        """Note which neurons are left: per layer of neurons the numbers that they had before, None if all stay."""
        self.neuron_ids = [_surviving_ids(ids, own) for ids, own in zip(self.neuron_ids, kept, strict=True)]

    def _check(self, batch: Batch) -> None:
        """Assert that a batch has the inputs that the network has now: kernels would read whatever is there."""
        assert batch.n_neurons == self.layers[0].shape[1], (batch.shape, self.widths)
        assert batch.width == self.tile_width, (batch.width, self.tile_width)
        assert batch.n_places == self.n_places, (batch.n_places, self.n_places)


def _of_lengths(outs: list[Tiles], batch: Batch) -> list[Tiles]:
    """The same, of sequences as long as those of a batch."""
    return outs if batch.lengths is None else [out.with_lengths(batch.lengths) for out in outs]


def _surviving_ids(ids: Int32Array | None, kept: Int64Array | None) -> Int32Array | None:
    if kept is None:
        return ids
    return kept.astype(INDEX) if ids is None else ids[kept]
