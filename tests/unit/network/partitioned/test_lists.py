"""Lists of the parts are together those of the whole, in its order, and both ends of every route agree."""

import numpy as np
import pytest
from parts import in_parts

from hpc_sparse.network.connections.topology import Topology, TopologyChange
from hpc_sparse.network.partitioned.connections import Ends, PartitionedCsr
from hpc_sparse.network.partitioned.division import rows_of
from hpc_sparse.network.partitioned.exchange import Exchange
from hpc_sparse.network.partitioned.halo import Room
from hpc_sparse.network.partitioned.ownership import LocalNumbers, Ownership

INNER = Ends(is_first=False, is_last=False)
CASES = [(n_parts, seed) for n_parts in (1, 2, 3, 5) for seed in range(4)]


def random_bounds(n: int, n_parts: int, rng: np.random.Generator) -> np.ndarray:
    """Any ranges, some of them empty."""
    return np.array([0, *np.sort(rng.integers(0, n + 1, n_parts - 1)), n], np.int64)


@pytest.mark.parametrize(("n_parts", "seed"), CASES)
def test_parts_have_every_connection_once_and_a_mirror_where_its_source_is_elsewhere(n_parts: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(1, 40)), int(rng.integers(1, 40)))
    whole = Topology.random(shape, float(rng.random()) ** 3, np.uint64(seed))
    weight = rng.normal(size=whole.n_connections).astype(np.float32)
    above, below = (random_bounds(n, n_parts, rng) for n in shape)

    def build(exchange: Exchange) -> PartitionedCsr:
        targets, sources = Ownership(above, exchange.part), Ownership(below, exchange.part)
        own = weight[whole.indptr[targets.first] : whole.indptr[targets.stop]]
        return PartitionedCsr.build(exchange, rows_of(whole, targets), own, targets, sources, Room(), INNER)

    parts = in_parts(n_parts, build)
    assert np.array_equal(np.concatenate([each.incoming.rows().indices for each in parts]), whole.indices)
    assert np.array_equal(np.concatenate([each.weight[: each.n_primary] for each in parts]), weight)
    expected = whole.matrix(weight).toarray()
    for part, each in enumerate(parts):
        each.topology.check()
        assert each.outgoing is not None
        assert each.above is not None
        assert each.weight.size - each.n_primary == np.isin(
            whole.indices, np.arange(below[part], below[part + 1])
        ).sum() - int(each.incoming.is_own.sum())
        numbers, index = each.above.numbers.numbers(), each.outgoing
        found = np.zeros((shape[0], below[part + 1] - below[part]), np.float32)
        for source in range(index.indptr.size - 1):
            own = slice(index.indptr[source], index.indptr[source + 1])
            outs = numbers[index.outs[own]]
            assert (np.diff(outs) > 0).all()
            found[outs, source] = each.weight[index.position[own]]
        assert np.array_equal(found, expected[:, below[part] : below[part + 1]])
    for one, a in enumerate(parts):
        for other, b in enumerate(parts):
            for mine, theirs, starts in ((a.below, b.below, below), (a.above, b.above, above)):
                assert mine is not None
                assert theirs is not None
                sent = mine.route.sends[other] + starts[one]
                ghosts = theirs.numbers.ghosts
                wanted = ghosts[(ghosts >= starts[one]) & (ghosts < starts[one + 1])] if one != other else ghosts[:0]
                assert np.array_equal(sent, wanted)
                assert theirs.route.n_received_from(one) == sent.size


@pytest.mark.parametrize(("n_parts", "seed"), CASES)
def test_lists_that_follow_a_change_are_those_made_anew(n_parts: int, seed: int) -> None:
    rng = np.random.default_rng(seed + 50)
    shape = (int(rng.integers(2, 40)), int(rng.integers(2, 40)))
    whole = Topology.random(shape, float(rng.random()), np.uint64(seed))
    is_kept = rng.random(whole.n_connections) < 0.6
    free = np.setdiff1d(np.arange(whole.n_possible), whole.keys()[is_kept])  # those just dropped too
    change = whole.replaced(is_kept, np.sort(rng.choice(free, free.size // 2, replace=False)))
    weight = rng.normal(size=whole.n_connections).astype(np.float32)
    above, below = (random_bounds(n, n_parts, rng) for n in shape)
    fresh = np.where(change.old_position < 0, rng.normal(size=change.old_position.size), change.carry(weight))
    fresh = fresh.astype(np.float32)

    def work(exchange: Exchange) -> tuple[PartitionedCsr, PartitionedCsr, bool]:
        targets, sources = Ownership(above, exchange.part), Ownership(below, exchange.part)
        rows, room = slice(targets.first, targets.stop + 1), Room()
        first, stop = whole.indptr[rows][[0, -1]]
        before = PartitionedCsr.build(
            exchange, rows_of(whole, targets), weight[first:stop], targets, sources, room, INNER
        )
        start, end = change.topology.indptr[rows][[0, -1]]
        position = change.old_position[start:end]
        own = TopologyChange(rows_of(change.topology, targets), np.where(position < 0, position, position - first))
        rewiring = before.rewiring(own)
        after = before.changed(rewiring)
        is_carried = np.array_equal(after.weight[: after.n_primary], own.carry(weight[first:stop]))
        after.weight[: after.n_primary] = fresh[start:end]
        rewiring.send_grown(exchange, after.weight)
        anew = PartitionedCsr.build(exchange, own.topology, fresh[start:end], targets, sources, room, INNER)
        return after, anew, is_carried

    for after, anew, is_carried in in_parts(n_parts, work):
        assert is_carried
        assert np.array_equal(after.weight, anew.weight)
        assert after.outgoing is not None
        assert anew.outgoing is not None
        for name in ("indptr", "outs", "position"):
            assert np.array_equal(getattr(after.outgoing, name), getattr(anew.outgoing, name)), name
        for one, other in ((after.below, anew.below), (after.above, anew.above)):
            assert one is not None
            assert other is not None
            assert np.array_equal(one.numbers.ghosts, other.numbers.ghosts)
            assert all(map(np.array_equal, one.route.sends, other.route.sends))
        assert np.array_equal(after.topology.indices, anew.topology.indices)


@pytest.mark.parametrize("part", range(3))
def test_local_numbers_increase_with_those_of_the_layer_and_lead_back_to_them(part: int) -> None:
    owned = Ownership(np.array([0, 4, 4, 11], np.int64), part)
    numbers = LocalNumbers.of(owned, np.array([10, 2, 2, 7]))
    known = numbers.numbers()
    assert (np.diff(known) > 0).all()
    assert np.array_equal(numbers.local(known), np.arange(numbers.n_local))
    for few in range(known.size):
        assert np.array_equal(numbers.local(known[few : few + 1]), [few])
    assert np.array_equal(known[numbers.own], np.arange(owned.first, owned.stop))
    assert owned.owners(np.array([0, 3, 4, 10])).tolist() == [0, 0, 2, 2]


def test_ranges_are_balanced_by_incoming_connections() -> None:
    indptr = np.array([0, 90, 91, 92, 180], np.int64)
    assert Ownership.balanced(indptr, 2, 0).starts.tolist() == [0, 2, 4]
