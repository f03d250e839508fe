"""Section ``[network]``."""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    SerializeAsAny,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticKnownError

from hpc_sparse.config.layers import (
    CONNECTION_KINDS,
    RANDOM_PATTERNS,
    Activation,
    BlockSize,
    ConnectionKind,
    ConnectionSection,
    InitialTopology,
    LayerSection,
    RandomPattern,
    checked_layers,
    file_of,
    keys_of_connections,
    with_keys_of_kind,
)
from hpc_sparse.config.problems import listed, nested_problems
from hpc_sparse.config.section import Fraction, NonNegative, Positive, Width

DEFAULT_EPSILON = 20.0


class NetworkSection(ConnectionSection):
    """The network at the start of the run."""

    formerly: ClassVar[Mapping[str, str]] = {"initial_topology": "network.topology"}

    hidden: Annotated[tuple[Width, ...], Field(strict=False)]
    """Neurons of each hidden layer, first to last; empty for a linear model."""

    layers: Annotated[tuple[SerializeAsAny[LayerSection], ...], Field(strict=False)] | None = None
    """Instead of hidden: a table `[[network.layers]]` for each hidden layer, with its neurons `n` and settings of its
    own."""

    epsilon: Positive | None = None
    """SET's sparsity: density of a layer = epsilon (n_in + n_out) / (n_in n_out). 20 unless density is set."""

    density: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    """Instead of epsilon: of every layer, or of all together if budget says so."""

    budget: Literal["uniform", "erdos_renyi"] | None = None
    """Densities of the layers: all equal (default), or higher for smaller layers, as with epsilon."""

    initial_topology: InitialTopology = "erdos_renyi"
    """First connections. erdos_renyi: uniform over all pairs; constant_fan_in: as many for each neuron;
    lognormal_fan_in: a few neurons have many; small_world: neighbours, and some anywhere; scale_free: power laws on
    both sides; covering: inputs for each neuron and neurons for each input, the others anywhere. The rest use training
    samples. snip and grasp take the best of a denser network by |gradient x weight| or by the flow of gradients, from
    evolution.growth_samples of them. csti connects correlated features, by all. file:PATH has the pairs of features and
    groups that are the connections of the first hidden layer, a neuron for each group; the others are erdos_renyi."""

    ungrouped_features: Literal["refuse", "keep"] = "refuse"
    """Of topologies from files: a feature without a group is an error, or stays without connections."""

    rewired_share: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.2
    """small_world: share of the connections that lead anywhere; 0: only to neighbours, 1: nearly as erdos_renyi."""

    source_ratio: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 4.0
    """snip, grasp: how much denser the source network is; no layer of it is made denser than 0.5."""

    connections: str = "csr"
    """Storage of the hidden layers' connections, unless a layer has its own: csr (any), dense (all pairs of neurons),
    block (blocks of weights), n_of_m (so many of each group of inputs), diagonal (one input of each neuron)."""

    block: BlockSize | None = None
    """Connections in blocks: neurons of a block in its layer and in the one below, each 1, 4, 8, 16 or 32; [16, 16]."""

    pattern: str | None = None
    """Of connections = "n_of_m": N:M, each neuron is connected to exactly N of each M <= 256 consecutive inputs, such
    as 2:4. A shorter last group of r inputs has r N / M, rounded up."""

    transposable: bool | None = None
    """Of connections = "n_of_m": at most N of each M consecutive neurons are connected to the same input, so that the
    transposed weights have the pattern, too. Needs evolution.strategy = "static"."""

    activation: Activation = "all_relu"
    """Activation of the hidden layers."""

    alpha: NonNegative = 0.6
    """Slope below zero of all_relu (alternating in sign) and leaky_relu."""

    initializer: Literal["he_uniform", "he_fan_in", "xavier_uniform", "normal"] = "he_uniform"
    """Distribution of initial and grown weights; he_fan_in uses each neuron's real number of connections."""

    dropout: Fraction = 0.3
    """Share of hidden activations dropped in training."""

    @property
    def random_pattern(self) -> RandomPattern:
        """Random pattern of layers without a topology of their own: that of the network, if it is drawn."""
        return _drawn(self.initial_topology)

    @property
    def initial_topologies(self) -> list[str]:
        """Initial topology of each hidden layer."""
        return [self.topology_of(number) for number in range(len(self.hidden))]

    @property
    def topology_files(self) -> dict[int, str]:
        """Paths of the files that initial topologies are from, by the number of the hidden layer."""
        files = map(file_of, self.initial_topologies)
        return {number: path for number, path in enumerate(files) if path is not None}

    def topology_of(self, number: int) -> str:
        """Initial topology of hidden layer ``number``: its own, or the network's; a file is that of the first layer."""
        own = self.layer(number).initial_topology
        if own is not None:
            return own
        return self.random_pattern if file_of(self.initial_topology) and number else self.initial_topology

    def pattern_of(self, number: int) -> RandomPattern:
        """Random pattern of hidden layer ``number``; others than random ones start from Erdos-Renyi."""
        return _drawn(self.topology_of(number))

    @property
    def kinds_of_connections(self) -> list[type[ConnectionKind]]:
        """Those of the hidden layers, each once, in the order of the layers."""
        return list(dict.fromkeys(self.layer(number).kind_of_connections for number in range(len(self.hidden))))

    @property
    def in_groups(self) -> str | None:
        """The kind of some hidden layer's connections that are in groups of inputs; None if there are none."""
        return next((kind.kind for kind in self.kinds_of_connections if kind.in_groups), None)

    def layer(self, number: int) -> LayerSection:
        """Hidden layer ``number``, counted from 0, as the configuration has it."""
        if self.layers is not None:
            return self.layers[number]
        keys = {key: getattr(self, key) for key in ("connections", *keys_of_connections())}
        return LayerSection(n=self.hidden[number], **keys)

    def with_small_keys(self) -> Self:
        """The same for a network of a few neurons."""
        layers = [layer.model_copy(update=dict(layer.kind_of_connections.small_keys)) for layer in self.layers or ()]
        own = dict(CONNECTION_KINDS[self.connections].small_keys)
        return self.model_copy(update=own if self.layers is None else {**own, "layers": tuple(layers)})

    @property
    def has_units(self) -> bool:
        """Whether connections of some layer come and go several at a time."""
        return any(self.layer(number).unit != (1, 1) for number in range(len(self.hidden)))

    def activation_of(self, number: int) -> Activation:
        """Activation of hidden layer ``number``."""
        return self.layer(number).activation or self.activation

    def alpha_of(self, number: int) -> float:
        """Slope below zero of hidden layer ``number``."""
        own = self.layer(number).alpha
        return self.alpha if own is None else own

    def dropout_of(self, number: int) -> float:
        """Share of the activations of hidden layer ``number`` that are dropped in training."""
        own = None if self.layers is None else self.layers[number].dropout
        return self.dropout if own is None else own

    @model_validator(mode="wrap")
    @classmethod
    def _layers_of_their_kinds(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """The widths follow from the layers, where these are given one by one."""
        if not isinstance(values, dict):
            return handler(values)
        values = with_keys_of_kind(values)
        if values.get("layers") is None:
            return handler(values)
        try:
            layers = checked_layers(_with_connections(values))
        except ValidationError as error:
            raise ValidationError.from_exception_data(cls.__name__, nested_problems(error, "layers")) from None
        values = {**values, "layers": layers}
        if isinstance(layers, list) and all(isinstance(layer, LayerSection) for layer in layers):
            values.setdefault("hidden", [layer.n for layer in layers])
        return handler(values)

    @model_validator(mode="after")
    def _widths_of_layers(self) -> Self:
        if self.layers is not None and self.hidden != tuple(layer.n for layer in self.layers):
            raise ValueError("hidden and layers exclude each other: give one of them")
        return self

    @field_validator("connections", mode="before")
    @classmethod
    def _is_known(cls, value: Any) -> Any:
        if value not in list(CONNECTION_KINDS):
            raise PydanticKnownError("literal_error", {"expected": listed(list(CONNECTION_KINDS))})
        return value

    @model_validator(mode="after")
    def _connections_suit_layers(self) -> Self:
        """The keys of each layer's connections, and its widths as far as they are known."""
        for number in range(len(self.hidden)):
            layer = self.layer(number)
            kind, refusal = layer.kind_of_connections, layer.kind_of_connections.refuses_section(layer)
            if refusal is None and number > 0:
                refusal = kind.refuses_shape((self.hidden[number], self.hidden[number - 1]), layer)
            if refusal is not None:
                raise ValueError(f"{'' if self.layers is None else f'layers.{number}.'}{refusal}")
        return self

    @property
    def reads_sequences(self) -> bool:
        """Whether a sample is a sequence, of which each step has an equal part of the features."""
        return any(layer.reads_sequences for layer in self.layers or ())

    @property
    def reads_images(self) -> bool:
        """Whether a sample is an image, whose pixels lie row by row with the values of each side by side."""
        return any(layer.reads_images for layer in self.layers or ())

    def grid(self, n_places: int) -> tuple[int, ...]:
        """Places of a sample that has so many: steps, or rows and columns of an image; () if there is one only."""
        if not self.reads_images:
            return (n_places,) if n_places > 1 else ()
        side = isqrt(n_places)
        image: tuple[int, int] | None = getattr(self._first_of_images(), "image", None)
        return image or (side, side)

    def image(self, n_features: int) -> tuple[int, int]:
        """Rows and columns of images of so many values.

        Raises
        ------
        ValueError
            There are no such images.
        """
        given: tuple[int, int] | None = getattr(self._first_of_images(), "image", None)
        if given is not None:
            if n_features % (given[0] * given[1]):
                raise ValueError(f"image = {list(given)}: samples of {n_features} features are no such images")
            return given
        for n_colours in (1, 3):
            side = isqrt(n_features // n_colours)
            if side * side * n_colours == n_features:
                return side, side
        raise ValueError(
            f"image: samples of {n_features} features are no square images of 1 or 3 colours; set image = [rows, "
            "columns]"
        )

    def check_places(self, n_places: int) -> None:
        """Check that each layer can take what comes out of the one below, of samples of so many places.

        Raises
        ------
        ValueError
        """
        grid = self.grid(n_places)
        for number, layer in enumerate(self.layers or ()):
            try:
                grid = layer.grid_out(grid)
            except ValueError as error:
                raise ValueError(f"layers.{number}.{error}") from None

    def _first_of_images(self) -> LayerSection | None:
        return next((layer for layer in self.layers or () if layer.reads_images), None)

    @model_validator(mode="after")
    def _sequences_go_on(self) -> Self:
        """Each layer that reads sequences, or images, gets some, and the output layer gets none."""
        ends, what = False, "images" if self.reads_images else "sequences"
        if self.reads_images and self.reads_sequences:
            raise ValueError("layers: some read images and others sequences; use one of both")
        first = self._first_of_images()
        for number, layer in enumerate(self.layers or ()):
            if getattr(layer, "image", None) is not None and layer is not first:
                raise ValueError(f"layers.{number}.image: only of the first layer that reads images")
            if (layer.reads_sequences or layer.reads_images) and ends:
                raise ValueError(f'layers.{number}: kind = "{layer.kind}": the layers below give no {what}')
            ends |= not layer.gives_sequences
        if self.reads_images and not ends:
            raise ValueError(f"layers: {what} reach the output layer: the last layer that reads some must end them")
        return self

    @property
    def gives_sequences(self) -> bool:
        """Whether there are outputs for each step of a sequence."""
        return self.reads_sequences and all(layer.gives_sequences for layer in self.layers or ())

    @model_validator(mode="after")
    def _one_sparsity(self) -> Self:
        if self.epsilon is not None and self.density is not None:
            raise ValueError("epsilon and density exclude each other: give one of them")
        if self.budget == "uniform" and self.density is None:
            raise ValueError('budget = "uniform" needs density: epsilon gives smaller layers more')
        if self.epsilon is None and self.density is None:
            object.__setattr__(self, "epsilon", DEFAULT_EPSILON)
        return self


def _drawn(topology: str) -> RandomPattern:
    return topology if topology in RANDOM_PATTERNS else "erdos_renyi"


def _with_connections(values: dict[str, Any]) -> Any:
    """The tables of the layers; those that do not say how connections are stored have it from the network."""
    common = {key: values[key] for key in ("connections", *keys_of_connections()) if values.get(key) is not None}
    if not common or not isinstance(values["layers"], (list, tuple)):
        return values["layers"]
    return [
        {**common, **each} if isinstance(each, dict) and "connections" not in each else each
        for each in values["layers"]
    ]
