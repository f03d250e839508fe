"""Tables ``[[network.layers]]``: hidden layers one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import ValidationError
from pydantic_core import InitErrorDetails

from hpc_sparse.config.problems import listed, nested_problems, problem
from hpc_sparse.config.section import Fraction, NonNegative, Section, Share, Width

if TYPE_CHECKING:
    from hpc_sparse.config.run_config import RunConfig

Activation = Literal["all_relu", "relu", "leaky_relu"]


class LayerSection(Section):
    """One hidden layer. Keys that are left out have the value of ``[network]``."""

    reads_sequences: ClassVar[bool] = False
    """Whether the layer goes through the steps of sequences."""

    kind: str = "sparse"
    """Kind of the layer: see the table of kinds of layers."""

    n: Width
    """Neurons."""

    connections: str = "csr"
    """Storage of its connections: csr (any), dense (all pairs of neurons)."""

    density: Share | None = None
    """Share of the possible connections, in place of what epsilon or density of the network give."""

    activation: Activation | None = None
    """Activation of this layer."""

    alpha: NonNegative | None = None
    """Slope below zero of its activation."""

    dropout: Fraction | None = None
    """Share of its activations dropped in training."""

    @property
    def gives_sequences(self) -> bool:
        """Whether what comes out are sequences if what comes in are."""
        return True

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
