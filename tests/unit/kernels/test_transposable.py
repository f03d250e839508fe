"""Patterns of a matrix and its transpose: drawn evenly enough, and chosen as a linear program chooses."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linprog

from hpc_sparse.kernels.patterns.transposable import draw_transposable, first_overfull, largest_of_square


def best_sum(sizes, n_of_row, most_of_column):
    """The largest sum, by linear programming: the vertices of these constraints are whole numbers."""
    n_rows, n_columns = sizes.shape
    of_rows = np.kron(np.eye(n_rows), np.ones(n_columns))
    of_columns = np.kron(np.ones(n_rows), np.eye(n_columns))
    found = linprog(
        -sizes.reshape(-1), of_columns, np.full(n_columns, most_of_column), of_rows, np.full(n_rows, n_of_row), (0, 1)
    )
    return -found.fun


@pytest.mark.parametrize(
    ("shape", "n_of_row", "most"), [((4, 4), 2, 2), ((8, 8), 3, 3), ((5, 8), 4, 4), ((8, 4), 2, 4), ((3, 3), 3, 3)]
)
@pytest.mark.parametrize("share", [1.0, 0.3])
def test_no_choice_has_a_larger_sum(shape, n_of_row, most, share):
    rng = np.random.default_rng(shape[0])
    for _ in range(20):
        sizes = (rng.random(shape) ** 3 * (rng.random(shape) < share)).astype(np.float32)
        kept = largest_of_square(sizes, n_of_row, most)
        assert (kept.sum(axis=1) == n_of_row).all()
        assert (kept.sum(axis=0) <= most).all()
        np.testing.assert_allclose(sizes[kept].sum(dtype=np.float64), best_sum(sizes.astype(float), n_of_row, most))


def drawn(n, m, n_out, n_in, key):
    fan_in = n_in // m * n + n_in % m * n // m
    position = np.full(n_out * fan_in, 255, np.uint8)
    draw_transposable(n, m, n_in, np.uint64(key), position)
    columns = position.reshape(n_out, fan_in) + np.arange(fan_in) // n * m
    dense = np.zeros((n_out, n_in), int)
    np.put_along_axis(dense, columns, 1, axis=1)
    return position, dense


@pytest.mark.parametrize(
    ("n", "m", "n_out", "n_in"), [(2, 4, 24, 32), (2, 4, 21, 30), (4, 8, 19, 22), (1, 16, 16, 16), (26, 256, 300, 512)]
)
def test_drawn_connections_follow_the_pattern_in_both_directions(n, m, n_out, n_in):
    position, dense = drawn(n, m, n_out, n_in, 7)
    for group in range(0, n_in, m):
        assert (dense[:, group : group + m].sum(axis=1) == min(m, n_in - group) * n // m).all()
    for first in range(0, n_out, m):
        assert (dense[first : first + m].sum(axis=0) <= n).all()
        if first + m <= n_out:
            assert (dense[first : first + m].sum(axis=0) == n).all()
    assert first_overfull(position, n, m, n_in) == -1


def test_all_places_are_drawn_alike_and_independently():
    counts = sum(drawn(2, 4, 4, 4, key)[1] for key in range(3000))
    np.testing.assert_allclose(counts / 3000, 0.5, atol=0.04)
    patterns = {drawn(2, 4, 4, 4, key)[1].tobytes() for key in range(3000)}
    assert len(patterns) == 90  # all matrices of zeros and ones with two ones in each row and column


def test_the_first_connection_too_many_of_an_input_is_found():
    position, _ = drawn(2, 4, 12, 8, 1)
    position[4 * 4 : 8 * 4].reshape(4, 4)[:, :2] = [0, 1]  # second square of neurons, first group of inputs
    assert first_overfull(position, 2, 4, 8) == 24
