"""What several parts of a layer choose together is what one rank chooses that has all its rows."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from parts import in_parts

from hpc_sparse.evolution.order_statistics import order_statistic, own_ties
from hpc_sparse.evolution.selection import draw_free_keys, keep_largest_of, keep_strongest
from hpc_sparse.evolution.strategies.set import replace_weakest
from hpc_sparse.evolution.top_k import StrongestKeys, strongest, strongest_of
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.distinct_numbers import distinct_numbers
from hpc_sparse.network.partitioned import random_numbers
from hpc_sparse.network.partitioned.exchange import Exchange
from hpc_sparse.network.partitioned.random_numbers import own_distinct_numbers, own_normals

PARTS = [2, 3, 4]


def cuts(n: int, n_parts: int, seed: int = 0) -> list[slice]:
    """Uneven ranges of ``n`` things, one of which may be empty."""
    inner = np.sort(np.random.default_rng(seed + n_parts).integers(0, n + 1, n_parts - 1))
    bounds = [0, *inner.tolist(), n]
    return [slice(start, stop) for start, stop in pairwise(bounds)]


def with_ties(n: int, seed: int) -> np.ndarray:
    """float32[n] of few different numbers, with zeros of both signs, huge and tiny ones."""
    rng = np.random.default_rng(seed)
    values = np.round(rng.normal(size=n), 1).astype(np.float32)
    values[rng.random(n) < 0.1] = np.float32(-0.0)
    values[: n // 20] *= np.float32(1e-40)
    values[n // 2 : n // 2 + 2] = np.inf
    return rng.permutation(values)


def in_all_parts(n_parts: int, work: Callable[[Exchange], np.ndarray]) -> np.ndarray:
    """What the parts find, one after the other."""
    return np.concatenate(in_parts(n_parts, work))


@pytest.mark.parametrize("n_parts", PARTS)
def test_an_order_statistic_is_that_of_all_numbers(n_parts: int) -> None:
    values = np.abs(with_ties(300, 1))
    of_part, in_order = cuts(values.size, n_parts), np.sort(values)
    for rank in range(0, values.size, 7):
        for limit, n_smaller in in_parts(
            n_parts, lambda exchange, rank=rank: order_statistic(values[of_part[exchange.part]], rank, exchange)
        ):
            assert limit == in_order[rank]
            assert n_smaller == np.count_nonzero(values < limit)


def test_ties_are_chosen_by_layer_then_by_part() -> None:
    counts = [[2, 1], [0, 3], [4, 1]]  # by part, then by layer
    for n_chosen, expected in {
        0: [[0, 0], [0, 0], [0, 0]],
        3: [[2, 0], [0, 0], [1, 0]],
        8: [[2, 1], [0, 1], [4, 0]],
        99: counts,
    }.items():
        assert in_parts(3, lambda exchange, n=n_chosen: own_ties(counts[exchange.part], n, exchange)) == expected, (
            n_chosen
        )


@pytest.mark.parametrize("n_parts", PARTS)
@pytest.mark.parametrize("share", [0.0, 0.03, 0.5, 0.97, 1.0])
def test_the_same_weights_stay(n_parts: int, share: float) -> None:
    weight = with_ties(500, 2)
    of_part = cuts(weight.size, n_parts)
    n_positive = int(np.count_nonzero(weight >= 0))
    of_sign = int(share * n_positive), int(share * (weight.size - n_positive))
    found = in_all_parts(n_parts, lambda exchange: keep_strongest(weight[of_part[exchange.part]], *of_sign, exchange))
    assert np.array_equal(found, keep_strongest(weight, *of_sign))
    assert np.count_nonzero(found) == weight.size - sum(of_sign)

    layers, n_drop = [weight, with_ties(90, 3)], int(share * 590)
    kept = in_parts(
        n_parts,
        lambda exchange: keep_largest_of(
            [each[cuts(each.size, n_parts, 9)[exchange.part]] for each in layers], n_drop, exchange
        ),
    )
    for own, expected in zip(zip(*kept, strict=True), keep_largest_of(layers, n_drop), strict=True):
        assert np.array_equal(np.concatenate(own), expected)


@pytest.mark.parametrize("n_parts", PARTS)
@pytest.mark.parametrize("n_wanted", [0, 1, 60, 299, 300, 400])
def test_the_same_scores_are_the_strongest(n_parts: int, n_wanted: int) -> None:
    scores = np.abs(with_ties(300, 4))
    of_part, keys = cuts(scores.size, n_parts), np.arange(0, 900, 3)

    def work(exchange: Exchange) -> np.ndarray:
        own = of_part[exchange.part]
        return keys[own][strongest(scores[own], keys[own], n_wanted, exchange)]

    expected = keys[strongest(scores, keys, n_wanted)]
    assert expected.size == min(n_wanted, 300)
    assert np.array_equal(in_all_parts(n_parts, work), expected)

    def collect(exchange: Exchange) -> np.ndarray:
        own, best = of_part[exchange.part], StrongestKeys(n_wanted)
        best.add(scores[None, own], np.zeros(1, np.int64), keys[own])
        return best.keys(exchange)

    assert np.array_equal(in_all_parts(n_parts, collect), expected)
    layers = [scores, np.abs(with_ties(80, 5))]
    chosen = in_parts(
        n_parts,
        lambda exchange: [
            positions + cuts(each.size, n_parts)[exchange.part].start
            for each, positions in zip(
                layers,
                strongest_of([each[cuts(each.size, n_parts)[exchange.part]] for each in layers], n_wanted, exchange),
                strict=True,
            )
        ],
    )
    for own, expected in zip(zip(*chosen, strict=True), strongest_of(layers, n_wanted), strict=True):
        assert np.array_equal(np.concatenate(own), expected)


@pytest.mark.parametrize("n_parts", PARTS)
@pytest.mark.parametrize(("n", "n_chosen"), [(10**12, 5000), (3 * 10**9, 5000), (9000, 4000), (9000, 8000), (9, 9)])
def test_parts_draw_the_distinct_numbers_of_one_rank(
    n_parts: int, n: int, n_chosen: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random_numbers, "DRAWN_AT_ONCE", 777)

    def work(exchange: Exchange) -> np.ndarray:
        own = range(exchange.part * n // n_parts, (exchange.part + 1) * n // n_parts)
        return own_distinct_numbers(n, n_chosen, np.random.default_rng(6), own, exchange)

    assert np.array_equal(in_all_parts(n_parts, work), distinct_numbers(n, n_chosen, np.random.default_rng(6)))


def test_parts_draw_the_normal_numbers_of_one_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random_numbers, "DRAWN_AT_ONCE", 70)
    expected = np.random.default_rng(7).standard_normal(1000, np.float32)
    for start, stop in ((0, 0), (0, 70), (69, 141), (350, 1000), (1000, 1000)):
        found = own_normals(1000, np.random.default_rng(7), range(start, stop))
        assert found.tobytes() == expected[start:stop].tobytes()


@pytest.mark.parametrize("n_parts", PARTS)
@pytest.mark.parametrize(("shape", "density"), [((80, 60), 0.1), ((80, 60), 0.8), ((80_000, 90_000), 1e-6)])
def test_set_replaces_the_same_connections(n_parts: int, shape: tuple[int, int], density: float) -> None:
    topology = Topology.random(shape, density, np.uint64(8))
    weight = with_ties(topology.n_connections, 9)
    bounds = [each.start for each in cuts(shape[0], n_parts)] + [shape[0]]

    def work(exchange: Exchange) -> np.ndarray:
        first, stop = bounds[exchange.part : exchange.part + 2]
        start, end = topology.indptr[first], topology.indptr[stop]
        rows = Topology(
            (stop - first, shape[1]), topology.indptr[first : stop + 1] - start, topology.indices[start:end]
        )
        n_target = topology.n_connections - 5
        change = replace_weakest(rows, weight[start:end], 0.3, np.random.default_rng(10), n_target, exchange)
        change.topology.check()
        return change.topology.keys() + first * shape[1]

    expected = replace_weakest(topology, weight, 0.3, np.random.default_rng(10), topology.n_connections - 5)
    assert np.array_equal(in_all_parts(n_parts, work), expected.topology.keys())


def test_all_draw_where_almost_everything_is_taken() -> None:
    topology = Topology.random((40, 30), 0.95, np.uint64(1))
    is_kept = np.ones(topology.n_connections, np.bool_)
    is_kept[::9] = False
    n_grow = topology.n_possible - int(np.count_nonzero(is_kept)) - 1

    def work(exchange: Exchange) -> np.ndarray:
        first, stop = (0, 13, 13, 40)[exchange.part : exchange.part + 2]
        start, end = topology.indptr[first], topology.indptr[stop]
        rows = Topology((stop - first, 30), topology.indptr[first : stop + 1] - start, topology.indices[start:end])
        found = draw_free_keys(rows, is_kept[start:end], n_grow, np.random.default_rng(2), exchange)
        return found + first * 30

    expected = draw_free_keys(topology, is_kept, n_grow, np.random.default_rng(2))
    assert np.array_equal(in_all_parts(3, work), expected)
