"""Layers: what happens around the products with connections, and the passes that a network is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Protocol, Self

import numpy.typing as npt

from hpc_sparse.config import LayerSection, NetworkSection
from hpc_sparse.dtypes import AnyArray, Float32Array, Float64Array, Int32Array
from hpc_sparse.network.blueprint import LayerBlueprint
from hpc_sparse.network.connections.protocol import Connections, Gate
from hpc_sparse.network.connections.state import Setting
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.dropout import Dropout
from hpc_sparse.network.layers.state import LayerState
from hpc_sparse.network.parameter import Parameter
from hpc_sparse.network.sinks import Sink
from hpc_sparse.network.tiles import BatchShape, Tiles
from hpc_sparse.network.tokens import Batch

Saved = Mapping[str, AnyArray]
"""What a layer keeps from its forward pass for the backward pass, by name."""


class SavedArray(NamedTuple):
    """Shape and type of an array that a layer saves for a batch."""

    shape: tuple[int, ...]
    dtype: npt.DTypeLike


class Layer(Protocol):
    """A layer of a network.

    Attributes
    ----------
    kind : str
        Its name in configurations and checkpoints.
    section : type of LayerSection
        Its keys in a table ``[[network.layers]]``, and what it refuses.
    keeps_output : bool
        Whether its output is still needed when its deltas arrive: they then get a buffer of their own.
    weights : dict of str to str
        Name of the parameter with the weights of each of its connections, by their names.
    """

    kind: ClassVar[str]
    section: ClassVar[type[LayerSection]]
    keeps_output: ClassVar[bool]
    weights: ClassVar[Mapping[str, str]]

    @property
    def activation(self) -> str:
        """Name of the activation, as a checkpoint tells it."""
        ...

    @property
    def n_places(self) -> int:
        """Places of each sample that it reads, such as the steps of a sequence; 1 if it takes any number."""
        ...

    @property
    def reads_tokens(self) -> bool:
        """Whether its inputs are tokens, :class:`hpc_sparse.network.tokens.Tokens`."""
        ...

    @classmethod
    def random(cls, blueprint: LayerBlueprint) -> Self:
        """A new layer."""
        ...

    @classmethod
    def maps(cls, blueprint: LayerBlueprint) -> Mapping[str, LayerBlueprint]:
        """What the connections of a new layer are to be, by their names: the blueprint for each, with its shape."""
        ...

    @property
    def shape(self) -> tuple[int, int]:
        """(n_out, n_in) in neurons."""
        ...

    def connections(self) -> Mapping[str, Connections]:
        """Its maps by name; evolution, sync, analysis and planning visit these."""
        ...

    def parameters(self) -> Mapping[str, Parameter]:
        """What is learned, by name; every rank and every checkpoint has the same order."""
        ...

    def settings(self) -> Mapping[str, Setting]:
        """Numbers and texts beyond kind and activation that a checkpoint needs to make the layer again."""
        ...

    def bind(self, values: Mapping[str, Float32Array]) -> None:
        """Go on with other arrays for parameters, of the same sizes."""
        ...

    def rewire(
        self, shape: tuple[int, int], topologies: Mapping[str, Topology], values: Mapping[str, Float32Array]
    ) -> None:
        """Go on with other connections and with arrays for all parameters that fit them."""
        ...

    def copy(self) -> Self:
        """The same with parameters of its own."""
        ...

    def shape_out(self, shape: BatchShape) -> BatchShape:
        """Shape of the layer's output for a batch of inputs of some shape."""
        ...

    def saved_arrays(self, shape: BatchShape) -> Mapping[str, SavedArray]:
        """What :meth:`forward` needs to save for :meth:`backward`, for a batch of inputs of some shape."""
        ...

    def forward(
        self, source: Any, out: Tiles, saved: Saved | None, dropout: Dropout | None, *, goes_on: bool = False
    ) -> None:
        """``out`` of n_out neurons from ``source`` of n_in; in training with ``saved``, if hidden with dropout.

        An evaluation may give ``saved``, too, as room to compute in; it has no dropout. ``source`` are tiles, or tokens
        if the layer reads such. Where a sequence ``goes_on``, its state is that after the forward pass before, which
        ``saved`` has.
        """
        ...

    def forward_alone(self, source: Float32Array, out: Float32Array) -> None:
        """The bits of :meth:`forward` without dropout for one sample: float32[n_in] to float32[n_out]."""
        ...

    def gate(self, saved: Saved, dropout: Dropout | None) -> Gate | None:
        """What the layer above multiplies into the deltas that it passes down; None if this layer does so itself."""
        ...

    def backward(
        self,
        delta: Tiles,
        source: Any,
        saved: Saved,
        gate_below: Gate | None,
        sink: Sink | None,
        out: Tiles | None,
    ) -> None:
        """Deltas for the layer below into ``out`` (None: not wanted), gradients into ``sink`` (None: not wanted).

        ``out`` may be ``source``, whose activations nobody needs any more.
        """
        ...

    def signals(self, delta: Tiles, source: Any, saved: Saved) -> Mapping[str, tuple[Batch, Tiles]]:
        """Inputs of each of its connections and derivatives by their weighted sums, by name, after a :meth:`backward`.

        Parameters
        ----------
        delta, source, saved
            As that got, with deltas below that are elsewhere than the activations.
        """
        ...

    def exact(
        self,
        source: Float64Array,
        values: Mapping[str, Float64Array],
        factor: Float64Array | None,
        bend: Float64Array | None = None,
        lengths: Int32Array | None = None,
    ) -> tuple[Float64Array, Float64Array | None]:
        """The layer in float64, by NumPy: what its kernels are checked against.

        Parameters
        ----------
        source : float64[n_places, n_in, n_samples]
        values : dict of str to float64[n]
            Parameters to use instead of its own.
        factor : float64[n_places_out, n_out, n_samples] or None
            Dropout factor of each output.
        bend : float64[n_places_out, n_out, n_samples] or None
            From an earlier call: what piecewise linear activations multiply by, and dropout; the sums do not decide.
        lengths : int32[n_samples] or None
            Places of each sample that count, where they differ.

        Returns
        -------
        out, bend : float64[n_places_out, n_out, n_samples]
            The latter is None where there is nothing to multiply by: a smooth activation without dropout.
        """
        ...

    @classmethod
    def saved_bytes(cls, n_out: int, shape: BatchShape, settings: Mapping[str, Setting]) -> int:
        """Bytes of the arrays of :meth:`saved_arrays` in a hidden layer, for planning."""
        ...

    @classmethod
    def planned_settings(cls, blueprint: LayerBlueprint) -> Mapping[str, Setting]:
        """What :meth:`settings` says of a new layer."""
        ...

    @classmethod
    def parameter_sizes(
        cls, shape: tuple[int, int], n_values: Mapping[str, int], settings: Mapping[str, Setting]
    ) -> Mapping[str, int]:
        """Items of each parameter that a file must hold, in the order of :meth:`parameters`.

        Parameters
        ----------
        shape : (n_out, n_in)
        n_values : dict of str to int
            Weights of the connections, by their names.
        settings : dict of str to number or text
            As :meth:`settings` gave them, not checked yet.

        Raises
        ------
        ValueError
            The settings are not those of the kind.
        """
        ...

    @classmethod
    def from_state(
        cls, state: LayerState, config: NetworkSection, number: int, *, is_last: bool, acting_share: float
    ) -> Layer:
        """The layer again from a state that has been checked: layer ``number`` from 0 on in its network.

        ``acting_share`` is the share of a hidden layer's connections that the run's strategy lets act.

        Raises
        ------
        ValueError
            The kind does not have such an activation, or its connections have other shapes: kernels rely on them.
        """
        ...
