"""Order of inputs that keeps more weights in groups."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.network.connections.group_pattern import GroupPattern
from hpc_sparse.network.connections.input_order import best_order, partitions_of
from hpc_sparse.network.connections.topology import Topology

N_OUT, N_IN = 128, 64


def complete(n_out=N_OUT, n_in=N_IN):
    return Topology.from_keys((n_out, n_in), np.arange(n_out * n_in))


def kept(weight, n, m):
    """Sum of what groups keep, by sorting; ``weight`` [n_out, n_in]."""
    groups = np.abs(weight.astype(np.float64)).reshape(len(weight), -1, m)
    return np.sort(groups, axis=2)[:, :, m - n :].sum()


def test_partitions_are_all_distinct_ones():
    assert len(partitions_of(4, "stripes")) == 35
    assert len(partitions_of(6, "stripes")) == 462
    assert len(partitions_of(4, "channel_swap")) == 17
    for partitions in (partitions_of(4, "stripes"), partitions_of(3, "channel_swap")):
        n_inputs = partitions.shape[1]
        assert partitions[0].tolist() == list(range(n_inputs))
        assert (np.sort(partitions, axis=1) == np.arange(n_inputs)).all()
        halves = {
            frozenset(map(frozenset, (row[: n_inputs // 2], row[n_inputs // 2 :]))) for row in partitions.tolist()
        }
        assert len(halves) == len(partitions)


@pytest.mark.parametrize(("search", "low", "high"), [("channel_swap", 0.29, 0.35), ("stripes", 0.325, 0.385)])
def test_random_matrices_keep_the_expected_share_more(search, low, high):
    """Of what lies between groups in the given order and the larger half of each row."""
    shares = []
    for seed in range(20):
        weight = np.random.default_rng(seed).standard_normal((N_OUT, N_IN)).astype(np.float32)
        order = best_order(complete(), weight.reshape(-1), GroupPattern(2, 4), search)
        assert np.sort(order).tolist() == list(range(N_IN))
        best, before = kept(weight, N_IN // 2, N_IN), kept(weight, 2, 4)
        shares.append((kept(weight[:, order], 2, 4) - before) / (best - before))
    assert low <= np.mean(shares) <= high


@pytest.mark.parametrize(("n", "m", "search"), [(1, 3, "channel_swap"), (2, 5, "stripes"), (3, 8, "channel_swap")])
def test_other_patterns_of_sparse_rows_keep_more_and_the_last_group_stays(n, m, search):
    rng = np.random.default_rng(1)
    topology = Topology.random((40, 45), 0.4, np.uint64(1))
    weight = rng.standard_normal(topology.n_connections).astype(np.float32)
    order = best_order(topology, weight, GroupPattern(n, m), search)
    dense, n_whole = topology.matrix(weight).toarray(), 45 // m * m
    assert order[n_whole:].tolist() == list(range(n_whole, 45))
    assert kept(dense[:, order[:n_whole]], n, m) > 1.02 * kept(dense[:, :n_whole], n, m)


def test_any_number_of_threads_finds_the_same(on_every_thread_count):
    weight = np.random.default_rng(3).standard_normal(30 * 40).astype(np.float32)
    alone, together = on_every_thread_count(
        lambda: best_order(complete(30, 40), weight, GroupPattern(2, 4), "stripes").tolist()
    )
    assert alone == together


def test_an_order_that_is_best_already_stays():
    weight = np.tile(np.float32([1, 1, 0, 0]), (9, 5)).reshape(-1)
    for search in ("channel_swap", "stripes"):
        assert best_order(complete(9, 20), weight, GroupPattern(2, 4), search).tolist() == list(range(20))


def test_groups_that_are_too_large_are_refused():
    with pytest.raises(ValueError, match="stripes: groups of 8 inputs: expected at most 6"):
        best_order(complete(), np.ones(N_OUT * N_IN, np.float32), GroupPattern(2, 8), "stripes")
