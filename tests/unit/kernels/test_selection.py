"""What stays of values when small ones become 0."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.kernels.sparse.selection import keep_from


@pytest.mark.parametrize("n", [0, 1, 37])
def test_values_of_at_least_that_size_stay_whatever_their_sign(n):
    values = np.random.default_rng(2).standard_normal(n).astype(np.float32)
    least = np.abs(values).max(initial=0) / 3
    values[: 4 * (n > 4)] = [least, -least, np.nan, np.inf][: 4 * (n > 4)]
    out = np.full(n, 7, np.float32)
    keep_from(values, least, out)
    np.testing.assert_array_equal(out, np.where(np.abs(values) >= least, values, np.float32(0)))


def test_values_may_take_the_place_of_their_sizes():
    values = np.array([0.5, -2, 1, -1, 0.25], np.float32)
    size = np.abs(values)
    keep_from(values, np.float32(1), size)
    assert size.tolist() == [0, -2, 1, -1, 0]
