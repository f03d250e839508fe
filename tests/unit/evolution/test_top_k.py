"""The best of many scores in bounded memory."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.evolution.top_k import StrongestKeys, strongest


@pytest.mark.parametrize("n_wanted", [0, 1, 7, 50, 199, 200, 201])
def test_the_highest_scores_win_and_of_equal_ones_the_lowest_keys(n_wanted):
    rng = np.random.default_rng(3)
    scores, keys = rng.integers(0, 9, 200).astype(np.float32), rng.permutation(1000)[:200]
    expected = np.lexsort((keys, -scores))[:n_wanted]
    np.testing.assert_array_equal(strongest(scores, keys, n_wanted), np.sort(expected))


@pytest.mark.parametrize("n_wanted", [0, 1, 6, 40, 4000])
@pytest.mark.parametrize("is_ascending", [True, False])
def test_tiles_in_any_order_give_the_best_of_all(n_wanted, is_ascending):
    """Ascending scores fill the list again and again."""
    rng = np.random.default_rng(4)
    scores = rng.integers(0, 30, (60, 33)).astype(np.float32)
    scores[rng.random(scores.shape) < 0.2] = -1
    columns = rng.permutation(33)
    order = np.argsort(scores.max(axis=1) if is_ascending else rng.random(60))
    best = StrongestKeys(n_wanted)
    for rows in np.array_split(order, 9):
        best.add(scores[rows], rows * 33, columns)
    keys = order[:, None] * 33 + columns
    free = scores[order].reshape(-1) >= 0
    score_of = scores[order].reshape(-1)[free]
    key_of = keys.reshape(-1)[free]
    expected = np.sort(key_of[np.lexsort((key_of, -score_of))[:n_wanted]])
    np.testing.assert_array_equal(best.keys(), expected)


def test_scores_below_the_limit_cannot_come_in():
    best = StrongestKeys(2)
    best.add(np.array([[5, 1, 4, 3, 2]], np.float32), np.array([0]), np.arange(5))
    assert best.keys().tolist() == [0, 2]
    assert best.limit == 4
