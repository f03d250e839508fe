"""Section ``[network]``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, ModelWrapValidatorHandler, SerializeAsAny, ValidationError, model_validator

from hpc_sparse.config.layers import Activation, LayerSection, checked_layers
from hpc_sparse.config.problems import nested_problems
from hpc_sparse.config.section import Fraction, NonNegative, Positive, Section, Width

DEFAULT_EPSILON = 20.0


class NetworkSection(Section):
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

    initial_topology: Literal["erdos_renyi", "constant_fan_in", "lognormal_fan_in", "snip", "grasp", "csti"] = (
        "erdos_renyi"
    )
    """First connections. erdos_renyi: uniform over all pairs; constant_fan_in: as many for each neuron;
    lognormal_fan_in: a few neurons have many. The others use evolution.growth_samples training samples. snip and grasp
    take the best of a denser network by |gradient x weight| or by the flow of gradients. csti connects correlated
    features (first layer)."""

    source_ratio: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 4.0
    """snip, grasp: how much denser the source network is; no layer of it is made denser than 0.5."""

    activation: Activation = "all_relu"
    """Activation of the hidden layers."""

    alpha: NonNegative = 0.6
    """Slope below zero of all_relu (alternating in sign) and leaky_relu."""

    initializer: Literal["he_uniform", "he_fan_in", "xavier_uniform", "normal"] = "he_uniform"
    """Distribution of initial and grown weights; he_fan_in uses each neuron's real number of connections."""

    dropout: Fraction = 0.3
    """Share of hidden activations dropped in training."""

    @property
    def random_pattern(self) -> Literal["erdos_renyi", "constant_fan_in", "lognormal_fan_in"]:
        """Random pattern of the first topology; patterns that need data start from Erdos-Renyi."""
        match self.initial_topology:
            case "constant_fan_in" | "lognormal_fan_in":
                return self.initial_topology
            case _:
                return "erdos_renyi"

    def layer(self, number: int) -> LayerSection:
        """Hidden layer ``number``, counted from 0, as the configuration has it."""
        return LayerSection(n=self.hidden[number]) if self.layers is None else self.layers[number]

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
        if not isinstance(values, dict) or values.get("layers") is None:
            return handler(values)
        try:
            layers = checked_layers(values["layers"])
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

    @property
    def reads_sequences(self) -> bool:
        """Whether a sample is a sequence, of which each step has an equal part of the features."""
        return any(layer.reads_sequences for layer in self.layers or ())

    @model_validator(mode="after")
    def _sequences_go_on(self) -> Self:
        """Each layer that reads sequences gets some, and the output layer gets none."""
        ends = False
        for number, layer in enumerate(self.layers or ()):
            if layer.reads_sequences and ends:
                raise ValueError(f'layers.{number}: kind = "{layer.kind}": the layers below give no sequences')
            ends |= not layer.gives_sequences
        if self.reads_sequences and not ends:
            raise ValueError("layers: sequences reach the output layer: the last layer that reads some must end them")
        return self

    @model_validator(mode="after")
    def _one_sparsity(self) -> Self:
        if self.epsilon is not None and self.density is not None:
            raise ValueError("epsilon and density exclude each other: give one of them")
        if self.budget == "uniform" and self.density is None:
            raise ValueError('budget = "uniform" needs density: epsilon gives smaller layers more')
        if self.epsilon is None and self.density is None:
            object.__setattr__(self, "epsilon", DEFAULT_EPSILON)
        return self
