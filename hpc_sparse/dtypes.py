"""Array types by role: one width for each kind of number, used everywhere."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Float32Array: TypeAlias = npt.NDArray[np.float32]
Float64Array: TypeAlias = npt.NDArray[np.float64]
Int32Array: TypeAlias = npt.NDArray[np.int32]
Int64Array: TypeAlias = npt.NDArray[np.int64]
UInt8Array: TypeAlias = npt.NDArray[np.uint8]
UInt16Array = npt.NDArray[np.uint16]
PointerArray: TypeAlias = npt.NDArray[np.signedinteger[Any]]
BoolArray: TypeAlias = npt.NDArray[np.bool_]
AnyArray: TypeAlias = npt.NDArray[Any]

VALUE = np.float32
"""Weights, biases, activations, gradients."""

BFLOAT16 = np.uint16
"""What holds a bfloat16, which NumPy lacks."""

HIDDEN_VALUES: dict[str, type[np.float32 | np.uint16]] = {"float32": np.float32, "bfloat16": BFLOAT16}
"""Type of stored numbers by format name: of hidden activations and deltas, and of velocities."""

TYPE_NAMES: dict[type[Any], str] = {kind: name for name, kind in HIDDEN_VALUES.items()}
"""Format names by type."""

INDEX = np.int32
"""Number of a neuron within its layer."""

OFFSET = np.int64
"""Counts, offsets into arrays of connections, connection keys."""


def pointer_dtype(n_items: int) -> type[np.int32 | np.int64]:
    """Type of the row pointers and positions of ``n_items`` connections: int32, or int64 from 2^31 on."""
    return INDEX if n_items <= np.iinfo(INDEX).max else OFFSET


MAX_NEURONS = int(np.iinfo(INDEX).max)
"""The largest width of a layer that an index can address."""
