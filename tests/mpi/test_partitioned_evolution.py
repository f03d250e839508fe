"""A network over several ranks evolves to the bits of the same network on one rank."""

import pytest
from evolving_parts import SETTINGS, digests, evolving_config, new_replica, train

from hpc_sparse.network.partitioned.division import divided
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.parallel.part_exchange import MpiExchange


@pytest.mark.mpi(ranks=[2, 3])
def test_a_network_over_ranks_evolves_as_on_one_rank(ctx: ParallelContext) -> None:
    exchange = MpiExchange(ctx.split(ctx.size).model)
    for name, settings in SETTINGS.items():
        config = evolving_config(*settings)
        whole = new_replica(config)
        expected = train(whole, config)
        own = divided(exchange, new_replica(config))
        assert train(own, config) == expected, name
        assert digests(own, exchange) == digests(whole), name
