"""A network over several ranks evolves to the bits of the same network on one rank."""

import pytest
from evolving_parts import SETTINGS, digests, evolving_config, new_replica, train

from hpc_sparse.network.partitioned.division import divided
from hpc_sparse.parallel.collectives import on_root
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.parallel.part_exchange import MpiExchange

EPOCHS, N_SAMPLES = 3, 16
NAMES = [
    "static",
    "set",
    "set, fewer",
    "deep_r",
    "gse, grabo",
    "gse, global",
    "constant fan-in, srigl",
    "rigl",
    "pruned, two-sided",
]


@pytest.mark.mpi(ranks=[2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_a_network_over_ranks_evolves_as_on_one_rank(ctx: ParallelContext, name: str) -> None:
    config, exchange = evolving_config(*SETTINGS[name]), MpiExchange(ctx.split(ctx.size).model)

    def train_whole() -> tuple[list[tuple[float, int]], list[str]]:
        whole = new_replica(config)
        return train(whole, config, EPOCHS, N_SAMPLES), digests(whole)

    expected = on_root(ctx, train_whole)
    own = divided(exchange, new_replica(config))
    assert (train(own, config, EPOCHS, N_SAMPLES), digests(own, exchange)) == expected
