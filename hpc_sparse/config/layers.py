"""Tables ``[[network.layers]]``: hidden layers one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, ValidationError
from pydantic_core import InitErrorDetails

from hpc_sparse.config.patterns import GroupPattern
from hpc_sparse.config.problems import listed, nested_problems, problem
from hpc_sparse.config.section import Fraction, NonNegative, Section, Share, Width

if TYPE_CHECKING:
    from hpc_sparse.config.run_config import RunConfig

Pattern = Annotated[str, AfterValidator(lambda text: str(GroupPattern.parse(text)))]
"""Text of a pattern N:M."""

IN_GROUPS = "n_of_m"
"""Kind of connections that goes by a pattern."""

Activation = Literal["all_relu", "relu", "leaky_relu"]


class LayerSection(Section):
    """One hidden layer. Keys that are left out have the value of ``[network]``."""

    kind: str = "sparse"
    """Kind of the layer: see the table of kinds of layers."""

    n: Width
    """Neurons."""

    connections: str | None = None
    """Storage of its connections: csr (any), dense (all pairs of neurons), n_of_m (so many of each group of inputs)."""

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

    @classmethod
    def refuses(cls, config: RunConfig) -> str | None:  # noqa: ARG003
        """The first setting that the kind does not go together with, in one sentence; None if there is none."""
        return None


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
        kind, connections = value.get("kind", "sparse"), value.get("connections")
        for key, own, known in (
            ("kind", kind, list(LAYER_SECTIONS)),
            ("connections", connections, CONNECTION_KINDS),
        ):
            if own is not None and own not in known:
                problems.append(problem("literal_error", f"Input should be {listed(known)}", (number, key), own))
        try:
            found.append(LAYER_SECTIONS.get(str(kind), LayerSection).model_validate(value))
        except ValidationError as error:
            problems += nested_problems(error, str(number))
    if problems:
        raise ValidationError.from_exception_data("layers", problems)
    return found
