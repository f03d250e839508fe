"""Tables ``[[network.layers]]``: hidden layers one by one, and what their kinds of connections say of their keys."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol, Self, get_args

from pydantic import BeforeValidator, Field, ValidationError, WithJsonSchema, model_validator
from pydantic_core import InitErrorDetails, PydanticKnownError

from hpc_sparse.config.problems import listed, nested_problems, problem
from hpc_sparse.config.section import Fraction, NonNegative, Section, Share, Width

if TYPE_CHECKING:
    from hpc_sparse.config.run_config import RunConfig

Activation = Literal["all_relu", "relu", "leaky_relu"]

RandomPattern = Literal["erdos_renyi", "constant_fan_in", "lognormal_fan_in", "small_world", "scale_free", "covering"]

RANDOM_PATTERNS: tuple[RandomPattern, ...] = get_args(RandomPattern)
"""Initial topologies that are drawn."""

CHOSEN_BY_DATA = ("snip", "grasp", "csti")
"""Initial topologies of all hidden layers together that training samples choose."""

FROM_FILE = "file:"
"""What an initial topology begins with that a file has."""


def file_of(topology: str) -> str | None:
    """Path of the file that an initial topology is from; None if it is from none."""
    return topology.removeprefix(FROM_FILE) if topology.startswith(FROM_FILE) else None


def _one_of(names: Sequence[str]) -> BeforeValidator:
    """Check that a value is one of these initial topologies, or a file."""

    def check(value: Any) -> Any:
        if isinstance(value, str) and (value in names or file_of(value)):
            return value
        raise PydanticKnownError("literal_error", {"expected": listed([*names, f"{FROM_FILE}PATH"])})

    return BeforeValidator(check)


TOPOLOGIES = (*RANDOM_PATTERNS, *CHOSEN_BY_DATA)
"""Initial topologies of a network that have names."""

InitialTopology = Annotated[str, _one_of(TOPOLOGIES), WithJsonSchema({"enum": [*TOPOLOGIES, f"{FROM_FILE}PATH"]})]

LayerTopology = Annotated[
    str, _one_of(RANDOM_PATTERNS), WithJsonSchema({"enum": [*RANDOM_PATTERNS, f"{FROM_FILE}PATH"]})
]

BlockSide = Literal[1, 4, 8, 16, 32]

BLOCK_SIDES: tuple[int, ...] = get_args(BlockSide)
"""Neurons that a block may have on either side."""

BlockSize = Annotated[tuple[BlockSide, BlockSide], Field(strict=False)]
"""Neurons of a block in the layer and in the one below."""


class ConnectionKind(Protocol):
    """What a kind of connections says of a configuration.

    Attributes
    ----------
    kind : str
        Its name in the file.
    keys : dict of str to object
        Keys of sections that only it has, each with the value that it has where it is left out, if any.
    small_keys : dict of str to object
        Their values in a network of a few neurons, where these must be others.
    in_groups : bool
        Whether each neuron has a fixed number of connections in each group of inputs.
    """

    kind: ClassVar[str]
    keys: ClassVar[Mapping[str, object]]
    small_keys: ClassVar[Mapping[str, object]]
    in_groups: ClassVar[bool]

    @classmethod
    def unit_of(cls, section: LayerSection) -> tuple[int, int]:
        """(r, c): neurons in a layer and in the one below whose connections come and go as one."""
        ...

    @classmethod
    def density_of(cls, section: LayerSection, n_in: int) -> float | None:
        """Share of the possible connections that a layer with ``n_in`` inputs has; None where the network decides."""
        ...

    @classmethod
    def keys_like(cls, section: LayerSection) -> Mapping[str, object]:
        """Its keys for connections of any shape that take as long as those of a layer, for a plan."""
        ...

    @classmethod
    def refuses_section(cls, section: LayerSection) -> str | None:
        """The first key of a layer that is missing or wrong, in one sentence that begins with it; None if all fit."""
        ...

    @classmethod
    def refuses_shape(cls, shape: tuple[int, int], section: LayerSection) -> str | None:
        """Reason why a layer (n_out, n_in) cannot have such connections, beginning with a key; None if it can."""
        ...

    @classmethod
    def refuses(cls, config: RunConfig) -> Iterable[str]:
        """Settings of other sections that do not go together with such connections, a sentence each."""
        ...


CONNECTION_KINDS: dict[str, type[ConnectionKind]] = {}
"""The kinds of connections by name; filled by :mod:`hpc_sparse.network.connections.registry`."""


def keys_of_connections() -> list[str]:
    """Keys of sections that one kind of connections has, of all kinds."""
    return [key for kind in CONNECTION_KINDS.values() for key in kind.keys]


class ConnectionSection(Section):
    """A section that chooses connections by its key ``connections``, and has the keys of all kinds of them."""

    @model_validator(mode="before")
    @classmethod
    def _with_keys_of_kind(cls, values: Any) -> Any:
        return with_keys_of_kind(values)


def with_keys_of_kind(values: Any) -> Any:
    """The values of a section with what its kind of connections has for keys that are left out.

    Raises
    ------
    ValueError
        There is a key of another kind.
    """
    if not isinstance(values, dict):
        return values
    chosen = CONNECTION_KINDS.get(str(values.get("connections", "csr")))
    if chosen is None:  # said where the key itself is checked
        return values
    for kind in CONNECTION_KINDS.values():
        for key in kind.keys:
            if key not in chosen.keys and values.get(key) is not None:
                raise ValueError(f'{key} = {shown(values[key])} needs connections = "{kind.kind}"')
    given = {key: value for key, value in values.items() if value is not None}
    return {**values, **{key: usual for key, usual in chosen.keys.items() if key not in given and usual is not None}}


def shown(value: object) -> str:
    """A value as a file has it."""
    return json.dumps(value, default=str)


class LayerSection(ConnectionSection):
    """One hidden layer. Keys that are left out have the value of ``[network]``."""

    reads_sequences: ClassVar[bool] = False
    """Whether the layer goes through the steps of sequences."""

    reads_tokens: ClassVar[bool] = False
    """Whether the layer can read tokens, if it is the first."""

    reads_images: ClassVar[bool] = False
    """Whether the layer goes over the places of images, in rows and columns."""

    kind: str = "sparse"
    """Kind of the layer: sparse, recurrent, or tanh (sparse, with hyperbolic tangents)."""

    n: Width
    """Neurons."""

    connections: str = "csr"
    """Storage of its connections: csr (any), dense (all pairs of neurons), block (blocks of weights), n_of_m (so many
    of each group of inputs), diagonal (one input of each neuron)."""

    block: BlockSize | None = None
    """Connections in blocks: neurons of a block in this layer and in the one below, each 1, 4, 8, 16 or 32."""

    pattern: str | None = None
    """Of connections = "n_of_m": N:M, each neuron is connected to N of each M consecutive inputs, such as 2:4."""

    transposable: bool | None = None
    """Of connections = "n_of_m": at most N of each M consecutive neurons are connected to the same input."""

    density: Share | None = None
    """Share of the possible connections, in place of what epsilon or density of the network give."""

    initial_topology: LayerTopology | None = None
    """First connections of this layer: drawn, or from a file of features and groups. A feature is a neuron of the layer
    below (of the data for the first layer), a group a neuron of this one."""

    activation: Activation | None = None
    """Activation of this layer."""

    alpha: NonNegative | None = None
    """Slope below zero of its activation."""

    dropout: Fraction | None = None
    """Share of its activations dropped in training."""

    @property
    def unit(self) -> tuple[int, int]:
        """(r, c): neurons in this layer and in the one below whose connections come and go as one."""
        return self.kind_of_connections.unit_of(self)

    @property
    def kind_of_connections(self) -> type[ConnectionKind]:
        """What its kind of connections says of its keys."""
        return CONNECTION_KINDS[self.connections]

    @property
    def gives_sequences(self) -> bool:
        """Whether what comes out are sequences, or images, if what comes in are."""
        return True

    def grid_out(self, grid: tuple[int, ...]) -> tuple[int, ...]:
        """Places of what comes out: steps, or rows and columns of an image; () if there is one only.

        Raises
        ------
        ValueError
            The layer cannot take so many; the message begins with one of its keys.
        """
        return grid if self.gives_sequences else ()

    def smallest(self, n: int) -> Self:
        """A layer of ``n`` neurons that takes the same kernels, for samples of as few places as there can be."""
        return self.model_copy(update={"n": n})

    @classmethod
    def refuses(cls, config: RunConfig) -> str | None:  # noqa: ARG003
        """The first setting that the kind does not go together with, in one sentence; None if there is none."""
        return None


LAYER_SECTIONS: dict[str, type[LayerSection]] = {}
"""The section of each kind of layer; filled by :mod:`hpc_sparse.network.layers.registry`."""


def checked_layers(values: Any) -> Any:
    """The tables as sections of their kinds.

    Raises
    ------
    ValidationError
        Naming all keys that are wrong.
    """
    if not isinstance(values, (list, tuple)):
        return values
    found, problems = list[Any](), list[InitErrorDetails]()
    for number, value in enumerate(values):
        if not isinstance(value, dict):
            found.append(value)
            continue
        kind, connections = value.get("kind", "sparse"), value.get("connections", "csr")
        for key, own, known in (
            ("kind", kind, list(LAYER_SECTIONS)),
            ("connections", connections, list(CONNECTION_KINDS)),
            *((key, own, list(CONNECTION_KINDS)) for key, own in value.items() if key.endswith("_connections")),
        ):
            if own not in known:
                problems.append(problem("literal_error", f"Input should be {listed(known)}", (number, key), own))
        try:
            found.append(LAYER_SECTIONS.get(str(kind), LayerSection).model_validate(value))
        except ValidationError as error:
            of_whole_layers = {str(each["type"]) for each in problems if len(each["loc"]) == 1}
            problems += [
                each
                for each in nested_problems(error, str(number))
                if len(each["loc"]) > 1 or str(each["type"]) not in of_whole_layers  # once for all layers
            ]
    if problems:
        raise ValidationError.from_exception_data("layers", problems)
    return found
