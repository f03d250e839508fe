"""Layers of pattern 2:4 in the layout of semi-structured tensors: kept values, and two bits for the place of each.

That of each row is what sparse tensor cores take (NVIDIA PTX ISA, "Sparse matrix storage"): of each four inputs, two
values follow each other. A 4-bit number holds their places, the first in its low bits. Words hold four such numbers,
the first in the low bits.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hpc_sparse.errors import InputError
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
    """The connections again."""
    n_out, n_words = matrix.metadata.shape
    shifts = np.arange(0, 16, 2, dtype=np.uint16)
    position = ((matrix.metadata[:, :, None] >> shifts) & np.uint16(3)).astype(np.uint8).reshape(-1)
    index = GroupedIndex((n_out, n_words * INPUTS_OF_WORD), _TWO_OF_FOUR, position)
    return NOfM(index, np.ascontiguousarray(matrix.values.reshape(-1)))
