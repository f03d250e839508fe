"""Tables ``[[network.layers]]``: hidden layers one by one, and patterns N:M of their connections."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails

from hpc_sparse.config.problems import listed, nested_problems, problem
from hpc_sparse.config.section import Fraction, NonNegative, Section, Share, Width

if TYPE_CHECKING:
    from hpc_sparse.config.run_config import RunConfig

LARGEST_GROUP = 256
"""Inputs of a group at most: a position within a group is one byte."""


@dataclass(frozen=True)
class GroupPattern:
    """A pattern N:M: every neuron is connected to exactly N of each M consecutive inputs.

    Where M does not divide the number of inputs, the last group has r < M of them, of which ceil(r N / M) are
    connected.

    Attributes
    ----------
    n : int
        N, connections in a group.
    m : int
        M, inputs in a group.
    """

    n: int
    m: int

    @classmethod
    def parse(cls, text: str) -> GroupPattern:
        """The pattern that a text such as "2:4" stands for.

        Raises
        ------
        ValueError
            It stands for none.
        """
        match = re.fullmatch(r"(\d{1,6}):(\d{1,6})", text)
        if match is None:
            raise ValueError('must be N:M, such as "2:4"')
        n, m = int(match[1]), int(match[2])
        if not 1 <= n <= m:
            raise ValueError("must be N:M with 1 <= N <= M")
        if m > LARGEST_GROUP:
            raise ValueError(f"must be N:M with M <= {LARGEST_GROUP}")
        return cls(n, m)

    def __str__(self) -> str:
        return f"{self.n}:{self.m}"

    def n_groups(self, n_in: int) -> int:
        """Groups of each neuron."""
        return -(-n_in // self.m)

    def last_count(self, n_in: int) -> int:
        """Connections in the last group of each neuron."""
        n_rest = n_in - (self.n_groups(n_in) - 1) * self.m
        return -(-n_rest * self.n // self.m)

    def fan_in(self, n_in: int) -> int:
        """Connections of each neuron."""
        return (self.n_groups(n_in) - 1) * self.n + self.last_count(n_in)

    def check_inputs(self, n_in: int) -> None:
        """Check that a layer has inputs for at least one whole group.

        Raises
        ------
        ValueError
            It has not.
        """
        if self.m > n_in:
            raise ValueError(f"groups of {self.m} inputs, but the layer has {n_in}")


Pattern = Annotated[str, AfterValidator(lambda text: str(GroupPattern.parse(text)))]
"""Text of a pattern N:M."""

IN_GROUPS = "n_of_m"
"""Kind of connections that goes by a pattern."""

Activation = Literal["all_relu", "relu", "leaky_relu"]

BlockSide = Literal[1, 4, 8, 16, 32]

BLOCK_SIDES: tuple[int, ...] = get_args(BlockSide)
"""Neurons that a block may have on either side."""

BlockSize = Annotated[tuple[BlockSide, BlockSide], Field(strict=False)]
"""Neurons of a block in the layer and in the one below."""

DEFAULT_BLOCK = (16, 16)


class LayerSection(Section):
    """One hidden layer. Keys that are left out have the value of ``[network]``."""

    reads_sequences: ClassVar[bool] = False
    """Whether the layer goes through the steps of sequences."""

    kind: str = "sparse"
    """Kind of the layer: sparse, recurrent, or tanh (sparse, with hyperbolic tangents)."""

    n: Width
    """Neurons."""

    connections: str = "csr"
    """Storage of its connections: csr (any), dense (all pairs of neurons), block (blocks of weights), n_of_m (so many
    of each group of inputs), diagonal (one input of each neuron)."""

    block: BlockSize | None = None
    """Connections in blocks: neurons of a block in this layer and in the one below, each 1, 4, 8, 16 or 32."""

    pattern: Pattern | None = None
    """Of connections = "n_of_m": N:M, each neuron is connected to N of each M consecutive inputs, such as 2:4."""

    density: Share | None = None
    """Share of the possible connections, in place of what epsilon or density of the network give."""

    activation: Activation | None = None
    """Activation of this layer."""

    alpha: NonNegative | None = None
    """Slope below zero of its activation."""

    dropout: Fraction | None = None
    """Share of its activations dropped in training."""

    @property
    def unit(self) -> tuple[int, int]:
        """(r, c): neurons in this layer and in the one below whose connections come and go as one."""
        return self.block or (1, 1)

    @property
    def gives_sequences(self) -> bool:
        """Whether what comes out are sequences if what comes in are."""
        return True

    @model_validator(mode="before")
    @classmethod
    def _with_block(cls, values: Any) -> Any:
        return with_block(values)

    @classmethod
    def refuses(cls, config: RunConfig) -> str | None:  # noqa: ARG003
        """The first setting that the kind does not go together with, in one sentence; None if there is none."""
        return None


def with_block(values: Any) -> Any:
    """The values of a section with the default size of blocks, if it has connections in blocks and no size.

    Raises
    ------
    ValueError
        There is a size without such connections.
    """
    if not isinstance(values, dict):
        return values
    connections, block = values.get("connections", "csr"), values.get("block")
    if block is not None and connections != "block":
        raise ValueError(f'block: only with connections = "block", not with connections = "{connections}"')
    return {**values, "block": DEFAULT_BLOCK} if connections == "block" and block is None else values


LAYER_SECTIONS: dict[str, type[LayerSection]] = {}
"""The section of each kind of layer; filled by :mod:`hpc_sparse.network.layers.registry`."""

CONNECTION_KINDS: list[str] = []
"""Names of the kinds of connections; filled by :mod:`hpc_sparse.network.connections.registry`."""


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
            ("connections", connections, CONNECTION_KINDS),
            *((key, own, CONNECTION_KINDS) for key, own in value.items() if key.endswith("_connections")),
        ):
            if own not in known:
                problems.append(problem("literal_error", f"Input should be {listed(known)}", (number, key), own))
        try:
            found.append(LAYER_SECTIONS.get(str(kind), LayerSection).model_validate(value))
        except ValidationError as error:
            problems += nested_problems(error, str(number))
    if problems:
        raise ValidationError.from_exception_data("layers", problems)
    return found
