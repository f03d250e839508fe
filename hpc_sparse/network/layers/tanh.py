"""Layers ``tanh(W x + b)`` with dropout: as sparse layers in all but the activation, which is smooth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from pydantic import model_validator

from hpc_sparse.config import LayerSection, NetworkSection, RunConfig
from hpc_sparse.dtypes import VALUE, Float32Array, Float64Array, Int32Array
from hpc_sparse.kernels.simd.activation import BLOCK, record_words
from hpc_sparse.kernels.tanh import multiply_slopes, tanh_of_sums
from hpc_sparse.network.activations import LINEAR
from hpc_sparse.network.blueprint import LayerBlueprint
from hpc_sparse.network.connections.protocol import INPUT, Epilogue, Gate, exact_matrix
from hpc_sparse.network.connections.registry import connections_from_state, random_connections
from hpc_sparse.network.connections.state import Setting
from hpc_sparse.network.dropout import Dropout
from hpc_sparse.network.layers.one_map import OneMap
from hpc_sparse.network.layers.protocol import Saved, SavedArray
from hpc_sparse.network.layers.state import LayerState
from hpc_sparse.network.sinks import Sink
from hpc_sparse.network.tiles import BatchShape, Tiles

NO_SLOPES: Float32Array = np.empty(0, VALUE)

ONE = VALUE(LINEAR)


class TanhSection(LayerSection):
    """A layer with hyperbolic tangents."""

    @model_validator(mode="after")
    def _has_its_activation(self) -> Self:
        for key in ("activation", "alpha"):
            if getattr(self, key) is not None:
                raise ValueError(f'{key} = {getattr(self, key)}: kind = "tanh" has its own')
        return self

    @classmethod
    def refuses(cls, config: RunConfig) -> str | None:
        """Activations in bfloat16."""
        stored = config.training.activations
        return (
            None if stored == "float32" else f'kind = "tanh": not with training.activations = "{stored}"; use "float32"'
        )


@dataclass
class TanhLayer(OneMap):
    """A layer ``tanh(W x + b)``.

    Attributes
    ----------
    incoming : Connections
        The map W.
    bias : float32[n_out]
    """

    kind: ClassVar[str] = "tanh"
    section: ClassVar[type[LayerSection]] = TanhSection
    keeps_output: ClassVar[bool] = False
    activation: ClassVar[str] = "tanh"

    @classmethod
    def random(cls, blueprint: LayerBlueprint) -> Self:
        """A new layer, its biases 0."""
        return cls(random_connections(blueprint), np.zeros(blueprint.shape[0], VALUE))

    def saved_arrays(self, shape: BatchShape) -> Mapping[str, SavedArray]:
        """The derivative of each activation, and two bits that tell whether dropout kept it."""
        n = self.shape[0]
        return {
            "record": SavedArray((n * record_words(shape.n_columns),), np.uint16),
            "slopes": SavedArray((n * shape.n_columns,), VALUE),
        }

    def forward(
        self,
        source: Tiles,
        out: Tiles,
        saved: Saved | None = None,
        dropout: Dropout | None = None,
        *,
        goes_on: bool = False,  # noqa: ARG002  (it has no state)
    ) -> None:
        """``out = tanh(W source + b)``, in training with dropout and what :meth:`backward` needs."""
        if dropout is None or saved is None:
            self.incoming.product(source, Epilogue(self.bias, ONE), out)
            tanh_of_sums(out.values, ONE, ONE, NO_SLOPES)
            return
        self.incoming.product(source, Epilogue(self.bias, ONE, dropout, saved["record"]), out)
        tanh_of_sums(out.values, VALUE(1 / dropout.scale), dropout.scale, saved["slopes"])

    def forward_alone(self, source: Float32Array, out: Float32Array) -> None:
        """The bits of :meth:`forward` without dropout for one sample."""
        sums = np.zeros(-(-out.size // BLOCK) * BLOCK, VALUE)
        self.incoming.product_alone(source, self.bias, ONE, sums[: out.size])
        tanh_of_sums(sums, ONE, ONE, NO_SLOPES)
        out[:] = sums[: out.size]

    def gate(self, saved: Saved, dropout: Dropout | None) -> Gate | None:
        """The derivative of dropout; this layer applies that of its activation."""
        assert dropout is not None
        return Gate(ONE, dropout.scale, saved["record"])

    def backward(
        self,
        delta: Tiles,
        source: Tiles,
        saved: Saved,
        gate_below: Gate | None,
        sink: Sink | None,
        out: Tiles | None,
    ) -> None:
        """Deltas for the layer below and gradients, from deltas that become those of the sums."""
        multiply_slopes(delta.values, saved["slopes"])
        self.pass_back(delta, source, gate_below, sink, out)

    def exact(
        self,
        source: Float64Array,
        values: Mapping[str, Float64Array],
        factor: Float64Array | None,
        bend: Float64Array | None = None,
        lengths: Int32Array | None = None,  # noqa: ARG002  (its places do not depend on each other)
    ) -> tuple[Float64Array, Float64Array | None]:
        """``tanh(W x + b)`` in float64, by SciPy; what it multiplies by is dropout alone."""
        matrix = exact_matrix(self.incoming, values["weight"])
        out = np.tanh(np.array([matrix @ own + values["bias"][:, None] for own in source]))
        bend = factor if bend is None else bend
        return (out if bend is None else out * bend), bend

    @classmethod
    def saved_bytes(cls, n_out: int, shape: BatchShape, settings: Mapping[str, Setting]) -> int:  # noqa: ARG003
        """Bytes of derivatives and record."""
        words = record_words(shape.n_columns) * np.dtype(np.uint16).itemsize
        return n_out * (words + shape.n_columns * np.dtype(VALUE).itemsize)

    @classmethod
    def from_state(
        cls,
        state: LayerState,
        config: NetworkSection,  # noqa: ARG003
        number: int,  # noqa: ARG003
        *,
        is_last: bool,
        acting_share: float,
    ) -> Self:
        """The layer again; the output layer cannot be one."""
        state.check_shapes({INPUT: state.shape})
        if is_last or state.activation != cls.activation:
            raise ValueError(f'kind "tanh" with activation "{state.activation}": expected a hidden layer with "tanh"')
        incoming = connections_from_state(state.connections[INPUT], state.parameters["weight"], acting_share)
        return cls(incoming, state.parameters["bias"])
