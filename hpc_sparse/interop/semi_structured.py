"""Layers of pattern 2:4 in the layout of semi-structured tensors: kept values, and two bits for the place of each.

That of each row is what sparse tensor cores take (NVIDIA PTX ISA, "Sparse matrix storage"): of each four inputs, two
values follow each other. A 4-bit number holds their places, the first in its low bits. Words hold four such numbers,
the first in the low bits.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hpc_sparse.checks import check_finite
from hpc_sparse.dtypes import VALUE, AnyArray
from hpc_sparse.errors import ArrayError, InputError
from hpc_sparse.network.connections.group_pattern import GroupPattern
from hpc_sparse.network.connections.grouped_index import GroupedIndex
from hpc_sparse.network.connections.n_of_m import NOfM
from hpc_sparse.network.connections.protocol import Connections

INPUTS_OF_WORD = 16
"""Inputs that a word of 16 bits describes."""


_TWO_OF_FOUR = GroupPattern(2, 4)


class SemiStructured(NamedTuple):
    """A matrix (n_out, n_in) with two of each four consecutive values of a row.

    Attributes
    ----------
    values : float32[n_out, n_in / 2]
    metadata : uint16[n_out, n_in / 16]
        Row by row; a library may order words otherwise when it takes them over.
    """

    values: npt.NDArray[np.float32]
    metadata: npt.NDArray[np.uint16]


def to_semi_structured(connections: Connections) -> SemiStructured:
    """The layout of connections of pattern 2:4.

    Raises
    ------
    InputError
        They have another pattern, or their inputs fill no whole words.
    """
    n_out, n_in = connections.shape
    settings = connections.state().settings
    if connections.kind != NOfM.kind or settings["pattern"] != "2:4":
        kind = f"pattern {settings['pattern']}" if "pattern" in settings else f'connections "{connections.kind}"'
        raise InputError(f"semi-structured layout: {kind}: expected pattern 2:4")
    if n_in % INPUTS_OF_WORD:
        raise InputError(f"semi-structured layout: {n_in} inputs: expected a multiple of {INPUTS_OF_WORD}")
    places = connections.structure()["position"].astype(np.uint16).reshape(n_out, -1, 8)
    shifts = np.arange(0, 16, 2, dtype=np.uint16)
    metadata = np.bitwise_or.reduce(places << shifts, axis=2)
    return SemiStructured(connections.weight.reshape(n_out, n_in // 2).copy(), metadata)


def from_semi_structured(matrix: SemiStructured) -> NOfM:
    """The connections again.

    Raises
    ------
    ArrayError
        The arrays have another type or shape, or the places of a group do not increase; it is a ``ValueError``.
    """
    values, metadata = _checked(matrix)
    n_out, n_words = metadata.shape
    shifts = np.arange(0, 16, 2, dtype=np.uint16)
    position = ((metadata[:, :, None] >> shifts) & np.uint16(3)).astype(np.uint8).reshape(-1)
    if (wrong := np.flatnonzero(position[::2] >= position[1::2])).size:
        row, group = divmod(int(wrong[0]), n_words * INPUTS_OF_WORD // _TWO_OF_FOUR.m)
        pair = position[2 * wrong[0] : 2 * wrong[0] + 2].tolist()
        raise ArrayError(f"metadata: row {row}: group {group}: places {pair}: must increase")
    index = GroupedIndex((n_out, n_words * INPUTS_OF_WORD), _TWO_OF_FOUR, position)
    return NOfM(index, np.array(values, VALUE).reshape(-1))


def _checked(matrix: SemiStructured) -> tuple[AnyArray, AnyArray]:
    values, metadata = np.asarray(matrix.values), np.asarray(matrix.metadata)
    if metadata.ndim != 2 or metadata.dtype != np.uint16 or not metadata.size:
        raise ArrayError(f"metadata: {metadata.dtype}{list(metadata.shape)}: expected uint16[n_out, n_in / 16]")
    shape = (metadata.shape[0], metadata.shape[1] * INPUTS_OF_WORD // 2)
    if values.shape != shape or values.dtype.kind != "f":
        raise ArrayError(f"values: {values.dtype}{list(values.shape)}: expected float32{list(shape)}")
    check_finite("values", values, error=ArrayError)
    return values, metadata
