"""Lists of the parts are together those of the whole, in its order, and both ends of every route agree."""

import numpy as np
import pytest
from parts import in_parts

from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.partitioned.connections import PartitionedCsr
from hpc_sparse.network.partitioned.division import rows_of
from hpc_sparse.network.partitioned.exchange import Exchange
from hpc_sparse.network.partitioned.halo import Room
from hpc_sparse.network.partitioned.ownership import LocalNumbers, Ownership

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
        ends = {"is_first": False, "is_last": False}
        made = PartitionedCsr.build(exchange, rows_of(whole, targets), own, targets, sources, Room(), **ends)
        made.settle()
        return made

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


@pytest.mark.parametrize("part", range(3))
def test_local_numbers_increase_with_those_of_the_layer_and_lead_back_to_them(part: int) -> None:
    owned = Ownership(np.array([0, 4, 4, 11], np.int64), part)
    numbers = LocalNumbers.of(owned, np.array([10, 2, 2, 7]))
    known = numbers.numbers()
    assert (np.diff(known) > 0).all()
    assert np.array_equal(numbers.local(known), np.arange(numbers.n_local))
    assert np.array_equal(known[numbers.own], np.arange(owned.first, owned.stop))
    assert owned.owners(np.array([0, 3, 4, 10])).tolist() == [0, 0, 2, 2]


def test_ranges_are_balanced_by_incoming_connections() -> None:
    indptr = np.array([0, 90, 91, 92, 180], np.int64)
    assert Ownership.balanced(indptr, 2, 0).starts.tolist() == [0, 2, 4]
