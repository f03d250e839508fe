"""Arrays in the layout of sparse tensor cores, as a caller may give them."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.errors import ArrayError
from hpc_sparse.interop.semi_structured import SemiStructured, from_semi_structured, to_semi_structured

DISORDERED = np.full((6, 1), 0x4444, np.uint16)
DISORDERED[4] = 0x4144
VALUES = np.arange(48, dtype=np.float32).reshape(6, 8)
METADATA = np.full((6, 1), 0x4444, np.uint16)
"""Places 0 and 1 of every group."""


def test_sound_arrays_come_back():
    matrix = to_semi_structured(from_semi_structured(SemiStructured(VALUES, METADATA)))
    np.testing.assert_array_equal(matrix.values, VALUES)
    np.testing.assert_array_equal(matrix.metadata, METADATA)


@pytest.mark.parametrize(
    ("values", "metadata", "message"),
    [
        (VALUES, DISORDERED, r"row 4: group 2: places \[1, 0\]"),
        (VALUES, METADATA.astype(np.int64), r"metadata: int64\[6, 1\]: expected uint16"),
        (VALUES[:, :5], METADATA, r"values: float32\[6, 5\]: expected float32\[6, 8\]"),
        (VALUES, METADATA[:0], r"metadata: uint16\[0, 1\]"),
        (np.where(VALUES == 9, np.nan, VALUES), METADATA, r"values\[1, 1\] = nan"),
    ],
)
def test_wrong_ones_are_refused(values, metadata, message):
    with pytest.raises(ArrayError, match=message):
        from_semi_structured(SemiStructured(values, metadata))
